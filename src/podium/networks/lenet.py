"""LeNet-5 [LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition", section II.B]."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from podium.models.convnet import ConvNet, Head, Loss, map_size
from podium.models.modules import Grid
from podium.models.pooling import MeanPool
from podium.models.registry import register

# Table I: the S2 maps that each of the sixteen C3 maps sees.
C3_TABLE = [
    "012",
    "123",
    "234",
    "345",
    "045",
    "015",
    "0123",
    "1234",
    "2345",
    "0345",
    "0145",
    "0125",
    "0134",
    "1245",
    "0235",
    "012345",
]

# The output's fixed targets for digits: pictures of 7x12 pixels (Fig. 3 draws such a set for all of ASCII; these are ours).
DIGITS = """
..###.. ...##.. .#####. .#####. .....## ####### ..####. ####### .#####. .#####.
.#...#. ..###.. ##...## ##...## ....### ##..... .##.... ##...## ##...## ##...##
##...## .####.. .....## .....## ...#### ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## .....## ..##.## ##..... ##..... ....##. ##...## ##...##
##...## ...##.. ....##. .....## .##..## ##..... ##..... ....##. .##.##. ##...##
##...## ...##.. ...##.. ..####. ##...## ######. ##.###. ...##.. ..###.. .######
##...## ...##.. ..##... .....## ####### .....## ###..## ...##.. .##.##. ..##.##
##...## ...##.. .##.... .....## .....## .....## ##...## ..##... ##...## .....##
##...## ...##.. ##..... .....## .....## .....## ##...## ..##... ##...## .....##
##...## ...##.. ##..... .....## .....## .....## ##...## .##.... ##...## .....##
.#...#. ...##.. ##..... ##...## .....## ##...## ##...## .##.... ##...## ....##.
..###.. .###### ####### .#####. .....## .#####. .#####. .##.... .#####. .####..
"""


class ScaledTanh(nn.Module):
    """f(a) = 1.7159 tanh(2a/3), so that f(1) = 1 and f(-1) = -1 [appendix A]."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return 1.7159 * torch.tanh(x * (2 / 3))


class Subsampling(nn.Module):
    """The sum of each 2x2 square, times a trained coefficient, plus a trained bias, one of each a map [section II.B, S2].

    The network that it belongs to initialises the coefficients.
    """

    kernel_size, stride, padding = 2, 2, 0
    fan_in = 4

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.empty(maps, 1, 1))
        self.bias = nn.Parameter(torch.zeros(maps, 1, 1))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return 4 * F.avg_pool2d(x, 2) * self.coefficient + self.bias


