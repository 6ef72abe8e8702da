"""SE-ResNet, SE-ResNeXt, SE-Inception and SENet-154 [Hu, Shen, Albanie, Sun, Wu 2018, arXiv:1709.01507]."""

from __future__ import annotations

from torch import nn

from podium.models.convnet import ConvNet, Head
from podium.models.modules import Residual, SqueezeExcitation
from podium.models.registry import BICUBIC, IMAGENET_PIXELS, Rules, peer, register
from podium.networks.blocks import conv, global_average, he_init, max_pool
from podium.networks.inception import BNInception
from podium.networks.resnet import DEEP, TORCHVISION, UNITS, ResNet, conv_bn_chain


class SENet154(ConvNet):
    """SE-ResNeXt-152 64x4d, changed for the challenge: three 3x3 first, a halved 1x1 in each unit, 3x3 projections [appendix].

    Weights start by He et al. 2015.

    Args:
        small: for 28-64 px: no stride and no pool in the stem.
        units: of each stage.
        se: reduction of the squeeze-and-excitation.
        dropout: before the classifier.
        pool: of the stem, "ceil" as in Caffe or "half" padding.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        image_size: int = 224,
        small: bool = False,
        *,
        units: tuple[int, ...] = UNITS[152],
        se: int = 16,
        dropout: float = 0.2,
        pool: str = "ceil",
    ) -> None:
        stem = conv_bn_chain(conv(in_chans, 64, 3, 1 if small else 2), conv(64, 64, 3), conv(64, 128, 3))
        stem.append(nn.ReLU(inplace=True))
        if not small:
            stem.append(max_pool(3, 2, pool))
        channels, stages = 128, []
        for number, count in enumerate(units):
            half, outer = 128 * 2**number, 256 * 2**number
            stage = []
            for index in range(count):
                stride = 2 if number > 0 and index == 0 else 1
                branch = conv_bn_chain(
                    conv(channels, half, 1), conv(half, outer, 3, stride, groups=64), conv(outer, outer, 1)
                )
                branch.add_module("se", SqueezeExcitation(outer, max(1, outer // se)))
                shortcut: nn.Module = nn.Identity()
                if index == 0:
                    shortcut = conv_bn_chain(conv(channels, outer, 3 if number > 0 else 1, stride))
                stage.append(Residual(branch, shortcut))
                channels = outer
            stages.append((f"stage{number + 1}", nn.Sequential(*stage)))
        super().__init__(stem, stages, Head(global_average(), nn.Linear(channels, num_classes), nn.Dropout(dropout)))
        he_init(self)


FACTS = {
    "family": "SENet",
    "year": 2017,
    "paper": "Hu et al. 2018, arXiv:1709.01507",
    "input_size": 224,
    "min_size": 32,
    "small_min_size": 8,
    "recipe": "senet-2018",
}
BOTTLENECK = {"block": "bottleneck", "se": 16, "pool": "ceil"}
register(
    ResNet,
    {
        **{f"seresnet{n}": {"units": UNITS[n], "se": 16, "pool": "ceil"} for n in (18, 34)},
        **{f"seresnet{n}": {"units": UNITS[n], "stride_in": "1x1", **BOTTLENECK} for n in DEEP},
        **{f"seresnext{n}_32x4d": {"units": UNITS[n], "groups": 32, "group_width": 4, **BOTTLENECK} for n in (50, 101)},
    },
    **FACTS,
    note="as released: stride in the first 1x1, Caffe's pooling; timm's seresnet* are v1.5",
)
register(BNInception, {"se_bn_inception": {"se": 16}}, **FACTS, note="BN-Inception, gated after each module")
register(SENet154, {"senet154": {}}, **FACTS, note="the winner of ILSVRC 2017")

LEGACY: Rules = (
    (r"^layer0\.(conv|bn)(\d)\.", r"stem.\1\2."),
    (r"\.se_module\.", ".se."),
    (r"^last_linear\.", "head.classifier."),
    *TORCHVISION,
)
DEEP_NAMES = (*(f"seresnet{n}" for n in DEEP), "seresnext50_32x4d", "seresnext101_32x4d")
peer("timm", {f"legacy_{name}": name for name in DEEP_NAMES}, LEGACY)
peer("timm", {"legacy_seresnet18": "seresnet18"}, LEGACY, {"se_relu": True}, IMAGENET_PIXELS | BICUBIC)
peer("timm", {"legacy_seresnet34": "seresnet34"}, LEGACY, {"se_relu": True})
peer("timm", {"legacy_senet154": "senet154"}, LEGACY)
MODERN = {"pool": "half", "stride_in": "3x3"}
OTHERS = {name: name for name in DEEP_NAMES if name != "seresnet50"}
peer("timm", OTHERS, TORCHVISION, MODERN, IMAGENET_PIXELS | BICUBIC)
peer("timm", {"seresnet50": "seresnet50"}, TORCHVISION, MODERN, IMAGENET_PIXELS | BICUBIC | {"crop_pct": 0.95})
