"""How far a network's confidence can be trusted: temperature, calibration error, risk against coverage. numpy and scipy.

The confidence of an answer is the largest probability of an image. A temperature divides all logits: it changes confidences, and
never which class is first.
"""

from __future__ import annotations

import math

import numpy as np

from podium.evaluation.metrics import BINS, probabilities

COLDEST, HOTTEST = 0.05, 20.0  # temperatures between which one is fitted
CURVE = 200  # points of a risk-coverage curve at most


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float | None:
    """Fit the temperature whose probabilities have the smallest negative log-likelihood [Guo et al. 2017, section 4.2].

    Args:
        logits: (N, K) of images that the network did not learn from.
        labels: (N,).

    Returns:
        What the logits are to be divided by. None where no temperature between 0.05 and 20 is best, as for a network that has
        every image right (the colder, the better) or is no better than chance (the hotter, the better).
    """
    from scipy.optimize import brentq

    wide = logits.astype(np.float64)
    own = wide[np.arange(len(labels)), labels]

    def slope(log_temperature: float) -> float:
        """The derivative of the loss by 1 / temperature, which grows with 1 / temperature: the loss is convex."""
        return float(((probabilities(wide / math.exp(log_temperature)) * wide).sum(1) - own).mean())

    low, high = math.log(COLDEST), math.log(HOTTEST)
    if not len(labels) or not slope(low) > 0 > slope(high):
        return None
    return float(math.exp(brentq(slope, low, high, xtol=1e-9)))


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Return the expected calibration error over bins of equal mass [Nguyen and O'Connor 2015]: |confidence - accuracy|.

    Args:
        confidence: (N,) the probability of each answer.
        right: (N,) bool, whether the answer is right.
        bins: of N / bins images each; fewer where there are fewer images.
    """
    order = np.argsort(confidence, kind="stable")
    gaps = confidence[order] - right[order]
    parts = np.array_split(gaps, min(bins, len(gaps)))
    return float(sum(abs(part.sum()) for part in parts) / len(gaps))


def risk_coverage(confidence: np.ndarray, right: np.ndarray) -> list[dict[str, float]]:
    """Return the share of wrong answers among those kept, from the most confident images to all of them.

    Images of equal confidence are kept together [Geifman and El-Yaniv 2017].

    Args:
        confidence: (N,) the probability of each answer.
        right: (N,) bool, whether the answer is right.

    Returns:
        [{confidence: the least that is kept, coverage: share of the images kept, risk: share of wrong answers among them}], at
        most 200, the smallest coverage first.
    """
    order = np.argsort(-confidence, kind="stable")
    sure, wrong = confidence[order], np.cumsum(~right[order])
    ends = np.flatnonzero(np.append(sure[1:] != sure[:-1], True))
    chosen = ends[np.unique(np.linspace(0, len(ends) - 1, min(CURVE, len(ends))).round().astype(int))]
    return [
        {"confidence": float(sure[i]), "coverage": (int(i) + 1) / len(sure), "risk": float(wrong[i] / (i + 1))}
        for i in chosen
    ]


def keeping(scores: np.ndarray, share: float) -> float:
    """Return the threshold that a new score of the same kind reaches with at least this probability.

    It is an order statistic, as in split-conformal prediction [Vovk et al. 2005], so the promise holds for every distribution. Where
    there are too few scores for it, the smallest of them is returned.

    Args:
        scores: (N,), N at least 1.
        share: between 0 and 1.
    """
    below = math.floor(round((len(scores) + 1) * (1 - share), 9))  # 0.05 * 20 is 1, not 0.999...
    return float(np.sort(scores)[max(0, below - 1)])


def enough_for(share: float) -> int:
    """Return how many scores `keeping` needs to hold its promise for a share below 1."""
    return math.ceil(round(1 / (1 - share), 9)) - 1
