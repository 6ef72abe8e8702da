"""Accuracy by slice: for each value of a column, such as the camera or the hospital, how many images are right."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from podium.comparison.statistics import Z95, Answers
from podium.data.dataset import Dataset
from podium.data.image_columns import with_slices
from podium.runs.folder import RunFolder

UNKNOWN = "(none)"  # the value of images that have none
SHOWN = 20  # values in a table, the worst first


def accuracy_by(right: np.ndarray, values: np.ndarray, column: str, groups: np.ndarray | None = None) -> dict[str, Any]:
    """The accuracy of a network for each value of a column.

    Args:
        right: (N,) bool, the images that the network classifies correctly.
        values: (N,) text, of the column.
        column: its name.
        groups: (N,) which group each image belongs to; None where images have no groups.

    Returns:
        column; values [{value, n, top1, top1_low, top1_high: 95 % interval}], the worst first; worst: the value with the
        lowest top1, None where all have the same; clear: whether it is below the other images at 95 %, for all
        values at once.
    """
    rows: list[dict[str, Any]] = []
    for value in np.unique(values).tolist():
        here = values == value
        low, high = _interval(right, here, groups)
        name = value or UNKNOWN
        rows.append(
            {
                "value": name,
                "n": int(here.sum()),
                "top1": float(right[here].mean()),
                "top1_low": low,
                "top1_high": high,
            }
        )
    rows.sort(key=lambda row: (row["top1"], -row["n"], row["value"]))
    found: dict[str, Any] = {"column": column, "values": rows, "worst": None, "clear": False}
    if len(rows) > 1 and rows[0]["top1"] < rows[-1]["top1"]:
        worst = rows[0]
        others = values != ("" if worst["value"] == UNKNOWN else worst["value"])
        found |= {"worst": worst["value"], "clear": _is_below(worst, right, others, groups, len(rows))}
    return found


def _interval(right: np.ndarray, rows: np.ndarray, groups: np.ndarray | None) -> tuple[float, float]:
    low, high = Answers([right[rows][None]], groups[rows] if groups is not None else None).interval(0)
    return float(low), float(high)


def _is_below(
    worst: dict[str, Any], right: np.ndarray, others: np.ndarray, groups: np.ndarray | None, count: int
) -> bool:
    """Whether a value is below all other images by more than chance: Newcombe's interval [1998, method 10], widened so that
    it holds for all values at once [Bonferroni]."""
    from scipy.special import ndtri

    rest = float(right[others].mean())
    low, _ = _interval(right, others, groups)
    half = math.hypot(rest - low, worst["top1_high"] - worst["top1"])
    return bool(rest - worst["top1"] > half * float(ndtri(1 - 0.025 / count)) / Z95)


def slices_of(run: RunFolder, data: Dataset, wanted: str) -> dict[str, Any]:
    """The accuracy of a finished run for each value of a column, on the images that its result reports.

    Args:
        run: the run, or the pooled folds of a network.
        data: what it was evaluated on.
        wanted: the name of a column, or a regular expression with a group, which takes the value from the path.
    """
    (logits, labels), split = run.predictions, run.result["split"]
    data, column = with_slices(data, wanted)
    return accuracy_by(logits.argmax(1) == labels, data.splits[split].columns[column], column, run.groups)


def describe(found: dict[str, Any]) -> str:
    """A sentence on the worst value; empty where all are alike."""
    if found["worst"] is None:
        return ""
    row, others = found["values"][0], len(found["values"]) - 1
    low, high = 100 * row["top1_low"], 100 * row["top1_high"]
    score = f"{100 * row['top1']:.2f} % of {row['n']:,} images (95 % interval {low:.2f}-{high:.2f} %)"
    sure = "clearly below the others" if found["clear"] else "no clear difference from the others"
    return f"The worst {found['column']} of {others + 1} is {row['value']} with {score}: {sure}."
