"""How often the 95 % intervals of a cross-validation hold, with and without groups: small studies drawn at random.

An image is a vector: the mean of its class, an offset that all images of its group share, and noise of its own. Two linear
classifiers stand for networks: the nearest class mean, and least squares. Images are divided as `podium compare --folds`
divides them, and the intervals are those of the leaderboard. Three truths are known from 20,000 more images of new groups: the
mean accuracy of the networks of the folds, the mean over all studies, and that of the classifier trained on all images.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from record import arguments, record
from sklearn.model_selection import StratifiedGroupKFold

from podium.comparison.statistics import Answers

CLASSES, FEATURES, FOLDS = 4, 12, 5
APART, ALIKE = 1.1, 1.5  # standard deviations of the class means, and of the groups' offsets; the noise has 1
TESTS = 20_000
# (images, groups); None: no groups
SIZES = ((100, None), (500, None), (200, 40), (500, 20))


def images(
    draw: np.random.Generator, means: np.ndarray, count: int, groups: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (N, F), labels (N,) and groups (N,) of images drawn anew."""
    labels = np.arange(count) % CLASSES
    group = np.arange(count) if groups is None else np.sort(np.arange(count) % groups)
    offset = 0.0 if groups is None else draw.normal(0, ALIKE, (count, FEATURES))[group]
    return means[labels] + offset + draw.normal(size=(count, FEATURES)), labels, group


def centroids(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The nearest class mean as a linear classifier, (F + 1, K)."""
    centres = np.stack([x[y == label].mean(0) for label in range(CLASSES)])
    return np.vstack([centres.T, -0.5 * (centres**2).sum(1)])


def least_squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Least squares on indicators of the classes, (F + 1, K)."""
    return np.linalg.lstsq(_one(x), np.eye(CLASSES)[y], rcond=None)[0]


def _one(x: np.ndarray) -> np.ndarray:
    return np.hstack([x, np.ones((len(x), 1))])


def right(weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which images a classifier has right, (N,) bool."""
    return (_one(x) @ weights).argmax(1) == y


def study(draw: np.random.Generator, seed: int, means: np.ndarray, count: int, groups: int | None) -> dict[str, Any]:
    """One cross-validation of both classifiers: intervals and truths."""
    x, y, group = images(draw, means, count, groups)
    more = images(draw, means, TESTS, None if groups is None else TESTS // 10)
    answers, folds, whole = [], [], []
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    parts = list(splitter.split(x, y, group))
    for learn in (centroids, least_squares):
        own, accuracies = np.zeros(count, bool), []
        for train, test in parts:
            weights = learn(x[train], y[train])
            own[test] = right(weights, x[test], y[test])
            accuracies.append(right(weights, *more[:2]).mean())
        answers.append(own[None])
        folds.append(np.mean(accuracies))
        whole.append(right(learn(x, y), *more[:2]).mean())
    pooled = Answers(answers, None if groups is None else group)
    alone = Answers(answers)
    apart, blind = pooled.difference(0, 1), alone.difference(0, 1)
    return {
        "interval": pooled.interval(0),
        "without_groups": alone.interval(0),
        "difference": (apart.by - apart.half, apart.by + apart.half),
        "difference_without_groups": (blind.by - blind.half, blind.by + blind.half),
        "folds": folds,
        "whole": whole,
    }


def measure(studies: int, count: int, groups: int | None) -> dict[str, Any]:
    """The share of studies whose intervals hold each truth."""
    draw = np.random.default_rng(count + (groups or 0))
    means = draw.normal(0, APART, (CLASSES, FEATURES)) / 2
    found = [study(draw, seed, means, count, groups) for seed in range(studies)]
    over_all = np.mean([each["folds"] for each in found], axis=0)

    def holds(key: str, truth: Any) -> float:
        return round(float(np.mean([each[key][0] <= truth(each) <= each[key][1] for each in found])), 4)

    row = {
        "images": count,
        "groups": groups,
        "accuracy": round(float(over_all[0]), 4),
        "own_interval_holds_networks_of_the_folds": holds("interval", lambda each: each["folds"][0]),
        "own_interval_holds_mean_of_all_studies": holds("interval", lambda each: over_all[0]),
        "own_interval_holds_network_handed_over": holds("interval", lambda each: each["whole"][0]),
        "difference_holds": holds("difference", lambda each: each["folds"][0] - each["folds"][1]),
        "difference_holds_mean_of_all_studies": holds("difference", lambda each: over_all[0] - over_all[1]),
        "handed_over_above_folds": round(float(np.mean([e["whole"][0] - e["folds"][0] for e in found])), 4),
        "mean_width": round(float(np.mean([e["interval"][1] - e["interval"][0] for e in found])), 4),
    }
    if groups is not None:
        row["own_interval_that_ignores_groups_holds"] = holds("without_groups", lambda each: each["folds"][0])
        row["difference_that_ignores_groups_holds"] = holds(
            "difference_without_groups", lambda each: each["folds"][0] - each["folds"][1]
        )
    return row


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.set_defaults(runs=1000)
    options = parser.parse_args()
    rows = [measure(options.runs, count, groups) for count, groups in SIZES]
    record("folds", {"studies": options.runs, "folds": FOLDS, "rows": rows})


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
