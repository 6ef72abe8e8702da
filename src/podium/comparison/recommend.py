"""Which network to take: the cheapest that is nearly as good as the best, with certainty, within limits of latency and size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from podium.comparison.rows import Row

WITHIN = 0.01  # the distance to the best that is allowed where a person says nothing: 1 point


@dataclass(frozen=True)
class Limits:
    """What the network to take may cost at most when deployed; None: any.

    Args:
        latency_ms: milliseconds for one image, in the median.
        size_mb: megabytes of its file.
    """

    latency_ms: float | None = None
    size_mb: float | None = None

    def share(self, row: Row) -> float | None:
        """The largest share that a network takes of a limit: above 1 it is over. None: no limits, or its latency is not known."""
        shares = []
        if self.latency_ms is not None:
            shares.append(row.latency_p50_ms / self.latency_ms if row.latency_p50_ms is not None else None)
        if self.size_mb is not None:
            shares.append(row.size_mb / self.size_mb)
        known = [share for share in shares if share is not None]
        return max(known) if known and len(known) == len(shares) else None

    def allow(self, row: Row) -> bool:
        """Whether a network is within all limits; one whose latency is not known is not within one of latency."""
        share = self.share(row)
        return share <= 1 if share is not None else (self.latency_ms, self.size_mb) == (None, None)

    def __str__(self) -> str:
        time = [] if self.latency_ms is None else [f"{self.latency_ms:g} ms for an image"]
        size = [] if self.size_mb is None else [f"{self.size_mb:g} MB"]
        return f"at most {' and '.join(time + size)}"

    def figures(self, row: Row) -> str:
        """What a network has of that which is limited."""
        time = "no time on record" if row.latency_p50_ms is None else f"{row.latency_p50_ms:.3g} ms"
        return " and ".join(
            ([] if self.latency_ms is None else [time]) + ([] if self.size_mb is None else [f"{row.size_mb:.3g} MB"])
        )


NO_LIMITS = Limits()


@dataclass(frozen=True)
class Recommendation:
    """The network to take, and why.

    Args:
        row: of the network.
        best: whether it ranks first.
        cheapest: whether no network that has learned, and is within the limits, costs less.
        cheaper: the cheaper network that would be taken with the fewest images more; None where there is none, or where the
            network is not taken for want of another.
        nearest: the cheaper network with the highest score; None where there is none.
        near: whether it is sure to be near enough to the best; else it is the one within the limits that ranks first.
    """

    row: Row
    best: bool
    cheapest: bool
    cheaper: Row | None = None
    nearest: Row | None = None
    near: bool = True


def recommend(rows: Sequence[Row], within: float = WITHIN, limits: Limits = NO_LIMITS) -> Recommendation | None:
    """Choose the cheapest network that is at most `within` below the best, at 95 %; where none is sure to be, the first.

    Args:
        rows: of the networks, the best first.
        within: the distance to the best that is allowed, in units of the score that ranks.
        limits: of the network to take; the best may be above them.

    Returns:
        None where no network has learned, or none that has is within the limits.
    """
    learned = [row for row in rows if row.learned]
    allowed = [row for row in learned if limits.allow(row)]
    if not allowed:
        return None
    best = learned[0]
    timed = all(row.latency_p50_ms is not None for row in learned)
    near = [row for row in allowed if row is best or row.behind_at_most <= within]
    taken = min(near or allowed[:1], key=lambda row: cost(row, timed))
    below = [row for row in allowed if cost(row, timed) < cost(taken, timed)]
    provable = [row for row in below if row.images_needed is not None and row not in near]
    cheaper = min(provable, key=lambda row: row.images_needed or 0, default=None)
    nearest = min(below, key=lambda row: row.behind, default=None)
    return Recommendation(taken, taken is best, not below, cheaper, nearest, bool(near))


def cost(row: Row, timed: bool) -> tuple[float, ...]:
    """What a network costs, by which the cheapest is found: the time of one image, or else its multiply-adds.

    Args:
        row: of the network.
        timed: whether the time of all networks was measured.
    """
    return (row.latency_p50_ms or 0.0, row.macs) if timed else (row.macs, row.params)
