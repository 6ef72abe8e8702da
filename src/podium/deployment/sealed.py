"""The card inside an exported file, and a digest over all its other bytes. Standard library only.

An ONNX file carries both in its metadata, an OpenVINO file in its `rt_info`. The digest is taken while its own 64 places hold
zeros, as a tar header's sum is. It finds damage and tells files apart; it is no signature.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from podium.errors import ModelFileError
from podium.files import json_text, not_finite

CARD, DIGEST = "podium.card", "podium.sha256"
FORMAT = 1  # of cards in exported files
ZEROS = b"0" * 64
FIX = "copy it again, or export it again with `podium export`"

# Which fields of which message of ONNX (onnx.proto) lead to a tensor, by number.
NESTED: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
DEEPEST = 40  # messages within messages
GRAPH, METADATA, EXTERNAL_DATA, DATA_LOCATION = 7, 14, 13, 14


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _fields(data: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(number, begin, end) of every field of a protocol-buffer message; of a plain number, begin is its value and end -1."""
    at = start
    while at < end:
        tag, at = _varint(data, at)
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


def _refuse_external(data: memoryview, message: str, start: int, end: int, depth: int = 0) -> None:
    """Every tensor has its values in the file itself: a path in it could name any file of the machine."""
    if depth > DEEPEST:
        raise ValueError("messages too deep within each other")
    for number, a, b in _fields(data, start, end):
        if message == "tensor":
            if number == EXTERNAL_DATA or (number == DATA_LOCATION and a != 0):
                raise ValueError("it has weights outside the file")
        elif (inner := NESTED[message].get(number)) is not None and b >= 0:
            _refuse_external(data, inner, a, b, depth + 1)


def _entry(data: memoryview, start: int, end: int) -> tuple[bytes, tuple[int, int]]:
    """A key of the metadata, and where its value lies."""
    key, where = b"", (end, end)
    for number, a, b in _fields(data, start, end):
        if number == 1:
            key = bytes(data[a:b])
        elif number == 2:
            where = a, b
    return key, where


def _digest(place: tuple[int, int], *parts: memoryview) -> str:
    """SHA-256 of all bytes; those at `place` in the first part count as zeros."""
    first, *rest = parts
    digest = hashlib.sha256(first[: place[0]])
    digest.update(ZEROS)
    digest.update(first[place[1] :])
    for part in rest:
        digest.update(part)
    return digest.hexdigest()


def _place(name: str, content: bytes) -> tuple[tuple[int, int], bytes]:
    """Where the digest of an ONNX file stands, and its card."""
    data = memoryview(content)
    try:
        found = dict(
            _entry(data, a, b) for number, a, b in _fields(data, 0, len(data)) if number == METADATA and b >= 0
        )
        graphs = sum(number == GRAPH for number, *_ in _fields(data, 0, len(data)))
        if graphs != 1:
            raise ValueError("it has no graph" if not graphs else "it has several graphs")
        _refuse_external(data, "model", 0, len(data))
    except (ValueError, IndexError) as error:
        raise ModelFileError(f"{name}: not an ONNX file, or a damaged one ({error})", FIX) from None
    if (place := found.get(DIGEST.encode())) is None or place[1] - place[0] != len(ZEROS):
        raise ModelFileError(
            f"{name}: an ONNX file that Podium did not write: it has no classes and no preprocessing",
            "without them a prediction would be a guess; export the run with `podium export`",
        )
    card = found.get(CARD.encode(), (0, 0))
    return place, content[slice(*card)]


def _checked(name: str, said: bytes, actual: str, card: bytes) -> dict[str, Any]:
    if said != actual.encode():
        raise ModelFileError(
            f"{name}: damaged (sha256 {actual[:12]}, it says {said[:12].decode(errors='replace')})", FIX
        )
    try:
        content = json.loads(card)
        if where := not_finite(content):
            raise ModelFileError(f"{name}: {where} in its card is not a finite number", FIX)
        if content["format"] > FORMAT:
            raise ModelFileError(f"{name}: made by a newer Podium (format {content['format']})", "update podium")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelFileError(f"{name}: its card cannot be read ({type(error).__name__}: {error})", FIX) from None
    return content


def read_onnx(name: str, content: bytes) -> dict[str, Any]:
    """The card of an ONNX file's bytes, if they are the ones that were exported.

    Args:
        name: for messages.

    Raises:
        ModelFileError: not ONNX, cut, changed, not Podium's, or with weights outside the file.
    """
    place, card = _place(name, content)
    return _checked(name, content[slice(*place)], _digest(place, memoryview(content)), card)


def seal_onnx(content: bytes) -> bytes:
    """The file with its digest, in place of the zeros under `DIGEST` in its metadata."""
    (start, end), _ = _place("the export", content)
    return content[:start] + _digest((start, end), memoryview(content)).encode() + content[end:]


# OpenVINO writes <rt_info><podium><card value="..."/><sha256 value="..."/></podium></rt_info>.
IR_DIGEST = re.compile(rb'<sha256 value="([0-9a-f]{64})"')
IR_CARD = re.compile(rb'<card value="[^"]*"')


def _ir_place(name: str, content: bytes) -> tuple[int, int]:
    found = list(IR_DIGEST.finditer(content))
    if len(found) != 1 or b"<net " not in content:
        raise ModelFileError(
            f"{name}: not an OpenVINO file that Podium wrote", "export the run with `podium export --format openvino`"
        )
    return found[0].span(1)


def read_ir(name: str, xml: bytes, weights: bytes) -> dict[str, Any]:
    """The card of an OpenVINO file's bytes (`.xml` and `.bin`), if they are the ones that were exported.

    Raises:
        ModelFileError: not OpenVINO's, cut, changed, or not Podium's.
    """
    from xml.etree import ElementTree

    place = _ir_place(name, xml)
    actual = _digest(place, memoryview(xml), memoryview(weights))
    if xml[slice(*place)] != actual.encode():
        return _checked(name, xml[slice(*place)], actual, b"")
    try:
        card = ElementTree.fromstring(xml).find("rt_info/podium/card")  # noqa: S314 - the digest held
    except ElementTree.ParseError as error:
        raise ModelFileError(f"{name}: not an OpenVINO file ({error})", FIX) from None
    return _checked(name, actual.encode(), actual, (card.get("value", "") if card is not None else "").encode())


def seal_ir(xml: bytes, weights: bytes) -> bytes:
    """The `.xml` with the digest of both files in place of its zeros."""
    start, end = _ir_place("the export", xml)
    return xml[:start] + _digest((start, end), memoryview(xml), memoryview(weights)).encode() + xml[end:]


def amend_ir(name: str, xml: bytes, weights: bytes, more: dict[str, Any]) -> bytes:
    """The `.xml` with more in its card, and with the digest of both files.

    Args:
        name: for messages.
        xml, weights: the files.
        more: entries of the card.

    Raises:
        ModelFileError: not OpenVINO's, cut, changed, or not Podium's.
    """
    from xml.sax.saxutils import quoteattr

    card = json_text({**read_ir(name, xml, weights), **more})
    start, end = _ir_place(name, xml)
    xml = IR_CARD.sub(
        lambda _: b"<card value=" + quoteattr(card, {'"': "&quot;"}).encode(), xml[:start] + ZEROS + xml[end:], count=1
    )
    return seal_ir(xml, weights)
