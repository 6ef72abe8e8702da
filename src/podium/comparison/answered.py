"""The answers of one network to images that are known by the keys of their content, and which images two networks share.

A finished run has its answers on record: predictions.npz holds the logits of the images that its result reports, and
images.npz the keys of the same images in the same order. None of them did the run learn from.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from podium.comparison.cross_validation import fold_folders
from podium.data.preprocessing import Preprocessing
from podium.data.record import read_record
from podium.errors import DataError
from podium.runs.answers import Rule
from podium.runs.bundle import CARD
from podium.runs.folder import PREDICTIONS, RunFolder

SHOWN = 5  # classes that a message names


@dataclass(frozen=True)
class Answered:
    """What one network answers to some images.

    Args:
        model: the network's name.
        run: the last part of the path that it was read from; empty where there is none.
        split: the role of the images: "val", "test" or "cross-validated".
        classes: in the order of the logits.
        logits: (N, K).
        labels: (N,) numbers of the classes.
        keys: (N,) uint64, of the images' content.
        preprocessing: by which it sees them.
        groups: (N,) which group each image belongs to; None where images have no groups.
        digest: SHA-256 of its weights; None where one network did not answer all images.
        temperature: what the logits are divided by for its confidences.
        facts: what is known of it, by name, for people.
    """

    model: str
    run: str
    split: str
    classes: tuple[str, ...]
    logits: np.ndarray
    labels: np.ndarray
    keys: np.ndarray
    preprocessing: Preprocessing
    groups: np.ndarray | None = None
    digest: str | None = None
    temperature: float = 1.0
    facts: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def answers(self) -> np.ndarray:
        """The class that each image is given, (N,)."""
        return np.asarray(self.logits.argmax(1))

    @cached_property
    def right(self) -> np.ndarray:
        """The images whose class it names, (N,) bool."""
        return np.asarray(self.answers == self.labels)

    @cached_property
    def confidence(self) -> np.ndarray:
        """The probability of each answer, (N,), with the card's calibration temperature."""
        return np.asarray(Rule(self.temperature).probabilities(self.logits).max(1))

    @property
    def labelled(self) -> list[str]:
        """The name of each image's class, (N,)."""
        return [self.classes[label] for label in self.labels.tolist()]

    def select(self, rows: np.ndarray) -> Answered:
        """The answers to the images of these numbers, in this order."""
        groups = self.groups[rows] if self.groups is not None else None
        arrays = {name: getattr(self, name)[rows] for name in ("logits", "labels", "keys")}
        return replace(self, groups=groups, **arrays)

    def in_order_of(self, classes: Sequence[str]) -> Answered:
        """The same answers with the classes in another order."""
        if tuple(classes) == self.classes:
            return self
        columns = np.array([self.classes.index(name) for name in classes])
        return replace(
            self, classes=tuple(classes), logits=self.logits[:, columns], labels=columns.argsort()[self.labels]
        )


def answers_on_record(path: Path) -> Answered | None:
    """Read the answers of a finished run, or the pooled answers of the folds of a network, from its folder.

    Returns:
        None where the folder does not say which answers it gave to which images.

    Raises:
        ModelFileError: a file of the run is damaged.
    """
    run = RunFolder(path)
    if not run.finished or not (run / PREDICTIONS).is_file():
        return None
    result, folds = run.result, list(fold_folders(path))
    records = [read_record(folder) for folder in folds or [path]]
    role = "test" if folds else result["split"]
    keys = [record.roles[role] for record in records if record is not None and role in record.roles]
    card = card_of((folds or [path])[0])
    logits, labels = run.predictions
    if len(keys) < len(records) or sum(map(len, keys)) != len(labels) or "preprocessing" not in card:
        return None
    classes = tuple(result["classes"])
    return Answered(
        model=result["model"],
        run=path.resolve().name,
        split=result["split"],
        classes=classes,
        logits=logits[:, : len(classes)],
        labels=labels,
        keys=np.concatenate(keys),
        preprocessing=Preprocessing.from_dict(card["preprocessing"]),
        groups=run.groups,
        digest=None if folds else digest_of(card),
        temperature=Rule.of_card(result, classes).temperature,
        facts=_facts(result, card),
    )


def validation_on_record(path: Path) -> Answered | None:
    """Read the answers of a finished run to its validation images, by which it was chosen and ranked.

    Returns:
        None where it has none besides the images that its result reports, or does not say which they were.

    Raises:
        ModelFileError: a file of the run is damaged.
    """
    found, record, run = answers_on_record(path), read_record(path), RunFolder(path)
    if found is None or record is None or (validation := run.validation) is None:
        return None
    (logits, labels), keys = validation, record.roles.get("val")
    if keys is None or len(keys) != len(labels):
        return None
    logits = logits[:, : len(found.classes)]
    return replace(found, split="val", logits=logits, labels=labels, keys=keys, groups=run.validation_groups)


