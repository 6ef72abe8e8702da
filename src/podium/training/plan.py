"""From settings to all that a run needs: data, network, loaders. What can be refused is refused here, before training."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from podium.data import augment as aug
from podium.data.augment import Augment
from podium.data.dataset import Dataset
from podium.data.decode import Preprocessing
from podium.data.loader import Loader
from podium.data.roles import Record, without_learned
from podium.data.stored import stored_size
from podium.errors import MachineError, UsageError
from podium.evaluation.cost import Cost, count_net
from podium.models.convnet import ConvNet
from podium.models.forms import SMALL_UP_TO, form
from podium.models.registry import architecture, build_model
from podium.settings import Settings, duration, to_steps
from podium.training.autotune.batch_size import largest_batch
from podium.training.autotune.fastest import WAYS, fastest_way, lay_out
from podium.training.autotune.trial import out_of_memory
from podium.training.distributed.parallel import ALONE, Ranks
from podium.training.distributed.sync_norm import synchronize
from podium.training.fake_int8 import fake_int8
from podium.training.images import data_of, inherited, refuse_other_images
from podium.training.losses import Criterion, criterion
from podium.training.recipes.named import RECIPES
from podium.training.transfer.source import adapted, check_same_pixels, frozen_parts, read_source, read_teacher

T = TypeVar("T")

LARGEST_BATCH, SMALLEST_BATCH, STEPS_AN_EPOCH = 128, 16, 40  # what the batch size is chosen by
RATES = {"sgd": 0.05, "rmsprop": 1e-3, "adam": 3e-3, "adamw": 3e-3}  # at their highest, where none is given
DEEP = (
    11  # weight layers beyond which a network without batch norm dies at these rates: VGG-16 learns at a tenth of them
)
SMALLER = "give --accumulate 2 or more, --grad-checkpointing, or a smaller --image-size"  # what makes a step smaller
EVALUATION_BYTES = 512 << 20  # of the largest maps of a batch in evaluation
LONG = 60.0  # seconds of a time budget from which a trial of arithmetics is worth its time
TRIAL = 0.05  # share of a time budget that such a trial may take


@dataclass
class Plan:
    """A run, ready to go.

    Args:
        settings: with every "by itself" replaced by what it came to.
        judge: the split the run is reported on: the test split where there is one, else validation.
        monitor: the split watched while training: validation where there is one, else the judge.
        ranks: those that share the run; `train` and `loaders` give this one's part.
        notes: lines a person should see before it starts.
        criterion: from a batch's images to the loss.
        parents: whose weights it starts from and who teaches it, by name and SHA-256, for the card.
        earlier: what these had learned from.
        decided: setting -> why it came to its value, of those that the images decide.
    """

    settings: Settings
    data: Dataset
    net: ConvNet
    cost: Cost
    preprocessing: Preprocessing
    device: torch.device
    amp: bool
    train: Loader
    loaders: dict[str, Loader]
    judge: str
    monitor: str
    ranks: Ranks = ALONE
    notes: list[str] = field(default_factory=list)
    criterion: Criterion = field(default_factory=lambda: criterion(0.0, None, 0.0, 1.0))
    parents: dict[str, str] = field(default_factory=dict)
    earlier: Record | None = None
    decided: dict[str, str] = field(default_factory=dict)

    @cached_property
    def images(self) -> str:
        """The data set's fingerprint."""
        return self.data.fingerprint()

    @property
    def selects(self) -> bool:
        """Whether the best weights are chosen; only by images that the result is not reported on."""
        return self.monitor != self.judge


