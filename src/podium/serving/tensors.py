"""Requests and answers of the Open Inference Protocol as bytes: JSON, and the binary extension behind it.

The protocol is https://github.com/kserve/open-inference-protocol, and the extensions are those of Triton's documents
`extension_binary_data.md` and `extension_classification.md`. An element of type BYTES is its length, 4 bytes in little endian,
and its bytes; in JSON it is text, which holds an image in base64.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from podium.deployment.described import HEAT_MAP
from podium.deployment.runtime import Exported
from podium.runs.answers import UNKNOWN
from podium.serving.bodies import MOST_IMAGES
from podium.web.problems import Problem, json_bytes

INPUT = "image"
MOST_VALUES = 10_000  # of the JSON, whose parser keeps all requests waiting, and takes 20 times the bytes
HEADER = "Inference-Header-Content-Length"
FIX = "send one input called image, of type BYTES and shape [N], with the images' bytes; /docs shows it"


@dataclass(frozen=True)
class Wanted:
    """An output that a request wants.

    Args:
        name: of it.
        binary: whether its values come behind the JSON.
        classes: where above 0, so many classes as texts "probability:number:name" in place of the values.
    """

    name: str
    binary: bool = False
    classes: int = 0


@dataclass(frozen=True)
class Inference:
    """A request.

    Args:
        id: by which the client finds its answer again; None: it gave none.
        images: their bytes.
        outputs: those that it wants.
    """

    id: str | None
    images: list[bytes]
    outputs: list[Wanted]


def outputs_of(exported: Exported) -> list[dict[str, Any]]:
    """The outputs of a network, as its metadata lists them."""
    classes = len(exported.classes)
    found: list[dict[str, Any]] = [
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, classes]},
        {"name": "answer", "datatype": "BYTES", "shape": [-1]},
        {"name": "known", "datatype": "BOOL", "shape": [-1]},
    ]
    if exported.has_heat_maps:
        sides = exported.card[HEAT_MAP]
        found.append({"name": HEAT_MAP, "datatype": "FP32", "shape": [-1, sides["height"], sides["width"]]})
    return found


def wrong(what: str, fix: str = FIX) -> Problem:
    """The error for a request that does not keep the protocol."""
    return Problem(400, "inference_refused", what, fix)


def parse_inference(body: bytes, header: str | None, outputs: Sequence[str]) -> Inference:
    """Read a request.

    Args:
        body: JSON, with binary values behind it where the header says where they begin.
        header: the value of `HEADER`; None where it is not there.
        outputs: names of those that the network has.

    Raises:
        Problem: it does not keep the protocol, or wants what is not supported.
    """
    if header is not None and not (header.isascii() and header.isdigit() and int(header) <= len(body)):
        raise wrong(f"{HEADER} is no length within the body")
    end = len(body) if header is None else int(header)
    if sum(body.count(mark, 0, end) for mark in (b"[", b"{", b",")) > MOST_VALUES:
        raise wrong(f"the JSON has more than {MOST_VALUES} values")
    try:
        said = json.loads(body[:end])
    except (ValueError, RecursionError):
        raise wrong("the request is no JSON") from None
    inputs = said.get("inputs") if isinstance(said, dict) else None
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise wrong("the request has not one input")
    given = inputs[0]
    if given.get("name") != INPUT or given.get("datatype") != "BYTES":
        raise wrong("the input is not called image, or is not of type BYTES")
    parameters, identity = _table(given, "parameters"), said.get("id")
    if "shared_memory_region" in parameters:
        raise wrong("shared memory is not supported", "send the images in the request")
    size = parameters.get("binary_data_size")
    if size is not None:
        if isinstance(size, bool) or not isinstance(size, int) or size != len(body) - end:
            raise wrong("binary_data_size is not the length of what follows the JSON")
        images = _elements(body[end:])
    else:
        images = _texts(given.get("data"))
    _check_shape(given.get("shape"), len(images))
    if identity is not None and not isinstance(identity, str):
        raise wrong("the id is no text")
    return Inference(identity, images, _wanted(said, outputs))


def _table(said: dict[str, Any], key: str) -> dict[str, Any]:
    found = said.get(key, {})
    if not isinstance(found, dict):
        raise wrong(f"{key} is no object")
    return found


def _elements(data: bytes) -> list[bytes]:
    """The elements of a binary tensor of type BYTES."""
    found: list[bytes] = []
    at = 0
    while at < len(data):
        if len(found) == MOST_IMAGES:
            raise _too_many()
        size = int.from_bytes(data[at : at + 4], "little")
        if at + 4 + size > len(data):
            raise wrong("an image is longer than what follows the JSON")
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return found


def _texts(data: Any) -> list[bytes]:
    """The elements of a JSON tensor of type BYTES, which may be nested, each an image in base64."""
    while isinstance(data, list) and len(data) == 1 and isinstance(data[0], list):
        data = data[0]
    if isinstance(data, list):
        data = [each[0] if isinstance(each, list) and len(each) == 1 else each for each in data]
    if not isinstance(data, list) or not all(isinstance(each, str) for each in data):
        raise wrong("the data are no list of texts")
    if len(data) > MOST_IMAGES:
        raise _too_many()
    try:
        return [base64.b64decode(each, validate=True) for each in data]
    except (binascii.Error, ValueError):
        raise wrong("a text is not base64", "write images in base64, or send them as binary data") from None


def _too_many() -> Problem:
    what = f"more than {MOST_IMAGES} images in one request"
    return Problem(413, "too_many_images", what, "send them in several requests")


def _check_shape(shape: Any, images: int) -> None:
    whole = isinstance(shape, list) and all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in shape)
    if not whole or len(shape) not in (1, 2) or shape[1:] not in ([], [1]) or shape[0] != images:
        raise wrong("the shape is not [N], with the number of images")


def _wanted(said: dict[str, Any], outputs: Sequence[str]) -> list[Wanted]:
    """The outputs that a request wants; all of them where it names none."""
    every = _table(said, "parameters").get("binary_data_output") is True
    names = said.get("outputs") or [{"name": name} for name in outputs]
    if not isinstance(names, list) or not all(isinstance(each, dict) for each in names):
        raise wrong("the outputs are no list of objects")
    found: list[Wanted] = []
    for each in names:
        how, name = _table(each, "parameters"), each.get("name")
        classes = how.get("classification", 0)
        if name not in outputs or name in [one.name for one in found]:
            raise wrong("an output is unknown, or wanted twice", f"want some of {', '.join(outputs)}")
        if (
            isinstance(classes, bool)
            or not isinstance(classes, int)
            or classes < 0
            or (classes and name != "probabilities")
        ):
            raise wrong("classification is no number of classes, or not of probabilities")
        found.append(Wanted(name, how.get("binary_data", every) is True, classes))
    return found


def encode(
    model: str,
    classes: Sequence[str],
    request: Inference,
    probabilities: np.ndarray,
    chosen: Sequence[int],
    heat_maps: np.ndarray | None = None,
) -> tuple[bytes, dict[str, str]]:
    """Write an answer.

    Args:
        model: its name.
        classes: their names.
        request: what it answers.
        probabilities: (N, K).
        chosen: the number of each image's class, -1 for unknown.
        heat_maps: (N, h, w); None of a network that has none.

    Returns:
        The body, and its headers.
    """
    names = [classes[number] if number >= 0 else UNKNOWN for number in chosen]
    values: dict[str, tuple[str, np.ndarray]] = {
        "probabilities": ("FP32", np.asarray(probabilities, np.float32)),
        "answer": ("BYTES", _bytes(names)),
        "known": ("BOOL", np.asarray(chosen) >= 0),
    }
    if heat_maps is not None:
        values[HEAT_MAP] = ("FP32", np.asarray(heat_maps, np.float32))
    outputs, behind = [], []
    for wanted in request.outputs:
        datatype, array = values[wanted.name]
        if wanted.classes:
            datatype, array = "BYTES", _ranked(array, classes, wanted.classes)
        output: dict[str, Any] = {"name": wanted.name, "datatype": datatype, "shape": list(array.shape)}
        if wanted.binary:
            data = b"".join(map(_element, array.flat)) if datatype == "BYTES" else array.tobytes()
            output["parameters"] = {"binary_data_size": len(data)}
            behind.append(data)
        else:
            flat = array.flatten().tolist()
            output["data"] = [each.decode(errors="replace") for each in flat] if datatype == "BYTES" else flat
        outputs.append(output)
    head = json_bytes(
        {"model_name": model, "model_version": "1", **({"id": request.id} if request.id else {}), "outputs": outputs}
    )
    headers = {HEADER: str(len(head)), "Content-Type": "application/octet-stream"} if behind else {}
    return b"".join([head, *behind]), headers


def _bytes(texts: Sequence[str]) -> np.ndarray:
    return np.array([text.encode(errors="backslashreplace") for text in texts], object)


def _element(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def _ranked(probabilities: np.ndarray, classes: Sequence[str], count: int) -> np.ndarray:
    """The most probable classes of each image, as texts "probability:number:name"."""
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, : min(count, len(classes))]
    texts = [
        f"{row[number]:f}:{number}:{classes[number]}"
        for row, ranks in zip(probabilities, best, strict=True)
        for number in ranks
    ]
    return _bytes(texts).reshape(len(probabilities), math.ceil(len(texts) / max(1, len(probabilities))))
