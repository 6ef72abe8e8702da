"""ResNet v1, its CIFAR form, and the plain networks it was compared with [He, Zhang, Ren, Sun 2015, arXiv:1512.03385]."""

from __future__ import annotations

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from podium.models.blocks import global_average, he_init
from podium.models.convnet import ConvNet, Head
from podium.models.registry import Rules, register


class ZeroPadShortcut(nn.Module):
    """Option A: every stride-th pixel, and zeros for the new channels; no parameters [section 3.3].

    Args:
        stride: of the unit.
        extra: channels to add.
        split: half of them before and half after, as akamaster/pytorch_resnet_cifar10 has it; all after by default,
            as in fb.resnet.torch.
    """

    def __init__(self, stride: int, extra: int, split: bool = False) -> None:
        super().__init__()
        self.stride = stride
        before = extra // 2 if split else 0
        self.padding = (0, 0, 0, 0, before, extra - before)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return F.pad(x[:, :, :: self.stride, :: self.stride], self.padding)


class Unit(nn.Module):
    """relu(residual(x) + shortcut(x)), or relu(residual(x)) in a plain network [Fig. 2]."""

    def __init__(self, residual: nn.Module, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.residual = residual
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y = self.residual(x)
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        return F.relu(y, inplace=True)


def conv_bn_chain(*convs: nn.Conv2d) -> nn.Sequential:
    """conv-BN-ReLU-conv-BN...: no activation after the last [Fig. 5]."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, conv in enumerate(convs, 1):
        layers[f"conv{number}"] = conv
        layers[f"bn{number}"] = nn.BatchNorm2d(conv.out_channels)
        if number < len(convs):
            layers[f"relu{number}"] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size at stride 1, without the bias that a batch norm would undo."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


def basic(inputs: int, width: int, stride: int, stride_in: str) -> nn.Sequential:
    """Two 3x3 convolutions [Fig. 5 left]."""
    return conv_bn_chain(conv(inputs, width, 3, stride), conv(width, width, 3))


def bottleneck(inputs: int, width: int, stride: int, stride_in: str) -> nn.Sequential:
    """1x1, 3x3, 1x1 to four times the width [Fig. 5 right]; the stride sits in the first 1x1 (paper) or in the 3x3 (v1.5)."""
    first, second = (stride, 1) if stride_in == "1x1" else (1, stride)
    return conv_bn_chain(conv(inputs, width, 1, first), conv(width, width, 3, second), conv(width, 4 * width, 1))


class ResNet(ConvNet):
    """A stem, three or four stages of residual units, global average pooling, one linear layer [Table 1, section 4.2].

    Args:
        small: for 28-64 px: a 3x3 convolution of stride 1 for a stem, without a pool. The CIFAR networks have no other.
        units: of each stage.
        block: "basic" or "bottleneck".
        width: channels of the first stage; each next has twice as many.
        shortcut: where the size changes: "A" zero padding, "B" a projection; "C" projections everywhere; "A-split" as "A"
            with the zeros on both sides; "none" for a plain network [section 4.1].
        stride_in: "1x1" as in the paper or "3x3" (v1.5), for bottlenecks.
        zero_init: start the last batch norm of each unit at 0, so that it starts as the identity (Goyal et al. 2017, 5.1).
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        image_size: int = 224,
        small: bool = False,
        *,
        units: tuple[int, ...] = (2, 2, 2, 2),
        block: str = "basic",
        width: int = 64,
        shortcut: str = "B",
        stride_in: str = "3x3",
        zero_init: bool = False,
    ) -> None:
        stem = conv_bn_chain(conv(in_chans, width, 3 if small else 7, 1 if small else 2))
        stem.append(nn.ReLU(inplace=True))
        if not small:
            stem.append(nn.MaxPool2d(3, 2, padding=1))
        residual, expansion = (basic, 1) if block == "basic" else (bottleneck, 4)
        channels, stages = width, []
        for number, count in enumerate(units):
            inner = width * 2**number
            stage = []
            for index in range(count):
                stride = 2 if number > 0 and index == 0 else 1
                branch = residual(channels, inner, stride, stride_in)
                stage.append(Unit(branch, _shortcut(shortcut, channels, expansion * inner, stride)))
                channels = expansion * inner
            stages.append((f"stage{number + 1}", nn.Sequential(*stage)))
        super().__init__(stem, stages, Head(global_average(), nn.Linear(channels, num_classes)))
        he_init(self)
        if zero_init:
            for unit in self.modules():
                if isinstance(unit, Unit) and unit.shortcut is not None:
                    nn.init.zeros_(list(unit.residual.children())[-1].weight)  # type: ignore[arg-type]


def _shortcut(option: str, inputs: int, outputs: int, stride: int) -> nn.Module | None:
    if option == "none":
        return None
    if inputs == outputs and stride == 1 and option != "C":
        return nn.Identity()
    if option in ("A", "A-split"):
        return ZeroPadShortcut(stride, outputs - inputs, split=option == "A-split")
    return conv_bn_chain(conv(inputs, outputs, 1, stride))


class CifarResNet(ResNet):
    """The network of section 4.2 for 32 px images: 6n + 2 layers, widths 16, 32, 64, option A.

    Args:
        units, shortcut, zero_init: as in ResNet.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_chans: int = 3,
        image_size: int = 32,
        *,
        units: tuple[int, ...] = (3, 3, 3),
        shortcut: str = "A",
        zero_init: bool = False,
    ) -> None:
        super().__init__(
            num_classes, in_chans, image_size, True, units=units, width=16, shortcut=shortcut, zero_init=zero_init
        )


UNITS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
DEEP = (50, 101, 152)

# A unit's layers lie in `residual` here, beside its `shortcut`.
AKAMASTER: Rules = (
    (r"^module\.", ""),
    (r"^(conv1|bn1)\.", r"stem.\1."),
    (r"^layer(\d)\.(\d+)\.", r"stages.stage\1.\2.residual."),
    (r"^linear\.", "head.classifier."),
)

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
    family="ResNet",
    year=2015,
    paper=PAPER,
    input_size=224,
    min_size=32,
    small_min_size=8,
    recipe="resnet-2015",
    note="50 and deeper are v1.5 (stride in the 3x3); *_v1 are as in the paper",
)
register(
    CifarResNet,
    {
        **{f"plain{6 * n + 2}": {"units": (n, n, n), "shortcut": "none"} for n in (3, 5, 7, 9)},
        **{f"resnet{6 * n + 2}": {"units": (n, n, n)} for n in (3, 5, 7, 9, 18, 200)},
    },
    family="ResNet-CIFAR",
    year=2015,
    paper=PAPER,
    input_size=32,
    min_size=8,
    num_classes=10,
    recipe="resnet-cifar-2015",
    peers={"akamaster": AKAMASTER},
    note="for 32 px images; shortcuts of option A",
)
