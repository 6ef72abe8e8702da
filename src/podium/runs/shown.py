"""A run as a line of text, and as what a notebook shows of it: scores and the curve of its training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podium import html
from podium.errors import PodiumError

if TYPE_CHECKING:
    from podium.runs.folder import RunFolder


def describe(run: RunFolder) -> str:
    """Describe a run in one line: its folder, network and score, or that it is not finished."""
    try:
        result = run.result
        score = f"{result['split']} top-1 {100 * result['top1']:.2f} %"
        return f"<Run {run.path}: {result['model']}, {score} after {result['epochs']:g} epochs>"
    except (PodiumError, KeyError):
        return f"<Run {run.path}: {'not finished' if run.started else 'not begun'}>"


def as_html(run: RunFolder) -> str:
    """What a notebook shows of a run: `describe`, the scores, and a curve of top-1 after each epoch."""
    line = html.heading(describe(run).strip("<>"))
    epochs = run.epochs
    split = epochs[-1]["split"] if epochs else ""
    top1 = [row["top1"] for row in epochs]
    between = f", {100 * min(top1):.1f} to {100 * max(top1):.1f} %" if top1 else ""
    curve = html.curve(top1, f"top-1 on {split} images, epoch 1 to {len(epochs)}{between}")
    try:
        result = run.result
    except PodiumError:
        return line + curve
    shown = {"top-1": "top1", "loss": "loss", "macro F1": "macro_f1", "calibration error": "ece"}
    rows = [[name, f"{result[key]:.4f}"] for name, key in shown.items() if key in result]
    return line + html.table(["", f"{result['n']:,} {result['split']} images"], rows) + curve
