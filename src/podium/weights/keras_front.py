"""What a Keras model does to pixels in front of its network, from its configuration: Rescaling, Normalization, operations.

Layers of augmentation do nothing in prediction, and are passed over. Constants of `preprocess_input` stand in the model as
operations, TFOpLambda in Keras 2 and operations of their own in Keras 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from podium.weights.front import Front
from podium.weights.keras_layers import Weights, kind_of, snake

MODELS = {"functional", "sequential", "model"}
# What leaves pixels as they are in prediction.
IDLE = {
    "input_layer", "dropout", "spatial_dropout2d", "gaussian_noise", "gaussian_dropout", "alpha_dropout", "identity", "cast",
    "rand_augment", "aug_mix", "mix_up", "cut_mix", "activity_regularization",
}  # fmt: skip
SIZES = {"resizing", "random_crop", "center_crop"}
PADS = {"zero_padding2d", "zero_padding2_d"}
EPSILON = 1e-7  # Keras's least deviation in Normalization
# Functions of TensorFlow in a TFOpLambda, and operations of Keras 3: (scale, offset) that a constant is.
_OPERATIONS = {
    "multiply": lambda value: (value, 0.0),
    "divide": lambda value: (1 / value, 0.0),
    "add": lambda value: (1.0, value),
    "subtract": lambda value: (1.0, -value),
}
_SAME = {"truediv": "divide", "true_divide": "divide", "div": "divide", "mul": "multiply", "sub": "subtract",
         "bias_add": "add", "getitem": "get_item"}  # fmt: skip


class _UnclearError(Exception):
    """What a layer does to pixels cannot be said as a scale and an offset."""


def read_front(config: Any, statistics: Mapping[str, Weights]) -> Front | None:
    """Read what a model does to pixels before its first layer with weights.

    Args:
        config: of the model, as Keras saves it, or the part of it that is known.
        statistics: mean and variance of the Normalization layers, by their names.

    Returns:
        The scale and offset; None where the model does nothing to pixels.
    """
    scale, offset = np.ones(1), np.zeros(1)
    order, problem, straight, padded = "rgb", "", True, False
    layers, notes = list[str](), list[str]()
    entries = _in_order(config)
    try:
        for entry, follows in entries:
            kind, name = snake(entry["class_name"]), _name(entry)
            straight = straight and follows
            if kind_of(entry):
                break
            if kind in SIZES:
                size = "x".join(str(entry["config"].get(side)) for side in ("height", "width"))
                notes.append(f"{name} in the file makes images {size} pixels; Podium makes them the network's own size")
            elif kind in PADS:
                padded = True
            elif not (kind in MODELS or kind in IDLE or kind.startswith("random_") or _is_cast(entry)):
                layers.append(name)
                if padded:
                    raise _UnclearError(f"{name!r} comes after a layer that pads images")
                if (step := _step(entry, statistics)) is None:
                    order, scale, offset = "bgr" if order == "rgb" else "rgb", scale[::-1], offset[::-1]
                else:
                    scale, offset = scale * step[0], offset * step[0] + step[1]
        else:
            return None  # no layer with weights: what comes before it is not known
        if layers and not straight:
            raise _UnclearError(f"the layers up to {name!r} do not follow one after the other")
        late = (_name(entry) for entry, _ in entries if snake(entry["class_name"]) in ("rescaling", "normalization"))
        if (between := next(late, None)) is not None:
            layers.append(between)
            raise _UnclearError(f"{between!r} stands behind the network's first layer")
    except _UnclearError as error:
        problem = f"what it does to pixels cannot be said as a mean and a standard deviation: {error}"
    if not (layers or notes):
        return None
    return Front(tuple(layers), tuple(scale.tolist()), tuple(offset.tolist()), order, problem, tuple(notes))


def _in_order(model: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Every layer, those of nested models after the model, and whether it reads only what the one before it gives."""
    inside = model["config"]
    before = ""
    for entry in inside.get("layers", ()) if isinstance(inside, dict) else inside:
        read = set(_read_by(entry.get("inbound_nodes", ())))
        yield entry, not read or read == {before}
        before = _name(entry)
        if snake(entry["class_name"]) in MODELS:
            yield from _in_order(entry)


def _name(entry: Mapping[str, Any]) -> str:
    """The name of a layer, which Keras keeps in two places."""
    config = entry["config"]  # a list for a Sequential of Keras 1
    return str(entry.get("name") or (isinstance(config, dict) and config.get("name")) or entry["class_name"])


