"""The row of a network that was trained in heats and not in full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from podium.comparison.ranking import SCORES
from podium.units import duration_in_words


@dataclass(frozen=True)
class HeatOnly:
    """A network that was trained briefly, in heats, and not in full. That it dropped out does not mean that it is worse.

    Args:
        model, start: its name, and what its weights were at the start.
        heat, duration, epochs: the last heat that it took part in, from 1, and how long it was trained in that one.
        ranked_by, score, n: the score that ranks, its value in that heat, and on how many validation images.
        shown: the score for people.
    """

    model: str
    start: str
    heat: int
    duration: str
    ranked_by: str
    score: float
    n: int
    shown: str
    epochs: float = 1.0

    @property
    def score_name(self) -> str:
        """The score that ranks, as sentences have it."""
        return SCORES[self.ranked_by].name

    @property
    def trained_for(self) -> str:
        """How long it was trained in that heat, as sentences have it: "3 epochs"."""
        return duration_in_words(self.duration)

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON and CSV have it."""
        facts = {"heat": self.heat, "heat_duration": self.duration, "heat_score": self.score}
        return {
            "model": self.model,
            "start": self.start,
            "ranked_by": self.ranked_by,
            "trained_further": False,
            **facts,
        }
