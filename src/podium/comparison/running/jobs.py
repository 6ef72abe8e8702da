"""How many runs of a comparison train side by side, and in how many threads each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from podium.comparison.candidates import Candidate, spec_of
from podium.comparison.running.gpus import gpus_for
from podium.comparison.schedule import Part
from podium.comparison.sizes import Spec, cost_of
from podium.data.dataset import Dataset
from podium.devices import pick_device
from podium.errors import MachineError, PodiumError, UsageError
from podium.models.registry import rebuild
from podium.models.undrawn import meta
from podium.platform import memory_left_here, memory_of_process, processors
from podium.settings import DEFAULT, Origins, Settings
from podium.training.defaults import default_batch
from podium.units import parse_duration

SMALL_MACS = 200_000_000  # multiply-adds an image up to which as many networks are trained at once as there are cores
SHARE = 0.8  # of the memory that is left, which runs side by side may take
COPIES = 4  # of the weights: themselves, the gradient, and two moments
OVER_SAVED = 1.5  # a step's memory over what autograd saves for backward, about


@dataclass(frozen=True)
class Jobs:
    """How runs are trained.

    Args:
        count: runs at the same time; 1: one after the other, in the process of the comparison.
        threads: that compute in each.
        origin: where the number of threads came from, for people; empty where it is not decided here.
        note: what a person should know of it; None for nothing.
        gpus: of which each has one, as `gpus_for` names them; none: all compute on the processor, or one after the other.
    """

    count: int
    threads: int
    origin: str = ""
    note: str | None = None
    gpus: Sequence[str] = ()


ONE_JOB = Jobs(1, 1)


def decide_jobs(
    requested: int | None, merged: Origins, candidates: Sequence[Candidate], runs: int, data: Dataset
) -> Jobs:
    """Decide how many runs train side by side.

    Args:
        requested: by a person; None: as many as there are GPUs, or as there are cores where all networks are small, and the
            length of a run is not a time, of which each run would then have a part of the cores.
        merged: the settings that hold for all runs, and their origin.
        candidates: the networks.
        runs: in all.
        data: the images.
    """
    s, most = merged.settings, torch.get_num_threads()
    given, gpus = _given(merged), gpus_for(s.device)
    if gpus and (requested is not None or not _timed(merged)):
        return _one_a_gpu(gpus, min(requested or len(gpus), runs), given)
    specs = [spec for spec in (spec_of(candidate, s, data) for candidate in candidates) if spec is not None]
    if requested is None:
        alone = given is not None or pick_device(s.device).type != "cpu" or _timed(merged)
        small = not alone and len(specs) == len(candidates) and max(map(_macs, specs), default=0) <= SMALL_MACS
        count = min(most, runs) if small else 1
    else:
        count = min(requested, max(1, runs))
    fitting = min(count, _fitting(specs, s.batch_size, data)) if count > 1 else 1
    threads = given or max(1, most // fitting)
    note = None
    if fitting < count:
        note = f"jobs: {fitting} instead of {count}, for which too little memory is left"
    elif fitting > 1:
        each = f"{threads} thread{'s' if threads > 1 else ''}"
        note = f"jobs: {fitting} runs at a time, of {each} each; their speed is measured after all training"
    by = f"by --jobs {requested}" if requested is not None else "by the number of cores"
    return Jobs(fitting, threads, f"{by}: {fitting} runs side by side" if fitting > 1 else "", note)


def _one_a_gpu(gpus: list[str], count: int, given: int | None) -> Jobs:
    """Return so many runs side by side, each on a GPU of its own."""
    if count < 2:
        return ONE_JOB
    note = f"jobs: {count} runs at a time, each on a GPU of its own; their speed is measured after all training"
    threads = given or max(1, torch.get_num_threads() // count)
    return Jobs(count, threads, f"by the number of GPUs: {count} runs side by side", note, gpus[:count])


def jobs_on_cluster(place: str, requested: int | None, merged: Origins, runs: int) -> Jobs:
    """Decide how many runs a cluster has at a time, and in how many threads each computes.

    Args:
        place: of the cluster, as a person gave it.
        requested: by a person; None: all, of which the cluster begins as many as it has room for.
        merged: the settings that hold for all runs, and their origin.
        runs: in all.
    """
    threads = _given(merged) or 1
    each = f"{threads} thread{'s' if threads > 1 else ''}"
    note = f"cluster: {place}: each run is a task of {each}; their speed is measured here, after all training"
    return Jobs(min(requested or runs, runs), threads, f"by --cluster: {each} a task", note)


def longest_first(parts: Sequence[Part], s: Settings, data: Dataset) -> list[Part]:
    """Return runs in the order in which they begin: of each seed and fold the largest networks first, so that all end together."""

    def place(part: Part) -> tuple[int, int, float]:
        spec = spec_of(part.candidate, s, data)
        return part.seed, part.fold or 0, -_macs(spec) if spec is not None else -math.inf

    return sorted(parts, key=place)


def refuse_jobs(requested: int | None, merged: Origins) -> None:
    """Refuse a device that is not here, and a number of jobs that cannot be had.

    Args:
        requested: by a person.
        merged: the settings that hold for all runs, and their origin.

    Raises:
        UsageError: several runs are to share a GPU, or more threads than there are.
        MachineError: there is no such device, or there are not so many processors.
    """
    device = pick_device(merged.settings.device)
    if requested is None or requested == 1:
        return
    here, given = max(processors(), torch.get_num_threads()), _given(merged)
    if requested < 1:
        raise UsageError(f"jobs: {requested}", "give at least 1")
    if (gpus := gpus_for(merged.settings.device)) and requested > len(gpus):
        raise MachineError(f"jobs: {requested}, but there are {len(gpus)} GPUs here", f"--jobs {len(gpus)}")
    if not gpus and device.type != "cpu":
        raise UsageError(f"jobs: {requested}, but the networks train on one GPU, one after the other", "leave it out")
    if requested > here:
        raise MachineError(f"jobs: {requested}, but there are {here} processors here", f"--jobs {here}")
    if given is not None and requested * given > here:
        what = f"jobs: {requested} of {given} threads each, but there are {here} processors here"
        raise UsageError(what, f"give --threads {max(1, here // requested)}, or fewer --jobs")


def _given(merged: Origins) -> int | None:
    """The number of threads that a person gave."""
    return merged.settings.threads if merged.origin.get("threads", DEFAULT).given else None


def _timed(merged: Origins) -> bool:
    """Whether the length of a run is a time."""
    return parse_duration("duration", merged.settings.duration)[1] == "s"


def _macs(spec: Spec) -> float:
    """Multiply-adds of a network; infinite where it cannot be built, which its run will say."""
    with suppress(PodiumError):
        return cost_of(spec).macs
    return math.inf


def _fitting(specs: Sequence[Spec], batch: int | str | None, data: Dataset) -> int:
    """How many runs of the largest network fit into the memory that is left; many where it is not known."""
    left, images = memory_left_here(), len(data.splits["train"])
    if left is None or not specs:
        return processors()
    count = min(images, batch if isinstance(batch, int) else default_batch(images))
    needed = 0
    for spec in specs:
        with suppress(PodiumError):
            needed = max(needed, step_bytes(spec, count))
    return max(1, int(SHARE * left / (memory_of_process()[0] + needed)))


def step_bytes(spec: Spec, images: int) -> int:
    """The bytes that a training step of a network takes, about, found without computing anything.

    Args:
        spec: of the network.
        images: of a step.
    """
    net = meta(lambda: rebuild(dict(spec))).train()
    side, kept = spec["image_size"], dict[int, Tensor]()

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.device("meta"), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = torch.zeros(images, dtype=torch.int64)
        net.training_loss(torch.zeros(images, spec["in_chans"], side, side), y, torch.nn.functional.cross_entropy)
    weights = sum(p.nbytes for p in net.parameters())
    return COPIES * weights + int(OVER_SAVED * sum(tensor.untyped_storage().nbytes() for tensor in kept.values()))
