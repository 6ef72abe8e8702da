"""From settings to everything a run needs: data, network, loaders. What can be refused is refused here, before training."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from podium.data import augment as aug
from podium.data.augment import Augment
from podium.data.dataset import Dataset
from podium.data.folds import in_roles, is_fold
from podium.data.image_columns import with_slices
from podium.data.loader import Loader, resident_bytes
from podium.data.memory import out_of_memory
from podium.data.preprocessing import Preprocessing
from podium.data.record import Record
from podium.data.roles import without_learned
from podium.data.stored import stored_size
from podium.errors import MachineError, UsageError
from podium.evaluation.cost import count_net
from podium.evaluation.evaluate import evaluation_batch
from podium.models.convnet import ConvNet
from podium.models.forms import SMALL_UP_TO, form
from podium.models.registry import architecture, build_model
from podium.settings import Settings
from podium.training.autotune.thread_count import thread_count
from podium.training.confidence import check_patience, check_recall, how_to_have_both, is_handed_over
from podium.training.defaults import LARGEST_BATCH, default_rate, recipe_batch
from podium.training.distributed.parallel import ALONE, Ranks
from podium.training.distributed.sync_norm import synchronize
from podium.training.fake_int8 import fake_int8
from podium.training.fitting import device_for, fit_to_machine
from podium.training.images import as_loaded, data_of, inherited, refuse_other_images, split_seed
from podium.training.losses import Criterion, class_weights, criterion
from podium.training.plan import Plan
from podium.training.plan_notes import notes_of
from podium.training.transfer.source import (
    GIVEN,
    RANDOM,
    Teacher,
    adapted,
    check_same_pixels,
    frozen_parts,
    head_notes,
    origin_of,
    read_source,
    read_teacher,
)


@dataclass(frozen=True)
class _Start:
    """The networks that a run starts with.

    Args:
        settings: with the names of weights and teacher pinned to a SHA-256.
        net: the network to train.
        preprocessing: of the weights or the teacher; None where the data decide it.
        teacher: None where there is none.
        parents: see `Plan`.
        words: what the weights are, for people.
        notes: on the weights that were read.
    """

    settings: Settings
    net: ConvNet
    preprocessing: Preprocessing | None
    teacher: Teacher | None
    parents: dict[str, str]
    words: str
    notes: list[str]


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
        settings: as merged from recipe, file and flags.
        data: a data set to take instead of loading `settings.data`.
        net: a network to train instead of building `settings.model`; it is copied, and stays as it is.
        ranks: that share the run.
        own: the run's record of its images, where it goes on.
        reading: called with (files read, files to read) while image files are read for the first time.

    Raises:
        PodiumError: anything that would fail later.
    """
    architecture(settings.model)  # refuses an unknown name
    device = device_for(settings)
    data, earlier = _images(settings, data, own, reading)
    start = _start(settings, data, net, device)
    (s, loaded), net = as_loaded(start.settings, data), start.net
    evaluation_split, monitor = _evaluated_splits(s, data)
    cost = count_net(net)
    preprocessing = _preprocessing(start, data)
    _freeze_and_round(net, s)
    s, counted = _threads(_placed(net, device), s, device, cost.macs, len(data.splits["train"]))
    uploaded = _uploaded(s, data, preprocessing, {evaluation_split, monitor})
    s = fit_to_machine(net, s, device, cost.macs, len(data.splits["train"]), ranks, uploaded)
    flip, decided = _mirroring(s, data, ranks)
    s = _resolved(s.replace(flip=flip, device=str(device), devices=ranks.world), net, data)
    train = _training_loader(s, data, preprocessing, device, ranks)
    shares = {name: ranks.share(data.splits[name]) for name in sorted({evaluation_split, monitor})}
    evaluated = partial(Loader, batch_size=evaluation_batch(cost), device=device, workers=s.workers)
    if s.sync_batch_norm and ranks.world > 1:
        synchronize(net)
    plan = Plan(
        settings=s,
        data=data,
        net=net,
        cost=cost,
        preprocessing=preprocessing,
        device=device,
        train=train,
        loaders={name: evaluated(split, preprocessing) for name, split in shares.items()},
        evaluation_split=evaluation_split,
        monitor=monitor,
        ranks=ranks,
        criterion=_criterion(s, data, start.teacher, device),
        parents=start.parents,
        earlier=earlier,
        start=start.words,
        decided=decided | loaded | counted,
    )
    plan.notes = [*start.notes, *notes_of(settings, plan)]
    return plan


