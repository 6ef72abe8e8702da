"""Find out whether tensors are the weights of a network, and of which one, without allocating memory for a network."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from podium.errors import ModelFileError
from podium.models.convnet import ConvNet
from podium.models.registry import build_model
from podium.models.undrawn import meta
from podium.weights.heads import BODY, HEAD, may_be_head, with_head, without_head
from podium.weights.peers import InOrder, Peer, Rules, peers

ANY_HEAD = 2  # classes of a fresh classifier, where only the rest counts
LISTED = 5  # of each kind of mismatch that a message names
PARTS = ("stem.", "stages.", "head.", "auxiliary.")  # how names of ours begin


@dataclass(frozen=True)
class Match:
    """The result of comparing tensors with a peer's network.

    Args:
        state: the tensors by our names; reshaped where only the number of dimensions differed from our layer's.
        net: the network that they would fill, on the meta device.
        arguments: of `build_model`, beside the name, that build this network.
        has_head: whether the tensors include those of a classifier.
        wrong: what does not fit, in words; empty where everything does.
        fitting: how many tensors have the name and the shape of one of the network's.
        notes: a line for each tensor that was guessed or left out.
        odd_head: the layers in the file of a head that does not fit, where a fresh one takes its place.
        heads: the weights in the file of several layers, each of which may be the head.
    """

    state: dict[str, Tensor]
    net: ConvNet
    arguments: dict[str, Any]
    has_head: bool
    wrong: str
    fitting: int
    notes: tuple[str, ...]
    odd_head: tuple[str, ...] = ()
    heads: tuple[Tensor, ...] = ()


def match(
    known: Peer,
    state: Mapping[str, Tensor],
    num_classes: int | None = None,
    around: Sequence[Mapping[str, Tensor]] = (),
) -> Match:
    """Compare tensors of another library with the network whose weights they should be.

    Args:
        known: the peer, with its rules.
        state: tensors by the peer's names, of any shapes.
        num_classes: of a fresh classifier, where the tensors have none that fits.
        around: tensors beside these, the nearest first, among which the classifier may be.
    """
    arguments = dict(known.arguments)
    net = _blank(known.model, **arguments)
    named = rename(state, known.rules, net)
    theirs = dict(zip(named, state, strict=True))
    named, notes, heads = with_head(named, list(state), net.state_dict(), around)
    if net.auxiliary and not any(key.startswith("auxiliary.") for key in named):
        arguments["aux"] = False  # published files often have none
    first, head = named.get(f"{first_conv(net)}.weight"), named.get(HEAD)
    if head is not None and num_classes is not None and not may_be_head(head, net.state_dict()[HEAD].shape[1]):
        head = None  # of another width, or of a single output: the fresh one takes its place
    if first is not None and first.ndim == 4 and first.numel() > 0:
        arguments["in_chans"] = first.shape[1]
    if head is not None and head.ndim > 1 and head.shape[0] > 1 and head.numel() > 0:
        arguments["num_classes"] = head.shape[0]
    fresh = head is None and num_classes is not None
    if fresh:
        arguments["num_classes"] = num_classes
    net = _blank(known.model, **arguments)
    if any(
        k.startswith("auxiliary.") and k in named and named[k].shape != v.shape for k, v in net.state_dict().items()
    ):
        named = {key: value for key, value in named.items() if not key.startswith("auxiliary.")}
        notes.append("left out: the auxiliary classifiers, which are for another number of classes than the head")
        net = _blank(known.model, **(arguments := {**arguments, "aux": False}))
    own, odd = net.state_dict(), list[str]()
    for key, value in named.items():
        # A fully connected layer that was saved as a convolution, or the other way round.
        if key in own and {value.ndim, own[key].ndim} == {2, 4} and value.flatten(1).shape == own[key].flatten(1).shape:
            named[key] = value.reshape(own[key].shape)
    if fresh:
        named, odd = without_head(named, own, theirs)
        if odd:
            layers = ", ".join(odd[:LISTED])
            notes.append(f"left out: the file's head, which is not one linear layer that fits ({layers})")
    expected = {
        key: value for key, value in own.items() if not (fresh and key.startswith("head.") and key not in named)
    }
    fits = sum(key in named and named[key].shape == value.shape for key, value in own.items())
    wrong = mismatches(expected, named)
    return Match(named, net, arguments, head is not None, wrong, fits, tuple(notes), tuple(odd), tuple(heads))


@functools.lru_cache(256)
def _blank(name: str, **arguments: Any) -> ConvNet:
    """A network on the meta device to compare with; it is cached and must not be changed."""
    return meta(lambda: build_model(name, **arguments))


def size(known: Peer) -> tuple[int, int]:
    """How many weights, without vectors, a peer's network has: without its head, and with it."""
    own = _blank(known.model, **known.arguments).state_dict()
    weights = [key for key, value in own.items() if value.ndim > 1]
    return sum(key.startswith(BODY) for key in weights), len(weights)


