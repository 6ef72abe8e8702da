"""Precision, memory format and batch size, fitted to a network and to this machine."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TypeVar

import torch

from podium.data.memory import out_of_memory
from podium.devices import device_name, has_bf16, has_fp16, has_tf32, pick_device
from podium.errors import UsageError
from podium.models.convnet import ConvNet
from podium.settings import Settings
from podium.training.autotune.batch_size import largest_batch
from podium.training.autotune.fastest import CANDIDATES, fastest_setting, memory_formats, set_memory_format
from podium.training.defaults import default_batch
from podium.training.distributed.parallel import Ranks
from podium.training.plan import Plan
from podium.training.step import PRECISIONS
from podium.units import parse_duration, to_steps

T = TypeVar("T")

SMALLER = "give --accumulate 2 or more, --grad-checkpointing, or a smaller --image-size"  # what makes a step smaller
WORTH_TUNING = 60.0  # seconds of a time budget from which it pays to time the candidates
TUNING_SHARE = 0.05  # of a time budget, which timing the candidates may take


def fit_to_machine(
    net: ConvNet, s: Settings, device: torch.device, macs: int, images: int, ranks: Ranks, later: int = 0
) -> Settings:
    """Decide the batch size, the precision and the memory format, and put the network into that memory format.

    Args:
        net: on the device.
        s: of the run; what they decide already is kept.
        device: that trains.
        macs: multiply-adds of one image.
        images: in training.
        ranks: that share a batch; rank 0 decides for all.
        later: bytes of memory that the images will take before the first step.

    Returns:
        The settings with `batch_size`, `amp` and `memory_format` decided.

    Raises:
        UsageError: the batch cannot be shared by the ranks, has too few images, or does not fit into memory.
    """
    net.checkpointing = s.grad_checkpointing
    if s.batch_size == "auto" and ranks.world > 1:
        raise UsageError("batch_size: auto is for one device", "give --batch-size N, of which each device takes a part")
    batch = s.batch_size if isinstance(s.batch_size, int) else default_batch(images)
    if s.batch_size != "auto":
        _check_parts(min(batch, images), s.accumulate, ranks.world)
    set_memory_format(net, memory_formats(device)[0])
    usual = s.replace(batch_size=batch // ranks.world)
    chosen = CANDIDATES[0]
    if ranks.leads:
        value, unit = parse_duration("duration", s.duration)
        within = TUNING_SHARE * value if unit == "s" else math.inf
        steps = _expected_steps(s.replace(batch_size=batch), images)
        chosen = fastest_setting(net, usual, device, macs, steps, within=within)
    amp, memory_format = CANDIDATES[ranks.first(CANDIDATES.index(chosen))]
    set_memory_format(net, memory_format)
    if s.batch_size == "auto":
        found = largest_batch(net, s, images, PRECISIONS.get(amp), later)
        if found is None:
            raise UsageError(f"batch_size: not even 2 images a step of {s.model} fit into memory", SMALLER)
        batch = found
        _check_parts(min(batch, images), s.accumulate, 1)
    return s.replace(batch_size=batch, amp=amp, memory_format=memory_format)


def device_for(s: Settings) -> torch.device:
    """Return the device that the settings name, where it computes what they want fast and rightly.

    Raises:
        UsageError: it has not the precision or the memory format of the settings.
        MachineError: the machine has no such device.
    """
    device = pick_device(s.device)
    if s.amp == "bf16" and not has_bf16(device):
        what = f"amp: bf16, but {device_name(device)} computes it by an emulation slower than float32"
        raise UsageError(what, "leave --amp out, which takes the fastest precision that it has, or give --amp off")
    if s.amp == "fp16" and not has_fp16(device):
        what = (
            "amp: fp16 is a precision of NVIDIA's GPUs from Volta on and of AMD's, "
            f"and this run computes on {device_name(device)}"
        )
        raise UsageError(what, "leave --amp out, or give --amp off")
    if s.amp == "tf32" and not has_tf32(device):
        what = (
            f"amp: tf32 is a precision of NVIDIA's GPUs from Ampere on, and this run computes on {device_name(device)}"
        )
        raise UsageError(what, "leave --amp out, or give --amp off")
    if s.memory_format not in ("auto", *memory_formats(device)):
        what = f"memory_format: {s.memory_format} gives wrong gradients on {device.type} with torch {torch.__version__}"
        raise UsageError(what, "leave --memory-format out, or give --memory-format contiguous")
    return device


def _check_parts(images: int, accumulate: int, devices: int) -> None:
    """Refuse a batch that the devices cannot share equally, or of which batch norm would see one image at a time."""
    if images % devices:
        near = max(2 * devices, images // devices * devices)
        what = f"batch_size: {images} images a step cannot be shared equally by {devices} devices"
        raise UsageError(what, f"--batch-size {near}")
    if images < 2 * accumulate * devices:
        where = f" in {accumulate} parts" * (accumulate > 1) + f" on {devices} devices" * (devices > 1)
        raise UsageError(f"batch_size: {images} images a step{where}", "batch norm needs at least 2 images at a time")


def _expected_steps(s: Settings, images: int) -> float:
    """Return about how many steps a run has, in which timing the candidates must pay for itself."""
    value, unit = parse_duration("duration", s.duration)
    if unit == "s":
        return math.inf if value >= WORTH_TUNING else 0
    return to_steps("duration", s.duration, max(1, images // int(s.batch_size or 1)))


def within_memory(plan: Plan, work: Callable[[], T], release: Callable[[], None] | None = None) -> T:
    """Do some work of a run and return what it gives.

    Args:
        plan: of the run.
        work: to do.
        release: called where memory ran out, to free what only the work needs, before a batch that fits is looked for.

    Raises:
        UsageError: the memory ran out; names a batch size that fits.
    """
    try:
        return work()
    except Exception as error:
        if not out_of_memory(error):
            raise
        logging.getLogger("podium").debug(f"memory ran out: {error}")
    # Outside the handler: the error is gone, and with it the tensors of the frames that it held.
    for parameter in plan.net.parameters():
        parameter.grad = None
    if release is not None:
        release()
    raise _does_not_fit(plan)


def _does_not_fit(plan: Plan) -> UsageError:
    """Return the error for a batch that is too large, with a batch size that fits."""
    s, batch = plan.settings, plan.train.batch_size
    if plan.ranks.world > 1:  # no trial: the other ranks wait for this one's gradients
        what = (
            f"batch_size: {batch // plan.ranks.world} of {batch} images a step of {s.model} do not fit into one device"
        )
        return UsageError(what, f"give a smaller --batch-size, or {SMALLER.removeprefix('give ')}")
    fits = largest_batch(plan.net, s, batch // 2, plan.amp) if batch >= 4 * s.accumulate else None
    what = f"batch_size: {batch} images a step of {s.model} do not fit into the memory of {plan.device}"
    if fits is None:
        return UsageError(f"{what}; no power of two does", SMALLER)
    return UsageError(f"{what}; {fits} do", f"give --batch-size {fits}, or keep it and {SMALLER.removeprefix('give ')}")
