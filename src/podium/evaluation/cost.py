"""Parameters and multiply-adds of a network, counted from its layers on one image without computing anything."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from podium.models.convnet import ConvNet
from podium.models.registry import architecture, rebuild
from podium.models.undrawn import meta


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Args:
        params: trainable parameters of the network without auxiliary classifiers.
        macs: multiply-adds of convolutions and linear layers for one image, without biases, norms, pools and activations.
        stages: (name, shape (C, H, W) or (K,)) of each endpoint.
        auxiliary_params: parameters of the auxiliary classifiers, which are used in training only.
        map_bytes: bytes that the layer with the largest feature maps reads and writes for one image, in float32.
    """

    params: int
    macs: int
    stages: tuple[tuple[str, tuple[int, ...]], ...]
    auxiliary_params: int = 0
    map_bytes: int = 0


COUNTS = Path(__file__).with_name("counts.json")  # {name: [parameters, multiply-adds]}


@functools.cache
def _counts() -> dict[str, tuple[int, int]]:
    return json.loads(COUNTS.read_text(encoding="utf-8"))


def params_and_macs(name: str) -> tuple[int, int]:
    """Parameters and multiply-adds of a registered network in its canonical form.

    Counting all networks takes many seconds, so `counts.json` has them; a test holds it equal to what `count` gives. A
    network that is not in it, because somebody has just written it, is counted.
    """
    if name not in _counts():
        cost = count({"model": name})
        return cost.params, cost.macs
    params, macs = _counts()[name]
    return params, macs


def multiply_adds(layer: nn.Module, output: Tensor) -> int:
    """Multiply-adds of one layer for one image; a layer of a kind of its own says so itself.

    Args:
        output: what it makes, of any number of images.
    """
    if isinstance(layer, nn.Conv2d):
        return layer.weight.numel() * output.shape[-1] * output.shape[-2]
    if isinstance(layer, nn.Linear):
        return layer.weight.numel()
    own: Callable[[Tensor], int] | None = getattr(layer, "multiply_adds", None)
    return own(output) if own is not None else 0


def count(spec: Mapping[str, Any]) -> Cost:
    """The cost of the network that a spec describes, at its own image size."""
    return _count(meta(lambda: rebuild(spec)))


def count_net(net: ConvNet) -> Cost:
    """The cost of a built network."""
    return _count(net.skeleton())


def short(number: float) -> str:
    """Format a number with three digits and a letter: 61706 as 61.7k."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{letter}"
    return f"{number:.0f}"


def format_cost(spec: Mapping[str, Any], cost: Cost) -> str:
    """A network with its form, size and cost, as one line for people."""
    two_forms = architecture(spec["model"]).small_min_size is not None
    form = f"{'small' if spec['small'] else 'full'} form, " if two_forms else ""
    numbers = f"{cost.params:,} parameters, {cost.macs / 1e6:,.1f} M multiply-adds at {spec['image_size']} px"
    return f"{spec['model']}: {form}{numbers}"


def _count(skeleton: ConvNet) -> Cost:
    macs, largest, net = 0, 0, skeleton.strip().eval()

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs, largest
        macs += multiply_adds(layer, output)
        maps = (x for x in (*inputs, output) if isinstance(x, Tensor))
        largest = max(largest, sum(x.element_size() * math.prod(x.shape[1:]) for x in maps))

    for layer in net.modules():
        if isinstance(
            layer, nn.BatchNorm2d
        ):  # keeps the shape; its own pass on the meta device takes longer than all others
            layer.forward = nn.Identity().forward  # type: ignore[method-assign]
        layer.register_forward_hook(add)
    with torch.no_grad():
        ends = net.endpoints(net.no_images(net.spec["image_size"]))
    params, extra = (sum(p.numel() for p in part.parameters()) for part in (net, skeleton.auxiliary))
    return Cost(params, macs, tuple((name, tuple(x.shape[1:])) for name, x in ends.items()), extra, largest)
