"""Most of a heat map lies in the corner of an image that carries its class, for a network of each family."""

import importlib.util
import sys

import pytest

from conftest import ROOT, SAMPLE
from podium.explain.heat import methods_for

POINTS = ("lenet5", "lenet5_modern", "resnet20")  # to the corner in 99 % of the images
FAST = {"lenet5_modern": 32, "resnet20": 32}  # side of the images, in pixels


@pytest.fixture
def pointing(monkeypatch):
    """The benchmark as a module."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    spec = importlib.util.spec_from_file_location("pointing_benchmark", ROOT / "benchmarks" / "pointing.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in SAMPLE]
)
def test_the_heat_lies_in_the_corner_that_carries_the_class(pointing, name):
    net = pointing.built(name, FAST.get(name, pointing.SIDE))
    _, accuracy = pointing.trained(net, 2000)
    assert accuracy >= pointing.LEARNED
    usual = methods_for(net)[0]
    found = pointing.hits(net, usual, 100 if name in FAST else pointing.TESTED)
    least = 0.99 if name in POINTS else 0.9  # elsewhere a place of the last map sees nearly the whole image
    assert found["most"] >= least
    assert found["highest"] >= least - 0.03
