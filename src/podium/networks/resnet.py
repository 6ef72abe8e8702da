"""ResNet v1, its CIFAR form, and the plain networks it was compared with [He, Zhang, Ren, Sun 2015, arXiv:1512.03385].

Residual units and the stages they make up are built here for the families that came after it too.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from podium.models.convnet import ConvNet, Head
from podium.models.modules import Residual, SqueezeExcitation
from podium.models.registry import register
from podium.networks.blocks import Padding, conv, global_average, he_init, max_pool

Block = Literal["basic", "bottleneck"]
StrideIn = Literal["1x1", "3x3"]
Shortcut = Literal["A", "A-split", "B", "C", "none"]


class ZeroPadShortcut(nn.Module):
    """Option A: every stride-th pixel, and zeros for the new channels; no parameters [section 3.3].

    Args:
        stride: of the unit.
        extra: number of channels to add.
        split: put half of the zeros before the channels and half behind, as akamaster/pytorch_resnet_cifar10 does; by
            default all stand behind, as in fb.resnet.torch.
    """

    def __init__(self, stride: int, extra: int, split: bool = False) -> None:
        super().__init__()
        self.stride = stride
        before = extra // 2 if split else 0
        self.padding = (0, 0, 0, 0, before, extra - before)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return F.pad(x[:, :, :: self.stride, :: self.stride], self.padding)


@dataclass(frozen=True)
class Place:
    """Where a residual unit stands in its network.

    Args:
        stage: number of its stage, from 0.
        index: number of the unit in its stage, from 0.
        inputs, outputs: channels.
        stride: 2 where the unit halves the size, else 1.
    """

    stage: int
    index: int
    inputs: int
    outputs: int
    stride: int


def unit_stages(
    units: Sequence[int],
    inputs: int,
    outputs: int,
    unit: Callable[[Place], nn.Module],
    *,
    halving: Literal["first", "last"] = "first",
) -> list[tuple[str, nn.Module]]:
    """Build stages of residual units, each with twice the channels and half the size of the stage before it.

    Args:
        units: number of units of each stage.
        inputs: channels of the stem's map.
        outputs: channels of the first stage's map.
        unit: builds the unit for a place.
        halving: which unit has the stride: the first of every stage but the first, as in the papers, or the last of every
            stage but the last, as in slim.

    Returns:
        (name, stage) pairs, named stage1, stage2 and so on.
    """
    stages: list[tuple[str, nn.Module]] = []
    for stage, count in enumerate(units):
        built = []
        for index in range(count):
            halves = index == 0 and stage > 0 if halving == "first" else index == count - 1 and stage < len(units) - 1
            built.append(unit(Place(stage, index, inputs, outputs, 2 if halves else 1)))
            inputs = outputs
        stages.append((f"stage{stage + 1}", nn.Sequential(*built)))
        outputs *= 2
    return stages


def basic_convs(at: Place, *, biases: Sequence[bool] = (False, False)) -> list[nn.Conv2d]:
    """The two 3x3 convolutions of a basic unit [Fig. 5 left].

    Args:
        at: place of the unit.
        biases: which of the convolutions have a bias.
    """
    first, second = biases
    return [
        conv(at.inputs, at.outputs, 3, at.stride, bias=first),
        conv(at.outputs, at.outputs, 3, bias=second),
    ]


def bottleneck_convs(
    at: Place,
    inner: int,
    middle: int,
    *,
    stride_in: StrideIn = "3x3",
    groups: int = 1,
    biases: Sequence[bool] = (False, False, False),
) -> list[nn.Conv2d]:
    """The 1x1, 3x3 and 1x1 convolution of a bottleneck [Fig. 5 right].

    Args:
        at: place of the unit.
        inner: channels that the first 1x1 makes.
        middle: channels that the 3x3 makes.
        stride_in: the convolution that has the unit's stride.
        groups: of the 3x3.
        biases: which of the convolutions have a bias.
    """
    one, three = (at.stride, 1) if stride_in == "1x1" else (1, at.stride)
    first, second, third = biases
    return [
        conv(at.inputs, inner, 1, one, bias=first),
        conv(inner, middle, 3, three, groups=groups, bias=second),
        conv(middle, at.outputs, 1, bias=third),
    ]


def conv_bn_chain(*convs: nn.Conv2d, eps: float = 1e-5) -> nn.Sequential:
    """conv-BN-ReLU-conv-BN...: no activation after the last [Fig. 5]."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, layer in enumerate(convs, 1):
        layers[f"conv{number}"] = layer
        layers[f"bn{number}"] = nn.BatchNorm2d(layer.out_channels, eps=eps)
        if number < len(convs):
            layers[f"relu{number}"] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)


