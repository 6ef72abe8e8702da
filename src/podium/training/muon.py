"""Muon: steps of convolutions along orthogonal matrices, and of all other parameters as AdamW takes them.

Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks" (kellerjordan.github.io/posts/muon). torch has it
for matrices alone; the weights of a convolution are one here, filters by inputs times kernel. A step is scaled to the size
of AdamW's [Liu et al. 2025, arXiv:2502.16982, section 2.2], so that both take the same learning rate and weight decay.
"""

from __future__ import annotations

import inspect
import math
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

from podium.devices import native_bf16

ROUNDS = 5
FIRST, THIRD, FIFTH = 3.4445, -4.7750, 2.0315  # of the odd polynomial that moves singular values from 0..1 to about 1
SIZE = 0.2  # root of the mean square of a step of AdamW, in learning rates
_adamw_step: Any = inspect.unwrap(torch.optim.AdamW.step)  # without the guard that imports torch's compiler


class Muon(torch.optim.AdamW):
    """The optimiser, over parameters of any shape.

    Args:
        groups: of parameters, with "weight_decay".
        momentum: share of the momentum of a convolution that stays at each step.
        more: arguments of AdamW.
    """

    def __init__(self, groups: Any, momentum: float = 0.95, **more: Any) -> None:
        super().__init__(groups, **more)
        self.momentum = momentum
        self._step_supports_amp_scaling = False  # `found_inf` would stop the other parameters alone

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step with the gradients that there are."""
        alike: dict[Any, list[tuple[Tensor, Tensor, dict[str, Any]]]] = defaultdict(list)
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim == 4 and p.grad is not None:
                    alike[p.flatten(1).shape, p.device].append((p, p.grad, group))
                    p.grad = None  # AdamW leaves it alone
        _adamw_step(self)
        for convolutions in alike.values():
            updates = self._with_momentum([(p, gradient) for p, gradient, _ in convolutions])
            for (p, gradient, group), update in zip(convolutions, orthogonal(updates), strict=True):
                rate = float(group["lr"])
                p.mul_(1 - rate * group["weight_decay"])
                p.add_(update.view(p.shape), alpha=-rate * SIZE * math.sqrt(max(update.shape)))
                p.grad = gradient

    def _with_momentum(self, convolutions: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Move the momentum of convolutions, and return Nesterov's, (L, filters, inputs times kernel)."""
        updates = []
        for p, gradient in convolutions:
            if not self.state[p]:
                self.state[p] |= {"step": torch.zeros(()), "momentum": torch.zeros_like(p)}  # Adam looks for a step
            momentum = self.state[p]["momentum"]
            momentum.lerp_(gradient, 1 - self.momentum)
            updates.append(gradient.lerp(momentum, self.momentum).flatten(1))
        return torch.stack(updates)


def orthogonal(matrices: Tensor) -> Tensor:
    """Return the nearest orthogonal matrices, about: their singular values lie near 1, from 0.7 to 1.2.

    Five rounds of Newton and Schulz's iteration, in bfloat16 where the hardware has it.

    Args:
        matrices: (L, m, n).
    """
    x = matrices.bfloat16() if native_bf16(matrices.device) else matrices
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ROUNDS):
        gram = x @ x.mT
        x = FIRST * x + (THIRD * gram + FIFTH * gram @ gram) @ x
    return (x.mT if tall else x).to(matrices.dtype)
