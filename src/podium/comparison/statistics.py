"""Confidence intervals of a comparison, over the images of its evaluation and the seeds of its training.

Two things would differ if a study were repeated: the test images, which all networks share, and the seeds, which each
network has of its own. An accuracy varies by both, and so does a difference of two.

- **Images.** A network's score on an image is the share of its seeds that have it right. Two networks are compared by the
  differences of their scores, image by image: resampling images takes them from all networks at once.
- **Seeds.** The variance of a network's accuracy between seeds holds a part that is of the images: two seeds err on different
  ones of the few there are. That part is in the scores already; the residual of images x seeds tells how large it is, and it
  is taken off, so that it counts once [two-way random effects; Searle, Casella and McCulloch 1992, section 4.7]. What is left
  is pooled over all networks: two or three seeds of one say little.

- **Groups.** Images of one patient, video or burst are alike, so they count as draws of groups, not of images: the deviations
  of a group's images are summed before they are squared [Liang and Zeger 1986], with Student's t for the number of groups.

Each part has its own quantile, the normal one for many images and Student's t for few seeds, and the two halves add as
squares [Howe 1974; Zou and Donner 2008]. `benchmarks/verdict.py` measures how often the intervals hold.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from podium.evaluation.metrics import Z95 as Z95
from podium.evaluation.metrics import wilson as wilson


@dataclass(frozen=True)
class Difference:
    """How far apart two accuracies are.

    Args:
        by: the first less the second.
        half: of its 95 % interval, which is `by` ± `half`.
    """

    by: float
    half: float

    @property
    def clear(self) -> bool:
        """Whether the first is better, with 95 % confidence."""
        return self.by > self.half


class Answers:
    """What several networks answer to the same images: which they have right, or what each image adds to another score.

    Args:
        right: of each network (S, N): of each of its S seeds, the N images that it has right, bool; or values whose mean is the
            run's score (`ranking.Score`), float. S may differ.
        groups: (N,) which group each image belongs to; None where images have no groups.
        one_more: the square of what one image more, on which two networks differ, adds to the sum of the differences; so an
            interval has a width where they differ on none.
    """

    def __init__(self, right: Sequence[np.ndarray], groups: np.ndarray | None = None, one_more: float = 1.0) -> None:
        self.groups = groups
        self.one_more = one_more
        self.shares = right[0].dtype == bool  # scores are shares of the images, from 0 to 1
        self.right = list(right)
        self.seeds = [len(runs) for runs in right]
        self.n = right[0].shape[1]
        self.scores = np.stack([runs.mean(0, dtype=np.float64) for runs in right])  # (networks, N)
        self.freedom = sum(self.seeds) - len(right)
        self.between_seeds, self.of_luck = self._pooled(right)

    def lowered(self, by: Sequence[float]) -> Answers:
        """The same answers with lower scores; intervals and differences keep their width.

        Args:
            by: how much the score of each network is lowered.
        """
        found = copy.copy(self)
        found.scores = self.scores - np.array(by)[:, None]
        return found

    @property
    def seed_variance(self) -> float:
        """The variance of accuracy from one seed to the next, without that of the images; 0 where each network has one seed."""
        return max(0.0, self.between_seeds - self.of_luck)

    def _pooled(self, right: Sequence[np.ndarray]) -> tuple[float, float]:
        """The variance of a run's accuracy between the seeds of its network, and how much of it is luck on the few images there are."""
        between, luck = 0.0, 0.0
        for runs, score in zip(right, self.scores, strict=True):
            seeds = len(runs)
            if seeds < 2 or self.n < 2:
                continue
            apart = float(runs.mean(1, dtype=np.float64).var(ddof=1))
            around = sum(float(((run - score) ** 2).sum()) for run in runs)  # squares around each image's mean
            residual = (around - self.n * (seeds - 1) * apart) / ((seeds - 1) * (self.n - 1))
            between += (seeds - 1) * apart
            luck += (seeds - 1) * residual / self.n
        return (between / self.freedom, luck / self.freedom) if self.freedom else (0.0, 0.0)

    @property
    def units(self) -> int:
        """How many groups were drawn; without groups how many images."""
        return self.n if self.groups is None else len(np.unique(self.groups))

    @property
    def covariance(self) -> np.ndarray:
        """The covariance of the networks' scores over the images, (networks, networks); NaN of a single group."""
        deviations, units = self.scores - self.scores.mean(1, keepdims=True), self.units
        if self.groups is not None:
            which = np.unique(self.groups, return_inverse=True)[1]
            deviations = np.stack([np.bincount(which, row) for row in deviations])
        if units < 2:
            return np.full((len(deviations),) * 2, np.nan)
        return np.asarray(units / (units - 1) * (deviations @ deviations.T) / self.n**2)

    def difference(self, first: int, second: int) -> Difference:
        """How far one network is above another, on the same images."""
        per_image = self.scores[first] - self.scores[second]
        return self._difference(per_image, 1 / self.seeds[first] + 1 / self.seeds[second])

    def above(self, network: int, right: np.ndarray) -> Difference:
        """How far a network is above fixed answers, such as the most frequent class every time.

        Args:
            right: (N,) bool, the images that these have right.
        """
        return self._difference(self.scores[network] - right, 1 / self.seeds[network])

    def some_run_above(self, right: np.ndarray) -> bool:
        """Whether some run of some network, taken alone, is clearly above fixed answers; `right` as for `above`."""
        return any(
            Answers([run[None]], self.groups, self.one_more).above(0, right).clear
            for runs in self.right
            for run in runs
        )

    def interval(self, network: int) -> tuple[float, float]:
        """Where the true score lies with 95 %: for accuracy Wilson's interval [1927], widened by the seeds."""
        score = self.scores[network]
        share = float(score.mean())
        if not self.shares:
            half = self._difference(score, 1 / self.seeds[network]).half
            return share - half, share + half
        # Scores that are means of seeds vary less than right-or-wrong answers do: as those of more images.
        spread = (float(((score - share) ** 2).sum()) + 1) / (self.n * share * (1 - share) + 1)
        alike, z = self._alike(score - share)
        low, high = wilson(share, self.n / spread / alike, z)
        seeds = self._of_seeds(1 / self.seeds[network])
        return max(0.0, share - math.hypot(share - low, seeds)), min(1.0, share + math.hypot(high - share, seeds))

    def _difference(self, per_image: np.ndarray, inverse_seeds: float) -> Difference:
        by = float(per_image.mean())
        alike, z = self._alike(per_image - by)
        half = math.hypot(
            _of_images(per_image, self.one_more) * math.sqrt(alike) * z / Z95, self._of_seeds(inverse_seeds)
        )
        return Difference(by, min(half, 1 + abs(by)) if self.shares else half)  # no accuracies are further apart

    def _alike(self, deviations: np.ndarray) -> tuple[float, float]:
        """How many times the variance is that of as many images without groups, at least 1, and the quantile at 95 %.

        Args:
            deviations: (N,) of a value of each image from the mean.
        """
        if self.groups is None:
            return 1.0, Z95
        from scipy.special import stdtrit

        _, which, sizes = np.unique(self.groups, return_inverse=True, return_counts=True)
        count = len(sizes)
        if count < 2:
            return math.inf, Z95
        of_groups = count / (count - 1) * float((np.bincount(which, deviations) ** 2).sum())
        # One more image, or group, on which the answers differ is counted in, as it is without groups.
        more = self.one_more * float(sizes.mean())
        alike = (of_groups + more) / (float((deviations**2).sum()) + self.one_more)
        return max(1.0, alike), float(stdtrit(count - 1, 0.975))

    def _of_seeds(self, inverse_seeds: float) -> float:
        if not self.freedom:
            return 0.0
        from scipy.special import stdtrit

        return float(stdtrit(self.freedom, 0.975)) * math.sqrt(self.seed_variance * inverse_seeds)


def _of_images(per_image: np.ndarray, one_more: float) -> float:
    """Half of the 95 % interval of a mean difference, by the images alone.

    The values that a score test does not reject: for two single runs, zero is among them just when McNemar's test [1947], with
    one more image on which they differ [after Agresti and Min 2005], finds no difference. So it has a width on few images too.
    """
    n = len(per_image)
    if n <= Z95**2:
        return math.inf
    squares = float(((per_image - per_image.mean()) ** 2).sum())
    return Z95 * math.sqrt((squares + one_more) / (n * (n - Z95**2)))