def card_of(folder: Path) -> dict[str, Any]:
    """The card of a run or bundle; empty where it cannot be read."""
    try:
        card = json.loads((folder / CARD).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return card if isinstance(card, dict) else {}


def digest_of(card: dict[str, Any]) -> str | None:
    """The digest of the weights that a card was written for; None where it names none, or those of several files."""
    digest = card.get("sha256")
    return digest if isinstance(digest, str) else None


def _facts(result: dict[str, Any], card: dict[str, Any]) -> dict[str, str]:
    epochs = f"{result['epochs']:g} epoch{'' if result['epochs'] == 1 else 's'}, seed {result['seed']}"
    facts = {"training": f"{epochs}; {result['weights']}"}
    if result.get("start"):
        facts["start"] = str(result["start"])
    made = card.get("made")
    if isinstance(made, dict) and made.get("by"):
        facts["made by"] = f"podium {made['by']}"
    return facts


def names_of(first: tuple[str, str], second: tuple[str, str]) -> tuple[str, str]:
    """What people call two networks: by their model, with the folder or the place where both are the same.

    Args:
        first, second: model, and the last part of the path; empty where there is none.
    """
    (one, run), (two, other) = first, second
    if one != two:
        return one, two
    if run and other and run != other:
        return f"{one} ({run})", f"{two} ({other})"
    return f"{one} (first)", f"{two} (second)"


@dataclass(frozen=True)
class Labelled:
    """The images of one network, by which those of another are found.

    Args:
        name: what people call the network.
        split: the role of the images.
        keys: (N,) uint64, of their content.
        classes: (N,) the names of their classes.
    """

    name: str
    split: str
    keys: np.ndarray
    classes: Sequence[str]


@dataclass(frozen=True)
class Shared:
    """The images that two networks share.

    Args:
        rows: their numbers (M,) among the images of the first and of the second.
        notes: how many are left out, and why.
    """

    rows: tuple[np.ndarray, np.ndarray]
    notes: tuple[str, ...]


def shared_images(first: Labelled, second: Labelled) -> Shared:
    """Find the images that two networks share, by content and class; the k-th copy of an image in one is the k-th in the other.

    Raises:
        DataError: there are none.
    """
    one, other = _counted(first), _counted(second)
    common = [place for place in one if place in other]
    known = {key for key, _, _ in common}
    relabelled = sum(key not in known for key in np.intersect1d(first.keys, second.keys).tolist())
    if not common:
        raise _nothing_shared(first, second, relabelled)
    left_out = [
        f"{len(each.keys) - len(common):,} of the {len(each.keys):,} {each.split} images of {each.name}"
        for each in (first, second)
        if len(each.keys) > len(common)
    ]
    notes = []
    if left_out:
        notes.append(f"note: {' and '.join(left_out)} are left out: they are not among those of the other network")
    if relabelled:
        notes.append(f"note: {relabelled:,} of the images left out are in the data of both, in different classes")
    rows = np.array([(one[place], other[place]) for place in common], np.int64)
    return Shared((rows[:, 0], rows[:, 1]), tuple(notes))


def _counted(images: Labelled) -> dict[tuple[int, str, int], int]:
    """The number of each image, by its content, its class and how many copies come before it."""
    before: Counter[tuple[int, str]] = Counter()
    found = {}
    for number, place in enumerate(zip(images.keys.tolist(), images.classes, strict=True)):
        found[(*place, before[place])] = number
        before[place] += 1
    return found


def _nothing_shared(first: Labelled, second: Labelled, relabelled: int) -> DataError:
    """The error to raise where two networks have no image in common that they can be compared on."""
    what = f"none of the {len(first.keys):,} {first.split} images of {first.name} is among the {len(second.keys):,} {second.split} images of {second.name}"
    if relabelled:
        what += f" in the same class ({relabelled:,} have other classes there)"
    return DataError(what, "give images that neither was trained on as DATA: podium diff RUN RUN photos/")


def refuse_other_classes(names: tuple[str, str], classes: Sequence[str], others: Sequence[str]) -> None:
    """Refuse two networks that do not know the same classes.

    Args:
        names: what people call them.
        classes, others: of the first and of the second, in any order.

    Raises:
        DataError: names the classes that only one of them knows.
    """
    pairs = ((classes, set(others)), (others, set(classes)))
    only = [[name for name in mine if name not in theirs] for mine, theirs in pairs]
    if not any(only):
        return
    said = [
        f"only {network} knows {', '.join(own[:SHOWN])}" + (f" and {len(own) - SHOWN:,} more" * (len(own) > SHOWN))
        for network, own in zip(names, only, strict=True)
        if own
    ]
    raise DataError(f"the classes differ: {'; '.join(said)}", "give two networks that were trained on the same classes")
