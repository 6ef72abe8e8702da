"""Optimisers from settings, the learning rate as a pure function of the step, and averaged weights."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from podium.models.convnet import ConvNet
from podium.settings import Settings, to_steps


def _eager(kind: Any) -> Any:
    """The optimiser without the guards that keep torch's compiler out of it: they import it, for more than a second."""
    guarded = ("add_param_group", "zero_grad", "step", "state_dict", "load_state_dict")
    bare = {name: inspect.unwrap(getattr(kind, name)) for name in guarded}
    return type(kind.__name__, (kind,), {**bare, "step": torch.no_grad()(bare["step"])})


_KINDS = {
    "sgd": _eager(torch.optim.SGD),
    "rmsprop": _eager(torch.optim.RMSprop),
    "adam": _eager(torch.optim.Adam),
    "adamw": _eager(torch.optim.AdamW),
}


def make_optimizer(net: ConvNet, s: Settings) -> torch.optim.Optimizer:
    """The optimiser of the settings over the network's trainable parameters."""
    groups = net.parameter_groups(s.weight_decay, s.decay_all, s.layer_decay)
    fused = next(net.parameters()).device.type in ("cpu", "cuda")
    arguments: dict[str, Any] = {
        "sgd": {"momentum": s.momentum, "nesterov": s.nesterov and s.momentum > 0, "fused": fused},
        "rmsprop": {"alpha": 0.9, "eps": s.eps, "momentum": s.momentum},
        "adam": {"eps": s.eps, "fused": fused},
        "adamw": {"eps": s.eps, "fused": fused},
    }
    return _KINDS[s.optimizer](groups, lr=s.peak, **arguments[s.optimizer])


def learning_rate(step: int, total: int, steps_per_epoch: int, s: Settings) -> float:
    """The rate at a step (counted from 0) of `total`: a linear rise over the warm-up, then the schedule."""
    warmup = to_steps("warmup", s.warmup, steps_per_epoch, total)
    if (
        s.schedule == "one-cycle"
    ):  # from lr/25 up to lr and down to nothing, on cosines [Smith 2018; torch's OneCycleLR]
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
    """From 1 at 0 to 0 at 1."""
    return (1 + math.cos(math.pi * done)) / 2


class Average:
    """Exponential moving average of a network's weights and batch-norm statistics.

    The decay rises with the step, min(decay, (1 + t) / (10 + t)), so that a short run is not judged by its first weights
    (as TensorFlow's ExponentialMovingAverage has it).

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
    def update(self, step: int) -> None:
        """Move towards the network's present weights."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.values.values()), list(self.present.values()), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the network has the averaged weights."""
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
