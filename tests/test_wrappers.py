"""Checkpoints as people save them give the network that they hold, and say what was taken off, chosen or left out."""

import argparse
import collections
import datetime
import json
import os
import pathlib
import types

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn.utils.prune import l1_unstructured

import podium
from conftest import sampled
from podium.errors import ModelFileError, UsageError
from podium.weights import foreign
from podium.weights.create import create_model
from podium.weights.foreign import Checkpoint
from podium.weights.load import import_weights
from podium.weights.pickled import read_pickled

SOURCE = "akamaster:resnet20"
BACK = (("stem.", ""), ("stages.stage", "layer"), (".residual.", "."), ("head.classifier.", "linear."))


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Pickles are read here by what a child process reads them with otherwise, as test_weights.py has it."""

    def read(_, path):
        tensors, beside, named = read_pickled(path)
        return Checkpoint(tensors, tuple(beside), named=named)

    monkeypatch.setattr(foreign, "_in_a_child", read)


def weights(seed=0, num_classes=10):
    """ResNet-20's weights by akamaster's names, without `module.`."""
    torch.manual_seed(seed)
    out = {}
    for key, value in create_model("resnet20", shortcut="A-split", num_classes=num_classes).state_dict().items():
        for ours, theirs in BACK:
            key = key.replace(ours, theirs)
        out[key] = value.clone()
    return out


PLAIN = weights()
EMA = weights(1)


def under(prefix, state=PLAIN):
    return {f"{prefix}{key}": value for key, value in state.items()}


def read(content, tmp_path, **options):
    """The state dict by our names, and the notes."""
    torch.save(content, tmp_path / "best.pth")
    net, notes = import_weights(SOURCE, tmp_path / "best.pth", **options)
    return net, "\n".join(notes)


def holds(net, state):
    expected = by_our_names(state)
    return all(torch.equal(value, expected[key]) for key, value in net.state_dict().items())


def by_our_names(state):
    """Akamaster's names as ours, by hand."""
    out = {}
    for key, value in state.items():
        if key.startswith("layer"):
            stage, block, rest = key.split(".", 2)
            key = f"stages.stage{stage[5:]}.{block}.residual.{rest}"
        elif key.startswith("linear."):
            key = key.replace("linear.", "head.classifier.")
        else:
            key = f"stem.{key}"
        out[key] = value
    return out


WRAPPED = {
    "bare": (PLAIN, ""),
    "DataParallel": (under("module."), "module."),
    "Lightning": (
        {
            "state_dict": under("model."),
            "pytorch-lightning_version": "2.1",
            "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}}],
            "hyper_parameters": {"lr": 0.1},
        },
        "'state_dict.model'",
    ),
    "torch.compile": ({"model_state_dict": under("_orig_mod.")}, "_orig_mod."),
    "both": ({"net": under("module._orig_mod.")}, "'net'"),
    "three deep": ({"checkpoint": {"model": {"state": under("net.module.")}}}, "'checkpoint.model.state.net'"),
    "weights": ({"weights": PLAIN}, "'weights'"),
    "weights and optimiser in a tuple": ((PLAIN, {"state": {0: {"exp_avg": torch.zeros(3)}}}), "under '0'"),
    "in a list": ({"folds": [PLAIN]}, "'folds.0'"),
    "beside the optimiser's means": (
        {"model": PLAIN, "optimizer": {"exp_avg": {k: v * 0 for k, v in PLAIN.items()}}},
        "left out, beside the weights: optimizer",
    ),
    "a part of a larger module": (
        {"model": under("backbone.") | {"criterion.weight": torch.ones(10)}},
        "left out, beside the weights: model.criterion",
    ),
    "thop": (PLAIN | {"layer1.0.total_ops": torch.zeros(1), "total_params": torch.zeros(1)}, "2 counters"),
    "a loss inside": (PLAIN | {"criterion.weight": torch.ones(10), "loss_fn.pos_weight": torch.ones(10)}, "left out, beside the weights: criterion, loss_fn"),
    "a number": ({0: PLAIN}, "under '0'"),
    "half inside": ({k.replace("layer1.", "layer1.module."): v for k, v in PLAIN.items()}, "module. is taken out"),
}  # fmt: skip


