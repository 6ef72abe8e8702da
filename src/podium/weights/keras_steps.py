"""What one layer of Keras does to pixels: a scale and an offset, a turn of the channels, nothing, or what is refused.

Constants of `preprocess_input` stand in a model as operations: TFOpLambda in Keras 2, operations of their own in Keras 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from podium.weights.front import FIX, WITHOUT
from podium.weights.keras_kinds import BEYOND, CROPS, TURNS
from podium.weights.keras_layers import Weights, snake

EPSILON = 1e-7  # Keras's least deviation in Normalization
TURN = "turns channels"  # the key of an entry that stands for three operations which turn red first into blue first
CANNOT = f"Podium cannot do that to pixels, and no mean and standard deviation can: {WITHOUT}"
CROP = "Podium does not cut images as that layer does: cut your images in this way yourself, and save the model without the layer"
MAYBE = (
    "if all it does is to multiply and to add, say by what: podium import ... --mean M --std S, for pixels from 0 to 1"
)
# Functions of TensorFlow in a TFOpLambda, and operations of Keras 3: (scale, offset) that a constant is.
_OPERATIONS = {
    "multiply": lambda value: (value, 0.0),
    "divide": lambda value: (1 / value, 0.0),
    "add": lambda value: (1.0, value),
    "subtract": lambda value: (1.0, -value),
}
_SAME = {"truediv": "divide", "true_divide": "divide", "div": "divide", "mul": "multiply", "sub": "subtract",
         "bias_add": "add", "getitem": "get_item"}  # fmt: skip
_IMAGE = "the image"  # among what an operation is given


class UnclearError(Exception):
    """What a layer does to pixels cannot be said as a scale and an offset.

    Args:
        why: in words.
        fix: what helps.
    """

    def __init__(self, why: str, fix: str = FIX) -> None:
        super().__init__(why)
        self.fix = fix


def passes_on(entry: Mapping[str, Any], shape: tuple[Any, ...]) -> bool:
    """Whether a layer gives the pixels that it reads, in the same order.

    Args:
        entry: of the layer.
        shape: of an image there; empty where it is not known.
    """
    operation, config = operation_of(entry), entry["config"]
    if operation == "reshape":
        batch, *target = config.get("newshape") or (
            None,
            *config.get("target_shape", ()),
        )  # of an operation, of a layer
        return len(shape) == 3 and batch in (None, -1) and tuple(target) == shape
    return (
        (operation == "cast" and _is_of_floats(entry))
        or (operation == "activation" and config.get("activation") == "linear")
        or (operation == "permute" and tuple(config.get("dims", ())) == (1, 2, 3))
    )


def _is_of_floats(entry: Mapping[str, Any]) -> bool:
    """Whether a cast is to floats. Its type is among the settings, or what it is given; settings of a TFOpLambda have another."""
    own = [] if entry["config"].get("function") else [entry["config"].get("dtype")]
    types = [value for value in (*own, *_arguments(entry)) if isinstance(value, str) and value != _IMAGE]
    return bool(types) and all("float" in value for value in types)


def name_of(entry: Mapping[str, Any]) -> str:
    """The name of a layer, which Keras keeps in two places."""
    config = entry["config"]  # a list for a Sequential of Keras 1
    return str(entry.get("name") or (isinstance(config, dict) and config.get("name")) or entry["class_name"])


def read_by(nodes: Any) -> Iterator[str]:
    """The names of the layers that a layer reads: Keras 2 and 3 both write each as [name, number of node, number of tensor, ...]."""
    if isinstance(nodes, dict):
        nodes = list(nodes.values())
    if isinstance(nodes, list | tuple):
        if len(nodes) >= 3 and isinstance(nodes[0], str) and all(isinstance(n, int) for n in nodes[1:3]):
            yield from [nodes[0]] if nodes[0] != "_CONSTANT_VALUE" else []  # a number of Keras 2 that comes first
        for inner in nodes:
            yield from read_by(inner)


def step(entry: Mapping[str, Any], statistics: Mapping[str, Weights]) -> tuple[Any, Any] | None:
    """The scale and offset of one layer; None for one that turns red first into blue first.

    Raises:
        UnclearError: it does something else, or what it does is not known.
    """
    kind, config, name = snake(entry["class_name"]), entry["config"], name_of(entry)
    if entry.get("doubt"):
        raise UnclearError(str(entry["doubt"]), entry.get("fix") or (MAYBE if kind == "lambda" else FIX))
    if kind == "rescaling":
        if config.get("scale") is None:
            raise UnclearError(f"the file does not say by what {name!r} (Rescaling) multiplies")
        return _numbers(config["scale"], name), _numbers(config.get("offset", 0.0), name)
    if kind == "normalization":
        return _normalization(config, name, statistics)
    operation = operation_of(entry)
    if operation in CROPS:
        raise UnclearError(f"{name!r} ({entry['class_name']}) cuts images", CROP)
    if operation in TURNS and _axes(entry) in ([-1], [3]):
        return None
    if operation in BEYOND:
        raise UnclearError(f"{name!r} ({entry['class_name']}) does more than to multiply and to add", CANNOT)
    if entry.get(TURN):
        return None
    given = _given(entry)
    if operation == "get_item" and _turns_channels(given):
        return None
    if operation in _OPERATIONS and len(given) == 1:
        return _OPERATIONS[operation](_numbers(given[0], name))
    raise UnclearError(f"it is not known what {name!r} ({entry['class_name']}) does to them", MAYBE)


def operation_of(entry: Mapping[str, Any]) -> str:
    """What an operation is called, by one name for each: "divide" for truediv, TrueDivide and the like."""
    config = entry["config"]  # a list for a Sequential of Keras 1
    function = str(config.get("function", "")).rpartition(".")[2] if isinstance(config, dict) else ""
    operation = function or snake(entry["class_name"])
    return _SAME.get(operation, operation)


def _normalization(config: Mapping[str, Any], name: str, statistics: Mapping[str, Weights]) -> tuple[Any, Any]:
    """(x - mean) / deviation, or its inverse."""
    held = statistics.get(name)
    if held is None and len(statistics) == 1:  # TensorFlow calls them "mean:0", without the layer's name
        held = next(iter(statistics.values()))
    mean, variance = (
        config[key] if config.get(key) is not None else (held or {}).get(key) for key in ("mean", "variance")
    )
    if mean is None or variance is None:
        raise UnclearError(f"the file has no mean and variance of {name!r} (Normalization)")
    axes = np.ravel(config.get("axis") or []).tolist()
    if any(axis not in (-1, 3) for axis in axes) or any(map(_is_map, (mean, variance))):
        raise UnclearError(f"{name!r} (Normalization) has a mean for each row, column or pixel of an image", CANNOT)
    mean = _numbers(mean, name)
    deviation = np.maximum(np.sqrt(_numbers(variance, name)), EPSILON)
    return (deviation, mean) if config.get("invert") else (1 / deviation, -mean / deviation)


def _arguments(entry: Mapping[str, Any]) -> Iterator[Any]:
    """What an operation is given, in order, with `_IMAGE` for what another layer gives."""
    nodes: Any = entry.get("inbound_nodes", ())
    if len(nodes) == 1 and isinstance(nodes[0], dict):  # Keras 3
        values = [*nodes[0].get("args", ()), *nodes[0].get("kwargs", {}).values()]
        yield from (_IMAGE if _is_tensor(value) else value for value in values if value is not None)
        return
    flat: Any = nodes[0] if len(nodes) == 1 else ()
    flat = flat[0] if len(flat) == 1 else flat
    yield flat[2] if len(flat) > 2 and flat[0] == "_CONSTANT_VALUE" else _IMAGE
    more = flat[3] if len(flat) > 3 and isinstance(flat[3], dict) else {}
    for key, value in more.items():
        if key not in ("name", "data_format") and value is not None:
            yield _IMAGE if list(read_by(value)) else value


def _is_tensor(value: Any) -> bool:
    return isinstance(value, dict) and value.get("class_name") == "__keras_tensor__"


def _given(entry: Mapping[str, Any]) -> list[Any]:
    """What an operation is given beside the image, which comes first where the order matters."""
    values = list(_arguments(entry))
    if values[1:] == [_IMAGE] and operation_of(entry) in ("multiply", "add"):
        values.reverse()
    if values[1:] == [_IMAGE] and operation_of(entry) in ("subtract", "divide"):
        raise UnclearError(f"{name_of(entry)!r} subtracts pixels from a number or divides a number by them", CANNOT)
    if not values or not _is_image(values[0]) or any(map(_is_image, values[1:])):
        raise UnclearError(f"{name_of(entry)!r} reads something before or beside the image", MAYBE)
    return values[1:]


def _axes(entry: Mapping[str, Any]) -> list[Any]:
    """The axes that an operation is given, which is among its settings, or the last thing that it is given."""
    axes: list[Any] = np.ravel([entry["config"].get("axis", [*_arguments(entry)][-1:])]).tolist()
    return axes


def _is_image(value: Any) -> bool:
    return isinstance(value, str) and value == _IMAGE


def _turns_channels(given: list[Any]) -> bool:
    """Whether an index is `[..., ::-1]`."""
    slices = list(_slices(given))
    return slices == [(None, None, -1)] and "ellipsis" in str(given).lower()


def join_turns(entries: Iterable[tuple[dict[str, Any], bool]]) -> list[tuple[dict[str, Any], bool]]:
    """The same layers, with one in place of `stack([x[..., 2], x[..., 1], x[..., 0]], -1)`, as Keras 3's `preprocess_input` has it.

    Args:
        entries: layers, and whether each reads only what the one before it gives.
    """
    joined: list[tuple[dict[str, Any], bool]] = []
    for entry, follows in entries:
        three = joined[-3:]
        if snake(entry["class_name"]) == "stack" and _stacks_blue_first(entry, [layer for layer, _ in three]):
            joined[-3:] = [(entry | {TURN: True}, three[0][1])]
        else:
            joined.append((entry, follows))
    return joined


def _stacks_blue_first(stack: Mapping[str, Any], three: list[dict[str, Any]]) -> bool:
    """Whether a Stack puts together channels 2, 1 and 0 of one image, which the three layers before it take."""
    nodes = [list(read_by(layer.get("inbound_nodes", ()))) for layer in (*three, stack)]
    same = nodes[:-1] == nodes[:1] * 3 and nodes[-1] == [name_of(layer) for layer in three]
    return same and stack["config"].get("axis") in (-1, 3) and [_channel(layer) for layer in three] == [2, 1, 0]


def _channel(entry: Mapping[str, Any]) -> Any:
    """The channel that an operation takes of an image, by the index `[..., 2]`; None for what does something else."""
    if operation_of(entry) != "get_item":
        return None
    match list(_arguments(entry)):
        case [image, [{"class_name": "__ellipsis__"}, channel]] if _is_image(image):
            return channel
    return None


def _slices(value: Any) -> Iterator[tuple[Any, Any, Any]]:
    """The start, stop and step of every slice in an index as Keras writes it."""
    if isinstance(value, dict) and {"start", "stop", "step"} <= value.keys():
        yield value["start"], value["stop"], value["step"]
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _slices(inner)


def size_given(entry: Mapping[str, Any], shape: tuple[Any, ...]) -> tuple[int | None, int | None]:
    """The height and width that a layer or an operation gives images; None where the file does not say it.

    Args:
        entry: of the layer.
        shape: of an image in front of it; empty where it is not known.
    """
    config = entry["config"]
    sides = [config.get("height"), config.get("width")]
    if operation_of(entry) == "up_sampling2d":
        times = [*np.ravel(config.get("size", ())).tolist(), None, None]
        sides = [
            n * by if isinstance(n, int) and isinstance(by, int) else None for n, by in zip(shape, times, strict=False)
        ]
    elif None in sides:
        sides = next((list(v) for v in (config.get("size"), *_arguments(entry)) if isinstance(v, list | tuple)), sides)
    whole = [side if isinstance(side, int) else None for side in (*sides, None, None)]
    return whole[0], whole[1]


def _is_map(value: Any) -> bool:
    """Whether numbers are of more than the channels."""
    try:
        return np.asarray(value, np.float64).squeeze().ndim > 1
    except (TypeError, ValueError):
        return False


def _numbers(value: Any, name: str) -> np.ndarray:
    """A number, or one a channel, also as Keras writes arrays."""
    if isinstance(value, dict) and isinstance(value.get("config"), dict):
        value = value["config"].get("value")
    try:
        array = np.atleast_1d(np.asarray(value, np.float64).squeeze())
    except (TypeError, ValueError):
        array = np.zeros((0, 0))
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
        raise UnclearError(f"{name!r} has no finite number for each channel")
    return array
