"""Inception-ResNet v1 and v2 [Szegedy et al. 2016, arXiv:1602.07261, Figs. 10-20], and v2 as it was released."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from torch import nn

from podium.models.convnet import ConvNet, Head
from podium.models.modules import Branches, Residual
from podium.models.registry import BICUBIC, INCEPTION_PIXELS, InOrder, Rules, peer, register
from podium.networks.blocks import average_branch, chain, conv_norm, global_average, he_init, inception_stem
from podium.networks.inception_v4 import reduction_a, v4_stem


@dataclass(frozen=True)
class Plan:
    """The widths of one of the networks.

    Args:
        a, b, c: of the second (and third) branch of the modules at 35x35, 17x17 and 8x8.
        first: of their first branches.
        reduction: k, l, m, n of reduction A [Table 1].
        reduction_b: of the three convolving branches of reduction B.
    """

    first: tuple[int, int, int]
    a: tuple[tuple[int, ...], tuple[int, ...]]
    b: tuple[int, int, int]
    c: tuple[int, int, int]
    reduction: tuple[int, int, int, int]
    reduction_b: tuple[tuple[int, int], tuple[int, int], tuple[int, int, int]]


PLANS = {
    1: Plan(
        first=(32, 128, 192),
        a=((32, 32), (32, 32, 32)),
        b=(128, 128, 128),
        c=(192, 192, 192),
        reduction=(192, 192, 256, 384),
        reduction_b=((256, 384), (256, 256), (256, 256, 256)),
    ),
    2: Plan(
        first=(32, 192, 192),
        a=((32, 32), (32, 48, 64)),
        b=(128, 160, 192),
        c=(192, 224, 256),
        reduction=(256, 256, 384, 384),
        reduction_b=((256, 384), (256, 288), (256, 288, 320)),
    ),
}


def unit(branches: Branches, inner: int, channels: int, scale: float, act: bool = True) -> Residual:
    """relu(x + scale * up(branches(x))), where "up" is a 1x1 with a bias and without batch norm [Fig. 15 and section 3.3]."""
    layers = OrderedDict[str, nn.Module](branches=branches, up=nn.Conv2d(inner, channels, 1))
    return Residual(nn.Sequential(layers), nn.Identity(), act=act, scale=scale)


class InceptionResNet(ConvNet):
    """A stem, residual Inception modules at three sizes with reductions between them, average pooling, one linear layer.

    Weights start by He et al. 2015.

    Args:
        small: for 28-64 px: the stem halves the size once.
        version: 1 or 2.
        blocks: modules at 35x35, 17x17 and 8x8.
        released: the published v2: the stem of Inception v3 and module 5b (320 maps), the last module neither scaled nor
            rectified, and a 1x1 to 1536 maps before the pooling.
        scales: of the branches at the three sizes: between 0.1 and 0.3 [section 3.3], slim's values.
        dropout: before the classifier; the paper keeps 0.8.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        image_size: int = 299,
        small: bool = False,
        *,
        version: int = 2,
        blocks: tuple[int, int, int] = (5, 10, 5),
        released: bool = False,
        scales: tuple[float, float, float] = (0.17, 0.1, 0.2),
        dropout: float = 0.2,
    ) -> None:
        plan, stages = PLANS[version], dict[str, nn.Module]()
        if released:
            stem, channels = inception_stem(in_chans, small), 320
            stages["mixed5b"] = Branches(
                branch0=conv_norm(192, 96, 1),
                branch1=chain(192, (48, 1), (64, 5)),
                branch2=chain(192, (64, 1), (96, 3), (96, 3)),
                branch3=average_branch(192, 64),
            )
        elif version == 1:
            stem, channels = v1_stem(in_chans, small), 256
        else:
            stem, stages = v4_stem(in_chans, small)
            channels = 384

        def module(number: int, *chains: nn.Module) -> Branches:
            ones = conv_norm(channels, plan.first[number], 1)
            return Branches(branch0=ones, **{f"branch{i}": c for i, c in enumerate(chains, 1)})

        def block35() -> Residual:
            second, third = (chain(channels, *((w, 3 if i else 1) for i, w in enumerate(widths))) for widths in plan.a)
            return unit(module(0, second, third), plan.first[0] + plan.a[0][-1] + plan.a[1][-1], channels, scales[0])

        def block17() -> Residual:
            second = chain(channels, (plan.b[0], 1), (plan.b[1], (1, 7)), (plan.b[2], (7, 1)))
            return unit(module(1, second), plan.first[1] + plan.b[2], channels, scales[1])

        def block8(last: bool) -> Residual:
            second = chain(channels, (plan.c[0], 1), (plan.c[1], (1, 3)), (plan.c[2], (3, 1)))
            inner = plan.first[2] + plan.c[2]
            return unit(module(2, second), inner, channels, 1.0 if last else scales[2], act=not last)

        stages["block35"] = nn.Sequential(*(block35() for _ in range(blocks[0])))
        stages["mixed6a"] = reduction_a(channels, *plan.reduction)
        channels += plan.reduction[2] + plan.reduction[3]
        stages["block17"] = nn.Sequential(*(block17() for _ in range(blocks[1])))
        one, two, three = plan.reduction_b
        stages["mixed7a"] = Branches(
            branch0=chain(channels, (one[0], 1), (one[1], 3, 2)),
            branch1=chain(channels, (two[0], 1), (two[1], 3, 2)),
            branch2=chain(channels, (three[0], 1), (three[1], 3), (three[2], 3, 2)),
            pool=nn.MaxPool2d(3, 2),
        )
        channels += one[1] + two[1] + three[2]
        stages["block8"] = nn.Sequential(*(block8(released and i == blocks[2] - 1) for i in range(blocks[2])))
        if released:
            stages["conv7b"] = conv_norm(channels, 1536, 1)
            channels = 1536
        head = Head(global_average(), nn.Linear(channels, num_classes), nn.Dropout(dropout))
        super().__init__(stem, stages.items(), head)
        he_init(self)


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
    family="Inception-ResNet",
    year=2016,
    paper="Szegedy et al. 2016, arXiv:1602.07261",
    input_size=299,
    min_size=75,
    small_min_size=16,
    recipe="inception-2016",
    note="inception_resnet_v2 is the released network, *_figures the one of the paper's figures",
)
RULES: Rules = (
    (r"^conv2d_1a\.", "stem.0."),
    (r"^conv2d_2a\.", "stem.1."),
    (r"^conv2d_2b\.", "stem.2."),
    (r"^conv2d_3b\.", "stem.4."),
    (r"^conv2d_4a\.", "stem.5."),
    (r"^mixed_(\d\w)\.", r"stages.mixed\1."),
    (r"^repeat\.(\d+)\.", r"stages.block35.\1.residual."),
    (r"^repeat_1\.(\d+)\.", r"stages.block17.\1.residual."),
    (r"^repeat_2\.(\d+)\.", r"stages.block8.\1.residual."),
    (r"^block8\.", "stages.block8.9.residual."),
    (r"\.residual\.branch", ".residual.branches.branch"),
    (r"\.residual\.conv2d\.", ".residual.up."),
    (r"^conv2d_7b\.", "stages.conv7b."),
    (r"^(classif|last_linear)\.", "head.classifier."),
)
peer(
    "timm",
    {"inception_resnet_v2": "inception_resnet_v2"},
    RULES,
    pixels=INCEPTION_PIXELS | BICUBIC | {"crop_pct": 0.8975},
)
NAMED = r"^(?!.*\.up$|stages\.conv7b)"  # what Keras leaves to its automatic names
peer(
    "keras",
    {"InceptionResNetV2": "inception_resnet_v2"},
    (
        (r"^conv2d_(\d+)\.", InOrder(nn.Conv2d, NAMED)),
        (r"^batch_normalization_(\d+)\.", InOrder(nn.BatchNorm2d, NAMED)),
        (r"^block(35|17|8)_(\d+)_conv\.", lambda m: f"stages.block{m[1]}.{int(m[2]) - 1}.residual.up."),
        (r"^conv_7b\.", "stages.conv7b.conv."),
        (r"^conv_7b_bn\.", "stages.conv7b.bn."),
        (r"^predictions\.", "head.classifier."),
    ),
    pixels=INCEPTION_PIXELS,
)
