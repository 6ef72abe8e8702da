"""From probabilities to an answer: the temperature and the thresholds that stand in a card. numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

UNKNOWN = "unknown"  # the answer to an image that the network does not know
CONFIDENCE = "confidence"  # the part of a card that says how far confidences can be trusted


@dataclass(frozen=True)
class Rule:
    """How probabilities become an answer.

    Args:
        temperature: what logits are divided by before their softmax; 1 leaves them as they are.
        threshold: the least confidence of an answer; 0 answers every image.
        own: the thresholds of classes that have an operating point, by the number of the class.
    """

    temperature: float = 1.0
    threshold: float = 0.0
    own: Mapping[int, float] = field(default_factory=dict)

    @classmethod
    def of_card(cls, card: Mapping[str, Any], classes: Sequence[str]) -> Self:
        """Read the rule of a card; cards of older versions have none, and answer every image.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: the card's numbers cannot be used.
        """
        found = card.get(CONFIDENCE) or {}
        temperature = found.get("calibration_temperature")
        temperature = 1.0 if temperature is None else float(temperature)
        if not 1e-3 <= temperature <= 1e3:
            raise ValueError(f"a calibration_temperature of {temperature}")
        points = {classes.index(name): float(point["threshold"]) for name, point in found.get("classes", {}).items()}
        return cls(temperature, float(found.get("threshold") or 0.0), points)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (N, K) float64 of logits (N, K)."""
        scaled = logits.astype(np.float64) / self.temperature
        exponential = np.exp(scaled - scaled.max(1, keepdims=True))
        return exponential / exponential.sum(1, keepdims=True)

    def answers(self, probabilities: np.ndarray, min_confidence: float | None = None) -> np.ndarray:
        """The class that each image is answered with.

        A class with an operating point is the answer where its probability reaches its own threshold. Elsewhere the answer is
        the most probable of the other classes, if that is probable enough.

        Args:
            probabilities: (N, K), calibrated.
            min_confidence: the least confidence of an answer, in place of the card's.

        Returns:
            (N,) int64, -1 for an unknown image.
        """
        least = self.threshold if min_confidence is None else min_confidence
        others = probabilities.copy()
        others[:, list(self.own)] = -1.0
        best = others.argmax(1)
        found = np.where(others.max(1) >= max(0.0, least), best, -1)
        if self.own:
            bars = np.full(probabilities.shape[1], np.inf)
            bars[list(self.own)] = list(self.own.values())
            met = np.where(probabilities >= bars, probabilities, -1.0)
            found = np.where(met.max(1) >= 0, met.argmax(1), found)
        return found


def row_of(name: str, probabilities: np.ndarray, answer: int, classes: Sequence[str], top: int) -> dict[str, Any]:
    """The answer to one image, as `predict` returns it.

    Args:
        name: of the image.
        probabilities: (K,).
        answer: the number of the class, -1 for unknown.
        classes: their names.
        top: how many classes are listed; fewer where there are fewer.

    Returns:
        {file, answer: a class or "unknown", known: whether it is a class, top: [{class, probability}], most probable first}.
    """
    best = np.argsort(-probabilities, kind="stable")[:top]
    ranked = [{"class": classes[i], "probability": float(probabilities[i])} for i in best]
    return {
        "file": name,
        "answer": classes[answer] if answer >= 0 else UNKNOWN,
        "known": bool(answer >= 0),
        "top": ranked,
    }