@pytest.mark.parametrize("how", WRAPPED)
def test_any_wrapper_gives_the_same_weights_and_is_said(how, tmp_path):
    content, says = WRAPPED[how]
    net, notes = read(content, tmp_path)
    assert holds(net, PLAIN)
    assert says in notes
    assert bool(notes) == (how != "bare")


class Mine:
    """A class that whoever opens the file does not have."""

    def __init__(self):
        self.rate = 0.1

    @classmethod
    def made(cls, _):
        return cls()


class Nothing:
    """The same, without attributes."""


@pytest.mark.parametrize("how", ["zip", "old", "protocol 4"])
def test_plain_data_beside_the_weights_does_no_harm(how, tmp_path):
    net = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    beside = {
        "optimizer": optimizer.state_dict(),
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 3).state_dict(),
        "epoch": 7,
        "args": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("/tmp/x")),
        "best": np.float64(0.91),
        "curve": np.arange(3.0),
        "when": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        "history": collections.defaultdict(list, {"loss": [1.0]}),
        "space": types.SimpleNamespace(a={1, 2}),
        "config": Mine(),
        "no arguments": argparse.Namespace(),
        "nothing": Nothing(),
        "of a method": Call(Mine.made, 1),
        "dtype": torch.float16,
    }
    more = {"old": {"_use_new_zipfile_serialization": False}, "protocol 4": {"pickle_protocol": 4}}.get(how, {})
    torch.save({"state_dict": PLAIN, **beside}, tmp_path / "w.pth", **more)
    net, notes = import_weights(SOURCE, tmp_path / "w.pth")
    assert holds(net, PLAIN)
    assert "left out, beside the weights: optimizer, scheduler, epoch, args" in notes[-1]


