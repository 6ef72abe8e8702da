"""Most of a heat map lies in the corner of an image that carries its class; `benchmarks/pointing.py` measures all networks."""

import importlib.util
import sys

import pytest

from conftest import ROOT
from podium.explain.heat import methods_for

MEMBERS = {  # family -> name, pixels of the images, and what makes it small enough to be trained in seconds
    "LeNet": ("lenet5_modern", 32, {}),
    "ResNet": ("resnet18", 32, {"width": 16}),
    "ResNet-CIFAR": ("resnet20", 32, {}),
    "ResNet-CIFAR v2": ("resnetv2_110", 64, {"units": (2, 2, 2)}),
    "Wide ResNet": ("wide_resnet50_2", 32, {"units": (1, 1, 1, 1), "width": 16, "group_width": 32}),
    "SENet": ("seresnet18", 32, {"width": 16}),
    "DenseNet": ("densenet121", 32, {"layers": (3, 3, 3, 3), "growth": 16}),
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
