"""What a Keras model does to pixels in front of its network, from its configuration: Rescaling, Normalization, operations.

Layers of augmentation do nothing in prediction, and are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from podium.errors import ModelFileError
from podium.weights.front import FIX, Front
from podium.weights.keras_kinds import (
    CAFFE,
    NORMS,
    PADS,
    RESCALES,
    SIZES,
    STATISTICS,
    does_nothing,
    is_model,
    layers_in,
)
from podium.weights.keras_layers import Weights, kind_of, snake
from podium.weights.keras_steps import (
    CANNOT,
    MAYBE,
    WITHOUT,
    UnclearError,
    join_turns,
    name_of,
    operation_of,
    passes_on,
    read_by,
    size_given,
    step,
)

IMAGE = (
    4  # channels at most that a convolution gives which prepares images; the first of a known network gives 8 or more
)


def read_front(config: Any, layers: Mapping[str, Weights]) -> Front | None:
    """Read what a model does to pixels before its first layer with weights.

    Args:
        config: of the model, as Keras saves it, or the part of it that is known.
        layers: the weights of every layer by its name, with mean and variance of Normalization layers.

    Returns:
        The scale, the offset and the size; None where the model does nothing to images and does not name their size.

    Raises:
        ModelFileError: a layer behind that first one changes what the network answers, or one in front of it has weights.
    """
    entries = join_turns(_in_order(config))
    weighted = [number for number, (entry, _) in enumerate(entries) if kind_of(entry)]
    layers_only = [entry for entry, _ in entries]
    _refuse_what_is_not_ours(layers_only, layers, _inputs(config))
    if not weighted:
        return None  # what comes before the network is not known
    _refuse_behind(layers_only, weighted[0], weighted[-1], _inputs(config))
    done = _Done()
    statistics = {name: weights for name, weights in layers.items() if weights.keys() <= STATISTICS}
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused by the layer's name
            for entry, _ in entries[: weighted[0]]:
                _follow(entry, done, statistics)
        if done.layers and not all(follows for _, follows in entries[: weighted[0] + 1]):
            last = name_of(entries[weighted[0]][0])
            raise UnclearError(f"the layers up to {last!r} do not follow one after the other", MAYBE)
    except UnclearError as error:
        done.problem = f"what it does to pixels cannot be said as a mean and a standard deviation: {error}"
        done.fix = error.fix
    size = done.shape[:2] if all(isinstance(side, int) for side in done.shape[:2]) else ()
    if not (done.layers or done.notes or size):
        return None
    scale, offset = (tuple(values.tolist()) for values in (done.scale, done.offset))
    caffe = any(CAFFE in entry for entry, _ in entries)
    notes = tuple(done.notes)
    return Front(tuple(done.layers), scale, offset, done.order, done.problem, notes, done.fix, size, caffe)


def _inputs(config: Any) -> int:
    """How many inputs the configuration of a model names."""
    return sum(snake(entry["class_name"]) == "input_layer" for entry in layers_in(config))


def _refuse_what_is_not_ours(entries: Sequence[Mapping[str, Any]], layers: Mapping[str, Weights], inputs: int) -> None:
    """Refuse layers with weights in front of the network, and norms that no known network has."""
    kinds = [kind_of(entry) for entry in entries]
    convolutions = [number for number, kind in enumerate(kinds) if "conv" in kind]
    first = next(iter(convolutions or [number for number, kind in enumerate(kinds) if kind == "dense"]), len(kinds))
    for number, entry in enumerate(entries):
        kind = snake(entry["class_name"])
        weighted = (
            number == first if "conv" in kinds[number] else number < first and kinds[number] == "batch_normalization"
        )
        before = weighted and makes_images(name_of(entry), layers)
        if before or kind in NORMS:
            place = "in front of the network" if inputs < 2 else f"behind one of the {inputs} inputs of the model"
            where = f"stands {place}" if before or number < first else "is in none of the networks that Podium knows"
            raise refused(entry, f"{where}; Podium cannot import it")


def makes_images(name: str, layers: Mapping[str, Weights]) -> bool:
    """Whether a convolution or norm gives no more channels than images have, and the network may read them."""
    weights = layers.get(name, {})
    kernel = weights.get("kernel", weights.get("depthwise_kernel"))
    norm = weights.get("moving_mean", weights.get("gamma", weights.get("beta")))
    if kernel is None:
        return norm is not None and is_read(norm.size, layers)
    if kernel.ndim != 4 or "pointwise_kernel" in weights:
        return False
    gives = kernel.shape[-1] * (kernel.shape[-2] if "depthwise_kernel" in weights else 1)
    return gives <= IMAGE and is_read(gives, layers)


def is_read(channels: int, layers: Mapping[str, Weights]) -> bool:
    """Whether a convolution reads so many channels and gives more than an image has."""
    shapes = (weights["kernel"].shape for weights in layers.values() if "kernel" in weights)
    return any(len(shape) == 4 and shape[-2] == channels and shape[-1] > IMAGE for shape in shapes)


def _refuse_behind(entries: Sequence[Mapping[str, Any]], first: int, last: int, inputs: int) -> None:
    """Refuse layers that rescale behind a network's first layer with weights."""
    for number, entry in enumerate(entries[first:], first):
        if snake(entry["class_name"]) in RESCALES:
            where = f"behind the network's {'last' if number > last else 'first'} layer with weights"
            also = f", or behind another of the model's {inputs} inputs" if inputs > 1 else ""
            raise behind(entry, f"it stands {where}{also}")


