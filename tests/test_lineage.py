"""The networks against their papers, the reference table, and torchvision's logits on known weights.

The numbers are written down in golden.json; where a change is meant, `python tests/golden.py` writes them anew.
"""

import importlib.util
import json
import re
from dataclasses import asdict

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from conftest import FEW, sampled
from golden import GOLDEN, golden_of
from podium.evaluation.cost import COUNTS, count, params_and_macs
from podium.models import list_models
from podium.models.modules import Branches, Residual, SqueezeExcitation
from podium.models.published import published
from podium.models.undrawn import meta
from podium.networks.blocks import LocalResponseNorm
from podium.networks.lenet import C3_TABLE, PartialConv, RadialBasis, ScaledTanh, Subsampling
from podium.networks.resnet import ZeroPadShortcut
from podium.weights.create import create_model

NUMBERS = json.loads(GOLDEN.read_text())

# Our names and the rows of the reference table, (name, variant); the first pattern that fits a whole name counts.
ROWS = (
    ("lenet5", "LeNet-5", "paper"),
    ("lenet5_modern", "LeNet-5 modern", "modern"),
    ("alexnet", "AlexNet", "paper"),
    ("alexnet_owt", "AlexNet OWT", "torchvision"),
    ("zfnet", "ZFNet", "paper"),
    ("zfnet_b", "ZFNet-b (512-1024-512)", "paper"),
    ("vgg11_lrn", "VGG A-LRN", "paper"),
    ("vgg16_c", "VGG C", "paper"),
    *((f"vgg{n}", f"VGG {column}", "paper") for n, column in zip((11, 13, 16, 19), "ABDE", strict=True)),
    *((f"vgg{n}_bn", f"VGG {column} BN", "torchvision") for n, column in zip((11, 13, 16, 19), "ABDE", strict=True)),
    ("googlenet", "GoogLeNet", "paper"),
    ("googlenet_tv", "GoogLeNet BN", "torchvision"),
    ("bn_inception", "BN-Inception", "paper"),
    ("bn_inception_576", "BN-Inception (576-channel reading)", "paper-alt"),
    ("inception_v3", "Inception v3", "paper"),
    ("inception_v4", "Inception v4", "paper"),
    ("inception_resnet_v2_figures", "Inception-ResNet v2 (figures)", "paper"),
    (r"inception_resnet_(v\d)", r"Inception-ResNet \1", "paper"),
    (r"plain(18|34)", r"plain-\1", "paper"),
    (r"plain(\d+)", r"plain-\1 CIFAR", "paper"),
    ("resnet18_a", "ResNet-18 A", "paper"),
    ("resnet34_a", "ResNet-34 A", "paper"),
    ("resnet34_c", "ResNet-34 C", "paper"),
    (r"resnet(18|34)", r"ResNet-\1", "paper"),
    (r"resnet(\d+)_v1", r"ResNet-\1", "paper"),
    (r"resnet(50|101|152)", r"ResNet-\1 v1.5", "torchvision"),
    (r"resnet(\d+)", r"ResNet-\1 CIFAR", "paper"),
    (r"resnetv2_(\d+)_slim", r"ResNet-\1 v2 (slim)", "slim"),
    (r"resnetv2_(110|164|1001)", r"ResNet-\1 v2 CIFAR", "paper"),
    (r"resnetv2_(\d+)", r"ResNet-\1 v2", "paper"),
    ("resnext101_32x8d", "ResNeXt-101 32x8d", "torchvision"),
    (r"resnext29_(\w+)", r"ResNeXt-29 \1 CIFAR", "paper"),
    (r"resnext(\d+)_(\w+)", r"ResNeXt-\1 \2", "paper"),
    (r"densenet(\d+)", r"DenseNet-\1", "paper"),
    ("xception", "Xception", "paper"),
    ("mobilenet_v1", "MobileNet v1 1.0", "paper"),
    ("se_bn_inception", "SE-BN-Inception", "paper"),
    ("senet154", "SENet-154", "paper"),
    (r"seresnext(\d+)_(\w+)", r"SE-ResNeXt-\1 \2", "paper"),
    (r"seresnet(50|101|152)", r"SE-ResNet-\1", "paper"),
    ("article_alexnet_227", "AlexNet (Keras, 10 classes)", "article:S000"),
    ("article_alexnet_fashion", "AlexNet small (Fashion-MNIST)", "article:S001"),
    ("article_vgg11_mnist", "VGG11 MNIST", "article:S000"),
    ("article_vgg13_cifar100", "VGG13 CIFAR-100", "article:S001"),
    ("article_resnet18_cifar100", "ResNet-18 (3x3 stem, 100 classes)", "article:S001"),
    ("article_resnetv2_152", "ResNet-152 v2 slim variant", "article:S002"),
    ("article_xception", "Xception (Keras functional)", "article:S003"),
)
NO_ROW = {
    "wide_resnet50_2": "the table has no wide ResNet",
    "wide_resnet101_2": "the table has no wide ResNet",
    "seresnet18": "the row is timm's, which rounds the reduced widths up to a multiple of 8: 1,032 more by its note",
    "seresnet34": "the row is timm's, which rounds the reduced widths up to a multiple of 8: 1,548 more by its note",
    **{f"mobilenet_v1_{width}": "the table has the full width only" for width in ("025", "050", "075")},
    "article_inception_v3": "the row counts its auxiliary classifier too",
}
NO_NETWORK = {
    "NiN ImageNet": "not of this lineage",
    "NiN CIFAR-10": "not of this lineage",
    "Inception v2 (arXiv:1512.00567)": "no public copy to be exact to",
}

