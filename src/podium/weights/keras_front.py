"""What a Keras model does to pixels in front of its network, from its configuration: Rescaling, Normalization, operations.

Layers of augmentation do nothing in prediction, and are passed over. Constants of `preprocess_input` stand in the model as
operations, TFOpLambda in Keras 2 and operations of their own in Keras 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from podium.errors import ModelFileError
from podium.weights.front import Front
from podium.weights.keras_layers import Weights, kind_of, snake

MODELS = {"functional", "sequential", "model"}
# What leaves pixels as they are in prediction.
IDLE = {
    "input_layer", "dropout", "spatial_dropout2d", "gaussian_noise", "gaussian_dropout", "alpha_dropout", "identity", "cast",
    "rand_augment", "aug_mix", "mix_up", "cut_mix", "activity_regularization",
}  # fmt: skip
RESCALES = {"rescaling", "normalization"}
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

    Raises:
        ModelFileError: a layer behind that first one changes what the network answers.
    """
    entries = list(_in_order(config))
    weighted = [number for number, (entry, _) in enumerate(entries) if kind_of(entry)]
    if not weighted:
        return None  # what comes before the network is not known
    _refuse_behind([entry for entry, _ in entries], weighted[0], weighted[-1])
    done = _Done()
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused by the layer's name
            for entry, _ in entries[: weighted[0]]:
                _follow(entry, done, statistics)
        if done.layers and not all(follows for _, follows in entries[: weighted[0] + 1]):
            raise _UnclearError(
                f"the layers up to {_name(entries[weighted[0]][0])!r} do not follow one after the other"
            )
    except _UnclearError as error:
        done.problem = f"what it does to pixels cannot be said as a mean and a standard deviation: {error}"
    if not (done.layers or done.notes):
        return None
    scale, offset = (tuple(values.tolist()) for values in (done.scale, done.offset))
    return Front(tuple(done.layers), scale, offset, done.order, done.problem, tuple(done.notes))


def _refuse_behind(entries: Sequence[Mapping[str, Any]], first: int, last: int) -> None:
    """Refuse layers that rescale behind a network's first layer with weights, and what computes behind its head."""
    for number, entry in enumerate(entries[first:], first):
        kind, name = snake(entry["class_name"]), _name(entry)
        # Behind a norm, as where a network has no head, arithmetic is the network's own.
        answers = number > last and kind_of(entries[last]) in ("dense", "conv2d")
        if kind in RESCALES or (answers and (kind in ("lambda", "unit_normalization") or _adds_or_multiplies(entry))):
            where = f"behind the network's {'last' if number > last else 'first'} layer with weights"
            raise behind(name, entry["class_name"], f"it stands {where}")


def behind(name: str, kind: str, why: str) -> ModelFileError:
    """The refusal of a layer that changes what the network answers, which no mean and standard deviation say."""
    what = f"the layer {name!r} ({kind}) in it changes the network's answers and not its pixels: {why}"
    return ModelFileError(
        what, "save the model without that layer, if its answers are right without it; else this is another network"
    )


@dataclass
class _Done:
    """What the layers up to one do to pixels."""

    scale: np.ndarray = field(default_factory=lambda: np.ones(1))
    offset: np.ndarray = field(default_factory=lambda: np.zeros(1))
    order: str = "rgb"
    shape: tuple[Any, ...] = ()  # of an image; empty where it is not known
    padded: bool = False
    layers: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problem: str = ""


def _follow(entry: Mapping[str, Any], done: _Done, statistics: Mapping[str, Weights]) -> None:
    """Take one layer in front of the network into account."""
    kind, name, config = snake(entry["class_name"]), _name(entry), entry["config"]
    given = isinstance(config, dict) and (config.get("batch_shape") or config.get("batch_input_shape"))
    done.shape = tuple(given[1:]) if given else done.shape
    if kind in SIZES:
        sides = config.get("height"), config.get("width")
        done.shape = (*sides, *done.shape[2:])
        size = "x".join(map(str, sides))
        done.notes.append(f"{name} in the file makes images {size} pixels; Podium makes them the network's own size")
    elif kind in PADS:
        done.padded = True
    elif not (kind in MODELS or kind in IDLE or kind.startswith("random_") or _does_nothing(entry, done.shape)):
        done.layers.append(name)
        if done.padded:
            raise _UnclearError(f"{name!r} comes after a layer that pads images")
        if (step := _step(entry, statistics)) is None:
            done.order = "bgr" if done.order == "rgb" else "rgb"
            done.scale, done.offset = done.scale[::-1], done.offset[::-1]
            return
        if len({array.size for array in (done.scale, done.offset, *map(np.atleast_1d, step))} - {1}) > 1:
            raise _UnclearError(f"{name!r} is of another number of channels than what comes before it")
        done.scale, done.offset = done.scale * step[0], done.offset * step[0] + step[1]
        if not (np.isfinite(done.scale).all() and np.isfinite(done.offset).all()):
            why = "as behind a division by 0 or the root of a negative variance"
            raise _UnclearError(f"with {name!r} ({entry['class_name']}) the numbers are not finite, {why}")


def _does_nothing(entry: Mapping[str, Any], shape: tuple[Any, ...]) -> bool:
    """Whether a layer gives the pixels that it reads, in the same order."""
    kind, config = snake(entry["class_name"]), entry["config"]
    return (
        config.get("function") == "cast"
        or (kind == "activation" and config.get("activation") == "linear")
        or (kind == "permute" and tuple(config.get("dims", ())) == (1, 2, 3))
        or (kind == "reshape" and len(shape) == 3 and tuple(config.get("target_shape", ())) == shape)
    )


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


def _step(entry: Mapping[str, Any], statistics: Mapping[str, Weights]) -> tuple[Any, Any] | None:
    """The scale and offset of one layer; None for one that turns red first into blue first."""
    kind, config, name = snake(entry["class_name"]), entry["config"], _name(entry)
    if entry.get("doubt"):
        raise _UnclearError(entry["doubt"])
    if kind == "rescaling":
        if config.get("scale") is None:
            raise _UnclearError(f"the file does not say by what {name!r} (Rescaling) multiplies")
        return _numbers(config["scale"], name), _numbers(config.get("offset", 0.0), name)
    if kind == "normalization":
        return _normalization(config, name, statistics)
    operation, given = _operation(entry), _given(entry)
    if operation == "get_item" and _turns_channels(given):
        return None
    if operation in _OPERATIONS and len(given) == 1:
        return _OPERATIONS[operation](_numbers(given[0], name))
    raise _UnclearError(f"it is not known what {name!r} ({entry['class_name']}) does to them")


def _operation(entry: Mapping[str, Any]) -> str:
    """What an operation is called, by one name for each: "divide" for truediv, TrueDivide and the like."""
    config = entry["config"]  # a list for a Sequential of Keras 1
    function = str(config.get("function", "")).rpartition(".")[2] if isinstance(config, dict) else ""
    operation = function or snake(entry["class_name"])
    return _SAME.get(operation, operation)


def _adds_or_multiplies(entry: Mapping[str, Any]) -> bool:
    """Whether a layer is an operation that adds or multiplies a constant, and not the sum of two layers."""
    try:
        return _operation(entry) in _OPERATIONS and [_numbers(value, "") for value in _given(entry)] != []
    except _UnclearError:
        return False


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
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
        raise _UnclearError(f"{name!r} has no finite number for each channel")
    return array
