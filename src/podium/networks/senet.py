"""SE-ResNet, SE-ResNeXt, SE-Inception and SENet-154 [Hu, Shen, Albanie, Sun, Wu 2018, arXiv:1709.01507]."""

from __future__ import annotations

from torch import nn

from podium.models.convnet import ConvNet, Head
from podium.models.modules import Residual, SqueezeExcitation
from podium.models.registry import register
from podium.networks.blocks import Padding, conv, global_average, he_init, max_pool
from podium.networks.inception import BNInception, BNInceptionDesign
from podium.networks.resnet import (
    DEEP,
    UNITS,
    Place,
    ResNet,
    ResNetDesign,
    bottleneck_convs,
    conv_bn_chain,
    unit_stages,
)


class SENet154(ConvNet):
    """SE-ResNeXt-152 64x4d, changed for the challenge: three 3x3 first, a halved 1x1 in each unit, 3x3 projections [appendix].

    Weights start by He et al. 2015.

    Args:
        small: for 28-64 px: no stride and no pool in the stem.
        units: number of units of each stage.
        se: reduction of the squeeze-and-excitation.
        dropout: probability before the classifier.
        pool: padding of the stem's pool, "ceil" as in Caffe or "half".
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
        pool: Padding = "ceil",
    ) -> None:
        stem = conv_bn_chain(conv(in_chans, 64, 3, 1 if small else 2), conv(64, 64, 3), conv(64, 128, 3))
        stem.append(nn.ReLU(inplace=True))
        if not small:
            stem.append(max_pool(3, 2, pool))
        stages = unit_stages(units, 128, 256, lambda at: _unit(at, se))
        features = 256 * 2 ** (len(units) - 1)
        super().__init__(stem, stages, Head(global_average(), nn.Linear(features, num_classes), nn.Dropout(dropout)))
        he_init(self)


def _unit(at: Place, se: int) -> Residual:
    """A unit of SENet-154 at its place; its 3x3 has 64 groups, and the projections after the first stage are 3x3 too."""
    branch = conv_bn_chain(*bottleneck_convs(at, at.outputs // 2, at.outputs, groups=64))
    branch.add_module("se", SqueezeExcitation(at.outputs, max(1, at.outputs // se)))
    shortcut: nn.Module = nn.Identity()
    if at.index == 0:
        shortcut = conv_bn_chain(conv(at.inputs, at.outputs, 3 if at.stage > 0 else 1, at.stride))
    return Residual(branch, shortcut)


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
    {f"seresnet{n}": {"units": UNITS[n], "se": 16, "pool": "ceil"} for n in (18, 34)},
    design=ResNetDesign,
    **FACTS,
    note="Caffe's pooling, as in the released networks",
)
register(
    ResNet,
    {f"seresnet{n}": {"units": UNITS[n], "stride_in": "1x1", **BOTTLENECK} for n in DEEP},
    design=ResNetDesign,
    **FACTS,
    note="as released: stride in the first 1x1, Caffe's pooling; timm's seresnet* are v1.5",
)
register(
    ResNet,
    {f"seresnext{n}_32x4d": {"units": UNITS[n], "groups": 32, "group_width": 4, **BOTTLENECK} for n in (50, 101)},
    design=ResNetDesign,
    **FACTS,
    note="as released: stride in the 3x3, Caffe's pooling",
)
register(
    BNInception,
    {"se_bn_inception": {"se": 16}},
    design=BNInceptionDesign,
    **FACTS,
    note="BN-Inception, gated after each module; a dense 7x7 first, as released",
)
register(SENet154, {"senet154": {}}, **FACTS, note="the winner of ILSVRC 2017")
