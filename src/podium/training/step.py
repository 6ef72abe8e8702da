"""The forward and backward passes of one training step, with its numbers read at once or left on the device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from podium.data import augment as aug
from podium.data.augment import mix
from podium.data.loader import Batch
from podium.files import fault
from podium.models.convnet import ConvNet
from podium.settings import Settings
from podium.training.distributed.parallel import ALONE, Ranks
from podium.training.loss_scale import LossScale

PRECISIONS = {
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}  # a value of the setting `amp` -> what autocast computes in


@dataclass(frozen=True)
class Passes:
    """What the forward and backward passes of all steps of a run have in common.

    Args:
        net: is put into training mode.
        optimizer: whose parameters get the gradients; its own step is left to the caller.
        settings: of the run.
        amp: what autocast computes in; None: float32.
        ranks: that share the step.
        scale: the factor of the loss; None: 1.
    """

    net: ConvNet
    optimizer: torch.optim.Optimizer
    settings: Settings
    amp: torch.dtype | None = None
    ranks: Ranks = ALONE
    scale: LossScale | None = None


def forward_backward(passes: Passes, batch: Batch, objective: nn.Module, step: int) -> tuple[float, float]:
    """Compute the gradients of a batch, clip them, and read the loss and their norm.

    Every random draw is a function of (seed, step, rank) alone, so that a resumed run draws the same numbers.

    Args:
        passes: of the run.
        batch: this rank's part of the step's images; `accumulate` parts of it are passed one after the other.
        objective: from (images, labels) to the loss, as `ranks.objective` makes it.
        step: counted from 0.

    Returns:
        The loss, and the norm of the gradient before clipping, both over all ranks; either may be NaN or infinite.
    """
    number, parts = 0.0, _parts(passes, *begin(passes, batch, step))
    for n, part in enumerate(parts, 1):
        with passes.ranks.gradients_shared(objective, n == len(parts)):
            value = _loss(passes, objective, *part, len(batch.y))
            number += passes.ranks.mean(value.item() + fault(f"before:{step}"))
            if not math.isfinite(number):
                return number, 0.0
            _backward(passes, value)
    return number, _clipped(passes).item()


def forward_backward_unread(
    passes: Passes, x: Tensor, y: Tensor, objective: nn.Module, injected: float, signal: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the same as `forward_backward`, and leave the numbers on the device: the processor waits for nothing.

    Args:
        passes, objective: as there.
        x, y: images and targets, as `begin` returns them.
        injected: a fault in a test is added to the loss; else 0.
        signal: the number of a signal that this rank has received, or 0.

    Returns:
        The loss and the norm, which may be NaN or infinite, and the largest signal of the ranks, () each.
    """
    parts = _parts(passes, x, y)
    number = torch.zeros((), dtype=torch.float64, device=x.device)
    for n, part in enumerate(parts, 1):
        with passes.ranks.gradients_shared(objective, n == len(parts)):
            value = _loss(passes, objective, *part, len(x))
            number += value.detach()
            if injected != 0.0:
                number += injected
            _backward(passes, value)
    loss, received = passes.ranks.agreed(number, signal)
    return loss, _clipped(passes), received


def begin(passes: Passes, batch: Batch, step: int) -> tuple[Tensor, Tensor]:
    """Seed a step, and return its images and targets, mixed as the settings say."""
    s, ranks = passes.settings, passes.ranks
    key = aug.key(s.seed, step, f"step of rank {ranks.rank}" if ranks.rank else "step")
    _seed(key, batch.x.device)  # dropout, mixup
    if not passes.net.training:
        passes.net.train()
    if s.mixup or s.cutmix:
        return mix(batch.x, batch.y, passes.net.spec["num_classes"], s.mixup, s.cutmix)
    return batch.x, batch.y


def _parts(passes: Passes, x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return the parts of a step, and drop the gradients of the step before."""
    s = passes.settings
    passes.optimizer.zero_grad(set_to_none=True)
    return list(zip(x.tensor_split(s.accumulate), y.tensor_split(s.accumulate), strict=True))


def _loss(passes: Passes, objective: nn.Module, images: Tensor, targets: Tensor, whole: int) -> Tensor:
    """Return the loss of a part of a batch of `whole` images; those of the parts add up to that of the batch."""
    with torch.autocast(images.device.type, passes.amp or torch.bfloat16, enabled=passes.amp is not None):
        value: Tensor = objective(images, targets)
    return value * (len(targets) / whole) if passes.settings.accumulate > 1 else value


def _backward(passes: Passes, value: Tensor) -> None:
    (value if passes.scale is None else value * passes.scale.factor).backward()


def _clipped(passes: Passes) -> Tensor:
    """Return the norm of the gradient, and clip the gradient where the settings say so."""
    gradients = [p.grad for p in passes.net.parameters() if p.grad is not None]
    if passes.scale is not None:
        passes.scale.unscale(gradients)
    norm = torch.nn.utils.get_total_norm(gradients)
    if passes.settings.clip:
        torch.nn.utils.clip_grads_with_norm_(passes.net.parameters(), passes.settings.clip, norm)
    return norm


def _seed(key: int, device: torch.device) -> None:
    """Seed one device's generator; `torch.manual_seed` looks for every kind of device, which takes 0.3 ms a step."""
    torch.default_generator.manual_seed(key)
    if device.type == "cuda":
        torch.cuda.manual_seed(key)
    elif device.type == "mps":
        torch.mps.manual_seed(key)
