"""A checkpoint in which the network's own head may not be the last layer, or not the one that answers, is refused by names."""

import re
import shlex

import pytest
import torch
from safetensors.torch import save_file

from podium.errors import ModelFileError
from podium.weights import foreign
from podium.weights.load import import_weights
from test_wrappers import (  # noqa: F401 - the fixture acts by its name
    EMA,
    SOURCE,
    by_our_names,
    digits_like,
    holds,
    in_this_process,
    read,
    under,
    weights,
)

OWN = weights(2)  # of another seed than fresh ones
BODY = {k: v for k, v in OWN.items() if not k.startswith("linear.")}  # ResNet-20: 64 features, 10 classes


def linear(layer, outputs, inputs, seed=3):
    torch.manual_seed(seed)
    return {f"{layer}.weight": torch.randn(outputs, inputs), f"{layer}.bias": torch.randn(outputs)}


def norm(layer, count):
    state = torch.nn.BatchNorm1d(count).state_dict()
    return {f"{layer}.{key}": value for key, value in state.items()}


# What is saved, the network's own head in it, and the layers that may lie behind it.
BEHIND = {
    "a module of both": (under("resnet.", OWN) | linear("fc", 4, 10), "resnet.linear", ["fc"]),
    "nn.Sequential": (under("0.", OWN) | linear("1", 4, 10), "0.linear", ["1"]),
    "a ReLU and Dropout between": ({"model_state_dict": under("0.", OWN) | linear("3", 4, 10)}, "model_state_dict.0.linear", ["model_state_dict.3"]),
    "Lightning": ({"state_dict": under("backbone.", OWN) | linear("head", 4, 10), "epoch": 1}, "state_dict.backbone.linear", ["state_dict.head"]),
    "one output": (under("resnet.", OWN) | linear("fc", 1, 10), "resnet.linear", ["fc"]),
    "a norm and a layer": (under("module.backbone.", OWN) | norm("module.bn", 10) | linear("module.classifier", 4, 10), "module.backbone.linear", ["module.bn", "module.classifier"]),
    "ArcFace": ({"backbone": OWN, "arc": {"weight": torch.ones(4, 10)}}, "backbone.linear", ["arc"]),
    "ArcFace, normalised": (under("backbone.", OWN) | {"arc.weight_g": torch.ones(4, 1), "arc.weight_v": torch.ones(4, 10)}, "backbone.linear", ["arc"]),
    "ArcFace as a loss": (under("model.", OWN) | {"loss.W": torch.ones(10, 4)}, "model.linear", ["loss"]),
    "a norm": (under("0.", OWN) | norm("1", 10), "0.linear", ["1"]),
    "of the same width": (under("net.", OWN) | linear("calib", 10, 10), "net.linear", ["calib"]),
    "two layers beside the body": (under("body.", BODY) | linear("head.0", 32, 64) | linear("head.3", 4, 32), "head.0", ["head.3"]),
    "a norm behind a head beside the body": (under("body.", BODY) | linear("head.0", 10, 64) | norm("head.1", 10), "head.0", ["head.1"]),
}  # fmt: skip


def mended(error, tmp_path, monkeypatch, **options):
    """The network in the file that the line in a refusal writes."""
    code, out = re.search(r"run python -c (.*?) beside it, and give (.*?); else", error.fix).groups()
    monkeypatch.chdir(tmp_path)
    exec(shlex.split(code)[0], {})
    net, notes = import_weights(SOURCE, tmp_path / out, **options)
    return net, "\n".join(notes)


@pytest.mark.parametrize("how", BEHIND)
def test_a_head_with_a_layer_behind_it_is_refused_and_both_mends_work(how, tmp_path, monkeypatch):
    content, head, layers = BEHIND[how]
    with pytest.raises(ModelFileError, match=re.escape(f"classifier {head!r} may not be what answers")) as caught:
        read(content, tmp_path)
    assert f": {' and '.join(map(repr, layers))} beside it may take part" in caught.value.what
    assert "--num-classes N" in caught.value.fix
    for classes in (4, 10):
        net, notes = read(content, tmp_path, num_classes=classes)
        assert net.spec["num_classes"] == classes
        assert f"the file has no classifier that is taken over: a fresh one for {classes} classes" in notes
        assert f"left out: the classifier {head!r}, since" in notes
        assert has_the_body(net)
        assert not torch.equal(net.head.classifier.weight, OWN["linear.weight"])
    net, _ = mended(caught.value, tmp_path, monkeypatch)
    assert has_the_body(net)
    assert net.spec["num_classes"] == (32 if how.startswith("two") else 10)