def _read_by(nodes: Any) -> Iterator[str]:
    """The names of the layers that a layer reads: Keras 2 and 3 both write each as [name, number of node, number of tensor, ...]."""
    if isinstance(nodes, dict):
        nodes = list(nodes.values())
    if isinstance(nodes, list | tuple):
        if len(nodes) >= 3 and isinstance(nodes[0], str) and all(isinstance(n, int) for n in nodes[1:3]):
            yield nodes[0]
        for inner in nodes:
            yield from _read_by(inner)


def _is_cast(entry: Mapping[str, Any]) -> bool:
    return entry["config"].get("function") == "cast"


def _step(entry: Mapping[str, Any], statistics: Mapping[str, Weights]) -> tuple[Any, Any] | None:
    """The scale and offset of one layer; None for one that turns red first into blue first."""
    kind, config, name = snake(entry["class_name"]), entry["config"], _name(entry)
    if kind == "rescaling":
        if config.get("scale") is None:
            raise _UnclearError(f"the file does not say by what {name!r} (Rescaling) multiplies")
        return _numbers(config["scale"], name), _numbers(config.get("offset", 0.0), name)
    if kind == "normalization":
        return _normalization(config, name, statistics)
    function = str(config.get("function", "")).rpartition(".")[2]
    operation = function or kind
    operation = _SAME.get(operation, operation)
    given = _given(entry)
    if operation == "get_item" and _turns_channels(given):
        return None
    if operation in _OPERATIONS and len(given) == 1:
        return _OPERATIONS[operation](_numbers(given[0], name))
    raise _UnclearError(f"it is not known what {name!r} ({entry['class_name']}) does to them")


def _normalization(config: Mapping[str, Any], name: str, statistics: Mapping[str, Weights]) -> tuple[Any, Any]:
    """(x - mean) / deviation, or its inverse."""
    held = statistics.get(name)
    if held is None and len(statistics) == 1:  # TensorFlow calls them "mean:0", without the layer's name
        held = next(iter(statistics.values()))
    mean, variance = (
        config[key] if config.get(key) is not None else (held or {}).get(key) for key in ("mean", "variance")
    )
    if mean is None or variance is None:
        raise _UnclearError(f"the file has no mean and variance of {name!r} (Normalization)")
    mean = _numbers(mean, name)
    deviation = np.maximum(np.sqrt(_numbers(variance, name)), EPSILON)
    return (deviation, mean) if config.get("invert") else (1 / deviation, -mean / deviation)


def _given(entry: Mapping[str, Any]) -> list[Any]:
    """What an operation is given beside the image, which must come first."""
    nodes: Any = entry.get("inbound_nodes", ())
    if len(nodes) == 1 and isinstance(nodes[0], dict):  # Keras 3
        values = [*nodes[0].get("args", ()), *nodes[0].get("kwargs", {}).values()]
    else:
        flat: Any = nodes[0] if len(nodes) == 1 else ()
        flat = flat[0] if len(flat) == 1 else flat
        more = flat[3] if len(flat) > 3 and isinstance(flat[3], dict) else {}
        values = ["image", *(value for key, value in more.items() if key not in ("name", "data_format"))]
    first = values[0] if values else None
    if first != "image" and not (isinstance(first, dict) and first.get("class_name") == "__keras_tensor__"):
        raise _UnclearError(f"{_name(entry)!r} reads something before the image")
    return [value for value in values[1:] if value is not None]


def _turns_channels(given: list[Any]) -> bool:
    """Whether an index is `[..., ::-1]`."""
    slices = list(_slices(given))
    return slices == [(None, None, -1)] and "ellipsis" in str(given).lower()


def _slices(value: Any) -> Iterator[tuple[Any, Any, Any]]:
    """The start, stop and step of every slice in an index as Keras writes it."""
    if isinstance(value, dict) and {"start", "stop", "step"} <= value.keys():
        yield value["start"], value["stop"], value["step"]
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _slices(inner)


def _numbers(value: Any, name: str) -> np.ndarray:
    """A number, or one a channel, also as Keras writes arrays."""
    if isinstance(value, dict) and isinstance(value.get("config"), dict):
        value = value["config"].get("value")
    try:
        array = np.atleast_1d(np.asarray(value, np.float64).squeeze())
    except (TypeError, ValueError):
        array = np.zeros((0, 0))
    if array.ndim != 1 or array.size == 0:
        raise _UnclearError(f"{name!r} has no number for each channel")
    return array
