"""Forecasts what a run will take before it begins, in seconds and memory, by some steps on a copy of its network."""

from __future__ import annotations

import logging
import math
import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch

from podium.data.loader import Loader
from podium.devices import float32, synchronize
from podium.errors import UsageError
from podium.models.convnet import ConvNet
from podium.settings import Settings
from podium.training.autotune.trial import Trial, memory_in_use
from podium.training.fitting import within_memory
from podium.training.optim import EMA
from podium.training.plan import Plan
from podium.training.transfer.features import TrainedPart
from podium.units import parse_duration, to_steps

SAMPLE = 0.05  # share of a time budget that may go into timing, half of it into steps
FEW, MANY = 1, 2  # first steps that are not counted: at least, and where there are more
MOST_SECONDS = 5.0  # that the timed steps and evaluations of a forecast take
SPARE = 0.03  # share of a time budget that is left for the checkpoints
WRITTEN = 300e6  # bytes a second at which checkpoints and weights are hashed and written, assumed
REPORT = 0.3  # seconds that the result and its report take, assumed
LINKS = {"cuda": 100e9, "cpu": 1.25e9, "mps": 1.25e9}  # bytes a second between devices, assumed: NVLink, 10 Gbit/s
DEVICES = 2, 4, 8  # numbers of devices that a forecast is made for


