"""The training loop, in reading order."""

from __future__ import annotations

import copy
import math
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from podium import bundle
from podium.data import augment as aug
from podium.data.augment import mix
from podium.data.dataset import Dataset
from podium.data.loader import Batch
from podium.errors import MachineError, NumericError, PodiumError, UsageError
from podium.evaluation.evaluate import Outputs, evaluate
from podium.evaluation.metrics import summarize
from podium.files import write_atomic
from podium.models.convnet import ConvNet, Loss
from podium.settings import Settings, duration, read_file, to_steps, write_file
from podium.training import state
from podium.training.folder import PREDICTIONS, RESULT, SETTINGS, RunFolder
from podium.training.losses import cross_entropy
from podium.training.optim import Average, learning_rate, make_optimizer
from podium.training.plan import Plan, prepare

# Called after every step with (steps done, steps in all, what to show) and after every epoch with its log row.
Progress = Callable[[int, int, dict[str, Any]], None]
NOT_COMPARED = {"workers", "device", "checkpoint_every"}  # may differ between a run and its resume


class Stopped(PodiumError):
    """Ctrl-C or SIGTERM: the step was finished and the state saved."""

    def __init__(self, number: int, step: int, total: int, folder: RunFolder) -> None:
        super().__init__(
            f"stopped by {signal.Signals(number).name} after step {step} of {total}; the state is saved",
            f"go on with: podium train --resume -o {folder.path}",
        )
        self.exit_code = 128 + number


def train(
    settings: Settings,
    out: str | Path,
    *,
    origin: dict[str, str] | None = None,
    resume: bool = False,
    data: Dataset | None = None,
    net: ConvNet | None = None,
    progress: Progress | None = None,
    announce: Callable[[Plan], None] | None = None,
) -> RunFolder:
    """Train a network, or go on where a run was stopped.

    Args:
        settings: what to do; a resumed run takes its own, and refuses others.
        out: the run folder.
        origin: where each setting came from, noted in `settings.yaml`.
        resume: go on with what is in `out`; a finished run is left as it is.
        data, net: ready-made, instead of what the settings name.
        progress: see `Progress`.
        announce: called with the plan before the first step.

    Returns:
        The run folder, finished.

    Raises:
        PodiumError: see its kinds; what was reached stays on disk.
    """
    folder = RunFolder(out)
    if resume and folder.started:
        recorded = read_file(folder / SETTINGS)
        _refuse_changes(settings, recorded, origin or {})
        settings = settings.replace(**{k: v for k, v in recorded.items() if k not in NOT_COMPARED})
        if folder.finished:
            return folder
    else:
        folder.create()
    with folder.locked():
        plan = prepare(settings, data, net)
        if not folder.started:
            steps = _total_steps(plan)
            plan.settings = plan.settings.replace(duration=f"{steps}it")
            notes = {
                **(origin or {}),
                "duration": f"{settings.duration} from {(origin or {}).get('duration', 'default')}",
            }
            write_file(folder / SETTINGS, plan.settings, notes)
        if announce is not None:
            announce(plan)
        _run(plan, folder, given=net is not None, progress=progress or (lambda *_: None))
    return folder


def _refuse_changes(asked: Settings, recorded: dict[str, Any], origin: dict[str, str]) -> None:
    """A resume that was given other settings than the run has is refused, by name."""
    for key, source in origin.items():
        value, old = getattr(asked, key), recorded.get(key)
        if key in NOT_COMPARED or key == "duration" or source == "default" or source.startswith("recipe"):
            continue
        if key == "data" and Path(value).exists():
            value = str(Path(value).resolve())
        if value != old:
            raise UsageError(
                f"{key}: the run has {old!r}, not {value!r}", "resume it as it was, or start another with -o"
            )


