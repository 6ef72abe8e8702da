"""Recognises a run that does not learn, from its losses and gradients, and names the likely cause."""

from __future__ import annotations

import math
from collections import deque

WINDOW = 100  # consecutive steps that are looked at
FLAT = 0.005  # range of the losses over their mean, below which the network gives all images the same answer
CHANCE = 0.02  # how near the mean loss must then be to that of guessing, relative to it


class StallDetector:
    """Reports once that a run is not learning.

    Args:
        classes: number of classes of the data.
    """

    def __init__(self, classes: int) -> None:
        self.chance = math.log(max(2, classes))
        self.losses: deque[float] = deque(maxlen=WINDOW)
        self.zero_gradients = 0
        self.reported = False

    def update(self, loss: float, norm: float) -> str | None:
        """Take note of a step, and return what seems to be wrong and its likely cause; None where nothing does.

        Args:
            loss: of the step.
            norm: of its gradient.
        """
        self.losses.append(loss)
        self.zero_gradients = self.zero_gradients + 1 if norm == 0.0 else 0
        if self.reported or len(self.losses) < WINDOW:
            return None
        problem = self._problem()
        self.reported = problem is not None
        return problem

    def _problem(self) -> str | None:
        mean = sum(self.losses) / WINDOW
        if self.zero_gradients >= WINDOW:
            if mean < 1e-6:
                cause = "every image is classified with certainty; do the images show their labels, or is there one class only?"
            else:
                cause = "is everything that could learn frozen, or have the ReLUs died of a high lr?"
            return f"the gradient has been zero for {WINDOW} steps: {cause}"
        if max(self.losses) - min(self.losses) < FLAT * mean and abs(mean / self.chance - 1) < CHANCE:
            return (
                f"the loss has stayed at {mean:.3f}, that of guessing, for {WINDOW} steps: the network gives all images the same "
                "answer; do the labels belong to the images? Or try a lower lr"
            )
        return None
