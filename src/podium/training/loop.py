"""The training loop, in reading order."""

from __future__ import annotations

import math
import platform
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from podium.data.dataset import Dataset
from podium.data.memory import release_freed_memory
from podium.data.roles import read_record, record_of
from podium.errors import DataError, NumericError, UsageError
from podium.evaluation.evaluate import Outputs
from podium.evaluation.metrics import summarize
from podium.files import fault, shell_word
from podium.models.convnet import ConvNet
from podium.runs import bundle
from podium.runs import checkpoint as state
from podium.runs.folder import SETTINGS, RunFolder
from podium.settings import DEFAULT, Origin, Settings, duration, read_file, skips, to_steps, write_file
from podium.training.autotune.fastest import lay_out
from podium.training.autotune.forecast import Taught, steps_of
from podium.training.autotune.trial import denormals_flushed
from podium.training.distributed.launch import restarted
from podium.training.distributed.parallel import Ranks, ranks_here
from podium.training.fake_int8 import exact
from podium.training.finished import drop_checkpoints, make_again, only_weights_left
from podium.training.interrupt import Stopped, stop_signals
from podium.training.optim import Average, learning_rate, make_optimizer
from podium.training.plan import Plan, prepare, within_memory
from podium.training.result import card, check_disk, evaluate_together, facts, rehearse, write_result
from podium.training.resume import NOT_COMPARED, refuse_changes, refuse_devices
from podium.training.step import forward_backward
from podium.training.threads import computing_with, decide_threads
from podium.training.transfer.features import cached, constant, probe
from podium.training.transfer.source import frozen_parts
from podium.training.watch import Watch
from podium.weights.load import load_state

# what a resume may have otherwise than the run, and by what
CHANGEABLE = {
    "devices": "--elastic",
    "threads": "--elastic",
    "data": "the new place of the data",
    "keep_checkpoint": "--keep-checkpoint",
}

# Called after every step with (steps done, steps in all, what to show) and after every epoch with its log row.
Progress = Callable[[int, int, dict[str, Any]], None]


def train(
    settings: Settings,
    out: str | Path,
    *,
    origin: dict[str, Origin] | None = None,
    resume: bool = False,
    elastic: bool = False,
    data: Dataset | None = None,
    net: ConvNet | None = None,
    progress: Progress | None = None,
    announce: Callable[[Plan], None] | None = None,
    reading: Callable[[int, int], None] | None = None,
) -> RunFolder:
    """Train a network, or go on where a run was stopped. Each of several processes of a run calls it alike.

    Args:
        settings: what to do; a resumed run takes its own, and refuses others.
        out: the run folder.
        origin: where each setting came from, noted in `settings.yaml`.
        resume: go on with what is in `out`; a finished run is left as it is, and what it has lost is made again.
        elastic: let it go on with another number of processes.
        data, net: ready-made, instead of what the settings name.
        progress: see `Progress`.
        announce: called with the plan before the first step.
        reading: called with (files read, files to read) while image files are read for the first time.

    Returns:
        The run folder, finished.

    Raises:
        PodiumError: see its kinds; what was reached stays on disk.
    """
    folder = RunFolder(out)
    with computing_with(None), ranks_here(settings.device) as ranks:
        if not ranks.leads:
            progress = announce = reading = None
        asked = resume or restarted()
        _train(settings, folder, ranks, origin or {}, asked, elastic, data, net, progress, announce, reading)
    return folder


