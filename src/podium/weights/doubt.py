"""Layers beside a network because of which its head may not be the last layer, or not the one that answers.

`self.resnet = resnet18(); self.fc = Linear(1000, 10)` leaves the network's own head in the file, and the layer that answers behind
it. Names and shapes do not tell what the program did with the two, so that such a file is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from podium.weights.wrappers import View, branch, is_averaged, is_of_a_loss, is_of_an_optimiser

# How the names of a linear layer's weight end, also where it is normalised; some losses keep theirs transposed.
_WEIGHT = re.compile(r"(?:^|\.)(?:weight|weight_v|original[01]?)$")
_TRANSPOSED = re.compile(r"(?:^|\.)(?:W|kernel)$")
# A network that learns to tell the source of an image, and answers nothing about its class.
_ADVERSARY = re.compile(r"discriminator|(?:^|[._])(?:disc|critic|domain|ad_?net|adv\w*|netd)(?:[._]|$)", re.IGNORECASE)
# The power of a generalised mean (GeM), by which a network pools its last maps in place of the average.
_POWER = re.compile(r"(?:^|[._])\w*(?:gem|pool)\w*\.p(?:ower)?$", re.IGNORECASE)
LISTED = 5  # layers that a message names


@dataclass(frozen=True)
class Doubt:
    """What makes a head doubtful.

    Args:
        what: the layers and what they read, in words.
        fix: what to take out of the file.
    """

    what: str
    fix: str


def doubt(view: View, weight: Tensor, head: str) -> Doubt | None:
    """Say which layers beside a network may lie behind its head or before it, or be the classifier in its place.

    Args:
        view: the network in the file.
        weight: of its head (classes, width).
        head: the name of the head in the file.

    Returns:
        None where there are no such layers.
    """
    gives, width = weight.shape
    own = f"{head}."
    beside = {name: value for name, value in _beside(view) if not name.startswith(own) and not _same(value, weight)}
    if behind := _named(layer for layer, reads in _layers(beside) if reads == gives):
        what = f"the network's classifier {head!r} gives {gives} values, and {behind} beside it may take these"
        return Doubt(what, f"take {behind} out of the file if its answers do not need that")
    if power := _named(name for name, value in beside.items() if value.numel() == 1 and _POWER.search(name)):
        what = f"{power} beside it may be the power by which the network pools its last maps (GeM), and Podium's pools their average"
        return Doubt(what, f"take {power} out of the file if its answers do not need that")
    # The plain layer beside EMA weights is that of the plain weights.
    matrices = {name: value for name, value in beside.items() if value.ndim > 1 and not is_of_a_loss(name)}
    others = (layer for layer, reads in _layers(matrices) if reads == width and (is_averaged(layer) or not view.ema))
    if second := _named(others):
        what = f"the network's classifier {head!r} takes {width} values, and {second} beside it may take these in its place"
        return Doubt(what, "leave only the classifier that answers in the file, and take out the others")
    return None


def _named(layers: Iterable[str]) -> str:
    """Each of several layers, in words."""
    each = list(dict.fromkeys(layers))
    more = [f"{len(each) - LISTED} more"] if len(each) > LISTED else []
    return " and ".join([*(repr(layer) for layer in each[:LISTED]), *more])


def _beside(view: View) -> Iterator[tuple[str, Tensor]]:
    """The tensors that may act behind a network: not those of other networks, nor averages beside plain weights."""
    branches: dict[str, dict[str, Tensor]] = {}
    for name, value in view.others.items():
        if not is_of_an_optimiser(name):
            branches.setdefault(branch(name, view.prefix), {})[name] = value
    for name, near in branches.items():
        maps = any(value.ndim == 4 and value.shape[2:] != (1, 1) for value in near.values())  # reads maps, no answers
        if maps or _ADVERSARY.search(name) or (is_averaged(name) and not view.ema):
            continue
        yield from near.items()


def _layers(beside: Mapping[str, Tensor]) -> Iterator[tuple[str, int]]:
    """Each linear layer and each norm of vectors, with how many values it reads."""
    for name, value in beside.items():
        layer, _, leaf = name.rpartition(".")
        layer = layer.removesuffix(".parametrizations.weight") or name
        if not value.is_floating_point():
            continue
        if value.ndim == 2 or (value.ndim == 4 and value.shape[2:] == (1, 1)):
            outputs, inputs = value.shape[:2]
            if is_of_a_loss(name) and outputs == inputs:
                continue  # what each mistake costs
            if _WEIGHT.search(name):
                yield layer, inputs
            elif _TRANSPOSED.search(name):
                yield layer, outputs
        elif value.ndim == 1 and not is_of_a_loss(name):
            shift = beside.get(f"{layer}.bias")
            if leaf == "running_mean" or (leaf == "weight" and shift is not None and shift.shape == value.shape):
                yield layer, len(value)


def _same(value: Tensor, weight: Tensor) -> bool:
    """Whether a tensor is the head itself, which a module can have under two names."""
    return value.ndim > 1 and torch.equal(value.flatten(1), weight)
