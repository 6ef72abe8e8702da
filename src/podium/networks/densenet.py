"""DenseNet: every layer reads all before it [Huang, Liu, van der Maaten, Weinberger 2016, arXiv:1608.06993, Table 1]."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from podium.models.convnet import ConvNet, Head
from podium.models.modules import Branches
from podium.models.registry import register
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