def mismatches(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """Say why tensors are not the weights of a network: the first ones that are missing, unexpected, or of another shape or kind.

    Args:
        own: the network's state dict, of which only names, shapes and dtypes count. `num_batches_tracked` may be missing.
        state: the tensors.

    Returns:
        Text, empty where everything fits.
    """
    shapes = [
        f"{key} is {tuple(state[key].shape)}, not {tuple(value.shape)}"
        for key, value in own.items()
        if key in state and state[key].shape != value.shape
    ]
    kinds = [
        f"{key} is of {str(state[key].dtype).removeprefix('torch.')}"
        for key, value in own.items()
        if key in state and value.is_floating_point() and not state[key].is_floating_point()
    ]
    wrong = {
        "missing": [key for key in own if key not in state and not key.endswith("num_batches_tracked")],
        "unexpected": [key for key in state if key not in own],
        "mismatched": shapes or kinds,
    }
    return "; ".join(f"{len(v)} {kind}: {', '.join(v[:LISTED])}" for kind, v in wrong.items() if v)


def fitting(source: str, state: Mapping[str, Tensor]) -> str | None:
    """The peer whose weights these tensors are, as "LIBRARY:NAME"; None where there is none.

    Args:
        source: the peer that was tried already; others of its library are tried first.
        state: tensors by the peer's names.
    """
    if not any(value.ndim > 1 and value.numel() for value in state.values()):
        return None
    library = source.partition(":")[0]
    plausible: dict[int, bool] = {}
    for (theirs, name), known in sorted(peers().items(), key=lambda item: item[0][0] != library):
        if id(known.rules) not in plausible:
            plausible[id(known.rules)] = _sounds_like(known.rules, state)
        likely = plausible[id(known.rules)] and f"{theirs}:{name}" != source and _has_names(known, state)
        if likely and not match(known, state, ANY_HEAD).wrong:
            return f"{theirs}:{name}"
    return None


def _has_names(known: Peer, state: Mapping[str, Tensor]) -> bool:
    """Whether tensors have exactly the names of a network's weights before its head, whatever their shapes."""
    net = _blank(known.model, **known.arguments)

    def counted(keys: Iterable[str]) -> set[str]:
        return {key for key in keys if key.startswith(BODY) and not key.endswith("num_batches_tracked")}

    return counted(rename(state, known.rules, net)) == counted(net.state_dict())


def _sounds_like(rules: Rules, state: Iterable[str]) -> bool:
    """Whether rules turn most names into names of ours; tells without building a network."""
    if any(isinstance(target, InOrder) for _, target in rules):
        return True
    keys = list(state)
    ours = 0
    for key in keys:
        for pattern, target in rules:
            key = _replaced(pattern, target, key)
        ours += key.startswith(PARTS)
    return 2 * ours > len(keys)


def rename(state: Mapping[str, Tensor], rules: Rules, net: ConvNet) -> dict[str, Tensor]:
    """Tensors by our names, after one rule after the other; a name for which we have no layer stays as it was."""
    named = dict(state)
    for pattern, replacement in rules:
        target: Any = replacement
        if isinstance(replacement, InOrder):
            target = _numbered(pattern, replacement, list(named), net)
        renamed: dict[str, Tensor] = {}
        for key, value in named.items():
            new = _replaced(pattern, target, key)
            while new in renamed:  # where two of theirs become one of ours, none is dropped silently
                new += " (again)"
            renamed[new] = value
        named = renamed
    return named


def _replaced(pattern: str, target: Any, key: str) -> str:
    """A name after one rule."""
    with suppress(LookupError, ValueError):  # a number for which we have no layer
        return re.sub(pattern, target, key)
    return key


def _numbered(pattern: str, rule: InOrder, keys: list[str], net: ConvNet) -> Callable[[re.Match[str]], str]:
    """A replacement that turns the number in a peer's name into the name of our layer of the same rank."""
    found = (re.search(pattern, key) for key in keys)
    numbers = sorted({int(match[1]) for match in found if match and len(match[1]) < 10})
    ours = [n for n, m in net.named_modules() if isinstance(m, rule.kind) and re.search(rule.where, n)]
    names = dict(zip(numbers, ours, strict=False))
    return lambda match: f"{names[int(match[1])]}."


def first_conv(net: ConvNet) -> str:
    """The name of the convolution that reads the image."""
    return next(name for name, m in net.named_modules() if isinstance(m, nn.Conv2d))


def refuse_not_finite(state: Mapping[str, Tensor], origin: str) -> None:
    """Refuse weights with values that are NaN or infinite.

    Raises:
        ModelFileError: names the first such tensor and the number of such values in it.
    """
    for name, value in state.items():
        if not value.is_floating_point() or value.numel() == 0 or value.is_meta:
            continue
        low, high = value.aminmax()
        if not (torch.isfinite(low) and torch.isfinite(high)):
            count = int((~torch.isfinite(value)).sum())
            what = f"{origin}: {name} has {count} of {value.numel():,} values that are not finite (NaN or infinite)"
            raise ModelFileError(what, "use an earlier checkpoint, or train again: with these it answers nothing")
