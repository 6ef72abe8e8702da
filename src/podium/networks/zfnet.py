"""ZFNet, AlexNet with smaller and slower first filters [Zeiler and Fergus 2013, arXiv:1311.2901, Fig. 3]."""

from __future__ import annotations

from typing import Literal

from torch import nn

from podium.models.convnet import ConvNet, Head, map_size
from podium.models.modules import Grid
from podium.models.registry import register
from podium.networks.blocks import LocalResponseNorm, fully_connected, he_init


class ZFNet(ConvNet):
    """Five convolutions, each first pair followed by pooling and contrast normalisation, and three fully connected layers.

    Args:
        small: for 28-64 px: a 5x5 convolution of stride 1 first, hidden layers 512 wide.
        widths: of the last three convolutions; (512, 1024, 512) is the larger model of Table 2 (b).
        dropout: after each hidden layer.
        init: "paper" is N(0, 0.01²) with biases 0 [section 3.1]; the small form starts by "he".
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        image_size: int = 224,
        small: bool = False,
        *,
        widths: tuple[int, int, int] = (384, 384, 256),
        dropout: float = 0.5,
        init: Literal["paper", "he"] | None = None,
    ) -> None:
        relu = nn.ReLU(inplace=True)
        first = nn.Conv2d(in_chans, 96, 5, padding=2) if small else nn.Conv2d(in_chans, 96, 7, 2, padding=1)
        conv2 = nn.Conv2d(96, 256, 5, padding=2) if small else nn.Conv2d(96, 256, 5, 2)
        conv3 = nn.Conv2d(256, widths[0], 3, padding=1)
        conv4 = nn.Conv2d(widths[0], widths[1], 3, padding=1)
        conv5 = nn.Conv2d(widths[1], widths[2], 3, padding=1)
        pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        stem = nn.Sequential(first, relu, pool, LocalResponseNorm())
        stages = [
            ("stage1", nn.Sequential(conv2, relu, pool, LocalResponseNorm())),
            ("stage2", nn.Sequential(conv3, relu)),
            ("stage3", nn.Sequential(conv4, relu)),
            ("stage4", nn.Sequential(conv5, relu, pool)),
        ]
        side = min(6, map_size([stem, *(stage for _, stage in stages)], image_size))
        width = 512 if small else 4096
        hidden = fully_connected((widths[2] * side * side, width, width), dropout)
        super().__init__(stem, stages, Head(Grid(side), nn.Linear(width, num_classes), hidden))
        he_init(self)
        if (init or ("he" if small else "paper")) == "paper":
            for layer in self.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.normal_(layer.weight, std=0.01)


register(
    ZFNet,
    {"zfnet": {}, "zfnet_b": {"widths": (512, 1024, 512)}},
    family="ZFNet",
    year=2013,
    paper="Zeiler & Fergus 2013, arXiv:1311.2901",
    input_size=224,
    min_size=35,
    small_min_size=15,
    recipe="zfnet-2013",
    note="zfnet_b is the larger model (b) of Table 2",
)
