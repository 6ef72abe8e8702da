"""Optimisers from settings, the learning rate as a pure function of the step, and the moving average of weights (EMA)."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from podium.models.convnet import ConvNet
from podium.settings import Settings
from podium.training.muon import Muon
from podium.units import to_steps


def _eager(kind: Any) -> Any:
    """Return an optimiser class without the guards that keep torch's compiler out: they import it, which takes over a second."""
    guarded = ("add_param_group", "zero_grad", "step", "state_dict", "load_state_dict")
    bare = {name: inspect.unwrap(getattr(kind, name)) for name in guarded}
    return type(kind.__name__, (kind,), {**bare, "step": torch.no_grad()(bare["step"])})


_KINDS = {
    "sgd": _eager(torch.optim.SGD),
    "rmsprop": _eager(torch.optim.RMSprop),
    "adam": _eager(torch.optim.Adam),
    "adamw": _eager(torch.optim.AdamW),
    "muon": _eager(Muon),
}


def make_optimizer(net: ConvNet, s: Settings) -> torch.optim.Optimizer:
    """Return the optimiser that the settings name, over the network's trainable parameters."""
    groups = net.parameter_groups(s.weight_decay, s.decay_all, s.layer_decay)
    fused = next(net.parameters()).device.type in ("cpu", "cuda")
    arguments: dict[str, Any] = {
        "sgd": {"momentum": s.momentum, "nesterov": s.nesterov and s.momentum > 0, "fused": fused},
        "rmsprop": {"alpha": 0.9, "eps": s.eps, "momentum": s.momentum},
        "adam": {"eps": s.eps, "fused": fused},
        "adamw": {"eps": s.eps, "fused": fused},
        "muon": {"eps": s.eps, "fused": fused},
    }
    return _KINDS[s.optimizer](groups, lr=s.peak, **arguments[s.optimizer])


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next optimiser step; each group of parameters takes its `scale` times this rate."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate * group["scale"])
        else:
            group["lr"] = rate * group["scale"]


def rates_on(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Keep the learning rates on a device, where a CUDA graph reads them; all steps of a run read them there, for the same bits."""
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(float(group["lr"]), dtype=torch.float32, device=device)
        if "capturable" in group:
            group["capturable"] = True


def learning_rate(step: int, total: int, steps_per_epoch: int, s: Settings) -> float:
    """Return the learning rate of a step (counted from 0) of `total`: a linear warm-up, then the schedule."""
    warmup = to_steps("warmup", s.warmup, steps_per_epoch, total)
    if s.schedule == "one-cycle":
        # From lr/25 up to lr and down to 0, on cosines [Smith 2018; torch's OneCycleLR].
        rise = warmup or round(0.3 * total)
        if step < rise:
            return s.peak * (1 - (1 - 1 / 25) * _cosine(step / rise))
        return s.peak * _cosine((step - rise) / max(1, total - rise))
    if step < warmup:
        return s.peak * (step + 1) / warmup
    if s.schedule == "cosine":
        return s.peak * _cosine((step - warmup) / max(1, total - warmup))
    if s.schedule == "step":
        return s.peak * s.gamma ** sum(step >= milestone * total for milestone in s.milestones)
    if s.schedule == "exponential":
        return s.peak * s.gamma ** (step // max(1, to_steps("decay_every", s.decay_every, steps_per_epoch)))
    return s.peak


def _cosine(done: float) -> float:
    """Return a cosine that falls from 1 to 0 while `done` rises from 0 to 1."""
    return (1 + math.cos(math.pi * done)) / 2


class EMA:
    """Exponential moving average of a network's weights and batch-norm statistics.

    The decay rises with the step, min(decay, (1 + t) / (10 + t)), so that the first weights do not weigh on a
    short run, as in TensorFlow's ExponentialMovingAverage.

    Args:
        net: the network that is trained.
        decay: share of the old average that stays at each step.
    """

    def __init__(self, net: ConvNet, decay: float) -> None:
        self.decay = decay
        named = [*net.named_parameters(), *net.named_buffers()]
        self.present = {name: tensor.detach() for name, tensor in named if tensor.is_floating_point()}
        self.values = {name: tensor.clone() for name, tensor in self.present.items()}

    @torch.no_grad()
    def update(self, step: int, ended: Tensor | None = None) -> None:
        """Move the EMA towards the network's present weights, after a step (counted from 1).

        Args:
            step: the number of steps so far.
            ended: (), bool, on the device of the weights, whether nothing changes any more; None where that is known.
        """
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        values, present = list(self.values.values()), list(self.present.values())
        if ended is None:
            torch._foreach_lerp_(values, present, share)
            return
        moves = torch._foreach_sub(present, values)
        torch._foreach_mul_(moves, torch.where(ended, 0.0, share).to(values[0].dtype))
        torch._foreach_add_(values, moves)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the network the EMA of its weights within this context, and its own again afterwards."""
        own = {name: tensor.clone() for name, tensor in self.present.items()}
        self._put(self.values)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, values: dict[str, Tensor]) -> None:
        for name, tensor in self.present.items():
            tensor.copy_(values[name])
