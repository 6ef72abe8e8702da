"""What a chart shows, in words, for those who cannot see it."""

from __future__ import annotations

from collections.abc import Sequence
from html import unescape
from typing import Any

import numpy as np

from podium.comparison.leaderboard import Leaderboard
from podium.evaluation.metrics import most_confused

NAMED = 6  # networks or pairs of classes that a text names


def of_scatter(board: Leaderboard, key: str, cost: str) -> str:
    """The text of `charts.scatter`: the networks from the cheapest to the most expensive.

    Args:
        board: the ranking.
        key: the field of a row that is the cost.
        cost: what it is called.
    """
    rows = sorted((row for row in board.networks if getattr(row, key)), key=lambda row: getattr(row, key))
    named = [f"{row.model} {100 * row.top1:.2f} %" for row in rows[:NAMED]]
    more = [f"{len(rows) - NAMED} more"] if len(rows) > NAMED else []
    return f"Accuracy against {cost}, from the cheapest network: {', '.join(named + more) or 'none was measured'}."


def of_curves(chart: dict[str, Any], axis: str) -> str:
    """The text of `charts.curves`: the last value of each network's first curve."""
    ends = {trace["name"]: trace["y"][-1] for trace in reversed(chart["data"]) if trace["y"]}
    named = [f"{unescape(name)} {value:.4g}" for name, value in reversed(ends.items())]
    more = [f"{len(named) - NAMED} more"] if len(named) > NAMED else []
    return f"Curves over the time of training: {axis} at the end: {', '.join(named[:NAMED] + more) or 'none'}."


def of_confusion(labels: np.ndarray, guesses: np.ndarray, names: Sequence[str]) -> str:
    """The text of `charts.confusion`: how many images are on the diagonal, and the largest cells beside it."""
    right = f"{int((labels == guesses).sum()):,} of {len(labels):,} images are right"
    pairs = most_confused(labels, guesses, names)[:NAMED]
    if not pairs:
        return f"Confusion matrix of {len(names):,} classes: {right}."
    named = ", ".join(f"{pair['true']} → {pair['predicted']} {pair['n']:,}" for pair in pairs)
    return f"Confusion matrix of {len(names):,} classes: {right}; most often confused, true → predicted: {named}."


def of_calibration(bins: list[dict[str, float]]) -> str:
    """The text of `charts.calibration`: where accuracy is farthest from confidence."""
    if not bins:
        return "Accuracy against confidence: none."
    far = max(bins, key=lambda b: abs(b["confidence"] - b["accuracy"]))
    return (
        f"Accuracy against confidence. They differ most at a confidence of {100 * far['confidence']:.0f} %, "
        f"where {100 * far['accuracy']:.0f} % of {far['n']:,} images are right."
    )


def of_coverage(curve: list[dict[str, float]]) -> str:
    """The text of `charts.risk_coverage`: how many answers are wrong among all, and among the more confident half."""
    if not curve:
        return "Wrong answers against the share of images answered: none."
    half = min(curve, key=lambda point: abs(point["coverage"] - 0.5))
    return (
        f"Wrong answers against the share of images answered: {100 * half['risk']:.2f} % where {100 * half['coverage']:.0f} % are "
        f"answered, {100 * curve[-1]['risk']:.2f} % where all are."
    )
