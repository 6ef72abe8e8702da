"""Cross-validation: the images in parts, each of which tests networks that were trained on the others.

Every image tests exactly once, so a small set reports on all of its images and not on a fifth of them. Parts are stratified,
and units (a group, exact copies) are never on two sides (scikit-learn's StratifiedGroupKFold). Within the images that train
in a fold, some are held out for validation: they choose the epoch, which the images of the fold never do.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from podium.data.dataset import Dataset, Split
from podium.data.groups import GROUP, refuse_divided, units
from podium.data.held_out import hold_out
from podium.data.names import show
from podium.data.record import Record
from podium.data.roles import apart, with_roles
from podium.errors import DataError, UsageError

HELD_OUT_IN_FOLDS = 0.1  # share of the images beside a fold that choose the epoch, where `val` is not given


def in_roles(
    data: Dataset,
    val: float | None,
    seed: int,
    record: Record | None = None,
    folds: int | None = None,
    fold: int | None = None,
    test: float | None = None,
) -> Dataset:
    """Prepare a data set for training, as one fold of a cross-validation or as `with_roles` does.

    Args:
        data: the set with the splits it was given.
        val: share of the images that train to hold out for validation; None: a tenth, or as `with_roles` has it.
        seed: decides the folds, and which images are held out.
        record: as `with_roles` takes it; of a run of the same fold, it decides which images that is.
        folds: the number of folds; None: those of the record, if any.
        fold: the one that becomes "test", from 1; None: all images train but those for validation.
        test: as `with_roles` takes it; with folds none, as every image tests once.

    Raises:
        UsageError: there is no such fold, `val` is 0, or `test` is given with folds.
        DataError: a class has too few images, or the starting weights were trained on some of the images.
    """
    if record is not None and folds is None:
        folds, fold = record.made.get("folds"), record.made.get("fold")
    if folds is None:
        if fold is not None:
            raise UsageError(f"fold: {fold} without folds", "add --folds 5")
        return with_roles(data, val, seed, record, test)
    if fold is not None and fold > folds:
        raise UsageError(f"fold: {fold} of {folds}", f"give 1 to {folds}")
    if test:
        raise UsageError(f"test: {test}, but with folds every image tests once", "leave one of the two out")
    if val == 0:
        raise UsageError(
            "val: 0 leaves no images that choose the epoch", "leave it out, or give a fraction such as 0.1"
        )
    if "train" not in data.splits:
        return with_roles(data, None, seed)  # which refuses it
    data = pooled(record.with_groups_of(data) if record is not None else data)
    data = apart(data)
    refuse_divided(data)
    if record is not None and (record.made.get("folds"), record.made.get("fold")) == (folds, fold):
        return _as_recorded(data, record)
    train = data.splits["train"]
    if record is not None and (count := int(record.learned_from(train).sum())):
        what = f"{show(data.name)}: the starting weights or the teacher were trained on {count:,} of these {len(train):,} images"
        raise DataError(what, "cross-validate with weights that have seen none of them, or leave --folds out")
    parts = assign(data, folds, seed)
    share = HELD_OUT_IN_FOLDS if val is None else val
    if fold is None:
        whole = hold_out(data, share, seed)
        return replace(whole, held_out={**(whole.held_out or {}), "folds": folds})
    own = parts == fold - 1
    rest = hold_out(replace(data, splits={"train": train.select(np.flatnonzero(~own))}), share, seed)
    note = f"note: fold {fold} of {folds}: {own.sum():,} of {len(train):,} images test what is trained on the others"
    splits = {**rest.splits, "test": train.select(np.flatnonzero(own))}
    made = {**(rest.held_out or {}), "folds": folds, "fold": fold}
    return replace(rest, splits=splits, notes=(*rest.notes, note), held_out=made)


def is_fold(data: Dataset, folds: int, fold: int | None) -> bool:
    """Whether a data set has the roles of this fold already."""
    held_out = data.held_out or {}
    return (held_out.get("folds"), held_out.get("fold")) == (folds, fold)


def pooled(data: Dataset) -> Dataset:
    """The set with its train and validation images as one split, "train", in an order that their content decides.

    So the folds are the same however the images were split before. A test split stays apart, unless `load_data` made it.
    """
    stays = [name for name in data.splits if name == "test" and "test" not in (data.held_out or {})]
    parts = {name: split for name, split in data.splits.items() if name not in stays}
    whole, *others = parts.values()
    for split in others:
        shared = [name for name in whole.columns if name in split.columns]
        whole = Split(
            np.concatenate([whole.labels, split.labels]),
            whole.images.joined(split.images),
            np.concatenate([whole.contents(), split.contents()]),
            {name: np.concatenate([whole.columns[name], split.columns[name]]) for name in shared},
        )
    splits = {"train": _in_order(whole), **{name: data.splits[name] for name in stays}}
    if not others:
        return replace(data, splits=splits, held_out=None)
    notes = [note for note in data.notes if " are held out " not in note]
    sizes = " and ".join(f"{len(split):,} {name}" for name, split in parts.items())
    note = f"note: {sizes} images are pooled for cross-validation"
    return replace(data, splits=splits, notes=(*notes, note), held_out=None)


def _in_order(split: Split) -> Split:
    return split.select(np.lexsort((split.labels, split.contents())))


def assign(data: Dataset, folds: int, seed: int) -> np.ndarray:
    """The fold of each training image, (N,) int64 from 0.

    Args:
        data: the images, pooled.
        folds: how many there are.
        seed: decides which images are in which.

    Raises:
        DataError: a class has fewer images, groups or copies apart than there are folds; names the number that works.
    """
    train = data.splits["train"]
    unit, grouped = units(train), GROUP in train.columns
    counts = [len(np.unique(unit[train.labels == label])) for label in range(len(data.classes))]
    least = min(counts)
    if least < folds:
        name, what = data.classes[counts.index(least)], "groups" if grouped else "different images"
        few = f"{show(data.name)}: {show(name)} has {least} {what}, too few for {folds} folds, each of which needs one"
        raise DataError(few, f"give --folds {least}" if least > 1 else f"add {what} of {show(name)}")
    parts = drawn(train.labels, unit, folds, seed)
    count = int(parts.max(initial=0)) + 1
    if count < folds:
        what = (
            f"{show(data.name)}: the groups are too large for {folds} folds: one fold would take all images of a class"
        )
        raise DataError(what, f"give --folds {count}" if count > 1 else "add images of more groups")
    return parts


def drawn(labels: np.ndarray, unit: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Divide images into stratified folds, so that no fold is empty or takes all images of a class.

    Args:
        labels: (N,) the class of each image.
        unit: (N,) the number of what it may not be divided from, as `groups.units` returns it.
        most: the number of folds; it is smaller where the units allow no more.
        seed: decides which images are in which.

    Returns:
        (N,) int64, the fold of each image, from 0; all 0 where the units allow no two folds.
    """
    classes = len(np.unique(labels))
    for count in range(most, 1, -1):
        parts = _drawn(labels, unit, count, seed)
        apart = (parts != number for number in range(count))
        if all(len(np.unique(labels[others])) == classes and not others.all() for others in apart):
            return parts
    return np.zeros(len(labels), np.int64)


