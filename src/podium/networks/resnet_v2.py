"""ResNet v2, with pre-activated units [He et al. 2016, arXiv:1603.05027], and the line of it that slim and Keras build."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from podium.models.convnet import ConvNet, Head
from podium.models.modules import Residual
from podium.models.registry import BICUBIC, INCEPTION_PIXELS, Rules, peer, register
from podium.networks.blocks import conv, global_average, he_init
from podium.networks.resnet import UNITS, ZeroPadShortcut


def pre_activated(layers: list[nn.Conv2d], first: int, eps: float) -> OrderedDict[str, nn.Module]:
    """BN-ReLU-conv for each convolution; those before number `first` have their BN-ReLU somewhere else."""
    named: OrderedDict[str, nn.Module] = OrderedDict()
    for number, layer in enumerate(layers, 1):
        if number >= first:
            named[f"norm{number}"] = nn.BatchNorm2d(layer.in_channels, eps=eps)
            named[f"relu{number}"] = nn.ReLU(inplace=True)
        named[f"conv{number}"] = layer
    return named


class ResNetV2(ConvNet):
    """A stem, stages of pre-activated units, a last BN-ReLU, average pooling, one linear layer [Fig. 4 (e), appendix].

    Where the size changes, BN-ReLU is shared: branch and projection both read it. Weights start by He et al. 2015.

    Args:
        small: for 28-64 px: a 3x3 convolution of stride 1 for a stem, without a pool.
        units: of each stage.
        block: "basic" (two 3x3) or "bottleneck" (1x1, 3x3, 1x1 to four times the width).
        width: channels of the first stage; each next has twice as many.
        stem_width: channels of the stem, `width` by default.
        shortcut: where the size changes: "A" zero padding, "B" a 1x1 projection.
        stride_in: "1x1" or "3x3", for bottlenecks.
        form: "paper": BN-ReLU after the first convolution, none of its own in the first unit; "bare": every unit has its own
            and the stem has none, as in timm; "slim": so too, with the stride in a stage's last unit (a max pool of 1x1 is
            its shortcut) and biases where no batch norm follows, as in slim and Keras.
        eps: of the batch norms.
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
        stem_width: int | None = None,
        shortcut: str = "B",
        stride_in: str = "3x3",
        form: str = "paper",
        eps: float = 1e-5,
    ) -> None:
        slim, channels = form == "slim", stem_width or width
        stem: OrderedDict[str, nn.Module] = OrderedDict()
        stem["conv1"] = conv(in_chans, channels, 3 if small else 7, 1 if small else 2, bias=slim)
        if form == "paper":
            stem["norm1"], stem["relu1"] = nn.BatchNorm2d(channels, eps=eps), nn.ReLU(inplace=True)
        if not small:
            stem["pool"] = nn.MaxPool2d(3, 2, padding=1)
        stages: list[tuple[str, nn.Module]] = []
        for number, count in enumerate(units):
            inner = width * 2**number
            outer = inner * (4 if block == "bottleneck" else 1)
            stage: list[nn.Module] = []
            for index in range(count):
                if slim:
                    stride = 2 if index == count - 1 and number < len(units) - 1 else 1
                else:
                    stride = 2 if index == 0 and number > 0 else 1
                if block == "bottleneck":
                    one, three = (stride, 1) if stride_in == "1x1" else (1, stride)
                    layers = [
                        conv(channels, inner, 1, one),
                        conv(inner, inner, 3, three),
                        conv(inner, outer, 1, bias=slim),
                    ]
                else:
                    layers = [conv(channels, outer, 3, stride), conv(outer, outer, 3, bias=slim)]
                activated = form == "paper" and number == index == 0  # by the stem
                if channels == outer and (stride == 1 or slim):
                    skip = nn.Identity() if stride == 1 else nn.MaxPool2d(1, stride)
                    branch = nn.Sequential(pre_activated(layers, 2 if activated else 1, eps))
                    stage.append(Residual(branch, skip, act=False))
                else:
                    projection: nn.Module = (
                        conv(channels, outer, 1, stride, bias=slim)
                        if shortcut == "B"
                        else ZeroPadShortcut(stride, outer - channels)
                    )
                    unit: OrderedDict[str, nn.Module] = OrderedDict()
                    if not activated:
                        unit["norm1"], unit["relu1"] = nn.BatchNorm2d(channels, eps=eps), nn.ReLU(inplace=True)
                    unit["unit"] = Residual(nn.Sequential(pre_activated(layers, 2, eps)), projection, act=False)
                    stage.append(nn.Sequential(unit))
                channels = outer
            stages.append((f"stage{number + 1}", nn.Sequential(*stage)))
        last = OrderedDict[str, nn.Module](norm=nn.BatchNorm2d(channels, eps=eps), relu=nn.ReLU(inplace=True))
        stages.append(("norm", nn.Sequential(last)))
        super().__init__(nn.Sequential(stem), stages, Head(global_average(), nn.Linear(channels, num_classes)))
        he_init(self)


