"""Pruning takes whole channels of every family and changes nothing else; what is left is a run like any other."""

import copy
import json
import shutil

import pytest
import torch
from torch import nn

import podium as library
from conftest import FEW, sampled
from podium.compression import channels, shrink
from podium.compression.channels import macs, prune_channels, removable, size_bytes, smallest_change, without
from podium.compression.prune import Target
from podium.compression.slim import slim_network, slim_spec, slim_to
from podium.data.preprocessing import Preprocessing
from podium.errors import ModelFileError, UsageError
from podium.models.modules import SqueezeExcitation
from podium.models.registry import rebuild
from podium.models.undrawn import meta
from podium.runs import bundle
from podium.units import parse_bytes, parse_milliseconds
from podium.weights.create import create_model

pytest.importorskip("torch_pruning", reason="needs the extra `prune`")

SMALL = {"num_classes": 10, "image_size": 32, "small": True}
UNITS = {"units": (1, 2, 1, 1)}
# A small form of everything that channels can meet in: sums, concatenations, groups, depthwise layers, gates, flattening.
FAMILIES = {
    "resnet20": {"num_classes": 10, "image_size": 32, "shortcut": "A-split"},
    "resnet18": {**SMALL, **UNITS, "width": 16},
    "resnet50": {**SMALL, **UNITS, "width": 16},
    "resnetv2_50": {**SMALL, **UNITS, "width": 16},
    "resnext50_32x4d": {**SMALL, **UNITS, "groups": 4, "group_width": 8, "width": 32},
    "seresnet18": {**SMALL, **UNITS, "width": 32},
    "mobilenet_v1": {**SMALL, "width": 0.25},
    "xception": {**SMALL},
    "densenet121": {**SMALL, "layers": (2, 2, 2, 2), "growth": 16},
    "googlenet": {**SMALL},
    "vgg11_bn": {**SMALL},
    "alexnet_owt": {**SMALL, "image_size": 48},
    "lenet5_modern": {"num_classes": 10, "image_size": 28},
}


