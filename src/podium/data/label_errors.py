"""Likely label errors: images whose own label a linear probe finds nearly impossible, found by cleanlab.

The probe is a logistic regression on features of the images. Each image gets its probabilities from a probe that did not learn
from it, nor from another image of its group. cleanlab estimates from them how many labels are wrong, by confident learning [Northcutt, Jiang and Chuang 2021], and
ranks the images by the probability of the label they have. `benchmarks/label_errors.py` measures it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from podium.data.check_report import Checked, CheckReport
from podium.data.folds import drawn
from podium.data.patches import SIDE, patch_features, patch_filters, small_image
from podium.data.readers import Readers
from podium.errors import DataError

FOLDS = 5
STRENGTH = 7.0  # C of scikit-learn's logistic regression times the number of features, which have variance 1
ITERATIONS, TOLERANCE = 60, 1e-3  # of its solver
IMPOSSIBLE = 0.03  # the probability of an image's own label below which the label is doubted
WEAK = 0.6  # where the probe classifies a smaller share of the images correctly, its doubts say little
CELLS = 4  # a side, of the grid of mean colours
FILTERS_FROM = 5000  # images from which filters are made

Features = Callable[[Sequence[Checked]], np.ndarray]


@dataclass(frozen=True)
class Doubt:
    """A label that is likely wrong.

    Args:
        row: the number of the image.
        given: the probability of its label.
        other: the number of the most probable class.
        chance: the probability of that class.
    """

    row: int
    given: float
    other: int
    chance: float


def add_label_errors(report: CheckReport, features: Features | None = None) -> None:
    """Add the likely label errors of a data set to its report.

    Args:
        report: of the data set.
        features: from images to their features (N, D); None takes `pixel_features`, which need no trained network.

    Raises:
        DataError: no two classes have enough images or groups.
    """
    units = dict[str, set[str]]((name, set()) for name in report.classes)
    for number, image in enumerate(report.checked):
        units[image.label].add(image.group or str(number))
    names = [label for label, held in units.items() if len(held) >= FOLDS]
    grouped = any(image.group for image in report.checked)
    kind = "groups" if grouped else "images"
    if len(names) < 2:
        what = f"{report.source}: label errors cannot be looked for, since no two classes have {FOLDS} {kind}"
        raise DataError(what, "add images, or leave out --labels")
    if few := [label for label, held in units.items() if 0 < len(held) < FOLDS]:
        report.notes.append(f"labels were not checked in {', '.join(few)}, with fewer than {FOLDS} {kind}")
    images = [image for image in report.checked if image.label in names]
    number_of = {name: index for index, name in enumerate(names)}
    labels = np.array([number_of[image.label] for image in images])
    groups = np.array([image.group for image in images]) if grouped else None
    probabilities = out_of_fold((features or pixel_features)(images), labels, groups)
    right = float(np.mean(probabilities.argmax(1) == labels))
    weak = "; that is few, so check its doubts with care, or give --weights" if right < WEAK else ""
    report.notes.append(
        f"labels: a linear probe classifies {100 * right:.0f} % of {len(images):,} images correctly{weak}"
    )
    for doubt in doubtful(labels, probabilities):
        own, other = images[doubt.row].label, names[doubt.other]
        detail = f"labelled {own!r} ({100 * doubt.given:.1f} %), looks like {other!r} ({100 * doubt.chance:.0f} %)"
        report.add("label", images[doubt.row].path, detail)
    report.sort()


def out_of_fold(features: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """Compute class probabilities by logistic regressions, each on the images of four of five stratified folds.

    Args:
        features: (N, D).
        labels: (N,) from 0 to K - 1, each at least five times.
        groups: (N,) names of groups, which are in one fold each: a regression that has learned from a wrong label of a
            patient would find that of the next image of the same patient right. "" is an image by itself.

    Returns:
        (N, K), each row from the regression that did not learn from the image.

    Raises:
        DataError: the groups allow no two folds.
    """
    from sklearn.linear_model import LogisticRegression

    spread = features.var(0)
    scaled = (features - features.mean(0)) / np.sqrt(spread + 0.01 * spread.mean() + 1e-9)
    probabilities = np.zeros((len(labels), int(labels.max()) + 1))
    parts = _folds(labels, groups)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the solver has not converged: the last steps change no decision
        for number in range(int(parts.max()) + 1):
            known, held = parts != number, parts == number
            model = LogisticRegression(C=STRENGTH / scaled.shape[1], max_iter=ITERATIONS, tol=TOLERANCE)
            probabilities[held] = model.fit(scaled[known], labels[known]).predict_proba(scaled[held])
    return probabilities


def _folds(labels: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """The fold of each image, (N,) from 0; takes the arguments of `out_of_fold`."""
    from sklearn.model_selection import StratifiedKFold

    if groups is None:
        parts = np.zeros(len(labels), np.int64)
        splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
        for number, (_, held) in enumerate(splitter.split(labels, labels)):
            parts[held] = number
        return parts
    _, unit = np.unique(groups, return_inverse=True)
    alone = np.flatnonzero(groups == "")
    unit[alone] = len(groups) + alone
    parts = drawn(labels, unit, FOLDS, seed=0)
    if not parts.any():
        what = "label errors cannot be looked for: one group holds most images of a class"
        raise DataError(what, "add images of more groups, or leave out --labels")
    return parts


def doubtful(labels: np.ndarray, probabilities: np.ndarray) -> list[Doubt]:
    """Find likely label errors, the least probable label first.

    Args:
        labels: (N,) from 0 to K - 1.
        probabilities: (N, K), out of fold.
    """
    from cleanlab.filter import find_label_issues

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ranked = find_label_issues(
            labels,
            probabilities,
            filter_by="low_self_confidence",
            return_indices_ranked_by="self_confidence",
            n_jobs=1,
        )
    found = []
    for row in map(int, ranked):
        given, other = float(probabilities[row, labels[row]]), int(probabilities[row].argmax())
        if given < IMPOSSIBLE and other != labels[row]:
            found.append(Doubt(row, given, other, float(probabilities[row, other])))
    return found


def pixel_features(images: Sequence[Checked]) -> np.ndarray:
    """Features that need no trained network: those of `patches.py`, and mean colours on a grid.

    Args:
        images: N of them.

    Returns:
        (N, D) float32.

    Raises:
        DataError: an image cannot be read any more.
    """
    with Readers(2) as pool:
        small = list(pool.map(lambda image: small_image(image.images, image.row), images))
    for image, pixels in zip(images, small, strict=True):
        if pixels is None:
            raise DataError(f"{image.path}: cannot be read any more", "check the data again")
    colours = np.array(small, np.uint8)
    grey = colours @ np.array([0.299, 0.587, 0.114], np.float32)
    sample = np.linspace(0, len(grey) - 1, min(FILTERS_FROM, len(grey))).astype(int)
    across = SIDE // CELLS
    means = colours.reshape(len(colours), CELLS, across, CELLS, across, 3).mean((2, 4), dtype=np.float32)
    return np.concatenate([patch_features(grey, patch_filters(grey[sample])), means.reshape(len(colours), -1)], 1)
