"""Whether mirrored images keep their class, decided by a small classifier that is trained with and without them.

The features are those of `patches.py`, and the classifier is ridge regression. Each image
is classified by a classifier that saw neither it nor its mirror image. Where left and right are two classes, the classifier
that also learned from mirrored images cannot tell them apart, and mirroring would do the same to a network. numpy only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from podium.data.dataset import Split
from podium.data.names import show
from podium.data.patches import SIDE, patch_features, patch_filters, small_image
from podium.data.readers import Readers

IMAGES = 1200  # in the sample at most
BYTES = 256 << 20  # of files read, at most
# Of fewer than FEW images there are twice as many folds, so that each classifier sees more of them.
FOLDS, FEW, RIDGE = 5, 400, 0.3
SURE = 0.01  # a loss counts where chance gives one as large with less than this probability
# Mirroring is harmless where it costs at most this share of all images, and of each pair's, at 95 %.
COST, PAIR_COST = 0.02, 0.1
TOLD_APART = 0.6  # the classifier decides on two classes where it classifies this share of their images right, at 95 %
GREY = 8  # the largest difference between the channels of a grey image


@dataclass(frozen=True)
class Mirroring:
    """Whether training may mirror images.

    Args:
        flip: whether it may.
        reason: why, for people: "on: ..." or "off: ...".
        certain: whether the classifier decided; otherwise the images' being grey or in colour did.
    """

    flip: bool
    reason: str
    certain: bool


@dataclass(frozen=True)
class _Answers:
    """Labels (N,), and scores (N, K) by classifiers that did not see the image, without and with mirrored images in training."""

    labels: np.ndarray
    plain: np.ndarray
    mirrored: np.ndarray


def mirroring(split: Split, classes: Sequence[str]) -> Mirroring:
    """Decide from training images whether their mirror images keep their class.

    Args:
        split: training images; a sample of them is read.
        classes: the names of the classes.

    Returns:
        The decision, which does not depend on the order of the images. It is off where mirrored images make two classes
        harder to tell apart. Where the classifier cannot decide, it is off for grey images and on for colour.
    """
    pixels, labels = _sample(split)
    spread = pixels.astype(np.int16)
    grey = len(pixels) == 0 or float(np.mean((spread.max(3) - spread.min(3)).max((1, 2)) <= GREY)) >= 0.9
    found = "could not show that it does no harm" if grey else "found nothing against it"
    kind = "off: grey images" if grey else "on: colour images"
    undecided = f"{kind}, and a small probe of {len(labels):,} of them {found}"
    counts = np.bincount(labels, minlength=len(classes))
    if np.count_nonzero(counts >= 2) < 2:
        return Mirroring(not grey, undecided, False)
    present = np.flatnonzero(counts >= 2)
    kept = np.isin(labels, present)
    answers = _answers(
        pixels[kept] @ np.array([0.299, 0.587, 0.114], np.float32), np.searchsorted(present, labels[kept])
    )
    names = [f"'{show(classes[c])}'" for c in present.tolist()]
    if (loss := _lost(answers, names)) is not None:
        return Mirroring(False, f"off: with mirrored images a small probe {loss}", True)
    plain, mirrored = (float(np.mean(s.argmax(1) == answers.labels)) for s in (answers.plain, answers.mirrored))
    if _harmless(answers):
        shares = f"{100 * mirrored:.0f} % of {len(answers.labels):,} images right, {100 * plain:.0f} % without"
        return Mirroring(True, f"on: mirrored images do a small probe no harm ({shares})", True)
    return Mirroring(not grey, undecided, False)


# --- the sample


def _sample(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """A sample with equally many images of each class, class by class: pixels (N, SIDE, SIDE, 3) uint8 and labels (N,)."""
    order, room = split.images.content_order(), IMAGES
    if split.files is not None:
        room = min(room, BYTES * len(split) // max(1, sum(file.size for file in split.files)))
    classes = np.unique(split.labels)
    if len(classes) > IMAGES // 2:
        classes = classes[np.linspace(0, len(classes) - 1, IMAGES // 2).round().astype(int)]
    each = max(2, room // max(1, len(classes)))
    _, first = np.unique(split.contents()[order], return_index=True)  # a copy would be learned from and classified
    order = [order[place] for place in np.sort(first)]
    ordered = split.labels[order]
    rows = [order[place] for label in classes for place in np.flatnonzero(ordered == label)[:each]]
    with Readers(2) as pool:
        small = list(pool.map(lambda row: small_image(split, row), rows))
    there = [(row, pixels) for row, pixels in zip(rows, small, strict=True) if pixels is not None]
    pixels = np.array([pixels for _, pixels in there], np.uint8).reshape(-1, SIDE, SIDE, 3)
    return pixels, split.labels[[row for row, _ in there]]


# --- the classifier


def _answers(images: np.ndarray, labels: np.ndarray) -> _Answers:
    """Classify images (N, SIDE, SIDE) float32, of luminance, with both classifiers."""
    filters = patch_filters(images)
    seen, other = patch_features(images, filters), patch_features(np.ascontiguousarray(images[:, :, ::-1]), filters)
    place = np.zeros(len(labels), int)  # of an image among those of its class
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        place[rows] = np.arange(len(rows))
    targets = np.eye(int(labels.max()) + 1, dtype=np.float32)[labels]
    plain, mirrored = np.zeros_like(targets), np.zeros_like(targets)
    folds = FOLDS if len(labels) >= FEW else 2 * FOLDS
    for fold in range(folds):
        held = place % folds == fold
        if not held.any() or held.all():
            continue
        known, wanted = seen[~held], targets[~held]
        plain[held] = _ridge(known, wanted, seen[held])
        mirrored[held] = _ridge(np.concatenate([known, other[~held]]), np.concatenate([wanted, wanted]), seen[held])
    return _Answers(labels, plain, mirrored)


def _ridge(known: np.ndarray, wanted: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Scores (M, K) of features `new` (M, D) by ridge regression from `known` (N, D) to `wanted` (N, K)."""
    mean, variance = known.mean(0), known.var(0)
    scale = 1 / np.sqrt(variance + 0.01 * variance.mean() + 1e-9)
    x, level = (known - mean) * scale, wanted.mean(0)
    penalty = RIDGE * len(x) * x.shape[1] / 1000
    if len(x) < x.shape[1]:
        gram = x @ x.T
        gram[np.diag_indices_from(gram)] += penalty
        weights = x.T @ np.linalg.solve(gram, wanted - level)
    else:
        gram = x.T @ x
        gram[np.diag_indices_from(gram)] += penalty
        weights = np.linalg.solve(gram, x.T @ (wanted - level))
    return (new - mean) * scale @ weights + level


