"""Would more photos help? Accuracy on a quarter, a half and all of the training images, and where that leads.

The error rate of a classifier falls with the number of training images n about as a power law, b n^-c, once it is past guessing
[Hestness et al. 2017, "Deep Learning Scaling is Predictable, Empirically"]. The law is fitted to the three error rates, and read
at twice the images.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from podium.comparison.resampling import resamples, wider

SHARES = (0.25, 0.5, 1.0)
TIMES = 2.0  # how far the law is read beyond the images there are
RESAMPLES = 2000


@dataclass(frozen=True)
class Curve:
    """Accuracy against the number of training images.

    Args:
        model: the network.
        images: training images of each point, ascending; the last are all there are.
        top1: accuracy at each point.
        more: the number of images that the law is read at.
        expected: accuracy there.
        low, high: its 95 % interval, over the images it is evaluated on.
        clear: whether the gain from the last point to there is more than chance, at 95 %.
    """

    model: str
    images: tuple[int, ...]
    top1: tuple[float, ...]
    more: int
    expected: float
    low: float
    high: float
    clear: bool

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def sentence(self) -> str:
        """What the curve says, for people."""
        now, gain = self.images[-1], 100 * (self.expected - self.top1[-1])
        seen = ", ".join(f"{100 * top1:.1f} % on {n:,}" for n, top1 in zip(self.images, self.top1, strict=True))
        reach = f"{100 * self.expected:.1f} % (95 % interval {100 * self.low:.1f}-{100 * self.high:.1f} %)"
        would = f"with {self.more:,} training images it would reach about {reach} if the curve goes on as it has"
        if self.clear:
            return (
                f"More photos would help: {self.model} has {seen}; {would}, {gain:.1f} points more than with {now:,}."
            )
        return f"Whether more photos would help cannot be told: {self.model} has {seen}; {would}."


def nested_shares(labels: np.ndarray, keys: np.ndarray, shares: tuple[float, ...] = SHARES) -> list[np.ndarray]:
    """Choose shares of the training images, each class in proportion, each share within the next larger one.

    Args:
        labels: (N,) of the training images.
        keys: (N,) uint64, of their contents: they decide which images come first, so that the order of files does not.
        shares: ascending, the last one 1.

    Returns:
        The numbers of the images of each share, ascending; at least two of each class, or all where there are fewer.
    """
    chosen = []
    for share in shares:
        rows = []
        for label in np.unique(labels):
            own = np.flatnonzero(labels == label)
            own = own[np.argsort(keys[own], kind="stable")]
            rows.append(own[: max(2, round(share * len(own)))])
        chosen.append(np.sort(np.concatenate(rows)))
    return chosen


def fit(model: str, images: list[int], right: list[np.ndarray], groups: np.ndarray | None = None) -> Curve:
    """Fit the power law, with the interval of a bootstrap over the images that all points are evaluated on.

    Args:
        model: the name of the network.
        images: training images of each point, ascending.
        right: for each point (M,): of the same M images, the share of its runs that classify each correctly.
        groups: (M,) which group each of these belongs to; None where images have no groups.
    """
    scores = np.stack(right)  # (points, M)
    count, more = scores.shape[1], round(TIMES * images[-1])
    draw = np.concatenate([*resamples(count, RESAMPLES, np.random.default_rng(0), groups)])  # (resamples, M)
    wrong = (1 - scores) @ draw.T * (count / draw.sum(1))  # (points, resamples); groups differ in size
    read = _read_at(np.array(images), wrong, count, more)
    gain, times = wrong[-1] / count - read, wider(groups)
    expected = 1 - float(_read_at(np.array(images), (1 - scores).sum(1, keepdims=True), count, more)[0])
    top1 = tuple(scores.mean(1).tolist())
    if math.isinf(times):  # one group says nothing of others
        return Curve(model, tuple(images), top1, more, expected, 0.0, 1.0, False)
    low, high = expected + times * (np.quantile(1 - read, (0.025, 0.975)) - expected)
    least = (expected - top1[-1]) + times * (np.quantile(gain, 0.025) - (expected - top1[-1]))
    clear = bool(least > 0) and len(images) > 1
    return Curve(model, tuple(images), top1, more, expected, max(0.0, float(low)), min(1.0, float(high)), clear)


def _read_at(images: np.ndarray, wrong: np.ndarray, count: int, more: int) -> np.ndarray:
    """The error rate that the law has at `more` images, by least squares of logarithms.

    Args:
        images: (P,), training images of each point.
        wrong: (P, R), wrong answers of each point in each resample.
        count: answers in all.
        more: where the law is read.

    Returns:
        (R,), at most 1.
    """
    x = np.log2(images / more)
    y = np.log((wrong + 0.5) / (count + 1))  # no error among few images does not mean an error rate of 0
    slope = ((x - x.mean())[:, None] * (y - y.mean(0))).sum(0) / ((x - x.mean()) ** 2).sum()
    return np.minimum(1.0, np.exp(y.mean(0) - slope * x.mean()))
