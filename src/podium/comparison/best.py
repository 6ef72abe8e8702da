"""Comparison with the best: which networks are worse than the best of a study, and how far behind it each may be at most.

A pairwise test at 95 % goes wrong in one pair of twenty, so among twenty equally good networks some would nearly always be
called worse. Here all statements of a study hold together with 95 %:

- **Worse.** In at most 5 % of studies is any network called worse that is the best, or tied with it, however many there are.
  The hypothesis that the networks of a set S are all tied for best is rejected where one of them is behind any network by more
  than the 95 % quantile of the largest such distance. A network is worse when every set that has it is rejected [closed
  testing: Marcus, Peritz and Gabriel 1976]; the sets that decide are those of the networks that are least behind.
- **At most.** The upper bounds of the networks' distance to the best hold for all of them at once, so also for whichever one
  chooses by them [multiple comparisons with the best: Hsu 1984].

The quantiles are those of the largest of many distances with the covariance that the networks' answers have: images are drawn
jointly for all networks [Gaussian multiplier bootstrap: Chernozhukov, Chetverikov and Kato 2013], seeds apart for each.
`benchmarks/verdict.py` measures how often the statements hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from podium.comparison.statistics import Answers

DRAWS = 20_000
LEVEL = 0.95
FEWEST = 5  # images: of fewer, one network has all right and another none by chance in more than 5 % of the cases


@dataclass(frozen=True)
class Standing:
    """Where a network stands beside the best; the bounds of all networks of a study hold together with 95 %.

    Args:
        behind: how far its score is below the highest; 0 for the highest.
        at_most: how far its true score is below that of the best network at most; any distance where the images are too few to say.
        worse: whether it is neither the best nor tied with it.
        needed: how many images, with such answers, would bring `at_most` down to what a person allows; infinite where none would.
    """

    behind: float
    at_most: float
    worse: bool
    needed: float


def standings(answers: Answers, within: float = 0.01, draws: int = DRAWS, seed: int = 0) -> list[Standing]:
    """Compare networks with the best of them, on the same images.

    Args:
        answers: of K networks.
        within: the distance to the best that a person allows, in units of the score.
        draws: of the largest distance.
        seed: of the draws.

    Returns:
        For each network, in the order of the answers.
    """
    score = answers.scores.mean(1)
    behind = score.max() - score
    if len(score) == 1:
        return [Standing(0.0, 0.0, False, 0.0)]
    from scipy.special import stdtrit

    others = ~np.eye(len(score), dtype=bool)
    apart = np.where(others, score[None, :] - score[:, None], -np.inf)  # [k, l]: how far k is below l
    of_images, one_more, of_seeds = _between(answers.covariance), _one_more(answers), _of_seeds(answers)
    if answers.n < FEWEST or not np.isfinite(of_images).all():  # a single group says nothing of others
        return [Standing(float(b), 1.0 if answers.shares else math.inf, False, math.inf) for b in behind]
    error, largest = np.sqrt(of_images + one_more + of_seeds), _largest(answers, draws, seed)
    # Where all networks answer alike, no draw sets them apart; the images may be too few to do so.
    width = max(np.quantile(largest, LEVEL, axis=1).max(), float(stdtrit(answers.units - 1, LEVEL)))
    at_most = np.maximum(0.0, (apart + width * error).max(1))
    at_most = np.minimum(at_most, 1 + behind) if answers.shares else at_most  # no accuracies are further apart
    worse = _worse((apart / error).max(1), largest)
    with np.errstate(invalid="ignore", divide="ignore"):
        room = ((within - apart) / width) ** 2 - of_seeds  # what the images' variance would have to be
        # Of m times as many images the variance is of_images / m + one_more / m².
        times = (of_images + np.sqrt(of_images**2 + 4 * room * one_more)) / (2 * room)
        times = np.where((apart >= within) | (room <= 0), np.inf, np.where(others, times, 0.0))
    needed = times.max(1) * answers.n
    rows = zip(behind, at_most, worse, needed, strict=True)
    return [Standing(float(b), float(most), bool(out), float(count)) for b, most, out, count in rows]


def _one_more(answers: Answers) -> float:
    """What one image more, on which two networks differ, adds to the variance of their difference; a group's worth of images."""
    return answers.one_more * answers.n / answers.units / answers.n**2


def _between(covariance: np.ndarray) -> np.ndarray:
    own = np.diag(covariance)
    return np.maximum(0.0, own[:, None] + own[None, :] - 2 * covariance)


def _of_seeds(answers: Answers) -> np.ndarray:
    """The variance of each difference by the seeds, (K, K)."""
    inverse = answers.seed_variance / np.array(answers.seeds, float)
    return np.where(np.eye(len(inverse), dtype=bool), 0.0, inverse[:, None] + inverse[None, :])


def _largest(answers: Answers, draws: int, seed: int) -> np.ndarray:
    """Draw how far each network would be below any other at most if all were equal, in standard errors, (K, draws)."""
    draw, count, seeds = np.random.default_rng(seed), len(answers.seeds), np.array(answers.seeds, float)
    # What runs of a network differ by, luck on these images included, is known as few runs let it be.
    values, vectors = np.linalg.eigh(answers.covariance - np.diag(answers.of_luck / seeds))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    drawn = (root @ draw.standard_normal((count, draws))) * _student(draw, draws, answers.units - 1)
    if answers.freedom:
        each = np.sqrt(answers.between_seeds / seeds)[:, None]
        drawn += each * draw.standard_normal((count, draws)) * _student(draw, draws, answers.freedom)
    spread = np.sqrt(_between(answers.covariance) + _of_seeds(answers))
    with np.errstate(divide="ignore"):
        precision = np.where(spread > 1e-9 * spread.max(), 1 / spread, 0.0)  # two with the same answers are never apart
    return np.stack([((drawn - drawn[k]) * precision[k][:, None]).max(0) for k in range(count)])


def _student(draw: np.random.Generator, draws: int, freedom: int) -> np.ndarray:
    """What makes normal draws those of Student's t, (draws,): one variance was estimated for all networks."""
    return np.sqrt(freedom / draw.chisquare(freedom, draws))


def _worse(below: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Which networks are worse than the best, (K,) bool.

    Args:
        below: (K,) how far each is below any other at most, in standard errors.
        largest: (K, draws) the same if all were equal.
    """
    worse = np.zeros(len(below), bool)
    for network in np.argsort(-below, kind="stable"):
        left = ~worse
        if below[network] <= np.quantile(largest[left].max(0), LEVEL):
            break
        worse[network] = True
    return worse