@pytest.fixture(autouse=True, scope="module")
def brief():
    """Here the times in the tables are not looked at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shrink, "SECONDS", 0.01)
        patch.setattr(shrink, "FILE_ENGINES", ())
        yield


def built(name, **arguments):
    """A network whose batch norms are not as fresh ones are, which would hide what pruning does to them."""
    torch.manual_seed(0)
    net = create_model(name, **{**FAMILIES[name], **arguments})
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.2)
            m.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.normal_(m.bias, 0, 0.2)
    return net.eval()


def images(net, n=2):
    side = net.spec["image_size"]
    return torch.randn(n, net.spec["in_chans"], side, side, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def taken(monkeypatch):
    """What torch-pruning took, by layer: the numbers of its own outputs in the network as it was."""
    from torch_pruning.dependency.group import Group

    alive, gone, original = {}, {}, Group.prune

    def prune(self, *arguments, **named):
        for dep, idxs in self:
            module = dep.target.module
            if "out" in dep.handler.__name__ and isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
                width = module.num_features if isinstance(module, nn.BatchNorm2d) else module.weight.shape[0]
                left = alive.setdefault(id(module), list(range(width)))
                numbers = [i.idx if hasattr(i, "idx") else i for i in idxs]
                gone.setdefault(id(module), (module, set()))[1].update(left[i] for i in numbers)
                alive[id(module)] = [k for i, k in enumerate(left) if i not in set(numbers)]
        return original(self, *arguments, **named)

    monkeypatch.setattr(Group, "prune", prune)
    return gone


@pytest.mark.parametrize("name", sampled(FAMILIES, FEW))
def test_a_pruned_network_is_the_old_one_with_those_channels_at_zero_and_is_rebuilt_from_its_card(
    name, taken, tmp_path
):
    net = built(name)
    small = prune_channels(net, 0.4)
    assert macs(small) < 0.8 * macs(net)
    names = {id(module): key for key, module in small.named_modules()}
    zeroed = copy.deepcopy(net)
    with torch.no_grad():
        for module, numbers in taken.values():
            layer = zeroed.get_submodule(names[id(module)])
            layer.weight[sorted(numbers)] = 0
            if layer.bias is not None:
                layer.bias[sorted(numbers)] = 0
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean[sorted(numbers)] = 0
        x = images(net)
        whole, expected, actual = net(x), zeroed(x), small(x)
    assert (actual - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert actual.shape == whole.shape
    assert not torch.allclose(actual, whole)
    pixels = Preprocessing(net.spec["image_size"], net.spec["in_chans"])
    bundle.save(tmp_path, small, tuple("abcdefghij"), pixels, {})
    with torch.no_grad():
        assert torch.equal(bundle.load(tmp_path).model(x), actual)
    small.train()
    small.training_loss(x, torch.tensor([1, 2]), nn.functional.cross_entropy).backward()  # auxiliary classifiers too
    assert all(p.grad is not None for p in small.parameters())


def test_auxiliary_classifiers_keep_up_with_what_they_read():
    small = prune_channels(built("googlenet"), 0.5)
    assert small.head.classifier.out_features == 10
    ends = small.endpoints(images(small))
    assert {ends[f"auxiliary.{name}"].shape for name in small.auxiliary} == {(2, 10)}


def test_a_frozen_network_is_pruned_all_the_same_and_stays_frozen():
    net = built("resnet18")
    expected = macs(prune_channels(net, 0.5))
    net.freeze("features")
    small = prune_channels(net, 0.5)
    assert macs(small) == expected < 0.5 * macs(net)
    assert not any(p.requires_grad for p in small.stages.parameters())
    assert all(p.requires_grad for p in small.head.parameters())


def test_one_network_after_another_is_pruned_as_it_would_be_alone():
    alone = prune_channels(built("resnet18"), 0.5).spec
    prune_channels(built("resnext50_32x4d"), 0.5)
    assert prune_channels(built("resnet18"), 0.5).spec == alone


def test_pruning_works_where_gradients_are_off():
    with torch.no_grad():
        assert macs(prune_channels(built("resnet18"), 0.5)) < 0.5 * macs(built("resnet18"))


def test_wide_layers_keep_multiples_of_eight():
    net = create_model("resnet18", **SMALL)
    small = prune_channels(net, 0.37)
    assert {m.out_channels % 8 for m in small.modules() if isinstance(m, nn.Conv2d)} == {0}


def test_no_layer_disappears_however_much_is_asked():
    small = prune_channels(built("resnet18"), 0.999)
    assert min(m.out_channels for m in small.modules() if isinstance(m, nn.Conv2d)) >= 2
    assert torch.isfinite(small(images(small))).all()


def test_a_pruned_network_can_be_pruned_again():
    once = prune_channels(built("resnet18"), 0.3)
    twice = prune_channels(once, 0.3)
    assert macs(twice) < macs(once)
    again = rebuild(twice.spec).eval()
    again.load_state_dict(twice.state_dict())
    assert torch.equal(again(images(again)), twice(images(again)))


@pytest.mark.parametrize("ratio", [1.0, 1.5, -0.1])
def test_a_ratio_that_leaves_nothing_is_refused(ratio):
    with pytest.raises(UsageError, match="ratio"):
        prune_channels(built("resnet18"), ratio)


def test_layers_that_pruning_does_not_know_are_named():
    with pytest.raises(UsageError, match="Subsampling"):
        prune_channels(create_model("lenet5"), 0.5)


@pytest.mark.parametrize(
    ("measure", "share"), [(macs, 0.5), (macs, 0.2), (size_bytes, 0.4)], ids=["half", "a fifth", "size"]
)
def test_the_target_is_met_by_what_is_measured(measure, share):
    net = built("resnet18")
    limit = share * measure(net)
    small = smallest_change(lambda r: prune_channels(net, r), measure, limit, "macs", steps=8)
    assert 0.85 * limit <= measure(small) <= limit


def test_a_target_below_the_smallest_is_refused_with_what_can_be_had():
    net = built("resnet18")
    with pytest.raises(UsageError, match="cannot be reached"):
        smallest_change(lambda r: prune_channels(net, r), macs, 1000.0, "macs")


@pytest.mark.parametrize(
    ("kind", "value"), [("speedup", 1.0), ("macs", 1.0), ("macs", 0.0), ("latency", -1.0), ("size", 0)]
)
def test_impossible_targets_are_refused(kind, value):
    with pytest.raises(UsageError, match=kind):
        Target(kind, value)


def test_amounts_are_read_with_their_units():
    assert parse_milliseconds("latency", "8ms") == 8
    assert parse_milliseconds("latency", "0.5s") == 500
    assert parse_milliseconds("latency", 8.5) == 8.5
    assert parse_bytes("size", "5MB") == 5e6
    with pytest.raises(UsageError, match="latency"):
        parse_milliseconds("latency", "8MB")


def test_blocks_are_taken_whole_and_the_rest_answers_as_before(tmp_path):
    net = built("resnet20")
    names = removable(net)
    assert len(names) == 7  # all but the two that change the size
    small = without(net, names[:2])
    x = images(net)
    for name in names[:2]:
        nn.init.zeros_(net.get_submodule(name).residual.bn2.weight)
        nn.init.zeros_(net.get_submodule(name).residual.bn2.bias)
    with torch.no_grad():
        assert torch.equal(small(x), net(x))  # an identity after a rectifier
    again = rebuild(small.spec).eval()
    again.load_state_dict(small.state_dict())
    assert torch.equal(again(x), small(x))


def test_the_blocks_that_are_missed_least_go_first():
    net = built("resnet20")
    dead = removable(net)[3]
    for key in ("weight", "bias"):
        nn.init.zeros_(getattr(net.get_submodule(dead).residual.bn2, key))
    x = images(net)
    whole = net(x)
    assert channels.rank_blocks(net, lambda n: (n.eval()(x) - whole).abs().sum().item())[0] == dead


@pytest.mark.parametrize(
    "edits",
    [
        {"layers": {"stem.conv1": {"out": 10**9}}},
        {"layers": {"nothing": {"out": 1}}},
        {"layers": {"stem.conv1": {"out": 0}}},
        {"removed": ["stages.stage9"]},
        {"layers": {"stem.relu1": {"out": 1}}},
    ],
)
def test_edits_in_a_card_only_take_away(tmp_path, edits):
    net = prune_channels(built("resnet18"), 0.5)
    bundle.save(tmp_path, net, tuple("abcdefghij"), Preprocessing(32, 3), {})
    card = json.loads((tmp_path / "card.json").read_text())
    del card["card_sha256"]
    card["spec"]["edits"] = edits
    (tmp_path / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelFileError, match="not a card of Podium"):
        bundle.load(tmp_path)


@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn", "mobilenet_v1", "resnet20"])
def test_a_slim_network_is_narrower_everywhere_and_alike_for_a_seed(name):
    net = built(name)
    slim = slim_network(net.spec, 0.5, None, seed=3)
    assert macs(slim) < 0.35 * macs(net)
    same = slim_network(net.spec, 0.5, None, seed=3).state_dict()
    assert all(torch.equal(value, same[key]) for key, value in slim.state_dict().items())
    assert rebuild(slim.spec).state_dict().keys() == same.keys()
    x = images(net)
    spread = slim.eval()(x).std()
    assert 0 < spread < 100


# Of every way a width comes into a network a small form; those not in `FAMILIES` have concatenations under gates and sums.
WIDE = {
    **FAMILIES,
    "se_bn_inception": {**SMALL},
    "seresnext50_32x4d": {**SMALL, **UNITS},
    "resnext29_8x64d": {},
    "vgg11_lrn": {**SMALL},
}
NARROW = (0.5, 0.01)


@pytest.mark.parametrize("name", sampled(WIDE, FEW))
def test_every_uniform_width_is_a_network_that_runs(name):
    """On the meta device; `count_net` is a forward pass."""
    whole = meta(lambda: create_model(name, **WIDE[name]))
    spec, costs = whole.spec, [macs(whole)]
    for width in NARROW:
        small = slim_spec(spec, width)
        net = meta(lambda small=small: rebuild(small))
        assert all(0 not in value.shape for value in net.state_dict().values())
        costs.append(macs(net))
    assert costs == sorted(costs, reverse=True)
    assert costs[1] < costs[0]


@pytest.mark.parametrize("ratio", sampled([0.5, 0.9], 1))
def test_no_branch_under_a_gate_is_taken_whole(ratio):
    """All channels of a branch may be the least important of what they are concatenated to."""
    net = create_model("se_bn_inception", **SMALL).eval()
    with torch.no_grad():
        net.get_submodule("stages.inception3a.0.branch1.conv").weight.mul_(1e-3)
    small = prune_channels(net, ratio)
    assert small(images(net)).shape == (2, 10)
    assert 0 < small.get_submodule("stages.inception3a.0.branch1.conv").out_channels <= 8


def test_a_width_that_the_network_cannot_have_is_refused():
    with pytest.raises(UsageError, match="Subsampling"):
        slim_spec(create_model("lenet5").spec, 0.5)
    for width in (0, -0.5, 1.5, float("nan")):
        with pytest.raises(UsageError, match="width"):
            slim_spec(create_model("resnet20").spec, width)


def test_a_network_of_the_smallest_width_learns():
    net = slim_network(create_model("seresnet18", **SMALL).spec, 0.01, None, seed=0).train()
    torch.nn.functional.cross_entropy(net(images(net, 4)), torch.arange(4)).backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())
    assert min(gate.fc1.out_channels for gate in net.modules() if isinstance(gate, SqueezeExcitation)) == 1


@pytest.mark.parametrize(
    ("name", "share"), sampled([("seresnet18", 0.02), ("seresnet18", 0.9), ("lenet5_modern", 0.3)], ["lenet5_modern"])
)
def test_the_uniform_control_is_the_widest_within_any_target(name, share):
    spec = create_model(name, **FAMILIES[name]).spec
    target = share * macs(meta(lambda: rebuild(spec)))
    found = slim_to(spec, macs, target, "macs")
    assert 0.2 * target < macs(meta(lambda: rebuild(found))) <= target
    with pytest.raises(UsageError, match="cannot be reached"):
        slim_to(spec, macs, 10, "macs")


def test_depth_is_the_blocks_of_each_stage():
    slim = slim_network(create_model("resnet18", **SMALL).spec, 1.0, (1, 1, 1, 1), seed=0)
    assert [len(stage) for stage in slim.stages] == [1, 1, 1, 1]
    for depth in ((1, 1), (0, 1, 1, 1)):
        with pytest.raises(UsageError, match="depth"):
            slim_network(create_model("resnet18", **SMALL).spec, 1.0, depth, seed=0)
    with pytest.raises(UsageError, match="depth"):
        slim_network(built("lenet5_modern").spec, 1.0, (1,), seed=0)


@pytest.fixture(scope="module")
def pruned(run, tmp_path_factory):
    """A pruned run with its controls."""
    out = tmp_path_factory.mktemp("pruned") / "half"
    return library.prune(run, "digits", out, macs=0.5, epochs=2, tolerance=0.5)


def test_a_pruned_run_stands_beside_its_controls_and_names_its_parent(run, pruned):
    names = [row["name"] for row in pruned.rows]
    assert names == ["original", "half", "from scratch", "slim, from scratch"]
    whole, half, scratch, slim = pruned.rows
    assert half["macs"] <= 0.5 * whole["macs"]
    assert scratch["macs"] == half["macs"] >= slim["macs"]
    assert half["size_bytes"] < whole["size_bytes"]
    assert all({"top1", "error", "params", "latency_ms", "images_per_second"} <= row.keys() for row in pruned.rows)
    card = json.loads((pruned.run / "card.json").read_text())
    start = json.loads((pruned.run / "start" / "card.json").read_text())
    parent = json.loads((run / "card.json").read_text())
    assert card["parent"].endswith(start["sha256"])
    assert card["teacher"].endswith(parent["sha256"])
    assert start["made"]["parent"].endswith(parent["sha256"])
    own = pruned.run.result["steps"]
    total = library.load(pruned.run.path / "controls" / "scratch").card["steps"]
    assert total == own + run.result["steps"]
    assert json.loads((pruned.run / "compression.json").read_text())["gate"]["passed"]
    page = (pruned.run / "report.html").read_text()
    assert "Before, after, controls" in page
    assert "slim, from scratch" in page


@pytest.mark.slow
def test_gates_are_pruned_with_their_controls(tmp_path):
    net = create_model("seresnet18", num_classes=10, in_chans=1, image_size=8, small=True, width=32, units=(1, 1, 1, 1))
    parent = library.train(net, "digits", tmp_path / "parent", steps=1, batch_size=16)
    shrunk = library.prune(parent, "digits", tmp_path / "out", speedup=4, steps=1, batch_size=16, tolerance=0.9)
    assert [row["name"] for row in shrunk.rows][-1] == "slim, from scratch"
    assert shrunk.rows[-1]["macs"] <= shrunk.rows[1]["macs"] <= shrunk.rows[0]["macs"] / 4


def test_a_control_that_cannot_be_is_refused_before_anything_is_trained(run, podium, tmp_path, monkeypatch):
    """As where the pruned network is smaller than every uniform one."""
    from podium.compression import prune

    def none(*_):
        raise UsageError("macs: 1 cannot be reached", "ask for less, or prune another network")

    monkeypatch.setattr(prune, "slim_to", none)
    words = ["prune", run.path, "digits", "--macs", "0.5", "--steps", "1", "--tolerance", "0.9", "-o", tmp_path / "out"]
    podium(*words).refused(2, "--no-controls")
    assert not (tmp_path / "out").exists()
    assert podium(*words, "--no-controls").code == 0


def test_the_same_command_again_does_nothing_twice(run, pruned):
    before = (pruned.run / "model.safetensors").stat().st_mtime_ns
    again = library.prune(run.path, "digits", pruned.run.path, macs=0.5, epochs=2, tolerance=0.5)
    assert (again.run / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(UsageError, match="another network"):
        library.prune(run.path, "digits", pruned.run.path, macs=0.4, epochs=2, tolerance=0.5)
    with pytest.raises(UsageError, match="duration: the run has '2ep', not '3ep'"):
        library.prune(run.path, "digits", pruned.run.path, macs=0.5, epochs=3, tolerance=0.5)


@pytest.mark.slow
def test_a_fine_tuning_of_next_to_no_epochs_has_its_controls(run, tmp_path):
    bare = tmp_path / "bare"  # a bundle, which does not say how long it was trained
    bare.mkdir()
    for name in ("model.safetensors", "card.json"):
        shutil.copy(run / name, bare / name)
    shrunk = library.prune(bare, "digits", tmp_path / "out", macs=0.5, steps=1, batch_size=4, tolerance=0.9)
    assert (shrunk.run.result["epochs"], len(shrunk.rows)) == (0, 4)
    assert shrunk.notes[0].startswith("controls: 1 steps, as the fine-tuning")


def test_a_network_that_lost_too_much_leaves_the_old_one_in_place(run, podium, tmp_path):
    before = (run / "model.safetensors").read_bytes()
    words = ["prune", run.path, "digits", "--macs", "0.25", "--steps", "1", "--tolerance", "0.01", "--no-controls"]
    said = podium(*words, "-o", tmp_path / "out", "--json")
    assert said.code == 5
    assert "stays in place" in said.err
    assert (said.json["gate"]["passed"], said.json["gate"]["outcome"]) == (False, "above")
    assert json.loads((tmp_path / "out" / "card.json").read_text())["gate"] == said.json["gate"]
    assert (run / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--macs", "1.0"), "macs"),
        (("--macs", "0.00001"), "cannot be reached"),
        (("--speedup", "0.5"), "speedup"),
        (("--size", "5XB"), "size"),
        (("--size", "5GB"), "as it is"),
        (("--macs", "0.5", "--depth"), "no residual block"),
    ],
)
def test_requests_that_cannot_be_are_refused_before_anything_is_written(run, podium, tmp_path, words, said):
    podium("prune", run.path, "digits", *words, "--tolerance", "0.5", "-o", tmp_path / "out").refused(2, said)


def test_slim_trains_like_any_network(podium, tmp_path):
    words = ["slim", "lenet5_modern", "digits", "--width", "0.5", "--epochs", "1", "-o", tmp_path / "slim"]
    said = podium(*words, "--json").json
    assert said["macs"] < 0.5 * 416520
    assert library.load(tmp_path / "slim").model.spec["edits"]
