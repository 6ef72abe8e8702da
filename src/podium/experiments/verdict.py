"""The verdict on a statement: it holds, it does not hold, or these images and seeds cannot tell.

A statement that one arm is more accurate than another holds where the 95 % interval of the difference, over images and seeds, is
above zero. It does not hold where the whole interval is below the smallest gain that would matter. Between the two, the images and
seeds cannot tell, and the finding says how many would.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from podium.comparison.statistics import Answers, Difference
from podium.errors import DataError

Verdict = Literal["holds", "does not hold", "cannot tell"]
HOLDS: Verdict = "holds"
FAILS: Verdict = "does not hold"
OPEN: Verdict = "cannot tell"
GAIN = 0.005  # half a point: the smallest gain of accuracy that a statement means
MOST_SEEDS = 1000  # beyond which more seeds are no answer
ROOM = 0.9  # the share of the interval that images may take, where more seeds alone would decide


@dataclass(frozen=True)
class Finding:
    """What is found of a statement.

    Args:
        verdict: whether it holds.
        value, low, high: the difference or number that decides it, with its 95 % interval; low and high are the value where it is exact.
        unit: "points" for a difference of accuracies, whose values are shares; else what the number counts.
        seeds, images: how many of each would decide it, each with as many of the other as is said; None where it is decided.
        rounds: how many rounds of timing would decide it; None where it is decided or nothing was timed.
    """

    verdict: Verdict
    value: float
    low: float
    high: float
    unit: str
    seeds: int | None = None
    images: int | None = None
    rounds: int | None = None


@dataclass(frozen=True)
class Evidence:
    """What an experiment has found.

    Args:
        right: "ARM" or "ARM@VIEW" -> (seeds, images) bool: which images each network has right.
        measured: name -> a number, or [value, low, high, rounds] of what was timed.
    """

    right: Mapping[str, np.ndarray] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)

    def answers(self, first: str, second: str) -> Answers:
        """The answers of two arms to the same images."""
        for name in (first, second):
            if name not in self.right:
                raise DataError(f"no answers of {name!r}", f"there are {', '.join(self.right)}")
        return Answers([self.right[first], self.right[second]])


def verdict_on_gain(found: Difference, smallest: float) -> Verdict:
    """Decide whether one arm is better than another.

    Args:
        found: how far it is above.
        smallest: the gain below which it counts as none.
    """
    if found.by - found.half > 0:
        return HOLDS
    return FAILS if found.by + found.half < smallest else OPEN


def verdict_on_loss(found: Difference, allowed: float) -> Verdict:
    """Decide whether one arm is not worse than another by more than is allowed.

    Args:
        found: how far it is above.
        allowed: the loss that counts as none.
    """
    if found.by - found.half > -allowed:
        return HOLDS
    return FAILS if found.by + found.half < -allowed else OPEN


def gain(evidence: Evidence, first: str, second: str, smallest: float) -> Finding:
    """Find whether one arm is more accurate than another, see `verdict_on_gain`."""
    answers = evidence.answers(first, second)
    found = answers.difference(0, 1)
    verdict = verdict_on_gain(found, smallest)
    return _finding(verdict, answers, found, max(found.by, smallest - found.by))


def no_loss(evidence: Evidence, first: str, second: str, allowed: float) -> Finding:
    """Find whether one arm is as accurate as another but for what is allowed, see `verdict_on_loss`."""
    answers = evidence.answers(first, second)
    found = answers.difference(0, 1)
    return _finding(verdict_on_loss(found, allowed), answers, found, abs(found.by + allowed))


def _finding(verdict: Verdict, answers: Answers, found: Difference, distance: float) -> Finding:
    seeds, images = needed(answers, found, distance) if verdict == OPEN else (None, None)
    return Finding(verdict, found.by, found.by - found.half, found.by + found.half, "points", seeds, images)


def needed(answers: Answers, found: Difference, distance: float) -> tuple[int, int]:
    """How many seeds and images would decide a statement, if the difference that was found is the true one.

    Args:
        answers: of the two arms, each with as many seeds.
        found: their difference.
        distance: from the difference to the nearest value that the interval must leave out.

    Returns:
        The seeds of each arm and the images: more seeds with the images there are, or where that is not enough, more of both. A
        difference that lies on the value itself needs the most that is tried.
    """
    seeds, variance = min(answers.seeds), answers.seed_variance
    of_seeds = _of_seeds(variance, seeds)
    of_images = math.sqrt(max(0.0, found.half**2 - of_seeds**2))
    distance = max(distance, 1e-4)
    images = answers.n
    if of_images > ROOM * distance:
        images = math.ceil(answers.n * (of_images / (ROOM * distance)) ** 2)
        of_images = ROOM * distance
    for count in range(seeds, MOST_SEEDS):
        if math.hypot(of_images, _of_seeds(variance, count)) < distance:
            return count, images
    return MOST_SEEDS, images


def _of_seeds(variance: float, seeds: int) -> float:
    """Half of the 95 % interval of a difference of two arms, by their seeds alone."""
    from scipy.special import stdtrit

    if seeds < 2:
        return 0.0
    return float(stdtrit(2 * (seeds - 1), 0.975)) * math.sqrt(2 * variance / seeds)


def within(evidence: Evidence, key: str, low: float, high: float, unit: str) -> Finding:
    """Find whether a measured number lies in a range: with its whole interval it holds, with none of it it does not."""
    found = evidence.measured[key]
    value, least, most, rounds = found if isinstance(found, list | tuple) else (found, found, found, 0)
    verdict = HOLDS if low <= least and most <= high else FAILS if most < low or least > high else OPEN
    more = None
    if verdict == OPEN:  # the interval narrows with the root of the rounds
        distance = max(min(abs(value - low), abs(value - high)), 1e-3)
        more = math.ceil(rounds * max(1.0, (most - least) / 2 / distance) ** 2)
    return Finding(verdict, float(value), float(least), float(most), unit, rounds=more)
