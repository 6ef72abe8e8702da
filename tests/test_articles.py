"""The article networks against their built numbers, their departures from the papers, and the commands that run them."""

import csv
import itertools
import pickle
import re
import shlex

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from conftest import ROOT, sampled
from podium.cli.parser import build_parser
from podium.evaluation.cost import count
from podium.models import architecture, list_models
from podium.models.modules import Residual
from podium.models.undrawn import meta
from podium.training.optim import make_optimizer
from podium.training.recipes.named import settings_of
from podium.weights.create import create_model

NAMES = list_models("article_*")
DEEP = {"article_resnetv2_152", "article_inception_v3"}
LAYERS = nn.Conv2d | nn.MaxPool2d

# "The source articles: built numbers" of architectures.md: name and article there, trainable parameters with auxiliary
# classifiers, parameters and statistics of batch norms, multiply-adds.
BUILT = {
    "article_alexnet_227": ("AlexNet (Keras, 10 classes)", "S000", 58_299_082, 58_299_082, 1_060_924_256),
    "article_vgg11_mnist": ("VGG11 MNIST", "S000", 16_230_346, 16_230_346, 187_763_712),
    "article_inception_v3": ("Inception v3 slim with aux", "S000", 27_143_152, 27_143_152, 5_713_216_096),
    "article_resnet18_cifar100": ("ResNet-18 (3x3 stem, 100 classes)", "S001", 11_223_140, 11_230_948, 520_717_056),
    "article_alexnet_fashion": ("AlexNet small (Fashion-MNIST)", "S001", 8_576_970, 8_576_970, 1_012_498_944),
    "article_vgg13_cifar100": ("VGG13 CIFAR-100", "S001", 9_582_116, 9_582_116, 228_438_528),
    "lenet5_modern": ("LeNet-5 (TF1, repaired)", "S001", 61_706, 61_706, 416_520),
    "article_resnetv2_152": ("ResNet-152 v2 slim variant", "S002", 60_284_776, 60_524_264, 10_906_697_728),
    "article_xception": ("Xception (Keras functional)", "S003", 22_855_952, 22_910_480, 8_470_752_656),
}


def built(name):
    return meta(lambda: create_model(name)).eval()


def numbers(name):
    """(trainable with auxiliary classifiers, and with the statistics of batch norms, multiply-adds)."""
    cost, net = count({"model": name}), built(name)
    trainable = cost.params + cost.auxiliary_params
    statistics = sum(b.numel() for b in net.buffers() if b.is_floating_point())
    return trainable, trainable + statistics, cost.macs


@pytest.mark.parametrize(
    "name", sampled(list(BUILT), ("lenet5_modern", "article_vgg11_mnist", "article_resnet18_cifar100"))
)
def test_parameters_and_multiply_adds(name):
    assert numbers(name) == BUILT[name][2:]


@pytest.mark.slow
def test_the_reference_says_the_same(shared):
    with (shared / "reference" / "architectures.csv").open() as file:
        table = {(row["name"], row["variant"]): row for row in csv.DictReader(file)}
    for name, (theirs, article, *_) in BUILT.items():
        row, net = table[theirs, f"article:{article}"], built(name)
        assert numbers(name) == tuple(int(row[key]) for key in ("params_trainable", "params_total", "macs")), name
        shape = dict(count({"model": name}).stages)["features"]
        assert "x".join(map(str, shape)) == row["feature_shape"], name
        assert net.head.classifier.in_features == int(row["feature_dim"]), name


def test_every_article_network_says_which_article_and_what_the_paper_has():
    assert {*NAMES, "lenet5_modern"} == set(BUILT)
    for name in NAMES:
        words = set(re.findall(r"\w+", architecture(name).note))
        assert BUILT[name][1] in words
        assert words & set(list_models()), "the paper's network, or the repaired one"


def made(name, wanted):
    """ "CxS" of what the modules make that are wanted by (name, module), in order."""
    net, shapes = built(name), []
    for path, module in net.named_modules():
        if wanted(path, module):
            module.register_forward_hook(lambda _, __, y: shapes.append(f"{y.shape[1]}x{y.shape[2]}"))
    known = architecture(name)
    net(torch.zeros(1, known.in_chans, known.input_size, known.input_size, device="meta"))
    return " ".join(shapes)


def fully_connected(name):
    layers = [m for m in built(name).modules() if isinstance(m, nn.Linear)]
    return "-".join(str(n) for n in (layers[0].in_features, *(m.out_features for m in layers)))


