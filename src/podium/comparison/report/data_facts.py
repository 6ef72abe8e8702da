"""What a report says of the data: how many images each class has, how the splits were made, and what is known to be wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from podium.comparison.cross_validation import CROSS_VALIDATED
from podium.comparison.report.pictures import name_below, thumbnail
from podium.data.check import IMBALANCE
from podium.data.dataset import Dataset, Split
from podium.data.names import look_alikes, show
from podium.errors import DataError

SHOWN = 3  # names in a sentence
CLASSES, A_CLASS, PICTURES = (
    20,
    4,
    60,
)  # classes with samples, samples of one, and samples in all: about half a megabyte


@dataclass(frozen=True)
class ClassCount:
    """How many images a class has in each of the columns."""

    name: str
    counts: tuple[int, ...]


class Sample(NamedTuple):
    """A training image in a page.

    Args:
        name: of the image, below the root of the data.
        uri: the small picture.
    """

    name: str
    uri: str


@dataclass(frozen=True)
class DataFacts:
    """What a report says of the data.

    Args:
        name: of the data set.
        columns: the roles of the images: "train", "val", "test", or after a cross-validation "images".
        classes: their counts, in the order of the labels.
        made: how the splits were made, in sentences.
        wrong: what is known to be wrong with the images, in sentences; none where nothing is.
    """

    name: str
    columns: tuple[str, ...]
    classes: tuple[ClassCount, ...]
    made: tuple[str, ...]
    wrong: tuple[str, ...]

    @classmethod
    def of(cls, data: Dataset) -> Self:
        """Collect the facts of a data set whose images have their roles; no image is opened for it."""
        splits = _columns(data)
        counts = [np.bincount(split.labels, minlength=len(data.classes)).tolist() for split in splits.values()]
        classes = tuple(ClassCount(name, tuple(own)) for name, *own in zip(data.classes, *counts, strict=True))
        return cls(data.name, tuple(splits), classes, tuple(_made(data)), tuple(_wrong(data, splits, classes)))

    @property
    def total(self) -> ClassCount:
        """The images of all classes."""
        return ClassCount("all", tuple(map(sum, zip(*(each.counts for each in self.classes), strict=True))))


def samples(data: Dataset) -> dict[str, list[Sample]]:
    """Take some training images of each class, evenly from its first to its last; of many classes, some of the classes."""
    train = data.splits["train"].scaled(data.depth[0])
    labels = _evenly(np.arange(len(data.classes)), CLASSES)
    found: dict[str, list[Sample]] = {}
    for label in labels:
        own = found.setdefault(data.classes[label], [])
        for row in _evenly(np.flatnonzero(train.labels == label), max(1, min(A_CLASS, PICTURES // len(labels)))):
            with contextlib.suppress(DataError):  # the file has gone meanwhile
                own.append(Sample(name_below(train, row), thumbnail(train.image(row, data.channels))))
    return found


def _evenly(rows: np.ndarray, most: int) -> list[int]:
    """Some of the rows (N,), evenly from the first to the last."""
    places = np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int))
    return rows[places].tolist() if len(rows) else []


def _columns(data: Dataset) -> dict[str, Split]:
    """The splits to count: after a cross-validation all images as one, since each of them trains and tests."""
    if CROSS_VALIDATED not in data.splits:
        return data.splits
    apart = {"test": data.splits["test"]} if "test" in data.splits else {}
    return {"images": data.splits[CROSS_VALIDATED], **apart}


def _made(data: Dataset) -> Iterator[str]:
    """How the splits were made."""
    made, together = data.held_out or {}, "stratified by class, and exact copies stay on one side"
    named = next(iter((data.grouping or {}).items()), None)
    if named is not None:
        together += f", as does each group (--{named[0].replace('_', '-')} {named[1]})"
    if "folds" in made:
        yield (
            f"Cross-validation in {made['folds']} folds (seed {made['seed']}, {together}): each image tests once, by a network "
            f"that was not trained on it. Within a fold {_percent(made.get('share', 0))} of the other images choose the epoch."
        )
        return
    given = [name for name in data.splits if name not in _drawn(made)]
    if not _drawn(made):
        yield f"The data came with {'these splits' if len(given) > 1 else 'this split'}: {', '.join(given)}."
        return
    first, of = "the training images", []
    if "test" in made:
        of.append(f"{_percent(made['test'])} of {first} to test")
        first = "the others"
    if "share" in made:
        of.append(f"{_percent(made['share'])} of {first} for validation")
    yield f"Podium held out {' and '.join(of)} (seed {made['seed']}, {together})."
    if len(given) > 1:
        yield f"The data came with {' and '.join(given)}."


def _drawn(made: dict[str, object]) -> list[str]:
    """The splits that Podium held out."""
    return [split for split, key in (("val", "share"), ("test", "test")) if key in made]


def _wrong(data: Dataset, splits: dict[str, Split], classes: tuple[ClassCount, ...]) -> Iterator[str]:
    """What is known to be wrong: what reading left out, copies by the keys of their content, and the sizes of the classes."""
    if data.skipped:
        listed = [below_root(reason, data.source) for _, reason in data.skipped]
        yield f"{_many(len(listed), 'file')} left out as unreadable: {_first(listed)}."
    yield from (_sentence(below_root(note, data.source)) for note in data.notes if " are left out" in note)
    keys = np.concatenate([split.contents() for split in splits.values()])
    labels = np.concatenate([split.labels for split in splits.values()])
    pairs = np.unique(np.stack([keys, labels.astype(np.uint64)]), axis=1)
    contents = len(np.unique(keys))
    if copies := len(keys) - contents:
        yield (
            "1 image is an exact copy of another." if copies == 1 else f"{copies:,} images are exact copies of others."
        )
    if conflicts := pairs.shape[1] - contents:
        yield f"{_many(conflicts, 'image')} filed under several classes, which cannot all be right."
    for place, column in enumerate(list(splits)):
        missing = [each.name for each in classes if not each.counts[place]]
        if missing:
            role = {"train": "training", "val": "validation"}.get(column, column)
            count = f"{len(missing):,} class{'es' * (len(missing) > 1)}"
            yield f"{count} without {role} images: {_first(missing)}."
    least, most = (end(classes, key=lambda each: each.counts[0]) for end in (min, max))
    if most.counts[0] > IMBALANCE * least.counts[0] > 0:
        yield (
            f"The classes are of unlike sizes: {least.name} has {least.counts[0]:,} images to learn from, {most.name} "
            f"{most.counts[0]:,}."
        )
    for one, other in look_alikes(data.classes):
        yield f"The classes {show(one)} and {show(other)} differ in case, spaces or Unicode form only."


def below_root(text: str, source: str) -> str:
    """A message with the names of files below the root of the data, since a report must not name folders of this machine."""
    root = Path(source).parent if Path(source).is_file() else Path(source)
    return text.replace(f"{root}/", "") if source else text


def _many(count: int, noun: str) -> str:
    """A number with its noun and verb: "1 image is", "3 images are"."""
    return f"{count:,} {noun} is" if count == 1 else f"{count:,} {noun}s are"


def _first(names: list[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _percent(share: object) -> str:
    return f"{100 * float(str(share)):.3g} %"


def _sentence(note: str) -> str:
    """A note on the data as a sentence."""
    text = note.removeprefix("note: ")
    return text[:1].upper() + text[1:] + "."
