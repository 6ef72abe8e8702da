"""Two networks on the same images: the images that only one of them has right, and the loss of accuracy that they show."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Z95 = 1.6448536  # of the normal distribution, for 95 % on one side
NEARLY = 1 - 1e-9  # the largest loss that is tried


@dataclass(frozen=True)
class Paired:
    """The accuracies of two networks on the same images.

    Args:
        n: images.
        before, after: top-1 of the first network and of the second.
        lost, won: images that only the first has right, and only the second.
    """

    n: int
    before: float
    after: float
    lost: int
    won: int

    @property
    def drop(self) -> float:
        """The loss of top-1 that was measured, `before` less `after`."""
        return (self.lost - self.won) / self.n

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and the largest loss that the images allow, each at 95 %; see `largest_loss`."""
        return -largest_loss(self.won, self.lost, self.n), largest_loss(self.lost, self.won, self.n)


def paired(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> Paired:
    """Compare two networks on the same images.

    Args:
        before, after: logits (N, K) of the two networks.
        labels: (N,).
    """
    first, second = (logits.argmax(1) == labels for logits in (before, after))
    lost, won = int((first & ~second).sum()), int((~first & second).sum())
    return Paired(len(labels), float(first.mean()), float(second.mean()), lost, won)


def score(lost: float, won: float, n: float, loss: float) -> float:
    """The measured loss less a supposed one, in standard errors that hold if the supposed one is true [Tango 1998].

    The score depends on n as its square root does where the shares of images lost and won stay the same.

    Args:
        lost, won: images that only the first network has right, and only the second.
        n: images in all.
        loss: the supposed one, between -1 and 1.
    """
    # The likeliest share of images that are won, where that of images that are lost is larger by the supposed loss.
    b, c = (2 * n - lost + won) * loss - lost - won, -won * loss * (1 - loss)
    share = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
    variance = n * (2 * share + loss * (1 - loss))
    excess = lost - won - n * loss
    if variance <= 0:
        return math.copysign(math.inf, excess) if excess else 0.0
    return excess / math.sqrt(variance)


def largest_loss(lost: float, won: float, n: float, z: float = Z95) -> float:
    """The upper limit of the loss: the upper end of Tango's score interval for the difference of paired proportions.

    Where no image is lost or won it is z^2 / (n + z^2), as in Wilson's interval for one proportion. It is the end of an interval
    of 95 % on one side, that is of 90 % on two [Tango 1998, Statistics in Medicine 17:891].

    Args:
        lost, won: images that only the first network has right, and only the second.
        n: images in all.
        z: quantile of the normal distribution.
    """
    from scipy.optimize import brentq

    if lost == n:
        return 1.0
    return float(brentq(lambda loss: score(lost, won, n, loss) + z, (lost - won) / n, NEARLY, xtol=1e-12))
