"""The arguments of a network, checked before it is built: their kinds, their bounds, and whether they make a network at all."""

from __future__ import annotations

import math
import reprlib
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from podium.calls import check_kind
from podium.errors import PodiumError, UsageError
from podium.platform import memory_of_machine

# The least and the largest value of arguments whose kind does not say it; the values of a tuple are checked one by one.
BOUNDS: dict[str, tuple[int, int]] = {
    "num_classes": (2, 10**9),
    "in_chans": (1, 1000),
    "image_size": (1, 16384),
    "units": (1, 1000),
    "layers": (1, 1000),
    "blocks": (1, 1000),
    "se": (0, 100_000),
}
WHOLE = (1, 100_000)  # of all other whole numbers
LONGEST = 16  # values of a tuple of any length: stages
LARGE = {
    "num_classes": 100_000,
    "in_chans": 100,
    "image_size": 2048,
}  # beyond it the memory for weights is counted first
WEIGHTLESS = {"dropout", "eps", "j", "reset_scale", "scales", "se_relu", "std"}  # numbers that change no shape


def check_arguments(name: str, values: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    """Refuse arguments that no network can have, before anything is built.

    Args:
        name: of the network.
        values: its arguments.
        hints: the kind of each, as an annotation.

    Raises:
        UsageError: names the first argument that is of another kind or out of its bounds, and what it may be.
    """
    for key, value in values.items():
        given = f"{name}: {key}={reprlib.repr(value)}"
        if allowed := literals(hints[key]):
            if not any(type(value) is type(each) and value == each for each in allowed):
                raise UsageError(given, f"give one of {', '.join(map(repr, allowed))}")
            continue
        check_kind(key, value, hints[key])
        wanted = _length(hints[key])
        if isinstance(value, tuple | list) and (len(value) != wanted if wanted else not 0 < len(value) <= LONGEST):
            raise UsageError(given, f"give {wanted or f'from 1 to {LONGEST}'} values")
        for number in _numbers(value):
            _check_bounds(given, key, number, hints[key])


def _check_bounds(given: str, key: str, number: float, hint: Any) -> None:
    if "float" in str(hint):
        if key == "dropout" and not 0 <= number < 1:
            raise UsageError(given, "give a probability of at least 0 and below 1")
        if key != "dropout" and not 0 < number <= WHOLE[1]:
            raise UsageError(given, f"give more than 0 and at most {WHOLE[1]}")
        return
    least, most = BOUNDS.get(key, WHOLE)
    if not least <= number <= most:
        raise UsageError(given, f"give at least {least}" if number < least else f"give at most {most}")


def _numbers(value: Any) -> Iterator[float]:
    """The numbers in a value, which may be a tuple of tuples."""
    if isinstance(value, tuple | list):
        for each in value:
            yield from _numbers(each)
    elif value is not None and not isinstance(value, bool | str):
        yield value


def _length(hint: Any) -> int | None:
    """How many values a tuple has; None where it has any number, or where it is none."""
    parts = typing.get_args(hint)
    return len(parts) if typing.get_origin(hint) is tuple and Ellipsis not in parts else None


def literals(hint: Any) -> tuple[Any, ...]:
    """The values of a `Literal`, or of one in a union, with None where the union has it; none for any other annotation."""
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)
    parts = typing.get_args(hint) if typing.get_origin(hint) is not tuple else ()
    values = tuple(value for part in parts for value in literals(part))
    return (*values, None) if values and type(None) in parts else values


@contextmanager
def tried_out(name: str, values: Mapping[str, Any], build: Callable[[], nn.Module]) -> Iterator[None]:
    """Build a network without memory for its weights before it is built within this context, where arguments may be impossible.

    Args:
        name: of the network.
        values: the arguments that were given, with `in_chans` and `image_size`.
        build: builds it.

    Raises:
        UsageError: there is no such network, it takes no images of its size, or its weights do not fit into memory.
    """
    risky = [key for key, value in values.items() if _may_fail(key, value)]
    if not risky:
        yield
        return
    given = ", ".join(f"{key}={reprlib.repr(values[key])}" for key in risky)
    try:
        if torch.get_default_device().type == "cpu":
            _refuse_larger_than_memory(given, name, _skeleton(build, values))
        yield
    except PodiumError:
        raise
    except Exception as error:  # torch refuses sizes that do not fit each other in many ways
        what = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise UsageError(f"{name} cannot be built with {given}: {what}", f"change {', '.join(risky)}") from None


def _may_fail(key: str, value: Any) -> bool:
    """Whether an argument can make sizes that do not fit each other, or weights that do not fit into memory."""
    if key in LARGE:
        return value > LARGE[key]
    return key not in WEIGHTLESS and any(not math.isclose(number, 0) for number in _numbers(value))


@torch.no_grad()
def _skeleton(build: Callable[[], nn.Module], values: Mapping[str, Any]) -> nn.Module:
    """The network on the meta device, after it has seen an image."""
    with torch.device("meta"):
        net = build().eval()
        net(torch.empty(1, values["in_chans"], values["image_size"], values["image_size"]))
    return net


def _refuse_larger_than_memory(given: str, name: str, skeleton: nn.Module) -> None:
    needed, there = sum(tensor.nbytes for tensor in skeleton.state_dict().values()), memory_of_machine()
    if there is not None and needed > there:
        what = f"{name} with {given} has {needed / 1e9:,.0f} GB of weights; this machine has {there / 1e9:,.0f} GB of memory"
        raise UsageError(what, "give smaller numbers")
