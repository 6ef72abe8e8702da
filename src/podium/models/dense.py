"""A network as convolutions only, which gives a map of logits for an image of any size [Simonyan and Zisserman 2014, section 3.2]."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from podium.models.blocks import Grid

if TYPE_CHECKING:
    from podium.models.convnet import ConvNet


class Dense(nn.Module):
    """(N, C, H, W) to (N, K, h, w): every position of the last map that a canonical image would have been.

    Args:
        net: whose weights it shares. A fully connected layer becomes a convolution as large as the map it reads; global
            average pooling becomes an average over the canonical map's side, with stride 1.
    """

    def __init__(self, net: ConvNet) -> None:
        super().__init__()
        self.stem, self.stages = net.stem, net.stages
        size, channels = net.spec["image_size"], net.spec["in_chans"]
        with torch.no_grad():
            canonical = torch.zeros(1, channels, size, size, device="meta")
            features = net.skeleton().eval().forward_features(canonical)  # (1, C', side, side)
        self.head = _convolutional(net.head, features.shape[-1])
        self.train(net.training)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.head(self.stages(self.stem(x)))


def _convolutional(head: nn.Module, side: int) -> nn.Sequential:
    """The layers of a head, each in its convolutional form."""
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
