"""What a Keras model does between its network and its head, and behind the head, from the model's configuration.

Podium's networks average the maps of their last activation, and the head is one linear layer with a softmax. A head for which
the file has anything else is not taken: its weights would fit, and its answers would be others.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np

from podium.weights.keras_graph import Layer, chain, end_of, first_weighted
from podium.weights.keras_kinds import MODELS, does_nothing
from podium.weights.keras_layers import Weights
from podium.weights.keras_steps import name_of, passes_on

# What layers and operations do to features or answers, by their classes; all that is not here is refused.
_DOES = {
    "softmax": "softmax", "sigmoid": "sigmoid",
    "relu": "relu", "relu6": "relu", "re_lu": "relu",
    "flatten": "flatten", "reshape": "flatten", "squeeze": "flatten",
    "global_average_pooling2d": "average",
}  # fmt: skip
_CONVOLUTIONS = ("conv2d", "depthwise_conv2d", "separable_conv2d")
_OWN_DENSE = ("fc1", "fc2")  # of VGG, whose head is of three layers
_VGGS_LAST = "block5_conv"  # what the pool in front of VGG's head reads
# What may follow a head of several outputs and one of a single output, with its own activation.
_ANSWERS: tuple[list[str], ...] = ([], ["softmax"], ["average"], ["average", "softmax"])
_ONE_ANSWER: tuple[list[str], ...] = ([], ["sigmoid"], ["average"], ["average", "sigmoid"])
STRIDE = 32  # by which the networks divide the sides of images, rounded up or further down
ONE_OUTPUT = (
    "the head has one output in the file, and two classes here: class 1 is what the sigmoid of that output says"
)


class Head(NamedTuple):
    """The head of a Keras model.

    Args:
        layer: its name; empty where the model has none, or it is not known.
        problem: why its answers would be others in Podium's network, in words; empty where they are the same.
        one_output: whether its only output is the logit of the second of two classes.
    """

    layer: str = ""
    problem: str = ""
    one_output: bool = False


class _OtherError(Exception):
    """A model does something that Podium's network does not."""


def read_head(config: Any, layers: Mapping[str, Weights]) -> Head:
    """Find the head of a model, and what stands around it.

    Args:
        config: of the model, as Keras saves it, or the part of it that is known.
        layers: the weights of every layer by its name.
    """
    end = end_of(config)
    heads = [layer for layer in first_weighted(end) if _may_be_head(layer)]
    if not heads:
        return Head(*_only_output(layers)) if not end.reads else Head()
    if len(end.reads) > 1 or len(heads) > 1:
        return Head()  # several heads, none of which is the one
    (head,) = heads
    name = name_of(head.entry)
    try:
        features = _between(head)
        if features is None:
            return Head()  # more layers with weights, of which the head is one
        return Head(name, one_output=_behind(end, head, _outputs(layers.get(name, {})), features))
    except _OtherError as error:
        return Head(name, str(error))


def as_two_classes(weights: Weights) -> Weights:
    """The weights of a linear layer whose softmax is the sigmoid of one output, for the second class."""
    return {leaf: np.concatenate([np.zeros_like(array), array], axis=-1) for leaf, array in weights.items()}


def _only_output(layers: Mapping[str, Weights]) -> tuple[str, str, bool]:
    """The head of weights alone, where it has one output and no other dense layer is there."""
    dense = [name for name, weights in layers.items() if weights.get("kernel", np.empty(())).ndim == 2]
    if len(dense) == 1 and _outputs(layers[dense[0]]) == 1:
        return dense[0], "", True
    return "", "", False


def _outputs(weights: Weights) -> int:
    return int(weights["kernel"].shape[-1]) if "kernel" in weights else 0


def _may_be_head(layer: Layer) -> bool:
    sides = layer.settings.get("kernel_size")
    return layer.weighted == "dense" or (layer.weighted == "conv2d" and sides in (1, [1], [1, 1]))


def _behind(end: Layer, head: Layer, outputs: int, features: bool) -> bool:
    """Check what follows the head, and say whether its only output is a logit.

    Args:
        end: of the model.
        head: the layer with weights.
        outputs: of the head.
        features: whether the head reads averaged or flattened maps.
    """
    done: list[str] = []
    for layer in takewhile(lambda each: each is not head, chain(end)):
        does = _does(layer) if len(layer.reads) == 1 else ""
        if does in ("", "relu"):
            raise _OtherError(f"{layer.named} stands behind its head, and changes its answers")
        done.insert(0, does)
    steps = [step for step in (_activation(head), *done) if step not in ("nothing", "flatten")]
    if not features and "average" not in steps:
        raise _OtherError(f"no layer averages the maps around its head {head.named}")
    if outputs == 1 and steps in _ONE_ANSWER:
        return True
    if outputs > 1 and steps in _ONE_ANSWER and "sigmoid" in steps:
        each = "gives each class a sigmoid of its own, so that an image may be of several"
        raise _OtherError(f"its head {head.named} {each}, and Podium's answer is one class")
    if outputs == 1 or steps not in _ANSWERS:
        given = "one output" if outputs == 1 else f"{outputs} outputs"
        raise _OtherError(
            f"its head {head.named} has {given} and then {' and then '.join(steps)}, and Podium's one softmax"
        )
    return False


