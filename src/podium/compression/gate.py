"""Whether a smaller network may take a larger one's place: both are asked about the same images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Z95 = 1.645  # one-sided


def paired(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Accuracies on the same images, and how far apart they are [the paired difference of McNemar 1947].

    Args:
        before, after: logits (N, K) of the two networks.
        labels: (N,).

    Returns:
        n, before, after (top-1), lost and won (images only one of them has right), drop = before - after, and its
        standard error.
    """
    first, second = (logits.argmax(1) == labels for logits in (before, after))
    n = len(labels)
    lost, won = int((first & ~second).sum()), int((~first & second).sum())
    drop = (lost - won) / n
    error = math.sqrt(max(0.0, (lost + won) / n - drop**2) / n)
    return {
        "n": n,
        "before": float(first.mean()),
        "after": float(second.mean()),
        "lost": lost,
        "won": won,
        "drop": drop,
        "standard_error": error,
    }


def judge(pair: dict[str, Any], tolerance: float) -> dict[str, Any]:
    """The pair with `tolerance` and `passed`: false where more was lost than that, beyond what the images' number explains.

    Args:
        pair: from `paired`.
        tolerance: loss of top-1 that is accepted, as a fraction.
    """
    passed = pair["drop"] - Z95 * pair["standard_error"] <= tolerance
    return {**pair, "tolerance": tolerance, "passed": bool(passed)}


def told(gate: dict[str, Any]) -> str:
    """A judgement in words."""
    change = f"top-1 {100 * gate['before']:.2f} % -> {100 * gate['after']:.2f} % on the same {gate['n']:,} images"
    sure = f"a loss of {100 * gate['drop']:.2f} ± {100 * 1.96 * gate['standard_error']:.2f} points"
    return f"{change}: {sure} ({gate['lost']} images lost, {gate['won']} won); tolerance {100 * gate['tolerance']:g}"
