"""ResNet v2, with pre-activated units [He et al. 2016, arXiv:1603.05027], and the line of it that slim and Keras build."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from torch import nn

from podium.models.convnet import ConvNet, Head
from podium.models.modules import Residual, ZeroPaddedMaxPool2d
from podium.models.registry import register
from podium.networks.blocks import conv, global_average, he_init
from podium.networks.resnet import (
    UNITS,
    Block,
    Place,
    StrideIn,
    ZeroPadShortcut,
    basic_convs,
    bottleneck_convs,
    unit_stages,
)

Form = Literal["paper", "bare", "slim"]


def pre_activated(layers: list[nn.Conv2d], first: int, eps: float) -> OrderedDict[str, nn.Module]:
    """BN-ReLU-conv for each convolution from number `first` on (from 1); the convolutions before it come without BN-ReLU."""
    named: OrderedDict[str, nn.Module] = OrderedDict()
    for number, layer in enumerate(layers, 1):
        if number >= first:
            named[f"norm{number}"] = nn.BatchNorm2d(layer.in_channels, eps=eps)
            named[f"relu{number}"] = nn.ReLU(inplace=True)
        named[f"conv{number}"] = layer
    return named


@dataclass(frozen=True)
class ResNetV2Design:
    """What makes one network of the family differ from another.

    Args:
        units: number of units of each stage.
        block: "basic" (two 3x3) or "bottleneck" (1x1, 3x3, 1x1 to four times the width).
        width: channels of the first stage; each next has twice as many.
        stem_width: channels of the stem, `width` by default.
        shortcut: where the size changes: "A" zero padding, "B" a 1x1 projection.
        stride_in: "1x1" or "3x3", for bottlenecks.
        form: "paper": BN-ReLU after the first convolution, and none of its own in the first unit. "bare": every unit has its
            own BN-ReLU and the stem has none, as in timm. "slim": as "bare", with the stride in a stage's last unit (whose
            shortcut is a max pool of 1x1) and biases where no batch norm follows, as in slim and Keras.
        eps: of the batch norms.
        zeros_in_pool: the stem's max pool reads zeros around the map, as in Keras, where all else is left out there. Its input has
            no ReLU, so at the border a zero may be the highest value.
    """

    units: tuple[int, ...] = (2, 2, 2, 2)
    block: Block = "basic"
    width: int = 64
    stem_width: int | None = None
    shortcut: Literal["A", "B"] = "B"
    stride_in: StrideIn = "3x3"
    form: Form = "paper"
    eps: float = 1e-5
    zeros_in_pool: bool = False


class ResNetV2(ConvNet):
    """A stem, stages of pre-activated units, a last BN-ReLU, average pooling, one linear layer [Fig. 4 (e), appendix].

    Where the size changes, BN-ReLU is shared: branch and projection both read it. Weights start by He et al. 2015.

    Args:
        small: for 28-64 px: a 3x3 convolution of stride 1 for a stem, without a pool.
        design: units, widths, shortcuts and the like.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        image_size: int = 224,
        small: bool = False,
        design: ResNetV2Design = ResNetV2Design(),
    ) -> None:
        first, eps = design.stem_width or design.width, design.eps
        kernel, stride = (3, 1) if small else (7, 2)
        stem = OrderedDict[str, nn.Module](conv1=conv(in_chans, first, kernel, stride, bias=design.form == "slim"))
        if design.form == "paper":
            stem["norm1"], stem["relu1"] = nn.BatchNorm2d(first, eps=eps), nn.ReLU(inplace=True)
        if not small:
            stem["pool"] = (ZeroPaddedMaxPool2d if design.zeros_in_pool else nn.MaxPool2d)(3, 2, padding=1)
        outputs = design.width * (4 if design.block == "bottleneck" else 1)
        halving: Literal["first", "last"] = "last" if design.form == "slim" else "first"
        stages = unit_stages(design.units, first, outputs, lambda at: _unit(at, design), halving=halving)
        features = outputs * 2 ** (len(design.units) - 1)
        last = OrderedDict[str, nn.Module](norm=nn.BatchNorm2d(features, eps=eps), relu=nn.ReLU(inplace=True))
        stages.append(("norm", nn.Sequential(last)))
        super().__init__(nn.Sequential(stem), stages, Head(global_average(), nn.Linear(features, num_classes)))
        he_init(self)


