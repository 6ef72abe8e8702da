"""Networks by name: every file of `podium.networks` registers its own as data, and is found by itself."""

from __future__ import annotations

import fnmatch
import functools
import importlib
import inspect
import pkgutil
import typing
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from podium.calls import meant, public
from podium.errors import UsageError, closest
from podium.models.arguments import check_arguments, literals, tried_out
from podium.models.convnet import ConvNet
from podium.models.edits import apply_edits
from podium.models.modules import Ones
from podium.natural import natural

COMMON = ("num_classes", "in_chans", "image_size", "small")  # arguments of every family


@dataclass(frozen=True)
class Architecture:
    """A registered network: how it is built and what is known of it.

    Args:
        name: spelled as timm and torchvision spell it, where they have it.
        build: makes the network from `num_classes`, `in_chans`, `image_size`, `small` (where there is a small form) and the
            family's own arguments.
        arguments: those of the family's own arguments that make this variant.
        design: a dataclass with the family's own arguments, where `build` takes them as one argument `design`; None where
            they are arguments of `build` itself.
        input_size: canonical side of the square input, in pixels.
        min_size: smallest side the network takes, in pixels.
        small_min_size: the same for `small=True`; None where the network is small already and has no other form.
        num_classes: the paper's number of classes.
        in_chans: the paper's number of input channels.
        recipe: the paper's training recipe.
        note: one line that helps to choose it.
        listed: whether it is a network to choose; what small ones for experiments are written with is not.
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
    design: type[Any] | None = None
    listed: bool = True

    def smallest(self, small: bool) -> int:
        """The smallest image side it takes, in pixels, in its small or its full form."""
        return self.small_min_size if small and self.small_min_size is not None else self.min_size

    @property
    def own(self) -> dict[str, Any]:
        """The family's own arguments by name, in the order of their declaration, with the family's defaults."""
        parameters = inspect.signature(self.design or self.build).parameters
        return {name: each.default for name, each in parameters.items() if name not in COMMON}

    @property
    def hints(self) -> dict[str, Any]:
        """The kind of each of the family's own arguments, as an annotation."""
        source = self.design or (self.build.__init__ if isinstance(self.build, type) else self.build)  # type: ignore[misc]
        return {name: hint for name, hint in typing.get_type_hints(source).items() if name in self.own}

    @property
    def choices(self) -> dict[str, tuple[Any, ...]]:
        """The values that are allowed, for those of the family's own arguments whose type is a `Literal`."""
        allowed = {name: literals(hint) for name, hint in self.hints.items()}
        return {name: values for name, values in allowed.items() if values}


_REGISTRY: dict[str, Architecture] = {}


def register(build: Callable[..., ConvNet], variants: Mapping[str, Mapping[str, Any]], **facts: Any) -> None:
    """Enter a family of networks under the names of its variants.

    Args:
        build: as in `Architecture`.
        variants: for each name the arguments that make this variant.
        facts: the other fields of `Architecture`, which hold for all variants.

    Raises:
        ValueError: a name is taken.
    """
    for name, arguments in variants.items():
        if name in _REGISTRY:
            raise ValueError(f"two architectures are called {name!r}: {_REGISTRY[name].build} and {build}")
        _REGISTRY[name] = Architecture(name=name, build=build, arguments=arguments, **facts)


@functools.cache
def _architectures() -> dict[str, Architecture]:
    """All architectures by name; the files of `podium.networks` are imported at the first call."""
    package = importlib.import_module("podium.networks")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return _REGISTRY


@public
def list_models(pattern: str = "*") -> list[str]:
    """List the names of networks.

    Args:
        pattern: a shell pattern, such as "resnet*".

    Returns:
        The names that match, in natural order: resnet20 before resnet110.
    """
    listed = [name for name, each in _architectures().items() if each.listed]
    return sorted(fnmatch.filter(listed, pattern), key=natural)


def matching(text: str) -> list[str] | None:
    """Return the networks that a pattern or a family stands for, in natural order; None where the text is neither.

    Args:
        text: a shell pattern, such as "resnet*", or the name of a family as `podium models` has it, in letters of either case.
            What is the name of one network, as "xception" is, stands for that one.

    Raises:
        UsageError: no network matches the pattern.
    """
    known = _architectures()
    if any(letter in text for letter in "*?["):
        found = list_models(text)
        if not found:
            hint = closest(text.strip("*"), list(known)) or "`podium models` lists them all"
            raise UsageError(f"no network matches {text!r}", hint)
        return found
    of_family = [name for name, each in known.items() if each.listed and each.family.lower() == text.lower()]
    return sorted(of_family, key=natural) if of_family and text not in known else None


@public
def architecture(name: str) -> Architecture:
    """Look up a network.

    Args:
        name: of the network, as `list_models` has it.

    Returns:
        What is known of it without building it: its family, year, input size, published errors and arguments.

    Raises:
        UsageError: no network has this name; the closest three are named.
    """
    known = _architectures()
    if name not in known:
        hint = closest(name, list_models()) or "`podium models` lists them all"
        if "/" in name or "\\" in name:  # the path of a run or of data
            there = "is a path, not a name" if Path(name).exists() else "is no file or folder either"
            hint = f"`podium models` lists them all; {name} {there}"
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
        image_size: side of the images, in pixels, which decides the size of fully connected heads; the canonical one if None.
        small: build the form for images of 28-64 pixels, whose stem keeps the resolution; networks made for such images
            have only one form.
        arguments: the family's own arguments, such as `shortcut="A"` for ResNets.

    Returns:
        The network, in training mode. Its `spec` rebuilds it.

    Raises:
        UsageError: unknown name or argument, a value that the argument cannot have, or an image smaller than the network takes.
    """
    known = architecture(name)
    has_small = known.small_min_size is not None
    given = {
        "num_classes": num_classes if num_classes is not None else known.num_classes,
        "in_chans": in_chans if in_chans is not None else known.in_chans,
        "image_size": image_size if image_size is not None else (32 if small and has_small else known.input_size),
    }
    check_arguments(name, given | {"small": small}, dict.fromkeys(given, int) | {"small": bool})
    if given["image_size"] < known.smallest(small):
        raise UsageError(*_too_small(known, given["image_size"], small))
    for key in arguments:
        if key not in known.own:
            otherwise = f"it takes {', '.join(known.own)}" if known.own else "leave it out"
            fix = meant(key, [*known.own, *given, "small", "weights"], otherwise)
            raise UsageError(f"{name} has no argument {key!r}", fix)
    check_arguments(name, arguments, known.hints)
    form = {"small": small} if has_small else {}
    own = {**known.arguments, **arguments}
    own = {"design": known.design(**own)} if known.design else own
    build = functools.partial(known.build, **given, **form, **own)
    with tried_out(name, given | arguments, build):
        net = build()
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
    """Put `modules.Ones` before a network whose first convolution reads one channel more than an image has."""
    inside = net.stem._modules if isinstance(net.stem, nn.Sequential) else {"first": net.stem}
    net.stem = nn.Sequential(OrderedDict[str, Any]({"ones": Ones(), **inside}))
    net.spec = {**net.spec, "ones": True}


def _too_small(known: Architecture, image_size: int, small: bool) -> tuple[str, str]:
    least, own = known.smallest(small), " in its small form" if small and known.small_min_size is not None else ""
    what = f"{known.name} cannot take {image_size} px images{own}"
    fix = f"give --image-size {least} or more: its smallest is {least} px"
    if not small and known.small_min_size is not None and known.small_min_size <= image_size:
        fix += f"; or --small, since its small form takes {image_size} px at full resolution"
    return what, fix
