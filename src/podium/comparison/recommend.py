"""Which network to take: the cheapest that is nearly as good as the best, with certainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from podium.comparison.rows import Row

WITHIN = 0.01  # the distance to the best that is allowed where a person says nothing: 1 point


@dataclass(frozen=True)
class Recommendation:
    """The network to take, and why.

    Args:
        row: of the network.
        best: whether it ranks first.
        cheapest: whether no network that has learned costs less.
        cheaper: the cheaper network that would be taken with the fewest images more; None where there is none, or where the
            network is not taken for want of another.
    """

    row: Row
    best: bool
    cheapest: bool
    cheaper: Row | None = None


def recommend(rows: Sequence[Row], within: float = WITHIN) -> Recommendation | None:
    """Choose the cheapest network that is at most `within` below the best, at 95 %; where none is sure to be, the first.

    Args:
        rows: of the networks, the best first.
        within: the distance to the best that is allowed, in units of the score that ranks.

    Returns:
        None where no network has learned.
    """
    learned = [row for row in rows if row.learned]
    if not learned:
        return None
    best = learned[0]
    timed = all(row.latency_p50_ms is not None for row in learned)
    near = [row for row in learned if row is best or row.behind_at_most <= within]
    taken = min(near, key=lambda row: cost(row, timed))
    below = [row for row in learned if cost(row, timed) < cost(taken, timed)]
    provable = [row for row in below if row.images_needed is not None and row not in near]
    cheaper = min(provable, key=lambda row: row.images_needed or 0, default=None)
    return Recommendation(taken, taken is best, not below, cheaper)


def cost(row: Row, timed: bool) -> tuple[float, ...]:
    """What a network costs, by which the cheapest is found: the time of one image, or else its multiply-adds.

    Args:
        row: of the network.
        timed: whether the time of all networks was measured.
    """
    return (row.latency_p50_ms or 0.0, row.macs) if timed else (row.macs, row.params)
