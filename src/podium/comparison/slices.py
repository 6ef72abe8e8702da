"""Accuracy by slice: for each value of a column, such as the camera or the hospital, how many images are right."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from podium.comparison.statistics import Z95, Answers
from podium.data.dataset import Dataset
from podium.data.image_columns import with_slices
from podium.runs.folder import RunFolder

UNKNOWN = "(none)"  # the value of images that have none
SHOWN = 20  # values in a table, the worst first


@dataclass(frozen=True)
class Slice:
    """The images that have one value.

    Args:
        value: of the column; "(none)" for images that have none.
        n: the number of images.
        top1: accuracy on them.
        top1_low, top1_high: its 95 % interval.
    """

    value: str
    n: int
    top1: float
    top1_low: float
    top1_high: float


@dataclass(frozen=True)
class Slices:
    """The accuracy of a network for each value of a column.

    Args:
        column: its name.
        values: a slice for each value, the worst first.
        worst: the value with the lowest accuracy; None where all have the same.
        clear: whether the worst is below the other images at 95 %, for all values at once.
    """

    column: str
    values: tuple[Slice, ...]
    worst: str | None
    clear: bool

    @classmethod
    def read(cls, values: dict[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(**{**values, "values": tuple(Slice(**one) for one in values["values"])})

    def to_dict(self) -> dict[str, Any]:
        """The values by name, for JSON."""
        return {**asdict(self), "values": [asdict(one) for one in self.values]}

    def sentence(self) -> str:
        """What the worst value is, for people; empty where all are alike."""
        if self.worst is None:
            return ""
        worst, count = self.values[0], len(self.values)
        low, high = 100 * worst.top1_low, 100 * worst.top1_high
        score = f"{100 * worst.top1:.2f} % of {worst.n:,} images (95 % interval {low:.2f}-{high:.2f} %)"
        sure = "clearly below the others" if self.clear else "no clear difference from the others"
        return f"The worst {self.column} of {count} is {worst.value} with {score}: {sure}."


def accuracy_by(right: np.ndarray, values: np.ndarray, column: str, groups: np.ndarray | None = None) -> Slices:
    """Compute the accuracy of a network for each value of a column.

    Args:
        right: (N,) bool, the images that the network classifies correctly.
        values: (N,) text, of the column.
        column: its name.
        groups: (N,) which group each image belongs to; None where images have no groups.
    """
    slices = []
    for value in np.unique(values).tolist():
        here = values == value
        low, high = _interval(right, here, groups)
        slices.append(Slice(value or UNKNOWN, int(here.sum()), float(right[here].mean()), low, high))
    slices.sort(key=lambda one: (one.top1, -one.n, one.value))
    worst = slices[0]
    if len(slices) == 1 or worst.top1 == slices[-1].top1:
        return Slices(column, tuple(slices), None, False)
    others = values != ("" if worst.value == UNKNOWN else worst.value)
    return Slices(column, tuple(slices), worst.value, _is_below(worst, right, others, groups, len(slices)))


def _interval(right: np.ndarray, rows: np.ndarray, groups: np.ndarray | None) -> tuple[float, float]:
    low, high = Answers([right[rows][None]], groups[rows] if groups is not None else None).interval(0)
    return float(low), float(high)


def _is_below(worst: Slice, right: np.ndarray, others: np.ndarray, groups: np.ndarray | None, count: int) -> bool:
    """Whether the worst slice is below all other images by more than chance, for all `count` values at once.

    The interval of the difference is Newcombe's [1998, method 10], widened by Bonferroni's correction.
    """
    from scipy.special import ndtri

    rest = float(right[others].mean())
    low, _ = _interval(right, others, groups)
    half = math.hypot(rest - low, worst.top1_high - worst.top1)
    return bool(rest - worst.top1 > half * float(ndtri(1 - 0.025 / count)) / Z95)


def slices_of(run: RunFolder, data: Dataset, wanted: str) -> Slices:
    """Compute the accuracy of a finished run for each value of a column, on the images that its result reports.

    Args:
        run: the run, or the pooled folds of a network.
        data: what it was evaluated on.
        wanted: the name of a column, or a regular expression with a group, which takes the value from the path.
    """
    (logits, labels), split = run.predictions, run.result["split"]
    data, column = with_slices(data, wanted)
    return accuracy_by(logits.argmax(1) == labels, data.splits[split].columns[column], column, run.groups)
