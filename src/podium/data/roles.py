"""The roles of images: which train, which validate and which test, so that no network is evaluated on images it learned from.

Images are recognised by the keys of their content, and by their groups where they have some. Exact copies count as one image
and are never on both sides of a split, and neither is a group.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from podium.data.dataset import SPLITS, Dataset, Split
from podium.data.groups import GROUP, draw_units, refuse_divided, units
from podium.data.held_out import PURPOSE, draw, hold_out, made, moved, named, sizes
from podium.data.layout import LAYOUT
from podium.data.names import show
from podium.data.record import Record
from podium.errors import DataError, UsageError

HELD_OUT = 0.2  # share of the training images, where a set has no others to evaluate on


def with_roles(
    data: Dataset, val: float | None, seed: int, record: Record | None = None, test: float | None = None
) -> Dataset:
    """Prepare a data set for training: the images to evaluate on are separate from those to train on.

    Args:
        data: the set with the splits it was given.
        val: share of the training images to hold out for validation, of those that are not held out to test; None: a fifth
            where the set was given no images to evaluate on.
        seed: decides which images are held out.
        record: of an earlier run on these images, or of the run whose weights this one starts from: what that run learned
            from is trained on again, and what it held out keeps its role.
        test: share of the training images to hold out to test; None: none but those that the record has.

    Returns:
        The set with its new splits.

    Raises:
        UsageError: `val` or `test` is given although the set has such a split, or they leave nothing to train on, or nothing
            to evaluate on.
        DataError: no images are left to evaluate on, or to train on.
    """
    _refuse_untrainable(data)
    given = [name for name in SPLITS[1:] if name in data.splits]
    for name, share, word in (("val", val, "validation"), ("test", test, "test")):
        if share and name in given:
            raise UsageError(f"{name}: {share}, but {data.name} has a {word} split", f"leave {name} out")
    if test and val and test + val >= 1:
        raise UsageError(
            f"test: {test} and val: {val} leave nothing to train on", "give smaller fractions, such as 0.2"
        )
    shares = {"test": test or 0.0, "val": val if val is not None else (0.0 if given else HELD_OUT)}
    data = apart(record.with_groups_of(data) if record is not None else data)
    refuse_divided(data)
    if record is not None:
        data = _as_before(without_learned(data, record), record, shares, seed)
    elif any(shares.values()):
        data = hold_out(data, shares["val"], seed, test=shares["test"])
    if set(data.splits) == {"train"}:
        raise UsageError("val: 0 leaves nothing to evaluate on", "give a fraction such as 0.2")
    return data


def _refuse_untrainable(data: Dataset) -> None:
    """Refuse data without training images, and data of one class."""
    if "train" not in data.splits:
        where, held = show(data.source or data.name), " and ".join(data.splits)
        what = f"{where}: only {held} images, and none to train on"
        place = "into its table" if Path(data.source).is_file() else f"into {where}/train"
        raise DataError(what, f"put training images {place}; {held} images alone are for `podium eval`")
    if len(data.classes) < 2:
        what = f"{show(data.source or data.name)}: one class only ({data.classes[0]} {len(data.splits['train'])})"
        layout = "" if Path(data.source).is_file() else f"; {LAYOUT}"
        raise DataError(what, f"a classifier needs two classes at least{layout}")


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


def _as_before(data: Dataset, record: Record, shares: Mapping[str, float], seed: int) -> Dataset:
    """Give training images the roles that they had in an earlier run; images that it did not have are drawn anew.

    Where test images are wanted and the run held out validation images only, half of these become test images.
    """
    train = data.splits["train"]
    learned, test, val = _earlier(train, record)
    if "test" in data.splits:
        test, val = np.zeros_like(test), test | val
    if not any(shares.values()) and not test.any():
        return data
    fresh = ~learned & ~test & ~val
    if fresh.all():
        return hold_out(data, shares["val"], seed, test=shares["test"])
    halved = shares["test"] > 0 and val.any() and not test.any()
    if halved:
        test = _half(data, val, seed)
    held = {"test": test, "val": val & ~test & (shares["val"] > 0)}
    note = _as_they_were(held, int(val.sum()) if halved else None)
    places, new = np.flatnonzero(fresh), dict[str, int]()
    for role in (role for role in PURPOSE if shares[role] and len(places)):
        rows = draw(train, places, shares[role], role, seed)
        held[role][places[rows]] = True
        new[role], places = int(rows.sum()), places[~rows]
    if new:
        note += f"; of {fresh.sum():,} new ones {sizes(new)}"
    chosen = {role: np.flatnonzero(rows) for role, rows in held.items()}
    if not any(map(len, chosen.values())):
        which = (
            f"all {len(train):,} images; none is"
            if learned.all()
            else f"{learned.sum():,} of {len(train):,} images; too few are"
        )
        what = f"{data.name}: the weights were trained on {which} left to evaluate them on"
        raise DataError(what, "give val and test folders with images that they have not seen")
    trains = ~held["test"] & ~held["val"]
    if missing := [name for label, name in enumerate(data.classes) if not trains[train.labels == label].any()]:
        what = f"{data.name}: all images of {named(missing)} were held out before"
        raise DataError(what, "add training images there")
    how: dict[str, Any] = (
        made(shares, seed) if fresh.any() else record.made | ({"test": shares["test"]} if halved else {})
    )
    return moved(data, chosen, [note], {key: how[key] for key in ("share", "seed", "test") if key in how})


def _earlier(train: Split, record: Record) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which images an earlier run learned from, held out to test and held out for validation, each (N,) bool.

    A group has one role: learning decides it, then choosing.
    """
    learned, test, val = record.learned_from(train), record.held_as("test", train), record.held_as("val", train)
    if GROUP in train.columns:
        unit = units(train)
        learned, test, val = (np.isin(unit, unit[rows]) for rows in (learned, test, val))
    return learned, test & ~val & ~learned, val & ~learned


