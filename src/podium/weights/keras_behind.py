"""What a Keras model does between its network and its head, and behind the head, from the model's configuration.

Podium's networks average the maps of their last activation, and the head is one linear layer with a softmax. A head for which
the file has anything else is not taken: its weights would fit, and its answers would be others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np

from podium.weights.keras_does import RELUS, activation, activation_name, does, is_activated
from podium.weights.keras_graph import Layer, before, chain, end_of, first_weighted
from podium.weights.keras_kinds import own_class
from podium.weights.keras_layers import Weights
from podium.weights.keras_steps import name_of

_CONVOLUTIONS = ("conv2d", "depthwise_conv2d", "separable_conv2d")
_ONES = (1, [1], [1, 1])
_OWN_DENSE = ("fc1", "fc2")  # of VGG, whose head is of three layers
_VGGS_LAST = "block5_conv"  # what the pool in front of VGG's head reads
_MOBILENETS_LAST = "conv_pw_13_bn"  # which a ReLU6 follows, and a ReLU the last layers of the other networks
# What may follow a head of several outputs and one of a single output, with its own activation.
_ANSWERS: tuple[list[str], ...] = ([], ["softmax"], ["average"], ["average", "softmax"])
_ONE_ANSWER: tuple[list[str], ...] = ([], ["sigmoid"], ["average"], ["average", "sigmoid"])
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
    if not end.reads:
        return Head(*_only_output(layers))
    if not heads:
        return _other_head(end, layers)
    if len(heads) > 1:
        return Head()  # none of which is the one
    (head,) = heads
    name = name_of(head.entry)
    try:
        features = _between(head)
        if features is None:
            return Head()  # more layers with weights, of which the head is one
        outputs = _outputs(layers.get(name, {}))
        for output in end.reads:
            if head in first_weighted(output):
                _behind(output, head, outputs, features)
        return Head(name, one_output=outputs == 1)
    except _OtherError as error:
        return Head(name, str(error))


def as_two_classes(weights: Weights) -> Weights:
    """The weights of a linear layer whose softmax is the sigmoid of one output, for the second class."""
    return {leaf: np.concatenate([np.zeros_like(array), array], axis=-1) for leaf, array in weights.items()}


def _other_head(end: Layer, layers: Mapping[str, Weights]) -> Head:
    """The head where it is no layer that Podium's may be: of one's own class, of several axes, or inside a wrapper."""
    for layer in before(end, lambda each: bool(each.weighted)):
        if layer.weighted or does(layer):
            continue
        if "layer" in layer.settings:
            return Head(
                name_of(layer.entry), f"{layer.named} wraps a layer or a model, which Podium's networks never do"
            )
        for name in _names(layer.entry):
            if name in layers:
                return Head(
                    name, f"its head {layer.named} is no Dense or Conv2D of Keras's own: its answers may be others"
                )
    return Head()


def _names(value: Any) -> Iterator[str]:
    """All that is called "name" in the row of a layer."""
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        yield value["name"]
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _names(inner)


def _only_output(layers: Mapping[str, Weights]) -> tuple[str, str, bool]:
    """The head of weights alone, where it has one output and no other dense layer is there."""
    dense = [name for name, weights in layers.items() if weights.get("kernel", np.empty(())).ndim == 2]
    if len(dense) == 1 and _outputs(layers[dense[0]]) == 1:
        return dense[0], "", True
    return "", "", False


def _outputs(weights: Weights) -> int:
    return int(weights["kernel"].shape[-1]) if "kernel" in weights else 0


def _may_be_head(layer: Layer) -> bool:
    return layer.weighted == "dense" or (layer.weighted == "conv2d" and layer.settings.get("kernel_size") in _ONES)


def _behind(output: Layer, head: Layer, outputs: int, features: bool) -> None:
    """Check what follows the head on the way to one output of the model.

    Args:
        output: of the model.
        head: the layer with weights.
        outputs: of the head; a single one is a logit.
        features: whether the head reads averaged or flattened maps.

    Raises:
        _OtherError: something gives other answers than Podium's network.
    """
    if head.settings.get("strides", 1) not in _ONES:
        raise _OtherError(f"its head {head.named} leaves out pixels of its maps, and Podium's none")
    done: list[str] = []
    for layer in takewhile(lambda each: each is not head, chain(output)):
        step = does(layer) if len(layer.reads) == 1 else ""
        if step in ("", *RELUS) or (step == "flatten" and "softmax" in done and not _keeps(layer, outputs)):
            raise _OtherError(f"{layer.named} stands behind its head, and changes its answers")
        done.insert(0, step)
    steps = [step for step in (_activation(head), *done) if step not in ("nothing", "flatten")]
    if not features and "average" not in steps:
        raise _OtherError(f"no layer averages the maps around its head {head.named}")
    if outputs == 1 and steps in _ONE_ANSWER:
        return
    if outputs > 1 and steps in _ONE_ANSWER and "sigmoid" in steps:
        each = "gives each class a sigmoid of its own, so that an image may be of several"
        raise _OtherError(f"its head {head.named} {each}, and Podium's answer is one class")
    if outputs == 1 or steps not in _ANSWERS:
        given = "one output" if outputs == 1 else f"{outputs} outputs"
        raise _OtherError(
            f"its head {head.named} has {given} and then {' and then '.join(steps)}, and Podium's one softmax"
        )


def _keeps(layer: Layer, outputs: int) -> bool:
    """Whether a layer leaves the outputs of a head beside each other, for a softmax behind it."""
    shape = layer.settings.get("target_shape") or layer.settings.get("newshape") or [outputs]
    return shape[-1] == outputs or list(shape) in ([-1], [None, -1], [-1, -1])


def _activation(layer: Layer) -> str:
    """What the activation of a layer with weights does, "nothing" for a linear one.

    Raises:
        _OtherError: something that neither Podium's head nor its networks do.
    """
    given = layer.settings.get("activation")
    done = activation(given)
    if done not in ("nothing", "softmax", "sigmoid"):
        raise _OtherError(
            f"its head {layer.named} has the activation {activation_name(given)!r}, and Podium's a softmax"
        )
    return done


def _between(head: Layer) -> bool | None:
    """Follow the layers from a head back to the network's last activation.

    Returns:
        Whether they average or flatten maps; None where a layer with weights lies between that is not the network's.

    Raises:
        _OtherError: names the first layer that Podium's network has not, or lacks.
    """
    pooled, relus, late = False, list[Layer](), list[Layer]()
    for layer in list(chain(head))[1:]:
        if layer.weighted == "dense" and name_of(layer.entry) in _OWN_DENSE:
            if layer.settings.get("activation") != "relu":
                raise _OtherError(f"{layer.named} in its head has another activation than ReLU")
            continue
        if layer.weighted == "batch_normalization" and not relus and _is_networks(layer):
            raise _cut(layer)
        if layer.weighted and layer.weighted not in _CONVOLUTIONS:
            if layer.weighted != "batch_normalization" or not relus:
                return None
            return _with_its_relu(layer, relus, late) and pooled
        if layer.weighted in _CONVOLUTIONS and name_of(layer.entry).startswith(_VGGS_LAST):
            raise _OtherError(f"no MaxPooling2D follows {layer.named}, the end of its network, as one does in Keras's")
        if layer.kind == "add" and any(each.weighted for each in layer.reads) and not relus:
            raise _cut(layer)
        if _ends_a_network(layer):
            return _with_its_relu(layer, relus, late) and pooled
        done = does(layer)
        if len(layer.reads) != 1 or done in ("", "softmax", "sigmoid"):
            raise _other_between(layer)
        if done == "average":
            relus, late = [], [*late, *relus]
        relus += [layer] if done in RELUS else []
        pooled = pooled or done in ("average", "flatten")
    return pooled


def _ends_a_network(layer: Layer) -> bool:
    """Whether a layer without weights is what the last activation of a network reads, or where a network ends without one."""
    return not own_class(layer.entry) and (
        (layer.kind == "input_layer" and not layer.reads)
        or (layer.kind == "add" and any(each.weighted for each in layer.reads))
        or (layer.kind == "max_pooling2d" and _reads_vggs_last(layer))
        or (layer.kind == "concatenate" and is_activated(layer))
    )


def _with_its_relu(end: Layer, relus: list[Layer], late: list[Layer]) -> bool:
    """Check that the activations behind a network's last layer are its own, ReLU6 or ReLU, and others that change nothing there.

    Args:
        end: of the network.
        relus: the activations in front of the pool.
        late: those behind it.
    """
    sixes = [layer for layer in (*relus, *late) if does(layer) == "relu6"]
    if _MOBILENETS_LAST not in name_of(end.entry):
        for layer in sixes:
            raise _other_between(layer)
    elif not any(layer in relus for layer in sixes):
        raise _OtherError(f"{relus[-1].named} follows the end of its network, and a ReLU6 that of Podium's")
    return True


def _other_between(layer: Layer) -> _OtherError:
    return _OtherError(f"{layer.named} stands between its network and its head, and Podium's network has no such layer")


def _cut(layer: Layer) -> _OtherError:
    return _OtherError(f"no activation follows {layer.named}, the end of its network, as one does in Keras's")


def _is_networks(norm: Layer) -> bool:
    """Whether a batch norm is a part of the network, and reads no activation, pool or features as one of a head does."""
    (source, *_) = [layer for layer in list(chain(norm))[1:] if does(layer) != "nothing"] or [norm]
    return not is_activated(source) and (source.weighted in _CONVOLUTIONS or source.kind in ("add", "concatenate"))


def _reads_vggs_last(pool: Layer) -> bool:
    """Whether a pool is VGG's last one."""
    twos = (2, [2, 2])
    source = pool.reads[0] if len(pool.reads) == 1 else pool
    relu = source.settings.get("activation") == "relu"
    return relu and name_of(source.entry).startswith(_VGGS_LAST) and pool.settings.get("pool_size") in twos
