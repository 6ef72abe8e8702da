"""GoogLeNet, Inception v1 [Szegedy et al. 2014, arXiv:1409.4842], and the network torchvision calls by that name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from podium.models.convnet import Auxiliary, ConvNet, Head
from podium.models.modules import Branches
from podium.models.registry import register
from podium.networks.blocks import LocalResponseNorm, conv_norm, global_average, glorot_init, truncated_normal_init

# Table 1: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj.
TABLE = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
AUXILIARY = ("4a", "4d")

Conv = Callable[..., nn.Module]  # (inputs, outputs, kernel, stride)


def plain(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution with a bias and ReLU: the paper's only kind."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2), nn.ReLU(inplace=True))


def lrn() -> LocalResponseNorm:
    """Response normalisation with the constants of Caffe's replica, which divides alpha by the size; the paper gives none."""
    return LocalResponseNorm(size=5, alpha=1e-4 / 5, beta=0.75, k=1.0)


def inception(inputs: int, row: tuple[int, ...], conv: Conv, side: int) -> nn.Module:
    """A module of Fig. 2 (b).

    Args:
        row: of Table 1.
        side: of the kernel called 5x5, which torchvision made 3.
    """
    ones, reduce3, threes, reduce5, fives, projection = row
    return Branches(
        branch1=conv(inputs, ones, 1),
        branch2=nn.Sequential(conv(inputs, reduce3, 1), conv(reduce3, threes, 3)),
        branch3=nn.Sequential(conv(inputs, reduce5, 1), conv(reduce5, fives, side)),
        branch4=nn.Sequential(nn.MaxPool2d(3, 1, padding=1, ceil_mode=True), conv(inputs, projection, 1)),
    )


def auxiliary_head(inputs: int, num_classes: int, conv: Conv) -> Auxiliary:
    """An auxiliary classifier: 5x5 average pool of stride 3, 1x1 to 128, 1024 units, dropout of 70 %, linear layer [section 5]."""
    hidden = nn.Sequential(nn.Linear(128 * 4 * 4, 1024), nn.ReLU(inplace=True), nn.Dropout(0.7))
    return Auxiliary(4, conv(inputs, 128, 1), nn.Linear(1024, num_classes), hidden)


class GoogLeNet(ConvNet):
    """22 layers: a stem, nine Inception modules, average pooling, one linear layer; two auxiliary classifiers in training.

    Weights start by Glorot and Bengio, as Caffe's replica has them; with batch norm at a truncated N(0, 0.01²).

    Args:
        small: for 28-64 px: a 3x3 convolution of stride 1 first, and no pool before 3a.
        aux: the two auxiliary classifiers, each with 0.3 of the loss [section 5]; a bundle leaves them out.
        dropout: before the classifier.
        batch_norm: after each convolution, in the place of biases and of the LRN, as torchvision and slim have it.
        five: side of the kernels called 5x5.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        image_size: int = 224,
        small: bool = False,
        *,
        aux: bool = True,
        dropout: float = 0.4,
        batch_norm: bool = False,
        five: int = 5,
    ) -> None:
        conv: Conv = conv_norm if batch_norm else plain
        first = [conv(in_chans, 64, 3)] if small else [conv(in_chans, 64, 7, 2), nn.MaxPool2d(3, 2, ceil_mode=True)]
        norms = [[], []] if batch_norm else [[lrn()], [lrn()]]
        stem = nn.Sequential(*first, *norms[0], conv(64, 64, 1), conv(64, 192, 3), *norms[1])
        stages, channels, widths = [], 192, {}
        for name, row in TABLE.items():
            module: nn.Module = inception(channels, row, conv, five)
            if name in ("4a", "5a") or (name == "3a" and not small):
                side = 2 if batch_norm and name == "5a" else 3  # 2x2 before 5a is slim's, and so torchvision's
                module = nn.Sequential(nn.MaxPool2d(side, 2, ceil_mode=True), module)
            stages.append((f"inception{name}", module))
            channels = widths[name] = row[0] + row[2] + row[4] + row[5]
        heads = {f"inception{name}": auxiliary_head(widths[name], num_classes, conv) for name in AUXILIARY if aux}
        head = Head(global_average(), nn.Linear(channels, num_classes), nn.Dropout(dropout))
        super().__init__(stem, stages, head, heads)
        if batch_norm:
            truncated_normal_init(self, 0.01)
        else:
            glorot_init(self)


register(
    GoogLeNet,
    {"googlenet": {}, "googlenet_tv": {"batch_norm": True, "five": 3, "dropout": 0.2}},
    family="Inception",
    year=2014,
    paper="Szegedy et al. 2014, arXiv:1409.4842",
    input_size=224,
    min_size=32,
    small_min_size=8,
    recipe="googlenet-2014",
    note="*_tv is torchvision's: batch norm, no LRN, and a 3x3 where the paper has 5x5",
)
