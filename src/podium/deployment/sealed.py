"""The card inside an exported file, and a digest over all its other bytes.

An ONNX file carries both in its metadata, an OpenVINO file in its `rt_info`. The digest is taken while its own 64 places hold
zeros, as a tar header's sum is. It finds damage and tells files apart; it is no signature.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from podium.deployment.protobuf import GRAPH, METADATA, Port, fields, ports, refuse_external
from podium.errors import ModelFileError
from podium.files import json_text
from podium.runs.card import parse_card

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

CARD, DIGEST = "podium.card", "podium.sha256"
FORMAT = 1  # of cards in exported files
ZEROS = b"0" * 64
FIX = "copy it again, or export it again with `podium export`"
IR_KINDS = {"U8": "uint8", "FP32": "float32"}  # of elements


@dataclass(frozen=True)
class Sealed:
    """What a file that was exported says of itself.

    Args:
        card: the metadata in it.
        digest: the SHA-256 that it carries, which its bytes have.
        inputs, outputs: of its graph.
    """

    card: dict[str, Any]
    digest: str
    inputs: list[Port]
    outputs: list[Port]


def _entry(data: memoryview, start: int, end: int) -> tuple[bytes, tuple[int, int]]:
    """A key of the metadata, and where its value lies."""
    key, where = b"", (end, end)
    for number, a, b in fields(data, start, end):
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
        found = dict(_entry(data, a, b) for number, a, b in fields(data, 0, len(data)) if number == METADATA and b >= 0)
        graphs = sum(number == GRAPH for number, *_ in fields(data, 0, len(data)))
        if graphs != 1:
            raise ValueError("it has no graph" if not graphs else "it has several graphs")
        refuse_external(data, "ModelProto", 0, len(data))
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
    return parse_card(card, FORMAT, name, FIX)


def read_onnx(name: str, content: bytes) -> Sealed:
    """What an ONNX file's bytes say of it, if they are the ones that were exported.

    Args:
        name: for messages.

    Raises:
        ModelFileError: not ONNX, cut, changed, not Podium's, or with weights outside the file.
    """
    (place, card), data = _place(name, content), memoryview(content)
    actual = _digest(place, data)
    found = _checked(name, content[slice(*place)], actual, card)
    return Sealed(found, actual, *ports(data))


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


def read_ir(name: str, xml: bytes, weights: bytes) -> Sealed:
    """What an OpenVINO file's bytes (`.xml` and `.bin`) say of it, if they are the ones that were exported.

    Raises:
        ModelFileError: not OpenVINO's, cut, changed, or not Podium's.
    """
    from xml.etree import ElementTree

    place = _ir_place(name, xml)
    actual = _digest(place, memoryview(xml), memoryview(weights))
    if xml[slice(*place)] != actual.encode():
        _checked(name, xml[slice(*place)], actual, b"")
    try:
        network = ElementTree.fromstring(xml)  # noqa: S314 - the digest held
    except ElementTree.ParseError as error:
        raise ModelFileError(f"{name}: not an OpenVINO file ({error})", FIX) from None
    card = network.find("rt_info/podium/card")
    found = _checked(name, actual.encode(), actual, (card.get("value", "") if card is not None else "").encode())
    return Sealed(found, actual, _ir_ports(network, "Parameter"), _ir_ports(network, "Result"))


def _ir_ports(network: Element, kind: str) -> list[Port]:
    """The inputs (layers of kind "Parameter") or outputs ("Result") of an OpenVINO network."""
    found = []
    for layer in network.iterfind(f"layers/layer[@type='{kind}']"):
        for port in layer.iter("port"):
            name = layer.get("output_names") or port.get("names") or layer.get("name") or ""
            dims = [dim.text or "" for dim in port.iter("dim")]
            sides = tuple(int(dim) if dim.isdecimal() else None for dim in dims)
            precision = port.get("precision") or ""
            found.append(Port(name, IR_KINDS.get(precision, precision), sides))
    return found


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

    card = json_text({**read_ir(name, xml, weights).card, **more})
    start, end = _ir_place(name, xml)
    xml = IR_CARD.sub(
        lambda _: b"<card value=" + quoteattr(card, {'"': "&quot;"}).encode(), xml[:start] + ZEROS + xml[end:], count=1
    )
    return seal_ir(xml, weights)