# Other forms of our networks that the table has: arguments, and the row.
FORMS = (
    ("alexnet", {"groups": 1}, "AlexNet one tower", "paper-nogroup"),
    ("googlenet", {"aux": False}, "GoogLeNet", "paper"),
    ("bn_inception", {"bias": True}, "BN-Inception", "cadene"),
    ("inception_v3", {"aux": False}, "Inception v3", "paper"),
    *((f"resnet{n}", {"shortcut": "B"}, f"ResNet-{n} CIFAR option B", "optB") for n in (20, 32, 44, 56, 110)),
    *((f"resnet{n}_v1", {"bias": True}, f"ResNet-{n}", "keras") for n in (50, 101, 152)),
    *((f"resnetv2_{n}", {"form": "bare"}, f"ResNet-{n} v2", "timm") for n in (18, 34, 50, 101, 152)),
    ("seresnet50", {"stride_in": "3x3", "pool": "half"}, "SE-ResNet-50 v1.5", "timm"),
    ("seresnet101", {"stride_in": "3x3", "pool": "half"}, "SE-ResNet-101 v1.5", "timm"),
    ("mobilenet_v1", {"six": True}, "MobileNet v1 1.0", "keras"),
)


def row_of(name):
    """(name, variant) of our network in the reference table; None where it has none."""
    for pattern, row, variant in ROWS:
        if found := re.fullmatch(pattern, name):
            return found.expand(row), variant
    return None


def agrees(numbers, row):
    """Parameters, multiply-adds and the shape of the features are those of the row."""
    shape = "x".join(map(str, numbers["stages"]["features"]))
    ours = (numbers["params"], numbers["macs"], shape)
    assert ours == (int(row["params_trainable"]), int(row["macs"]), row["feature_shape"])


@pytest.mark.parametrize("name", sampled(list_models()))
def test_golden_numbers(name):
    assert golden_of(name) == NUMBERS[name], "where the change is meant: python tests/golden.py"


def test_the_written_numbers_are_of_all_networks_and_agree():
    assert list(NUMBERS) == list_models()
    assert {name: params_and_macs(name) for name in NUMBERS} == {
        n: (g["params"], g["macs"]) for n, g in NUMBERS.items()
    }
    assert list(json.loads(COUNTS.read_text())) == list(NUMBERS)


def test_a_network_that_is_not_written_down_is_counted(monkeypatch):
    monkeypatch.setattr("podium.evaluation.cost._counts", dict)
    assert params_and_macs("lenet5") == (60_000, 325_680)


@pytest.mark.parametrize("name", list_models())
def test_the_reference_has_the_same_numbers(reference, name):
    found = row_of(name)
    assert (found is None) == (name in NO_ROW)
    if found is None:
        return
    row, numbers, known = reference[found], NUMBERS[name], published(name)
    agrees(numbers, row)
    assert known.depth == (int(row["depth"]) if row["depth"] else None)