class Call:
    """Unpickling this calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_a_call_of_whatever_function_is_not_made(tmp_path):
    canary = tmp_path / "canary.npy"
    net, notes = read({"state_dict": PLAIN, "more": Call(np.save, str(canary), 1)}, tmp_path)
    assert holds(net, PLAIN)
    assert "left out, beside the weights: more" in notes
    for function, argument in (
        (eval, f"open({str(canary)!r}, 'w')"),
        (os.system, f"touch {canary}"),
        (open, str(canary)),
    ):
        with pytest.raises(ModelFileError, match="holds more than weights"):
            read({"state_dict": PLAIN, "more": Call(function, argument)}, tmp_path)
    assert not canary.exists()


BOTH = {
    "timm": {"state_dict": PLAIN, "state_dict_ema": EMA},
    "torchvision": {"model": PLAIN, "model_ema": {"n_averaged": torch.tensor(9), **under("module.", EMA)}},
    "averaged beside": {"net": under("module."), "ema": {"shadow": under("module.", EMA)}},
    "lightning": {"state_dict": under("model.") | under("ema_model.", EMA)},
    "teacher": {"state_dict": under("student.") | under("teacher.", EMA)},
}


@pytest.mark.parametrize("how", BOTH)
def test_averaged_weights_beside_the_weights_are_said_and_can_be_taken(how, tmp_path):
    net, notes = read(BOTH[how], tmp_path)
    assert holds(net, PLAIN)
    assert "also has averaged (EMA) weights, under" in notes
    assert "--ema" in notes
    net, notes = read(BOTH[how], tmp_path, ema=True)
    assert holds(net, EMA)
    assert "these are averaged (EMA) weights" in notes


def test_a_file_of_averaged_weights_alone_is_said_and_one_without_is_refused(tmp_path):
    net, notes = read({"n_averaged": torch.tensor(9), **under("module.", EMA)}, tmp_path)
    assert holds(net, EMA)
    assert "these are averaged (EMA) weights" in notes
    with pytest.raises(UsageError, match="has no EMA weights"):
        read({"state_dict": PLAIN}, tmp_path, ema=True)


def test_two_different_sets_of_weights_are_refused_by_their_names(tmp_path):
    with pytest.raises(ModelFileError, match=r"two different sets of weights .* under 'first' and 'second'"):
        read({"first": PLAIN, "second": EMA}, tmp_path)
    net, _ = read({"first": PLAIN, "second": {k: v.clone() for k, v in PLAIN.items()}}, tmp_path)
    assert holds(net, PLAIN)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_converted_and_said(dtype, tmp_path):
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in PLAIN.items()}
    net, notes = read(state, tmp_path)
    assert holds(net, {k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    assert f"{str(dtype).removeprefix('torch.')} in the file, and float32 here" in notes


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_refused_by_its_name_also_under_wrappers(value, tmp_path):
    state = {k: v.clone() for k, v in PLAIN.items()}
    state["layer3.0.conv2.weight"][0, 0, 0, 0] = value
    with pytest.raises(ModelFileError, match=r"stages\.stage3\.0\.residual\.conv2\.weight has 1 of"):
        read({"state_dict": under("module.", state), "epoch": 1}, tmp_path)


# --- heads


@pytest.mark.parametrize("layer", ["linear.1", "fc", "classifier.1", "head.fc", "last_linear", "my_head.dense"])
def test_the_one_linear_layer_of_fitting_width_is_the_head(layer, tmp_path):
    state = weights(0, 12)
    renamed = {k.replace("linear.", f"{layer}."): v for k, v in state.items()}
    for content in (renamed, {"state_dict": under("model.", renamed)}):
        net, notes = read(content, tmp_path)
        assert net.spec["num_classes"] == 12
        assert holds(net, state)
        assert f"the head is {layer}, for 12 classes" in notes


def test_a_head_beside_the_backbone(tmp_path):
    state = weights(0, 12)
    body = {k: v for k, v in state.items() if not k.startswith("linear.")}
    head = {"classifier.2.weight": state["linear.weight"], "classifier.2.bias": state["linear.bias"]}
    net, notes = read({"state_dict": under("model.backbone.", body) | under("model.", head)}, tmp_path)
    assert holds(net, state)
    assert "the head is state_dict.model.classifier.2, for 12 classes" in notes
    assert "left out" not in notes


BETWEEN = {
    "a norm": {"neck.weight": torch.full((64,), 2.0), "neck.bias": torch.ones(64)},
    "a batch norm without parameters": {"neck.running_mean": torch.ones(64), "neck.running_var": torch.ones(64)},
    "a convolution": {"neck.weight": torch.ones(64, 64, 3, 3)},
}


@pytest.mark.parametrize("neck", BETWEEN)
def test_a_head_beside_the_backbone_is_none_where_a_layer_may_lie_between(neck, tmp_path):
    """Without that layer the network would give other answers than the one that was trained."""
    state = weights(0, 12)
    body = {k: v for k, v in state.items() if not k.startswith("linear.")}
    head = {"classifier.weight": state["linear.weight"], "classifier.bias": state["linear.bias"]}
    content = under("base.", body) | BETWEEN[neck] | head
    with pytest.raises(ModelFileError, match="'classifier' may not be what answers: 'neck' beside it"):
        read(content, tmp_path)
    net, notes = read(content, tmp_path, num_classes=12)
    assert "left out: the classifier 'classifier', since 'neck' beside it" in notes
    assert all(torch.equal(net.state_dict()[key], value) for key, value in by_our_names(body).items())
    copied, _ = read(under("base.", body) | under("base_copy.", body) | head, tmp_path)
    assert holds(copied, state)


def test_pruned_layers_have_their_masks_applied(tmp_path):
    net = torch.nn.Sequential()
    net.conv1 = torch.nn.Conv2d(3, 16, 3, padding=1, bias=False)
    net.conv1.load_state_dict({"weight": PLAIN["conv1.weight"]})
    l1_unstructured(net.conv1, "weight", 0.5)
    pruned = net.conv1.weight.detach().clone()
    assert (pruned == 0).sum() == pruned.numel() // 2
    kept = {key: value for key, value in PLAIN.items() if key != "conv1.weight"}
    read_back, notes = read({"model": kept | net.state_dict()}, tmp_path)
    assert holds(read_back, PLAIN | {"conv1.weight": pruned})
    assert "the masks of 1 pruned tensors are applied" in notes


def test_tensors_too_many_are_named_with_a_mend_that_fits(tmp_path):
    with pytest.raises(ModelFileError, match=r"2 unexpected: more\.weight, more\.bias") as error:
        read(PLAIN | {"more.weight": torch.ones(3, 64), "more.bias": torch.ones(3)}, tmp_path)
    assert "take these out of the file" in error.value.fix
    assert "layers that resnet20 has not, and Podium cannot import it" in error.value.fix  # such as a norm of the input


def test_a_head_without_a_bias_gets_zeros_and_a_convolution_is_one_too(tmp_path):
    state = weights(0, 12)
    odd = {k: v for k, v in state.items() if not k.startswith("linear.")}
    net, notes = read(odd | {"cls.weight": state["linear.weight"][:, :, None, None]}, tmp_path)
    assert torch.equal(net.head.classifier.weight, state["linear.weight"])
    assert net.head.classifier.bias.tolist() == [0.0] * 12
    assert "no bias" in notes
    assert "left out" not in notes


def two_layers():
    body = {k: v for k, v in PLAIN.items() if not k.startswith("linear.")}
    shapes = {"fc.0.weight": (32, 64), "fc.0.bias": (32,), "fc.3.weight": (12, 32), "fc.3.bias": (12,)}
    return body | {key: torch.ones(shape) for key, shape in shapes.items()}


def test_a_head_of_the_networks_own_name_may_lack_a_bias_too(tmp_path):
    net, notes = read({k: v for k, v in PLAIN.items() if k != "linear.bias"}, tmp_path)
    assert net.head.classifier.bias.tolist() == [0.0] * 10
    assert "the head has no bias: zeros take its place" in notes
    assert "a cosine or ArcFace head, which norms features and weights, looks the same in a file" in notes


def test_the_second_layer_of_a_head_is_no_head_though_its_width_fits(tmp_path):
    """fastai's: features pooled twice, then two layers, of which the second reads as many values as the network gives."""
    body = {k: v for k, v in PLAIN.items() if not k.startswith("linear.")}
    two = {"head.0.weight": torch.ones(64, 128), "head.2.weight": torch.ones(12, 64)}
    with pytest.raises(ModelFileError, match=r"'head\.2' may not be what answers: 'head\.0' beside it"):
        read(under("body.", body) | two, tmp_path)


