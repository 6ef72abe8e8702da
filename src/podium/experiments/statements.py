"""The kinds of statement that claims are made of."""

from __future__ import annotations

import math

from podium.experiments.claim import Statement
from podium.experiments.verdict import GAIN, gain, no_loss, within


def better(text: str, first: str, second: str, *, smallest: float = GAIN, source: str = "") -> Statement:
    """State that one arm is more accurate than another.

    Args:
        text: the sentence.
        first, second: "ARM" for test images, "ARM@train" for training images, "ARM@10" or "ARM@dense" for several views.
        smallest: the gain of accuracy, as a share, below which the statement is wrong.
        source: where it is said, if not where the claim is from.
    """
    return Statement(text, (first, second), lambda evidence: gain(evidence, first, second, smallest), source)


def not_worse(text: str, first: str, second: str, *, allowed: float = 0.01, source: str = "") -> Statement:
    """State that one arm is as accurate as another; `allowed` is the loss, as a share, that counts as none."""
    return Statement(text, (first, second), lambda evidence: no_loss(evidence, first, second, allowed), source)


def between(text: str, key: str, low: float, high: float = math.inf, *, unit: str = "", source: str = "") -> Statement:
    """State that a measured number lies in a range, ends included."""
    return Statement(text, (key,), lambda evidence: within(evidence, key, low, high, unit), source)


def exactly(text: str, key: str, value: float, *, unit: str = "", source: str = "") -> Statement:
    """State that a measured number is this one."""
    return between(text, key, value, value, unit=unit, source=source)
