"""Inception-ResNet v1 and v2 [Szegedy et al. 2016, arXiv:1602.07261, Figs. 10-20], and v2 as it was released."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from torch import nn

from podium.models.convnet import ConvNet, Head
from podium.models.modules import Branches, Residual
from podium.models.registry import register
from podium.networks.blocks import average_branch, chain, conv_norm, global_average, he_init, inception_stem
from podium.networks.inception_v4 import reduction_a, v4_stem


@dataclass(frozen=True)
class Widths:
    """The widths of the convolutions of one version.

    Args:
        first: of the first branch of the modules at 35x35, 17x17 and 8x8.
        a: of the second and the third branch of the module at 35x35.
        b: of the second branch of the module at 17x17.
        c: of the second branch of the module at 8x8.
        reduction_a: k, l, m, n of reduction A [Table 1].
        reduction_b: of the three branches with convolutions of reduction B.
    """

    first: tuple[int, int, int]
    a: tuple[tuple[int, ...], tuple[int, ...]]
    b: tuple[int, int, int]
    c: tuple[int, int, int]
    reduction_a: tuple[int, int, int, int]
    reduction_b: tuple[tuple[int, int], tuple[int, int], tuple[int, int, int]]


WIDTHS = {
    1: Widths(
        first=(32, 128, 192),
        a=((32, 32), (32, 32, 32)),
        b=(128, 128, 128),
        c=(192, 192, 192),
        reduction_a=(192, 192, 256, 384),
        reduction_b=((256, 384), (256, 256), (256, 256, 256)),
    ),
    2: Widths(
        first=(32, 192, 192),
        a=((32, 32), (32, 48, 64)),
        b=(128, 160, 192),
        c=(192, 224, 256),
        reduction_a=(256, 256, 384, 384),
        reduction_b=((256, 384), (256, 288), (256, 288, 320)),
    ),
}


@dataclass(frozen=True)
class InceptionResNetDesign:
    """What makes one network of the family differ from another.

    Args:
        version: 1 or 2.
        blocks: number of modules at 35x35, 17x17 and 8x8.
        released: build the published v2: the stem of Inception v3 and module 5b (320 maps), the last module without scale
            and ReLU, and a 1x1 to 1536 maps before the pooling.
        scales: of the branches at the three sizes: between 0.1 and 0.3 [section 3.3], slim's values.
        dropout: probability before the classifier; the paper keeps 0.8.
    """

    version: Literal[1, 2] = 2
    blocks: tuple[int, int, int] = (5, 10, 5)
    released: bool = False
    scales: tuple[float, float, float] = (0.17, 0.1, 0.2)
    dropout: float = 0.2


class InceptionResNet(ConvNet):
    """A stem, residual Inception modules at three sizes with reductions between them, average pooling, one linear layer.

    Weights start by He et al. 2015.

    Args:
        small: for 28-64 px: the stem halves the size once.
        design: version, number of modules and the like.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        image_size: int = 299,
        small: bool = False,
        design: InceptionResNetDesign = InceptionResNetDesign(),
    ) -> None:
        widths, blocks, scales = WIDTHS[design.version], design.blocks, design.scales
        stages: dict[str, nn.Module] = {}
        if design.released:
            stem, channels = inception_stem(in_chans, small), 320
            stages["mixed5b"] = module_5b()
        elif design.version == 1:
            stem, channels = v1_stem(in_chans, small), 256
        else:
            stem, stages = v4_stem(in_chans, small)
            channels = 384
        stages["block35"] = nn.Sequential(*(block35(channels, widths, scales[0]) for _ in range(blocks[0])))
        stages["mixed6a"] = reduction_a(channels, *widths.reduction_a)
        channels += sum(widths.reduction_a[2:])
        stages["block17"] = nn.Sequential(*(block17(channels, widths, scales[1]) for _ in range(blocks[1])))
        stages["mixed7a"] = reduction_b(channels, widths)
        channels += sum(branch[-1] for branch in widths.reduction_b)
        last = [design.released and number == blocks[2] for number in range(1, blocks[2] + 1)]
        stages["block8"] = nn.Sequential(*(block8(channels, widths, scales[2], plain=plain) for plain in last))
        if design.released:
            stages["conv7b"] = conv_norm(channels, 1536, 1)
            channels = 1536
        head = Head(global_average(), nn.Linear(channels, num_classes), nn.Dropout(design.dropout))
        super().__init__(stem, stages.items(), head)
        he_init(self)


