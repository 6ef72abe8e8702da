"""Which arithmetic and which order in memory train a network fastest on this machine: tried once, then remembered.

bfloat16 halves the bytes and doubles the multiply-adds of processors that have it, and its conversions cost what small
networks do not win back. Channels last suits most convolutions, and not narrow ones in bfloat16 nor those of many groups:
`benchmarks/arithmetic.py` has the times.
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

from podium.errors import MachineError
from podium.evaluation.speed import processor
from podium.files import cache_folder, write_atomic
from podium.models.convnet import ConvNet
from podium.settings import Settings
from podium.training.autotune.trial import Trial

GAIN = 1.05  # how much faster than float32 in channels last a way must be to be taken
LARGE_MACS = 20_000_000  # multiply-adds an image from which bfloat16 is taken untried
SMALLEST_MACS, FEWEST_STEPS = 5_000_000, 300  # below, a trial costs more than it can gain
TRIED_MACS = 10_000_000_000  # of the images of a trial, about; on a GPU it has the whole batch
TIMED = 3  # steps, after one that is not counted

Way = tuple[str, str]  # amp, memory format: values of these settings
FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
WAYS: list[Way] = list(itertools.product(("off", "bf16"), FORMATS))


def fastest_way(
    net: ConvNet,
    s: Settings,
    device: torch.device,
    macs: int,
    steps: float,
    *,
    within: float = math.inf,
    seconds: Callable[[ConvNet, Settings, Way, int], float] | None = None,
    cache: Path | None = None,
) -> Way:
    """The arithmetic and the order in memory to train in: as told, or the fastest here.

    Args:
        net: on its device; left as it is.
        s: of the run, its batch size decided.
        macs: of one image.
        steps: of the run; a short one is not worth a trial.
        within: seconds that a trial may take; one that would take longer, by its first step, is left out.
        seconds: times a step of so many images in a way; by default, really.
        cache: the file that remembers; by default in the user's folder of caches.
    """
    amps = [s.amp] if s.amp != "auto" else ["off", "bf16"] if native_bf16(device) else ["off"]
    formats = [s.memory_format] if s.memory_format != "auto" else list(FORMATS)
    ways: list[Way] = list(itertools.product(amps, formats))
    if len(ways) == 1 or macs < SMALLEST_MACS or steps < FEWEST_STEPS:
        return _rule(amps, formats, s, macs)
    images = int(s.batch_size or 2)
    if device.type != "cuda":
        images = min(images, max(4 * s.accumulate, TRIED_MACS // macs))
    trained = sum(p.numel() for p in net.parameters() if p.requires_grad)
    told = [net.spec, trained, images, s.accumulate, s.grad_checkpointing, s.optimizer, ways]
    told += [_machine(device), torch.get_num_threads(), torch.__version__]
    key = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]
    cache = cache or cache_folder() / "fastest.json"
    known = _remembered(cache)
    taken = known.get(key, {})
    way = (taken.get("amp"), taken.get("memory_format")) if isinstance(taken, dict) else None
    if way not in ways and within < math.inf:
        first = (seconds or partial(step_seconds, timed=1))(net, s, ways[0], images)
        if first * len(ways) * (1 + TIMED) > within:
            return _rule(amps, formats, s, macs)
    if way not in ways:
        timed = {way: (seconds or step_seconds)(net, s, way, images) for way in ways}
        way = min(timed, key=lambda way: timed[way])
        if timed[ways[0]] < GAIN * timed[way]:
            way = ways[0]
        _remember(cache, key, net, images, way, timed)
    return way


def _rule(amps: list[str], formats: list[str], s: Settings, macs: int) -> Way:
    """What is taken untried."""
    return "bf16" if amps[-1] == "bf16" and (s.amp == "bf16" or macs >= LARGE_MACS) else "off", formats[0]


def step_seconds(net: ConvNet, s: Settings, way: Way, images: int, timed: int = TIMED) -> float:
    """Least seconds of a step of so many images in a way, on a copy that is thrown away; what else runs only adds to it."""
    amp, memory_format = way
    trial = Trial(lay_out(copy.deepcopy(net), memory_format), s.replace(lr=s.lr or 0.0))
    batch = trial.images(images)
    trial.step(batch, amp == "bf16")
    return min(trial.step(batch, amp == "bf16") for _ in range(timed))


def lay_out(net: ConvNet, memory_format: str) -> ConvNet:
    """Put a network's weights, and from now on the images it is given, into this order in memory."""
    net.memory_format = FORMATS[memory_format]
    return net.to(memory_format=net.memory_format)  # type: ignore[call-overload]


def native_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies in bfloat16 by itself."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = (
        torch.cpu.get_capabilities() if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities") else {}
    )
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "arm_bf16", "sve_bf16"))


def _machine(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} {processor()}"


def _remembered(cache: Path) -> dict[str, Any]:
    """What the file knows; a damaged one knows nothing, and is written anew."""
    try:
        known = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember(cache: Path, key: str, net: ConvNet, images: int, way: Way, timed: dict[Way, float]) -> None:
    milliseconds = {" ".join(tried): round(1000 * spent, 3) for tried, spent in timed.items()}
    entry = {"model": net.spec.get("model"), "images": images, "amp": way[0], "memory_format": way[1]}
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        content = {**_remembered(cache), key: {**entry, "ms": milliseconds}}
        write_atomic(cache, json.dumps(content, indent=1).encode())
    except (OSError, MachineError):  # a folder that cannot be written: the next run tries again
        return
