"""Choose the weights of a network among all that a checkpoint holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from podium.errors import ModelFileError, UsageError
from podium.weights.doubt import in_doubt, in_words
from podium.weights.foreign import Checkpoint
from podium.weights.front import Front
from podium.weights.heads import BIAS, HEAD, in_parts
from podium.weights.match import ANY_HEAD, Match, fitting, match, size
from podium.weights.normalizers import front_of, may_act
from podium.weights.peers import Peer
from podium.weights.pickled import NETWORK
from podium.weights.pixel_means import Normalizer, without_normalizers
from podium.weights.take_out import line_without
from podium.weights.wrappers import COUNTS, View, branch, views, with_masks, without_inserted

_CLASSIFIER = re.compile(r"(?:^|[._])(?:fc|cls|classifier|head|linear|logits|out|output)(?=[._\d]|$)", re.IGNORECASE)
LISTED = 8  # names of what is left out that a note lists
NO_HEAD = "--num-classes N puts a fresh classifier on it, and podium train --weights needs none"
HEAD_LOST = f"{NO_HEAD}; the file's answers are lost with its head until the new one is trained"


@dataclass(frozen=True)
class _Found:
    view: View
    match: Match


def choose(
    source: str, known: Peer, held: Checkpoint, path: Path, num_classes: int | None, ema: bool, body: bool
) -> tuple[Match, list[str], Front | None]:
    """Find the weights of a peer's network in a checkpoint.

    Args:
        source: "LIBRARY:NAME" of the peer.
        known: the peer.
        held: what the file holds.
        path: of the file, for errors.
        num_classes: of a fresh classifier, where the checkpoint has none that fits.
        ema: take the EMA weights, not those beside them.
        body: leave out a head that may not be the one that answers, for a fresh one.

    Returns:
        The weights, a line for everything that was taken off, chosen or left out, and what the file does to pixels before them.

    Raises:
        ModelFileError: no weights fit, or several that differ.
        UsageError: there are no EMA weights.
    """
    tensors, masks = with_masks(held.tensors)
    tensors, normalizers = without_normalizers(tensors)
    held = replace(held, tensors=tensors)
    every = [
        _Found(view, match(known, view.tensors, num_classes, view.around)) for view in views(held.tensors, *size(known))
    ]
    # Stable: shortest prefix first.
    fit = sorted((f for f in every if not f.match.wrong), key=lambda f: not f.match.has_head)
    averaged, plain = [f for f in fit if f.view.ema], [f for f in fit if not f.view.ema]
    if not fit:
        raise _nothing_fits(source, known, every, path, held)
    if ema and not averaged:
        raise UsageError(f"ema: {path} has no EMA weights of {known.model}", "leave --ema out")
    pool = averaged if ema else plain or averaged
    best = pool[0]
    alike = (f for f in pool if f.match.has_head == best.match.has_head)
    if other := next((f for f in alike if not _same(best.match, f.match)), None):
        names = " and ".join(repr(f.view.prefix[:-1]) for f in (best, other))
        what = f"{path}: holds two different sets of weights that fit {known.model}, under {names}"
        raise ModelFileError(what, "save the one that you mean in a file of its own, and give that")
    if held.problem and not body:
        raise ModelFileError(f"{path}: {held.problem}", HEAD_LOST)
    front, kept = _on_pixels(best, fit, held, normalizers)
    if odd := _in_doubt(best, fit, held, kept):
        best = _without_head(best, odd, held, known, path, num_classes if body else None)
    said = [*_on_ema(best, averaged), *_on_name(source, held)]
    notes = [*best.view.notes(), *masks, *held.notes, *best.match.notes, *said]
    if held.problem:
        notes.append(f"left out: the file's head, since {held.problem}")
        best = replace(best, match=replace(best.match, odd_head=best.match.odd_head or (HEAD,)))
    idle = [each.layer[:-1] or each.mean for each in normalizers if front is None or each.mean not in front.layers]
    if left := list(dict.fromkeys([*_left_out(held, best, fit), *idle])):
        more = f" and {len(left) - LISTED} more" if len(left) > LISTED else ""
        notes.append(f"left out, beside the weights: {', '.join(left[:LISTED])}{more}")
    return best.match, notes, front


def _on_pixels(
    best: _Found, fit: list[_Found], held: Checkpoint, normalizers: Sequence[Normalizer]
) -> tuple[Front | None, set[str]]:
    """What the file does to pixels before the network, and the names of all that says so or may act on them."""
    under, beside, channels = best.view.prefix, best.view.others, best.match.net.spec["in_chans"]
    others = [f.view.prefix for f in fit if without_inserted(f.view.prefix) != without_inserted(under)]
    front = held.front or front_of(normalizers, under, others, beside, channels, held.beside)
    kept = {name for each in normalizers for name in each.names}
    if front is not None and front.problem:
        kept |= may_act(under, others, beside, channels)
    return front, kept


def _on_ema(best: _Found, averaged: list[_Found]) -> list[str]:
    """Whether the weights are EMA weights, or others beside them are."""
    if best.view.ema:
        return ["these are averaged (EMA) weights"]
    where = [f"{found.view.prefix[:-1]!r}" for found in averaged[:1]]
    return [f"the file also has averaged (EMA) weights, under {name}: --ema takes those" for name in where]


def _on_name(source: str, held: Checkpoint) -> list[str]:
    """Whether the file gives its network the name of another one of the same family."""
    name = source.partition(":")[2].partition(".")[0].lower()
    family = re.split(r"\d", name.replace("legacy_", ""))[0].strip("_")
    said = [
        each for each in held.beside if each.partition(": ")[0] in NETWORK and family in each.partition(": ")[2].lower()
    ]
    return [
        f"the file says {each}, and is read as {source}: networks of one family can have weights of the same shapes and answer otherwise"
        for each in said
        if not name.startswith(each.partition(": ")[2].partition(".")[0].lower())
    ]


def _in_doubt(found: _Found, fit: list[_Found], held: Checkpoint, kept: set[str]) -> list[str]:
    """The names of what stands beside a network that has a head, and may take part in its answers.

    Args:
        found: the network.
        fit: all sets of weights in the file that fit.
        held: what the file holds.
        kept: names of what acts on pixels.
    """
    if not found.match.has_head:
        return []
    head = {key: found.match.state[key] for key in (HEAD, BIAS) if key in found.match.state}
    known = {value.data_ptr() for f in fit if f.match.has_head for value in f.match.state.values()}
    counts = {len(names) for names in held.named.values() if names is not None}
    return in_doubt(found.view, head, known, kept, counts)


def _without_head(
    found: _Found, odd: list[str], held: Checkpoint, known: Peer, path: Path, num_classes: int | None
) -> _Found:
    """The same weights, without a head that is in doubt.

    Args:
        found: the weights.
        odd: the names of what puts the head in doubt.
        held: what the file holds.
        known: the peer.
        path: of the file.
        num_classes: of the fresh classifier in its place; None: refuse.

    Raises:
        ModelFileError: no fresh classifier is wanted.
    """
    layer = _layers(held, [found.match.state[HEAD]])[0]
    why = f"{in_words(odd)} beside it may take part in the answers"
    if num_classes is None:
        what = f"the network's classifier {layer!r} may not be what answers: {why}"
        fix = f"where its answers need none of these, {line_without(path, odd)}; else {HEAD_LOST}"
        raise ModelFileError(f"{path}: {what}", fix)
    head = {found.match.state[key].data_ptr() for key in (HEAD, BIAS) if key in found.match.state}
    tensors = {name: value for name, value in found.view.tensors.items() if value.data_ptr() not in head}
    bare = match(known, tensors, num_classes)
    note = f"left out: the classifier {layer!r}, since {why}"
    return replace(found, match=replace(bare, notes=(*bare.notes, note), odd_head=(layer,)))


def _layers(held: Checkpoint, weights: Iterable[Tensor]) -> list[str]:
    """The names in the file of the layers that some tensors are of."""
    names = {value.data_ptr(): name for name, value in held.tensors.items()}
    found = (names[value.data_ptr()] for value in weights)
    return [name.rpartition(".")[0] or name for name in found]


def _nothing_fits(source: str, known: Peer, every: list[_Found], path: Path, held: Checkpoint) -> ModelFileError:
    """The refusal, with the known network that the weights do fit, or what else would help."""
    best = max(every, key=lambda f: f.match.fitting)
    what = f"{path}: not the weights of {known.model} ({best.match.wrong})"
    bare = match(known, best.view.tensors, ANY_HEAD, best.view.around)
    if not bare.wrong and not bare.has_head:
        if held.problem:
            return ModelFileError(f"{path}: {held.problem}", HEAD_LOST)
        if parts := in_parts(held.tensors):
            return ModelFileError(f"{path}: {parts[0]}", f"{parts[1]}; else {HEAD_LOST}")
        if best.match.heads:
            return _several(path, _layers(held, best.match.heads), held, best.match.heads)
        odd = ", ".join(bare.odd_head[:LISTED])
        lacking = f"its head is not one linear layer that fits: {odd}" if odd else "it has no classifier that fits"
        return ModelFileError(f"{what}: {lacking}", HEAD_LOST if odd else NO_HEAD)
    for found in sorted(every, key=lambda f: -len(f.view.tensors)):
        if other := fitting(source, found.view.tensors):
            return ModelFileError(what, f"these are the weights of {other}: give that name")
    more = next((w for w in (best.match.wrong, bare.wrong) if re.fullmatch(r"\d+ unexpected: [^;]*", w)), "")
    if more:
        mend = (
            "take these out of the file if its answers do not need them, as those of a loss or of another network; else the "
            f"network has layers that {known.model} has not, and Podium cannot import it"
        )
        return ModelFileError(
            f"{path}: {f'{held.problem}: ' if held.problem else ''}not the weights of {known.model} ({more})", mend
        )
    if re.fullmatch(r"\d+ missing: [^;]*", bare.wrong):
        mend = "where the network was cut before these layers, Podium cannot import it; else name the network that they belong to"
        return ModelFileError(what, mend)
    if re.fullmatch(r"\d+ mismatched: (\S+num_batches_tracked is [^ ]+ not \(\)(, )?)+", best.match.wrong):
        return ModelFileError(
            what, "take out all tensors called num_batches_tracked: only training with them counts batches"
        )
    return ModelFileError(what, "name the network that they belong to")


def _several(path: Path, layers: list[str], held: Checkpoint, weights: Sequence[Tensor]) -> ModelFileError:
    """The refusal of several layers that may be the head, with the line that leaves the likeliest: by its number of classes, its name, or its place."""
    counts = {len(names) for names in held.named.values() if names is not None}
    named = [name for name, value in zip(layers, weights, strict=True) if len(value) in counts]
    likely = min(named or list(filter(_CLASSIFIER.search, layers)) or layers, key=lambda name: name.count("."))
    rest = [layer for layer in layers if layer != likely]
    what = f"{path}: {len(layers)} layers may be the network's classifier: {in_words(layers)}"
    fix = f"where {likely!r} answers and needs none of the others, {line_without(path, rest)}; else {HEAD_LOST}"
    return ModelFileError(what, fix)


def _same(one: Match, other: Match) -> bool:
    """Whether two sets of weights are the same values."""
    return one.state.keys() == other.state.keys() and all(_equal(v, other.state[k]) for k, v in one.state.items())


def _equal(one: Tensor, other: Tensor) -> bool:
    return one is other or (one.shape == other.shape and torch.equal(one, other))


def _left_out(held: Checkpoint, best: _Found, fit: list[_Found]) -> list[str]:
    """The names of what is in the file beside the weights, without those that other notes name."""
    named = {id(value) for f in fit for value in f.view.tensors.values()}
    used = {value.data_ptr() for f in fit for value in f.match.state.values()}  # a head may stand elsewhere
    left = (
        branch(name, best.view.prefix)
        for name, value in held.tensors.items()
        if id(value) not in named and value.data_ptr() not in used and not name.endswith(COUNTS)
    )
    return list(dict.fromkeys([*left, *held.beside]))
