"""What layers and operations of Keras without weights do to features or to answers: a closed list, whose rest is unknown."""

from __future__ import annotations

from typing import Any

from podium.weights.keras_graph import Layer, before
from podium.weights.keras_kinds import does_nothing, is_model, own_class
from podium.weights.keras_steps import passes_on

RELUS = ("relu", "relu6")
_ACTIVATIONS = {"linear": "nothing", "softmax": "softmax", "sigmoid": "sigmoid", "relu": "relu", "relu6": "relu6"}
_DOES = {
    "softmax": "softmax", "sigmoid": "sigmoid",
    "relu": "relu", "relu6": "relu6",
    "flatten": "flatten", "reshape": "flatten", "squeeze": "flatten",
    "global_average_pooling2d": "average", "global_average_pooling1d": "average",  # the latter of rows of pixels
}  # fmt: skip
STRIDE = 32  # by which the networks divide the sides of images, rounded up or further down


def does(layer: Layer) -> str:
    """What a layer without weights does; empty where that is not known, or cannot be taken over."""
    kind, settings = layer.kind, layer.settings
    if is_model(layer.entry):  # each of its layers is looked at
        return "nothing"
    if own_class(layer.entry):
        return ""
    if does_nothing(kind) or passes_on(layer.entry, ()):
        return "nothing"
    if kind == "activation":
        return activation(settings.get("activation"))
    if kind == "softmax" and not _of_the_last_axis(layer):
        return ""
    if kind == "re_lu":
        bent = any(_number(settings.get(key)) for key in ("negative_slope", "threshold"))
        return "" if bent else {None: "relu", 6: "relu6"}.get(_number(settings.get("max_value")), "")
    if kind == "average_pooling2d" and _covers(layer):
        return "average"
    if kind in ("mean", "reduce_mean") and setting(layer, "axis") in ([1, 2], [-3, -2]):
        return "average"
    if kind == "adaptive_average_pooling2d" and settings.get("output_size") in (1, [1, 1]):
        return "average"
    return _DOES.get(kind, "")


def activation(given: Any) -> str:
    """What the activation of a layer does, as Keras saves it: a name, a function or a layer."""
    if isinstance(given, dict) and isinstance(given.get("config"), dict):
        return does(Layer(given))
    return _ACTIVATIONS.get(activation_name(given), "")


def activation_name(given: Any) -> str:
    """What an activation is called; a layer by its class."""
    if isinstance(given, dict):
        given = given.get("class_name") if isinstance(given.get("config"), dict) else given.get("config")
    return str(given or "linear")


def is_activated(layer: Layer) -> bool:
    """Whether what a layer gives comes from an activation, or from several that are put beside each other."""
    todo, seen = [layer], set[Layer]()
    while todo:
        each = todo.pop()
        done = does(each)
        if each not in seen and (each.kind == "concatenate" or done == "nothing") and each.reads:
            todo += each.reads
        elif each not in seen and done not in RELUS:
            return False
        seen.add(each)
    return True


def setting(layer: Layer, key: str) -> Any:
    """A setting of a layer, or what an operation of TensorFlow is given by that name; None where there is none."""
    if key in layer.settings:
        return layer.settings[key]
    todo = [layer.entry.get("inbound_nodes", ())]
    while todo:
        each = todo.pop()
        if isinstance(each, dict) and key in each:
            return each[key]
        todo += each.values() if isinstance(each, dict) else each if isinstance(each, list | tuple) else ()
    return None


def _of_the_last_axis(layer: Layer) -> bool:
    axis = setting(layer, "axis")
    return axis in (-1, None) or axis == len(_read_shape(layer)) - 1


def _number(value: Any) -> Any:
    """A number, also as Keras 2 writes those of numpy."""
    return value.get("config", {}).get("value") if isinstance(value, dict) else value


def _read_shape(layer: Layer) -> list[Any]:
    """The shape of what a layer of Keras 3 reads; empty where the file does not say it."""
    return (layer.entry.get("build_config") or {}).get("input_shape") or _shape(layer.entry.get("inbound_nodes"))


def _covers(layer: Layer) -> bool:
    """Whether a pool reads the whole map at once."""
    size = layer.settings.get("pool_size")
    if shape := _read_shape(layer):
        return list(shape[1:3]) == (size if isinstance(size, list) else [size, size])
    inputs = [each.settings for each in before(layer) if each.kind == "input_layer" and not each.reads]
    given = [each.get("batch_shape") or each.get("batch_input_shape") or () for each in inputs]
    sides = [-(-side // STRIDE) for shape in given for side in shape[1:3] if side]
    return len(sides) == 2 and sides == (size if isinstance(size, list) else [size, size])


def _shape(value: Any) -> list[Any]:
    """The shape of the first tensor that a layer of Keras 3 reads."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        return list(value.get("config", {}).get("shape") or ())
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((shape for each in inner if (shape := _shape(each))), [])
