"""The networks of other libraries whose checkpoints can be read, called peers, and the rules by which they are read.

Every file of `podium.weights.rules` enters the peers of its family and is found by itself.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from podium import imagenet
from podium.errors import UsageError, closest
from podium.weights.official_files import split_tag


@dataclass(frozen=True)
class InOrder:
    """A rule for names that only number their layers: the n-th of theirs is the n-th of ours.

    Args:
        kind: class of our layers that are counted.
        where: a pattern that the names of our layers match.
    """

    kind: type[nn.Module] | tuple[type[nn.Module], ...]
    where: str = ""


# (pattern, replacement) pairs that turn a peer's weight names into ours, one after the other. The pattern of an `InOrder`
# has the number as its first group.
Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str] | InOrder], ...]

# How peers' images are prepared: mean and standard deviation of pixels in [0, 1], and the share of the short side that is kept.
IMAGENET_PIXELS: dict[str, Any] = {"mean": imagenet.MEAN, "std": imagenet.STD, "crop_pct": 0.875}
INCEPTION_PIXELS: dict[str, Any] = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "crop_pct": 0.875}
BICUBIC = {"interpolation": "bicubic"}  # of most of timm's default weights, which its names stand for here
CAFFE_PIXELS: dict[str, Any] = {  # 0 to 255, blue first
    "mean": (103.939 / 255, 116.779 / 255, 123.68 / 255),
    "std": (1 / 255, 1 / 255, 1 / 255),
    "crop_pct": 0.875,
    "channel_order": "bgr",
}


@dataclass(frozen=True)
class Peer:
    """How a checkpoint of another library becomes one of ours.

    Args:
        model: our name of the network.
        rules: for the names of its weights.
        arguments: of our network, where the peer's differs from the paper's.
        pixels: fields of the preprocessing it was trained with.
        transforms: whether the peer's network can turn images that are normalised by ImageNet's statistics into other ones itself,
            by torchvision's `transform_input`, of which its weights say nothing.
    """

    model: str
    rules: Rules
    arguments: Mapping[str, Any]
    pixels: Mapping[str, Any]
    transforms: bool = False


_PEERS: dict[tuple[str, str], Peer] = {}


def peer(
    library: str,
    names: Mapping[str, str],
    rules: Rules,
    arguments: Mapping[str, Any] | None = None,
    pixels: Mapping[str, Any] = IMAGENET_PIXELS,
    transforms: bool = False,
) -> None:
    """Enter the networks of a library whose checkpoints one set of rules reads.

    Args:
        library: as in "LIBRARY:NAME".
        names: from the library's names to ours.
        rules, arguments, pixels, transforms: as in `Peer`.

    Raises:
        ValueError: a name is taken.
    """
    for theirs, ours in names.items():
        if (library, theirs) in _PEERS:
            raise ValueError(f"two rules for {library}:{theirs}")
        _PEERS[library, theirs] = Peer(ours, rules, arguments or {}, pixels, transforms)


def find_peer(source: str) -> Peer:
    """How to read the weights called "LIBRARY:NAME" or "LIBRARY:NAME.TAG".

    Raises:
        UsageError: an unknown library or network; the closest are named.
    """
    known = peers()
    library, _, name = split_tag(source)[0].partition(":")
    libraries = sorted({theirs for theirs, _ in known})
    if library not in libraries:
        hint = closest(library, libraries) or f"give LIBRARY:NAME, with a library of {', '.join(libraries)}"
        raise UsageError(f"weights of {library!r} cannot be read", hint)
    if (library, name) not in known:
        names = [network for theirs, network in known if theirs == library]
        near = closest(name, names)
        hint = f"{near} If not, Podium does not have that network" if near else f"there are {', '.join(names)}"
        raise UsageError(f"weights of {library}'s {name!r} cannot be read", hint)
    return known[library, name]


@functools.cache
def peers() -> Mapping[tuple[str, str], Peer]:
    """All peers by (library, name); the files of `podium.weights.rules` are imported at the first call."""
    package = importlib.import_module("podium.weights.rules")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return _PEERS
