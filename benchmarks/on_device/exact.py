"""Bits: a pooling whose gradient is the same each time, and runs that end alike whether they were stopped or not."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import podium
from on_device.check import Check, Here, images
from podium.data.augment import Augment
from podium.data.loader import Loader
from podium.data.preprocessing import Preprocessing
from podium.models.pooling import pool_to
from podium.runs.bundle import WEIGHTS
from podium.training.interrupt import Stopped

# Networks with what has no deterministic backward pass in torch on CUDA, at sizes that do not divide.
RESUMED: dict[str, dict[str, Any]] = {
    "resnet20": {"image_size": 32},
    "lenet5_modern": {"image_size": 32},
    "googlenet": {"image_size": 96},
    "vgg11_bn": {"image_size": 75},
    "densenet121": {"image_size": 64},
}
DRY = ("resnet20", "lenet5_modern")
AGAIN = 50  # times that a gradient is computed


def pooling(here: Here) -> Iterator[Check]:
    """Maps of 13 x 13 to 6 x 6 cells: values and gradients against the processor, and the gradient's bits fifty times."""
    x = torch.randn(16, 64, 13, 13, generator=torch.Generator().manual_seed(0))
    towards = torch.randn(16, 64, 6, 6, generator=torch.Generator().manual_seed(1))

    def gradient(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        own = x.to(device).requires_grad_()
        out = pool_to(own, 6)
        out.backward(towards.to(device))
        if own.grad is None:
            raise RuntimeError("there is no gradient")
        return out.detach().cpu(), own.grad.cpu()

    (value, slope), (true, truth) = gradient(here.device), gradient(torch.device("cpu"))
    furthest = max(float((value - true).abs().max()), float((slope - truth).abs().max()))
    yield Check("as on the processor", furthest < 1e-5, f"{furthest:.1e} (at most 1e-5)")
    alike = sum(torch.equal(slope, gradient(here.device)[1]) for _ in range(AGAIN))
    yield Check("the same bits", alike == AGAIN, f"{alike} of {AGAIN}")


def augmentation(here: Here) -> Iterator[Check]:
    """Images in memory that are cropped, mirrored, erased and coloured on the device, against the same on the processor."""
    data = images(256, 32)
    how = Preprocessing(32, 3, mean=data.mean, std=data.std)
    for crop in ("pad", "scale", "area"):
        augment = Augment(crop, flip=True, erase=0.3, colour=0.1)

        def epoch(device: torch.device, augment: Augment = augment) -> torch.Tensor:
            loader = Loader(data.splits["train"], how, batch_size=64, device=device, augment=augment, workers=0)
            return torch.cat([batch.x.cpu() for batch in loader.epoch(0)])

        furthest = float((epoch(here.device) - epoch(torch.device("cpu"))).abs().max())
        yield Check(f"crop {crop}, as on the processor", furthest < 1e-3, f"{furthest:.1e} (at most 1e-3)")


def resumes(here: Here) -> Iterator[Check]:
    """Runs with AdamW and EMA that are stopped in the middle and resumed, against the same runs in one go.

    On Apple's GPUs the same bits are not promised, so that they are only measured there.
    """
    for name in DRY if here.dry else RESUMED:
        settings = {**RESUMED[name], "device": str(here.device), "epochs": 2, "batch_size": 32, "optimizer": "adamw"}
        settings |= {"lr": 0.001, "ema": 0.99, "seed": 0, "workers": 0}
        data = images(256, settings["image_size"])
        whole, stopped = (here.folder / f"{name}-{kind}" for kind in ("whole", "stopped"))
        podium.train(name, data, whole, progress=False, **settings)
        again = here.folder / f"{name}-again"
        podium.train(name, data, again, progress=False, **settings)
        yield _same(f"{name}, trained twice", whole, again, here)
        _stopped(name, data, stopped, settings)
        podium.train(name, data, stopped, resume=True, progress=False, **settings)
        yield _same(f"{name}, stopped and resumed", whole, stopped, here)


def _stopped(name: str, data: podium.Dataset, out: Path, settings: dict[str, Any]) -> None:
    """Train until a signal comes in the middle of the run; one that a person has sent before goes on to the script."""
    sent = []

    def stop(step: int, total: int, shown: dict[str, Any]) -> None:
        if step == total // 2 + 1:
            sent.append(step)
            signal.raise_signal(signal.SIGTERM)

    try:
        podium.train(name, data, out, progress=stop, **settings)
    except Stopped:
        if sent:
            return
        raise
    raise RuntimeError("the run was not stopped")


def _same(name: str, one: Path, other: Path, here: Here) -> Check:
    """Whether two runs ended with the same bits, which not every device promises."""
    same = digest(one) == digest(other)
    said = f"{digest(other)}, the same bits" if same else f"{digest(other)}, and not {digest(one)}"
    return Check(name, None if here.device.type == "mps" else same, said)


def digest(run: Path) -> str:
    """The first digits of SHA-256 of a run's weights."""
    return hashlib.sha256((run / WEIGHTS).read_bytes()).hexdigest()[:16]
