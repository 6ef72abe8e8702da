"""AlexNet [Krizhevsky, Sutskever, Hinton 2012] and its one-tower form [Krizhevsky 2014, arXiv:1404.5997]."""

from __future__ import annotations

from typing import Literal

from torch import nn

from podium.models.convnet import ConvNet, Head, map_size
from podium.models.modules import Grid
from podium.models.registry import register
from podium.networks.blocks import LocalResponseNorm, fully_connected, he_init

ReLU = nn.ReLU


class AlexNet(ConvNet):
    """Five convolutions and three fully connected layers, on two towers (groups=2) as in the paper.

    Args:
        image_size: the paper says 224, but its map sizes follow from 227.
        small: for 28-64 px: a 5x5 convolution of stride 1 first, hidden layers 512 wide.
        groups: 2 for the two GPUs of the paper, 1 for one tower.
        dropout: after each hidden layer [section 4.2].
        init: "paper" is N(0, 0.01²) with biases 1 in conv2, 4, 5 and the hidden layers [section 5]; it needs the
            paper's many steps to leave its plateau, so the small form starts by "he".
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        image_size: int = 227,
        small: bool = False,
        *,
        groups: int = 2,
        dropout: float = 0.5,
        init: Literal["paper", "he"] | None = None,
    ) -> None:
        first = nn.Conv2d(in_chans, 96, 5, padding=2) if small else nn.Conv2d(in_chans, 96, 11, stride=4)
        stem = nn.Sequential(first, ReLU(inplace=True), LocalResponseNorm(), nn.MaxPool2d(3, 2))
        conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=groups)
        conv3 = nn.Conv2d(256, 384, 3, padding=1)
        conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=groups)
        conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=groups)
        stages = [
            ("stage1", nn.Sequential(conv2, ReLU(inplace=True), LocalResponseNorm(), nn.MaxPool2d(3, 2))),
            ("stage2", nn.Sequential(conv3, ReLU(inplace=True))),
            ("stage3", nn.Sequential(conv4, ReLU(inplace=True))),
            ("stage4", nn.Sequential(conv5, ReLU(inplace=True), nn.MaxPool2d(3, 2))),
        ]
        side = min(6, map_size([stem, *(stage for _, stage in stages)], image_size))
        width = 512 if small else 4096
        hidden = fully_connected((256 * side * side, width, width), dropout)
        super().__init__(stem, stages, Head(Grid(side), nn.Linear(width, num_classes), hidden))
        he_init(self)
        if (init or ("he" if small else "paper")) == "paper":
            ones = (conv2, conv4, conv5, hidden[0], hidden[3])
            for layer in self.modules():
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    nn.init.normal_(layer.weight, std=0.01)
                    nn.init.constant_(layer.bias, 1.0 if layer in ones else 0.0)  # type: ignore[arg-type]


class AlexNetOWT(ConvNet):
    """The one-tower network of "One weird trick", as torchvision has it: no groups, no LRN, dropout before fc6 and fc7.

    Args:
        image_size: 224 in torchvision.
        small: for 28-64 px: a 5x5 convolution of stride 1 first, hidden layers 512 wide.
        dropout: before each hidden layer.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        image_size: int = 224,
        small: bool = False,
        *,
        dropout: float = 0.5,
    ) -> None:
        first = nn.Conv2d(in_chans, 64, 5, padding=2) if small else nn.Conv2d(in_chans, 64, 11, stride=4, padding=2)
        stem = nn.Sequential(first, ReLU(inplace=True), nn.MaxPool2d(3, 2))
        conv2, conv3 = nn.Conv2d(64, 192, 5, padding=2), nn.Conv2d(192, 384, 3, padding=1)
        conv4, conv5 = nn.Conv2d(384, 256, 3, padding=1), nn.Conv2d(256, 256, 3, padding=1)
        stages = [
            ("stage1", nn.Sequential(conv2, ReLU(inplace=True), nn.MaxPool2d(3, 2))),
            ("stage2", nn.Sequential(conv3, ReLU(inplace=True))),
            ("stage3", nn.Sequential(conv4, ReLU(inplace=True))),
            ("stage4", nn.Sequential(conv5, ReLU(inplace=True), nn.MaxPool2d(3, 2))),
        ]
        side = min(6, map_size([stem, *(stage for _, stage in stages)], image_size))
        width = 512 if small else 4096
        hidden = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * side * side, width),
            ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            ReLU(inplace=True),
        )
        super().__init__(stem, stages, Head(Grid(side), nn.Linear(width, num_classes), hidden))
        if small:
            he_init(self)  # the full network starts as torchvision's: torch's own default


register(
    AlexNet,
    {"alexnet": {}},
    family="AlexNet",
    year=2012,
    paper="Krizhevsky et al. 2012, NIPS",
    input_size=227,
    min_size=67,
    small_min_size=15,
    recipe="alexnet-2012",
    note="two towers and LRN, as in the paper",
)
register(
    AlexNetOWT,
    {"alexnet_owt": {}},
    family="AlexNet",
    year=2014,
    paper="Krizhevsky 2014, arXiv:1404.5997",
    input_size=224,
    min_size=63,
    small_min_size=15,
    recipe="alexnet-2012",
    note="torchvision's alexnet",
)
