"""What a run that goes nowhere looks like from its losses and gradients, and the likely cause."""

from __future__ import annotations

import math
from collections import deque

WINDOW = 100  # steps in a row
FLAT = 0.005  # of the mean: the range of the losses of a network that answers the same to all images
CHANCE = 0.02  # how near to that of guessing its mean then is


class Watch:
    """Says once that a run is stuck.

    Args:
        classes: of the data.
    """

    def __init__(self, classes: int) -> None:
        self.chance = math.log(max(2, classes))
        self.losses: deque[float] = deque(maxlen=WINDOW)
        self.still, self.told = 0, False

    def stuck(self, loss: float, norm: float) -> str | None:
        """After a step: what seems to be wrong, with its likely cause.

        Args:
            loss: of the step.
            norm: of its gradient.
        """
        self.losses.append(loss)
        self.still = self.still + 1 if norm == 0.0 else 0
        if self.told or len(self.losses) < WINDOW:
            return None
        what = self._seen()
        self.told = what is not None
        return what

    def _seen(self) -> str | None:
        mean = sum(self.losses) / WINDOW
        if self.still >= WINDOW:
            if mean < 1e-6:
                cause = "every image is named with certainty; do the labels stand in the images, or is there one class only?"
            else:
                cause = "is what could learn frozen, or have its rectifiers died of a high lr?"
            return f"the gradient has been zero for {WINDOW} steps: {cause}"
        if max(self.losses) - min(self.losses) < FLAT * mean and abs(mean / self.chance - 1) < CHANCE:
            return (
                f"the loss has stood at {mean:.3f}, that of guessing, for {WINDOW} steps: the network answers the same to all "
                "images; do the labels belong to them? Or try a lower lr"
            )
        return None