def _activation(layer: Layer) -> str:
    """What the activation of a layer with weights does, "nothing" for a linear one.

    Raises:
        _OtherError: something that neither Podium's head nor its networks do.
    """
    given = layer.settings.get("activation") or "linear"
    if isinstance(given, dict) and isinstance(given.get("config"), dict):  # a layer
        name, does = str(given.get("class_name")), _does(Layer(given))
    else:
        name = str(given.get("config") if isinstance(given, dict) else given)
        does = _DOES.get(name, "nothing" if name == "linear" else "")
    if does not in ("nothing", "softmax", "sigmoid"):
        raise _OtherError(f"its head {layer.named} has the activation {name!r}, and Podium's a softmax")
    return does


def _does(layer: Layer) -> str:
    """What a layer without weights does; empty where that is not known, or cannot be taken over."""
    kind, settings = layer.kind, layer.settings
    if ">" in str(layer.entry.get("registered_name")):  # a class of one's own, whatever it is called
        return ""
    if kind in MODELS or does_nothing(kind) or passes_on(layer.entry, ()):
        return "nothing"
    if kind == "activation":
        kind = str(settings.get("activation"))
        return _DOES[kind] if kind in ("softmax", "sigmoid", "relu", "relu6") else ""
    if kind == "softmax" and settings.get("axis", -1) not in (-1, None):
        return ""
    if kind == "re_lu" and any(_number(settings.get(key)) for key in ("negative_slope", "threshold")):
        return ""
    if kind == "average_pooling2d" and _covers(layer):
        return "average"
    if kind == "mean" and settings.get("axis") in ([1, 2], [-3, -2]):
        return "average"
    return _DOES.get(kind, "")


def _number(value: Any) -> Any:
    """A number, also as Keras 2 writes those of numpy."""
    return value.get("config", {}).get("value") if isinstance(value, dict) else value


def _covers(layer: Layer) -> bool:
    """Whether a pool reads the whole map at once."""
    size = layer.settings.get("pool_size")
    shape = (layer.entry.get("build_config") or {}).get("input_shape") or _shape(layer.entry.get("inbound_nodes"))
    if shape:
        return list(shape[1:3]) == (size if isinstance(size, list) else [size, size])
    inputs = [each.settings for each in _all_before(layer) if each.kind == "input_layer" and not each.reads]
    given = [each.get("batch_shape") or each.get("batch_input_shape") or () for each in inputs]
    sides = [-(-side // STRIDE) for shape in given for side in shape[1:3] if side]
    return len(sides) == 2 and sides == (size if isinstance(size, list) else [size, size])


def _all_before(layer: Layer) -> set[Layer]:
    seen, todo = set[Layer](), [layer]
    while todo:
        if (each := todo.pop()) not in seen:
            seen.add(each)
            todo += each.reads
    return seen


def _shape(value: Any) -> list[Any]:
    """The shape of the first tensor that a layer of Keras 3 reads."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        return list(value.get("config", {}).get("shape") or ())
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((shape for each in inner if (shape := _shape(each))), [])


def _between(head: Layer) -> bool | None:
    """Follow the layers from a head back to the network's last activation.

    Returns:
        Whether they average or flatten maps; None where a layer with weights lies between that is not the network's.

    Raises:
        _OtherError: names the first layer that Podium's network has not, or lacks.
    """
    pooled, activated = False, False
    for layer in list(chain(head))[1:]:
        if layer.weighted == "dense" and name_of(layer.entry) in _OWN_DENSE:
            if layer.settings.get("activation") != "relu":
                raise _OtherError(f"{layer.named} in its head has another activation than ReLU")
            continue
        if layer.weighted:
            if layer.weighted == "batch_normalization" and not activated and _is_networks(layer):
                raise _cut(layer)
            return pooled if layer.weighted == "batch_normalization" and activated else None
        if layer.kind == "input_layer" and not layer.reads:
            return pooled
        if layer.kind == "add" and any(each.weighted for each in layer.reads):
            if not activated:
                raise _cut(layer)
            return pooled
        if layer.kind == "max_pooling2d" and _reads_vggs_last(layer):
            return pooled
        if layer.kind == "concatenate" and _is_activated(layer):
            return pooled
        does = _does(layer)
        if len(layer.reads) != 1 or does in ("", "softmax", "sigmoid"):
            raise _OtherError(
                f"{layer.named} stands between its network and its head, and Podium's network has no such layer"
            )
        activated = does == "relu" or (activated and does != "average")
        pooled = pooled or does in ("average", "flatten")
    return pooled


def _cut(layer: Layer) -> _OtherError:
    return _OtherError(f"no activation follows {layer.named}, the end of its network, as one does in Keras's")


def _is_networks(norm: Layer) -> bool:
    """Whether a batch norm is a part of the network, and reads no activation, pool or features as one of a head does."""
    (source, *_) = [layer for layer in list(chain(norm))[1:] if _does(layer) != "nothing"] or [norm]
    return not _is_activated(source) and (source.weighted in _CONVOLUTIONS or source.kind in ("add", "concatenate"))


def _is_activated(layer: Layer) -> bool:
    """Whether what a layer gives comes from an activation, or from several that are put beside each other."""
    todo, seen = [layer], set[Layer]()
    while todo:
        each = todo.pop()
        does = _does(each)
        if each not in seen and (each.kind == "concatenate" or does == "nothing") and each.reads:
            todo += each.reads
        elif each not in seen and does != "relu":
            return False
        seen.add(each)
    return True


def _reads_vggs_last(pool: Layer) -> bool:
    """Whether a pool is VGG's last one."""
    twos = (2, [2, 2])
    source = pool.reads[0] if len(pool.reads) == 1 else pool
    return name_of(source.entry).startswith(_VGGS_LAST) and pool.settings.get("pool_size") in twos
