"""Times several networks in turn, a short round each, until the median of each is known: what slows the machine meets all alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from podium.evaluation.speed import Others

ROUND = 0.2  # seconds of one network before the next has its turn
NEAR = 0.05  # how far the ends of the interval of the median may be from it
LEAST = 6  # rounds: of fewer, no two order statistics enclose the median with 95 %


@dataclass
class Clock:
    """The passes of one network, timed in rounds.

    Args:
        once: a pass of one image.
        seconds: that the rounds may take; LEAST of them are timed whatever they take.
    """

    once: Callable[[], object]
    seconds: float
    medians: list[float] = field(default_factory=list)  # milliseconds, of each round
    passes: list[float] = field(default_factory=list)  # milliseconds, of all rounds
    spent: float = 0.0
    others: Others = field(default_factory=Others)  # what else ran meanwhile

    def round(self) -> None:
        """Time one round, after a pass that is not timed."""
        begun = time.perf_counter()
        with self.others.counted():
            times = passes_of(self.once, min(ROUND, self.seconds / (2 * LEAST)))
        self.passes += times
        self.medians.append(float(np.median(times)))
        self.spent += time.perf_counter() - begun

    @property
    def p50(self) -> float:
        """The median over the rounds, in milliseconds."""
        return float(np.median(self.medians))

    @property
    def p95(self) -> float:
        """The 95th percentile of all passes, in milliseconds."""
        return float(np.quantile(self.passes, 0.95))

    @property
    def settled(self) -> bool:
        """Whether the 95 % interval of the median lies within 5 % of it."""
        ends = interval_of_median(self.medians)
        return ends is not None and all(abs(end - self.p50) <= NEAR * self.p50 for end in ends)

    @property
    def over(self) -> bool:
        """Whether no further round is timed: the median is known, or the time is spent."""
        return self.settled or (len(self.medians) >= LEAST and self.spent >= self.seconds)


def passes_of(once: Callable[[], object], seconds: float) -> list[float]:
    """Milliseconds of each pass, as many as fit into the time and at least one, after one that is not timed."""
    once()
    times: list[float] = []
    stop = time.perf_counter() + seconds
    while not times or time.perf_counter() < stop:
        begun = time.perf_counter()
        once()
        times.append(1000 * (time.perf_counter() - begun))
    return times


def interval_of_median(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the median that values were drawn around, between two of them; None of fewer than 6 values."""
    from scipy.stats import binom

    below = int(binom.ppf(0.025, len(values), 0.5))  # with 97.5 %, so many values or more are below the median
    if below < 1:
        return None
    ordered = sorted(values)
    return ordered[below - 1], ordered[len(values) - below]


def in_turn(rounds: Sequence[Callable[[], bool]]) -> None:
    """Call each function in turn, again and again, until it has returned True."""
    waiting = list(rounds)
    while waiting:
        waiting = [each for each in waiting if not each()]


def largest_rounds(seconds: float) -> int:
    """How many rounds fit into the time, for a bar."""
    return max(LEAST, math.ceil(seconds / ROUND))
