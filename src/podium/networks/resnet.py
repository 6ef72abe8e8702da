"""ResNet v1, its CIFAR form, and the plain networks it was compared with [He, Zhang, Ren, Sun 2015, arXiv:1512.03385]."""

from __future__ import annotations

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from podium.models.convnet import ConvNet, Head
from podium.models.modules import Residual, SqueezeExcitation
from podium.models.registry import BICUBIC, CAFFE_PIXELS, IMAGENET_PIXELS, Rules, peer, register
from podium.networks.blocks import conv, global_average, he_init, max_pool


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


def conv_bn_chain(*convs: nn.Conv2d, eps: float = 1e-5) -> nn.Sequential:
    """conv-BN-ReLU-conv-BN...: no activation after the last [Fig. 5]."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, layer in enumerate(convs, 1):
        layers[f"conv{number}"] = layer
        layers[f"bn{number}"] = nn.BatchNorm2d(layer.out_channels, eps=eps)
        if number < len(convs):
            layers[f"relu{number}"] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)


class ResNet(ConvNet):
    """A stem, three or four stages of residual units, global average pooling, one linear layer [Table 1, section 4.2].

    Weights start by He et al. 2015 (fan-out).

    Args:
        small: for 28-64 px: a 3x3 convolution of stride 1 for a stem, without a pool. The CIFAR networks have no other.
        units: of each stage.
        block: "basic", two 3x3 convolutions [Fig. 5 left], or "bottleneck", 1x1, 3x3, 1x1 to four times the width [right].
        width: channels of the first stage; each next has twice as many.
        shortcut: where the size changes: "A" zero padding, "B" a projection; "C" projections everywhere; "A-split" as "A"
            with the zeros on both sides; "none" for a plain network [section 4.1].
        stride_in: "1x1" as in the paper or "3x3" (v1.5), for bottlenecks.
        groups: of a bottleneck's 3x3: the cardinality C of ResNeXt.
        group_width: channels of each group in the first stage: ResNeXt's d; `width` by default.
        se: reduction of a squeeze-and-excitation at the end of each branch; 0: none.
        se_relu: rectify before it, as timm's legacy basic units do.
        pool: of the stem, "half" padding as in torchvision or "ceil" as in Caffe.
        bias: give convolutions the biases that Keras leaves in.
        eps: of the batch norms.
        dropout: before the classifier.
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
        groups: int = 1,
        group_width: int | None = None,
        se: int = 0,
        se_relu: bool = False,
        pool: str = "half",
        bias: bool = False,
        eps: float = 1e-5,
        dropout: float = 0.0,
        zero_init: bool = False,
    ) -> None:
        stem = conv_bn_chain(conv(in_chans, width, 3 if small else 7, 1 if small else 2, bias=bias), eps=eps)
        stem.append(nn.ReLU(inplace=True))
        if not small:
            stem.append(max_pool(3, 2, pool))
        channels, stages = width, []
        for number, count in enumerate(units):
            inner = groups * (group_width or width) * 2**number
            outer = width * 2**number * (4 if block == "bottleneck" else 1)
            stage = []
            for index in range(count):
                stride = 2 if number > 0 and index == 0 else 1
                if block == "bottleneck":
                    first, second = (stride, 1) if stride_in == "1x1" else (1, stride)
                    branch = conv_bn_chain(
                        conv(channels, inner, 1, first, bias=bias),
                        conv(inner, inner, 3, second, groups=groups, bias=bias),
                        conv(inner, outer, 1, bias=bias),
                        eps=eps,
                    )
                else:
                    branch = conv_bn_chain(
                        conv(channels, outer, 3, stride, bias=bias), conv(outer, outer, 3, bias=bias), eps=eps
                    )
                if se_relu:
                    branch.add_module("relu", nn.ReLU(inplace=True))
                if se:
                    branch.add_module("se", SqueezeExcitation(outer, max(1, outer // se)))
                stage.append(Residual(branch, _shortcut(shortcut, channels, outer, stride, bias, eps)))
                channels = outer
            stages.append((f"stage{number + 1}", nn.Sequential(*stage)))
        hidden = nn.Dropout(dropout) if dropout else None
        super().__init__(stem, stages, Head(global_average(), nn.Linear(channels, num_classes), hidden))
        he_init(self)
        if zero_init:
            for unit in self.modules():
                if isinstance(unit, Residual) and unit.shortcut is not None:
                    norms = [m for m in unit.residual.modules() if isinstance(m, nn.BatchNorm2d)]
                    nn.init.zeros_(norms[-1].weight)


def _shortcut(option: str, inputs: int, outputs: int, stride: int, bias: bool, eps: float) -> nn.Module | None:
    if option == "none":
        return None
    if inputs == outputs and stride == 1 and option != "C":
        return nn.Identity()
    if option in ("A", "A-split"):
        return ZeroPadShortcut(stride, outputs - inputs, split=option == "A-split")
    return conv_bn_chain(conv(inputs, outputs, 1, stride, bias=bias), eps=eps)


class CifarResNet(ResNet):
    """The network of section 4.2 for 32 px images: 6n + 2 layers, widths 16, 32, 64, option A.

    Args:
        units, width, shortcut, zero_init: as in ResNet.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_chans: int = 3,
        image_size: int = 32,
        *,
        units: tuple[int, ...] = (3, 3, 3),
        width: int = 16,
        shortcut: str = "A",
        zero_init: bool = False,
    ) -> None:
        super().__init__(
            num_classes, in_chans, image_size, True, units=units, width=width, shortcut=shortcut, zero_init=zero_init
        )


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
    note="for 32 px images; shortcuts of option A",
)

# A unit's layers lie in `residual` here, beside its `shortcut`.
AKAMASTER: Rules = (
    (r"^module\.", ""),
    (r"^(conv1|bn1)\.", r"stem.\1."),
    (r"^layer(\d)\.(\d+)\.", r"stages.stage\1.\2.residual."),
    (r"^linear\.", "head.classifier."),
)
peer(
    "akamaster",
    {f"resnet{6 * n + 2}": f"resnet{6 * n + 2}" for n in (3, 5, 7, 9, 18, 200)},
    AKAMASTER,
    {"shortcut": "A-split"},
    {**IMAGENET_PIXELS, "crop_pct": 1.0},
)
TORCHVISION: Rules = (
    (r"^(conv1|bn1)\.", r"stem.\1."),
    (r"^layer(\d)\.(\d+)\.downsample\.0\.", r"stages.stage\1.\2.shortcut.conv1."),
    (r"^layer(\d)\.(\d+)\.downsample\.1\.", r"stages.stage\1.\2.shortcut.bn1."),
    (r"^layer(\d)\.(\d+)\.", r"stages.stage\1.\2.residual."),
    (r"^fc\.", "head.classifier."),
)
NAMES = {f"resnet{n}": f"resnet{n}" for n in UNITS}
peer("torchvision", NAMES, TORCHVISION)
peer("timm", NAMES, TORCHVISION, pixels=IMAGENET_PIXELS | BICUBIC | {"crop_pct": 0.95})
KERAS: Rules = (
    (r"^conv1_(conv|bn)\.", r"stem.\g<1>1."),
    (r"^conv(\d)_block(\d+)_0_(conv|bn)\.", lambda m: f"stages.stage{int(m[1]) - 1}.{int(m[2]) - 1}.shortcut.{m[3]}1."),
    (
        r"^conv(\d)_block(\d+)_(\d)_(conv|bn)\.",
        lambda m: f"stages.stage{int(m[1]) - 1}.{int(m[2]) - 1}.residual.{m[4]}{m[3]}.",
    ),
    (r"^(predictions|probs|fc1000)\.", "head.classifier."),
)
peer(
    "keras",
    {f"ResNet{n}": f"resnet{n}_v1" for n in DEEP},
    KERAS,
    {"bias": True, "eps": 1.001e-5},
    CAFFE_PIXELS,
)
