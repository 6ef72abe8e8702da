"""Layers beside a network because of which its head may not be what answers.

`self.resnet = resnet18(); self.fc = Linear(1000, 10)` leaves the network's own head in the file, and the layer that answers behind
it. Names and shapes do not tell what the program did with the two. Whatever stands beside the network is therefore in doubt, except
what is known to have no part in its answers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from podium.weights.pixel_means import CHANNELS, is_called_a_statistic
from podium.weights.wrappers import COUNTS, View, branch, is_averaged, is_of_a_loss, is_of_an_optimiser

LISTED = 5  # layers that a message names
_APART = re.compile(  # what a program keeps beside a network, by a whole part of its name
    r"(?:^|\.)(?:\w*optim\w*|opt|\w*scheduler\w*|callbacks|rng\w*|\w*hyper_?parameters|hparams|args|config|attack(?:er)?|queue\w*"
    r"|target_(?:network|net|encoder|model|backbone))(?=\.|$)",
    re.IGNORECASE,
)
# A network that learns to tell the source of an image, and answers nothing about its class.
_ADVERSARY = re.compile(r"discriminator|(?:^|[._])(?:disc|critic|domain|ad_?net|adv\w*|netd)(?:[._]|$)", re.IGNORECASE)
# Heads that only training needs, and class weights: they act on what the network gives, and it does not act on theirs.
_OF_TRAINING = re.compile(
    r"(?:^|[._])(?:aux\w*|projectors?|projections?|proj_head|predictor|class_?weights?|pos_weight|ce|bce|nll|focal)(?=[._\d]|$)",
    re.IGNORECASE,
)
_RECORD = re.compile(  # what was measured or counted in training
    r"(?:^|[._])(?:acc|accuracy|accuracies|prec|precision|recall|f1|auc|auroc|iou|miou|dice|kappa|confmat|confusion|epochs?|iters?"
    r"|iterations?|steps?|lr|mse|mae|rmse|err|errors?|history|(?:best|val|test|train)_score)(?=[._\d]|$)",
    re.IGNORECASE,
)
_ANSWERS = re.compile(
    r"(?:^|[._])(?:preds?|oof|predictions?|targets?|labels|logits|probs?|probabilities)$", re.IGNORECASE
)
_WEIGHT = re.compile(r"(?:^|\.)(?:weight|weight_v|original[01]?|bias)$")
_STATES = re.compile(r"(?:.*\.)?\w*state_dict\w*\.")  # up to the state dict in which a network stands


@dataclass(frozen=True)
class _Head:
    """The classifier that the network would answer with.

    Args:
        weight: of it, (classes, width).
        bias: of it.
        named: whether the file's names of classes, where it has any, are as many as its outputs.
    """

    weight: Tensor
    bias: Tensor | None
    named: bool

    def is_in(self, layer: Mapping[str, Tensor]) -> bool:
        """Whether tensors are the head itself, which a module can have under two names."""
        both = [(layer.get("weight"), self.weight), (layer.get("bias"), self.bias)]
        return all(a is b or (a is not None and b is not None and _same(a, b)) for a, b in both)

    def may_be_read_by(self, name: str, value: Tensor) -> bool:
        """Whether a tensor of training, such as a loss's, may turn what the head gives into the answers: ArcFace, proxies."""
        if value.ndim != 2 and not (value.ndim == 4 and value.shape[2:] == (1, 1)):
            return False
        gives, width = self.weight.shape
        outputs, inputs = value.shape[:2]
        if (outputs, inputs) in (
            (gives, gives),
            (gives, width),
        ):  # what each mistake costs; a center of features for each class
            return False
        return not self.named or inputs == gives or (outputs == gives and not _WEIGHT.search(name))