def test_every_network_of_a_paper_in_the_reference_is_here(reference):
    ours = {row_of(name) for name in NUMBERS}
    papers = {row for row in reference if row[1] == "paper" and "aux heads" not in row[0]}
    assert {name for name, _ in papers - ours} == set(NO_NETWORK)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("googlenet", ("GoogLeNet + 2 aux heads", "paper")),
        ("googlenet_tv", ("GoogLeNet BN + 2 aux heads", "torchvision")),
        ("inception_v3", ("Inception v3 + aux", "torchvision")),
        ("article_inception_v3", ("Inception v3 slim with aux", "article:S000")),
    ],
)
def test_with_auxiliary_classifiers(reference, name, row):
    numbers = NUMBERS[name]
    assert numbers["params"] + numbers["auxiliary_params"] == int(reference[row]["params_trainable"])
    assert numbers["macs"] == int(reference[row]["macs"])


@pytest.mark.parametrize(("name", "arguments", "row", "variant"), sampled(FORMS))
def test_other_forms_have_the_numbers_of_their_rows(reference, name, arguments, row, variant):
    cost = count({"model": name, **arguments})
    agrees({**asdict(cost), "stages": dict(cost.stages)}, reference[row, variant])


@pytest.mark.parametrize(("name", "more"), [("seresnet18", 1_032), ("seresnet34", 1_548)])
def test_without_timms_rounding(reference, name, more):
    row = reference[f"SE-ResNet-{name[8:]}", "timm"]
    assert NUMBERS[name]["params"] == int(row["params_trainable"]) - more


@pytest.mark.parametrize(("width", "macs", "params"), [("075", 325, 2.6), ("050", 149, 1.3), ("025", 41, 0.5)])
def test_narrower_mobilenets_cost_what_the_paper_says(width, macs, params):
    """[Howard et al. 2017, Table 6]: millions of multiply-adds and of parameters, as rounded there."""
    numbers = NUMBERS[f"mobilenet_v1_{width}"]
    assert (round(numbers["macs"] / 1e6), round(numbers["params"] / 1e6, 1)) == (macs, params)


# Widths and sides of every stage, as the papers' tables and figures have them.
STAGES = {
    "lenet5": "6x28 6x14 16x10 16x5",
    "vgg16": "3x224 64x112 128x56 256x28 512x14 512x7",
    "googlenet": "192x56 256x28 480x28 512x14 512x14 512x14 528x14 832x14 832x7 1024x7",
    "bn_inception": "192x28 256x28 320x28 576x14 576x14 576x14 608x14 608x14 1056x7 1024x7 1024x7",
    "bn_inception_576": "192x28 256x28 320x28 576x14 576x14 576x14 576x14 576x14 1024x7 1024x7 1024x7",
    "inception_v3": "192x35 256x35 288x35 288x35" + 5 * " 768x17" + " 1280x8 2048x8 2048x8",
    "inception_v4": "64x147 160x73 192x71" + 5 * " 384x35" + 8 * " 1024x17" + 4 * " 1536x8",
    "inception_resnet_v1": "256x35 256x35 896x17 896x17 1792x8 1792x8",
    "inception_resnet_v2_figures": "64x147 160x73 192x71 384x35 384x35 1152x17 1152x17 2144x8 2144x8",
    "inception_resnet_v2": "192x35 320x35 320x35 1088x17 1088x17 2080x8 2080x8 1536x8",
    "resnet50_v1": "64x56 256x56 512x28 1024x14 2048x7",
    "resnet110": "16x32 16x32 32x16 64x8",
    "resnetv2_152": "64x56 256x56 512x28 1024x14 2048x7 2048x7",
    "resnetv2_152_slim": "64x56 256x28 512x14 1024x7 2048x7 2048x7",
    "resnetv2_164": "16x32 64x32 128x16 256x8 256x8",
    "resnext29_8x64d": "64x32 256x32 512x16 1024x8",
    "senet154": "128x56 256x56 512x28 1024x14 2048x7",
    "xception": "64x147 128x74 256x37 728x19" + 8 * " 728x19" + " 1024x10 2048x10",
    "mobilenet_v1": "32x112 64x112 128x56 256x28 512x14 1024x7",
    "mobilenet_v1_025": "8x112 16x112 32x56 64x28 128x14 256x7",
    "mobilenet_v1_075": "24x112 48x112 96x56 192x28 384x14 768x7",
    "densenet121": "64x56 256x56 128x28 512x28 256x14 1024x14 512x7 1024x7 1024x7",
}