def prepare(
    settings: Settings,
    data: Dataset | None = None,
    net: ConvNet | None = None,
    ranks: Ranks = ALONE,
    own: Record | None = None,
    reading: Callable[[int, int], None] | None = None,
) -> Plan:
    """Load what the settings name and decide what they leave open.

    Args:
        settings: as merged.
        data: instead of loading `settings.data`.
        net: instead of building `settings.model`.
        ranks: that share the run.
        own: what the run has on record of its images, where it goes on.
        reading: called with (files read, files to read) where files are read for the first time.

    Raises:
        PodiumError: anything that would fail later.
    """
    s = settings
    architecture(s.model)  # refuses a name that is none
    device = pick_device(s.device)
    if data is None:
        data = data_of(s, own, reading)
    earlier = inherited(s, data)
    if earlier is not None:
        data = without_learned(data, earlier)
    if own is not None:
        refuse_other_images(own, data)
    if s.data and Path(s.data).exists():
        s = s.replace(data=str(Path(s.data).resolve()))
    parents: dict[str, str] = {}
    teacher = None
    if s.teacher is not None:
        teacher = read_teacher(s.teacher, data, device)
        parents["teacher"] = teacher.source.pinned
        s = s.replace(teacher=teacher.source.pinned)
    preprocessing = teacher.source.bundle.preprocessing if teacher is not None else None
    if s.weights is not None:
        if net is not None:
            raise UsageError(f"weights: {s.weights} and a network are given", "give one of the two")
        source = read_source(s.weights)
        net, preprocessing = adapted(source, s, data)
        parents["parent"] = source.pinned
        s = s.replace(weights=source.pinned)
    elif net is None and s.freeze is not None:
        raise UsageError(f"freeze: {s.freeze} of fresh weights would stay as it was drawn", "give --weights")
    if net is None:
        size, small = form_for(s, data, preprocessing)
        torch.manual_seed(aug.key(s.seed, "weights"))
        net = build_model(s.model, num_classes=len(data.classes), in_chans=data.channels, image_size=size, small=small)
    if net.spec["num_classes"] != len(data.classes):
        what = f"the network has {net.spec['num_classes']} classes, {data.name} has {len(data.classes)}"
        raise UsageError(what, "reset_head to the number of classes")
    judge = "test" if "test" in data.splits else "val"
    monitor = "val" if "val" in data.splits else judge
    if s.patience and monitor == judge:
        raise UsageError(
            f"patience: {s.patience} needs validation images besides those it is judged on", "add --val 0.1"
        )
    cost = count_net(net)
    if preprocessing is None:
        preprocessing = Preprocessing(
            image_size=net.spec["image_size"],
            channels=data.channels,
            resize=data.resize,
            crop_pct=data.crop_pct if data.resize == "crop" else 1.0,
            mean=data.mean,
            std=data.std,
            white=data.depth[0],
        )
    preprocessing = dataclasses.replace(preprocessing, image_size=net.spec["image_size"], resize=data.resize)
    if teacher is not None:
        check_same_pixels(preprocessing, teacher.source.bundle.preprocessing)
    if s.freeze is not None and s.unfreeze is None:
        net.freeze(s.freeze)
    frozen_parts(s, net, 0, 1, 1)  # refuses a part that is not there
    if not any(p.requires_grad for p in net.parameters()):
        raise UsageError("the network is frozen as a whole: there is nothing to train", "leave some part unfrozen")
    if s.qat:
        fake_int8(net)
    s = _fitted(net.to(device), s, device, cost.macs, len(data.splits["train"]), ranks)
    flip, decided = _mirroring(s, data, ranks)
    s = s.replace(
        lr=s.lr if s.lr is not None else default_rate(net, s.optimizer),
        lr_batch=s.lr_batch or (_meant_for(s.recipe) if s.lr_scale != "none" else None),
        devices=ranks.world,
        image_size=net.spec["image_size"],
        small=net.spec["small"],
        channels=data.channels,
        resize=data.resize,
        flip=flip,
        device=device.type,
    )
    augment = Augment(s.crop, s.crop_padding, (s.crop_range[0], s.crop_range[1]), bool(s.flip), s.erase, s.colour)
    train = Loader(
        data.splits["train"],
        preprocessing,
        batch_size=int(s.batch_size or LARGEST_BATCH),
        device=device,
        seed=s.seed,
        augment=augment,
        workers=s.workers,
        part=(ranks.rank, ranks.world),
    )
    judged = {name: ranks.share(data.splits[name]) for name in sorted({judge, monitor})}
    batch = evaluation_batch(cost)
    loaders = {
        name: Loader(split, preprocessing, batch_size=batch, device=device, workers=s.workers)
        for name, split in judged.items()
    }
    if s.sync_batch_norm and ranks.world > 1:
        synchronize(net)
    teach = teacher.logits if teacher is not None else None
    return Plan(
        settings=s,
        data=data,
        net=net,
        cost=cost,
        preprocessing=preprocessing,
        device=device,
        amp=s.amp == "bf16",
        train=train,
        loaders=loaders,
        judge=judge,
        monitor=monitor,
        notes=[
            *data.notes,
            *_vain(settings, s, len(data.splits["train"])),
            *filter(None, data.depth[1:]),
            *(f"mirroring {why}" for why in decided.values()),
            *_shared(s, train.batch_size, net, ranks),
        ],
        ranks=ranks,
        criterion=criterion(s.label_smoothing, teach, s.alpha, s.temperature),
        parents=parents,
        earlier=earlier,
        decided=decided,
    )


