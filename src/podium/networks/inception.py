"""BN-Inception [Ioffe and Szegedy 2015, arXiv:1502.03167] and Inception v3 [Szegedy et al. 2015, arXiv:1512.00567]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import nn

from podium.models.convnet import Auxiliary, ConvNet, Head
from podium.models.modules import Branches, SqueezeExcitation
from podium.models.registry import register
from podium.networks.blocks import (
    average_branch,
    chain,
    conv_norm,
    fork,
    global_average,
    he_init,
    inception_stem,
    max_pool,
    truncated_normal_init,
)


class Row(NamedTuple):
    """A row of BN-Inception's table, in its order: widths of the convolutions, and the kind of pool; 0 for none.

    The pool is an average or a maximum before a 1x1 convolution of `projection` maps; "pass" halves the size and has no
    convolution.
    """

    ones: int
    reduce3: int
    threes: int
    reduce_double: int
    double: int
    pool: Literal["avg", "max", "pass"]
    projection: int

    def outputs(self, inputs: int) -> int:
        """Channels that the module makes."""
        return self.ones + self.threes + self.double + (self.projection or inputs)


# The table of the appendix.
TABLE = {
    "3a": Row(64, 64, 64, 64, 96, "avg", 32),
    "3b": Row(64, 64, 96, 64, 96, "avg", 64),
    "3c": Row(0, 128, 160, 64, 96, "pass", 0),
    "4a": Row(224, 64, 96, 96, 128, "avg", 128),
    "4b": Row(192, 96, 128, 96, 128, "avg", 128),
    "4c": Row(160, 128, 160, 128, 160, "avg", 128),
    "4d": Row(96, 128, 192, 160, 192, "avg", 128),
    "4e": Row(0, 128, 192, 192, 256, "pass", 0),
    "5a": Row(352, 192, 320, 160, 224, "avg", 128),
    "5b": Row(352, 192, 320, 192, 224, "max", 128),
}


@dataclass(frozen=True)
class BNInceptionDesign:
    """What makes one network of the family differ from another.

    Args:
        projection: of the pools of 4c and 4d: 128 as the paper's table says, which makes 608 channels, or 96, which keeps
            the 576 the same table prints.
        bias: keep the biases that Caffe's line has under its batch norms.
        se: reduction of a squeeze-and-excitation after each module [Hu et al. 2018, Fig. 2]; 0: none.
        eps: of the batch norms.
        dropout: probability before the classifier; the paper needs none.
    """

    projection: int = 128
    bias: bool = False
    se: int = 0
    eps: float = 1e-5
    dropout: float = 0.0


class BNInception(ConvNet):
    """Inception v1 with batch norm, two 3x3 in the place of a 5x5, and strides inside the modules 3c and 4e.

    The first 7x7 is dense, with 9,408 weights, as in the networks that were released for Caffe. The paper's is separable: 8 filters
    of 7x7 for each colour, then 1x1 to 64 maps, 2,712 weights [appendix]. Weights start by He et al. 2015.

    Args:
        small: for 28-64 px: a 3x3 convolution of stride 1 first, and no pool before 3a.
        design: biases, gates and the like.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        image_size: int = 224,
        small: bool = False,
        design: BNInceptionDesign = BNInceptionDesign(),
    ) -> None:
        def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Module:
            return conv_norm(inputs, outputs, kernel, stride, eps=design.eps, bias=design.bias)

        first = [conv(in_chans, 64, 3)] if small else [conv(in_chans, 64, 7, 2), nn.MaxPool2d(3, 2, ceil_mode=True)]
        stem = nn.Sequential(*first, conv(64, 64, 1), conv(64, 192, 3))
        if not small:
            stem.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        stages, channels = [], 192
        for name, row in TABLE.items():
            if name in ("4c", "4d"):
                row = row._replace(projection=design.projection)
            module: nn.Module = bn_module(channels, row, conv)
            channels = row.outputs(channels)
            if design.se:
                module = nn.Sequential(module, SqueezeExcitation(channels, max(1, channels // design.se)))
            stages.append((f"inception{name}", module))
        hidden = nn.Dropout(design.dropout) if design.dropout else None
        super().__init__(stem, stages, Head(global_average(), nn.Linear(channels, num_classes), hidden))
        he_init(self)


def bn_module(inputs: int, row: Row, conv: Callable[..., nn.Module]) -> Branches:
    """A module of BN-Inception.

    Args:
        inputs: channels.
        row: of the paper's table.
        conv: (inputs, outputs, kernel, stride) to a convolution with its batch norm and ReLU.
    """
    stride = 2 if row.pool == "pass" else 1
    branches: dict[str, nn.Module] = {"branch1": conv(inputs, row.ones, 1)} if row.ones else {}
    branches["branch2"] = nn.Sequential(conv(inputs, row.reduce3, 1), conv(row.reduce3, row.threes, 3, stride))
    branches["branch3"] = nn.Sequential(
        conv(inputs, row.reduce_double, 1),
        conv(row.reduce_double, row.double, 3),
        conv(row.double, row.double, 3, stride),
    )
    if row.pool == "pass":
        branches["branch4"] = max_pool(3, 2, "same")  # Caffe's for even maps; for odd ones it fits the other branches
    else:
        pooling = nn.AvgPool2d if row.pool == "avg" else nn.MaxPool2d
        branches["branch4"] = nn.Sequential(pooling(3, 1, padding=1), conv(inputs, row.projection, 1))
    return Branches(**branches)


def module_a(inputs: int, projection: int, count: bool) -> Branches:
    """Fig. 5, as released: the first 5x5 stayed."""
    return Branches(
        branch1=chain(inputs, (64, 1)),
        branch5=chain(inputs, (48, 1), (64, 5)),
        double3=chain(inputs, (64, 1), (96, 3), (96, 3)),
        pool=average_branch(inputs, projection, count),
    )


def module_b(inputs: int) -> Branches:
    """Fig. 10: from 35x35 to 17x17."""
    return Branches(
        branch3=chain(inputs, (384, 3, 2)),
        double3=chain(inputs, (64, 1), (96, 3), (96, 3, 2)),
        pool=nn.MaxPool2d(3, 2),
    )


def module_c(inputs: int, c: int, count: bool) -> Branches:
    """Fig. 6 with n = 7."""
    return Branches(
        branch1=chain(inputs, (192, 1)),
        branch7=chain(inputs, (c, 1), (c, (1, 7)), (192, (7, 1))),
        double7=chain(inputs, (c, 1), (c, (7, 1)), (c, (1, 7)), (c, (7, 1)), (192, (1, 7))),
        pool=average_branch(inputs, 192, count),
    )


def module_d(inputs: int) -> Branches:
    """From 17x17 to 8x8."""
    return Branches(
        branch3=chain(inputs, (192, 1), (320, 3, 2)),
        branch7=chain(inputs, (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2)),
        pool=nn.MaxPool2d(3, 2),
    )


def module_e(inputs: int, count: bool) -> Branches:
    """Fig. 7: wide, for the 8x8 maps."""
    return Branches(
        branch1=chain(inputs, (320, 1)),
        branch3=nn.Sequential(conv_norm(inputs, 384, 1), fork(384, 384)),
        double3=nn.Sequential(conv_norm(inputs, 448, 1), conv_norm(448, 384, 3), fork(384, 384)),
        pool=average_branch(inputs, 192, count),
    )


class InceptionV3(ConvNet):
    """The released network: stem, modules A x3, B, C x4, D, E x2, average pooling, one linear layer [Table 1 and slim].

    Weights start at a truncated N(0, 0.1²), as slim's do.

    Args:
        small: for 28-64 px: the stem halves the size once, in its first pool.
        aux: the auxiliary classifier with batch norm on the 17x17 maps, with 0.3 of the loss in training (the paper says it
            regularises, section 4; the weight is v1's; slim's is 0.4).
        count_padding: average pools count the zeros around a map, as torchvision's do and TensorFlow's do not.
        dropout: before the classifier; slim keeps 0.8.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        image_size: int = 299,
        small: bool = False,
        *,
        aux: bool = True,
        count_padding: bool = False,
        dropout: float = 0.2,
    ) -> None:
        stem = inception_stem(in_chans, small)
        modules = {
            "mixed5b": module_a(192, 32, count_padding),
            "mixed5c": module_a(256, 64, count_padding),
            "mixed5d": module_a(288, 64, count_padding),
            "mixed6a": module_b(288),
            **{
                f"mixed6{letter}": module_c(768, c, count_padding)
                for letter, c in zip("bcde", (128, 160, 160, 192), strict=True)
            },
            "mixed7a": module_d(768),
            "mixed7b": module_e(1280, count_padding),
            "mixed7c": module_e(2048, count_padding),
        }
        heads = {}
        if aux:
            conv = nn.Sequential(conv_norm(768, 128, 1), conv_norm(128, 768, 5, padding=0))
            heads["mixed6e"] = Auxiliary(5, conv, nn.Linear(768, num_classes))
        head = Head(global_average(), nn.Linear(2048, num_classes), nn.Dropout(dropout))
        super().__init__(stem, modules.items(), head, heads)
        truncated_normal_init(self, 0.1)


register(
    BNInception,
    {"bn_inception": {}, "bn_inception_576": {"projection": 96}},
    design=BNInceptionDesign,
    family="Inception",
    year=2015,
    paper="Ioffe & Szegedy 2015, arXiv:1502.03167",
    input_size=224,
    min_size=32,
    small_min_size=8,
    recipe="bn-inception-2015",
    note="Inception v2; *_576 keeps the widths the paper's table prints; a dense 7x7 first, where the paper's is separable",
)
register(
    InceptionV3,
    {"inception_v3": {}},
    family="Inception",
    year=2015,
    paper="Szegedy et al. 2015, arXiv:1512.00567",
    input_size=299,
    min_size=75,
    small_min_size=16,
    recipe="inception-2016",
)