# --- the verdict


def _pairs(answers: _Answers) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Count the images of class c or d, for every pair of classes, (K, K) each.

    Returns:
        Those classified right only without mirroring; only with it; without it at all; and all images of the two classes.
    """
    count = answers.plain.shape[1]
    lost, won, known = (np.zeros((count, count), int) for _ in range(3))
    for label in range(count):
        rows = answers.labels == label
        before, after = (s[rows, label : label + 1] > s[rows] for s in (answers.plain, answers.mirrored))
        lost[label], won[label] = (before & ~after).sum(0), (~before & after).sum(0)
        known[label] = before.sum(0)
    images = np.bincount(answers.labels, minlength=count)
    return lost + lost.T, won + won.T, known + known.T, images[:, None] + images


def _lost(answers: _Answers, names: list[str]) -> str | None:
    """What mirroring costs beyond chance, for the two classes it costs most or for all images; None where it costs nothing."""
    lost, won, known, images = _pairs(answers)
    pairs = len(names) * (len(names) - 1) / 2
    decides = _least(known, images) > TOLD_APART  # a loss between classes that it confuses anyway says nothing
    strength = np.triu(np.where(decides, (lost - won) / np.sqrt(np.maximum(lost + won, 1)), 0.0), 1)
    c, d = np.unravel_index(strength.argmax(), strength.shape)
    before, after = (100 * (known[c, d] + more) / images[c, d] for more in (0, won[c, d] - lost[c, d]))
    if decides[c, d] and pairs * _by_chance(int(lost[c, d]), int(won[c, d])) < SURE:
        return f"tells {names[c]} from {names[d]} in {after:.0f} % of their images, without in {before:.0f} %"
    plain, mirrored = (s.argmax(1) == answers.labels for s in (answers.plain, answers.mirrored))
    gone, come = int(np.sum(plain & ~mirrored)), int(np.sum(mirrored & ~plain))
    if gone - come > COST * len(plain) and _by_chance(gone, come) < SURE:
        return f"knows {100 * mirrored.mean():.1f} % of the images, without {100 * plain.mean():.1f} %"
    return None


def _by_chance(lost: int, won: int) -> float:
    """The probability of at least `lost` losses among the changed images if a loss were as likely as a gain (sign test)."""
    changed = lost + won
    return sum(math.comb(changed, count) for count in range(lost, changed + 1)) / 2**changed


def _harmless(answers: _Answers) -> bool:
    """Whether the classifier tells every two classes apart and mirroring costs almost nothing, both at 95 %."""
    plain, mirrored = (s.argmax(1) == answers.labels for s in (answers.plain, answers.mirrored))
    changed, cost = np.sum(plain != mirrored), np.sum(plain) - np.sum(mirrored)
    if cost + 1.645 * math.sqrt(changed + 3) > COST * len(plain):
        return False
    lost, won, known, images = _pairs(answers)
    most = (lost - won + 1.645 * np.sqrt(lost + won + 3)) / images
    return bool(np.all((_least(known, images) > TOLD_APART) & (most < PAIR_COST) | np.eye(len(images), dtype=bool)))


def _least(known: np.ndarray, images: np.ndarray) -> np.ndarray:
    """The least share of images that are classified right, at 95 % [Agresti and Coull 1998]: few images without an error may hide one."""
    share = (known + 2) / (images + 4)
    return np.asarray(share - 1.645 * np.sqrt(share * (1 - share) / (images + 4)))
