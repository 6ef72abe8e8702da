"""Parameters and multiply-adds of a network, counted from its layers on one image without computing anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from podium.models.convnet import ConvNet, meta
from podium.models.registry import rebuild


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Args:
        params: trainable parameters of the network that answers.
        macs: multiply-adds of convolutions and linear layers for one image, without biases, norms, pools and activations.
        stages: (name, shape (C, H, W) or (K,)) of each endpoint.
        auxiliary_params: more parameters, of classifiers that are there in training only.
    """

    params: int
    macs: int
    stages: tuple[tuple[str, tuple[int, ...]], ...]
    auxiliary_params: int = 0


def count(spec: dict[str, Any]) -> Cost:
    """The cost of the network that a spec describes, at its own image size."""
    return _count(meta(lambda: rebuild(spec)))


def count_net(net: ConvNet) -> Cost:
    """The cost of a built network."""
    return _count(net.skeleton())


def _count(skeleton: ConvNet) -> Cost:
    macs, net = 0, skeleton.strip().eval()

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        if isinstance(layer, nn.Conv2d | nn.Linear):
            positions = output.shape[-1] * output.shape[-2] if isinstance(layer, nn.Conv2d) else 1
            macs += layer.weight.numel() * positions
        else:
            macs += layer.multiply_adds(output)  # type: ignore[operator]

    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) or hasattr(layer, "multiply_adds"):
            layer.register_forward_hook(add)
    side = net.spec["image_size"]
    with torch.no_grad():
        ends = net.endpoints(torch.zeros(1, net.spec["in_chans"], side, side, device="meta"))
    params, extra = (sum(p.numel() for p in part.parameters()) for part in (net, skeleton.auxiliary))
    return Cost(params, macs, tuple((name, tuple(x.shape[1:])) for name, x in ends.items()), extra)
