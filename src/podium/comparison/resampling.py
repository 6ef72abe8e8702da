"""Images drawn anew with replacement, or whole groups of them, as a bootstrap needs them [Davison and Hinkley 1997, 3.8]."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from podium.evaluation.metrics import Z95

AT_A_TIME = 2 << 20  # numbers of a block of resampling weights, which bounds the memory


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
