"""What takes the place of objects in a pickle that are no tensors, and the few numbers that are read from them all the same."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

MOST = 4  # numbers that a mean or a deviation of pixels has
# Numbers of numpy, by the names that it gives them in a pickle.
_NUMBERS = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"}


class StandIn(dict[Any, Any]):
    """In the place of an object of any class or the result of any function: it keeps items and attributes, and does nothing."""

    origin = ""  # MODULE.NAME in the file
    given: tuple[Any, ...] = ()  # both of the class, since unpickling need not call `__init__`
    state: Any = None

    def __init__(self, *given: Any, **_: Any) -> None:
        super().__init__()
        self.given = given

    def __call__(self, *_: Any, **__: Any) -> StandIn:
        """Stand in for the result too, where the object is a function or a method."""
        return StandIn()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, *_: Any) -> None:
        """Take an element of a list."""

    extend = add = append
    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__

    @property
    def is_network(self) -> bool:
        """Whether the object was a `torch.nn.Module`."""
        return isinstance(self.state, dict) and {"_parameters", "_modules"} <= self.state.keys()


def numbers_of(value: Any) -> list[float]:
    """The numbers in a number, a list, a tuple or an array of numpy that is no longer than a mean of pixels; else none."""
    if isinstance(value, StandIn):
        return _numbers_of_numpy(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [float(value)] if abs(value) < sys.float_info.max else []
    if not isinstance(value, list | tuple) or len(value) > MOST:
        return []
    inside = [numbers_of(each) for each in value]
    return [number for numbers in inside for number in numbers] if all(len(each) == 1 for each in inside) else []


def _numbers_of_numpy(value: StandIn) -> list[float]:
    """The numbers in an array of numpy or in one of its numbers, as numpy pickles them: by type, order and bytes."""
    match value.origin.rpartition(".")[2], value.given, value.state:
        case "_reconstruct", _, (int(), tuple(), StandIn() as kind, bool(), held):
            return _from_bytes(kind, held)
        case "scalar", (StandIn() as kind, held), _:
            return _from_bytes(kind, held)
    return []


def bytes_of(value: Any) -> Any:
    """Bytes, also as protocol 2 of pickle has them: a call of `_codecs.encode`."""
    if isinstance(value, StandIn) and value.given and isinstance(value.given[0], str):
        return value.given[0].encode("latin1", "replace")
    return value


def _from_bytes(kind: StandIn, held: Any) -> list[float]:
    """Numbers of a type of numpy."""
    held = bytes_of(held)
    match kind.given, kind.state:
        case (str() as name, *_), (int(), str() as order, *_) if name in _NUMBERS and isinstance(held, bytes):
            dtype = np.dtype(name).newbyteorder(">" if order == ">" else "<")
            whole = held[: len(held) // dtype.itemsize * dtype.itemsize]
            return [float(number) for number in np.frombuffer(whole, dtype)] if len(held) <= MOST * 8 else []
    return []
