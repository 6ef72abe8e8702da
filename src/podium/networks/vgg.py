"""VGG [Simonyan and Zisserman 2014, arXiv:1409.1556, Table 1]."""

from __future__ import annotations

from typing import Literal

from torch import nn

from podium.models.convnet import ConvNet, Head
from podium.models.modules import Grid
from podium.models.registry import register
from podium.networks.blocks import LocalResponseNorm, fully_connected, glorot_init, he_init

Configuration = Literal["A", "A-LRN", "B", "C", "D", "E"]

# Table 1: the convolutions of each stage; 3 is 3x3, 1 is 1x1, L is local response normalisation.
CONFIGURATIONS: dict[Configuration, tuple[str, ...]] = {
    "A": ("3", "3", "33", "33", "33"),
    "A-LRN": ("3L", "3", "33", "33", "33"),
    "B": ("33", "33", "33", "33", "33"),
    "C": ("33", "33", "331", "331", "331"),
    "D": ("33", "33", "333", "333", "333"),
    "E": ("33", "33", "3333", "3333", "3333"),
}
WIDTHS = (64, 128, 256, 512, 512)


class VGG(ConvNet):
    """3x3 convolutions in five stages, each ended by a 2x2 max pool, then three fully connected layers.

    Weights start by Glorot and Bengio, which the paper (section 3.1) found to need no pre-training of a shallower net; with
    batch norm by He et al.

    Args:
        image_size: 224 in the paper.
        small: for 28-64 px: pools round up, so that five of them fit 28 px, and hidden layers are 512 wide.
        configuration: a column of Table 1: "A", "A-LRN", "B", "C", "D" or "E".
        batch_norm: after each convolution, which keeps its bias, as torchvision's `vgg*_bn` have it.
        dropout: after each hidden layer.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        image_size: int = 224,
        small: bool = False,
        *,
        configuration: Configuration = "D",
        batch_norm: bool = False,
        dropout: float = 0.5,
    ) -> None:
        stages, channels = [], in_chans
        for number, (layers, width) in enumerate(zip(CONFIGURATIONS[configuration], WIDTHS, strict=True), 1):
            stage: list[nn.Module] = []
            for layer in layers:
                if layer == "L":
                    stage.append(LocalResponseNorm())
                    continue
                stage.append(nn.Conv2d(channels, width, int(layer), padding=int(layer) // 2))
                if batch_norm:
                    stage.append(nn.BatchNorm2d(width))
                stage.append(nn.ReLU(inplace=True))
                channels = width
            stages.append((f"stage{number}", nn.Sequential(*stage, nn.MaxPool2d(2, ceil_mode=small))))
        side = min(7, -(-image_size // 32) if small else image_size // 32)
        width = 512 if small else 4096
        hidden = fully_connected((512 * side * side, width, width), dropout)
        super().__init__(nn.Identity(), stages, Head(Grid(side), nn.Linear(width, num_classes), hidden))
        (he_init if batch_norm else glorot_init)(self)


def _both(name: str, configuration: Configuration) -> dict[str, dict[str, object]]:
    """A network of Table 1, without and with batch norm."""
    return {
        name: {"configuration": configuration},
        f"{name}_bn": {"configuration": configuration, "batch_norm": True},
    }


register(
    VGG,
    {
        **_both("vgg11", "A"),
        "vgg11_lrn": {"configuration": "A-LRN"},
        **_both("vgg13", "B"),
        "vgg16_c": {"configuration": "C"},
        **_both("vgg16", "D"),
        **_both("vgg19", "E"),
    },
    family="VGG",
    year=2014,
    paper="Simonyan & Zisserman 2014, arXiv:1409.1556",
    input_size=224,
    min_size=32,
    small_min_size=16,
    recipe="vgg-2014",
)
