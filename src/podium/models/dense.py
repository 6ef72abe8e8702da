"""The fully convolutional form of a network: a map of logits for an image of any size [Simonyan and Zisserman 2014, section 3.2]."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from podium.models.modules import Grid


class Dense(nn.Module):
    """A network as convolutions only: (N, C, H, W) to a map of logits (N, K, h, w), as `ConvNet.to_dense` describes it.

    Args:
        stem, stages, head: of a network, whose weights it shares. A fully connected layer becomes a convolution as large as
            the map it reads; global average pooling becomes an average over `side`, with stride 1.
        side: of the last map of a canonical image.
    """

    def __init__(self, stem: nn.Module, stages: nn.Module, head: nn.Module, side: int) -> None:
        super().__init__()
        self.stem, self.stages = stem, stages
        self.head = _convolutional(head, side)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.head(self.stages(self.stem(x)))


def _convolutional(head: nn.Module, side: int) -> nn.Sequential:
    """A head with each of its layers in convolutional form."""
    layers: list[nn.Module] = []
    kernel = 1  # of the next fully connected layer: the side of the map that reaches it
    for layer in head.modules():
        form: Callable[[], nn.Module] | None = getattr(layer, "to_dense", None)
        if isinstance(layer, Grid):
            kernel = layer.side
        elif isinstance(layer, nn.AdaptiveAvgPool2d):
            if layer.output_size == 1:
                layers.append(nn.AvgPool2d(side, 1))
        elif isinstance(layer, nn.Linear):
            layers.append(_convolution(layer, kernel))
            kernel = 1
        elif form is not None:
            layers.append(form())
        elif not list(layer.children()) and not isinstance(layer, nn.Flatten | nn.Identity):
            layers.append(layer)
    return nn.Sequential(*layers)


def _convolution(linear: nn.Linear, kernel: int) -> nn.Conv2d:
    channels = linear.in_features // kernel**2
    with torch.device("meta"):
        conv = nn.Conv2d(channels, linear.out_features, kernel)
    conv.weight = nn.Parameter(linear.weight.detach().unflatten(1, (channels, kernel, kernel)))
    conv.bias = nn.Parameter(linear.bias.detach())
    return conv
