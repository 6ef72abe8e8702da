"""The training loop, in reading order: `train` prepares a run, `_fit` trains it, `_finish` writes its result."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from podium.data.dataset import Dataset
from podium.data.memory import release_freed_memory
from podium.data.record import read_record
from podium.devices import float32
from podium.errors import DataError
from podium.evaluation.metrics import summarize
from podium.files import fault, shell_word
from podium.models.convnet import ConvNet
from podium.runs import bundle
from podium.runs.answers import CONFIDENCE
from podium.runs.folder import SETTINGS, RunFolder
from podium.settings import DEFAULT, Origin, Origins, Settings, write_file
from podium.training.autotune.fastest import set_memory_format
from podium.training.autotune.forecast import steps_of
from podium.training.distributed.launch import restarted
from podium.training.distributed.parallel import Ranks, ranks_here
from podium.training.fake_int8 import exact
from podium.training.finished import drop_checkpoints, make_again, only_weights_left
from podium.training.fitting import within_memory
from podium.training.idle import idle_with
from podium.training.interrupt import StopFlag, Stopped, stop_signals
from podium.training.plan import Plan
from podium.training.prepare import prepare
from podium.training.result import Predicted, confidence_of, evaluate_together, facts, rehearse, write_result
from podium.training.resume import changes, continued, recorded_settings, refuse_changes, refuse_devices
from podium.training.run import Run, StepProgress
from podium.training.threads import computing_exactly, computing_with, decide_threads
from podium.training.transfer.features import TrainedPart, trained_part
from podium.training.update import read_steps, take_step
from podium.units import parse_duration


@dataclass(frozen=True)
class Callbacks:
    """What a caller wants to hear of a run; with several processes only rank 0 calls them.

    Args:
        progress: called after every step and every epoch, see `StepProgress`.
        announce: called with the plan before the first step.
        reading: called with (files read, files to read) while image files are read for the first time.
    """

    progress: StepProgress | None = None
    announce: Callable[[Plan], None] | None = None
    reading: Callable[[int, int], None] | None = None


@dataclass(frozen=True)
class _Request:
    """What `train` was called with.

    Args:
        settings, origin, resume, elastic, data, net, callbacks: as `train` takes them.
        start: when it was called, on the monotonic clock: a time budget also pays for what comes before the steps.
    """

    settings: Settings
    origin: dict[str, Origin]
    resume: bool
    elastic: bool
    data: Dataset | None
    net: ConvNet | None
    callbacks: Callbacks
    start: float


def train(
    settings: Settings,
    out: str | Path,
    *,
    origin: dict[str, Origin] | None = None,
    resume: bool = False,
    elastic: bool = False,
    data: Dataset | None = None,
    net: ConvNet | None = None,
    callbacks: Callbacks | None = None,
) -> RunFolder:
    """Train a network, or go on where a run was stopped. Each of several processes of a run calls it with the same arguments.

    Args:
        settings: of the run; a resumed run keeps its own and refuses others.
        out: the run folder.
        origin: where each setting came from, noted in `settings.yaml`.
        resume: go on with the run in `out`; a finished run is left as it is, and what it has lost is made again.
        elastic: let the run go on with other devices or threads, or another torch, CUDA or cuDNN.
        data: a data set to train on instead of the one that the settings name.
        net: a network to start from instead of the one that the settings name; it stays as it is.
        callbacks: what to call on the way.

    Returns:
        The run folder, finished.

    Raises:
        PodiumError: of the kind that says what is wrong; what was reached stays on disk.
    """
    folder = RunFolder(out)
    with computing_with(None), ranks_here(settings.device) as ranks:
        heard = callbacks if callbacks is not None and ranks.leads else Callbacks()
        resume = resume or restarted()
        _train(_Request(settings, origin or {}, resume, elastic, data, net, heard, time.monotonic()), folder, ranks)
    return folder


def _train(request: _Request, folder: RunFolder, ranks: Ranks) -> None:
    """Decide the settings of a run, prepare it and train it; of a finished one, make again what it has lost."""
    begun = request.resume and folder.started
    ranks.wait()  # until all have looked, before one writes
    recorded = recorded_settings(folder) if begun else {}
    settings = request.settings
    if begun:
        if not restarted():
            length = next(iter(folder.rows()), {}).get("duration")
            refuse_changes(settings, recorded, request.origin, length, folder)
        settings = continued(settings, recorded, request.origin)
    if begun and folder.intact:
        if ranks.leads:  # it may have been killed before it did
            drop_checkpoints(folder, settings.keep_checkpoint)
        return
    settings = _with_processes(request, settings, recorded, folder, ranks)
    held: AbstractContextManager[None] = folder.locked() if begun else folder.begun()
    with held if ranks.leads else nullcontext(), computing_exactly(settings):
        if begun:
            _refuse_missing_data(request, settings, folder)
            if only_weights_left(folder):
                make_again(folder, settings, request.data, ranks, request.callbacks.reading)
                if ranks.leads:
                    drop_checkpoints(folder, settings.keep_checkpoint)
                return
        own = read_record(folder.path) if begun else None
        plan = prepare(settings, request.data, request.net, ranks, own, request.callbacks.reading)
        if not begun:
            plan.notes += idle_with(Origins(request.settings, request.origin), plan.data)
        if ranks.leads:
            rehearse(plan)
        part = within_memory(plan, lambda: trained_part(plan))
        _write_settings(request, plan, part, recorded, folder)
        ranks.wait()  # until rank 0 holds the folder
        if request.callbacks.announce is not None:
            request.callbacks.announce(plan)
        within_memory(plan, lambda: _fit(plan, part, folder, request, settings.duration))


def _with_processes(
    request: _Request, settings: Settings, recorded: dict[str, Any], folder: RunFolder, ranks: Ranks
) -> Settings:
    """Check the number of processes, decide that of threads, and compute with so many; `prepare` may find fewer for a new run."""
    devices = recorded.get("devices", 1) if recorded else None
    refuse_devices(settings.devices, devices, ranks.world, request.elastic)
    requested = request.settings.threads if request.origin.get("threads", DEFAULT).given and not restarted() else None
    threads = decide_threads(requested, recorded.get("threads"), settings.device, ranks, request.elastic, folder)
    torch.set_num_threads(threads)
    return settings.replace(threads=threads if requested or recorded or ranks.world > 1 else None)


def _refuse_missing_data(request: _Request, settings: Settings, folder: RunFolder) -> None:
    data = Path(settings.data)
    if request.data is None and data.is_absolute() and not data.exists():
        again = f"podium train {shell_word(settings.model)} DATA --resume -o {shell_word(folder.path)}"
        raise DataError(f"{data}: the data of the run are not there any more", f"give its new place: {again}")


def _write_settings(
    request: _Request, plan: Plan, part: TrainedPart, recorded: dict[str, Any], folder: RunFolder
) -> None:
    """Decide how many steps a new run has, and write its settings; those of a resumed one where they have changed.

    Args:
        request: of the run.
        plan: whose duration becomes a number of steps.
        part: what takes the steps, which a time budget is measured by.
        recorded: the settings of a run that goes on; empty for a new one.
        folder: of the run.
    """
    notes: dict[str, str] = changes(recorded, plan.settings)
    if not recorded:
        requested = request.settings
        spent = time.monotonic() - request.start
        steps = within_memory(plan, lambda: steps_of(plan, part, spent))
        plan.settings = plan.settings.replace(duration=f"{steps}it")
        decided = {"duration": requested.duration} if requested.duration != plan.settings.duration else {}
        decided |= {key: "auto" for key, value in vars(requested).items() if value == "auto"}
        notes = {**request.origin}
        notes |= {key: f"{word} from {request.origin.get(key, 'default')}" for key, word in decided.items()}
        notes |= plan.decided
    if plan.ranks.leads and notes:
        write_file(folder / SETTINGS, plan.settings, notes)


def _fit(plan: Plan, part: TrainedPart, folder: RunFolder, request: _Request, length: str) -> None:
    """Train a prepared run to its end, from its start or from its checkpoint; `length` is its duration as requested."""
    run = Run(plan, part, folder, request.callbacks.progress or (lambda *_: None))
    run.begin(length, given=request.net is not None, elastic=request.elastic)  # its errors leave the folder as it is
    with folder.end_noted() if plan.ranks.leads else nullcontext(), float32(plan.settings.amp == "tf32"):
        within_memory(plan, lambda: _take_steps(run), run.release)


def _take_steps(run: Run) -> None:
    """Take the steps that are left, and write what comes out."""
    with closing(run), stop_signals(parse_duration("grace", run.settings.grace)[0]) as stop:
        while not run.done:
            if not run.evaluation_due:
                _train_epoch(run, stop)
            _evaluate_epoch(run)
    _finish(run)


def _train_epoch(run: Run, stop: StopFlag) -> None:
    """Take the steps that are left of an epoch.

    Raises:
        Stopped: a signal came; the checkpoint is written.
        NumericError: a loss or a gradient is not finite, and `on_nan` does not leave the step out.
    """
    at = run.at
    epoch, first = divmod(at.step, run.per_epoch)
    for batch in run.part.train.epoch(epoch, first):
        rate = run.learning_rate(at.step)
        loss = take_step(run, batch, rate, stop.received or 0)
        at.step += 1
        if run.ema is not None:
            run.ema.update(at.step, run.late.ended if run.late is not None else None)
        run.progress(at.step, run.total, {"epoch": epoch + 1, "loss": loss, "lr": rate})
        fault(f"step:{at.step}")
        if at.step == run.total:
            break
        if received := _received(run, stop):  # all ranks stop after the same step
            read_steps(run)
            run.save()
            raise Stopped(received, at.step, run.total, run.folder.path)
        if run.save_due:
            read_steps(run)
            run.save_on_time()
    read_steps(run)


def _received(run: Run, stop: StopFlag) -> int:
    """Return the signal that a rank has received, after a step; the same on all ranks."""
    if run.late is not None and run.ranks.world > 1:
        return run.late.received(run.at.step)
    return run.ranks.largest(stop.received or 0)


def _evaluate_epoch(run: Run) -> None:
    """Evaluate the network after an epoch, save it if it is the best so far, and log the epoch."""
    at, plan = run.at, run.plan
    run.optimizer.zero_grad(set_to_none=True)  # the evaluation can use the memory of the gradients
    with run.averaged():
        run.outputs = evaluate_together(run.part.net, run.part.evaluation, run.ranks)
        scores = run.outputs.brief
        better = (scores["top1"], -scores["loss"]) > (at.best["top1"], -at.best.get("loss", 0.0))
        if plan.selects and math.isfinite(scores["loss"]) and better:
            at.best = {"epoch": run.epoch, **scores}
            run.save_bundle(run.net, plan.monitor, scores)
    run.log_epoch(
        {
            "event": "epoch",
            "epoch": run.epoch,
            "step": at.step,
            "lr": run.learning_rate(at.step - 1),
            "train_loss": at.loss_sum / max(1, at.images_seen),
            "split": plan.monitor,
            **scores,
            "seconds": round(run.seconds, 3),
        }
    )
    at.evaluated, at.loss_sum, at.images_seen = at.step, 0.0, 0


def _finish(run: Run) -> None:
    """Save the best weights where validation images chose them, else the last; evaluate them, and write the result."""
    plan, at, folder, s = run.plan, run.at, run.folder, run.settings
    run.save()
    run.ranks.wait()  # until rank 0 has written
    run.optimizer.state.clear()  # up to twice the weights, which nothing needs any more
    release_freed_memory()
    net, chosen = run.net, at.best["epoch"] > 0
    outputs = run.outputs if run.part.net is net and not s.qat and not chosen and not plan.selects else None
    if s.qat:
        exact(net)  # the weights are saved without rounding: `podium quantize` rounds them
    if chosen:
        net = set_memory_format(bundle.load(folder.path).model.to(plan.device), s.memory_format)
    with run.averaged() if not chosen else nullcontext():
        if outputs is None:
            outputs = evaluate_together(net, plan.loaders[plan.evaluation_split], run.ranks)
        scores = summarize(outputs.logits, outputs.labels, plan.data.classes)
        brief = {k: scores[k] for k in ("top1", "top5", "loss", "ece", "macro_f1", "n")}
        validation = evaluate_together(net, plan.loaders[plan.monitor], run.ranks) if plan.selects else None
        confidence = confidence_of(plan, validation, outputs)
        run.save_bundle(net, plan.evaluation_split, brief, confidence)
    if not run.ranks.leads:
        return
    weights = f"best of validation, epoch {at.best['epoch']}" if chosen else "last epoch"
    known = facts(plan, at, weights, (folder / bundle.WEIGHTS).stat().st_size) | {CONFIDENCE: confidence}
    run.log({"event": "done", **brief, **known})
    folder.sync_log()
    splits = plan.data.splits
    chosen_by = Predicted.of(validation, splits[plan.monitor]) if validation is not None else None
    write_result(folder, known, scores, Predicted.of(outputs, splits[plan.evaluation_split]), chosen_by)
    drop_checkpoints(folder, s.keep_checkpoint)
