"""The layer table: shapes, costs and receptive fields against sums done by hand and against the literature."""

import re

import pytest
import torch
from torch import nn

from conftest import sampled
from podium.evaluation.cost import count_net
from podium.evaluation.layers import layers, summary
from podium.models.convnet import ConvNet, Head
from podium.models.modules import Branches, Residual, SqueezeExcitation
from podium.models.undrawn import meta
from podium.weights.create import create_model


def named(name, **form):
    return meta(lambda: create_model(name, **form))


def built(*stages, side=16):
    """A network of stages over 4 maps, named a, b, c."""
    head = Head(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), nn.Linear(4, 2))
    net = ConvNet(nn.Identity(), zip("abc", stages, strict=False), head)
    net.spec = {"model": "built", "image_size": side, "in_chans": 4, "num_classes": 2}
    return net


def fields(net):
    return {row.name: row.receptive_field for row in layers(net)}


# Araujo, Norris, Sim 2019, "Computing receptive fields of convolutional neural networks", Table 1: the last map of each.
ARAUJO = {
    "alexnet": 195,
    "vgg16": 212,
    "mobilenet_v1": 315,
    "resnet50_v1": 483,
    "resnet101_v1": 1027,
    "resnet152_v1": 1507,
    "bn_inception": 699,
    "inception_v3": 1311,
    "inception_v4": 2071,
    "inception_resnet_v2": 3039,
}


@pytest.mark.parametrize("name", sampled(ARAUJO, ("alexnet", "vgg16", "resnet50_v1", "mobilenet_v1")))
def test_receptive_fields_are_those_of_the_literature(name):
    last = [row for row in layers(named(name)) if row.part != "head" and not row.training_only][-1]
    assert last.receptive_field == (ARAUJO[name], ARAUJO[name])


def test_a_stride_in_the_3x3_sees_less_than_one_in_the_1x1():
    """A 3x3 that strides itself steps by what was before: by 4, 8 and 16 px less on either side than in ResNet v1."""
    last = [row for row in layers(named("resnet50")) if row.part == "stage4"][-1]
    assert last.receptive_field == (483 - 2 * (4 + 8 + 16),) * 2


@pytest.mark.parametrize(
    ("name", "strided", "note"),
    [
        ("seresnext50_32x4d", "conv 3x3/2, 256, 32 groups", "stride in the 3x3"),
        ("seresnet50", "conv 1x1/2, 128", "stride in the first 1x1"),
        ("resnet50", "conv 3x3/2, 128", "stride in the 3x3"),
        ("bn_inception", "conv 7x7/2, 64", "a dense 7x7 first, where the paper's is separable"),
        ("se_bn_inception", "conv 7x7/2, 64", "a dense 7x7 first, as released"),
    ],
)
def test_the_note_says_what_the_layers_are(name, strided, note):
    part = "stem" if "inception" in name else "stage2"
    rows = [row for row in layers(named(name)) if row.part == part and "conv" in row.type and "/2" in row.type]
    assert [row.type for row in rows if "shortcut" not in row.name] == [strided]
    assert note in summary(named(name))["note"]
    if part == "stem":  # a separable one would have 8 filters of 7x7 for each colour, then 1x1 to 64 maps
        dense, separable = 3 * 49 * 64, 3 * 8 * 49 + 3 * 8 * 64
        assert (rows[0].params, separable) == (dense, 2712)


def test_receptive_fields_by_hand_along_every_path():
    flat, tall = nn.Conv2d(4, 4, (1, 3), padding=(0, 1)), nn.Conv2d(4, 4, (5, 1), padding=(2, 0))
    net = built(
        nn.Sequential(nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.MaxPool2d(2)),
        nn.Sequential(Branches(flat=flat, tall=tall), nn.Conv2d(8, 4, 1)),
        Residual(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), SqueezeExcitation(4, 2)), nn.Identity()),
    )
    assert fields(net) == {
        "stages.a.0": (3, 3),
        "stages.a.1": (5, 5),  # steps of 4 px from here
        "stages.b.0.flat": (5, 13),
        "stages.b.0.tall": (21, 5),
        "stages.b.0": (21, 13),
        "stages.b.1": (21, 13),
        "stages.c.residual.0": (29, 21),
        "stages.c.residual.1.fc1": None,
        "stages.c.residual.1.relu": None,
        "stages.c.residual.1.fc2": None,
        "stages.c.residual.1": (29, 21),
        "stages.c": (29, 21),
        "head.pool.0": None,
        "head.pool.1": None,
        "head.classifier": None,
    }


def test_activations_are_what_is_not_made_in_place():
    net = built(
        nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.ReLU(), nn.Dropout()),
        Residual(nn.Conv2d(6, 4, 1), nn.Conv2d(6, 4, 1), act=True),
    )
    by_name = {row.name: row.activations for row in layers(net)}
    inside = {"stages.a.0": 6, "stages.a.1": 6, "stages.a.2": 0, "stages.a.3": 6, "stages.a.4": 0}
    outside = {"stages.b.residual": 4, "stages.b.shortcut": 4, "stages.b": 4}
    assert by_name == {
        **{name: maps * 16 * 16 for name, maps in {**inside, **outside}.items()},
        "head.pool.0": 4,
        "head.pool.1": 0,
        "head.classifier": 2,
    }


FAMILIES = [
    "lenet5", "alexnet", "zfnet", "vgg11_bn", "googlenet", "se_bn_inception", "inception_v3", "inception_resnet_v1",
    "resnet18_a", "plain20", "resnetv2_50_slim", "resnext29_8x64d", "seresnet18", "xception", "mobilenet_v1", "densenet121",
]  # fmt: skip