def _train(
    settings: Settings,
    folder: RunFolder,
    ranks: Ranks,
    origin: dict[str, Origin],
    resume: bool,
    elastic: bool,
    data: Dataset | None,
    net: ConvNet | None,
    progress: Progress | None,
    announce: Callable[[Plan], None] | None,
    reading: Callable[[int, int], None] | None,
) -> None:
    start, begun = time.monotonic(), resume and folder.started
    ranks.wait()  # until all have looked, before one writes
    recorded = read_file(folder / SETTINGS) if begun else {}
    first = next(iter(folder.rows()), {}) if begun else {}
    threads = settings.threads if origin.get("threads", DEFAULT).asked and not restarted() else None
    if begun:
        recorded = {"threads": first.get("threads"), "keep_checkpoint": False} | recorded  # they were no settings once
        if not restarted():
            refuse_changes(settings, recorded, origin, first.get("duration"), folder)
        free = {key for key in (*NOT_COMPARED, "threads") if origin.get(key, DEFAULT).asked}
        settings = settings.replace(**{k: v for k, v in recorded.items() if k not in free})
        if folder.intact:
            if ranks.leads:  # it may have been killed before it did
                drop_checkpoints(folder, settings.keep_checkpoint)
            return
    elif ranks.leads:
        folder.create()
    refuse_devices(settings.devices, recorded.get("devices", 1) if begun else None, ranks.world, elastic)
    threads = decide_threads(threads, recorded.get("threads"), settings.device, ranks, elastic, folder)
    torch.set_num_threads(threads)
    settings = settings.replace(threads=threads)
    asked = settings.duration
    with folder.locked() if ranks.leads else nullcontext(), denormals_flushed():
        if begun and data is None and Path(settings.data).is_absolute() and not Path(settings.data).exists():
            again = f"give its new place: podium train {shell_word(settings.model)} DATA --resume -o {shell_word(folder.path)}"
            raise DataError(f"{settings.data}: the data of the run are not there any more", again)
        shown = progress or (lambda *_: None)
        own = read_record(folder.path) if begun else None
        if begun and only_weights_left(folder):
            make_again(folder, settings, data, ranks, reading)
            if ranks.leads:
                drop_checkpoints(folder, settings.keep_checkpoint)
            return
        plan = prepare(settings, data, net, ranks, own, reading)
        if ranks.leads:
            rehearse(plan)
        taught = within_memory(plan, lambda: _what_is_taught(plan))
        changed = [key for key in CHANGEABLE if recorded.get(key) != getattr(plan.settings, key)]
        notes = {key: f"{recorded.get(key)} before, changed with {CHANGEABLE[key]}" for key in changed}
        if not begun:
            steps = within_memory(plan, lambda: steps_of(plan, taught, time.monotonic() - start))
            plan.settings = plan.settings.replace(duration=f"{steps}it")
            decided = {"duration": asked} | {key: "auto" for key, value in vars(settings).items() if value == "auto"}
            notes = origin | {key: f"{word} from {origin.get(key, 'default')}" for key, word in decided.items()}
            notes |= plan.decided
        if ranks.leads and changed:
            write_file(folder / SETTINGS, plan.settings, notes)
        ranks.wait()  # until rank 0 holds the folder
        if announce is not None:
            announce(plan)
        within_memory(plan, lambda: _run(plan, taught, folder, asked, given=net is not None, progress=shown))


