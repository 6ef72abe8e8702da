"""Modules whose type has a meaning for layer tables, pruning and diagrams: branches, shortcuts, gates, grids."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from podium.models.pooling import pool_to


class Branches(nn.Module):
    """Parallel branches over one input, their outputs concatenated along the channels [Szegedy et al. 2014, Fig. 2].

    Args:
        branches: by the names their papers give them, in the order of the concatenation.
    """

    def __init__(self, **branches: nn.Module) -> None:
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return torch.cat([branch(x) for branch in self.children()], 1)


class Residual(nn.Module):
    """act(shortcut(x) + scale * residual(x)) [He et al. 2015, Fig. 2].

    Args:
        residual: the branch that is learned.
        shortcut: the identity or a projection; None for a plain network.
        act: rectify the sum, as v1 does; v2, Xception and the like do not.
        scale: of the branch before the addition [Szegedy et al. 2016, section 3.3].
    """

    def __init__(
        self, residual: nn.Module, shortcut: nn.Module | None, *, act: bool = True, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.residual, self.shortcut = residual, shortcut
        self.act, self.scale = act, scale

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y = self.residual(x)
        if self.scale != 1.0:
            y = y * self.scale
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        return F.relu(y, inplace=True) if self.act else y

    def extra_repr(self) -> str:  # noqa: D102
        return f"act={self.act}, scale={self.scale}"


class SqueezeExcitation(nn.Module):
    """Each map times a gate in (0, 1) that two fully connected layers make of all maps' means [Hu et al. 2018, section 3].

    Args:
        channels: C.
        reduced: width of the hidden layer, C/16 in the paper.
    """

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.fc1, self.relu, self.fc2 = nn.Conv2d(channels, reduced, 1), nn.ReLU(), nn.Conv2d(reduced, channels, 1)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        gate = self.fc2(self.relu(self.fc1(x.mean((2, 3), keepdim=True))))  # (N, C, 1, 1)
        return x * torch.sigmoid(gate)


class ZeroPaddedMaxPool2d(nn.MaxPool2d):
    """A max pool that reads zeros around a map, as Keras's ResNets v2 do by a layer of padding; torch's leaves these places out."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return F.max_pool2d(F.pad(x, [self.padding] * 4), self.kernel_size, self.stride)  # type: ignore[list-item]


class Ones(nn.Module):
    """Append a channel of ones to an image, so that a convolution can add a constant to each pixel, and none to the padding."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return torch.cat([x, torch.ones_like(x[:, :1])], 1)


class Grid(nn.Module):
    """Flatten a map of side x side; maps of other sizes are average-pooled to that size first, so that images of any size work."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        if x.shape[-2:] != (self.side, self.side):
            x = pool_to(x, self.side)
        return x.flatten(1)

    def extra_repr(self) -> str:  # noqa: D102
        return str(self.side)
