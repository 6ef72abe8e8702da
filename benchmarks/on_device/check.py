"""A check and its outcome, where parts run, and the images that they train on."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from podium.data.dataset import Dataset, Split
from podium.data.images import ArrayImages


@dataclass(frozen=True)
class Check:
    """What was found.

    Args:
        name: of what was checked.
        ok: whether it holds; None: a figure without a target on this device.
        said: the number, and what it had to be.
    """

    name: str
    ok: bool | None
    said: str

    @property
    def word(self) -> str:
        """The outcome as people read it."""
        return {True: "PASS", False: "FAIL", None: "MEASURED"}[self.ok]


@dataclass(frozen=True)
class Here:
    """Where parts run.

    Args:
        device: that is tried.
        dry: little of everything, on the processor.
        folder: for runs; it goes at the end.
        deadline: on the monotonic clock.
    """

    device: torch.device
    dry: bool
    folder: Path
    deadline: float

    def left(self) -> float:
        """Seconds that are left."""
        return self.deadline - time.monotonic()


def images(count: int, side: int, classes: int = 10, channels: int = 3, tests: int | None = None) -> Dataset:
    """Noise in which every class has a colour of its own: a set that networks can learn, of any size.

    Args:
        count: of training images.
        side: of an image, in pixels.
        classes, channels: of the images.
        tests: test images; None: a quarter of the training images, and at least 64.
    """
    draw = np.random.default_rng(0)
    splits = {}
    for name, number in (("train", count), ("test", tests or max(64, count // 4))):
        labels = np.arange(number) % classes
        colours = np.random.default_rng(1).integers(40, 216, (classes, channels))
        noise = draw.integers(-40, 40, (number, side, side, channels))
        splits[name] = Split(labels, ArrayImages((colours[labels][:, None, None] + noise).astype(np.uint8)))
    names = tuple(f"class {number}" for number in range(classes))
    return Dataset("colours", names, splits, channels, side, False, (0.5,) * channels, (0.25,) * channels)