@dataclass(frozen=True)
class ResNetDesign:
    """What makes one network of the family differ from another.

    Args:
        units: number of units of each stage.
        block: "basic", two 3x3 convolutions [Fig. 5 left], or "bottleneck", 1x1, 3x3, 1x1 to four times the width [right].
        width: channels of the first stage; each next has twice as many.
        shortcut: where the size changes, "A" for zero padding or "B" for a projection; "C" for projections everywhere;
            "A-split" as "A" with the zeros on both sides; "none" for a plain network [section 4.1].
        stride_in: "1x1" as in the paper or "3x3" (v1.5), for bottlenecks.
        groups: of a bottleneck's 3x3: the cardinality C of ResNeXt.
        group_width: channels of each group in the first stage: ResNeXt's d; `width` by default.
        se: reduction of a squeeze-and-excitation at the end of each branch; 0: none.
        se_relu: put a ReLU before it, as timm's legacy basic units do.
        pool: padding of the stem's pool, "half" as in torchvision or "ceil" as in Caffe.
        bias: give convolutions the biases that Keras leaves in.
        eps: of the batch norms.
        dropout: probability before the classifier.
        zero_init: start the last batch norm of each unit at 0, so that it starts as the identity (Goyal et al. 2017, 5.1).
    """

    units: tuple[int, ...] = (2, 2, 2, 2)
    block: Block = "basic"
    width: int = 64
    shortcut: Shortcut = "B"
    stride_in: StrideIn = "3x3"
    groups: int = 1
    group_width: int | None = None
    se: int = 0
    se_relu: bool = False
    pool: Padding = "half"
    bias: bool = False
    eps: float = 1e-5
    dropout: float = 0.0
    zero_init: bool = False


