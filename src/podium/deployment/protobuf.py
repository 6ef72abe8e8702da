"""An ONNX file read byte by byte, before any engine does: weights outside it are refused, and its inputs and outputs listed.

ONNX's messages are protocol buffers (onnx.proto). Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# Which fields of which message lead to a tensor, by number: `tests/test_runtime.py` compares them with onnx's own descriptors.
NESTED: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
}
DEEPEST = 40  # messages within messages
GRAPH, METADATA, EXTERNAL_DATA, DATA_LOCATION = 7, 14, 13, 14
INPUT, OUTPUT = 11, 12  # of a graph
KINDS = {1: "float32", 2: "uint8"}  # of elements, as `TensorProto.DataType` numbers them


@dataclass(frozen=True)
class Port:
    """An input or an output of a graph.

    Args:
        name: of the tensor.
        kind: "float32", "uint8", or what the file calls another kind of element.
        sides: of the tensor; None where a side is left open, as that of a batch is.
    """

    name: str
    kind: str
    sides: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.kind} ({', '.join('any' if side is None else str(side) for side in self.sides)})"


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def fields(data: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(number, begin, end) of every field of a message; of a plain number, begin is its value and end -1.

    Raises:
        ValueError, IndexError: it is no message.
    """
    at = start
    while at < end:
        tag, at = _varint(data, at)
        if tag >> 32:  # readers in C++ keep the low 32 bits, which are another field's
            raise ValueError("a field with a number of more than 32 bits")
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value, -1
            continue
        if kind not in (1, 2, 5):
            raise ValueError(f"a field of kind {kind}")
        size, at = _varint(data, at) if kind == 2 else (8 if kind == 1 else 4, at)
        if at + size > end:
            raise ValueError("it ends too early")
        yield number, at, at + size
        at += size


def refuse_external(data: memoryview, message: str, start: int, end: int, depth: int = 0) -> None:
    """Refuse a tensor, in whatever message, whose values are not in the file itself: a path in it could name any file of the machine.

    Args:
        data: the file.
        message: a key of `NESTED`, which lies from `start` to `end`.
        depth: messages around it.

    Raises:
        ValueError: there is such a tensor, or messages are nested too deep to look.
    """
    if depth > DEEPEST:
        raise ValueError("messages too deep within each other")
    for number, a, b in fields(data, start, end):
        if message == "TensorProto":
            if number == EXTERNAL_DATA or (number == DATA_LOCATION and a != 0):
                raise ValueError("it has weights outside the file")
        elif (inner := NESTED[message].get(number)) is not None and b >= 0:
            refuse_external(data, inner, a, b, depth + 1)


def ports(data: memoryview) -> tuple[list[Port], list[Port]]:
    """The inputs and the outputs of an ONNX file's graph."""
    found: dict[int, list[Port]] = {INPUT: [], OUTPUT: []}
    for a, b in _within(data, (0, len(data)), GRAPH):
        for number, c, d in fields(data, a, b):
            if number in found and d >= 0:
                found[number].append(_port(data, (c, d)))
    return found[INPUT], found[OUTPUT]


def _port(data: memoryview, where: tuple[int, int]) -> Port:
    """A `ValueInfoProto`: its name is field 1, its type field 2, of which a tensor's is field 1 with {1: kind, 2: shape}."""
    name = b"".join(bytes(data[a:b]) for a, b in _within(data, where, 1)).decode(errors="replace")
    kind, sides = "no tensor", list[int | None]()
    for of_type in _within(data, where, 2):
        for tensor in _within(data, of_type, 1):
            number = next((value for field, value, end in fields(data, *tensor) if (field, end) == (1, -1)), 0)
            kind = KINDS.get(number, f"of kind {number}")
            dims = (dim for shape in _within(data, tensor, 2) for dim in _within(data, shape, 1))
            sides = [_side(data, dim) for dim in dims]
    return Port(name, kind, tuple(sides))


def _side(data: memoryview, where: tuple[int, int]) -> int | None:
    """A dimension's number, which is field 1; a name, field 2, stands for any."""
    return next((value for number, value, end in fields(data, *where) if (number, end) == (1, -1)), None)


def _within(data: memoryview, where: tuple[int, int], wanted: int) -> Iterator[tuple[int, int]]:
    """Where the messages, or the texts, of one field lie."""
    return ((a, b) for number, a, b in fields(data, *where) if number == wanted and b >= 0)