def behind(entry: Mapping[str, Any], why: str) -> ModelFileError:
    """The refusal of a layer that changes what the network answers, which no mean and standard deviation say."""
    return refused(entry, f"changes the network's answers and not its pixels: {why}")


def refused(entry: Mapping[str, Any], what: str) -> ModelFileError:
    """The refusal of a layer, whatever is said of pixels."""
    return ModelFileError(f"the layer {name_of(entry)!r} ({entry['class_name']}) in it {what}", WITHOUT)


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
    fix: str = FIX


def _follow(entry: Mapping[str, Any], done: _Done, statistics: Mapping[str, Weights]) -> None:
    """Take one layer in front of the network into account."""
    kind, name, config = snake(entry["class_name"]), name_of(entry), entry["config"]
    given = isinstance(config, dict) and (config.get("batch_shape") or config.get("batch_input_shape"))
    if given:  # a network without a size of its own leaves a side open that the model around it has settled
        known = done.shape if len(done.shape) == len(given) - 1 else (None,) * (len(given) - 1)
        done.shape = tuple(before if side is None else side for side, before in zip(given[1:], known, strict=True))
    done.notes += entry.get("notes", ())
    if operation_of(entry) in SIZES:
        sides = size_given(entry, done.shape)
        done.shape = (*sides, *done.shape[2:])
        unknown = "another size, which it does not say; Podium makes them the network's own size"
        done.notes.append(
            f"{name} in the file makes images {unknown if None in sides else f'{sides[0]}x{sides[1]} pixels'}"
        )
    elif kind in PADS:
        done.padded = True
    elif not (is_model(entry) or does_nothing(kind) or passes_on(entry, done.shape)):
        done.layers.append(name)
        if done.padded:
            raise UnclearError(f"{name!r} comes after a layer that pads images")
        found = step(entry, statistics)
        if kind == "normalization":
            done.fix = CANNOT  # where its numbers are not as many as the network's channels, as one a row
        if found is None:
            done.order = "bgr" if done.order == "rgb" else "rgb"
            done.scale, done.offset = done.scale[::-1], done.offset[::-1]
            return
        if len({array.size for array in (done.scale, done.offset, *map(np.atleast_1d, found))} - {1}) > 1:
            raise UnclearError(f"{name!r} is of another number of channels than what comes before it")
        done.scale, done.offset = done.scale * found[0], done.offset * found[0] + found[1]
        if not (np.isfinite(done.scale).all() and np.isfinite(done.offset).all()):
            why = "as behind a division by 0 or the root of a negative variance"
            raise UnclearError(f"with {name!r} ({entry['class_name']}) the numbers are not finite, {why}")


def _in_order(model: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Every layer, those of nested models after the model, and whether it reads only what the one before it gives."""
    before = ""
    for entry in layers_in(model):
        read = set(read_by(entry.get("inbound_nodes", ())))
        yield entry, not read or read == {before}
        before = name_of(entry)
        if is_model(entry):
            yield from _in_order(entry)