def test_layers_that_are_numbered_as_the_children_of_a_resnet(tmp_path):
    """`nn.Sequential(*net.children())`, the body of fastai and of many others."""
    parts = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc"]
    named, numbered = {}, {}
    for key, value in create_model("resnet18", num_classes=7).state_dict().items():
        for ours, theirs in (("stem.", ""), ("stages.stage", "layer"), ("head.classifier.", "fc."), (".residual.", "."),
                             (".shortcut.conv1.", ".downsample.0."), (".shortcut.bn1.", ".downsample.1.")):  # fmt: skip
            key = key.replace(ours, theirs)
        first, _, rest = key.partition(".")
        named[key], numbered[f"{parts.index(first)}.{rest}"] = value, value
    torch.save(named, tmp_path / "named.pth")
    torch.save({"model": under("0.", numbered)}, tmp_path / "numbered.pth")
    nets = [import_weights("torchvision:resnet18", tmp_path / f"{name}.pth")[0] for name in ("named", "numbered")]
    first, second = (net.state_dict() for net in nets)
    assert all(torch.equal(first[key], second[key]) for key in first)


def after_a_neck():
    """Two layers again, of which the last has the network's own name."""
    neck = {"neck.weight": torch.ones(32, 64), "neck.bias": torch.ones(32)}
    return PLAIN | neck | {"linear.weight": torch.ones(12, 32), "linear.bias": torch.ones(12)}


