"""Which precision and which memory format train a network fastest on this machine: timed once, then remembered.

bfloat16 halves the bytes and doubles the multiply-adds a second of processors that have it, but small networks do not gain
what its conversions cost. Channels last suits most convolutions, but neither narrow ones in bfloat16 nor those of many
groups: `benchmarks/precision.py` measures it.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from podium.data.memory import out_of_memory
from podium.devices import channels_last_is_right, device_name, has_fp16, has_tf32, native_bf16
from podium.errors import MachineError
from podium.files import cache_folder, write_atomic
from podium.models.convnet import ConvNet
from podium.settings import Settings
from podium.training.autotune.trial import Trial
from podium.training.step import PRECISIONS

GAIN = 1.05  # how much faster than float32 in channels last a candidate must be to be taken
LARGE_MACS = 20_000_000  # multiply-adds an image from which bfloat16 is taken without timing
SMALLEST_MACS, FEWEST_STEPS = 5_000_000, 300  # below, timing costs more than it can gain
TRIED_MACS = 10_000_000_000  # multiply-adds of the images of a timed step, about; on a GPU a step has the whole batch
TIMED = 3  # steps that count, after one that does not

Candidate = tuple[str, str]  # values of the settings amp and memory_format
FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
CANDIDATES: list[Candidate] = list(itertools.product(("off", "tf32", *PRECISIONS), FORMATS))


def fastest_setting(
    net: ConvNet,
    s: Settings,
    device: torch.device,
    macs: int,
    steps: float,
    *,
    within: float = math.inf,
    seconds: Callable[[ConvNet, Settings, Candidate, int], float] | None = None,
    cache: Path | None = None,
) -> Candidate:
    """Return the precision and the memory format to train in: those of the settings, or the fastest on this machine.

    Args:
        net: on its device; left as it is.
        s: of the run, its batch size decided.
        device: of the network.
        macs: multiply-adds of one image.
        steps: of the run; where there are few, the candidates are not timed.
        within: seconds that timing may take; where it would take longer, by its first step, a rule decides.
        seconds: times a step of a candidate with so many images; by default `step_seconds`.
        cache: the file that remembers the fastest; by default in the user's cache folder.
    """
    amps: list[str] = [s.amp] if s.amp != "auto" else precisions(device)
    formats: list[str] = [s.memory_format] if s.memory_format != "auto" else memory_formats(device)
    candidates: list[Candidate] = list(itertools.product(amps, formats))
    if len(candidates) == 1 or macs < SMALLEST_MACS or steps < FEWEST_STEPS:
        return _rule(amps, formats, macs)
    images = int(s.batch_size or 2)
    if device.type != "cuda":
        images = min(images, max(4 * s.accumulate, TRIED_MACS // macs))
    trained = sum(p.numel() for p in net.parameters() if p.requires_grad)
    case = [net.spec, trained, images, s.accumulate, s.grad_checkpointing, s.optimizer, candidates]
    case += [device.type, device_name(device), torch.get_num_threads(), torch.__version__]
    case += [s.deterministic] * (device.type == "cuda")
    key = hashlib.sha256(json.dumps(case, sort_keys=True, default=str).encode()).hexdigest()[:16]
    cache = cache or cache_folder() / "fastest.json"
    entry = _remembered(cache).get(key, {})
    chosen = (entry.get("amp"), entry.get("memory_format")) if isinstance(entry, dict) else None
    # A step in half precision takes half the memory, so on a GPU it is tried first: it may be the only one that fits.
    order = (
        candidates
        if device.type == "cpu"
        else sorted(candidates, key=lambda candidate: candidate[0] in ("off", "tf32"))
    )
    if chosen not in candidates and within < math.inf:
        first = _if_it_fits(seconds or partial(step_seconds, timed=1), net, s, order[0], images)
        if first * len(candidates) * (1 + TIMED) > within:
            return _rule(amps, formats, macs)
    if chosen not in candidates:
        timed = {candidate: _if_it_fits(seconds or step_seconds, net, s, candidate, images) for candidate in order}
        chosen = min(timed, key=lambda candidate: timed[candidate])
        if timed[chosen] == math.inf:
            return _rule(amps, formats, macs)  # none fits: the run says so, with a batch that does
        if timed[candidates[0]] < GAIN * timed[chosen]:
            chosen = candidates[0]
        if math.inf not in timed.values():  # with more memory left, another time, all may fit
            _remember(cache, key, net, images, chosen, timed)
    return chosen


def precisions(device: torch.device) -> list[str]:
    """Return the precisions that the hardware computes in, values of the setting amp; float32 comes first.

    float16, whose loss must be scaled, is for GPUs without bfloat16.
    """
    halves = {"bf16": native_bf16(device), "fp16": has_fp16(device) and not native_bf16(device)}
    return ["off", *["tf32"] * has_tf32(device), *(half for half, there in halves.items() if there)]


def memory_formats(device: torch.device) -> list[str]:
    """Return the memory formats in which a device computes right gradients, the one that suits most networks first."""
    return list(FORMATS) if channels_last_is_right(device) else ["contiguous"]


def _if_it_fits(
    seconds: Callable[[ConvNet, Settings, Candidate, int], float],
    net: ConvNet,
    s: Settings,
    candidate: Candidate,
    images: int,
) -> float:
    """Return the seconds of a candidate's step; infinity where the memory does not suffice for it, which ends nothing else."""
    try:
        return seconds(net, s, candidate, images)
    except Exception as error:
        if not out_of_memory(error):
            raise
        return math.inf


def _rule(amps: list[str], formats: list[str], macs: int) -> Candidate:
    """Return the candidate that is taken without timing."""
    return amps[-1] if macs >= LARGE_MACS else amps[0], formats[0]


def step_seconds(net: ConvNet, s: Settings, candidate: Candidate, images: int, timed: int = TIMED) -> float:
    """Time training steps of a candidate on a copy of the network.

    Args:
        net: on its device; left as it is.
        s: of the run.
        candidate: the precision and the memory format of the steps.
        images: of a step.
        timed: steps that count, after one that does not.

    Returns:
        Seconds of the fastest step: whatever else the machine does only adds to the others.
    """
    amp, memory_format = candidate
    trial = Trial(set_memory_format(copy.deepcopy(net), memory_format), s.replace(lr=s.lr or 0.0, amp=amp))
    batch = trial.images(images)
    trial.step(batch, PRECISIONS.get(amp))
    return min(trial.step(batch, PRECISIONS.get(amp)) for _ in range(timed))


def set_memory_format(net: ConvNet, memory_format: str) -> ConvNet:
    """Put a network's weights, and from now on the images that it is given, into a memory format; returns the network."""
    net.memory_format = FORMATS[memory_format]
    return net.to(memory_format=net.memory_format)  # type: ignore[call-overload]


def _remembered(cache: Path) -> dict[str, Any]:
    """Return what a file of earlier choices holds; nothing where it is damaged, and it is then written anew."""
    try:
        entries = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _remember(
    cache: Path, key: str, net: ConvNet, images: int, chosen: Candidate, timed: dict[Candidate, float]
) -> None:
    milliseconds = {" ".join(tried): round(1000 * spent, 3) for tried, spent in timed.items()}
    entry = {"model": net.spec.get("model"), "images": images, "amp": chosen[0], "memory_format": chosen[1]}
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        content = {**_remembered(cache), key: {**entry, "ms": milliseconds}}
        write_atomic(cache, json.dumps(content, indent=1).encode())
    except (OSError, MachineError):  # the folder cannot be written: the next run times the candidates again
        return