@pytest.mark.parametrize("name", STAGES)
def test_stages_have_the_papers_widths_and_sides(name):
    shapes = {k: v for k, v in NUMBERS[name]["stages"].items() if not k.startswith("auxiliary")}
    stages = [shape for end, shape in shapes.items() if end not in ("features", "pooled", "logits")]
    assert all(height == width for _, height, width in stages)
    assert [f"{channels}x{side}" for channels, side, _ in stages] == STAGES[name].split()


# Every convolution and max pool in a row, where the paper gives them one by one.
LAYERS = {
    "alexnet": "96x55 96x27 256x27 256x13 384x13 384x13 256x13 256x6",
    "alexnet_owt": "64x55 64x27 192x27 192x13 384x13 256x13 256x13 256x6",
    "zfnet": "96x110 96x55 256x26 256x13 384x13 384x13 256x13 256x6",
    "inception_v3": "32x149 32x147 64x147 64x73 80x73 192x71 192x35",
    "inception_v4": "32x149 32x147 64x147",
    "inception_resnet_v1": "32x149 32x147 64x147 64x73 80x73 192x71 256x35",
    "xception": "32x149 64x147",
    "senet154": "64x112 64x112 128x112 128x56",
}


@pytest.mark.parametrize("name", sampled(LAYERS))
def test_layers_have_the_papers_widths_and_sides(name):
    net, seen = meta(lambda: create_model(name)).eval(), []
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            layer.register_forward_hook(lambda _, inputs, output: seen.append(output.shape))
    side, expected = net.spec["image_size"], LAYERS[name].split()
    net(torch.zeros(1, 3, side, side, device="meta"))
    assert [f"{shape[1]}x{shape[2]}" for shape in seen[: len(expected)]] == expected


def depth(part):
    """Convolutions and fully connected layers on the longest way; a shortcut and a gate have none that count."""
    if isinstance(part, nn.Conv2d | nn.Linear | PartialConv):
        return 1
    if isinstance(part, SqueezeExcitation):
        return 0
    if isinstance(part, Residual):
        return depth(part.residual)
    return (max if isinstance(part, Branches) else sum)([depth(child) for child in part.children()] or [0])


OTHERWISE = {
    "lenet5": "the paper counts S2 and S4, whose coefficients are trained",
    "bn_inception": "the table has GoogLeNet's 22 and nine for the divided 5x5, and leaves out the tenth module",
    "inception_v3": "the paper's 42 are of its own Table 1, which is not what was released",
    "xception": "the paper counts a separable convolution as one, and no classifier",
}


@pytest.mark.parametrize("name", sampled([n for n in NUMBERS if published(n).depth], FEW))
def test_depth_is_as_the_paper_counts(name):
    net = meta(lambda: create_model(name))
    counted = sum(depth(part) for part in (net.stem, net.stages, net.head))
    differs = re.sub("^(se|article)_|_576$", "", name) in OTHERWISE
    assert (counted != published(name).depth) == differs


def test_depth_where_it_is_counted_otherwise():
    """What the rules above come to: 36 convolutions of Xception, and the longest ways of the Inceptions."""
    nets = {name: meta(lambda name=name: create_model(name)) for name in OTHERWISE}
    counted = {name: sum(depth(part) for part in (net.stem, net.stages, net.head)) for name, net in nets.items()}
    convolutions = [
        m for n, m in nets["xception"].named_modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)
    ]
    assert len(convolutions) == published("xception").depth
    trained = [m for m in nets["lenet5"].modules() if isinstance(m, Subsampling)]
    assert (
        counted["lenet5"] + len(trained) == 6 == published("lenet5").depth - 1
    )  # the output has no weights that train
    assert counted["bn_inception"] == 22 + 9 + 3