@pytest.mark.parametrize(
    "content", [after_a_neck(), PLAIN | {"linear.weight": torch.ones(1, 64), "linear.bias": torch.ones(1)}]
)
def test_a_head_of_two_layers_or_one_output_is_replaced_where_a_fresh_one_is_wanted(content, tmp_path):
    with pytest.raises(ModelFileError, match="not the weights of resnet20"):
        read(content, tmp_path)
    net, notes = read(content, tmp_path, num_classes=3)
    assert net.spec["num_classes"] == 3
    assert "left out: the file's head, which is not one linear layer that fits" in notes


@pytest.mark.parametrize("content", [two_layers(), {k: v for k, v in PLAIN.items() if not k.startswith("linear.")}])
def test_without_a_head_that_fits_it_says_what_to_do_and_that_works(content, tmp_path):
    with pytest.raises(ModelFileError, match=r"missing: head\.classifier\.weight") as caught:
        read(content, tmp_path)
    assert ("its head is not one linear layer that fits: fc.0, fc.3" in caught.value.what) == ("fc.0.weight" in content)
    assert "--num-classes" in caught.value.fix
    assert "--weights" in caught.value.fix
    nets = [read(content, tmp_path, num_classes=5) for _ in range(2)]
    (net, notes), (again, _) = nets
    assert net.spec["num_classes"] == 5
    assert "a fresh one for 5 classes" in notes
    assert ("not one linear layer that fits (fc.0, fc.3)" in notes) == ("fc.0.weight" in content)
    own = by_our_names(PLAIN)
    assert all(torch.equal(v, own[k]) for k, v in net.state_dict().items() if not k.startswith("head."))
    assert torch.equal(net.head.classifier.weight, again.head.classifier.weight), "fresh weights are the same each time"


# --- another network's weights


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": under("module.", s), "epoch": 1}])
def test_another_networks_weights_are_named_also_under_wrappers_and_without_a_head(wrap, tmp_path):
    for state in (PLAIN, {k: v for k, v in PLAIN.items() if not k.startswith("linear.")}):
        torch.save(wrap(state), tmp_path / "w.pth")
        with pytest.raises(ModelFileError, match="not the weights of resnet32") as caught:
            import_weights("akamaster:resnet32", tmp_path / "w.pth")
        assert "these are the weights of akamaster:resnet20" in caught.value.fix


# --- parts


def in_parts(folder, state=PLAIN, parts=3):
    """As Hugging Face's libraries save it."""
    folder.mkdir()
    keys = sorted(state)
    names = [f"model-{i + 1:05d}-of-{parts:05d}.safetensors" for i in range(parts)]
    places = {key: names[number % parts] for number, key in enumerate(keys)}
    for name in names:
        save_file({key: state[key].contiguous() for key in keys if places[key] == name}, folder / name)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return index


def test_a_file_in_parts_is_read_by_its_index_or_its_folder(tmp_path):
    index = in_parts(tmp_path / "hub")
    for path in (index, index.parent):
        assert holds(import_weights(SOURCE, path)[0], PLAIN)
    save_file(PLAIN, index.parent / "model.safetensors")
    index.unlink()
    assert holds(import_weights(SOURCE, index.parent)[0], PLAIN)


def test_parts_that_are_missing_short_or_elsewhere_are_refused_by_name(tmp_path):
    index = in_parts(tmp_path / "hub")
    part = index.with_name("model-00002-of-00003.safetensors")
    with pytest.raises(ModelFileError, match="part 2 of 3 of a file") as caught:
        import_weights(SOURCE, part)
    assert "model.safetensors.index.json" in caught.value.fix
    content = part.read_bytes()
    part.unlink()
    with pytest.raises(ModelFileError, match=r"1 of 3 parts are missing: model-00002-of-00003\.safetensors"):
        import_weights(SOURCE, index)
    save_file({"other": torch.ones(2)}, part)
    with pytest.raises(ModelFileError, match=r"model-00002-of-00003\.safetensors: without .*, which .*index"):
        import_weights(SOURCE, index)
    part.write_bytes(content)
    places = json.loads(index.read_text())
    for odd in ("../secret.safetensors", "/etc/passwd", "a/b.safetensors"):
        places["weight_map"]["conv1.weight"] = odd
        index.write_text(json.dumps(places))
        with pytest.raises(ModelFileError, match="no file beside it"):
            import_weights(SOURCE, index)
    for odd in ("{", "[]", '{"weight_map": 3}', '{"weight_map": {}}'):
        index.write_text(odd)
        with pytest.raises(ModelFileError, match=r"index\.json: (not an index|names no tensors)"):
            import_weights(SOURCE, index)
    with pytest.raises(ModelFileError, match="a folder without"):
        import_weights(SOURCE, tmp_path)