def unit(branches: Branches, inner: int, channels: int, scale: float, act: bool = True) -> Residual:
    """relu(x + scale * up(branches(x))), where "up" is a 1x1 with a bias and without batch norm [Fig. 15 and section 3.3]."""
    layers = OrderedDict[str, nn.Module](branches=branches, up=nn.Conv2d(inner, channels, 1))
    return Residual(nn.Sequential(layers), nn.Identity(), act=act, scale=scale)


def block35(channels: int, widths: Widths, scale: float) -> Residual:
    """The module at 35x35 [Figs. 10 and 16]."""
    first, (second, third) = widths.first[0], widths.a
    branches = Branches(
        branch0=conv_norm(channels, first, 1),
        branch1=chain(channels, (second[0], 1), *((width, 3) for width in second[1:])),
        branch2=chain(channels, (third[0], 1), *((width, 3) for width in third[1:])),
    )
    return unit(branches, first + second[-1] + third[-1], channels, scale)


def block17(channels: int, widths: Widths, scale: float) -> Residual:
    """The module at 17x17 [Figs. 11 and 17]."""
    first, (one, two, three) = widths.first[1], widths.b
    branches = Branches(
        branch0=conv_norm(channels, first, 1),
        branch1=chain(channels, (one, 1), (two, (1, 7)), (three, (7, 1))),
    )
    return unit(branches, first + three, channels, scale)


def block8(channels: int, widths: Widths, scale: float, plain: bool) -> Residual:
    """The module at 8x8 [Figs. 13 and 19].

    Args:
        plain: leave out the scale and the ReLU, as the released network does in its last module.
    """
    first, (one, two, three) = widths.first[2], widths.c
    branches = Branches(
        branch0=conv_norm(channels, first, 1),
        branch1=chain(channels, (one, 1), (two, (1, 3)), (three, (3, 1))),
    )
    return unit(branches, first + three, channels, 1.0 if plain else scale, act=not plain)


def module_5b() -> Branches:
    """The module that follows the stem of the released network."""
    return Branches(
        branch0=conv_norm(192, 96, 1),
        branch1=chain(192, (48, 1), (64, 5)),
        branch2=chain(192, (64, 1), (96, 3), (96, 3)),
        branch3=average_branch(192, 64),
    )


def reduction_b(inputs: int, widths: Widths) -> Branches:
    """From 17x17 to 8x8 [Figs. 12 and 18]."""
    one, two, three = widths.reduction_b
    return Branches(
        branch0=chain(inputs, (one[0], 1), (one[1], 3, 2)),
        branch1=chain(inputs, (two[0], 1), (two[1], 3, 2)),
        branch2=chain(inputs, (three[0], 1), (three[1], 3), (three[2], 3, 2)),
        pool=nn.MaxPool2d(3, 2),
    )


def v1_stem(in_chans: int, small: bool) -> nn.Sequential:
    """The stem of Inception-ResNet v1, 256 maps [Fig. 14]."""
    if small:
        return nn.Sequential(
            *chain(in_chans, (32, 3), (32, 3), (64, 3)),
            nn.MaxPool2d(3, 2, padding=1),
            *chain(64, (80, 1), (192, 3), (256, 3)),
        )
    return nn.Sequential(
        *chain(in_chans, (32, 3, 2), (32, 3, 1), (64, 3)),
        nn.MaxPool2d(3, 2),
        *chain(64, (80, 1), (192, 3, 1), (256, 3, 2)),
    )


register(
    InceptionResNet,
    {
        "inception_resnet_v1": {"version": 1},
        "inception_resnet_v2": {"blocks": (10, 20, 10), "released": True},
        "inception_resnet_v2_figures": {},
    },
    design=InceptionResNetDesign,
    family="Inception-ResNet",
    year=2016,
    paper="Szegedy et al. 2016, arXiv:1602.07261",
    input_size=299,
    min_size=75,
    small_min_size=16,
    recipe="inception-2016",
    note="inception_resnet_v2 is the released network, *_figures the one of the paper's figures",
)