def _unit(at: Place, design: ResNetV2Design) -> nn.Module:
    """The pre-activated unit of a design at its place."""
    slim, eps = design.form == "slim", design.eps
    if design.block == "bottleneck":
        inner = design.width * 2**at.stage
        convs = bottleneck_convs(at, inner, inner, stride_in=design.stride_in, biases=(False, False, slim))
    else:
        convs = basic_convs(at, biases=(False, slim))
    activated = design.form == "paper" and at.stage == at.index == 0  # by the stem
    if at.inputs == at.outputs and (at.stride == 1 or slim):
        skip = nn.Identity() if at.stride == 1 else nn.MaxPool2d(1, at.stride)
        branch = nn.Sequential(pre_activated(convs, 2 if activated else 1, eps))
        return Residual(branch, skip, act=False)
    projection: nn.Module
    if design.shortcut == "B":
        projection = conv(at.inputs, at.outputs, 1, at.stride, bias=slim)
    else:
        projection = ZeroPadShortcut(at.stride, at.outputs - at.inputs)
    unit: OrderedDict[str, nn.Module] = OrderedDict()
    if not activated:
        unit["norm1"], unit["relu1"] = nn.BatchNorm2d(at.inputs, eps=eps), nn.ReLU(inplace=True)
    unit["unit"] = Residual(nn.Sequential(pre_activated(convs, 2, eps)), projection, act=False)
    return nn.Sequential(unit)


class CifarResNetV2(ResNetV2):
    """The networks of the paper's tables for 32 px images: three stages, 16 maps in the stem.

    Args:
        units, block, shortcut, form: as in `ResNetV2Design`.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_chans: int = 3,
        image_size: int = 32,
        *,
        units: tuple[int, ...] = (18, 18, 18),
        block: Block = "bottleneck",
        shortcut: Literal["A", "B"] = "B",
        form: Form = "paper",
    ) -> None:
        design = ResNetV2Design(units, block, width=16, shortcut=shortcut, stride_in="1x1", form=form)
        super().__init__(num_classes, in_chans, image_size, small=True, design=design)


PAPER = "He et al. 2016, arXiv:1603.05027"
DEPTHS = {**UNITS, 200: (3, 24, 36, 3)}

register(
    ResNetV2,
    {
        **{f"resnetv2_{n}": {"units": DEPTHS[n]} for n in (18, 34)},
        **{f"resnetv2_{n}": {"units": DEPTHS[n], "block": "bottleneck"} for n in (50, 101, 152, 200)},
        **{
            f"resnetv2_{n}_slim": {"units": DEPTHS[n], "block": "bottleneck", "form": "slim"}
            for n in (50, 101, 152, 200)
        },
    },
    design=ResNetV2Design,
    family="ResNet v2",
    year=2016,
    paper=PAPER,
    input_size=224,
    min_size=32,
    small_min_size=8,
    recipe="resnet-2015",
    note="*_slim is the network of slim and Keras: the stride in a stage's last unit, and biases",
)
register(
    CifarResNetV2,
    {
        "resnetv2_110": {"units": (18, 18, 18), "block": "basic", "shortcut": "A"},
        "resnetv2_164": {"units": (18, 18, 18)},
        "resnetv2_1001": {"units": (111, 111, 111)},
    },
    family="ResNet-CIFAR v2",
    year=2016,
    paper=PAPER,
    input_size=32,
    min_size=8,
    num_classes=10,
    recipe="resnetv2-cifar-2016",
    note="for 32 px images",
)