# --- training from them


def digits_like():
    from podium.data.dataset import Dataset, Split
    from podium.data.images import ArrayImages

    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 32, 3), np.uint8)
    labels = np.arange(24) % 3
    parts = {"train": Split(labels, ArrayImages(pixels)), "test": Split(labels, ArrayImages(255 - pixels))}
    return Dataset("shapes", ("line", "circle", "square"), parts, 3, 32, 32, (0.5,) * 3, (0.5,) * 3, crop_pct=1.0)


@pytest.mark.parametrize("head", ["twelve", "none", "two layers", "parts"])
def test_a_head_that_is_replaced_is_said_and_weights_need_none(head, tmp_path):
    from podium.settings import Settings
    from podium.training.prepare import prepare

    content = {
        "twelve": weights(0, 12),
        "none": {k: v for k, v in PLAIN.items() if not k.startswith("linear.")},
        "two layers": two_layers(),
        "parts": PLAIN,
    }[head]
    path = tmp_path / "w.safetensors"
    save_file(content, path)
    if head == "parts":
        path = in_parts(tmp_path / "hub").parent
    plan = prepare(
        Settings(model="resnet20", data="", weights=f"{SOURCE}={path}", duration="1it", workers=1), digits_like()
    )
    notes = "\n".join(plan.notes)
    assert "a fresh one for the 3 classes of shapes takes its place" in notes
    says = {
        "twelve": "the classifier for 12 classes (class 0, class 1, class 2, ...) goes",
        "none": "the file has no classifier",
        "two layers": "fc.0, fc.3",
        "parts": "the classifier for 10 classes (airplane, automobile, bird, ...) goes",
    }
    assert says[head] in notes
    assert plan.net.spec["num_classes"] == 3


# --- real files


@pytest.mark.parametrize("name", sampled(["resnet20-12fca82f", "resnet56-4bfd9763"], 1))
def test_published_files_say_what_was_taken_off(shared, name):
    path = shared / "data/weights" / f"{name}.th"
    source = f"akamaster:{name.partition('-')[0]}"
    made = podium.import_weights(source, path)
    assert made.card["notes"] == [
        "the weights stand under 'state_dict' in the file, which is taken off their names",
        "module. is taken out of the names",
        "left out, beside the weights: best_prec1",
        f"preprocessing as usual for {source} (mean 0.485, 0.456, 0.406; std 0.229, 0.224, 0.225): the file says nothing of pixels",
        "the file does not name its 10 classes: they are taken for CIFAR-10's; podium import --classes names others",
    ]
    assert made.classes[0] == "airplane"


@pytest.mark.slow
def test_auxiliary_classifiers_that_kept_the_old_classes_are_left_out(tmp_path):
    """Whoever fine-tunes torchvision's GoogLeNet puts a new `fc` on it, and leaves the auxiliary ones."""
    from test_peers import state_of

    state = state_of("torchvision-googlenet")
    state |= {"fc.weight": torch.ones(12, 1024), "fc.bias": torch.zeros(12)}
    save_file(state, tmp_path / "w.safetensors")
    net, notes = import_weights("torchvision:googlenet", tmp_path / "w.safetensors")
    assert net.spec["num_classes"] == 12
    assert notes == [
        "left out: the auxiliary classifiers, which are for another number of classes than the head",
        "preprocessing as after fine-tuning torchvision's own weights, whose transform_input is on: where the network was trained "
        "with it off, give --mean and --std",
    ]
