"""The roles of images: which train, which validate and which test, so that no network is evaluated on images it learned from.

Images are recognised by the keys of their content, and by their groups where they have some. Exact copies count as one image
and are never on both sides of a split, and neither is a group.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from podium.data.dataset import SPLITS, Dataset
from podium.data.groups import GROUP, draw_units, refuse_divided, units
from podium.data.layout import LAYOUT
from podium.data.names import show
from podium.data.record import Record
from podium.errors import DataError, UsageError

HELD_OUT = 0.2  # share of the training images, where a set has no others to evaluate on
SHOWN = 5  # names in a message


def with_roles(data: Dataset, val: float | None, seed: int, record: Record | None = None) -> Dataset:
    """Prepare a data set for training: the images to evaluate on are separate from those to train on.

    Args:
        data: the set with the splits it was given.
        val: share of the training images to hold out; None: a fifth where there is nothing else to evaluate on.
        seed: decides which images are held out.
        record: of an earlier run on these images, or of the run whose weights this one starts from: what that run learned
            from is trained on again, and what it held out stays held out.

    Returns:
        The set with its new splits.

    Raises:
        UsageError: `val` is given although the set has validation images, or 0 although it has nothing else to evaluate on.
        DataError: no images are left to evaluate on, or to train on.
    """
    if "train" not in data.splits:
        where, held = show(data.source or data.name), " and ".join(data.splits)
        what = f"{where}: only {held} images, and none to train on"
        place = "into its table" if Path(data.source).is_file() else f"into {where}/train"
        raise DataError(what, f"put training images {place}; {held} images alone are for `podium eval`")
    if len(data.classes) < 2:
        what = f"{show(data.source or data.name)}: one class only ({data.classes[0]} {len(data.splits['train'])})"
        layout = "" if Path(data.source).is_file() else f"; {LAYOUT}"
        raise DataError(what, f"a classifier needs two classes at least{layout}")
    given = "val" in data.splits or "test" in data.splits
    share = val if val is not None else (0.0 if given else HELD_OUT)
    if val and "val" in data.splits:
        raise UsageError(f"val: {val}, but {data.name} has a validation split", "leave val out")
    data = apart(record.with_groups_of(data) if record is not None else data)
    refuse_divided(data)
    if record is not None:
        data = without_learned(data, record)
    if share > 0:
        data = _as_before(data, record, share, seed) if record is not None else hold_out(data, share, seed)
    if set(data.splits) == {"train"}:
        raise UsageError("val: 0 leaves nothing to evaluate on", "give a fraction such as 0.2")
    return data


def hold_out(data: Dataset, share: float, seed: int, together: bool = True) -> Dataset:
    """Move a share of each class from train to val; at least one image of each stays.

    Args:
        data: the set.
        share: of the images of each class.
        seed: decides which.
        together: keep exact copies on one side, which Podium 0.1.0 did not do.

    Raises:
        DataError: there are too few images.
    """
    train = data.splits["train"]
    grouped = GROUP in train.columns
    if grouped:
        val = draw_units(train.labels, units(train), share, seed)
    else:
        val = _drawn(train.labels, train.contents() if together else None, share, seed, len(data.classes))
    copies = len(val) - len(np.unique(train.contents())) if together else 0
    if not val.any():
        what = f"{data.name}: too few {'groups' if grouped else 'images'} to hold any out" + (
            f", {copies:,} of {len(val):,} are copies" * (copies > 0)
        )
        if not grouped and len(val) == len(data.classes):
            what += f": each of the {len(val):,} classes has one image only"
        raise DataError(what, f"add images{' of other groups' * grouped}, or give val and test folders")
    how = "stratified, by group" if grouped else "stratified"
    notes = [f"note: {val.sum():,} of {len(val):,} training images are held out for validation (seed {seed}, {how})"]
    if copies:
        notes.append(f"note: {copies:,} of them are exact copies of others; copies stay on one side")
    without = [name for label, name in enumerate(data.classes) if not val[train.labels == label].any()]
    if without:
        one = "one group" if grouped else "one image each, or copies of one"
        notes.append(f"note: none is held out of {_named(without)}: {one}")
    return _moved(data, val, notes, {"share": share, "seed": seed})


def _drawn(labels: np.ndarray, keys: np.ndarray | None, share: float, seed: int, classes: int) -> np.ndarray:
    """Which images to hold out, (N,) bool: about this share of each class, and exact copies together."""
    places = np.arange(len(labels))
    if keys is None:
        first, size = places, np.ones(len(labels), np.int64)
    else:
        _, firsts, group, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        first, size = firsts[group], counts[group]
    draw = np.random.Generator(np.random.PCG64(seed))
    chosen: list[np.ndarray] = []
    for label in range(classes):
        leaders = draw.permutation(np.flatnonzero((labels == label) & (first == places)))
        total = size[leaders].sum()
        wanted = min(max(1, round(share * total)), total - 1)
        count = max(1, int(np.searchsorted(np.cumsum(size[leaders]), wanted, side="right")))
        chosen.append(leaders[: min(count, len(leaders) - 1)] if len(leaders) else leaders)
    val = np.isin(first, np.concatenate(chosen))
    for label in range(classes):  # an image with two labels may have taken the last of one of them
        own = labels == label
        if own.any() and not (own & ~val).any():
            val &= ~np.isin(first, first[own])
    return val


def _moved(data: Dataset, val: np.ndarray, notes: list[str], made: dict[str, Any] | None) -> Dataset:
    """Move training images to the validation split, which must not exist yet."""
    train = data.splits["train"]
    splits = {**data.splits, "train": train.select(np.flatnonzero(~val)), "val": train.select(np.flatnonzero(val))}
    ordered = {name: splits[name] for name in SPLITS if name in splits}
    return replace(data, splits=ordered, notes=(*data.notes, *notes), held_out=made)


def apart(data: Dataset) -> Dataset:
    """The splits that were given; val and test without exact copies of images of an earlier split."""
    splits = dict(data.splits)
    notes = []
    for number, name in enumerate(SPLITS[1:], 1):
        if name not in splits:
            continue
        for before in (other for other in SPLITS[:number] if other in splits):
            split = splits[name]
            copies = np.isin(split.contents(), splits[before].contents())
            if copies.all():
                what = f"{data.name}: all {len(split)} {name} images are exact copies of {before} images"
                raise DataError(what, f"take {name} away, or put other images there")
            if copies.any():
                splits[name] = split.select(np.flatnonzero(~copies))
                notes.append(
                    f"note: {copies.sum():,} {name} images are exact copies of {before} images and are left out"
                )
    return replace(data, splits=splits, notes=(*data.notes, *notes)) if notes else data


def without_learned(data: Dataset, record: Record, whole: bool = False) -> Dataset:
    """Remove from the validation and test images those from which the weights learned.

    Args:
        data: the images.
        record: of the weights.
        whole: drop a split of which nothing would be left; otherwise refuse it.

    Raises:
        DataError: nothing would be left of a split.
    """
    data = record.with_groups_of(data)
    splits, notes = dict(data.splits), []
    for name, split in data.splits.items():
        if name == "train":
            continue
        known = record.learned_from(split)
        others = known & ~np.isin(split.contents(), record.learned)
        same = f", or on others of their groups ({others.sum():,})" if others.any() else ""
        if known.all() and whole:
            del splits[name]
            notes.append(f"note: all {len(split):,} {name} images are left out: the weights were trained on them{same}")
            continue
        if known.all():
            what = f"{data.name}: all {len(split)} {name} images are among those the weights were trained on{same}"
            raise DataError(what, "give images that they have not seen")
        if known.any():
            splits[name] = split.select(np.flatnonzero(~known))
            notes.append(f"note: {known.sum():,} {name} images are left out: the weights were trained on them{same}")
    return replace(data, splits=splits, notes=(*data.notes, *notes)) if notes else data


def _as_before(data: Dataset, record: Record, share: float, seed: int) -> Dataset:
    """Split training images as an earlier run had them; images that it did not have are split anew."""
    train = data.splits["train"]
    keys, grouped = train.contents(), GROUP in train.columns
    learned, held = record.learned_from(train), record.held_out(train)
    if grouped:  # a unit has one role, and learning decides it
        unit = units(train)
        learned = np.isin(unit, unit[learned])
        held = np.isin(unit, unit[held]) & ~learned
    fresh = ~learned & ~held
    if fresh.all():
        return hold_out(data, share, seed)
    if not held.any() and not fresh.any():
        what = f"{data.name}: the weights were trained on all {len(keys):,} images; none is left to evaluate them on"
        raise DataError(what, "give val and test folders with images that they have not seen")
    val = held.copy()
    places = np.flatnonzero(fresh)
    if len(places):
        labels = train.labels[places]
        val[places] = (
            draw_units(labels, unit[places], share, seed)
            if grouped
            else _drawn(labels, keys[places], share, seed, len(data.classes))
        )
    if missing := [name for label, name in enumerate(data.classes) if not (~val[train.labels == label]).any()]:
        raise DataError(
            f"{data.name}: all images of {_named(missing)} were held out before", "add training images there"
        )
    note = f"note: {held.sum():,} images are held out for validation, as they were before"
    if len(places):
        note += f"; of {len(places):,} new ones {val[places].sum():,} are"
    same = record.made if not len(places) else {"share": share, "seed": seed}
    made = {key: same[key] for key in ("share", "seed") if key in same}
    return _moved(data, val, [note], made)


def for_evaluation(data: Dataset, record: Record | None) -> Dataset:
    """Prepare a data set for the evaluation of a run: nothing is split anew, and what the run learned from is kept apart.

    Of a set without splits, the images from which the run learned become "train". The rest becomes "val" where the run held
    some of it out, and "test" where the run had none of it. Of a run that had validation and test images, such as a fold of a
    cross-validation, the validation images become "val" and the rest "test".
    """
    if record is None:
        return data if set(data.splits) != {"train"} else replace(data, splits={"test": data.splits["train"]})
    data = record.with_groups_of(data)
    if set(data.splits) != {"train"}:
        data = without_learned(data, record, whole=True)
        train = data.splits.get("train")
        held = record.held_out(train) if train is not None and "val" not in data.splits else np.zeros(1, bool)
        return _moved(data, held, [], data.held_out) if held.any() else data
    train = data.splits["train"]
    learned = record.learned_from(train)
    others = learned & ~np.isin(train.contents(), record.learned)
    held = record.held_as("val", train) if "test" in record.roles else np.full(len(train), record.held_out(train).any())
    val = ~learned & held
    parts = {"train": learned, "val": val, "test": ~learned & ~val}
    splits = {name: train.select(np.flatnonzero(rows)) for name, rows in parts.items() if rows.any()}
    notes = data.notes
    if learned.any():
        same = f", or on others of their groups ({others.sum():,})" if others.any() else ""
        notes += (f"note: {learned.sum():,} of {len(train):,} images are left out: the run was trained on them{same}",)
    return replace(data, splits=splits, notes=notes)


def described(data: Dataset) -> Dataset:
    """Put a line with the sizes of the splits and the classes before the other notes."""
    sizes = ", ".join(f"{name} {len(split):,}" for name, split in data.splits.items())
    named = ", ".join(data.classes[:10]) + (", ..." if len(data.classes) > 10 else "")
    return replace(data, notes=(f"{data.name}: {sizes} images; {len(data.classes)} classes: {named}", *data.notes))


def _named(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
