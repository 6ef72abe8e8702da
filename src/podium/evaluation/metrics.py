"""Metrics of logits and labels: accuracy, calibration, confusion. numpy in, plain values out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from podium.errors import NumericError

BINS = 15
Z95 = 1.96  # of the normal distribution, for 95 % on two sides
MOST_CLASSES = 200  # up to which the whole confusion matrix is kept: it grows with their square
MOST_CONFUSED = 100  # pairs of classes that are listed at most
TOP5_FROM = 11  # classes: of fewer, five guesses are right half of the time by chance alone


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax over classes, (N, K) float64."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    exponential = np.exp(shifted)
    return exponential / exponential.sum(1, keepdims=True)


def top_k(logits: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Share of images whose class is among the k largest logits; of equal logits the first class counts as the larger.

    Args:
        logits: (N, K).
        labels: (N,).
        k: more than K counts as K.
    """
    own = logits[np.arange(len(labels)), labels][:, None]
    first = (logits == own) & (np.arange(logits.shape[1]) < labels[:, None])
    ahead = (~(own >= logits) | first).sum(1)  # not >= rather than <: what is not a number is never right
    return float((ahead < min(k, logits.shape[1])).mean())


def calibration(logits: np.ndarray, labels: np.ndarray) -> list[dict[str, float]]:
    """Accuracy against confidence in 15 equal bins of the top-1 probability [Guo et al. 2017, section 2]; no empty bins."""
    p = probabilities(logits)
    confidence, right = p.max(1), p.argmax(1) == labels
    which = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    return [
        {"n": int(here.sum()), "confidence": float(confidence[here].mean()), "accuracy": float(right[here].mean())}
        for here in (which == b for b in range(BINS))
        if here.any()
    ]


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """How many images of each class (a row) were taken for each (a column), (K, K) int64."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def most_confused(labels: np.ndarray, predicted: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """The pairs of classes that most images were confused in, at most 100.

    Args:
        labels, predicted: (N,) int, below K.
        names: of the K classes.

    Returns:
        [{true, predicted: names, n: images, share: of the images of the true class}], the most images first.
    """
    wrong = labels != predicted
    pairs, counts = np.unique(labels[wrong].astype(np.int64) * len(names) + predicted[wrong], return_counts=True)
    images = np.bincount(labels, minlength=len(names))
    rows = []
    for place in np.argsort(-counts, kind="stable")[:MOST_CONFUSED]:
        (true, guess), n = divmod(int(pairs[place]), len(names)), int(counts[place])
        rows.append({"true": names[true], "predicted": names[guess], "n": n, "share": n / int(images[true])})
    return rows


def summarize(logits: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Compute all metrics of a network on a split.

    Args:
        logits: (N, K) float.
        labels: (N,) int, below K.
        classes: K names.

    Returns:
        top1, top5 (among at most K), loss (mean cross-entropy), ece (expected calibration error), n, macro_f1 (over the
        classes that have images), balanced_accuracy (mean recall of these classes), per_class [{class, n, precision, recall, f1}: 0 where there is nothing to count],
        confusion (K x K, a row a true class; None for more than 200 classes), confused (see `most_confused`), calibration.

    Raises:
        NumericError: a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise NumericError(
            f"{int((~np.isfinite(logits)).any(1).sum())} images have logits that are not finite",
            "train again with a lower lr",
        )
    p = probabilities(logits)
    guesses, k = logits.argmax(1), len(classes)
    counts, predicted, right = (np.bincount(each, minlength=k) for each in (labels, guesses, labels[guesses == labels]))
    precision, recall = right / np.maximum(predicted, 1), right / np.maximum(counts, 1)
    f1 = 2 * right / np.maximum(predicted + counts, 1)
    bins = calibration(logits, labels)
    present = counts > 0
    likely = np.clip(p[np.arange(len(labels)), labels], np.finfo(np.float64).tiny, 1.0)
    return {
        "top1": top_k(logits, labels, 1),
        "top5": top_k(logits, labels, 5),
        "loss": float(-np.log(likely).mean()),
        "ece": float(sum(b["n"] * abs(b["confidence"] - b["accuracy"]) for b in bins) / len(labels)),
        "n": len(labels),
        "macro_f1": float(f1[present].mean()),
        "balanced_accuracy": float(recall[present].mean()),
        "per_class": [
            {
                "class": name,
                "n": int(counts[i]),
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
            }
            for i, name in enumerate(classes)
        ],
        "confusion": confusion_matrix(labels, guesses, k).tolist() if k <= MOST_CLASSES else None,
        "confused": most_confused(labels, guesses, classes),
        "calibration": bins,
    }


def wilson(share: float, n: float, z: float = Z95) -> tuple[float, float]:
    """The interval for a share seen in n draws [Wilson 1927]."""
    if n <= 0:
        return 0.0, 1.0
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(max(0.0, share * (1 - share)) / n + z * z / (4 * n * n))
    return centre - half, centre + half


def half_wilson(share: float, n: int) -> float:
    """Half the width of `wilson`, for a table that shows share ± half: not 0 where every image is right."""
    low, high = wilson(share, n)
    return (high - low) / 2