def _run(plan: Plan, taught: Taught, folder: RunFolder, asked: str, *, given: bool, progress: Progress) -> None:
    s, net, device, ranks = plan.settings, plan.net, plan.device, plan.ranks
    total, per_epoch = to_steps("duration", s.duration, len(plan.train)), len(plan.train)
    optimizer = make_optimizer(net, s)
    average = Average(net, s.ema) if s.ema else None
    seen, batches, watched = taught
    watch = Watch(len(plan.data.classes))
    guard = list(net.buffers())  # batch-norm statistics, which a NaN batch would spoil

    # Where we are: at the start, or where the newest good checkpoint was written.
    at = state.Position(devices=[ranks.world], threads=[s.threads or 1])
    checkpoints = any(state.newest(folder.path))
    if checkpoints:
        with ranks.rank_0_before():  # it sets damaged ones aside
            tensors, values, passed = state.load_newest(folder.path)
        for line in passed if ranks.leads else ():
            print(f"warning: {line}; going on from the one before it", file=sys.stderr)
        if not plan.data.is_what(values["images"]):
            what = f"data: the images of {plan.data.name} are not those the run began with"
            raise UsageError(what, "put them back, or start another run with -o")
        load_state(net, {k[4:]: v for k, v in tensors.items() if k.startswith("net.")}, str(folder.path))
        state.restore_optimizer(optimizer, tensors)
        if average is not None:
            for name in average.values:
                average.values[name].copy_(tensors[f"average.{name}"])
        at = state.Position.read(values)
        at.threads = at.threads or [int(row["threads"]) for row in folder.rows()[:1] if "threads" in row]
        for numbers, here in ((at.devices, ranks.world), (at.threads, s.threads or 1)):
            if numbers[-1:] != [here]:
                numbers.append(here)
    ranks.wait()  # until all have read what rank 0 writes next
    if ranks.leads:
        at.log_rows = folder.keep_log(at.log_rows)
        if read_record(folder.path) is None:
            record_of(plan.data, plan.earlier).write(folder.path)
        check_disk(folder, net, optimizer, s)
    clock = time.monotonic() - at.seconds

    def log(row: dict[str, Any]) -> None:
        if ranks.leads:
            folder.log(row)
        at.log_rows += 1

    def warn(text: str, images: list[int] | None = None) -> None:
        log({"event": "warning", "step": at.step, "text": text} | ({"images": images} if images else {}))
        if ranks.leads:
            print(f"warning: {text}", file=sys.stderr)

    def ship(split: str, scores: dict[str, Any]) -> None:
        if ranks.leads:
            bundle.save(folder.path, net, plan.data.classes, plan.preprocessing, card(plan, split, at.step, scores))

    def save() -> None:
        if not ranks.leads:
            return
        tensors = {f"net.{k}": v for k, v in net.state_dict().items()} | state.optimizer_state(optimizer)
        if average is not None:
            tensors |= {f"average.{k}": v for k, v in average.values.items()}
        at.seconds = time.monotonic() - clock
        folder.sync_log()
        state.save(folder.path, tensors, {**vars(at), "images": plan.images})

    if at.log_rows == 0:
        sizes = {"model": s.model, "data": plan.data.name, "params": plan.cost.params, "steps": total}
        log({"event": "start", **_machine(), **sizes, "duration": asked, "devices": ranks.world})
    if given and not checkpoints:
        save()  # weights that were handed in cannot be drawn again from the seed
    saved_at, pause = time.monotonic(), state.pause(s.checkpoint_every, 0.0)
    events: Any = _tensorboard(folder, at.step) if ranks.leads else None
    outputs: Outputs | None = None
    objective: nn.Module | None = None

    with stop_signals(duration("grace", s.grace)[0]) as stop:
        while True:
            # After an epoch, and after the last step: judge, log, keep the best.
            if at.step > at.judged and (at.step % per_epoch == 0 or at.step == total):
                epoch = -(-at.step // per_epoch)
                optimizer.zero_grad(set_to_none=True)  # their memory is of use here
                with average.applied() if average is not None else nullcontext():
                    outputs = evaluate_together(seen, watched, ranks)
                    scores = outputs.brief
                    finite = math.isfinite(scores["loss"])
                    if (
                        plan.selects
                        and finite
                        and (scores["top1"], -scores["loss"]) > (at.best["top1"], -at.best.get("loss", 0.0))
                    ):
                        at.best = {"epoch": epoch, **scores}
                        ship(plan.monitor, scores)
                row = {
                    "event": "epoch",
                    "epoch": epoch,
                    "step": at.step,
                    "lr": learning_rate(at.step - 1, total, per_epoch, s),
                    "train_loss": at.loss_sum / max(1, at.images_seen),
                    "split": plan.monitor,
                    **scores,
                    "seconds": round(time.monotonic() - clock, 3),
                }
                log(row)
                progress(at.step, total, row)
                for name in ("train_loss", "lr", "top1", "loss") if events is not None else ():
                    events.add_scalar(name, row[name], at.step)
                at.judged, at.loss_sum, at.images_seen = at.step, 0.0, 0
            patient = not s.patience or -(-at.judged // per_epoch) - at.best["epoch"] < s.patience
            if at.step == total or (at.step == at.judged and not patient):
                break

            # The rest of an epoch.
            epoch, first = divmod(at.step, per_epoch)
            for batch in batches.epoch(epoch, first):
                thawed = s.unfreeze is not None and _freeze(net, frozen_parts(s, net, at.step, total, per_epoch))
                rate = learning_rate(at.step, total, per_epoch, s)
                kept = [b.clone() for b in guard]
                if objective is None or thawed:
                    objective = ranks.objective(seen, plan.criterion, batch.x)
                value, norm = forward_backward(seen, optimizer, batch, objective, s, at.step, rate, plan.amp, ranks)
                if not (math.isfinite(value) and math.isfinite(norm)):
                    for buffer, old in zip(guard, kept, strict=True):
                        buffer.copy_(old)
                    images = ranks.joined(batch.index.cpu().numpy()).tolist()
                    if at.left_out >= skips(s.on_nan):
                        save()
                        _report_nan(folder, ranks, images, at.step, rate, value, norm)
                    at.left_out += 1
                    warn(f"step {at.step} left out: loss {value}, gradient norm {norm}", images)
                else:
                    optimizer.step()
                    at.loss_sum += value * plan.train.batch_size
                    at.images_seen += plan.train.batch_size
                    if (problem := watch.stuck(value, norm)) is not None:
                        warn(problem)
                at.step += 1
                if average is not None:
                    average.update(at.step)
                progress(at.step, total, {"epoch": epoch + 1, "loss": value, "lr": rate})
                fault(f"step:{at.step}")
                if at.step == total:
                    break
                if received := ranks.largest(stop.received or 0):  # all stop after the same step
                    save()
                    raise Stopped(received, at.step, total, folder.path)
                if (now := time.monotonic()) - saved_at > pause:
                    save()
                    saved_at = time.monotonic()
                    pause = state.pause(s.checkpoint_every, saved_at - now)

    save()
    ranks.wait()  # until rank 0 has written
    optimizer.state.clear()  # twice the weights, which nothing needs any more
    release_freed_memory()
    # What ships: the best weights where images were set apart to choose them, else the last.
    chosen = at.best["epoch"] > 0
    if seen is not net:
        outputs = None  # what is reported is what the whole network says of images
    if s.qat:
        exact(net)  # what ships is not rounded: `podium quantize` does that
        outputs = None
    if chosen:
        net = lay_out(bundle.load(folder.path).model.to(device), s.memory_format)
        outputs = None
    with average.applied() if average is not None and not chosen else nullcontext():
        if outputs is None:
            outputs = evaluate_together(net, plan.loaders[plan.judge], ranks)
        scores = summarize(outputs.logits, outputs.labels, plan.data.classes)
        brief = {k: scores[k] for k in ("top1", "top5", "loss", "ece", "macro_f1", "n")}
        ship(plan.judge, brief)
    if events is None:  # another rank writes what follows
        return
    events.close()
    shipped = f"best of validation, epoch {at.best['epoch']}" if chosen else "last epoch"
    known = facts(plan, at, shipped, (folder / bundle.WEIGHTS).stat().st_size)
    log({"event": "done", **brief, **known})
    folder.sync_log()
    write_result(folder, known, outputs, scores)
    drop_checkpoints(folder, s.keep_checkpoint)


def _what_is_taught(plan: Plan) -> Taught:
    """The network that takes the steps, its batches and those it is evaluated on: the head on features, where these are constant."""
    net, train, watched = plan.net, plan.train, plan.loaders[plan.monitor]
    whole = len(net.frozen) == 1 + len(net.stages)
    if whole and train.augment is not None and constant(train.augment, plan.settings):
        loaders = cached(net, train, watched, watched.batch_size)
        if loaders is not None:
            return probe(net), *loaders
    return net, train, watched


def _freeze(net: ConvNet, parts: int) -> bool:
    """Freeze the first parts and thaw the others; whether that is new."""
    if len(net.frozen) == parts:
        return False
    net.freeze_first(parts)
    return True


def _report_nan(
    folder: RunFolder, ranks: Ranks, images: list[int], step: int, rate: float, value: float, norm: float
) -> None:
    if ranks.leads:
        report = {"step": step, "lr": rate, "loss": str(value), "gradient_norm": str(norm), "images": images}
        folder.write_json("nan_report.json", report)
    raise NumericError(
        f"loss {value} and gradient norm {norm} at step {step}: the step was not taken, the state before it is saved",
        f"lower lr (now {rate:.3g}) or set clip; {folder / 'nan_report.json'} lists the batch",
    )


def _machine() -> dict[str, Any]:
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _tensorboard(folder: RunFolder, step: int) -> Any:
    from tensorboardX import SummaryWriter

    return SummaryWriter(str(folder.path / "events"), purge_step=step or None)
