"""What an exported file says of itself, checked before an engine opens it: digest, card, and the graph that the card is about."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podium.data.names import show
from podium.data.preprocessing import Preprocessing
from podium.deployment.protobuf import Port
from podium.deployment.sealed import FIX, Sealed, read_ir, read_onnx
from podium.errors import ModelFileError
from podium.runs.card import card_read, facts_of

OUTPUTS = ("logits", "probabilities")
HEAT_MAP = "heat_map"  # a third output, of files whose card has this key with its height, width and span


def files_of(path: Path) -> list[Path]:
    """An exported file, with that of its weights where its format has one of its own; a `.bin` beside others is not theirs."""
    return [path, path.with_suffix(".bin")] if path.suffix.lower() == ".xml" else [path]


@dataclass(frozen=True)
class Described:
    """An exported file without its network.

    Args:
        classes: in the order of the logits.
        preprocessing: from an image file to the square that the graph takes.
        card: the metadata in the file.
        digest: the SHA-256 of the file, and of the weights beside it, that it carries.
    """

    classes: tuple[str, ...]
    preprocessing: Preprocessing
    card: dict[str, Any]
    digest: str


def described(path: Path) -> Described:
    """Read all of an exported file but its network.

    Args:
        path: `.onnx`, or `.xml` with its `.bin` beside it.

    Raises:
        ModelFileError: missing, damaged, changed, not Podium's, with weights outside itself, or with a card that is not its
            graph's.
    """
    name, content = show(path), read_bytes(path)
    ir = path.suffix.lower() == ".xml"
    sealed = read_ir(name, content, read_bytes(path.with_suffix(".bin"))) if ir else read_onnx(name, content)
    with card_read(name, FIX):
        facts, inside = facts_of(sealed.card), sealed.card["preprocessing_inside"]
        if not isinstance(inside, bool):
            raise ValueError(f"preprocessing_inside: {inside!r}")
        outputs = outputs_by(sealed.card, len(facts.classes))
        refuse_other_graph(sealed, facts.preprocessing, outputs, inside)
    return Described(facts.classes, facts.preprocessing, sealed.card, sealed.digest)


def outputs_by(card: dict[str, Any], classes: int) -> list[Port]:
    """The outputs that a graph has by its card.

    Raises:
        ValueError: the card says no size of the heat map, or a span that is none.
    """
    outputs = [Port(name, "float32", (None, classes)) for name in OUTPUTS]
    if (said := card.get(HEAT_MAP)) is not None:
        sides = [said.get(side) for side in ("height", "width")] if isinstance(said, dict) else [said]
        if not all(isinstance(side, int) and side > 0 for side in sides) or len(sides) != 2:
            raise ValueError(f"{HEAT_MAP}: {said!r}")
        if not 0 < span_read(card) < math.inf:
            raise ValueError(f"{HEAT_MAP}: {said!r}")
        outputs.append(Port(HEAT_MAP, "float32", (None, *sides)))
    return outputs


def span_read(card: dict[str, Any]) -> float:
    """The span of a file's heat maps, as of `Predictor.span`; files of earlier versions, which name none, have 1."""
    return float(card[HEAT_MAP].get("span", 1.0))


def refuse_other_graph(sealed: Sealed, preprocessing: Preprocessing, outputs: list[Port], inside: bool) -> None:
    """Refuse a card that says another image size, number of channels or classes, or another heat map than the graph has.

    Raises:
        ValueError: names the input or the output, and what the card would have it be.
    """
    size, channels = preprocessing.image_size, preprocessing.channels
    sides = (size, size, channels) if inside else (channels, size, size)
    kind = "uint8" if inside else "float32"
    if len(sealed.inputs) != 1:
        raise ValueError(f"the graph has {len(sealed.inputs)} inputs, where one is the image")
    (image,) = sealed.inputs
    wanted = [Port(image.name, kind, (None, *sides)), *outputs]
    given, names = ([port.name for port in each] for each in (sealed.outputs, outputs))
    if given != names:
        raise ValueError(f"the graph gives {', '.join(given)}, and by the card it would give {', '.join(names)}")
    for port, ours in zip((image, *sealed.outputs), wanted, strict=True):
        if (port.kind, port.sides[1:]) != (ours.kind, ours.sides[1:]) or len(port.sides) != len(ours.sides):
            raise ValueError(f"the graph has {port}, and by the card it would be {ours}")


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        ModelFileError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{show(path)}: cannot be read ({error.strerror})", "check the path") from None
