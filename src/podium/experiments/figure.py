"""The figure of a claim: the accuracy of every run of every arm, with mean and error bar, as SVG."""

from __future__ import annotations

from typing import Any

from podium.diagrams.svg import FAINT, INK, Canvas
from podium.experiments.raw import half_of

WIDTH, ROW, TOP, LEFT, RIGHT = 640.0, 26.0, 34.0, 190.0, 24.0
DOT, BAR, GRID = "#4583c0", "#c4584a", "#e8eaed"
TICKS = 5


def figure(raw: dict[str, Any]) -> str | None:
    """Draw the answers of a claim's arms.

    Args:
        raw: what the raw file says.

    Returns:
        The text of an SVG file; None where nothing was trained.
    """
    rows = [
        (label(name, view), each["top1"]) for name, arm in raw["arms"].items() for view, each in arm["answers"].items()
    ]
    if not rows:
        return None
    values = [100 * value for _, top1 in rows for value in top1]
    reach = [100 * half_of(top1) for _, top1 in rows]
    low, high = max(0.0, min(values) - max(reach) - 0.5), min(100.0, max(values) + max(reach) + 0.5)
    canvas, bottom = Canvas(), TOP + ROW * len(rows)

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (min(max(value, low), high) - low) / (high - low)

    for number in range(TICKS):
        value = low + (high - low) * number / (TICKS - 1)
        canvas.rectangle(x(value), TOP - 6, 1, bottom - TOP + 6, GRID)
        canvas.text(x(value), bottom + 16, f"{value:.1f}", fill=FAINT)
    for number, (name, top1) in enumerate(rows):
        y = TOP + ROW * (number + 0.5)
        shares = [100 * value for value in top1]
        mean, half = sum(shares) / len(shares), 100 * half_of(top1)
        canvas.text(LEFT - 12, y + 4, name, anchor="end")
        canvas.rectangle(x(mean - half), y - 1.5, max(0.0, x(mean + half) - x(mean - half)), 3, BAR)
        canvas.rectangle(x(mean) - 2, y - 8, 4, 16, BAR)
        for value in shares:
            canvas.circle(x(value), y, 4, DOT, "#ffffff")
    canvas.text(
        WIDTH / 2, 16, f"{raw['claim']}: top-1 accuracy in % (dots: runs; bar: 95 % interval of their mean)", fill=INK
    )
    return canvas.page(f"{raw['claim']}: accuracy of each arm", WIDTH, bottom + 28)


def label(name: str, view: str) -> str:
    """An arm as the figure and the tables name it."""
    shown = {"test": "", "train": ", training images", "dense": ", dense"}.get(view, f", {view} crops")
    return f"{name}{shown}"
