"""Inception v4 [Szegedy et al. 2016, arXiv:1602.07261, Figs. 3-9]."""

from __future__ import annotations

from torch import nn

from podium.models.convnet import ConvNet, Head
from podium.models.modules import Branches
from podium.models.registry import register
from podium.networks.blocks import average_branch, chain, conv_norm, fork, global_average, he_init


def v4_stem(in_chans: int, small: bool) -> tuple[nn.Sequential, dict[str, nn.Module]]:
    """Three convolutions, and the three forks that reduce by branches of their own [Fig. 3]; 384 maps.

    Args:
        small: halve the size once only, in the first fork.
    """
    if small:
        return chain(in_chans, (32, 3), (32, 3), (64, 3)), {
            "mixed3a": Branches(pool=nn.MaxPool2d(3, 2, padding=1), conv=conv_norm(64, 96, 3, 2)),
            "mixed4a": Branches(
                branch0=chain(160, (64, 1), (96, 3)),
                branch1=chain(160, (64, 1), (64, (1, 7)), (64, (7, 1)), (96, 3)),
            ),
            "mixed5a": Branches(conv=conv_norm(192, 192, 3), pool=nn.MaxPool2d(3, 1, padding=1)),
        }
    return chain(in_chans, (32, 3, 2), (32, 3, 1), (64, 3)), {
        "mixed3a": Branches(pool=nn.MaxPool2d(3, 2), conv=conv_norm(64, 96, 3, 2, padding=0)),
        "mixed4a": Branches(
            branch0=chain(160, (64, 1), (96, 3, 1)),
            branch1=chain(160, (64, 1), (64, (1, 7)), (64, (7, 1)), (96, 3, 1)),
        ),
        "mixed5a": Branches(conv=conv_norm(192, 192, 3, 2, padding=0), pool=nn.MaxPool2d(3, 2)),
    }


def reduction_a(inputs: int, k: int, l: int, m: int, n: int) -> Branches:  # noqa: E741 - the paper's letters
    """From 35x35 to 17x17 [Fig. 7, widths of Table 1]."""
    return Branches(
        branch0=conv_norm(inputs, n, 3, 2, padding=0),
        branch1=chain(inputs, (k, 1), (l, 3), (m, 3, 2)),
        pool=nn.MaxPool2d(3, 2),
    )


def module_a() -> Branches:
    """Fig. 4."""
    return Branches(
        branch0=conv_norm(384, 96, 1),
        branch1=chain(384, (64, 1), (96, 3)),
        branch2=chain(384, (64, 1), (96, 3), (96, 3)),
        branch3=average_branch(384, 96),
    )


def module_b() -> Branches:
    """Fig. 5."""
    return Branches(
        branch0=conv_norm(1024, 384, 1),
        branch1=chain(1024, (192, 1), (224, (1, 7)), (256, (7, 1))),
        branch2=chain(1024, (192, 1), (192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7))),
        branch3=average_branch(1024, 128),
    )


def reduction_b() -> Branches:
    """From 17x17 to 8x8 [Fig. 8]."""
    return Branches(
        branch0=chain(1024, (192, 1), (192, 3, 2)),
        branch1=chain(1024, (256, 1), (256, (1, 7)), (320, (7, 1)), (320, 3, 2)),
        pool=nn.MaxPool2d(3, 2),
    )


def module_c() -> Branches:
    """Fig. 6."""
    return Branches(
        branch0=conv_norm(1536, 256, 1),
        branch1=nn.Sequential(conv_norm(1536, 384, 1), fork(384, 256)),
        branch2=nn.Sequential(*chain(1536, (384, 1), (448, (3, 1)), (512, (1, 3))), fork(512, 256)),
        branch3=average_branch(1536, 256),
    )


class InceptionV4(ConvNet):
    """Stem, modules A x4, reduction A, B x7, reduction B, C x3, average pooling, dropout, one linear layer [Fig. 9].

    Weights start by He et al. 2015.

    Args:
        small: for 28-64 px: the stem halves the size once.
        dropout: before the classifier; the paper keeps 0.8.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        image_size: int = 299,
        small: bool = False,
        *,
        dropout: float = 0.2,
    ) -> None:
        stem, modules = v4_stem(in_chans, small)
        modules |= {f"mixed5{letter}": module_a() for letter in "bcde"}
        modules["mixed6a"] = reduction_a(384, 192, 224, 256, 384)
        modules |= {f"mixed6{letter}": module_b() for letter in "bcdefgh"}
        modules["mixed7a"] = reduction_b()
        modules |= {f"mixed7{letter}": module_c() for letter in "bcd"}
        head = Head(global_average(), nn.Linear(1536, num_classes), nn.Dropout(dropout))
        super().__init__(stem, modules.items(), head)
        he_init(self)


register(
    InceptionV4,
    {"inception_v4": {}},
    family="Inception",
    year=2016,
    paper="Szegedy et al. 2016, arXiv:1602.07261",
    input_size=299,
    min_size=75,
    small_min_size=16,
    recipe="inception-2016",
)
