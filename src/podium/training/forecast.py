"""What a run will take, before it begins: seconds, memory, images a second, measured by some steps that are thrown away."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch

from podium.settings import duration, to_steps
from podium.training.plan import Plan, within_memory
from podium.training.trial import Trial, memory_in_use

FEWEST, SLOW = 5, 2  # steps that are timed at least, and where they take long
UNCOUNTED = 2  # steps until everything is in its place
MOST_SECONDS = 5.0  # of a forecast's steps
LINKS = {"cuda": 100e9, "cpu": 1.25e9, "mps": 1.25e9}  # bytes a second between devices, assumed: NVLink, 10 Gbit/s
DEVICES = 2, 4, 8


def measured(plan: Plan, seconds: float) -> tuple[float, float]:
    """Median seconds of a step, reading included, and of an evaluation after an epoch; both on copies.

    Args:
        seconds: that steps are timed for; where two of them take longer than that, these two are all.
    """
    trial = Trial(plan.net, plan.settings, plan.criterion, plan.ranks)
    times: list[float] = []
    begun = last = time.monotonic()
    enough = False
    while not enough:
        for batch in plan.train.epoch(0):  # reading counts too
            trial.step(batch, plan.amp)
            now = time.monotonic()
            times.append(now - last)
            last = now
            fewest = FEWEST if now - begun <= seconds else SLOW
            enough = bool(plan.ranks.first(int(len(times) >= fewest and now - begun > seconds)))
            if enough:
                break
    return statistics.median(times[min(UNCOUNTED, len(times) - 1) :]), _judging(plan, trial, seconds)


@torch.inference_mode()
def _judging(plan: Plan, trial: Trial, seconds: float) -> float:
    """Seconds of an evaluation on the images that are watched, from its first batches."""
    loader = plan.loaders[plan.monitor]
    trial.net.eval()
    times: list[float] = []
    begun = last = time.monotonic()
    for batch in loader.epoch():
        trial.net(batch.x).cpu()
        now = time.monotonic()
        times.append(now - last)
        last = now
        if len(times) >= FEWEST or now - begun > seconds / 2:
            break
    return statistics.median(times[min(1, len(times) - 1) :]) * len(loader)


def memory(plan: Plan) -> dict[str, int]:
    """Bytes at the peak of a step, by what they hold; `process` is what there is already: Python, torch, the images."""
    s, device = plan.settings, plan.device
    process, _ = memory_in_use(device, reset=True)
    trained = sum(p.nbytes for p in plan.net.parameters() if p.requires_grad)
    weights = sum(t.nbytes for t in plan.net.state_dict().values())
    copies = {"sgd": int(s.momentum > 0), "rmsprop": 1 + (s.momentum > 0), "adam": 2, "adamw": 2}[s.optimizer]
    trial = Trial(plan.net, s)
    batch = trial.images(plan.train.batch_size)
    held = {
        "weights": weights,
        "gradients": trained,
        "optimizer": copies * trained,
        "average": weights if s.ema else 0,
        "activations": trial.saved_bytes(batch, plan.amp),
        "batch": batch.x.nbytes,
        "process": max(0, process - weights),
    }
    return {**held, "peak": sum(held.values())}


def forecast(plan: Plan) -> dict[str, Any]:
    """What the run of a plan will take on this machine, from steps on a copy; nothing is written.

    Returns:
        Seconds, images a second, megabytes, and how they scale with devices that share each batch.

    Raises:
        UsageError: a step does not fit into memory.
    """
    s, per_epoch, batch = plan.settings, len(plan.train), plan.train.batch_size
    held, (step, judging) = within_memory(plan, lambda: (memory(plan), measured(plan, MOST_SECONDS)))
    value, unit = duration("duration", s.duration)
    steps = to_steps("duration", s.duration, per_epoch) if unit != "s" else int(value / (step + judging / per_epoch))
    link = LINKS[plan.device.type]

    def shared(devices: int) -> dict[str, Any]:
        each = step / devices + 2 * (devices - 1) / devices * held["gradients"] / link
        epoch = per_epoch * each + judging / devices
        return {
            "devices": devices,
            "images_per_second": round(batch / each, 1),
            "step_seconds": round(each, 5),
            "epoch_seconds": round(epoch, 3),
            "seconds": round(steps / per_epoch * epoch, 1),
        }

    return {
        "model": s.model,
        "data": plan.data.name,
        "device": s.device,
        "amp": s.amp,
        "memory_format": s.memory_format,
        "image_size": s.image_size,
        "batch_size": batch,
        "accumulate": s.accumulate,
        "steps": steps,
        "steps_per_epoch": per_epoch,
        "epochs": round(steps / per_epoch, 2),
        "evaluation_seconds": round(judging, 3),
        **{key: value for key, value in shared(1).items() if key != "devices"},
        "memory_mb": {key: round(held_bytes / 1e6, 1) for key, held_bytes in held.items()},
        "scaling": [shared(devices) for devices in DEVICES],
        "assumed": f"devices share each batch and compute in proportion; then gradients are summed in a ring at {link / 1e9:g} GB/s, "
        "nothing of it at the same time",
    }


def told(f: dict[str, Any]) -> list[str]:
    """A forecast, for people."""
    held = f["memory_mb"]
    parts = ", ".join(f"{name} {held[name]:,.0f}" for name in held if name != "peak" and held[name] >= 0.5)
    lines = [
        f"{f['epochs']:g} epochs of {f['steps_per_epoch']} steps of {f['batch_size']}: {spoken(f['seconds'])}, "
        f"{spoken(f['epoch_seconds'])} an epoch ({spoken(f['evaluation_seconds'])} of it judging)",
        f"{f['images_per_second']:,.1f} images/s in training, {1000 * f['step_seconds']:,.1f} ms a step",
        f"peak memory {held['peak']:,.0f} MB: {parts}",
    ]
    for row in f["scaling"]:
        lines.append(
            f"{row['devices']} devices: {row['images_per_second']:,.0f} images/s, {spoken(row['seconds'])}, if they are as this one"
        )
    return [*lines, f"assumed: {f['assumed']}"]


def spoken(seconds: float) -> str:
    """ "2.5 s", "3 min 20 s", "1 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
