"""Names to architectures: every file of `podium.networks` registers its own, as data, and is found by itself."""

from __future__ import annotations

import fnmatch
import functools
import importlib
import inspect
import pkgutil
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from podium.calls import meant, public
from podium.errors import UsageError, closest
from podium.models.convnet import ConvNet
from podium.models.edits import apply_edits
from podium.models.modules import Ones
from podium.natural import natural


@dataclass(frozen=True)
class InOrder:
    """A rule for names that only number their layers: the n-th of theirs is the n-th of ours.

    Args:
        kind: of our layers that are counted.
        where: a pattern that their names match.
    """

    kind: type[nn.Module] | tuple[type[nn.Module], ...]
    where: str = ""


# (pattern, replacement) pairs that turn a peer's weight names into ours, one after the other. The pattern of an `InOrder`
# has the number as its first group.
Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str] | InOrder], ...]

# What peers' networks were fed: the mean and standard deviation of pixels in [0, 1], share of the short side that is kept.
IMAGENET_PIXELS: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "crop_pct": 0.875}
INCEPTION_PIXELS: dict[str, Any] = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "crop_pct": 0.875}
BICUBIC = {
    "interpolation": "bicubic"
}  # timm's way with most of its weights; what is said of timm is of each name's default ones
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
        model: our name of it.
        rules: for the names of its weights.
        arguments: what makes our network theirs, where theirs differs from the paper's.
        pixels: fields of the preprocessing it was trained with.
    """

    model: str
    rules: Rules
    arguments: Mapping[str, Any]
    pixels: Mapping[str, Any]


@dataclass(frozen=True)
class Architecture:
    """One registered network: what builds it and what is known of it.

    Args:
        name: spelled as timm and torchvision spell it, where they have it.
        build: makes the network from `num_classes`, `in_chans`, `image_size`, `small` (where there is a small form) and `arguments`.
        arguments: what makes this variant differ from its family.
        input_size: canonical side of the square input, in pixels.
        min_size: smallest side the network takes, in pixels.
        small_min_size: the same for `small=True`; None where the network is small already and has no other form.
        num_classes: the paper's number of classes.
        in_chans: the paper's number of input channels.
        recipe: the paper's training recipe.
        note: what a person should know before choosing it.
    """

    name: str
    build: Callable[..., ConvNet]
    arguments: Mapping[str, Any]
    family: str
    year: int
    paper: str
    input_size: int
    min_size: int
    small_min_size: int | None = None
    num_classes: int = 1000
    in_chans: int = 3
    recipe: str = "modern"
    note: str = ""

    def smallest(self, small: bool) -> int:
        """The smallest image side it takes, in pixels, in its small or its full form."""
        return self.small_min_size if small and self.small_min_size is not None else self.min_size


_REGISTRY: dict[str, Architecture] = {}
_PEERS: dict[tuple[str, str], Peer] = {}


def register(build: Callable[..., ConvNet], variants: Mapping[str, Mapping[str, Any]], **facts: Any) -> None:
    """Enter a family: each variant is a name and the arguments that make it; `facts` hold for all of them.

    Raises:
        ValueError: a name is taken.
    """
    for name, arguments in variants.items():
        if name in _REGISTRY:
            raise ValueError(f"two architectures are called {name!r}: {_REGISTRY[name].build} and {build}")
        _REGISTRY[name] = Architecture(name=name, build=build, arguments=arguments, **facts)


def peer(
    library: str,
    names: Mapping[str, str],
    rules: Rules,
    arguments: Mapping[str, Any] | None = None,
    pixels: Mapping[str, Any] = IMAGENET_PIXELS,
) -> None:
    """Enter whose checkpoints a family reads: `names` from theirs to ours; the rest as in `Peer`.

    Raises:
        ValueError: a name is taken.
    """
    for theirs, ours in names.items():
        if (library, theirs) in _PEERS:
            raise ValueError(f"two rules for {library}:{theirs}")
        _PEERS[library, theirs] = Peer(ours, rules, arguments or {}, pixels)


def find_peer(source: str) -> Peer:
    """How to read what is called "LIBRARY:NAME".

    Raises:
        UsageError: an unknown library or network; the closest are named.
    """
    _architectures()
    library, _, name = source.partition(":")
    libraries = sorted({known for known, _ in _PEERS})
    if library not in libraries:
        hint = closest(library, libraries) or f"give LIBRARY:NAME, with a library of {', '.join(libraries)}"
        raise UsageError(f"no rules for weights of {library!r}", hint)
    if (library, name) not in _PEERS:
        names = [theirs for known, theirs in _PEERS if known == library]
        raise UsageError(
            f"no rules for the weights of {library}'s {name!r}", closest(name, names) or f"there are {', '.join(names)}"
        )
    return _PEERS[library, name]


def peers() -> Mapping[tuple[str, str], Peer]:
    """How the weights of every (library, name) that is known are read."""
    _architectures()
    return _PEERS


@functools.cache
def _architectures() -> dict[str, Architecture]:
    """All of them; the files of this folder are imported at the first call."""
    package = importlib.import_module("podium.networks")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return _REGISTRY


@public
def list_models(pattern: str = "*") -> list[str]:
    """Names that match a shell pattern, in natural order (resnet20 before resnet110)."""
    return sorted(fnmatch.filter(_architectures(), pattern), key=natural)


@public
def architecture(name: str) -> Architecture:
    """What is known of one network.

    Raises:
        UsageError: no network has this name; the closest three are named.
    """
    known = _architectures()
    if name not in known:
        hint = closest(name, list(known)) or "`podium models` lists them all"
        raise UsageError(f"no network is called {name!r}", hint)
    return known[name]


def build_model(
    name: str,
    *,
    num_classes: int | None = None,
    in_chans: int | None = None,
    image_size: int | None = None,
    small: bool = False,
    **arguments: Any,
) -> ConvNet:
    """Build a network by name, with fresh weights.

    Args:
        name: one of `list_models()`.
        num_classes: at least 2; the paper's number if None.
        in_chans: channels of the input, at least 1; the paper's number if None.
        image_size: side of the images, in pixels, which sizes fully connected heads; the canonical one if None.
        small: the form for 28-64 pixel images (a stem that keeps the resolution); networks made for small images
            have only the one form.
        arguments: more of the family's own, such as `shortcut="A"` for ResNets.

    Returns:
        The network, in training mode. Its `spec` rebuilds it.

    Raises:
        UsageError: unknown name or argument, or an image smaller than the network takes.
    """
    known = architecture(name)
    has_small = known.small_min_size is not None
    given = {
        "num_classes": num_classes if num_classes is not None else known.num_classes,
        "in_chans": in_chans if in_chans is not None else known.in_chans,
        "image_size": image_size if image_size is not None else (32 if small and has_small else known.input_size),
    }
    for key, least in (("num_classes", 2), ("in_chans", 1), ("image_size", 1)):
        if given[key] < least:
            raise UsageError(f"{name}: {key}={given[key]}", f"give at least {least}")
    if given["image_size"] < known.smallest(small):
        raise UsageError(*_too_small(known, given["image_size"], small))
    accepted = inspect.signature(known.build).parameters
    for key in arguments:
        if key not in accepted:
            own = [key for key in accepted if key not in (*given, "small")]
            raise UsageError(
                f"{name} has no argument {key!r}",
                meant(key, [*own, *given, "small", "weights"], f"it takes {', '.join(own)}" if own else "leave it out"),
            )
    form = {"small": small} if has_small else {}
    net = known.build(**given, **form, **{**known.arguments, **arguments})
    net.spec = {"model": name, **given, "small": small and has_small, **arguments}
    return net


def rebuild(spec: Mapping[str, Any]) -> ConvNet:
    """The network that a `spec` describes, with fresh weights; lists, as JSON has them, stand for tuples."""
    arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in spec.items()}
    edits, ones = arguments.pop("edits", None), arguments.pop("ones", False)
    if ones:
        arguments["in_chans"] += 1
    net = build_model(arguments.pop("model"), **arguments)
    if ones:
        net.spec = {**net.spec, "in_chans": net.spec["in_chans"] - 1}
        add_ones(net)
    return apply_edits(net, edits) if edits else net


def add_ones(net: ConvNet) -> None:
    """Put `blocks.Ones` before all else in a network, whose first convolution reads one channel more than an image has."""
    inside = net.stem._modules if isinstance(net.stem, nn.Sequential) else {"first": net.stem}
    net.stem = nn.Sequential(OrderedDict[str, Any]({"ones": Ones(), **inside}))
    net.spec = {**net.spec, "ones": True}


def _too_small(known: Architecture, image_size: int, small: bool) -> tuple[str, str]:
    least, own = known.smallest(small), " in its small form" if small and known.small_min_size is not None else ""
    what = f"{known.name} cannot take {image_size} px images{own}"
    fix = f"--image-size {least} (image_size={least}) or more: its smallest is {least} px"
    if not small and known.small_min_size is not None and known.small_min_size <= image_size:
        fix += f"; or --small (small=True): its small form takes {image_size} px at full resolution"
    return what, fix
