"""Images that are held out: which of the training images become test and validation images, drawn by class, copy and group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from podium.data.dataset import SPLITS, Dataset, Split
from podium.data.groups import GROUP, draw_units, units
from podium.errors import DataError

PURPOSE = {
    "test": "to test",
    "val": "for validation",
}  # the roles of held-out images, in the order in which they are drawn
SHOWN = 5  # names in a message


def hold_out(data: Dataset, val: float, seed: int, together: bool = True, test: float = 0.0) -> Dataset:
    """Move a share of each class from train to test, and a share of the rest to val; at least one image of each stays.

    Args:
        data: the set.
        val: share of the images of each class that becomes "val", of those that are not "test"; 0: none.
        seed: decides which.
        together: keep exact copies on one side, which Podium 0.1.0 did not do.
        test: share of the images of each class that becomes "test"; 0: none.

    Raises:
        DataError: there are too few images.
    """
    train = data.splits["train"]
    grouped, count = GROUP in train.columns, len(train)
    copies = count - len(np.unique(train.contents())) if together else 0
    chosen: dict[str, np.ndarray] = {}
    notes, left = [], np.arange(count)
    for role, share in (("test", test), ("val", val)):
        if share == 0:
            continue
        rows = draw(train, left, share, role, seed, together)
        if not rows.any():
            raise _too_few(data, train.select(left), copies)
        chosen[role], left = left[rows], left[~rows]
        labels = train.labels[chosen[role]]
        if without := [name for label, name in enumerate(data.classes) if label not in labels]:
            one = "one group" if grouped else "one image each, or copies of one"
            purpose, beside = (f" {PURPOSE[role]}", ", beside the test images") if test and role == "val" else ("", "")
            notes.append(f"note: none is held out{purpose} of {named(without)}: {one}{beside}")
    found = sizes({role: len(rows) for role, rows in chosen.items()}, f" of {count:,} training images")
    lines = [f"note: {found} (seed {seed}, stratified{', by group' * grouped})"]
    if copies:
        lines.append(f"note: {copies:,} of them are exact copies of others; copies stay on one side")
    return moved(data, chosen, [*lines, *notes], made({"val": val, "test": test}, seed))


def _too_few(data: Dataset, left: Split, copies: int) -> DataError:
    """The error of data of which none can be held out."""
    grouped, count = GROUP in left.columns, len(left)
    what = f"{data.name}: too few {'groups' if grouped else 'images'} to hold any out"
    if copies:
        what += f", {copies:,} of {count:,} are copies"
    if not grouped and count == len(data.classes):
        what += f": each of the {count:,} classes has one image only"
    return DataError(what, f"add images{' of other groups' * grouped}, or give val and test folders")


def draw(split: Split, places: np.ndarray, share: float, role: str, seed: int, together: bool = True) -> np.ndarray:
    """Choose images to hold out: about this share of each class, with exact copies and groups on one side.

    Args:
        split: the training images.
        places: (N,) the numbers of those that can be chosen.
        share: of the images of each class.
        role: "val" or "test". Each has random numbers of its own: with the same ones, validation images would tend to be
            neighbours of test images, such as the next photo of a burst.
        seed: decides which.
        together: keep exact copies on one side.

    Returns:
        (N,) bool.
    """
    own = [seed, 1] if role == "test" else seed
    if GROUP in split.columns:
        return draw_units(split.labels[places], units(split)[places], share, own)
    return _drawn(split.labels[places], split.contents()[places] if together else None, share, own)


def _drawn(labels: np.ndarray, keys: np.ndarray | None, share: float, seed: int | Sequence[int]) -> np.ndarray:
    """Which images to hold out, (N,) bool: about this share of each class, and exact copies together."""
    places = np.arange(len(labels))
    if keys is None:
        first, size = places, np.ones(len(labels), np.int64)
    else:
        _, firsts, group, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        first, size = firsts[group], counts[group]
    draw = np.random.Generator(np.random.PCG64(seed))
    chosen = [places[:0]]
    for label in np.unique(labels):
        leaders = draw.permutation(np.flatnonzero((labels == label) & (first == places)))
        total = size[leaders].sum()
        wanted = min(max(1, round(share * total)), total - 1)
        count = max(1, int(np.searchsorted(np.cumsum(size[leaders]), wanted, side="right")))
        chosen.append(leaders[: min(count, len(leaders) - 1)] if len(leaders) else leaders)
    held = np.isin(first, np.concatenate(chosen))
    for label in np.unique(labels):  # an image with two labels may have taken the last of one of them
        own = labels == label
        if not (own & ~held).any():
            held &= ~np.isin(first, first[own])
    return held


def made(shares: Mapping[str, float], seed: int) -> dict[str, Any]:
    """How images were held out, as records and cards have it: the share for validation, the seed, the share to test."""
    found = {"share": shares["val"], "seed": seed, "test": shares["test"]}
    return {key: value for key, value in found.items() if value or key == "seed"}


def moved(data: Dataset, chosen: Mapping[str, np.ndarray], notes: list[str], made: dict[str, Any] | None) -> Dataset:
    """Move training images to other splits, which must not exist yet.

    Args:
        data: the images.
        chosen: split -> the numbers of the images that become it; none make no split.
        notes: about it.
        made: see `Dataset.held_out`.
    """
    train = data.splits["train"]
    stays = np.ones(len(train), bool)
    splits = dict(data.splits)
    for role, rows in chosen.items():
        stays[rows] = False
        if len(rows):
            splits[role] = train.select(np.sort(rows))
    splits["train"] = train.select(np.flatnonzero(stays))
    ordered = {name: splits[name] for name in SPLITS if name in splits}
    return replace(data, splits=ordered, notes=(*data.notes, *notes), held_out=made)


def sizes(counts: Mapping[str, int], of: str = "") -> str:
    """How many images have which role: "80 of 400 images are held out to test, 64 for validation", where `of` is " of 400 images"."""
    first, *others = counts.items()
    found = f"{first[1]:,}{of} are held out {PURPOSE[first[0]]}"
    return found + "".join(f", {count:,} {PURPOSE[role]}" for role, count in others)


def named(names: list[str]) -> str:
    """The first names of a list, and how many more there are."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