def test_lenet5_layer_by_layer():
    net = create_model("lenet5")
    sizes = [
        (type(m).__name__, sum(p.numel() for p in m.parameters())) for m in net.modules() if not list(m.children())
    ]
    assert [n for _, n in sizes if n] == [156, 12, 1516, 32, 48_120, 10_164]
    ends = net.endpoints(torch.zeros(1, 1, 32, 32))
    shapes = {k: tuple(v.shape[1:]) for k, v in ends.items()}
    assert shapes["stem"] == (6, 28, 28)
    assert (shapes["stage1"], shapes["stage2"], shapes["stage3"]) == ((6, 14, 14), (16, 10, 10), (16, 5, 5))
    c1 = (25 + 1) * 6 * 28 * 28
    s2 = 5 * 6 * 14 * 14
    c3 = sum(25 * len(row) + 1 for row in C3_TABLE) * 100
    s4, c5, f6, out = 5 * 16 * 25, (16 * 25 + 1) * 120, 121 * 84, 84 * 10
    assert (c1, s2, c3, s4, c5, f6, out) == (122_304, 5_880, 151_600, 2_000, 48_120, 10_164, 840)
    assert c1 + s2 + c3 + s4 + c5 + f6 + out == 340_908


def test_scaled_tanh_and_subsampling():
    f = ScaledTanh()
    assert torch.allclose(f(torch.tensor([1.0, -1.0])), torch.tensor([1.0, -1.0]), atol=1e-4)
    s = Subsampling(2)
    with torch.no_grad():
        s.coefficient.copy_(torch.tensor([2.0, 3.0])[:, None, None])
        s.bias.copy_(torch.tensor([0.5, -1.0])[:, None, None])
    x = torch.arange(16.0).reshape(1, 2, 2, 4)
    expected = [
        [2 * (0 + 1 + 4 + 5) + 0.5, 2 * (2 + 3 + 6 + 7) + 0.5],
        [3 * (8 + 9 + 12 + 13) - 1, 3 * (10 + 11 + 14 + 15) - 1],
    ]
    assert torch.allclose(s(x)[0, :, 0], torch.tensor(expected))


def test_lenet5_starts_by_the_fan_in_of_each_unit():
    """Appendix A: uniform between -2.4/F and 2.4/F, where F is the number of inputs of the unit that a connection belongs to."""
    torch.manual_seed(0)
    nets = [create_model("lenet5") for _ in range(30)]

    def drawn(key):
        return torch.stack([net.state_dict()[key].flatten(1) for net in nets])

    fan_ins = {"stem.0": 25, "stages.stage1.0": 4, "stages.stage3.0": 4, "head.hidden.0": 400, "head.hidden.3": 120}
    for layer, fan_in in fan_ins.items():
        weights = drawn(f"{layer}.coefficient" if "stage" in layer else f"{layer}.weight") * fan_in / 2.4
        assert 0.97 < weights.abs().max() <= 1
        assert weights.var().item() == pytest.approx(1 / 3, rel=0.15)
    kernels = drawn("stages.stage2.0.weight").split([len(row) for row in C3_TABLE], 1)
    assert {len(row) * 25 for row in C3_TABLE} == {75, 100, 150}
    for row, weights in zip(C3_TABLE, kernels, strict=True):
        assert 0.99 < weights.abs().max() * 25 * len(row) / 2.4 <= 1
    assert not any(value.any() for key, value in nets[0].state_dict().items() if key.endswith("bias"))


def test_c3_sees_only_what_table_i_says():
    conv = PartialConv([[int(i) for i in row] for row in C3_TABLE], 5)
    nn.init.normal_(conv.weight)
    x = torch.randn(1, 6, 6, 6)
    for s2 in range(6):
        moved = x.clone()
        moved[:, s2] += 1
        changed = (conv(moved) - conv(x)).abs().amax((0, 2, 3)) > 1e-6
        assert changed.tolist() == [str(s2) in row for row in C3_TABLE]


def test_rbf_output_and_equation_9():
    rbf = RadialBasis(10)
    x = torch.randn(4, 84)
    y = ((x[:, None].numpy() - rbf.codes[None].numpy()) ** 2).sum(2)  # Eq. 7
    assert np.allclose(-rbf(x).numpy(), y, rtol=1e-5)
    net = create_model("lenet5", j=0.7)
    images, labels = torch.randn(4, 1, 32, 32), torch.tensor([3, 0, 9, 3])
    y = -net(images).detach().double().numpy()
    penalty = np.log(np.exp(-0.7) + np.exp(-y).sum(1))
    hard = (y[np.arange(4), labels] + penalty).mean()  # Eq. 9
    assert net.training_loss(images, labels, F.cross_entropy).item() == pytest.approx(hard, rel=1e-5)
    soft = torch.softmax(torch.randn(4, 10), 1)
    expected = ((soft.numpy() * y).sum(1) + penalty).mean()
    assert net.training_loss(images, soft, F.cross_entropy).item() == pytest.approx(expected, rel=1e-5)


