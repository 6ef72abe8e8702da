"""What is measured without training: parameters, multiply-adds, receptive fields, and forward times side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from podium.evaluation.cost import count
from podium.models.convnet import ConvNet
from podium.models.registry import rebuild

SIDE = 16  # of the map on which single layers are counted, in pixels
ROUNDS = 45  # in each of which every network is timed once


def cost_of(what: str | Mapping[str, Any], inputs: int = 3) -> tuple[int, int]:
    """Weights and multiply-adds.

    Args:
        what: layers as `networks/sketch.py` writes them, whose weights are counted without biases; or the arguments of a network, for
            its trainable parameters without auxiliary classifiers.
        inputs: maps that the first of the layers reads.
    """
    if isinstance(what, str):
        net = _layers(what, inputs)
        weights = sum(p.numel() for name, p in net.stages.named_parameters() if name.endswith("weight"))
        classifier = sum(p.numel() for p in net.head.parameters() if p.ndim > 1)
        return weights, count(net.spec).macs - classifier
    cost = count(build_skeleton(what).spec)
    return cost.params, cost.macs


def build_skeleton(model: Mapping[str, Any]) -> ConvNet:
    """A network without memory for its weights."""
    with torch.device("meta"):
        return rebuild(model)


def _layers(text: str, inputs: int) -> ConvNet:
    return build_skeleton({"model": "sketch", "layers": f"{text} -> average", "in_chans": inputs, "image_size": SIDE})


def receptive_field(layers: str, inputs: int = 1) -> int:
    """The side of the square of input pixels that one pixel of the last map sees.

    Args:
        layers: as `networks/sketch.py` writes them.
        inputs: maps that the first of them reads.
    """
    side, step = 1, 1
    for layer in _layers(layers, inputs).stages.modules():
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            kernel, stride = (each if isinstance(each, int) else each[0] for each in (layer.kernel_size, layer.stride))
            side, step = side + (int(kernel) - 1) * step, step * int(stride)
    return side


def forward_times(models: Mapping[str, Mapping[str, Any]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Time one image through each of several networks, in turn, so that what else the machine does meets all alike.

    Args:
        models: name -> the arguments of a network.
        rounds: how often each is timed.

    Returns:
        name -> seconds of each round.
    """
    nets = {}
    for name, model in models.items():
        net = rebuild(model).eval()
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        x = torch.randn(1, net.spec["in_chans"], net.spec["image_size"], net.spec["image_size"])
        nets[name] = net, x.to(memory_format=torch.channels_last)
    found: dict[str, list[float]] = {name: [] for name in models}
    with torch.inference_mode():
        for number in range(rounds + 1):  # the first round prepares
            for name, (net, x) in nets.items():
                begun = time.perf_counter()
                net(x)
                if number:
                    found[name].append(time.perf_counter() - begun)
    return found


def ratio(first: list[float], second: list[float]) -> list[float]:
    """The median of the ratios of paired times, with its 95 % interval by order statistics: [value, low, high, rounds].

    Args:
        first, second: seconds of the same rounds, at least 6 of them.
    """
    from scipy.stats import binom

    ratios = sorted(a / b for a, b in zip(first, second, strict=True))
    outside = int(binom.ppf(0.025, len(ratios), 0.5))  # ratios that lie beyond each end of the interval
    low, high = ratios[max(0, outside - 1)], ratios[min(len(ratios) - 1, len(ratios) - outside)]
    return [*(round(value, 4) for value in (statistics.median(ratios), low, high)), len(ratios)]
