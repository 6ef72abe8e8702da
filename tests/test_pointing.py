"""Most of a heat map lies in the corner of an image that carries its class; `benchmarks/pointing.py` measures all networks."""

import importlib.util
import sys

import pytest

from conftest import ROOT
from podium.explain.heat import methods_for
from podium.models import architecture, list_models

MEMBERS = {  # family -> name, pixels of the images, and what makes it small enough to be trained in seconds
    "LeNet": ("lenet5_modern", 32, {}),
    "AlexNet": ("alexnet_owt", 64, {}),
    "ZFNet": ("zfnet", 64, {"widths": (64, 64, 64)}),
    "VGG": ("vgg11_bn", 64, {}),
    "Inception": ("googlenet", 64, {"batch_norm": True}),
    "Inception-ResNet": ("inception_resnet_v1", 32, {"blocks": (1, 1, 1)}),
    "ResNet": ("resnet18", 32, {"width": 16}),
    "ResNet-CIFAR": ("resnet20", 32, {}),
    "ResNet v2": ("resnetv2_18", 64, {"width": 16}),
    "ResNet-CIFAR v2": ("resnetv2_110", 64, {"units": (2, 2, 2)}),
    "ResNeXt": ("resnext50_32x4d", 32, {"units": (1, 1, 1, 1)}),
    "Wide ResNet": ("wide_resnet50_2", 32, {"units": (1, 1, 1, 1), "width": 16, "group_width": 32}),
    "SENet": ("seresnet18", 32, {"width": 16}),
    "DenseNet": ("densenet121", 32, {"layers": (3, 3, 3, 3), "growth": 16}),
    "Xception": ("xception", 32, {}),
    "MobileNet": ("mobilenet_v1_025", 64, {}),
    "Articles": ("article_vgg11_mnist", 32, {}),
}
FAST = {"LeNet"}


@pytest.fixture
def pointing(monkeypatch):
    """The benchmark as a module."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    spec = importlib.util.spec_from_file_location("pointing_benchmark", ROOT / "benchmarks" / "pointing.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "family", [pytest.param(family, marks=() if family in FAST else pytest.mark.slow) for family in MEMBERS]
)
def test_the_heat_lies_in_the_corner_that_carries_the_class(pointing, family):
    name, side, arguments = MEMBERS[family]
    net = pointing.built(name, side, **arguments)
    _, accuracy = pointing.trained(net, 2000)
    assert accuracy >= pointing.LEARNED
    assert pointing.hits(net, methods_for(net)[0], 100)["most"] >= 0.99


def test_every_family_has_a_member_here():
    assert {architecture(name).family for name in list_models()} == MEMBERS.keys()