class ResNet(ConvNet):
    """A stem, three or four stages of residual units, global average pooling, one linear layer [Table 1, section 4.2].

    Weights start by He et al. 2015 (fan-out).

    Args:
        small: for 28-64 px: a 3x3 convolution of stride 1 for a stem, without a pool. The CIFAR networks have no other.
        design: units, widths, shortcuts and the like.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        image_size: int = 224,
        small: bool = False,
        design: ResNetDesign = ResNetDesign(),
    ) -> None:
        kernel, stride = (3, 1) if small else (7, 2)
        stem = conv_bn_chain(conv(in_chans, design.width, kernel, stride, bias=design.bias), eps=design.eps)
        stem.append(nn.ReLU(inplace=True))
        if not small:
            stem.append(max_pool(3, 2, design.pool))
        outputs = design.width * (4 if design.block == "bottleneck" else 1)
        stages = unit_stages(design.units, design.width, outputs, lambda at: _unit(at, design))
        features = outputs * 2 ** (len(design.units) - 1)
        hidden = nn.Dropout(design.dropout) if design.dropout else None
        super().__init__(stem, stages, Head(global_average(), nn.Linear(features, num_classes), hidden))
        he_init(self)
        if design.zero_init:
            for unit in self.modules():
                if isinstance(unit, Residual) and unit.shortcut is not None:
                    norms = [m for m in unit.residual.modules() if isinstance(m, nn.BatchNorm2d)]
                    nn.init.zeros_(norms[-1].weight)


def _unit(at: Place, design: ResNetDesign) -> Residual:
    """The residual unit of a design at its place."""
    if design.block == "bottleneck":
        inner = design.groups * (design.group_width or design.width) * 2**at.stage
        convs = bottleneck_convs(
            at, inner, inner, stride_in=design.stride_in, groups=design.groups, biases=[design.bias] * 3
        )
    else:
        convs = basic_convs(at, biases=[design.bias] * 2)
    branch = conv_bn_chain(*convs, eps=design.eps)
    if design.se_relu:
        branch.add_module("relu", nn.ReLU(inplace=True))
    if design.se:
        branch.add_module("se", SqueezeExcitation(at.outputs, max(1, at.outputs // design.se)))
    return Residual(branch, _shortcut(at, design))


def _shortcut(at: Place, design: ResNetDesign) -> nn.Module | None:
    """The shortcut of a unit; None in a plain network."""
    if design.shortcut == "none":
        return None
    if at.inputs == at.outputs and at.stride == 1 and design.shortcut != "C":
        return nn.Identity()
    if design.shortcut in ("A", "A-split"):
        return ZeroPadShortcut(at.stride, at.outputs - at.inputs, split=design.shortcut == "A-split")
    return conv_bn_chain(conv(at.inputs, at.outputs, 1, at.stride, bias=design.bias), eps=design.eps)


class CifarResNet(ResNet):
    """The network of section 4.2 for 32 px images: 6n + 2 layers, widths 16, 32, 64, option A.

    Args:
        units, width, shortcut, zero_init: as in `ResNetDesign`.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_chans: int = 3,
        image_size: int = 32,
        *,
        units: tuple[int, ...] = (3, 3, 3),
        width: int = 16,
        shortcut: Shortcut = "A",
        zero_init: bool = False,
    ) -> None:
        design = ResNetDesign(units=units, width=width, shortcut=shortcut, zero_init=zero_init)
        super().__init__(num_classes, in_chans, image_size, small=True, design=design)


UNITS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
DEEP = (50, 101, 152)

PAPER = "He et al. 2015, arXiv:1512.03385"

register(
    ResNet,
    {
        **{f"plain{n}": {"units": UNITS[n], "shortcut": "none"} for n in (18, 34)},
        **{f"resnet{n}": {"units": UNITS[n]} for n in (18, 34)},
        **{f"resnet{n}_a": {"units": UNITS[n], "shortcut": "A"} for n in (18, 34)},
        "resnet34_c": {"units": UNITS[34], "shortcut": "C"},
        **{f"resnet{n}": {"units": UNITS[n], "block": "bottleneck"} for n in DEEP},
        **{f"resnet{n}_v1": {"units": UNITS[n], "block": "bottleneck", "stride_in": "1x1"} for n in DEEP},
    },
    design=ResNetDesign,
    family="ResNet",
    year=2015,
    paper=PAPER,
    input_size=224,
    min_size=32,
    small_min_size=8,
    recipe="resnet-2015",
    note="50 and deeper are v1.5 (stride in the 3x3); *_v1 are as in the paper",
)
CIFAR = {
    "family": "ResNet-CIFAR",
    "year": 2015,
    "paper": PAPER,
    "input_size": 32,
    "min_size": 8,
    "num_classes": 10,
    "note": "for 32 px images; shortcuts of option A",
}
register(
    CifarResNet,
    {
        **{f"plain{6 * n + 2}": {"units": (n, n, n), "shortcut": "none"} for n in (3, 5, 7, 9)},
        **{f"resnet{6 * n + 2}": {"units": (n, n, n)} for n in (3, 5, 7, 9)},
    },
    **CIFAR,
    recipe="resnet-cifar-2015",
)
register(
    CifarResNet,
    {f"resnet{6 * n + 2}": {"units": (n, n, n)} for n in (18, 200)},
    **CIFAR,
    recipe="resnet110-cifar-2015",
)
