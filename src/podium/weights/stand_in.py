"""What takes the place of objects in a pickle that are no tensors, and the few numbers that are read from them all the same."""

from __future__ import annotations

import math
import re
import sys
from typing import Any

import numpy as np

MOST = 4  # numbers that a mean or a deviation of pixels has
MOST_AXES = 8  # of an array that is read
# Numbers and texts of numpy, by the names that it gives their types in a pickle.
_TYPES = re.compile(r"f[248]|[iu][1248]|b1|U\d{1,5}")


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
        array = array_of(value)
        return (
            []
            if array is None or array.dtype.kind not in "fiu" or array.size > MOST
            else array.ravel().astype(float).tolist()
        )
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [float(value)] if abs(value) < sys.float_info.max else []
    if not isinstance(value, list | tuple) or len(value) > MOST:
        return []
    inside = [numbers_of(each) for each in value]
    return [number for numbers in inside for number in numbers] if all(len(each) == 1 for each in inside) else []


def array_of(value: Any) -> np.ndarray | None:
    """An array of numpy or one of its numbers, as numpy pickles them: by type, order, shape and bytes; None for anything else."""
    match getattr(value, "origin", "").rpartition(".")[2], getattr(value, "given", ()), getattr(value, "state", None):
        case "_reconstruct", _, (int(), tuple() as shape, StandIn() as kind, bool() as transposed, held):
            return _from_bytes(kind, bytes_of(held), shape, transposed)
        case "_frombuffer", (held, StandIn() as kind, tuple() as shape, str() as order), _:
            return _from_bytes(kind, held, shape, order == "F")
        case "scalar", (StandIn() as kind, held), _:
            return _from_bytes(kind, bytes_of(held), (), False)
    return None


def bytes_of(value: Any) -> Any:
    """Bytes, also as protocol 2 of pickle has them: a call of `_codecs.encode`."""
    if isinstance(value, StandIn) and value.given and isinstance(value.given[0], str):
        return value.given[0].encode("latin1", "replace")
    return value


def _from_bytes(kind: StandIn, held: Any, shape: tuple[Any, ...], transposed: bool) -> np.ndarray | None:
    """An array of a type of numpy, of exactly as many bytes as its shape says; None where they are not."""
    match kind.given, kind.state:
        case (str() as name, *_), (int(), str() as order, *_) if _TYPES.fullmatch(name):
            dtype = np.dtype(name).newbyteorder(">" if order == ">" else "<")
            whole = isinstance(held, bytes | bytearray) and all(type(n) is int and n > 0 for n in shape)
            if whole and len(held) == math.prod(shape) * dtype.itemsize and len(held) > 0 and len(shape) <= MOST_AXES:
                return np.frombuffer(held, dtype).reshape(shape, order="F" if transposed else "C")
    return None
