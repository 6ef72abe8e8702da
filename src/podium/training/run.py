"""A training run under way: its network, optimiser, moving average and position, and how they get to disk and back."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from podium.data.loader import Batch
from podium.data.record import read_record, record_of
from podium.devices import platform_of
from podium.errors import DataError
from podium.evaluation.evaluate import Outputs
from podium.models.convnet import ConvNet
from podium.runs import bundle, checkpoint
from podium.runs.folder import RunFolder
from podium.settings import skips
from podium.training.graph import StepGraph, graphs_are_there
from podium.training.late import Late, reads_late
from podium.training.loss_scale import LossScale
from podium.training.optim import EMA, learning_rate, make_optimizer, rates_on
from podium.training.plan import Plan
from podium.training.result import card, check_disk
from podium.training.resume import refuse_platform
from podium.training.stalls import StallDetector
from podium.training.step import Passes
from podium.training.transfer.features import TrainedPart
from podium.training.transfer.source import frozen_parts
from podium.units import to_steps
from podium.weights.load import load_state

# Called after every step with (steps done, steps in all, what to show) and after every epoch with its log row.
StepProgress = Callable[[int, int, dict[str, Any]], None]

logger = logging.getLogger("podium")


class Run:
    """The state of a training run, and what of it is read from and written to the run folder.

    Every rank has one; only rank 0 writes.

    Args:
        plan: of the run.
        part: what takes the steps.
        folder: of the run.
        progress: see `StepProgress`.
    """

    def __init__(self, plan: Plan, part: TrainedPart, folder: RunFolder, progress: StepProgress) -> None:
        self.plan, self.settings, self.ranks = plan, plan.settings, plan.ranks
        self.net, self.part = plan.net, part
        self.folder, self.progress = folder, progress
        self.per_epoch = len(plan.train)
        self.total = to_steps("duration", self.settings.duration, self.per_epoch)
        self.optimizer = make_optimizer(self.net, self.settings)
        self.scale = LossScale(plan.device) if plan.amp is torch.float16 else None
        self.passes = Passes(part.net, self.optimizer, self.settings, plan.amp, self.ranks, self.scale)
        self.late: Late | None = None
        self.graph: StepGraph | None = None
        self.ema = EMA(self.net, self.settings.ema) if self.settings.ema else None
        self.stalls = StallDetector(len(plan.data.classes))
        self.buffers = list(self.net.buffers())  # batch-norm statistics, which a batch of NaN would spoil
        self.platform = platform_of(plan.device, deterministic=self.settings.deterministic)
        self.at = checkpoint.Position(
            devices=[self.ranks.world], threads=[self.settings.threads or 1], platforms=[self.platform]
        )
        self.objective: nn.Module | None = None
        self.outputs: Outputs | None = None  # of the last evaluation
        self.events: Any = None  # the TensorBoard writer of rank 0
        self.clock = self.saved_at = time.monotonic()
        self.pause = 0.0

    # Where the run is

    @property
    def epoch(self) -> int:
        """The number of the epoch that the steps so far have reached, from 1."""
        return -(-self.at.step // self.per_epoch)

    @property
    def evaluation_due(self) -> bool:
        """Whether an epoch, or the run, has ended since the network was last evaluated."""
        ended = self.at.step % self.per_epoch == 0 or self.at.step == self.total
        return self.at.step > self.at.evaluated and ended

    @property
    def done(self) -> bool:
        """Whether nothing is left to train and to evaluate: after the last step, or once `patience` has run out."""
        if self.at.step != self.at.evaluated:
            return False
        patience = self.settings.patience
        return self.at.step == self.total or (patience > 0 and self.epoch - self.at.best["epoch"] >= patience)

    @property
    def seconds(self) -> float:
        """Seconds that the run has taken so far, those before a resume included."""
        return time.monotonic() - self.clock

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return learning_rate(step, self.total, self.per_epoch, self.settings)

    def objective_of(self, batch: Batch) -> nn.Module:
        """Return what computes the loss of the next step, made anew when other parts of the network are frozen."""
        thawed = False
        if self.settings.unfreeze is not None:
            parts = frozen_parts(self.settings, self.net, self.at.step, self.total, self.per_epoch)
            thawed = len(self.net.frozen) != parts
            if thawed:
                self.net.freeze_first(parts)
        if self.objective is None or thawed:
            self.objective = self.ranks.objective(self.part.net, self.plan.criterion, batch.x)
        return self.objective

    def averaged(self) -> AbstractContextManager[None]:
        """Give the network the EMA of its weights within this context, where the run has one."""
        return self.ema.applied() if self.ema is not None else nullcontext()

    # What lies on disk

    def begin(self, duration: str, *, given: bool, elastic: bool) -> None:
        """Go on from the newest good checkpoint, or log the start of a new run.

        Args:
            duration: as it was requested, for the log.
            given: whether the network was handed in: its weights cannot be drawn again, so they are saved at once.
            elastic: whether the run may go on with other devices, threads or versions than it had.

        Raises:
            DataError: the data are not those the run began with.
            ModelFileError: every checkpoint is damaged.
            MachineError: the disk has not enough room for the run, or something else computes here than so far.
        """
        resumed = any(checkpoint.newest(self.folder.path))
        if resumed:
            self._restore(elastic)
        self.ranks.wait()  # until all have read what rank 0 writes next
        if self.ranks.leads:
            self.at.log_rows = self.folder.keep_log(self.at.log_rows)
            if read_record(self.folder.path) is None:
                record_of(self.plan.data, self.plan.earlier).write(self.folder.path)
            check_disk(self.folder, self.net, self.optimizer, self.settings)
        if reads_late(self.plan.device, self.optimizer):
            self._read_late()
        self.clock = time.monotonic() - self.at.seconds
        if self.at.log_rows == 0:
            self._log_start(duration)
        if given and not resumed:
            self.save()
        self.saved_at, self.pause = time.monotonic(), checkpoint.pause(self.settings.checkpoint_every, 0.0)
        if self.ranks.leads:
            self.events = _tensorboard(self.folder, self.at.step)

    def _read_late(self) -> None:
        """Let the numbers of the steps be read late, and the steps become a graph where that pays."""
        late = self.late = Late(self.net, self.plan.device, self.at.left_out, skips(self.settings.on_nan))
        if self.plan.device.type == "cuda":
            rates_on(self.optimizer, self.plan.device)
        if self.ranks.world == 1 and not self.settings.grad_checkpointing and graphs_are_there(self.plan.device):
            scale = self.scale.changed() if self.scale is not None else []
            self.graph = StepGraph(lambda: [*late.changed(self.optimizer), *scale])

    def _restore(self, elastic: bool) -> None:
        """Put weights, optimiser, moving average and position back as the newest good checkpoint has them."""
        with self.ranks.rank_0_before():  # it sets damaged checkpoints aside
            tensors, values, damaged = checkpoint.load_newest(self.folder.path)
        for line in damaged if self.ranks.leads else ():
            logger.warning(f"{line}; going on from the one before it")
        if not self.plan.data.is_what(values["images"]):
            what = f"data: the images of {self.plan.data.name} are not those the run began with"
            raise DataError(what, "put them back, or start another run with -o")
        at = checkpoint.Position.read(values)
        first = next(iter(self.folder.rows()), {})
        at.platforms = at.platforms or [{**self.platform, "torch": first.get("torch", self.platform["torch"])}]
        refuse_platform(at.platforms[-1], self.platform, elastic, self.folder)
        weights = {k.removeprefix("net."): v for k, v in tensors.items() if k.startswith("net.")}
        load_state(self.net, weights, str(self.folder.path))
        checkpoint.restore_optimizer(self.optimizer, tensors)
        if self.ema is not None:
            for name in self.ema.values:
                self.ema.values[name].copy_(tensors[f"average.{name}"])
        if self.scale is not None and at.loss_scale is not None:
            self.scale.load(at.loss_scale)
        at.threads = at.threads or [int(first["threads"]) for _ in range("threads" in first)]
        now = checkpoint.Position(
            devices=[self.ranks.world], threads=[self.settings.threads or 1], platforms=[self.platform]
        )
        for name in ("devices", "threads", "platforms"):
            had, (here,) = getattr(at, name), getattr(now, name)
            if had[-1:] != [here]:
                had.append(here)
        self.at = at

    def save(self) -> None:
        """Write a checkpoint, from which a resumed run has the same bits."""
        if not self.ranks.leads:
            return
        tensors = {f"net.{k}": v for k, v in self.net.state_dict().items()}
        tensors |= checkpoint.optimizer_state(self.optimizer)
        if self.ema is not None:
            tensors |= {f"average.{k}": v for k, v in self.ema.values.items()}
        self.at.seconds = self.seconds
        self.at.loss_scale = self.scale.state() if self.scale is not None else None
        self.folder.sync_log()
        checkpoint.save(self.folder.path, tensors, {**self.at.to_dict(), "images": self.plan.fingerprint})

    def save_if_finite(self) -> bool:
        """Write a checkpoint, but none whose weights are not finite, which would replace a good one; returns whether they are."""
        floating = (value for value in self.net.state_dict().values() if value.is_floating_point())
        if not all(bool(torch.isfinite(value).all()) for value in floating):
            return False
        self.save()
        return True

    @property
    def save_due(self) -> bool:
        """Whether the time between two checkpoints is over."""
        return time.monotonic() - self.saved_at > self.pause

    def save_on_time(self) -> None:
        """Write a checkpoint that is due, and decide when the next one is."""
        begun = time.monotonic()
        self.save()
        self.saved_at = time.monotonic()
        self.pause = checkpoint.pause(self.settings.checkpoint_every, self.saved_at - begun)

    def save_bundle(
        self, net: ConvNet, split: str, scores: dict[str, Any], confidence: dict[str, Any] | None = None
    ) -> None:
        """Write a network's weights and their card, with the scores on a split and, at the end, what is known of confidence."""
        if self.ranks.leads:
            facts = card(self.plan, split, self.at.step, scores, confidence)
            bundle.save(self.folder.path, net, self.plan.data.classes, self.plan.preprocessing, facts)

    # What the log says

    def log(self, row: dict[str, Any]) -> None:
        """Append a row to the log."""
        if self.ranks.leads:
            self.folder.log(row)
        self.at.log_rows += 1

    def release(self) -> None:
        """Free the optimiser's state and the moving average, which no step will need any more."""
        self.optimizer.state.clear()
        self.ema = self.objective = self.outputs = self.late = self.graph = None

    def close(self) -> None:
        """Write the TensorBoard events to their end, however the training ends."""
        if self.events is not None:
            self.events.close()

    def log_epoch(self, row: dict[str, Any]) -> None:
        """Append the row of an epoch to the log, show it, and draw it for TensorBoard."""
        self.log(row)
        self.progress(self.at.step, self.total, row)
        for name in ("train_loss", "lr", "top1", "loss") if self.events is not None else ():
            self.events.add_scalar(name, row[name], self.at.step)

    def warn(self, text: str, images: list[int] | None = None) -> None:
        """Log a warning and show it.

        Args:
            text: of the warning.
            images: indices of the training images that it is about.
        """
        self.log({"event": "warning", "step": self.at.step, "text": text} | ({"images": images} if images else {}))
        if self.ranks.leads:
            logger.warning(text)

    def _log_start(self, duration: str) -> None:
        self.log(
            {
                "event": "start",
                "torch": torch.__version__,
                "python": platform.python_version(),
                "threads": torch.get_num_threads(),
                "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
                "model": self.settings.model,
                "data": self.plan.data.name,
                "params": self.plan.cost.params,
                "steps": self.total,
                "duration": duration,
                "devices": self.ranks.world,
                "platform": self.platform,
            }
        )


def _tensorboard(folder: RunFolder, step: int) -> Any:
    from tensorboardX import SummaryWriter

    return SummaryWriter(str(folder.path / "events"), purge_step=step or None)
