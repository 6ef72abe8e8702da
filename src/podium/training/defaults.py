"""The batch size and the learning rate that a run takes where its settings leave them open."""

from __future__ import annotations

from torch import nn

from podium.models.convnet import ConvNet
from podium.training.recipes.named import RECIPES

LARGEST_BATCH, SMALLEST_BATCH = 128, 16  # images a step
STEPS_AN_EPOCH = 40  # that an epoch should have at least, if the batch can be made small enough for it
RATES = {"sgd": 0.05, "rmsprop": 1e-3, "adam": 3e-3, "adamw": 3e-3, "muon": 3e-3}  # peak learning rates
# Weight layers beyond which a network without batch norm diverges at these rates: VGG-16 learns at a tenth of them.
DEEP = 11


def default_batch(images: int) -> int:
    """Return the batch size for so many training images: a power of two from 16 to 128 that leaves an epoch enough steps."""
    wanted = max(1, images // STEPS_AN_EPOCH)
    return min(LARGEST_BATCH, max(SMALLEST_BATCH, 1 << (wanted.bit_length() - 1)))


def default_rate(net: ConvNet, optimizer: str) -> float:
    """Return the peak learning rate at which this optimiser trains this network."""
    depth = sum(isinstance(layer, nn.Conv2d | nn.Linear) for layer in net.modules())
    normed = any(isinstance(layer, nn.BatchNorm2d) for layer in net.modules())
    return RATES[optimizer] if normed or depth <= DEEP else RATES[optimizer] / 10


def recipe_batch(recipe: str) -> int:
    """Return the batch size that a recipe's learning rate is meant for."""
    return int(RECIPES[recipe].settings.get("batch_size") or LARGEST_BATCH)
