"""One step of training."""

from __future__ import annotations

import math

import torch
from torch import nn

from podium.data import augment as aug
from podium.data.augment import mix
from podium.data.loader import Batch
from podium.files import fault
from podium.models.convnet import ConvNet
from podium.settings import Settings
from podium.training.distributed.parallel import ALONE, Ranks


def forward_backward(
    net: ConvNet,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    objective: nn.Module,
    s: Settings,
    step: int,
    rate: float,
    amp: bool,
    ranks: Ranks = ALONE,
) -> tuple[float, float]:
    """All of a step but the step: gradients in place, clipped. Every draw depends on (seed, step, rank) alone.

    Args:
        batch: this rank's part of the step's images.
        objective: of `ranks.objective`.
        step: counted from 0.
        rate: the learning rate, for the step that follows; a group of parameters takes its `scale` of it.
        amp: compute in bfloat16.

    Returns:
        The loss, and the norm of the gradient before clipping, both of all ranks; either may be not finite.
    """
    x, y = batch.x, batch.y
    _seed(aug.key(s.seed, step, f"step of rank {ranks.rank}" if ranks.rank else "step"), x.device)  # dropout, mixup
    if not net.training:
        net.train()
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
    if s.mixup or s.cutmix:
        x, y = mix(x, y, net.spec["num_classes"], s.mixup, s.cutmix)
    optimizer.zero_grad(set_to_none=True)
    number, parts = 0.0, list(zip(x.tensor_split(s.accumulate), y.tensor_split(s.accumulate), strict=True))
    for n, (images, targets) in enumerate(parts, 1):
        with ranks.gradients_shared(objective, n == len(parts)):
            with torch.autocast(x.device.type, torch.bfloat16, enabled=amp):
                value = objective(images, targets)
            if s.accumulate > 1:
                value = value * (len(targets) / len(y))  # means of parts add up to the mean of all
            number += ranks.mean(value.item() + fault(f"before:{step}"))
            if not math.isfinite(number):
                return number, 0.0
            value.backward()
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
    if s.clip:
        torch.nn.utils.clip_grads_with_norm_(net.parameters(), s.clip, norm, foreach=True)
    return number, norm.item()


def _seed(key: int, device: torch.device) -> None:
    """`torch.manual_seed` of one device: torch's asks after every kind there may be, for 0.3 ms."""
    torch.default_generator.manual_seed(key)
    if device.type == "cuda":
        torch.cuda.manual_seed(key)
    elif device.type == "mps":
        torch.mps.manual_seed(key)