def _images(
    s: Settings, data: Dataset | None, own: Record | None, reading: Callable[[int, int], None] | None
) -> tuple[Dataset, Record | None]:
    """Return the data set without the images that earlier networks learned from, and the record of those."""
    if data is None:
        data = data_of(s, own, reading)
    elif s.folds is not None and not is_fold(data, s.folds, s.fold):
        data = in_roles(data, s.val, split_seed(s), own, s.folds, s.fold)
    if s.slice is not None:
        with_slices(data, s.slice)  # refuses what it cannot find; the report slices
    earlier = inherited(s, data)
    if earlier is not None:
        data = without_learned(data, earlier)
    if own is not None:
        refuse_other_images(own, data)
    return data, earlier


def _start(s: Settings, data: Dataset, net: ConvNet | None, device: torch.device) -> _Start:
    """Read the teacher, and read, copy or build the network that is trained.

    Raises:
        UsageError: the settings contradict each other, or the network has another number of classes than the data.
    """
    if s.data and Path(s.data).exists():
        s = s.replace(data=str(Path(s.data).resolve()))
    parents: dict[str, str] = {}
    notes: list[str] = []
    words, teacher, preprocessing = RANDOM, None, None
    if s.teacher is not None:
        teacher = read_teacher(s.teacher, data, device)
        preprocessing = teacher.source.bundle.preprocessing
        parents["teacher"] = teacher.source.pinned
        s = s.replace(teacher=teacher.source.pinned)
    if s.weights is not None:
        if net is not None:
            raise UsageError(f"weights: {s.weights} and a network are given", "give one of the two")
        source = read_source(s.weights)
        net, preprocessing = adapted(source, s, data)
        notes = head_notes(source, data)
        parents["parent"] = source.pinned
        words = origin_of(source)
        s = s.replace(weights=source.pinned)
    elif net is not None:
        net, words = copy.deepcopy(net), GIVEN
    elif s.freeze is not None:
        raise UsageError(f"freeze: {s.freeze} of fresh weights would stay as it was drawn", "give --weights")
    else:
        size, small = form_for(s, data, preprocessing)
        torch.manual_seed(aug.key(s.seed, "weights"))
        net = build_model(s.model, num_classes=len(data.classes), in_chans=data.channels, image_size=size, small=small)
    if net.spec["num_classes"] != len(data.classes):
        what = f"the network has {net.spec['num_classes']} classes, {data.name} has {len(data.classes)}"
        raise UsageError(what, "reset_head to the number of classes")
    return _Start(s, net, preprocessing, teacher, parents, words, notes)


def _evaluated_splits(s: Settings, data: Dataset) -> tuple[str, str]:
    """Return the split that the result reports, and the split that is evaluated after every epoch."""
    evaluation_split = "test" if "test" in data.splits else "val"
    monitor = "val" if "val" in data.splits else evaluation_split
    mend = how_to_have_both(evaluation_split) if monitor == evaluation_split else None
    check_patience(s.patience, mend)
    check_recall(s.recall, data.classes, None if is_handed_over(s) else mend)
    return evaluation_split, monitor


def _preprocessing(start: _Start, data: Dataset) -> Preprocessing:
    """Return how images become the network's input, which is the same for a student and its teacher."""
    preprocessing, size = start.preprocessing, start.net.spec["image_size"]
    if preprocessing is None:
        preprocessing = Preprocessing(
            image_size=size,
            channels=data.channels,
            resize=data.resize,
            crop_pct=data.crop_pct if data.resize == "crop" else 1.0,
            mean=data.mean,
            std=data.std,
            white=data.depth[0],
            max_pixels=data.max_pixels,
        )
    preprocessing = dataclasses.replace(preprocessing, image_size=size, resize=data.resize, max_pixels=data.max_pixels)
    if start.teacher is not None:
        check_same_pixels(preprocessing, start.teacher.source.bundle.preprocessing)
    return preprocessing