def in_doubt(
    view: View, state: Mapping[str, Tensor], known: Collection[int], kept: Collection[str], counts: Collection[int]
) -> list[str]:
    """Name what beside a network may take part in its answers.

    Args:
        view: the network in the file.
        state: the weight and the bias of its head.
        known: where the values of what is known in the file lie: those of this network and its head, of copies and of EMA weights.
        kept: names of what is in the file and acts on pixels.
        counts: how many names of classes the file has, by each place.

    Returns:
        The names of layers in the file, or of tensors that are in none; empty where nothing is in doubt.
    """
    weight, *bias = state.values()
    head = _Head(weight.flatten(1), bias[0] if bias else None, not counts or len(weight) in counts)
    copies = _copies(view)
    layers: dict[str, dict[str, Tensor]] = {}
    for name, value in view.others.items():
        layers.setdefault(name.rpartition(".")[0], {})[name.rpartition(".")[2]] = value
    again = {layer for layer, held in layers.items() if head.is_in(held)}
    rest = {*kept, *copies, *(name for name, value in view.others.items() if value.data_ptr() in known)}
    odd = [
        name
        for name, value in view.others.items()
        if name not in rest and name.rpartition(".")[0] not in again and not _is_harmless(name, value, view, head)
    ]
    return list(dict.fromkeys(_layer(name, view.prefix, rest) for name in odd))


def in_words(names: Iterable[str]) -> str:
    """Several names, as a message lists them."""
    each = list(names)
    more = [f"{len(each) - LISTED} more"] if len(each) > LISTED else []
    return " and ".join([*(repr(name) for name in each[:LISTED]), *more])


def is_of_training(name: str) -> bool:
    """Whether a name says that only training needs what it is of, so that it is no head where another one is."""
    return any(each.search(name) for each in (_APART, _ADVERSARY, _OF_TRAINING, _RECORD)) or is_of_a_loss(name)


def _is_harmless(name: str, value: Tensor, view: View, head: _Head) -> bool:
    """Whether a tensor beside a network is of a kind that has no part in its answers."""
    apart = name[len(branch(name, view.prefix).rpartition(".")[0]) :].removeprefix(".")
    single = value.numel() == 1
    if (
        not value.numel()
        or (single and not value.is_floating_point())
        or apart.endswith(COUNTS)
        or is_of_an_optimiser(name)
    ):
        return True
    states = _STATES.match(view.prefix)
    if single and states and not name.startswith(states[0]):
        return True  # one number on record, outside of the weights
    if _APART.search(apart) or _ADVERSARY.search(apart) or (is_averaged(apart) and not view.ema):
        return True
    if _OF_TRAINING.search(apart) or is_of_a_loss(apart):
        return not head.may_be_read_by(name, value)
    if _WEIGHT.search(apart):
        return False
    if is_called_a_statistic(apart) and 1 < value.numel() <= max(CHANNELS):  # of other pixels, or of a measure
        return value.numel() not in head.weight.shape
    if _RECORD.search(apart):
        return True
    return bool(_ANSWERS.search(apart)) and value.shape != head.weight.shape[:1]


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one.flatten(1) if one.ndim > 1 else one, other)


def _copies(view: View) -> set[str]:
    """The tensors of copies of the whole network, such as masks and means of its weights, by their names in the file."""
    weights = {name: value.shape for name, value in view.tensors.items() if value.ndim > 1}
    first = next(iter(weights))
    found = set[str]()
    for name in view.others:
        around = name.removesuffix(first)
        others: dict[str, Any] = {key: view.others.get(around + key) for key in view.tensors} if around != name else {}
        if others and all(others[key] is not None and others[key].shape == shape for key, shape in weights.items()):
            found.update(around + key for key, value in others.items() if value is not None)
    return found


def _layer(name: str, prefix: str, rest: Collection[str]) -> str:
    """The module beside a network that a tensor is of, or the layer where not all of the module is in doubt."""
    module = branch(name, prefix)
    if any(other.startswith(f"{module}.") for other in rest):
        return name.rpartition(".")[0].removesuffix(".parametrizations.weight") or name
    return module
