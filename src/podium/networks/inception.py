"""BN-Inception [Ioffe and Szegedy 2015, arXiv:1502.03167] and Inception v3 [Szegedy et al. 2015, arXiv:1512.00567]."""

from __future__ import annotations

import re

from torch import nn

from podium.models.convnet import Auxiliary, ConvNet, Head
from podium.models.modules import Branches, SqueezeExcitation
from podium.models.registry import BICUBIC, INCEPTION_PIXELS, InOrder, Rules, peer, register
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

# BN-Inception, the paper's appendix: #1x1, #3x3 reduce, #3x3, double #3x3 reduce, double #3x3, pool and projection.
TABLE = {
    "3a": (64, 64, 64, 64, 96, "avg", 32),
    "3b": (64, 64, 96, 64, 96, "avg", 64),
    "3c": (0, 128, 160, 64, 96, "pass", 0),
    "4a": (224, 64, 96, 96, 128, "avg", 128),
    "4b": (192, 96, 128, 96, 128, "avg", 128),
    "4c": (160, 128, 160, 128, 160, "avg", 128),
    "4d": (96, 128, 192, 160, 192, "avg", 128),
    "4e": (0, 128, 192, 192, 256, "pass", 0),
    "5a": (352, 192, 320, 160, 224, "avg", 128),
    "5b": (352, 192, 320, 192, 224, "max", 128),
}


class BNInception(ConvNet):
    """Inception v1 with batch norm, two 3x3 in the place of a 5x5, and strides inside the modules 3c and 4e.

    Weights start by He et al. 2015.

    Args:
        small: for 28-64 px: a 3x3 convolution of stride 1 first, and no pool before 3a.
        projection: of the pools of 4c and 4d: 128 as the paper's table says, which makes 608 channels, or 96, which keeps
            the 576 the same table prints.
        bias: the biases that Caffe's line keeps under its batch norms.
        se: reduction of a squeeze-and-excitation after each module [Hu et al. 2018, Fig. 2]; 0: none.
        eps: of the batch norms.
        dropout: before the classifier; the paper needs none.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        image_size: int = 224,
        small: bool = False,
        *,
        projection: int = 128,
        bias: bool = False,
        se: int = 0,
        eps: float = 1e-5,
        dropout: float = 0.0,
    ) -> None:
        def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
            return conv_norm(inputs, outputs, kernel, stride, eps=eps, bias=bias)

        def module(name: str, inputs: int) -> tuple[nn.Module, int]:
            ones, reduce3, threes, reduce_double, double, pool, projected = TABLE[name]
            projected = projection if name in ("4c", "4d") else projected
            stride = 2 if pool == "pass" else 1
            branches: dict[str, nn.Module] = {"branch1": conv(inputs, ones, 1)} if ones else {}
            branches["branch2"] = nn.Sequential(conv(inputs, reduce3, 1), conv(reduce3, threes, 3, stride))
            branches["branch3"] = nn.Sequential(
                conv(inputs, reduce_double, 1), conv(reduce_double, double, 3), conv(double, double, 3, stride)
            )
            if pool == "pass":
                branches["branch4"] = max_pool(3, 2, "same")  # Caffe's for even maps, and fits the strides for odd ones
            else:
                pooling = nn.AvgPool2d if pool == "avg" else nn.MaxPool2d
                branches["branch4"] = nn.Sequential(pooling(3, 1, padding=1), conv(inputs, projected, 1))
            width = ones + threes + double + (projected or inputs)
            if not se:
                return Branches(**branches), width
            return nn.Sequential(Branches(**branches), SqueezeExcitation(width, max(1, width // se))), width

        first = [conv(in_chans, 64, 3)] if small else [conv(in_chans, 64, 7, 2), nn.MaxPool2d(3, 2, ceil_mode=True)]
        stem = nn.Sequential(*first, conv(64, 64, 1), conv(64, 192, 3))
        if not small:
            stem.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        stages, channels = [], 192
        for name in TABLE:
            built, channels = module(name, channels)
            stages.append((f"inception{name}", built))
        hidden = nn.Dropout(dropout) if dropout else None
        super().__init__(stem, stages, Head(global_average(), nn.Linear(channels, num_classes), hidden))
        he_init(self)


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
    family="Inception",
    year=2015,
    paper="Ioffe & Szegedy 2015, arXiv:1502.03167",
    input_size=224,
    min_size=32,
    small_min_size=8,
    recipe="bn-inception-2015",
    note="Inception v2; *_576 keeps the widths the paper's table prints",
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


def _unit(match: re.Match[str]) -> str:
    """`branch7x7dbl_3` is `double7.2`, and the forked `branch3x3_2a` is `branch3.1.a`."""
    side, double, number, letter = match["side"], match["double"], int(match["number"] or 1) - 1, match["letter"]
    forked = f".{letter}" if letter else ""
    return f".{'double' if double else 'branch'}{side}.{number}{forked}."


RULES: Rules = (
    (r"^Conv2d_1a_3x3\.", "stem.0."),
    (r"^Conv2d_2a_3x3\.", "stem.1."),
    (r"^Conv2d_2b_3x3\.", "stem.2."),
    (r"^Conv2d_3b_1x1\.", "stem.4."),
    (r"^Conv2d_4a_3x3\.", "stem.5."),
    (r"^AuxLogits\.conv(\d)\.", r"auxiliary.mixed6e.conv.\1."),
    (r"^AuxLogits\.fc\.", "auxiliary.mixed6e.classifier."),
    (r"^Mixed_(\d\w)\.", r"stages.mixed\1."),
    (r"\.branch_pool\.", ".pool.1."),
    (r"\.branch(?P<side>\d)x\d(?:x3)?(?P<double>dbl)?(?:_(?P<number>\d)(?P<letter>[ab])?)?\.", _unit),
    (r"^fc\.", "head.classifier."),
)
for library, pixels in (
    ("torchvision", INCEPTION_PIXELS),
    ("timm", INCEPTION_PIXELS | BICUBIC),
):  # under the same names
    peer(library, {"inception_v3": "inception_v3"}, RULES, {"count_padding": True}, pixels)
peer(
    "keras",
    {"InceptionV3": "inception_v3"},
    (
        (r"^conv2d_(\d+)\.", InOrder(nn.Conv2d)),
        (r"^batch_normalization_(\d+)\.", InOrder(nn.BatchNorm2d)),
        (r"^predictions\.", "head.classifier."),
    ),
    {"aux": False},
    INCEPTION_PIXELS,
)
