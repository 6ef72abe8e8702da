"""The networks of five teaching articles, where they differ from the papers; each class says what the article changed.

`docs/lineage.md` names the articles, S000 to S004, and tells how to run each of their programs. Convolutions with a stride
pad on both sides here, where TensorFlow's SAME pads an even size only at its end.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from podium.models.convnet import ConvNet, Head, map_size
from podium.models.modules import Grid, Residual
from podium.models.registry import register
from podium.networks.blocks import fully_connected, glorot_init, max_pool, truncated_normal_init
from podium.networks.inception import InceptionV3
from podium.networks.resnet import ResNet, ResNetDesign
from podium.networks.resnet_v2 import DEPTHS, ResNetV2, ResNetV2Design
from podium.networks.xception import Xception


class OneTower(ConvNet):
    """AlexNet on one tower: no groups, and no response normalisation. Weights start by Glorot and Bengio, as Keras has it.

    Args:
        same: pad the first convolution, so that 224 px make 56 positions (S001); without it, 227 px make 55 (S000).
        hidden: widths of the hidden layers.
        dropout: after each of them.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_chans: int = 1,
        image_size: int = 227,
        *,
        same: bool = False,
        hidden: tuple[int, int] = (4096, 4096),
        dropout: float = 0.5,
    ) -> None:
        def conv(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
            return [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.ReLU(inplace=True)]

        def pool() -> nn.Module:
            return nn.MaxPool2d(3, 2)

        padding = [nn.ZeroPad2d((3, 4, 3, 4))] if same else []  # SAME, for a kernel of 11 with stride 4
        stem = nn.Sequential(*padding, nn.Conv2d(in_chans, 96, 11, 4), nn.ReLU(inplace=True), pool())
        stages = [
            ("stage1", nn.Sequential(*conv(96, 256, 5), pool())),
            ("stage2", nn.Sequential(*conv(256, 384, 3))),
            ("stage3", nn.Sequential(*conv(384, 384, 3))),
            ("stage4", nn.Sequential(*conv(384, 256, 3), pool())),
        ]
        side = min(6, map_size([stem, *(stage for _, stage in stages)], image_size + (7 if same else 0)))
        layers = fully_connected((256 * side * side, *hidden), dropout)
        super().__init__(stem, stages, Head(Grid(side), nn.Linear(hidden[-1], num_classes), layers))
        glorot_init(self)


class ShortVGG(ConvNet):
    """3x3 convolutions in stages that each end with a 2x2 max pool, and hidden layers far narrower than the paper's 4096.

    Args:
        widths: of the convolutions, stage by stage.
        hidden: widths of the hidden layers.
        last_stride: of the last pool; 1 keeps the size.
        dropout: after each hidden layer.
        std: weights start at a truncated N(0, std²); None: by Glorot and Bengio, as Keras has it.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_chans: int = 3,
        image_size: int = 32,
        *,
        widths: tuple[tuple[int, ...], ...],
        hidden: tuple[int, int],
        last_stride: int = 2,
        dropout: float = 0.0,
        std: float | None = None,
    ) -> None:
        strides = [2] * (len(widths) - 1) + [last_stride]
        stages, channels, side = [], in_chans, image_size
        for number, (stage, stride) in enumerate(zip(widths, strides, strict=True), 1):
            layers: list[nn.Module] = []
            for width in stage:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            stages.append((f"stage{number}", nn.Sequential(*layers, max_pool(2, stride, "same"))))
            side = -(-side // stride)
        side = min(7, side)
        fully = fully_connected((channels * side * side, *hidden), dropout)
        super().__init__(nn.Identity(), stages, Head(Grid(side), nn.Linear(hidden[-1], num_classes), fully))
        if std is None:
            glorot_init(self)
        else:
            truncated_normal_init(self, std)


class ValidStemResNet(ResNet):
    """ResNet-18 of S000 and S001, for 32 px: an unpadded 3x3 and a 2x2 max pool of stride 1 for a stem, projections without
    batch norm, and a bias in every convolution. Weights start by Glorot and Bengio, as Keras has it.
    """

    def __init__(self, num_classes: int = 100, in_chans: int = 3, image_size: int = 32) -> None:
        super().__init__(num_classes, in_chans, image_size, small=True, design=ResNetDesign(bias=True, eps=1e-3))
        stem = OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(in_chans, 64, 3),
            bn1=nn.BatchNorm2d(64, eps=1e-3),
            relu=nn.ReLU(inplace=True),
            pool=max_pool(2, 1, "same"),
        )
        self.stem = nn.Sequential(stem)
        for unit in self.modules():
            if isinstance(unit, Residual) and isinstance(unit.shortcut, nn.Sequential):
                del unit.shortcut.bn1
        glorot_init(self)


class UnnormedInceptionV3(InceptionV3):
    """Inception v3 of S000, without batch norm: its scope sets the norms' parameters but adds no norm, so convolutions have biases.

    It has as many parameters as slim's network, whose norms have no gammas. Weights start at a truncated N(0, 0.1²), as
    slim's do; without norms that makes logits of a billion.

    Args:
        small, aux: as in InceptionV3.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        image_size: int = 299,
        small: bool = False,
        *,
        aux: bool = True,
    ) -> None:
        super().__init__(num_classes, in_chans, image_size, small, aux=aux)
        for unit in list(self.modules()):
            if hasattr(unit, "bn"):
                del unit.bn
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                layer.bias = nn.Parameter(layer.weight.new_zeros(layer.out_channels))


