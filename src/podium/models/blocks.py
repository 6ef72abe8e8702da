"""Building blocks that several papers share."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LocalResponseNorm(nn.Module):
    """b = a / (k + alpha * sum of a² over `size` neighbouring maps)^beta [Krizhevsky et al. 2012, section 3.3].

    `alpha` multiplies the plain sum, as in the paper and TensorFlow; Caffe and torch divide it by `size`. torch's own
    layer goes through a 3-d average pool; a sum of shifted slices needs a fraction of its memory traffic.

    Args:
        size: number of maps n, odd.
        alpha, beta, k: the paper's constants.
    """

    def __init__(self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        half, channels = self.size // 2, x.shape[1]
        square = F.pad(x.square(), (0, 0, 0, 0, half, half))  # (N, C + size - 1, H, W)
        total = square[:, :channels].clone()
        for shift in range(1, self.size):
            total += square[:, shift : shift + channels]
        return x * (self.k + self.alpha * total).pow(-self.beta)

    def extra_repr(self) -> str:  # noqa: D102
        return f"size={self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


def global_average() -> nn.Sequential:
    """Global average pooling, (N, C, H, W) -> (N, C) [Lin et al. 2013, section 3.2]."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Grid(nn.Module):
    """Flatten a side x side map; a larger one is averaged onto that grid first, so that larger images are taken too."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        if x.shape[-2:] != (self.side, self.side):
            x = F.adaptive_avg_pool2d(x, self.side)
        return x.flatten(1)

    def extra_repr(self) -> str:  # noqa: D102
        return str(self.side)


def fully_connected(sizes: tuple[int, ...], dropout: float) -> nn.Sequential:
    """Linear-ReLU-dropout for each pair of neighbouring sizes: the hidden layers of AlexNet and VGG."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True), nn.Dropout(dropout)]
    return nn.Sequential(*layers)


def he_init(net: nn.Module) -> None:
    """He et al. 2015 (arXiv:1502.01852), fan-out, for convolutions; norms start as the identity, linear layers at N(0, 0.01²)."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)


@torch.no_grad()
def glorot_init(net: nn.Module) -> None:
    """Glorot and Bengio 2010: uniform with variance 2 / (fan-in + fan-out), biases 0."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                layer.bias.zero_()
