"""DenseNet: every layer reads all before it [Huang, Liu, van der Maaten, Weinberger 2016, arXiv:1608.06993, Table 1]."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from podium.models.convnet import ConvNet, Head
from podium.models.modules import Branches
from podium.models.registry import BICUBIC, IMAGENET_PIXELS, Rules, peer, register
from podium.networks.blocks import conv, global_average, he_init


def dense_layer(inputs: int, growth: int, eps: float) -> Branches:
    """What came, and `growth` new maps: BN-ReLU-1x1 to four times as many, BN-ReLU-3x3 [section 3, DenseNet-B]."""
    layers = OrderedDict[str, nn.Module](
        norm1=nn.BatchNorm2d(inputs, eps=eps),
        relu1=nn.ReLU(inplace=True),
        conv1=conv(inputs, 4 * growth, 1),
        norm2=nn.BatchNorm2d(4 * growth, eps=eps),
        relu2=nn.ReLU(inplace=True),
        conv2=conv(4 * growth, growth, 3),
    )
    return Branches(old=nn.Identity(), new=nn.Sequential(layers))


class DenseNet(ConvNet):
    """A stem, four dense blocks with transitions that halve maps and size, BN-ReLU, average pooling, one linear layer.

    Weights start by He et al. 2015.

    Args:
        small: for 28-64 px: a 3x3 convolution of stride 1 for a stem, without a pool.
        layers: of each block.
        growth: new maps a layer, k.
        eps: of the batch norms.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        image_size: int = 224,
        small: bool = False,
        *,
        layers: tuple[int, ...] = (6, 12, 24, 16),
        growth: int = 32,
        eps: float = 1e-5,
    ) -> None:
        channels = 2 * growth
        stem = OrderedDict[str, nn.Module](
            conv0=conv(in_chans, channels, 3 if small else 7, 1 if small else 2),
            norm0=nn.BatchNorm2d(channels, eps=eps),
            relu0=nn.ReLU(inplace=True),
        )
        if not small:
            stem["pool0"] = nn.MaxPool2d(3, 2, padding=1)
        stages: list[tuple[str, nn.Module]] = []
        for number, count in enumerate(layers, 1):
            block = [dense_layer(channels + index * growth, growth, eps) for index in range(count)]
            channels += count * growth
            stages.append((f"block{number}", nn.Sequential(*block)))
            if number < len(layers):
                transition = OrderedDict[str, nn.Module](
                    norm=nn.BatchNorm2d(channels, eps=eps),
                    relu=nn.ReLU(inplace=True),
                    conv=conv(channels, channels // 2, 1),
                    pool=nn.AvgPool2d(2, 2),
                )
                channels //= 2
                stages.append((f"transition{number}", nn.Sequential(transition)))
        last = OrderedDict[str, nn.Module](norm=nn.BatchNorm2d(channels, eps=eps), relu=nn.ReLU(inplace=True))
        stages.append(("norm", nn.Sequential(last)))
        super().__init__(nn.Sequential(stem), stages, Head(global_average(), nn.Linear(channels, num_classes)))
        he_init(self)


LAYERS = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32)}
register(
    DenseNet,
    {f"densenet{depth}": {"layers": layers} for depth, layers in LAYERS.items()},
    family="DenseNet",
    year=2016,
    paper="Huang et al. 2016, arXiv:1608.06993",
    input_size=224,
    min_size=32,
    small_min_size=8,
    recipe="densenet-2016",
)
TORCHVISION: Rules = (
    (r"^features\.(conv0|norm0)\.", r"stem.\1."),
    (r"^features\.norm5\.", "stages.norm.norm."),
    (
        r"^features\.denseblock(\d)\.denselayer(\d+)\.",
        lambda m: f"stages.block{m[1]}.{int(m[2]) - 1}.new.",
    ),
    (r"\.(norm|conv)\.([12])\.(?=weight|bias|running|num)", r".\1\2."),  # as files of before 2018 have it
    (r"^features\.transition(\d)\.", r"stages.transition\1."),
    (r"^classifier\.", "head.classifier."),
)
LEAF = {("0", "bn"): "norm1.", ("1", "conv"): "conv1.", ("1", "bn"): "norm2.", ("2", "conv"): "conv2."}
KERAS: Rules = (
    (r"^conv1_conv\.", "stem.conv0."),
    (r"^conv1_bn\.", "stem.norm0."),
    (
        r"^conv(\d)_block(\d+)_([012])_(bn|conv)\.",
        lambda m: f"stages.block{int(m[1]) - 1}.{int(m[2]) - 1}.new." + LEAF[m[3], m[4]],
    ),
    (r"^pool(\d)_(bn|conv)\.", lambda m: f"stages.transition{int(m[1]) - 1}.{'norm' if m[2] == 'bn' else 'conv'}."),
    (r"^bn\.", "stages.norm.norm."),
    (r"^predictions\.", "head.classifier."),
)
for library, pixels in (("torchvision", IMAGENET_PIXELS), ("timm", IMAGENET_PIXELS | BICUBIC)):  # under the same names
    peer(library, {f"densenet{n}": f"densenet{n}" for n in LAYERS}, TORCHVISION, pixels=pixels)
peer(
    "keras",
    {f"DenseNet{n}": f"densenet{n}" for n in LAYERS},
    KERAS,
    {"eps": 1.001e-5},
)