@pytest.mark.parametrize("name", sampled(FAMILIES))
def test_the_rows_sum_to_what_the_network_costs(name):
    for net in (named(name), named(name, num_classes=7, in_chans=1, image_size=96, small=True)):
        rows, cost = layers(net), count_net(net)
        trunk = [row for row in rows if not row.training_only]
        assert sum(row.params for row in trunk) == cost.params
        assert sum(row.macs for row in trunk) == cost.macs
        assert sum(row.params for row in rows if row.training_only) == cost.auxiliary_params
        ends = {row.part: row.shape for row in trunk}
        assert {**dict(cost.stages), **ends, "head": ends["head"]} == {**dict(cost.stages), "head": cost.stages[-1][1]}
        assert len({(row.name, row.type) for row in rows}) == len(rows)


def test_a_row_says_what_keras_summary_says_and_more():
    rows = {row.name: row for row in layers(named("resnext50_32x4d"))}
    first, grouped = rows["stem.conv1"], rows["stages.stage2.0.residual.conv2"]
    assert (first.type, first.shape) == ("conv 7x7/2, 64", (64, 112, 112))
    assert (first.params, first.macs) == (3 * 64 * 49, 3 * 64 * 49 * 112 * 112)
    assert (grouped.type, grouped.shape) == ("conv 3x3/2, 256, 32 groups", (256, 28, 28))
    assert grouped.params == 256 * (256 // 32) * 9
    assert rows["stages.stage2.0"].type == "add, ReLU"
    assert rows["head.classifier"].type == "fc, 1000"
    types = {row.type for row in layers(named("xception"))}
    assert {"depthwise conv 3x3, 728", "conv 1x1/2, 1024", "max pool 3x3/2", "global avg pool", "add"} <= types
    types = {row.type for row in layers(named("lenet5"))}
    assert {"partial conv 5x5, 16", "subsampling 2x2/2", "scaled tanh", "radial basis"} <= types
    assert "conv 1x7, 128" in {row.type for row in layers(named("inception_v3"))}


def test_looking_leaves_the_network_as_it_was():
    net = create_model("resnet20")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    layers(net)
    assert all(module.training for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_info_as_json(podium):
    facts = podium("info", "googlenet", "--json").json
    assert facts["name"] == "googlenet"
    assert (facts["params"], facts["macs"]) == (6_998_552, 1_582_671_872)
    assert facts["auxiliary_params"] == 13_378_280 - 6_998_552
    assert facts["params_bytes"] == 4 * facts["params"]
    assert facts["depth"] == 22
    assert 0 < facts["top5_error"] < 1
    assert {"name": "inception3b", "shape": [480, 28, 28]} in facts["stages"]
    assert facts["layers"][0]["name"] == "stem.0.0"
    assert {layer["part"] for layer in facts["layers"] if layer["training_only"]} == {
        "auxiliary.inception4a",
        "auxiliary.inception4d",
    }


def test_info_as_a_table(podium):
    said = podium("info", "googlenet")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == "googlenet: image 3x224x224, 1000 classes"
    for part in ("stem", "inception3a", "inception5b", "head", "auxiliary.inception4a (in training only)"):
        assert any(line.startswith(f"  {part} ") for line in lines), part
    assert re.search(r"^ +branch3\.1\.0 +conv 5x5, 96 +96x28x28 +76,896 +60,211,200 +91 *$", said.out, re.M)
    assert re.search(r"^parameters +6,998,552, and 6,379,728 of auxiliary classifiers", said.out, re.M)
    assert re.search(r"^memory +28\.0 MB of parameters", said.out, re.M)
    assert re.search(r"^error +top-5 10\.07 %, .*crop", said.out, re.M)
    assert re.search(r"^paper +Szegedy et al\. 2014", said.out, re.M)


def test_info_takes_another_form_by_name(podium):
    facts = podium("info", "resnet18", "--image-size", 32, "--num-classes", 7, "--json").json
    assert facts["spec"] == {"model": "resnet18", "num_classes": 7, "in_chans": 3, "image_size": 32, "small": True}
    assert facts["layers"][0]["type"] == "conv 3x3, 64"
    assert podium("info", "resnet18", "--image-size", 32, "--no-small", "--json").json["spec"]["small"] is False
    assert podium("info", "resnet18", "--small", "--json").json["spec"]["image_size"] == 32


def test_info_of_a_run_is_of_what_it_ships(podium, run):
    facts = podium("info", run.path, "--json").json
    spec = {"model": "lenet5_modern", "num_classes": 10, "in_chans": 1}
    assert {key: facts["spec"][key] for key in spec} == spec
    assert podium("info", run.path).code == 0
    podium("info", run.path, "--num-classes", 7).refused(2, "--num-classes", "leave it out")
    podium("info", run.path, "--image-size", 64).refused(2, "--image-size")


def test_info_refuses_as_the_registry_does(podium, tmp_path):
    podium("info", "resnet19").refused(2, "'resnet19'", "resnet18")
    podium("info", "vgg16", "--image-size", 12).refused(2, "12 px", "16 px")
    (tmp_path / "empty").mkdir()
    podium("info", "empty").refused(4, "empty: no run or bundle")


def test_a_summary_has_no_errors_where_none_are_published():
    facts = summary(named("lenet5_modern"))
    assert (facts["depth"], facts["top1_error"], facts["top5_error"]) == (5, None, None)
    assert facts["source"]
