"""The forward and backward pass of one training step."""

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
    amp: bool,
    ranks: Ranks = ALONE,
) -> tuple[float, float]:
    """Compute the gradients of a batch and clip them; the optimiser step is left to the caller.

    Every random draw is a function of (seed, step, rank) alone, so that a resumed run draws the same numbers.

    Args:
        net: is put into training mode.
        optimizer: whose parameters get the gradients.
        batch: this rank's part of the step's images; `s.accumulate` parts of it are passed one after the other.
        objective: from (images, labels) to the loss, as `ranks.objective` makes it.
        s: of the run.
        step: counted from 0.
        amp: compute in bfloat16.
        ranks: that share the step.

    Returns:
        The loss, and the norm of the gradient before clipping, both over all ranks; either may be NaN or infinite.
    """
    x, y = batch.x, batch.y
    _seed(aug.key(s.seed, step, f"step of rank {ranks.rank}" if ranks.rank else "step"), x.device)  # dropout, mixup
    if not net.training:
        net.train()
    if s.mixup or s.cutmix:
        x, y = mix(x, y, net.spec["num_classes"], s.mixup, s.cutmix)
    optimizer.zero_grad(set_to_none=True)
    number, parts = 0.0, list(zip(x.tensor_split(s.accumulate), y.tensor_split(s.accumulate), strict=True))
    for n, (images, targets) in enumerate(parts, 1):
        with ranks.gradients_shared(objective, n == len(parts)):
            with torch.autocast(x.device.type, torch.bfloat16, enabled=amp):
                value = objective(images, targets)
            if s.accumulate > 1:
                value = value * (len(targets) / len(y))  # the means of the parts add up to the mean of the batch
            number += ranks.mean(value.item() + fault(f"before:{step}"))
            if not math.isfinite(number):
                return number, 0.0
            value.backward()
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if s.clip:
        torch.nn.utils.clip_grads_with_norm_(net.parameters(), s.clip, norm)
    return number, norm.item()


def _seed(key: int, device: torch.device) -> None:
    """Seed one device's generator; `torch.manual_seed` looks for every kind of device, which takes 0.3 ms a step."""
    torch.default_generator.manual_seed(key)
    if device.type == "cuda":
        torch.cuda.manual_seed(key)
    elif device.type == "mps":
        torch.mps.manual_seed(key)