@pytest.mark.parametrize(
    ("name", "maps", "sizes"),
    [
        ("article_alexnet_227", "96x55 96x27 256x27 256x13 384x13 384x13 256x13 256x6", "9216-4096-4096-10"),
        ("article_alexnet_fashion", "96x56 96x27 256x27 256x13 384x13 384x13 256x13 256x6", "9216-512-256-10"),
        (
            "article_vgg11_mnist",
            "64x28 64x28 64x14 128x14 128x14 128x7 256x7 256x7 256x7 256x7 256x7",
            "12544-1024-1024-10",
        ),
        (
            "article_vgg13_cifar100",
            "64x32 64x32 64x16 128x16 128x16 128x8 256x8 256x8 256x4 512x4 512x4 512x2 512x2 512x2 512x1",
            "512-256-128-100",
        ),
    ],
)
def test_maps_of_the_plain_networks(name, maps, sizes):
    assert made(name, lambda _, module: isinstance(module, LAYERS)) == maps
    assert fully_connected(name) == sizes


@pytest.mark.parametrize(
    ("name", "stem", "stages"),
    [
        ("article_resnet18_cifar100", "64x30 64x30", "64x30 128x15 256x8 512x4"),
        ("article_resnetv2_152", "64x112 64x56", "256x28 512x14 1024x7 2048x7 2048x7"),
        (
            "article_inception_v3",
            "32x149 32x147 64x147 64x73 80x73 192x71 192x35",
            " ".join(["256x35", "288x35", "288x35", *["768x17"] * 5, "1280x8", "2048x8", "2048x8"]),
        ),
        ("article_xception", "32x150 64x150", " ".join(["728x19", *["728x19"] * 8, "1024x10", "2048x10"])),
    ],
)
def test_maps_of_the_deep_networks(name, stem, stages):
    assert made(name, lambda path, module: path.startswith("stem.") and isinstance(module, LAYERS)) == stem
    assert made(name, lambda path, _: re.fullmatch(r"stages\.\w+", path)) == stages


def test_s000_inception_has_biases_where_slim_has_norms():
    net = built("article_inception_v3")
    assert not [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len([m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear) and m.bias is not None]) == 98
    torch.manual_seed(0)
    with torch.no_grad():
        logits = create_model("article_inception_v3", aux=False).eval()(torch.rand(1, 3, 299, 299))
    assert 1e9 < float(logits.abs().max()) < 1e10  # the article's reach 3e9


def test_s000_vgg_starts_with_logits_of_thousands():
    torch.manual_seed(0)
    net, x = create_model("article_vgg11_mnist").eval(), torch.rand(8, 1, 28, 28)
    with torch.no_grad():
        assert 500 < float(net(x).std()) < 5e3  # the article's have a deviation of 2.5e3
        assert max(float(p.abs().max()) for p in net.parameters()) < 0.2 + 1e-6  # cut off at two deviations of 0.1