def form_for(s: Settings, data: Dataset, teacher: Preprocessing | None = None) -> tuple[int, bool]:
    """The input size that a fresh network takes, in pixels, and whether it takes its small form.

    Args:
        s: names the network; its size and form where they are asked for.
        data: the images, whose size as they are stored decides what is not.
        teacher: how a teacher sees them, whose size is then taken.
    """
    size = s.image_size or (teacher.image_size if teacher is not None else None)
    return form(s.model, stored_size(data, SMALL_UP_TO), size, s.small)


def _mirroring(s: Settings, data: Dataset, ranks: Ranks) -> tuple[bool, dict[str, str]]:
    """Whether images are mirrored, and why where the settings leave it to the images; rank 0 decides for all."""
    if s.flip is not None:
        return s.flip, {}
    found = data.mirroring if ranks.leads else None
    flip = bool(ranks.first(int(found is not None and found.flip)))
    return flip, {"flip": found.reason} if found is not None else {}


def _fitted(net: ConvNet, s: Settings, device: torch.device, macs: int, images: int, ranks: Ranks) -> Settings:
    """Decide batch size, arithmetic and order in memory on this machine, and lay the network out so.

    Args:
        net: on the device.
        macs: multiply-adds of one image.
        images: in training.
        ranks: that share a batch; rank 0 decides for all.
    """
    net.checkpointing = s.grad_checkpointing
    if s.batch_size == "auto" and ranks.world > 1:
        raise UsageError("batch_size: auto is for one device", "give --batch-size N, of which each device takes a part")
    batch = s.batch_size if isinstance(s.batch_size, int) else default_batch(images)
    if s.batch_size != "auto":
        _check_parts(min(batch, images), s.accumulate, ranks.world)
    lay_out(net, "channels_last")
    usual = s.replace(batch_size=batch // ranks.world)
    way = WAYS[0]
    if ranks.leads:
        value, unit = duration("duration", s.duration)
        within = TRIAL * value if unit == "s" else math.inf
        way = fastest_way(net, usual, device, macs, _steps(s.replace(batch_size=batch), images), within=within)
    amp, memory_format = WAYS[ranks.first(WAYS.index(way))]
    lay_out(net, memory_format)
    if s.batch_size == "auto":
        found = largest_batch(net, s, images, amp == "bf16")
        if found is None:
            raise UsageError(f"batch_size: not even 2 images a step of {s.model} fit into memory", SMALLER)
        batch = found
        _check_parts(min(batch, images), s.accumulate, 1)
    return s.replace(batch_size=batch, amp=amp, memory_format=memory_format)


def _check_parts(images: int, accumulate: int, devices: int) -> None:
    """Refuse a step whose images cannot be shared equally, or leave batch norm a single one."""
    if images % devices:
        near = max(2 * devices, images // devices * devices)
        what = f"batch_size: {images} images a step cannot be shared equally by {devices} devices"
        raise UsageError(what, f"--batch-size {near}")
    if images < 2 * accumulate * devices:
        where = f" in {accumulate} parts" * (accumulate > 1) + f" on {devices} devices" * (devices > 1)
        raise UsageError(f"batch_size: {images} images a step{where}", "batch norm needs at least 2 images at a time")


def within_memory(plan: Plan, work: Callable[[], T]) -> T:
    """What the work gives.

    Raises:
        UsageError: memory ran out; names a batch that fits.
    """
    try:
        return work()
    except Exception as error:
        if not out_of_memory(error):
            raise
    raise _does_not_fit(plan)  # here, where what the error held is free


def _does_not_fit(plan: Plan) -> UsageError:
    """What to say of a batch that is too large, with one that is not."""
    s, batch = plan.settings, plan.train.batch_size
    if plan.ranks.world > 1:  # the others are not asked: they wait for this one's gradients
        what = (
            f"batch_size: {batch // plan.ranks.world} of {batch} images a step of {s.model} do not fit into one device"
        )
        return UsageError(what, f"give a smaller --batch-size, or {SMALLER.removeprefix('give ')}")
    fits = largest_batch(plan.net, s, batch // 2, plan.amp) if batch >= 4 * s.accumulate else None
    what = f"batch_size: {batch} images a step of {s.model} do not fit into the memory of {plan.device}"
    if fits is None:
        return UsageError(f"{what}; no power of two does", SMALLER)
    return UsageError(f"{what}; {fits} do", f"give --batch-size {fits}, or keep it and {SMALLER.removeprefix('give ')}")


def _steps(s: Settings, images: int) -> float:
    """Steps of a run, about: what a trial of arithmetics must pay for itself in."""
    value, unit = duration("duration", s.duration)
    if unit == "s":
        return math.inf if value >= LONG else 0
    return to_steps("duration", s.duration, max(1, images // int(s.batch_size or 1)))


def _vain(asked: Settings, s: Settings, images: int) -> list[str]:
    """What a person should know of settings that come to nothing with this network, or of a run without a step."""
    lines = []
    if asked.small and not s.small:
        lines.append(f"note: small does nothing here: {s.model} has one form only")
    if duration("duration", s.duration)[0] == 0:
        lines.append("note: nothing is trained in no time: the network is evaluated as it is")
    if isinstance(s.batch_size, int) and s.batch_size > images:
        lines.append(f"note: batch_size {s.batch_size:,} is more than there are: a step takes all {images:,} images")
    return lines


def _shared(s: Settings, batch: int, net: ConvNet, ranks: Ranks) -> list[str]:
    """How ranks share a step, and what its size does to the learning rate, for people."""
    lines = []
    if ranks.world > 1:
        line = f"{ranks.world} devices, {batch // ranks.world} images of each step on each"
        if any(isinstance(layer, nn.BatchNorm2d) for layer in net.modules()):
            line += f"; batch norm over {'all of them' if s.sync_batch_norm else 'its own, and that of rank 0 ships'}"
        lines.append(line)
    if s.lr_scale != "none":
        lines.append(f"lr {s.lr:g} is for {s.lr_batch} images a step: {s.peak:g} for {batch} ({s.lr_scale})")
    return lines


def _meant_for(recipe: str) -> int:
    """Images a step that a recipe's learning rate is meant for."""
    return int(RECIPES[recipe].settings.get("batch_size") or LARGEST_BATCH)


def default_batch(images: int) -> int:
    """Images a step in training: a power of two that gives an epoch steps enough to learn from, 16 to 128."""
    wanted = max(1, images // STEPS_AN_EPOCH)
    return min(LARGEST_BATCH, max(SMALLEST_BATCH, 1 << (wanted.bit_length() - 1)))


def default_rate(net: ConvNet, optimizer: str) -> float:
    """The learning rate that a network takes with an optimiser, at its highest."""
    depth = sum(isinstance(layer, nn.Conv2d | nn.Linear) for layer in net.modules())
    normed = any(isinstance(layer, nn.BatchNorm2d) for layer in net.modules())
    return RATES[optimizer] if normed or depth <= DEEP else RATES[optimizer] / 10


def evaluation_batch(cost: Cost) -> int:
    """Images a batch in evaluation: large for small networks, bounded for large ones and by the memory of their maps."""
    wanted = max(16, min(500, 5_000_000_000 // max(1, cost.macs)))
    return max(1, min(wanted, EVALUATION_BYTES // max(1, cost.map_bytes)))


def pick_device(name: str) -> torch.device:
    """The device of a name; "auto" is the best there is.

    Raises:
        UsageError: no such kind of device.
        MachineError: it is not there. Never another one in its place.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in present.items() if there))
    if name not in present:
        raise UsageError(f"device: {name!r}", "one of auto, cpu, cuda, mps")
    if not present[name]:
        raise MachineError(f"device: there is no {name} here", "--device auto takes what is there")
    return torch.device(name)
