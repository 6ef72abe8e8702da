"""The factor of the loss in float16, without which small gradients become zero [Micikevicius et al. 2018, arXiv:1710.03740].

It behaves as torch.amp.GradScaler does with its defaults, and a test compares the two. It is our own because the step must also
stand still, with its factor, once a run has ended (`training.late`), and because its state is two numbers of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

FIRST = 2.0**16  # the factor at the start
STEPS = 2000  # finite steps in a row after which it doubles; a step that is not finite halves it
LEAST = 1.0  # a gradient that is not finite with this factor or a smaller one is not finite in float32 either


class LossScale:
    """The factor and how long it has held, on the device: nothing here reads a number of it but `state`.

    Args:
        device: of the gradients.
    """

    def __init__(self, device: torch.device) -> None:
        self.factor = torch.full((), FIRST, device=device)
        self.held = torch.zeros((), dtype=torch.int32, device=device)

    def unscale(self, gradients: Sequence[Tensor]) -> None:
        """Divide gradients by the factor, in place; a power of two rounds nothing."""
        torch._foreach_mul_(list(gradients), self.factor.reciprocal())

    def too_small(self) -> Tensor:
        """Return whether the factor is not what makes a gradient infinite, (), bool."""
        return self.factor <= LEAST

    def update(self, taken: Tensor, ended: Tensor) -> None:
        """Follow a step.

        Args:
            taken: (), bool: whether its gradient was finite.
            ended: (), bool: whether nothing changes any more.
        """
        held = torch.where(taken, self.held + 1, 0)
        grows = held >= STEPS
        factor = torch.where(taken, torch.where(grows, 2 * self.factor, self.factor), self.factor / 2)
        self.factor.copy_(torch.where(ended, self.factor, factor))
        self.held.copy_(torch.where(ended, self.held, torch.where(grows, 0, held)))

    def changed(self) -> list[Tensor]:
        """Return the tensors that a step changes."""
        return [self.factor, self.held]

    def state(self) -> dict[str, float]:
        """Return the factor and the steps that it has held, for a checkpoint."""
        return {"factor": self.factor.item(), "held": self.held.item()}

    def load(self, state: dict[str, float]) -> None:
        """Put back what `state` returned."""
        self.factor.fill_(state["factor"])
        self.held.fill_(int(state["held"]))
