"""Which classes one network recognises better than another: differences of recall, with intervals that hold for all at once.

Two networks are compared on the images of a class by those that only one of them has right: the interval is the score interval
for paired proportions [Tango 1998, Statistics in Medicine 17:891], which is right where they differ on few images or none. Of
twenty intervals of 95 % one would miss by chance, so each of m has the level 0.95^(1/m), and all m hold together with 95 %
[Šidák 1967]. Images of one group count as fewer, as in `statistics`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from podium.evaluation.paired import largest_loss
from podium.runs.folder import RunFolder

MOST = 100  # classes of which a report compares the recall
LEVEL = 0.95  # of all intervals together


@dataclass(frozen=True)
class ClassRecall:
    """The recall of two networks on one class.

    Args:
        name: of the class.
        n: its images.
        first, second: share of them that each network has right.
        low, high: interval of `second` less `first`, which holds for all classes at once.
    """

    name: str
    n: int
    first: float
    second: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """How much higher the second network's recall is."""
        return self.second - self.first

    @property
    def clear(self) -> bool:
        """Whether the recalls differ by more than chance."""
        return self.low > 0 or self.high < 0

    def to_dict(self) -> dict[str, Any]:
        """The class as JSON has it."""
        values = asdict(self)
        return {"class": values.pop("name"), **values, "difference": self.difference, "clear": self.clear}


def class_recalls(
    right: tuple[np.ndarray, np.ndarray],
    labels: np.ndarray,
    classes: Sequence[str],
    groups: np.ndarray | None = None,
    tables: int = 1,
) -> list[ClassRecall]:
    """Compare the recall of two networks, class by class.

    Args:
        right: of the first and of the second network (N,) bool, the images that it has right.
        labels: (N,) numbers of the classes.
        classes: their names.
        groups: (N,) which group each image belongs to; None where images have no groups.
        tables: how many such tables are shown together; the intervals hold for all of them at once.

    Returns:
        A row for each class that has images, in the order of the classes.
    """
    there = np.unique(labels)
    miss = (1 - LEVEL ** (1 / (tables * max(1, len(there))))) / 2  # of one interval, on one side
    rows = []
    for label in there.tolist():
        own = labels == label
        first, second = (each[own] for each in right)
        low, high = _interval(first, second, groups[own] if groups is not None else None, miss)
        rows.append(ClassRecall(classes[label], int(own.sum()), float(first.mean()), float(second.mean()), low, high))
    return rows


def recalls_beside(runs: Mapping[str, RunFolder], reference: str) -> dict[str, dict[str, ClassRecall]]:
    """Compare the recall of several runs with that of one of them, on the images that all of them report.

    Args:
        runs: by name.
        reference: the name of the run that the others are compared with.

    Returns:
        For each of the others, by the names of the classes, with intervals that hold for all classes and runs at once; empty
        of one run, and where there are more than `MOST` classes.
    """
    first = runs[reference]
    if len(runs) < 2 or len(classes := first.result["classes"]) > MOST:
        return {}
    right = {
        name: logits.argmax(1) == labels for name, (logits, labels) in ((n, r.predictions) for n, r in runs.items())
    }
    own, labels, groups = right.pop(reference), first.predictions[1], first.groups
    found = {name: class_recalls((own, each), labels, classes, groups, len(right)) for name, each in right.items()}
    return {name: {row.name: row for row in rows} for name, rows in found.items()}


def _interval(first: np.ndarray, second: np.ndarray, groups: np.ndarray | None, miss: float) -> tuple[float, float]:
    """The interval of the second share less the first, on the same images; `miss` is the probability of each side."""
    from scipy.special import ndtri, stdtrit

    alike, quantile = 1.0, float(ndtri(1 - miss))
    if groups is not None:
        count = len(np.unique(groups))
        if count < 2:  # one group says nothing of others
            return -1.0, 1.0
        alike = design_effect(second.astype(np.float64) - first, groups)
        quantile = float(stdtrit(count - 1, 1 - miss))
    won, lost, n = (float(x) / alike for x in ((second & ~first).sum(), (first & ~second).sum(), len(first)))
    return -largest_loss(lost, won, n, quantile), largest_loss(won, lost, n, quantile)


def design_effect(values: np.ndarray, groups: np.ndarray) -> float:
    """How many times the variance of a mean is that of as many images without groups, at least 1 [Kish 1965].

    Args:
        values: (N,) one of each image.
        groups: (N,) which group each image belongs to; two groups at least.
    """
    _, which, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    deviations, count = values - values.mean(), len(sizes)
    of_groups = count / (count - 1) * float((np.bincount(which, deviations) ** 2).sum())
    # One more image, or group, on which the networks differ is counted in, so that few images tell little.
    return max(1.0, (of_groups + float(sizes.mean())) / (float((deviations**2).sum()) + 1))