def _drawn(labels: np.ndarray, unit: np.ndarray, folds: int, seed: int) -> np.ndarray:
    return _drawn_once(labels.astype(np.int64).tobytes(), unit.astype(np.int64).tobytes(), folds, seed)


@lru_cache(maxsize=4)  # every fold of a comparison needs the same
def _drawn_once(label_bytes: bytes, unit_bytes: bytes, folds: int, seed: int) -> np.ndarray:
    labels, unit = (np.frombuffer(content, np.int64) for content in (label_bytes, unit_bytes))
    from sklearn.model_selection import StratifiedGroupKFold

    parts = np.zeros(len(labels), np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of few images of a class, which is an error here
        for number, (_, test) in enumerate(splitter.split(np.zeros(len(labels)), labels, unit)):
            parts[test] = number
    return parts


def _as_recorded(data: Dataset, record: Record) -> Dataset:
    """The images in the roles that a run of this fold has on record; images that it did not have train."""
    train = data.splits["train"]
    keys, splits = train.contents(), dict[str, Split]()
    held: dict[str, np.ndarray] = {
        name: np.isin(keys, record.roles[name]) for name in ("val", "test") if name in record.roles
    }
    learned = ~np.logical_or.reduce(list(held.values())) if held else np.ones(len(keys), bool)
    for name, rows in {"train": learned, **held}.items():
        if rows.any():
            splits[name] = train.select(np.flatnonzero(rows))
    if "fold" not in record.made and "test" in data.splits:  # the set's own test images, which are in no fold
        splits["test"] = data.splits["test"]
    made: dict[str, Any] = {key: record.made[key] for key in ("share", "seed", "folds", "fold") if key in record.made}
    return replace(data, splits=splits, held_out=made)
