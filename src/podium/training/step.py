"""One step of training, and how many of them a time budget holds."""

from __future__ import annotations

import copy
import math
import time

import numpy as np
import torch

from podium.data import augment as aug
from podium.data.augment import mix
from podium.data.loader import Batch
from podium.models.convnet import ConvNet, Loss
from podium.settings import Settings, duration, to_steps
from podium.training.losses import cross_entropy
from podium.training.optim import make_optimizer
from podium.training.plan import Plan

SAMPLE, FEWEST = 0.05, 5  # of a budget the share that may go into timing steps, and the steps it takes at least


def forward_backward(
    net: ConvNet,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    loss: Loss,
    s: Settings,
    step: int,
    rate: float,
    amp: bool,
) -> tuple[float, float]:
    """All of a step but the step: gradients in place, clipped. Every draw depends on (seed, step) alone.

    Args:
        step: counted from 0.
        rate: the learning rate, for the step that follows; a group of parameters takes its `scale` of it.
        amp: compute in bfloat16.

    Returns:
        The loss, and the norm of the gradient before clipping; either may be not finite.
    """
    torch.manual_seed(aug.key(s.seed, step, "step"))  # dropout, mixup
    net.train()
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
    x, y = batch.x, batch.y
    if s.mixup or s.cutmix:
        x, y = mix(x, y, net.spec["num_classes"], s.mixup, s.cutmix)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=amp):
        value = net.training_loss(x, y, loss)
    optimizer.zero_grad(set_to_none=True)
    if not math.isfinite(number := value.item()):
        return number, 0.0
    value.backward()
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
    if s.clip:
        torch.nn.utils.clip_grads_with_norm_(net.parameters(), s.clip, norm, foreach=True)
    return number, norm.item()


def steps_of(plan: Plan) -> int:
    """The length of a run in steps; a time budget is measured into steps on a copy that is thrown away."""
    s, per_epoch = plan.settings, len(plan.train)
    value, unit = duration("duration", s.duration)
    if unit != "s":
        return to_steps("duration", s.duration, per_epoch)
    begun = time.monotonic()
    net = copy.deepcopy(plan.net)
    optimizer, loss = make_optimizer(net, s), cross_entropy(s.label_smoothing)
    times: list[float] = []
    enough = False
    last = begun
    while not enough:
        for batch in plan.train.epoch(0):  # reading counts too
            forward_backward(net, optimizer, batch, loss, s, 0, 0.0, plan.amp)
            optimizer.step()
            now = time.monotonic()
            times.append(now - last)
            last = now
            enough = len(times) >= FEWEST and time.monotonic() - begun > SAMPLE * value
            if enough:
                break
    loader, judging = plan.loaders[plan.monitor], time.monotonic()
    net.eval()
    with torch.inference_mode():
        net(next(loader.epoch()).x)
    evaluation = (time.monotonic() - judging) * len(loader)
    step = float(np.median(times[2:])) + evaluation / per_epoch
    left = value - (time.monotonic() - begun) - evaluation
    return max(1, int(0.97 * left / step))
