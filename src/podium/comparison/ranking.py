"""Ranking networks by another score than top-1: macro-F1, balanced accuracy or log-loss, with intervals over the images.

These scores are no means over images of something that is right or wrong, so their intervals are those of a bootstrap: the
images are drawn anew with replacement, for all networks alike, and every score is computed again. Images of one patient, video
or burst are alike, so where images have groups, whole groups are drawn [Davison and Hinkley 1997, section 3.8].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from podium.evaluation.metrics import Z95, probabilities

RESAMPLES = 1000
AT_A_TIME = 2 << 20  # numbers of a block of resampling weights, which bounds the memory


@dataclass(frozen=True)
class Score:
    """A score that networks can be ranked by.

    Args:
        name: as tables and texts have it.
        of: from logits (N, K), labels (N,) and weights (R, N), how often each image was drawn, to the score of each resample (R,).
        more: whether more is better.
    """

    name: str
    of: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    more: bool = True


def _counts(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of each resample and class: images that are of it and predicted so, images that are of it, images predicted so; (R, K)."""
    guesses, k = logits.argmax(1), logits.shape[1]
    one_hot = np.eye(k, dtype=np.float32)
    right = weights @ (one_hot[labels] * (guesses == labels)[:, None])
    return right, weights @ one_hot[labels], weights @ one_hot[guesses]


def macro_f1(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute macro-F1, the mean of the F1 of the classes that were drawn; arguments and result as `Score.of` has them."""
    right, there, predicted = _counts(logits, labels, weights)
    f1 = 2 * right / np.maximum(there + predicted, 1)
    return np.asarray((f1 * (there > 0)).sum(1) / (there > 0).sum(1))


def balanced_accuracy(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute the mean recall of the classes that were drawn; arguments and result as `Score.of` has them."""
    right, there, _ = _counts(logits, labels, weights)
    return np.asarray((right / np.maximum(there, 1)).sum(1) / (there > 0).sum(1))


def log_loss(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute the mean cross-entropy in nats; arguments and result as `Score.of` has them."""
    likely = probabilities(logits)[np.arange(len(labels)), labels]
    return np.asarray(weights @ -np.log(np.clip(likely, np.finfo(np.float64).tiny, 1)) / weights.sum(1))


SCORES = {
    "macro-f1": Score("macro-F1", macro_f1),
    "balanced-accuracy": Score("balanced accuracy", balanced_accuracy),
    "log-loss": Score("log-loss", log_loss, more=False),
}
RankBy = Literal["top1", "macro-f1", "balanced-accuracy", "log-loss"]
RANKS: tuple[str, ...] = get_args(RankBy)


@dataclass(frozen=True)
class Ranked:
    """A network's score.

    Args:
        value: mean over its seeds.
        low, high: its 95 % interval, over the images, or over their groups.
        behind: how much worse it is than the best; 0 of the best itself.
        behind_95: half of the 95 % interval of that.
        learned: whether it is clearly better than an answer that looks at no image: the classes' shares as probabilities.
    """

    value: float
    low: float
    high: float
    behind: float
    behind_95: float
    learned: bool


def resamples(
    count: int, most: int, draw: np.random.Generator, groups: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Draw images anew with replacement, or whole groups of images where they have some.

    Args:
        count: images N.
        most: resamples in all.
        draw: a generator of random numbers.
        groups: (N,) which group each image belongs to; None where images have no groups.

    Yields:
        (R, N) float32, how often each image was drawn in each of R resamples; blocks of at most `AT_A_TIME` numbers.
    """
    which = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]
    units = int(which.max()) + 1
    while most:
        rows = min(most, max(1, AT_A_TIME // count))
        yield draw.multinomial(units, np.full(units, 1 / units), rows).astype(np.float32)[:, which]
        most -= rows


def wider(groups: np.ndarray | None) -> float:
    """How many times as wide as a bootstrap's an interval has to be: few groups need Student's t; infinite for a single one.

    Args:
        groups: (N,) which group each image belongs to; None where images have no groups, which are many.
    """
    if groups is None:
        return 1.0
    count = len(np.unique(groups))
    if count < 2:
        return math.inf
    from scipy.special import stdtrit

    return math.sqrt(count / (count - 1)) * float(stdtrit(count - 1, 0.975)) / Z95


def rank(
    by: str, logits: Sequence[Sequence[np.ndarray]], labels: np.ndarray, groups: np.ndarray | None = None
) -> list[Ranked]:
    """Score networks on the same images.

    Args:
        by: one of `SCORES`.
        logits: for each network, for each of its seeds (N, K).
        labels: (N,).
        groups: (N,) which group each image belongs to; None where images have no groups.

    Returns:
        For each network, in the order given.
    """
    score, count = SCORES[by], len(labels)
    shares = np.bincount(labels, minlength=logits[0][0].shape[1]) / count
    blind = np.broadcast_to(np.log(np.maximum(shares, 1e-9)), logits[0][0].shape)
    as_they_are = np.ones((1, count), np.float32)
    blocks = [as_they_are, *resamples(count, RESAMPLES, np.random.default_rng(0), groups)]
    found = np.stack(
        [
            np.concatenate([np.mean([score.of(one, labels, block) for one in runs], axis=0) for block in blocks])
            for runs in (*logits, [blind])
        ]
    )  # (networks and the blind answer, 1 + RESAMPLES)
    found, guess = found[:-1], found[-1]
    sign = 1 if score.more else -1
    best = (sign * found[:, 0]).argmax()
    behind, above = sign * (found[best] - found) + 0.0, sign * (found - guess)  # 0.0 makes zeros of minus zeros
    value, most, times = found[:, 0], 1.0 if score.more else math.inf, wider(groups)
    if math.isinf(times):  # one group says nothing of others
        return [Ranked(float(value[i]), 0.0, most, float(behind[i, 0]), math.inf, False) for i in range(len(found))]
    low, high = value + times * (np.quantile(found[:, 1:], (0.025, 0.975), axis=1) - value)
    half = times * Z95 * behind[:, 1:].std(1)
    learned = above[:, 0] > times * Z95 * above[:, 1:].std(1)
    return [
        Ranked(
            value=float(value[i]),
            low=float(max(0.0, low[i])),
            high=float(min(most, high[i])),
            behind=float(behind[i, 0]),
            behind_95=float(half[i]),
            learned=bool(learned[i]),
        )
        for i in range(len(found))
    ]