@dataclass(frozen=True)
class Pace:
    """What the parts of a run take, in seconds.

    Args:
        step: a training step, reading its images included.
        evaluation: the evaluation after every epoch, and after the last step.
        end: what follows the last one: another evaluation where one is due, the last checkpoint, the weights, the report.
    """

    step: float
    evaluation: float
    end: float

    def seconds(self, steps: int, per_epoch: int) -> float:
        """Return the seconds that a run of so many steps takes."""
        return steps * self.step + -(-steps // per_epoch) * self.evaluation + self.end

    def steps(self, seconds: float, per_epoch: int) -> int:
        """Return the most steps that fit into a run of so many seconds; 0 where not even one does."""
        left = max(0.0, seconds - self.end)
        epoch = per_epoch * self.step + self.evaluation
        whole = int(left / epoch)
        more = int((left - whole * epoch - self.evaluation) / self.step)
        return whole * per_epoch + min(per_epoch - 1, max(0, more))


def measured(plan: Plan, seconds: float, part: TrainedPart | None = None) -> Pace:
    """Time some steps and evaluation batches on a copy of the network.

    Args:
        plan: of the run.
        seconds: to spend; two steps and two batches of an evaluation are taken however long they take.
        part: what takes the steps, if not the whole network.
    """
    part = part or TrainedPart(plan.net, plan.train, plan.loaders[plan.monitor])
    net, train, validation = part.net, part.train, part.evaluation
    step = _step(plan, net, train, seconds / 2)
    evaluation = _evaluation(net, validation, seconds / 4)
    weights = sum(t.nbytes for t in plan.net.state_dict().values())
    trained = sum(p.nbytes for p in net.parameters() if p.requires_grad)
    checkpoint = (1 + (plan.settings.ema > 0)) * weights + _copies(plan.settings) * trained
    end = (checkpoint + weights) / WRITTEN + REPORT
    if plan.selects or plan.settings.qat or net is not plan.net:  # the last evaluation is not that of the saved weights
        reported = plan.loaders[plan.evaluation_split]
        same = (net, validation) == (plan.net, reported)
        end += evaluation if same else _evaluation(plan.net, reported, seconds / 4)
    if plan.selects:  # the temperature and the thresholds are fitted on the validation images
        fitted_on = plan.loaders[plan.monitor]
        end += (
            evaluation if (net, validation) == (plan.net, fitted_on) else _evaluation(plan.net, fitted_on, seconds / 4)
        )
    return Pace(step, evaluation + (weights / WRITTEN if plan.selects else 0.0), end)


def _step(plan: Plan, net: ConvNet, train: Loader, seconds: float) -> float:
    """Return the median seconds from one training step to the next."""
    trial = Trial(net, plan.settings, plan.criterion, plan.ranks)
    ema = EMA(trial.net, plan.settings.ema) if plan.settings.ema else None
    times: list[float] = []
    begun = last = time.monotonic()
    while True:
        for batch in train.epoch(0):  # the time to read a batch counts
            trial.step(batch, plan.amp)
            if ema is not None:
                ema.update(1)
            now = time.monotonic()
            times.append(now - last)
            last = now
            if plan.ranks.first(int(len(times) > FEW and now - begun > seconds)):
                return statistics.median(times[MANY:] or times[FEW:])


def _evaluation(net: ConvNet, loader: Loader, seconds: float) -> float:
    """Return the seconds of an evaluation, from its batches after the first; a batch that is the only one is run twice."""
    training, times = net.training, list[float]()
    net.eval()
    device = next(net.parameters()).device
    synchronize(device)
    begun = last = time.monotonic()
    with torch.inference_mode(), float32():
        while len(times) < 2:
            for batch in loader.epoch():
                net(batch.x).float().cpu()
                synchronize(device)
                now = time.monotonic()
                times.append(now - last)
                last = now
                if len(times) > 1 and now - begun > seconds:
                    break
    net.train(training)
    return statistics.fmean(times[1:] or times) * len(loader)


def steps_of(plan: Plan, part: TrainedPart | None = None, spent: float = 0.0) -> int:
    """Return the length of a run in steps; how many fit into a time budget is measured on a copy of the network.

    Args:
        plan: of the run.
        part: what takes the steps, if not the whole network.
        spent: seconds of the budget that are gone already, into reading the data and choosing a precision.

    Raises:
        UsageError: not even one step fits into the budget.
    """
    s, per_epoch = plan.settings, len(plan.train)
    value, unit = parse_duration("duration", s.duration)
    if unit != "s":
        return to_steps("duration", s.duration, per_epoch)
    begun = time.monotonic()
    _ = plan.fingerprint  # computed here, so that its time counts
    pace = measured(plan, SAMPLE * value, part)
    spent += time.monotonic() - begun
    steps = plan.ranks.first(pace.steps((1 - SPARE) * value - spent, per_epoch))
    least = at_least((spent + pace.seconds(per_epoch, per_epoch)) / (1 - SPARE))
    if steps == 0:
        other = format_seconds(spent + pace.evaluation + pace.end)
        what = f"budget: {s.duration} is over before {s.model} has taken a step: the rest of a run takes {other} here"
        raise UsageError(what, f"give at least {least} for {s.model}: --budget {least}, which is one epoch")
    if steps < per_epoch and plan.ranks.leads:
        logging.getLogger("podium").warning(
            f"budget: one epoch takes at least {least} for {s.model}; {s.duration} is {steps} of its {per_epoch} steps"
        )
    return steps


def at_least(seconds: float) -> str:
    """Return so many seconds as a time budget is written, rounded up: "45s", "3m", "2.5h"."""
    if seconds <= 120:
        return f"{math.ceil(seconds)}s"
    if seconds <= 7200:
        return f"{math.ceil(seconds / 60)}m"
    return f"{math.ceil(seconds / 360) / 10:g}h"


def _copies(s: Settings) -> int:
    """Return how many numbers the optimiser keeps for each weight."""
    return {"sgd": int(s.momentum > 0), "rmsprop": 1 + (s.momentum > 0), "adam": 2, "adamw": 2, "muon": 2}[s.optimizer]


def memory(plan: Plan) -> dict[str, int]:
    """Return the bytes at the peak of a step, by what they hold; "process" is what Python, torch and the images take already."""
    s, device = plan.settings, plan.device
    process, _ = memory_in_use(device, reset=True)
    trained = sum(p.nbytes for p in plan.net.parameters() if p.requires_grad)
    weights = sum(t.nbytes for t in plan.net.state_dict().values())
    trial = Trial(plan.net, s)
    batch = trial.images(plan.train.batch_size)
    held = {
        "weights": weights,
        "gradients": trained,
        "optimizer": _copies(s) * trained,
        "average": weights if s.ema else 0,
        "activations": trial.saved_bytes(batch, plan.amp),
        "batch": batch.x.nbytes,
        "process": max(0, process - weights),
    }
    return {**held, "peak": sum(held.values())}


def forecast(plan: Plan) -> dict[str, Any]:
    """Forecast what a run will take on this machine, from some steps on a copy of its network; nothing is written.

    Returns:
        Seconds, images a second and megabytes, and the times with several devices that share each batch.

    Raises:
        UsageError: a step does not fit into memory.
    """
    s, per_epoch, batch = plan.settings, len(plan.train), plan.train.batch_size
    held, pace = within_memory(plan, lambda: (memory(plan), measured(plan, MOST_SECONDS)))
    step, evaluation = pace.step, pace.evaluation
    value, unit = parse_duration("duration", s.duration)
    # A run under a time budget also pays for reading its data, which is not known yet, and for timing these steps.
    steps = (
        to_steps("duration", s.duration, per_epoch)
        if unit != "s"
        else pace.steps((1 - SPARE - SAMPLE) * value, per_epoch)
    )
    link = LINKS[plan.device.type]

    def shared(devices: int) -> dict[str, Any]:
        each = step / devices + 2 * (devices - 1) / devices * held["gradients"] / link
        epoch = per_epoch * each + evaluation / devices
        return {
            "devices": devices,
            "images_per_second": round(batch / each, 1),
            "step_seconds": round(each, 5),
            "epoch_seconds": round(epoch, 3),
            "seconds": round(steps / per_epoch * epoch + pace.end, 1),
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
        "evaluation_seconds": round(evaluation, 3),
        **{key: value for key, value in shared(1).items() if key != "devices"},
        "memory_mb": {key: round(held_bytes / 1e6, 1) for key, held_bytes in held.items()},
        "scaling": [shared(devices) for devices in DEVICES],
        "assumed": f"devices share each batch and compute in proportion; then gradients are summed in a ring at {link / 1e9:g} GB/s, "
        "nothing of it at the same time",
    }


def format_forecast(f: dict[str, Any]) -> list[str]:
    """Return a forecast as lines of text."""
    held = f["memory_mb"]
    parts = ", ".join(f"{name} {held[name]:,.0f}" for name in held if name != "peak" and held[name] >= 0.5)
    lines = [
        f"{f['epochs']:g} epochs of {f['steps_per_epoch']} steps of {f['batch_size']}: {format_seconds(f['seconds'])}, "
        f"{format_seconds(f['epoch_seconds'])} an epoch ({format_seconds(f['evaluation_seconds'])} of it evaluation)",
        f"{f['images_per_second']:,.1f} images/s in training, {1000 * f['step_seconds']:,.1f} ms a step",
        f"peak memory {held['peak']:,.0f} MB: {parts}",
    ]
    for row in f["scaling"]:
        lines.append(
            f"{row['devices']} devices: {row['images_per_second']:,.0f} images/s, {format_seconds(row['seconds'])}, if they are as this one"
        )
    return [*lines, f"assumed: {f['assumed']}"]


def format_seconds(seconds: float) -> str:
    """Return a time as text: "2.5 s", "3 min 20 s", "1 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