class PartialConv(nn.Module):
    """A convolution in which each output map sees only the input maps its table names [section II.B, Table I].

    Args:
        table: for each output map the input maps it sees.
        kernel: side of the kernel.
    """

    stride, padding = 1, 0
    rows: Tensor
    columns: Tensor

    def __init__(self, table: list[list[int]], kernel: int) -> None:
        super().__init__()
        self.kernel_size = kernel
        self.outputs, self.inputs = len(table), 1 + max(max(row) for row in table)
        self.pairs = [(o, i) for o, row in enumerate(table) for i in row]
        self.weight = nn.Parameter(torch.empty(len(self.pairs), kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(self.outputs))
        self.register_buffer("rows", torch.tensor([o for o, _ in self.pairs]), persistent=False)
        self.register_buffer("columns", torch.tensor([i for _, i in self.pairs]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        full = self.weight.new_zeros(self.outputs, self.inputs, self.kernel_size, self.kernel_size)
        return F.conv2d(x, full.index_put((self.rows, self.columns), self.weight), self.bias)

    @property
    def fan_in(self) -> Tensor:
        """Inputs of the unit that each kernel belongs to, (kernels, 1, 1): 75, 100 or 150 in C3."""
        seen = Counter(o for o, _ in self.pairs)
        return torch.tensor([seen[o] * self.kernel_size**2 for o, _ in self.pairs])[:, None, None]

    def multiply_adds(self, output: Tensor) -> int:
        """Multiply-adds for one image: only the connections that exist."""
        return self.weight.numel() * output.shape[-1] * output.shape[-2]


class RadialBasis(nn.Module):
    """Minus the squared distance to each class's fixed ±1 code: the logits of LeNet-5's output layer [Eq. 7].

    The paper's y is this distance, the smallest wins; its minus is a logit. Ten classes get pictures of the digits;
    any other number gets random codes, which the paper names as the other choice.
    """

    codes: Tensor

    def __init__(self, num_classes: int, units: int = 84) -> None:
        super().__init__()
        self.register_buffer("codes", _digit_codes() if num_classes == 10 else _random_codes(num_classes, units))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        x = x.float()  # a squared distance of 84 terms loses the small differences that decide in bfloat16
        return -(x.unsqueeze(1) - self.codes).square().sum(2)

    def to_dense(self) -> nn.Module:
        """Compute the same distances at every position of a map, (N, 84, h, w) -> (N, K, h, w)."""
        return DenseRadialBasis(self.codes)


class DenseRadialBasis(nn.Module):
    """`RadialBasis` over a map.

    Args:
        codes: (K, units).
    """

    codes: Tensor

    def __init__(self, codes: Tensor) -> None:
        super().__init__()
        self.register_buffer("codes", codes)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return -(x.float().unsqueeze(1) - self.codes[:, :, None, None]).square().sum(2)


def _digit_codes() -> Tensor:
    rows = [line.split() for line in DIGITS.strip().splitlines()]
    pictures = ["".join(row[digit] for row in rows) for digit in range(10)]
    return torch.tensor([[1.0 if pixel == "#" else -1.0 for pixel in picture] for picture in pictures])


def _random_codes(num_classes: int, units: int) -> Tensor:
    bits = torch.randint(0, 2, (num_classes, units), generator=torch.Generator("cpu").manual_seed(1998), device="cpu")
    return (2.0 * bits - 1.0).to(torch.get_default_device())


class LeNet5(ConvNet):
    """LeNet-5 as in 1998: trained subsampling, partial C3, scaled tanh after every layer to F6, RBF output.

    Args:
        image_size: 28 is padded to the paper's 32 inside C1; other sizes make C5's kernel as large as S4.
        j: the constant of Eq. 9 that keeps the other classes' distances from growing without bound.
        reset_scale: weights and coefficients start at U(±reset_scale/fan-in) of the unit that they belong to [appendix A],
            biases at 0.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_chans: int = 1,
        image_size: int = 32,
        *,
        j: float = 1.0,
        reset_scale: float = 2.4,
    ) -> None:
        c1 = nn.Conv2d(in_chans, 6, 5, padding=2 if image_size == 28 else 0)
        c3 = PartialConv([[int(i) for i in row] for row in C3_TABLE], 5)
        s2, s4 = Subsampling(6), Subsampling(16)
        stem = nn.Sequential(c1, ScaledTanh())
        stages = [(f"stage{n}", nn.Sequential(layer, ScaledTanh())) for n, layer in enumerate((s2, c3, s4), 1)]
        side = map_size([stem, *(stage for _, stage in stages)], image_size)
        c5 = nn.Conv2d(16, 120, side)
        f6 = nn.Linear(120, 84)
        hidden = nn.Sequential(c5, ScaledTanh(), nn.Flatten(), f6, ScaledTanh())
        super().__init__(stem, stages, Head(MeanPool(side), RadialBasis(num_classes), hidden))
        self.j = j
        fan_ins: list[tuple[Tensor, float | Tensor]] = [
            (c1.weight, 25 * in_chans),
            (s2.coefficient, s2.fan_in),
            (c3.weight, c3.fan_in),
            (s4.coefficient, s4.fan_in),
            (c5.weight, 16 * side * side),
            (f6.weight, 120),
        ]
        with torch.no_grad():
            for weight, fan_in in fan_ins:
                weight.uniform_(-1, 1).mul_(reset_scale / fan_in)
            for layer in (c1, c5, f6):
                layer.bias.zero_()  # type: ignore[union-attr]

    def training_loss(self, x: Tensor, y: Tensor, loss: Loss) -> Tensor:
        """Eq. 9: with logits z = -y it is the cross-entropy with one more class whose logit is always -j."""
        logits = self(x)
        logits = torch.cat([logits, logits.new_full((len(logits), 1), -self.j)], 1)  # (N, K + 1)
        if y.is_floating_point():
            y = F.pad(y, (0, 1))
        return loss(logits, y)

    def reset_head(self, num_classes: int) -> None:
        """New codes for another number of classes."""
        self.head.classifier = RadialBasis(num_classes).to(next(self.parameters()).device)
        self.spec = {**self.spec, "num_classes": num_classes}


class LeNet5Modern(ConvNet):
    """What is called LeNet-5 today: ReLU, plain pooling, dense C3, a linear output.

    Args:
        image_size: 28 is padded to 32 inside the first convolution.
        pool: "max" or "avg".
    """

    def __init__(
        self, num_classes: int = 10, in_chans: int = 1, image_size: int = 32, *, pool: Literal["max", "avg"] = "max"
    ) -> None:
        # Rectifying after max pooling gives the same numbers, on a quarter of them.
        pooling = nn.MaxPool2d if pool == "max" else nn.AvgPool2d
        shrink = [pooling(2), nn.ReLU(inplace=True)] if pool == "max" else [nn.ReLU(inplace=True), pooling(2)]
        stem = nn.Conv2d(in_chans, 6, 5, padding=2 if image_size == 28 else 0)
        stages = [
            ("stage1", nn.Sequential(*shrink)),
            ("stage2", nn.Conv2d(6, 16, 5)),
            ("stage3", nn.Sequential(*copy.deepcopy(shrink))),
        ]
        side = map_size([stem, *(stage for _, stage in stages)], image_size)
        hidden = nn.Sequential(
            nn.Linear(16 * side * side, 120), nn.ReLU(inplace=True), nn.Linear(120, 84), nn.ReLU(inplace=True)
        )
        super().__init__(stem, stages, Head(Grid(side), nn.Linear(84, num_classes), hidden))


register(
    LeNet5,
    {"lenet5": {}},
    family="LeNet",
    year=1998,
    paper="LeCun et al. 1998, Proc. IEEE 86(11)",
    input_size=32,
    min_size=28,
    num_classes=10,
    in_chans=1,
    recipe="lenet-1998",
    note="as in the paper: 60,000 parameters, 340,908 connections",
)
register(
    LeNet5Modern,
    {"lenet5_modern": {}},
    family="LeNet",
    year=1998,
    paper="LeCun et al. 1998, Proc. IEEE 86(11)",
    input_size=32,
    min_size=16,
    num_classes=10,
    in_chans=1,
    recipe="quick",
    note="dense C3, ReLU, max pooling, linear output: 61,706 parameters",
)
