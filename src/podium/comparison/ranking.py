"""The scores that networks are ranked by: top-1, macro-F1, balanced accuracy and log-loss, as a mean over images.

Accuracy is the mean of what each image adds: 1 where it is right, else 0. Log-loss is such a mean too. Macro-F1 and balanced
accuracy are not, but to first order each image moves them by a value of its own, and the mean of these values is the score
[influence function; Hampel 1974; Efron 1982, "The Jackknife, the Bootstrap and Other Resampling Plans", section 6.1]. So one
way of comparing networks on the same images serves all four scores (`statistics`, `best`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from podium.comparison.statistics import Answers
from podium.evaluation.metrics import probabilities


@dataclass(frozen=True)
class Score:
    """A score that networks can be ranked by.

    Args:
        name: as tables and texts have it.
        of: from logits (N, K) and labels (N,) to what each image adds, (N,): their mean is the score, and more is better.
        one_more: from labels (N,) to the square of what one image more adds where two networks differ on it.
        sign: -1 where less of the score is better, as of a loss, so that it is minus the mean.
        unit: of the score's numbers in texts: 100 for per cent and points.
    """

    name: str
    of: Callable[[np.ndarray, np.ndarray], np.ndarray]
    one_more: Callable[[np.ndarray], float]
    sign: int = 1
    unit: int = 1

    def format(self, value: float) -> str:
        """The score for people."""
        return f"{100 * value:.2f} %" if self.unit == 100 else f"{value:.3f}"

    def format_distance(self, value: float) -> str:
        """A distance between two scores for people."""
        return f"{100 * value:.2f} points" if self.unit == 100 else f"{value:.3f}"


def top1(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether each image is right, (N,) bool; arguments as `Score.of` has them."""
    return np.asarray(logits.argmax(1) == labels)


def balanced_accuracy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What each image adds to the mean recall of the classes that are there; arguments and result as `Score.of` has them."""
    right, there = top1(logits, labels).astype(np.float64), np.bincount(labels)
    recall = np.bincount(labels, right) / np.maximum(there, 1)
    classes = int((there > 0).sum())
    return np.asarray(recall[there > 0].mean() + _weight(labels) * (right - recall[labels]) / classes)


def macro_f1(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What each image adds to the mean F1 of the classes that are there; arguments and result as `Score.of` has them."""
    guesses, k = logits.argmax(1), logits.shape[1]
    there, predicted = np.bincount(labels, minlength=k), np.bincount(guesses, minlength=k)
    right = guesses == labels
    f1 = 2 * np.bincount(labels[right], minlength=k) / np.maximum(there + predicted, 1)
    counted = there > 0
    # F1 = 2 TP / (images of the class + predictions of it); its derivative in the three counts, per image.
    per_count = np.where(counted, len(labels) / (int(counted.sum()) * np.maximum(there + predicted, 1)), 0.0)
    own, other = per_count[labels], per_count[guesses]
    moved = 2 * right * own - f1[labels] * own - f1[guesses] * other
    return np.asarray(f1[counted].mean() + moved)


def log_likelihood(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The logarithm of each image's probability of its label, in nats; arguments and result as `Score.of` has them."""
    likely = probabilities(logits)[np.arange(len(labels)), labels]
    return np.asarray(np.log(np.clip(likely, np.finfo(np.float64).tiny, 1)))


def _weight(labels: np.ndarray) -> np.ndarray:
    """How many times as much each image counts in a mean over classes of equal weight, (N,), before the division by classes."""
    return np.asarray(len(labels) / np.bincount(labels)[labels])


def _one_of_its_class(labels: np.ndarray) -> float:
    return float(((_weight(labels) / len(np.unique(labels))) ** 2).mean())


SCORES = {
    "top1": Score("top-1", top1, lambda _: 1.0, unit=100),
    "macro-f1": Score("macro-F1", macro_f1, _one_of_its_class),
    "balanced-accuracy": Score("balanced accuracy", balanced_accuracy, _one_of_its_class, unit=100),
    "log-loss": Score("log-loss", log_likelihood, lambda _: 1.0, sign=-1),
}
RankBy = Literal["top1", "macro-f1", "balanced-accuracy", "log-loss"]
RANKS: tuple[str, ...] = get_args(RankBy)
RankOn = Literal["val", "test"]


def answers_by(
    by: str, logits: Sequence[Sequence[np.ndarray]], labels: np.ndarray, groups: np.ndarray | None = None
) -> Answers:
    """What networks answer to the same images, as a score counts it.

    Args:
        by: one of `SCORES`.
        logits: for each network, for each of its seeds (N, K).
        labels: (N,).
        groups: (N,) which group each image belongs to; None where images have no groups.
    """
    score = SCORES[by]
    values = [np.stack([score.of(one, labels) for one in runs]) for runs in logits]
    return Answers(values, groups, score.one_more(labels))


def blind(by: str, labels: np.ndarray, classes: int) -> np.ndarray:
    """What each image adds to the score of an answer that looks at no image: the classes' shares as probabilities, (N,).

    Args:
        by: one of `SCORES`.
        labels: (N,).
        classes: how many there are.
    """
    shares = np.bincount(labels, minlength=classes) / len(labels)
    logits = np.broadcast_to(np.log(np.maximum(shares, 1e-9)), (len(labels), classes))
    return SCORES[by].of(logits, labels)