def has_the_body(net, state=OWN):
    own = by_our_names(state)
    return all(torch.equal(v, own[k]) for k, v in net.state_dict().items() if not k.startswith("head."))


def test_another_head_beside_the_networks_own_is_refused_and_the_mends_work(tmp_path):
    """torchvision's `fc` often stays in the file though the program reads the features before it."""
    head = linear("model.classifier", 4, 64)
    content = {"state_dict": under("model.resnet.", OWN) | head}
    says = "'state_dict.model.resnet.linear' may not be what answers: 'state_dict.model.classifier' beside it"
    with pytest.raises(ModelFileError, match=re.escape(says)):
        read(content, tmp_path)
    net, _ = read({"state_dict": under("model.resnet.", BODY) | head}, tmp_path)
    assert torch.equal(net.head.classifier.weight, head["model.classifier.weight"])
    assert holds(read({"state_dict": under("model.resnet.", OWN)}, tmp_path)[0], OWN)
    net, notes = read(content, tmp_path, num_classes=4)
    assert has_the_body(net)
    assert not torch.equal(net.head.classifier.weight, head["model.classifier.weight"])
    assert "left out: the classifier 'state_dict.model.resnet.linear'" in notes


def test_training_takes_the_network_without_such_a_head(tmp_path):
    from podium.settings import Settings
    from podium.training.prepare import prepare

    save_file(under("resnet.", OWN) | linear("fc", 3, 10), tmp_path / "w.safetensors")
    source = f"{SOURCE}={tmp_path / 'w.safetensors'}"
    plan = prepare(Settings(model="resnet20", data="", weights=source, duration="1it", workers=1), digits_like())
    notes = "\n".join(plan.notes)
    assert "a fresh one for the 3 classes of shapes takes its place" in notes
    assert "left out: the classifier 'resnet.linear'" in notes
    assert has_the_body(plan.net)


# Beside a network with a head of its own, which stays.
NO_DOUBT = {
    "class weights": {"criterion.weight": torch.ones(10), "loss_fn.pos_weight": torch.ones(10)},
    "class weights of a name of their own": {"ce.weight": torch.ones(10), "class_weights": torch.ones(10)},
    "what mistakes cost": {"loss.weight": torch.ones(10, 10)},
    "a metric": {"train_acc.tp": torch.ones(10), "confmat.confmat": torch.zeros(10, 10)},
    "answers": {"preds": torch.zeros(30, 10), "mixup_targets": torch.zeros(30, 10), "oof": torch.ones(30, 10)},
    "centers of a loss": {"center_loss.centers": torch.zeros(10, 64), "criterion.log_prior": torch.zeros(10)},
    "an EMA copy": under("ema.", EMA),
    "an EMA copy of the head": linear("ema_head", 10, 64),
    "the network of a target": linear("target_network.fc", 10, 64)
    | {"target_network.conv.weight": torch.ones(64, 64, 3, 3)},
    "a larger teacher": linear("teacher.fc", 10, 64)
    | norm("teacher.bn", 10)
    | {"teacher.conv.weight": torch.ones(64, 3, 7, 7)},
    "a projection": linear("projection_head.layers.0", 64, 64)
    | linear("projector.2", 128, 64)
    | {"queue": torch.ones(64, 99)},
    "an auxiliary head": linear("aux_head", 10, 64),
    "masks of all weights": {f"masks.{k}": torch.ones_like(v) for k, v in OWN.items() if v.ndim > 1},
    "numbers on record": {"best_acc": torch.tensor(91.5), "epoch": torch.tensor(3), "val_acc_mean": torch.ones(3)},
    "a discriminator": linear("discriminator.0", 32, 64) | linear("discriminator.2", 1, 32),
    "a domain classifier": linear("domain_classifier", 2, 64),
    "an optimiser": {"optimizer.state.60.exp_avg": torch.zeros(10, 64), "opt.exp_avg.fc.weight": torch.zeros(10, 64)},
    "the same head": {"head.weight": OWN["linear.weight"].clone(), "head.bias": OWN["linear.bias"].clone()},
}


@pytest.mark.parametrize("what", NO_DOUBT)
def test_what_does_not_read_the_answers_puts_no_head_in_doubt(what, tmp_path):
    assert holds(read({"state_dict": under("model.", OWN) | NO_DOUBT[what]}, tmp_path)[0], OWN)


