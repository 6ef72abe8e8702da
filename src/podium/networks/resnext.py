"""ResNeXt: ResNet's bottlenecks with a grouped 3x3 [Xie et al. 2016, arXiv:1611.05431, Table 1, section 4]."""

from __future__ import annotations

from podium.models.registry import register
from podium.networks.resnet import UNITS, ResNet, ResNetDesign


class CifarResNeXt(ResNet):
    """ResNeXt-29 for 32 px images: 3x3 of 64 maps, three stages of three bottlenecks to 256, 512 and 1024 [section 5.3].

    Args:
        groups: of each 3x3, the cardinality.
        group_width: channels of each group in the first stage.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_chans: int = 3,
        image_size: int = 32,
        *,
        groups: int = 8,
        group_width: int = 64,
    ) -> None:
        design = ResNetDesign((3, 3, 3), "bottleneck", groups=groups, group_width=group_width)
        super().__init__(num_classes, in_chans, image_size, small=True, design=design)


PAPER = "Xie et al. 2016, arXiv:1611.05431"
SIZES = {"50_32x4d": (50, 32, 4), "101_32x4d": (101, 32, 4), "101_64x4d": (101, 64, 4), "101_32x8d": (101, 32, 8)}
register(
    ResNet,
    {
        f"resnext{name}": {"units": UNITS[depth], "block": "bottleneck", "groups": groups, "group_width": width}
        for name, (depth, groups, width) in SIZES.items()
    },
    design=ResNetDesign,
    family="ResNeXt",
    year=2016,
    paper=PAPER,
    input_size=224,
    min_size=32,
    small_min_size=8,
    recipe="resnext-2016",
    note="NxWd: N groups, W wide in the first stage",
)
register(
    CifarResNeXt,
    {f"resnext29_{groups}x64d": {"groups": groups} for groups in (8, 16)},
    family="ResNeXt",
    year=2016,
    paper=PAPER,
    input_size=32,
    min_size=8,
    num_classes=10,
    recipe="resnext-cifar-2016",
    note="for 32 px images; units as in the released code, activated after the addition",
)