def _half(data: Dataset, val: np.ndarray, seed: int) -> np.ndarray:
    """Half of the images that an earlier run held out for validation, as test images, (N,) bool."""
    train, places = data.splits["train"], np.flatnonzero(val)
    rows = draw(train, places, 0.5, "test", seed)
    if not rows.any():  # one image of each class: half of the classes, then
        rows = draw_units(np.zeros(len(places), np.int64), units(train)[places], 0.5, seed)
    if not rows.any():
        what = f"{data.name}: {len(places)} of its images were held out before, too few to choose by some and test by others"
        raise DataError(what, "add images, or give a test folder")
    test = np.zeros_like(val)
    test[places[rows]] = True
    return test


def _as_they_were(held: Mapping[str, np.ndarray], halved: int | None) -> str:
    """The note on images that were held out before; `halved` of them for validation, where half of these test now."""
    found = {role: int(rows.sum()) for role, rows in held.items() if rows.any() or role == "val"}
    if halved is not None:
        return f"note: {sizes(found, f' of {halved:,} images that were held out for validation before')}"
    return f"note: {sizes(found, ' images')}, as they were before"


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
        return _held_before(data, record) if "train" in data.splits else data
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


def _held_before(data: Dataset, record: Record) -> Dataset:
    """Move training images that a run held out into the splits that the data do not have."""
    train, chosen = data.splits["train"], dict[str, np.ndarray]()
    if "test" not in data.splits:
        chosen["test"] = np.flatnonzero(record.held_as("test", train) & ~record.learned_from(train))
    if "val" not in data.splits:
        chosen["val"] = np.setdiff1d(np.flatnonzero(record.held_out(train)), chosen.get("test", []))
    return moved(data, chosen, [], data.held_out) if any(map(len, chosen.values())) else data


def described(data: Dataset) -> Dataset:
    """Put a line with the sizes of the splits and the classes before the other notes."""
    sizes = ", ".join(f"{name} {len(split):,}" for name, split in data.splits.items())
    named = ", ".join(data.classes[:10]) + (", ..." if len(data.classes) > 10 else "")
    line = f"{data.name}: {sizes} images; {len(data.classes)} classes: {named}"
    return replace(data, notes=(line, *_in_two_classes(data), *data.notes))


def _in_two_classes(data: Dataset) -> list[str]:
    """A note on images of the same content in several classes, whose labels contradict each other."""
    keys = np.concatenate([split.contents() for split in data.splits.values()])
    labels = np.concatenate([split.labels for split in data.splits.values()])
    names = [file.name for split in data.splits.values() for file in split.files or ()]
    pairs = np.unique(np.stack([keys, labels.astype(np.uint64)]), axis=1)
    twice, count = np.unique(pairs[0], return_counts=True)
    odd = twice[count > 1]
    if not len(odd):
        return []
    rows = np.flatnonzero(keys == odd[0])
    other = next(row for row in rows if labels[row] != labels[rows[0]])
    shown = f", such as {names[rows[0]]} and {names[other]}" if names else ""
    several = f"{len(odd):,} images are" if len(odd) > 1 else "1 image is"
    return [f"note: {several} in several classes{shown}: keep each in the right one (`podium check` lists them)"]
