"""Most of a heat map lies in the corner of an image that carries its class; `benchmarks/pointing.py` measures all networks."""

import importlib.util
import sys

import pytest

from conftest import ROOT
from podium.explain.heat import methods_for

SIDES = {"lenet5_modern": 32, "resnet20": 32}  # of the images, in pixels
FAST = {"lenet5_modern"}


@pytest.fixture
def pointing(monkeypatch):
    """The benchmark as a module."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    spec = importlib.util.spec_from_file_location("pointing_benchmark", ROOT / "benchmarks" / "pointing.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in SIDES])
def test_the_heat_lies_in_the_corner_that_carries_the_class(pointing, name):
    net = pointing.built(name, SIDES[name])
    _, accuracy = pointing.trained(net, 2000)
    assert accuracy >= pointing.LEARNED
    found = pointing.hits(net, methods_for(net)[0], 100)
    assert found["most"] >= 0.99
    assert found["highest"] >= 0.96