def test_a_confusion_matrix_hides_no_head_beside_the_body(tmp_path):
    head = {k.replace("linear", "head"): v for k, v in OWN.items() if k.startswith("linear.")}
    net, _ = read(under("body.", BODY) | head | {"confmat.confmat": torch.zeros(10, 10)}, tmp_path)
    assert holds(net, OWN)


# Beside a network with a head of its own, or between it and a head beside it, which does not stay.
IN_DOUBT = {
    "an LSTM": {"lstm.weight_ih_l0": torch.ones(256, 10), "lstm.bias_ih_l0": torch.ones(256)},
    "prototypes": {"prototypes": torch.ones(7, 10)},
    "a bilinear layer": {"out.weight": torch.ones(7, 10, 10)},
    "a one-dimensional convolution": {"eca.weight": torch.ones(1, 1, 3)},
    "a convolution of two maps": {"attention.weight": torch.ones(1, 2, 7, 7)},
    "a network that is no copy": linear("densenet.fc", 10, 99) | {"densenet.conv.weight": torch.ones(64, 3, 7, 7)},
    "a layer of other widths": linear("table", 32, 48),
    "statistics of features": {"feat_mean": torch.ones(64), "feat_std": torch.ones(64)},
    "a scaler": {"scaler.mean_": torch.ones(64), "scaler.scale_": torch.ones(64)},
    "a scale of features": {"mid.scale": torch.ones(1, 64)},
    "a power of the pool": {"pooling.p": torch.tensor([3.0])},
    "a temperature": {"temperature": torch.ones(1)},
    "a prior": {"log_prior": torch.zeros(10)},
    "an order of classes": {"class_map": torch.arange(10)},
    "a scale and a bias of the answers": {"scale": torch.ones(10), "bias": torch.ones(10)},
}  # fmt: skip


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("what", IN_DOUBT)
def test_whatever_is_not_known_to_be_harmless_is_refused_by_name_and_the_line_takes_it_out(
    what, beside, tmp_path, monkeypatch
):
    net = under("net.", BODY) | {k.replace("linear", "head"): v for k, v in OWN.items() if k not in BODY}
    content = {**(net if beside else under("net.", OWN)), **IN_DOUBT[what], "classes": [*"jihgfedcba"]}
    names = dict.fromkeys(name.partition(".")[0] for name in IN_DOUBT[what])
    with pytest.raises(ModelFileError, match=f"{' and '.join(map(repr, names))} beside it may take part") as caught:
        read(content, tmp_path)
    assert holds(mended(caught.value, tmp_path, monkeypatch)[0], OWN)
    assert foreign.read_checkpoint(tmp_path / "best-net.safetensors").named == {"classes": [*"jihgfedcba"]}


def test_names_of_more_classes_than_the_head_has_say_that_it_does_not_answer(tmp_path):
    content = {"model": OWN, "projector": {"weight": torch.ones(7, 64)}}
    assert holds(read({**content, "classes": [*"abcdefghij"]}, tmp_path)[0], OWN)
    with pytest.raises(ModelFileError, match="'projector' beside it may take part"):
        read({**content, "classes": [*"abcdefg"]}, tmp_path)


def test_several_heads_are_refused_by_their_names_and_the_line_leaves_the_likeliest(tmp_path, monkeypatch):
    content = under("net.", BODY) | linear("cls", 10, 64) | linear("rotation", 4, 64)
    for names, classes in (({}, 10), ({"classes": [*"abcd"]}, 4)):
        with pytest.raises(
            ModelFileError, match="2 layers may be the network's classifier: 'cls' and 'rotation'"
        ) as caught:
            read(content | names, tmp_path)
        assert mended(caught.value, tmp_path, monkeypatch)[0].spec["num_classes"] == classes
        (tmp_path / "best-net.safetensors").unlink()


def test_a_head_beside_a_projection_is_the_head(tmp_path):
    content = under("backbone.", BODY) | linear("projection_head.0", 64, 64) | linear("projection_head.2", 32, 64)
    net, _ = read(content | {"linear.weight": OWN["linear.weight"], "linear.bias": OWN["linear.bias"]}, tmp_path)
    assert holds(net, OWN)


