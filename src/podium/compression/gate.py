"""Whether a smaller network may take a larger one's place: both are evaluated on the same images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from podium.evaluation.metrics import Paired

Z95 = 1.645  # one-sided


@dataclass(frozen=True)
class Gate:
    """The accuracies of the two networks, and the loss that is accepted.

    Args:
        pair: of the larger network (before) and the smaller one (after), from `metrics.paired`.
        tolerance: loss of top-1 that is accepted, as a fraction.
        split: the images that both were evaluated on, where that is to be said with it.
    """

    pair: Paired
    tolerance: float
    split: str | None = None

    @property
    def passed(self) -> bool:
        """False where more was lost than the tolerance, beyond what the number of images explains."""
        return bool(self.pair.drop - Z95 * self.pair.standard_error <= self.tolerance)

    def to_dict(self) -> dict[str, Any]:
        """The gate as cards and JSON have it: {split, the fields of the pair, tolerance, passed}."""
        split = {} if self.split is None else {"split": self.split}
        return {**split, **asdict(self.pair), "tolerance": self.tolerance, "passed": self.passed}

    def __str__(self) -> str:
        p = self.pair
        change = f"top-1 {100 * p.before:.2f} % -> {100 * p.after:.2f} % on the same {p.n:,} images"
        loss = f"a loss of {100 * p.drop:.2f} ± {100 * p.half:.2f} points"
        return f"{change}: {loss} ({p.lost} image{'s' * (p.lost != 1)} lost, {p.won} won); tolerance {100 * self.tolerance:g}"