class CifarResNetV2(ResNetV2):
    """The networks of the paper's tables for 32 px images: three stages, 16 maps in the stem.

    Args:
        units, block, shortcut, form: as in ResNetV2.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_chans: int = 3,
        image_size: int = 32,
        *,
        units: tuple[int, ...] = (18, 18, 18),
        block: str = "bottleneck",
        shortcut: str = "B",
        form: str = "paper",
    ) -> None:
        super().__init__(
            num_classes,
            in_chans,
            image_size,
            True,
            units=units,
            block=block,
            width=16,
            shortcut=shortcut,
            stride_in="1x1",
            form=form,
        )


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

# The first unit of a stage has its BN-ReLU before the fork, the others inside the branch.
TIMM: Rules = (
    (r"^stem\.conv\.", "stem.conv1."),
    (r"^norm\.", "stages.norm.norm."),
    (r"^head\.fc\.", "head.classifier."),
    (r"^stages\.(\d)\.blocks\.0\.norm1\.", lambda m: f"stages.stage{int(m[1]) + 1}.0.norm1."),
    (r"^stages\.(\d)\.blocks\.0\.downsample\.conv\.", lambda m: f"stages.stage{int(m[1]) + 1}.0.unit.shortcut."),
    (r"^stages\.(\d)\.blocks\.0\.", lambda m: f"stages.stage{int(m[1]) + 1}.0.unit.residual."),
    (r"^stages\.(\d)\.blocks\.(\d+)\.", lambda m: f"stages.stage{int(m[1]) + 1}.{m[2]}.residual."),
)
UNPROJECTED: Rules = ((r"^stages\.0\.blocks\.0\.", "stages.stage1.0.residual."),)  # the first unit of basic networks
TIMM_PIXELS = INCEPTION_PIXELS | BICUBIC
peer(
    "timm",
    {f"resnetv2_{n}": f"resnetv2_{n}" for n in (50, 101, 152)},
    TIMM,
    {"form": "bare"},
    TIMM_PIXELS | {"crop_pct": 0.95},
)
peer(
    "timm",
    {f"resnetv2_{n}": f"resnetv2_{n}" for n in (18, 34)},
    UNPROJECTED + TIMM,
    {"form": "bare"},
    TIMM_PIXELS | {"crop_pct": 0.9},
)
KERAS: Rules = (
    (r"^conv1_conv\.", "stem.conv1."),
    (r"^post_bn\.", "stages.norm.norm."),
    (r"^predictions\.", "head.classifier."),
    (r"^conv(\d)_block1_preact_bn\.", lambda m: f"stages.stage{int(m[1]) - 1}.0.norm1."),
    (r"^conv(\d)_block1_0_conv\.", lambda m: f"stages.stage{int(m[1]) - 1}.0.unit.shortcut."),
    (r"^conv(\d)_block1_", lambda m: f"stages.stage{int(m[1]) - 1}.0.unit.residual."),
    (r"^conv(\d)_block(\d+)_", lambda m: f"stages.stage{int(m[1]) - 1}.{int(m[2]) - 1}.residual."),
    (r"residual\.preact_bn\.", "residual.norm1."),
    (r"residual\.(\d)_conv\.", r"residual.conv\1."),
    (r"residual\.(\d)_bn\.", lambda m: f"residual.norm{int(m[1]) + 1}."),
)
peer(
    "keras",
    {f"ResNet{n}V2": f"resnetv2_{n}_slim" for n in (50, 101, 152)},
    KERAS,
    {"eps": 1.001e-5},
    INCEPTION_PIXELS,
)