JOINED = {
    "fc.weight_g": "torch.nn.utils.remove_weight_norm(net.fc)",
    "fc.weight_u": "torch.nn.utils.remove_spectral_norm(net.fc)",
    "fc.parametrizations.weight.original0": 'torch.nn.utils.parametrize.remove_parametrizations(net.fc, "weight")',
}


@pytest.mark.parametrize("name", JOINED)
def test_a_head_in_parts_is_refused_with_the_call_that_joins_them(name, tmp_path):
    with pytest.raises(ModelFileError, match=r"fc\.weight is kept in parts") as caught:
        read(BODY | {name: torch.ones(10, 1), "fc.bias": torch.ones(10)}, tmp_path)
    assert f"call {JOINED[name]} in its own program" in caught.value.fix


def test_the_name_of_another_network_in_the_file_is_said(tmp_path):
    notes = read({"arch": "wideresnet20_aa", "state_dict": OWN}, tmp_path)[1]
    assert "the file says arch: wideresnet20_aa, and is read as akamaster:resnet20" in notes
    assert "and is read as" not in read({"arch": "resnet20", "state_dict": OWN}, tmp_path)[1]


def test_the_second_of_two_layers_says_which_is_the_first(tmp_path):
    """fastai's `learn.save`: features pooled twice, a norm, a layer, a norm and a layer."""
    two = norm("1.2", 128) | linear("1.4", 64, 128) | norm("1.6", 64) | linear("1.8", 10, 64)
    with pytest.raises(ModelFileError, match=r"'1\.8' may not be what answers: '1\.2' and '1\.4' and '1\.6'"):
        read(under("0.", BODY) | two, tmp_path)
    assert has_the_body(read(under("0.", BODY) | two, tmp_path, num_classes=4)[0])


# --- EMA weights whose head stands beside them

HEAD, EMA_HEAD = ({k[7:]: s[k] for k in ("linear.weight", "linear.bias")} for s in (OWN, EMA))
EMA_BODY = {k: v for k, v in EMA.items() if not k.startswith("linear.")}
PAIRS = {
    "dictionaries": {"encoder": BODY, "classifier": HEAD, "ema_encoder": EMA_BODY, "ema_classifier": EMA_HEAD},
    "solo-learn": {"state_dict": under("encoder.", BODY) | under("classifier.", HEAD) | under("momentum_encoder.", EMA_BODY) | under("momentum_classifier.", EMA_HEAD)},
    "words behind": {"backbone": BODY, "fc": HEAD, "backbone_ema": EMA_BODY, "fc_ema": EMA_HEAD},
    "nested": {"student": {"body": BODY, "fc": HEAD}, "teacher": {"body": EMA_BODY, "fc": EMA_HEAD}},
}  # fmt: skip


@pytest.mark.parametrize("how", PAIRS)
def test_ema_weights_take_the_ema_head_and_plain_ones_the_plain(how, tmp_path):
    assert holds(read(PAIRS[how], tmp_path)[0], OWN)
    assert holds(read(PAIRS[how], tmp_path, ema=True)[0], EMA)


def test_ema_weights_without_a_head_of_their_own_take_the_plain_one_and_say_which(tmp_path):
    net, notes = read({"backbone": BODY, "fc": HEAD, "backbone_ema": EMA_BODY}, tmp_path, ema=True)
    assert holds(net, EMA_BODY | under("linear.", HEAD))
    assert "the head is fc, for 10 classes" in notes


# --- a network that is a small part of the file


def tower(prefix, layers):
    """Many tensors that are no network of ours."""
    names = ("n1.weight", "n1.bias", "qkv.bias", "proj.bias", "fc1.bias", "fc2.bias")
    return {f"{prefix}.blocks.{i}.{name}": torch.ones(4) for i in range(layers) for name in names}


def test_a_network_beside_a_much_larger_one_is_found(tmp_path):
    net, notes = read({"state_dict": under("student.", OWN) | tower("teacher_net", 200)}, tmp_path)
    assert holds(net, OWN)
    assert "the weights stand under 'state_dict.student'" in notes


def test_ten_folds_are_refused_by_their_names(tmp_path):
    folds = {f"fold_{i}": weights(i) for i in range(10)}
    with pytest.raises(ModelFileError, match=r"two different sets of weights .* under 'fold_0' and 'fold_1'"):
        read(folds, tmp_path)
    assert holds(read({**folds, **{f"fold_{i}": OWN for i in range(1, 10)}, "fold_0": OWN}, tmp_path)[0], OWN)