class RectifiedResNetV2(ResNetV2):
    """ResNet v2 152 of S002: a BN-ReLU follows the last convolution of each unit, so that no branch can lower a value.

    Args:
        small: as in ResNetV2.
    """

    def __init__(self, num_classes: int = 1000, in_chans: int = 3, image_size: int = 224, small: bool = False) -> None:
        design = ResNetV2Design(DEPTHS[152], "bottleneck", form="slim")
        super().__init__(num_classes, in_chans, image_size, small, design)
        for unit in self.modules():
            if isinstance(unit, Residual):
                *_, last = (layer for layer in unit.residual.modules() if isinstance(layer, nn.Conv2d))
                last.register_parameter("bias", None)
                unit.residual.add_module("norm4", nn.BatchNorm2d(last.out_channels))
                unit.residual.add_module("relu4", nn.ReLU(inplace=True))


class PassedOn(nn.Sequential):
    """Residual blocks in which each shortcut projects the output of the shortcut before it, and not the block's input.

    The layer table and the diagram show each shortcut at the block's input, as in the paper; the shapes are the same.
    """

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        passed = x
        for block in self:
            passed = block.shortcut(passed)  # type: ignore[operator]
            x = block.residual(x) + passed  # type: ignore[operator]
        return x


class MiswiredXception(Xception):
    """Xception of S003, with its four departures: shortcuts of the entry flow that project the projection before, a ReLU
    at the end of each block of the middle flow, none after the last separable convolution, a padded stem; no dropout.

    Args:
        small: as in Xception.
    """

    def __init__(self, num_classes: int = 1000, in_chans: int = 3, image_size: int = 299, small: bool = False) -> None:
        super().__init__(num_classes, in_chans, image_size, small, dropout=0.0)
        for layer in self.stem.modules():
            if isinstance(layer, nn.Conv2d):
                layer.padding = (1, 1)
        blocks = OrderedDict(self.stages.named_children())
        entry = OrderedDict((name, blocks.pop(name)) for name in ("block2", "block3", "block4"))
        for block in blocks.values():
            if isinstance(block, Residual) and isinstance(block.shortcut, nn.Identity):
                block.residual.add_module("relu4", nn.ReLU(inplace=True))
        del blocks["block14"].relu3
        self.stages = nn.Sequential(OrderedDict(entry=PassedOn(entry), **blocks))


FAMILY = {"family": "Articles"}
GREY = {**FAMILY, "num_classes": 10, "in_chans": 1}
register(
    OneTower,
    {"article_alexnet_227": {}},
    **GREY,
    year=2012,
    paper="Krizhevsky et al. 2012, NIPS",
    input_size=227,
    min_size=67,
    recipe="article-alexnet-227",
    note="S000: one tower, no LRN, grey images, 10 classes; the paper's is alexnet",
)
register(
    OneTower,
    {"article_alexnet_fashion": {"same": True, "hidden": (512, 256)}},
    **GREY,
    year=2012,
    paper="Krizhevsky et al. 2012, NIPS",
    input_size=224,
    min_size=64,
    recipe="article-alexnet-fashion",
    note="S001, for Fashion-MNIST: S000's with a padded first convolution and hidden layers of 512 and 256; the paper's is alexnet",
)
register(
    ShortVGG,
    {
        "article_vgg11_mnist": {
            "widths": ((64, 64), (128, 128), (256, 256, 256, 256)),
            "hidden": (1024, 1024),
            "last_stride": 1,
            "dropout": 0.5,
            "std": 0.1,
        }
    },
    **GREY,
    year=2014,
    paper="Simonyan & Zisserman 2014, arXiv:1409.1556",
    input_size=28,
    min_size=8,
    recipe="article-vgg11-mnist",
    note="S000: 2, 2 and 4 convolutions of at most 256 maps, the last pool of stride 1; the paper's A is vgg11",
)
register(
    ShortVGG,
    {
        "article_vgg13_cifar100": {
            "widths": ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
            "hidden": (256, 128),
        }
    },
    **FAMILY,
    num_classes=100,
    year=2014,
    paper="Simonyan & Zisserman 2014, arXiv:1409.1556",
    input_size=32,
    min_size=8,
    recipe="article-vgg13-cifar100",
    note="S001: the paper's B, vgg13, with hidden layers of 256 and 128 and no dropout",
)
register(
    ValidStemResNet,
    {"article_resnet18_cifar100": {}},
    **FAMILY,
    num_classes=100,
    year=2015,
    paper="He et al. 2015, arXiv:1512.03385",
    input_size=32,
    min_size=8,
    recipe="article-resnet18-cifar100",
    note="S000 and S001: an unpadded 3x3 for a stem, projections without batch norm, biases; the paper's is resnet18",
)
register(
    UnnormedInceptionV3,
    {"article_inception_v3": {}},
    **FAMILY,
    year=2015,
    paper="Szegedy et al. 2015, arXiv:1512.00567",
    input_size=299,
    min_size=75,
    small_min_size=16,
    recipe="inception-2016",
    note="S000: no batch norm at all, but biases; repaired it is inception_v3",
)
register(
    RectifiedResNetV2,
    {"article_resnetv2_152": {}},
    **FAMILY,
    year=2016,
    paper="He et al. 2016, arXiv:1603.05027",
    input_size=224,
    min_size=32,
    small_min_size=8,
    recipe="resnet-2015",
    note="S002: BN-ReLU after the last convolution of each unit; repaired it is resnetv2_152_slim, the paper's is resnetv2_152",
)
register(
    MiswiredXception,
    {"article_xception": {}},
    **FAMILY,
    year=2016,
    paper="Chollet 2016, arXiv:1610.02357",
    input_size=299,
    min_size=32,
    small_min_size=8,
    recipe="xception-2017",
    note="S003: a padded stem and three faults of wiring, with the paper's parameters; repaired it is xception",
)