def test_s000_and_s001_resnet_has_biases_everywhere_and_norms_on_no_projection():
    net = built("article_resnet18_cifar100")
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert sum(m.bias.numel() for m in convs) == 4_800
    assert sum(m.num_features for m in net.modules() if isinstance(m, nn.BatchNorm2d)) == 3_904
    shortcuts = [m.shortcut for m in net.modules() if isinstance(m, Residual)]
    assert sum(isinstance(m, nn.Identity) for m in shortcuts) == 5
    assert not [m for shortcut in shortcuts for m in shortcut.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.slow
def test_s002_branches_can_only_add():
    torch.manual_seed(0)
    net = create_model("article_resnetv2_152", num_classes=2, in_chans=1, image_size=8, small=True)
    branches = [m.residual for m in net.modules() if isinstance(m, Residual)]
    lowest = []
    for branch in branches:
        branch.register_forward_hook(lambda _, __, y: lowest.append(float(y.detach().min())))
    net(torch.randn(4, 1, 8, 8))
    assert len(lowest) == 50
    assert min(lowest) >= 0.0
    more = count({"model": "article_resnetv2_152"}).params - count({"model": "resnetv2_152_slim"}).params
    assert more == 47_872


def test_s003_wiring():
    """Every fault by the article's own arithmetic, written out; the paper's network has the same weights, and other logits."""
    torch.manual_seed(0)
    form = {"num_classes": 3, "image_size": 32, "small": True}
    net, paper = create_model("article_xception", **form).eval(), create_model("xception", **form).eval()
    assert [p.shape for p in net.parameters()] == [p.shape for p in paper.parameters()]
    state = dict(zip(paper.state_dict(), net.state_dict().values(), strict=True))
    paper.load_state_dict(state)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        ends = net.endpoints(x)
        y = projection = paper.stem(x)
        for block in (paper.stages.block2, paper.stages.block3, paper.stages.block4):
            projection = block.shortcut(projection)  # the article's `residual`, overwritten block by block
            y = block.residual(y) + projection
        assert torch.allclose(ends["entry"], y, atol=1e-5)
        for number in range(5, 13):
            y = y + F.relu(paper.stages.get_submodule(f"block{number}").residual(y))
        y = paper.stages.block13(y)
        last = paper.stages.block14
        y = last.sep2(F.relu(last.sep1(y)))
        assert torch.allclose(ends["features"], y, atol=1e-4)
        assert not torch.allclose(ends["logits"], paper(x), rtol=1e-2)


def test_s004_modules_are_those_of_inception_v3():
    stages = built("inception_v3").stages
    counts = {name: sum(p.numel() for p in stage.parameters()) for name, stage in stages.named_children()}
    modules = list(itertools.islice(counts.values(), 9))
    a, b, c, d = (
        [255_904, 277_472, 285_152],
        [1_153_280],
        [1_297_408, 1_691_008, 1_691_008, 2_141_952],
        [1_698_304],
    )
    assert modules == a + b + c + d
    assert sum(modules) == 10_491_488


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in DEEP else n for n in NAMES])
def test_an_article_network_learns(name):
    known = architecture(name)
    small = known.small_min_size is not None
    size = 16 if small else min(known.input_size, max(known.min_size, 32))
    torch.manual_seed(0)
    net = create_model(name, num_classes=2, in_chans=1, image_size=size, small=small)
    x, y = torch.randn(8, 1, size, size), torch.tensor([0, 1] * 4)
    x[y == 1] += 1.0
    for layer in net.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0  # a few steps are less than its noise
    s = settings_of("quick", None, {"lr": 1e-4, "weight_decay": 0.0}).settings
    optimizer, losses = make_optimizer(net, s), []
    for _ in range(4):
        optimizer.zero_grad()
        loss = net.training_loss(x, y, F.cross_entropy)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0], losses


# What docs/lineage.md says of the articles is run as it stands there.
TEXT = (
    (ROOT / "docs" / "lineage.md").read_text(encoding="utf-8").partition("\n## The articles\n")[2].partition("\n## ")[0]
)
COMMANDS = sorted(set(re.findall(r"`podium ((?:train|bench) [^`]+)`", TEXT)))


def test_the_page_tells_every_article_and_runs_every_network():
    assert all(f"S00{n}" in TEXT for n in range(5))
    named = {shlex.split(command)[1] for command in COMMANDS}
    assert set(BUILT) <= named
    recipes = {architecture(name).recipe for name in NAMES if architecture(name).recipe.startswith("article-")}
    assert recipes == set(re.findall(r"--recipe (article-[\w-]+)", TEXT))
    for name, (_, _, trainable, _, _) in BUILT.items():
        assert f"{trainable:,}" in TEXT, name


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_is_one_that_podium_takes(podium, command):
    words = shlex.split(command)
    if words[0] == "train":
        said = podium(*words, "--dry-run", "--json")
        assert said.code == 0, said.err
        values = said.json
        assert values["model"]["value"] == words[1]
        assert values["recipe"]["value"] == words[words.index("--recipe") + 1]
    else:
        arguments = build_parser().parse_args(words)
        assert set(arguments.targets) <= set(list_models())


def test_the_page_keeps_its_raw_results():
    for path in re.findall(r"\]\((results/[^)]+)\)", TEXT):
        assert (ROOT / "docs" / path).is_file(), path


def cifar100(folder):
    """A set of two images a class in the format of CIFAR-100."""
    draw = np.random.default_rng(0)
    labels = list(range(100)) * 2
    for stem in ("train", "test"):
        batch = {b"data": draw.integers(0, 256, (200, 3072), np.uint8), b"fine_labels": labels}
        (folder / stem).write_bytes(pickle.dumps(batch, protocol=4))
    (folder / "meta").write_bytes(
        pickle.dumps({b"fine_label_names": [b"class %d" % n for n in range(100)]}, protocol=4)
    )
    return folder


@pytest.mark.parametrize(
    "name", sampled(["article_vgg13_cifar100", "article_resnet18_cifar100"], ["article_resnet18_cifar100"])
)
@pytest.mark.slow
def test_the_programs_for_cifar_100_run_on_a_set_of_its_format(podium, tmp_path, name):
    recipe = architecture(name).recipe
    data = cifar100(tmp_path)
    out = podium(
        "train", name, data, "--recipe", recipe, "--steps", 2, "--batch-size", 4, "-o", tmp_path / "run", "--json"
    )
    assert out.code == 0, out.err
    assert (out.json["steps"], out.json["split"]) == (2, "test")