def _freeze_and_round(net: ConvNet, s: Settings) -> None:
    """Freeze what stays as it is for the whole run, and let the network round as int8 does where `qat` is set.

    Raises:
        UsageError: `freeze` names no part of the network, or nothing is left to train.
    """
    if s.freeze is not None and s.unfreeze is None:
        net.freeze(s.freeze)
    frozen_parts(s, net, 0, 1, 1)  # refuses a part that is not there
    if not any(p.requires_grad for p in net.parameters()):
        raise UsageError("the network is frozen as a whole: there is nothing to train", "leave some part unfrozen")
    if s.qat:
        fake_int8(net)


def _placed(net: ConvNet, device: torch.device) -> ConvNet:
    """Return the network on the device.

    Raises:
        MachineError: the memory of the device does not suffice even for its weights.
    """
    try:
        return net.to(device)
    except Exception as error:
        if not out_of_memory(error):
            raise
    megabytes = sum(t.nbytes for t in net.state_dict().values()) / 1e6
    raise MachineError(
        f"device: the weights ({megabytes:,.0f} MB) do not fit into the memory of {device}",
        "end other programs that use the device, or give --device cpu",
    )


def _threads(
    net: ConvNet, s: Settings, device: torch.device, macs: int, images: int
) -> tuple[Settings, dict[str, str]]:
    """Return the settings with the number of threads decided, and the reason where it was measured."""
    if s.threads is not None:
        return s, {}
    threads, reason = thread_count(net, s, device, macs, images)
    return s.replace(threads=threads), {"threads": f"measured: {reason}"} if reason is not None else {}


def _resolved(s: Settings, net: ConvNet, data: Dataset) -> Settings:
    """Return the settings with what the network and the data decide."""
    return s.replace(
        lr=s.lr if s.lr is not None else default_rate(net, s.optimizer),
        lr_batch=s.lr_batch or (recipe_batch(s.recipe) if s.lr_scale != "none" else None),
        image_size=net.spec["image_size"],
        small=net.spec["small"],
        channels=data.channels,
        resize=data.resize,
    )


def _criterion(s: Settings, data: Dataset, teacher: Teacher | None, device: torch.device) -> Criterion:
    """Return the training criterion; classes weigh in it by the number of their training images."""
    counts = np.bincount(data.splits["train"].labels, minlength=len(data.classes))
    weight = class_weights(s.class_weights, torch.from_numpy(counts))
    teach = teacher.logits if teacher is not None else None
    return criterion(s.label_smoothing, teach, s.alpha, s.temperature, weight if weight is None else weight.to(device))


def _training_loader(
    s: Settings, data: Dataset, preprocessing: Preprocessing, device: torch.device, ranks: Ranks
) -> Loader:
    """Return the loader of this rank's part of the training batches, with their augmentation."""
    return Loader(
        data.splits["train"],
        preprocessing,
        batch_size=int(s.batch_size or LARGEST_BATCH),
        device=device,
        seed=s.seed,
        augment=_augment(s),
        workers=s.workers,
        balanced=s.sampler == "balanced",
        part=(ranks.rank, ranks.world),
    )


def _augment(s: Settings) -> Augment:
    return Augment(s.crop, s.crop_padding, (s.crop_range[0], s.crop_range[1]), bool(s.flip), s.erase, s.colour)


def _uploaded(s: Settings, data: Dataset, preprocessing: Preprocessing, evaluated: set[str]) -> int:
    """Return the bytes of images that are in the device's memory while a run trains."""
    padding = aug.padding(_augment(s), preprocessing.image_size)
    train = resident_bytes(data.splits["train"], preprocessing, padding)
    return train + sum(resident_bytes(data.splits[name], preprocessing) for name in evaluated)


def form_for(s: Settings, data: Dataset, teacher: Preprocessing | None = None) -> tuple[int, bool]:
    """Return the input size of a fresh network in pixels, and whether it takes its small form.

    Args:
        s: names the network, and its size and form where they are given.
        data: the images, whose stored size decides what is not given.
        teacher: the preprocessing of a teacher, whose size is then taken.
    """
    size = s.image_size or (teacher.image_size if teacher is not None else None)
    return form(s.model, stored_size(data, SMALL_UP_TO), size, s.small)


def _mirroring(s: Settings, data: Dataset, ranks: Ranks) -> tuple[bool, dict[str, str]]:
    """Return whether images are mirrored, and the reason where the images decide it; rank 0 decides for all."""
    if s.flip is not None:
        return s.flip, {}
    found = data.mirroring if ranks.leads else None
    flip = bool(ranks.first(int(found is not None and found.flip)))
    return flip, {"flip": found.reason} if found is not None else {}