def _run(plan: Plan, folder: RunFolder, *, given: bool, progress: Progress) -> None:
    s, net, device = plan.settings, plan.net, plan.device
    total, per_epoch = to_steps("duration", s.duration, len(plan.train)), len(plan.train)
    optimizer = make_optimizer(net, s)
    average = Average(net, s.ema) if s.ema else None
    loss = cross_entropy(s.label_smoothing)
    guard = [b for b in net.buffers() if b.is_floating_point()]  # batch-norm statistics, which a NaN batch would spoil
    interval = duration("checkpoint_every", s.checkpoint_every)[0]

    # Where we are: from the start, or from the newest good checkpoint.
    step, log_rows, seconds = 0, 0, 0.0
    loss_sum, images_seen = 0.0, 0
    best: dict[str, Any] = {"top1": -1.0, "epoch": 0}
    checkpoints = any(state.newest(folder.path))
    if checkpoints:
        tensors, values, passed = state.load_newest(folder.path)
        for line in passed:
            print(f"warning: {line}; going on from the one before it", file=sys.stderr)
        net.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("net.")})
        state.restore_optimizer(optimizer, tensors)
        if average is not None:
            for name in average.values:
                average.values[name].copy_(tensors[f"average.{name}"])
        step, log_rows, seconds = values["step"], values["log_rows"], values["seconds"]
        loss_sum, images_seen, best = values["loss_sum"], values["images_seen"], values["best"]
    folder.keep_log(log_rows)
    _check_disk(folder, net, optimizer, s)
    clock = time.monotonic() - seconds

    def log(row: dict[str, Any]) -> None:
        nonlocal log_rows
        folder.log(row)
        log_rows += 1

    def save() -> None:
        tensors = {f"net.{k}": v for k, v in net.state_dict().items()} | state.optimizer_state(optimizer)
        if average is not None:
            tensors |= {f"average.{k}": v for k, v in average.values.items()}
        values = {"step": step, "log_rows": log_rows, "seconds": time.monotonic() - clock, "best": best}
        state.save(folder.path, tensors, {**values, "loss_sum": loss_sum, "images_seen": images_seen})

    if step == 0 and log_rows == 0:
        log(
            {
                "event": "start",
                **_machine(),
                "model": s.model,
                "data": plan.data.name,
                "params": plan.cost.params,
                "steps": total,
            }
        )
    if given and not checkpoints:
        save()  # weights that were handed in cannot be drawn again from the seed
    saved_at = time.monotonic()
    events = _tensorboard(folder, step)
    outputs: Outputs | None = None
    finished = False

    with _stop_signals() as stop:
        while step < total and not finished:
            epoch, first = divmod(step, per_epoch)
            for batch in plan.train.epoch(epoch, first):
                rate = learning_rate(step, total, per_epoch, s)
                kept = [b.clone() for b in guard]
                value, norm = forward_backward(net, optimizer, batch, loss, s, step, rate, plan.amp)
                value += state.fault(f"before:{step}")
                if not (math.isfinite(value) and math.isfinite(norm)):
                    for buffer, old in zip(guard, kept, strict=True):
                        buffer.copy_(old)
                    save()
                    _report_nan(folder, batch, step, rate, value, norm)
                optimizer.step()
                step += 1
                if average is not None:
                    average.update(step)
                loss_sum += value * len(batch.y)
                images_seen += len(batch.y)
                progress(step, total, {"epoch": epoch + 1, "loss": value, "lr": rate})
                state.fault(f"step:{step}")
                if stop.received is not None and step < total:
                    save()
                    raise Stopped(stop.received, step, total, folder)
                if step == total:
                    break
                if time.monotonic() - saved_at > interval:
                    save()
                    saved_at = time.monotonic()

            # The end of an epoch, or of the run: judge, log, keep the best.
            with _averaged(average):
                outputs = evaluate(net, plan.loaders[plan.monitor])
                scores = outputs.brief
                if plan.selects and (scores["top1"], -scores["loss"]) > (best["top1"], -best.get("loss", 0.0)):
                    best = {"epoch": epoch + 1, **scores}
                    bundle.save(folder.path, net, plan.data.classes, plan.preprocessing, _card(plan, step, scores))
            row = {
                "event": "epoch",
                "epoch": epoch + 1,
                "step": step,
                "lr": rate,
                "train_loss": loss_sum / images_seen,
                "split": plan.monitor,
                **scores,
                "seconds": round(time.monotonic() - clock, 3),
            }
            log(row)
            progress(step, total, row)
            for name in ("train_loss", "lr", "top1", "loss"):
                events.add_scalar(name, row[name], step)
            loss_sum, images_seen = 0.0, 0
            if s.patience and epoch + 1 - best["epoch"] >= s.patience:
                finished = True

    seconds = time.monotonic() - clock
    events.close()
    # What ships: the best weights where images were set apart to choose them, else the last.
    if plan.selects:
        net = bundle.load(folder.path).model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        outputs = None
    with _averaged(average if not plan.selects else None):
        if outputs is None:
            outputs = evaluate(net, plan.loaders[plan.judge])
        scores = summarize(outputs.logits, outputs.labels, plan.data.classes)
        brief = {k: scores[k] for k in ("top1", "top5", "loss", "ece", "macro_f1", "n")}
        bundle.save(folder.path, net, plan.data.classes, plan.preprocessing, _card(plan, step, brief))
    _write_predictions(folder, outputs)
    epochs = step / per_epoch
    result = {
        "model": s.model,
        "seed": s.seed,
        "data": plan.data.name,
        "classes": list(plan.data.classes),
        "split": plan.judge,
        "weights": f"best of validation, epoch {best['epoch']}" if plan.selects else "last epoch",
        "epochs": round(epochs, 2),
        "steps": step,
        "seconds": round(seconds, 3),
        "images_per_second": round(step * plan.train.batch_size / seconds, 1),
        "params": plan.cost.params,
        "macs": plan.cost.macs,
        "size_bytes": (folder / bundle.WEIGHTS).stat().st_size,
        "skipped": [list(pair) for pair in plan.data.skipped],
        **scores,
    }
    log({"event": "done", **brief, "seconds": result["seconds"]})
    folder.write_json(RESULT, result)
    for path in state.newest(folder.path):
        if path.name != state.LAST:
            path.unlink()


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

    Returns:
        The loss, and the norm of the gradient before clipping; either may be not finite.
    """
    torch.manual_seed(aug.key(s.seed, step, "step"))  # dropout, mixup
    net.train()
    for group in optimizer.param_groups:
        group["lr"] = rate
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


def _total_steps(plan: Plan) -> int:
    """The length of the run in steps; a time budget is measured into steps on a copy that is thrown away."""
    s, per_epoch = plan.settings, len(plan.train)
    value, unit = duration("duration", s.duration)
    if unit != "s":
        return to_steps("duration", s.duration, per_epoch)
    begun = time.monotonic()
    net = copy.deepcopy(plan.net)
    optimizer, loss = make_optimizer(net, s), cross_entropy(s.label_smoothing)
    times: list[float] = []
    while time.monotonic() - begun < 0.05 * value or len(times) < 5:
        for batch in plan.train.epoch(0):
            start = time.monotonic()
            forward_backward(net, optimizer, batch, loss, s, 0, 0.0, plan.amp)
            optimizer.step()
            times.append(time.monotonic() - start)
            if len(times) >= 5 and time.monotonic() - begun > 0.05 * value:
                break
    loader, judging = plan.loaders[plan.monitor], time.monotonic()
    net.eval()
    with torch.inference_mode():
        net(next(loader.epoch()).x)
    evaluation = (time.monotonic() - judging) * len(loader)
    step = float(np.median(times[2:])) + evaluation / per_epoch
    left = value - (time.monotonic() - begun) - evaluation
    return max(1, int(0.97 * left / step))


def _averaged(average: Average | None) -> Any:
    """Within it the network has its averaged weights, if it keeps any."""
    return average.applied() if average is not None else _nothing()


@contextmanager
def _nothing() -> Iterator[None]:
    yield


class _StopFlag:
    received: int | None = None


@contextmanager
def _stop_signals() -> Iterator[_StopFlag]:
    """Within it Ctrl-C, SIGTERM and SIGUSR1 (sent by SLURM) ask for a stop after the present step; a second one ends at once."""
    flag = _StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def receive(number: int, frame: FrameType | None) -> None:
        if flag.received is not None:
            os._exit(128 + number)
        flag.received = signal.SIGTERM if number == signal.SIGUSR1 else number

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.signal(number, receive) for number in numbers}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _report_nan(folder: RunFolder, batch: Batch, step: int, rate: float, value: float, norm: float) -> None:
    report = {"step": step, "lr": rate, "loss": str(value), "gradient_norm": str(norm), "images": batch.index.tolist()}
    folder.write_json("nan_report.json", report)
    raise NumericError(
        f"loss {value} and gradient norm {norm} at step {step}: the step was not taken, the state before it is saved",
        f"lower lr (now {rate:.3g}) or set clip; {folder / 'nan_report.json'} lists the batch",
    )


def _check_disk(folder: RunFolder, net: ConvNet, optimizer: torch.optim.Optimizer, s: Settings) -> None:
    """Two checkpoints and a bundle must fit, before the first step and not after the last."""
    import shutil

    weights = sum(t.numel() * t.element_size() for t in net.state_dict().values())
    copies = 1 + {"sgd": 1, "rmsprop": 2, "adam": 2, "adamw": 2}[s.optimizer] + (s.ema > 0)
    needed, free = (2.2 * copies + 1) * weights, shutil.disk_usage(folder.path).free
    if free < needed:
        what = f"disk full: need {needed / 1e6:.0f} MB, have {free / 1e6:.0f} MB at {folder.path}"
        raise MachineError(what, "free some space, or name another folder with -o")


def _machine() -> dict[str, Any]:
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _card(plan: Plan, step: int, scores: dict[str, Any]) -> dict[str, Any]:
    s = plan.settings
    return {
        "podium": "0.1.0",
        "torch": torch.__version__,
        "data": plan.data.name,
        "data_sha256": plan.data.fingerprint(),
        "split": plan.monitor if plan.selects else plan.judge,
        "steps": step,
        "seed": s.seed,
        "recipe": s.recipe,
        "scores": scores,
    }


def _write_predictions(folder: RunFolder, outputs: Outputs) -> None:
    import io

    buffer = io.BytesIO()
    np.savez(buffer, logits=outputs.logits, labels=outputs.labels)
    write_atomic(folder / PREDICTIONS, buffer.getvalue())


def _tensorboard(folder: RunFolder, step: int) -> Any:
    from tensorboardX import SummaryWriter

    return SummaryWriter(str(folder.path / "events"), purge_step=step or None)
