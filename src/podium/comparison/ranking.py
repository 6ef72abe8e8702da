"""Ranking networks by another score than top-1: macro-F1, balanced accuracy or log-loss, with intervals over the images.

These scores are no means over images of something that is right or wrong, so their intervals are those of a bootstrap: the
images are drawn anew with replacement, for all networks alike, and every score is computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
    """The mean of the classes' F1, over the classes that were drawn."""
    right, there, predicted = _counts(logits, labels, weights)
    f1 = 2 * right / np.maximum(there + predicted, 1)
    return np.asarray((f1 * (there > 0)).sum(1) / (there > 0).sum(1))


def balanced_accuracy(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean of the classes' recall, over the classes that were drawn."""
    right, there, _ = _counts(logits, labels, weights)
    return np.asarray((right / np.maximum(there, 1)).sum(1) / (there > 0).sum(1))


def log_loss(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean cross-entropy, in nats."""
    likely = probabilities(logits)[np.arange(len(labels)), labels]
    return np.asarray(weights @ -np.log(np.clip(likely, np.finfo(np.float64).tiny, 1)) / weights.sum(1))


SCORES = {
    "macro-f1": Score("macro-F1", macro_f1),
    "balanced-accuracy": Score("balanced accuracy", balanced_accuracy),
    "log-loss": Score("log-loss", log_loss, more=False),
}
RANKS = ("top1", *SCORES)


@dataclass(frozen=True)
class Ranked:
    """A network's score.

    Args:
        value: mean over its seeds.
        low, high: its 95 % interval, over the images.
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


def rank(by: str, logits: Sequence[Sequence[np.ndarray]], labels: np.ndarray) -> list[Ranked]:
    """Score networks on the same images.

    Args:
        by: one of `SCORES`.
        logits: for each network, for each of its seeds (N, K).
        labels: (N,).

    Returns:
        For each network, in the order given.
    """
    score, count = SCORES[by], len(labels)
    shares = np.bincount(labels, minlength=logits[0][0].shape[1]) / count
    blind = np.broadcast_to(np.log(np.maximum(shares, 1e-9)), logits[0][0].shape)
    draw = np.random.default_rng(0)
    blocks = [np.ones((1, count), np.float32)]  # the images as they are
    left = RESAMPLES
    while left:
        rows = min(left, max(1, AT_A_TIME // count))
        blocks.append(draw.multinomial(count, np.full(count, 1 / count), rows).astype(np.float32))
        left -= rows
    found = np.stack(
        [
            np.concatenate([np.mean([score.of(one, labels, block) for one in runs], axis=0) for block in blocks])
            for runs in (*logits, [blind])
        ]
    )  # (networks and the blind answer, 1 + RESAMPLES)
    found, guess = found[:-1], found[-1]
    sign = 1 if score.more else -1
    best = (sign * found[:, 0]).argmax()
    behind, above = sign * (found[best] - found), sign * (found - guess)
    low, high = np.quantile(found[:, 1:], (0.025, 0.975), axis=1)
    half = Z95 * behind[:, 1:].std(1)
    learned = above[:, 0] > Z95 * above[:, 1:].std(1)
    return [
        Ranked(
            value=float(found[i, 0]),
            low=float(low[i]),
            high=float(high[i]),
            behind=float(behind[i, 0]),
            behind_95=float(half[i]),
            learned=bool(learned[i]),
        )
        for i in range(len(found))
    ]
