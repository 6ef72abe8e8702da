"""Whether a smaller network may take a larger one's place: both are asked about the same images."""

from __future__ import annotations

from typing import Any

Z95 = 1.645  # one-sided


def judge(pair: dict[str, Any], tolerance: float) -> dict[str, Any]:
    """The pair with `tolerance` and `passed`: false where more was lost than that, beyond what the images' number explains.

    Args:
        pair: from `metrics.paired`.
        tolerance: loss of top-1 that is accepted, as a fraction.
    """
    passed = pair["drop"] - Z95 * pair["standard_error"] <= tolerance
    return {**pair, "tolerance": tolerance, "passed": bool(passed)}


def told(gate: dict[str, Any]) -> str:
    """A judgement in words."""
    change = f"top-1 {100 * gate['before']:.2f} % -> {100 * gate['after']:.2f} % on the same {gate['n']:,} images"
    sure = f"a loss of {100 * gate['drop']:.2f} ± {100 * 1.96 * gate['standard_error']:.2f} points"
    return f"{change}: {sure} ({gate['lost']} images lost, {gate['won']} won); tolerance {100 * gate['tolerance']:g}"
