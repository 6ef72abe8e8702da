"""The networks against their papers, the reference table, and torchvision's logits on known weights."""

import csv
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from podium.evaluation.cost import count
from podium.models import create_model, list_models
from podium.models.convnet import meta
from podium.models.lenet import C3_TABLE, PartialConv, RadialBasis, ScaledTanh, Subsampling
from podium.models.blocks import LocalResponseNorm, Residual
from podium.models.resnet import UNITS, ZeroPadShortcut

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())


def row_of(name):
    """(name, variant) of our network in the reference table."""
    fixed = {
        "lenet5": ("LeNet-5", "paper"),
        "lenet5_modern": ("LeNet-5 modern", "modern"),
        "alexnet": ("AlexNet", "paper"),
        "alexnet_owt": ("AlexNet OWT", "torchvision"),
        "vgg11_lrn": ("VGG A-LRN", "paper"),
        "vgg16_c": ("VGG C", "paper"),
        "resnet18_a": ("ResNet-18 A", "paper"),
        "resnet34_a": ("ResNet-34 A", "paper"),
        "resnet34_c": ("ResNet-34 C", "paper"),
    }
    if name in fixed:
        return fixed[name]
    if name.startswith("vgg"):
        letter = {"11": "A", "13": "B", "16": "D", "19": "E"}[name[3:5]]
        return (f"VGG {letter} BN", "torchvision") if name.endswith("_bn") else (f"VGG {letter}", "paper")
    kind, number = ("plain", name[5:]) if name.startswith("plain") else ("ResNet", name[6:])
    if number.endswith("_v1"):
        return f"ResNet-{number[:-3]}", "paper"
    if int(number) in UNITS:
        deep = int(number) >= 50
        return f"{kind}-{number}" + (" v1.5" if deep else ""), "fb.resnet.torch" if deep else "paper"
    return f"{kind}-{number} CIFAR", "paper"


@pytest.mark.parametrize("name", list_models())
def test_golden_numbers(name):
    cost = count({"model": name})
    assert GOLDEN[name] == {"params": cost.params, "macs": cost.macs, "stages": {k: list(v) for k, v in cost.stages}}


def test_golden_numbers_agree_with_the_reference(shared):
    with (shared / "reference" / "architectures.csv").open() as file:
        table = {(row["name"], row["variant"]): row for row in csv.DictReader(file)}
    assert set(GOLDEN) == set(list_models())
    for name, golden in GOLDEN.items():
        row = table[row_of(name)]
        shape = "x".join(map(str, golden["stages"]["features"]))
        assert (golden["params"], golden["macs"], shape) == (
            int(row["params_trainable"]),
            int(row["macs"]),
            row["feature_shape"],
        ), name


@pytest.mark.parametrize(("n", "params"), [(20, 272_474), (32, 466_906), (56, 855_770), (110, 1_730_714)])
def test_option_b_on_cifar(n, params):
    assert count({"model": f"resnet{n}", "shortcut": "B"}).params == params


def test_alexnet_without_groups_is_not_the_paper():
    assert count({"model": "alexnet", "groups": 1}).params == 62_378_344


@pytest.mark.parametrize("name", [n for n in list_models() if n.startswith(("vgg", "resnet", "plain"))])
def test_depth_is_as_the_paper_counts(name):
    net = meta(lambda: create_model(name))
    shortcuts = [
        m for u in net.modules() if isinstance(u, Residual) and u.shortcut is not None for m in u.shortcut.modules()
    ]
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear) and not any(m is s for s in shortcuts)]
    digits = name.split("_")[0].lstrip("vgresntplai")
    assert len(layers) == int(digits)


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
