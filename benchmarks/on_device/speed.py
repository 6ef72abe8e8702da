"""Images a second: of training steps whose images are on the device, and of JPEGs that threads decode."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

import podium
from on_device.check import Check, Here, images
from on_device.idle import Watch
from podium.data.augment import Augment
from podium.data.loader import Loader
from podium.data.preprocessing import Preprocessing
from podium.data.sources import load_data
from podium.devices import device_name, native_bf16
from podium.platform import cores
from podium.training.autotune.trial import memory_left


@dataclass(frozen=True)
class Case:
    """A network whose training is timed.

    Args:
        name, side, batch, images: of the network, its images in pixels, those of a step, and those there are.
        steps: that are taken.
        least: images a second that it has to reach, by a part of the device's name.
    """

    name: str
    side: int
    batch: int
    images: int
    steps: int
    least: dict[str, float]


CASES = (
    Case("resnet50", 224, 256, 1024, 60, {"H100": 2800, "H200": 5500}),
    Case("resnet18", 32, 512, 20_480, 400, {"H100": 20_000, "H200": 20_000}),
    Case("lenet5_modern", 32, 256, 20_480, 800, {}),
)
SMALL = (  # where memory is small, and on Apple's GPUs
    Case("resnet50", 224, 16, 128, 16, {}),
    Case("resnet18", 32, 128, 5120, 80, {}),
    Case("lenet5_modern", 32, 256, 20_480, 160, {}),
)
ENOUGH = 40e9  # bytes of memory for `CASES`
DRY = (Case("lenet5_modern", 32, 64, 512, 10, {}),)
WATCHED = 15  # steps behind those of a case, for the share of the time in which the device is idle
TESTS = 64  # images that are evaluated after an epoch, which the clock of the steps includes
JPEGS, FEED = 512, {"H100": 6000.0, "H200": 6000.0}  # images a second of 16 threads


def training(here: Here) -> Iterator[Check]:
    """Whole runs whose images stay on the device: their speed, when the device is idle, and what deterministic kernels cost."""
    for case in cases(here):
        rate, idle = _run(case, here)
        yield _against(f"{case.name}, {case.side} px, images/s", rate, case.least, here)
        said = "not known: torch's profiler sees nothing of this device" if idle is None else f"{idle:.1%} of the time"
        yield Check(f"{case.name}, the device is idle", None, said)
        if here.device.type == "cuda":
            free, _ = _run(case, here, deterministic=False)
            said = f"{free / rate - 1:.1%} of the speed: {free:,.0f} images/s without them"
            yield Check(f"{case.name}, what deterministic kernels cost", None, said)
    if here.device.type != "cuda":
        yield Check("what deterministic kernels cost", None, "not tried: only CUDA has others")


def cases(here: Here) -> tuple[Case, ...]:
    """The networks to time: smaller steps where memory is small."""
    if here.dry:
        return DRY
    return CASES if here.device.type == "cuda" and memory_left(here.device) >= ENOUGH else SMALL


def _run(case: Case, here: Here, **more: Any) -> tuple[float, float | None]:
    """Train a case.

    Returns:
        Images a second of the second half of its steps (what comes before is start, and what the device has to learn), and the
        share of the time for which the device was idle in `WATCHED` more steps; None where that is not known.
    """
    amp = "bf16" if native_bf16(here.device) and not here.dry else "auto"
    out = here.folder / "-".join(["speed", case.name, *map(str, more.values())])
    ticks: list[float] = []
    shares: list[float | None] = []
    watch = None if here.device.type == "mps" else Watch(here.device)

    def tick(step: int, total: int, shown: dict[str, Any]) -> None:
        if "top1" in shown:  # the row of an epoch, behind its last step
            return
        if step <= case.steps:
            ticks.append(time.perf_counter())
        if watch is not None and step == case.steps:
            watch.start()
        elif watch is not None and step == total:
            shares.append(watch.stop())

    settings: dict[str, Any] = {"device": str(here.device), "amp": amp, "workers": 0, "seed": 0, "crop": "none", **more}
    settings |= {"steps": case.steps + WATCHED, "batch_size": case.batch, "image_size": case.side, "progress": tick}
    data = images(case.images, case.side, tests=TESTS)
    podium.train(case.name, data, out, **settings)
    half = len(ticks) // 2
    rate = case.batch * (len(ticks) - 1 - half) / (ticks[-1] - ticks[half])
    return rate, shares[0] if shares else None


def feed(here: Here) -> Iterator[Check]:
    """JPEGs of 500 x 375 pixels, decoded by a thread a core, cropped and put on the device."""
    draw = np.random.default_rng(0)
    count = 64 if here.dry else JPEGS
    for number in range(count):
        picture = Image.fromarray(draw.integers(0, 256, (47, 63, 3), np.uint8)).resize(
            (500, 375), Image.Resampling.BICUBIC
        )
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=85)
        path = here.folder / "photos" / "train" / f"class{number % 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(out.getvalue())
    data = load_data(here.folder / "photos", val=None)
    workers = 2 if here.dry else min(16, cores())
    loader = Loader(
        data.splits["train"],
        Preprocessing(224, 3, mean=data.mean, std=data.std),
        batch_size=64,
        device=here.device,
        augment=Augment(crop="area", crop_range=(0.08, 1.0), flip=True),
        workers=workers,
    )
    seen, epoch, start = 0, 0, time.perf_counter()
    while epoch < 2 or time.perf_counter() - start < (1 if here.dry else 8):
        seen += sum(len(batch.y) for batch in loader.epoch(epoch))
        epoch += 1
        if epoch == 1:
            seen, start = 0, time.perf_counter()
    rate = seen / (time.perf_counter() - start)
    yield _against(f"JPEGs a second, {workers} threads", rate, FEED if workers >= 16 else {}, here)


def _against(name: str, rate: float, least: dict[str, float], here: Here) -> Check:
    """A rate against what this kind of device has to reach."""
    kind = device_name(here.device)
    wanted = next((value for part, value in least.items() if part in kind), None)
    if torch.cuda.is_available() and here.device.type == "cuda":
        torch.cuda.synchronize(here.device)
    said = f"{rate:,.0f}" + (f" (at least {wanted:,.0f})" if wanted is not None else "")
    return Check(name, None if wanted is None else rate >= wanted, said)
