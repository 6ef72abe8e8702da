"""The settings and images that experiments at small scale have in common, and the papers' own protocols."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from podium.experiments.claim import Arm, Protocol

# SGD with momentum and a cosine suits networks with and without batch norm, if each has its own learning rate.
SGD: dict[str, Any] = {
    "optimizer": "sgd",
    "batch_size": 64,
    "schedule": "cosine",
    "warmup": "10%",
    "weight_decay": 5e-4,
    "crop": "pad",
    "amp": "off",
    "memory_format": "channels_last",
    "workers": 0,
}
RATES = (0.01, 0.03)  # of which every arm takes the best on validation images; networks with batch norm have NORM_RATES
NORM_RATES = (0.03, 0.1)
SMALL_SEEDS = (
    5  # small networks differ by about a point from seed to seed; claims on deep networks, whose runs cost more, have 3
)
PAPER_SEEDS = 3


def small(name: str, *arms: Arm, epochs: float = 8, rates: tuple[float, ...] = RATES, **changes: Any) -> Protocol:
    """A protocol for minutes: 10,000 images of CIFAR-10 made smaller to 16 px, tested on all 10,000 test images.

    Args:
        name: of the protocol.
        arms: what is compared.
        epochs: of each training.
        rates: learning rates, of which every arm takes the best.
        changes: other fields of `Protocol`; `settings` are added to those that all have.
    """
    settings = {**SGD, "duration": f"{epochs:g}ep", **changes.pop("settings", {})}
    usual = Protocol(name, "cifar10", arms, settings, rates, train=10_000, side=16, seeds=SMALL_SEEDS)
    return dataclasses.replace(usual, **changes)


def imagenet(name: str, recipe: str, *arms: Arm, **changes: Any) -> Protocol:
    """A paper's own protocol on ImageNet-2012: all training images, 10,000 of them for validation, tested on the 50,000."""
    usual = Protocol(name, "imagenet", arms, recipe=recipe, val=10_000, seeds=PAPER_SEEDS)
    return dataclasses.replace(usual, **changes)


def cifar(name: str, recipe: str, *arms: Arm, **changes: Any) -> Protocol:
    """A paper's own protocol on CIFAR-10: 45,000 training images, 5,000 for validation, 10,000 for the test."""
    usual = Protocol(name, "cifar10", arms, recipe=recipe, val=5_000, seeds=PAPER_SEEDS)
    return dataclasses.replace(usual, **changes)


def sketch(name: str, layers: str, settings: Mapping[str, Any] | None = None, **more: Any) -> Arm:
    """An arm whose network is written as a line of layers (`networks/sketch.py`)."""
    return Arm(name, {"model": "sketch", "layers": layers}, settings or {}, **more)
