"""Training epochs that have as many images of each class, whatever the numbers of the data set."""

from __future__ import annotations

import torch
from torch import Tensor


def times_drawn(labels: Tensor) -> int:
    """How often an image of the smallest class is drawn in a balanced epoch, at most.

    Args:
        labels: (N,) int64, on the CPU.
    """
    counts = torch.bincount(labels)
    counts = counts[counts > 0]
    each = -(-len(labels) // len(counts))  # rounded up
    return int(-(-each // counts.min()))


def balanced_order(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Draw an epoch of as many images as there are, with as many of each class, shuffled.

    A class that is too small is drawn several times over, each time in another order; of one that is too large some images
    are left out, in each epoch others.

    Args:
        labels: (N,) int64, on the CPU.
        generator: of the epoch.

    Returns:
        (N,) int64: image + N * t for the image drawn for the t-th time, t from 0. So augmentation can tell the draws of one
        image apart.
    """
    n, classes = len(labels), torch.unique(labels)
    each = torch.full((len(classes),), n // len(classes))
    each[torch.randperm(len(classes), generator=generator)[: n % len(classes)]] += 1
    drawn = []
    for label, count in zip(classes.tolist(), each.tolist(), strict=True):
        images = torch.nonzero(labels == label).flatten()
        turns = [
            images[torch.randperm(len(images), generator=generator)] + n * t for t in range(-(-count // len(images)))
        ]
        drawn.append(torch.cat(turns)[:count])
    return torch.cat(drawn)[torch.randperm(n, generator=generator)]