def test_codes_differ():
    for classes, least in ((10, 6), (200, 20)):
        codes = RadialBasis(classes).codes
        assert codes.shape == (classes, 84)
        assert set(codes.unique().tolist()) == {-1.0, 1.0}
        distance = (codes[:, None] != codes[None]).sum(2) + 84 * torch.eye(classes, dtype=torch.long)
        assert int(distance.min()) >= least


def test_lrn_is_the_papers_formula():
    x = torch.rand(2, 7, 3, 3) * 30
    ours = LocalResponseNorm()(x)
    literal = torch.empty_like(x)
    for i in range(7):
        window = x[:, max(0, i - 2) : min(7, i + 3)]
        literal[:, i] = x[:, i] / (2 + 1e-4 * window.square().sum(1)) ** 0.75
    assert torch.allclose(ours, literal, rtol=1e-6)
    assert torch.allclose(ours, nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)(x), rtol=1e-5)


def test_alexnet_order_groups_and_initialisation():
    net = create_model("alexnet")
    kinds = [type(m).__name__ for m in net.stem]
    assert kinds == ["Conv2d", "ReLU", "LocalResponseNorm", "MaxPool2d"]
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert [c.groups for c in convs] == [1, 2, 1, 2, 2]
    assert [c.bias[0].item() for c in convs] == [0, 1, 0, 1, 1]
    linear = [m for m in net.modules() if isinstance(m, nn.Linear)]
    assert [m.bias[0].item() for m in linear] == [1, 1, 0]
    for layer in (*convs, *linear):
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.05)


def test_strides_of_v1_and_v1_5():
    for name, expected in (("resnet50_v1", [2, 1, 1]), ("resnet50", [1, 2, 1])):
        net = meta(lambda name=name: create_model(name))
        unit = net.stages.stage2[0].residual
        assert [unit.conv1.stride[0], unit.conv2.stride[0], unit.conv3.stride[0]] == expected


def test_shortcuts():
    x = torch.randn(1, 2, 4, 4)
    after, split = ZeroPadShortcut(2, 2)(x), ZeroPadShortcut(2, 2, split=True)(x)
    zero = torch.zeros(1, 1, 2, 2)
    assert torch.equal(after, torch.cat([x[:, :, ::2, ::2], zero, zero], 1))
    assert torch.equal(split, torch.cat([zero, x[:, :, ::2, ::2], zero], 1))
    assert all(u.shortcut is None for u in create_model("plain20").modules() if isinstance(u, Residual))
    everywhere = [u for u in meta(lambda: create_model("resnet34_c")).modules() if isinstance(u, Residual)]
    assert all(isinstance(u.shortcut, nn.Sequential) for u in everywhere)


def peer(shared, name):
    spec = importlib.util.spec_from_file_location("peer_fill", shared / "reference" / "peer_fill.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    fixture = json.loads((shared / "reference" / "peers" / f"{name}.json").read_text())
    return fill, fixture


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("alexnet_owt", "alexnet"),
        ("resnet18", "resnet18"),
        ("resnet50", "resnet50"),
        pytest.param("vgg11_bn", "vgg11_bn", marks=pytest.mark.slow),
        pytest.param("vgg16", "vgg16", marks=pytest.mark.slow),
        pytest.param("resnet101", "resnet101", marks=pytest.mark.slow),
    ],
)
def test_torchvisions_logits_on_known_weights(shared, ours, theirs):
    """The networks have the same layers in the same order, so tensors match by position and shape."""
    fill, fixture = peer(shared, f"torchvision-{theirs}")
    state = fill.torch_state(fixture)
    net = create_model(ours).eval()
    own = net.state_dict()
    assert [tuple(v.shape) for v in own.values()] == [v.shape for v in state.values()]
    net.load_state_dict({k: torch.from_numpy(v) for k, v in zip(own, state.values(), strict=True)})
    with torch.no_grad():
        logits = net(torch.from_numpy(fill.images(fixture))).numpy()
    for i, head in enumerate(fixture["logits_head"]):
        norm = fixture["logits_norm"][i]
        assert np.abs(logits[i, : len(head)] - np.array(head)).max() <= 1e-4 * norm
        assert np.linalg.norm(logits[i]) == pytest.approx(norm, rel=1e-4)
