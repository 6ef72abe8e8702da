"""Samples of a data set that depend on its images, not on their order or on a seed. numpy only."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from podium.data.image_file import ImageFile


def by_content(files: Sequence[ImageFile]) -> list[int]:
    """The numbers of files in an order that looks random and depends on their names below the root."""
    names = [file.below or file.name for file in files]
    keys = [(zlib.crc32(name.encode(errors="surrogateescape")), name) for name in names]
    return sorted(range(len(keys)), key=lambda i: keys[i])


def stratified(labels: np.ndarray, count: int) -> np.ndarray:
    """Choose some images of a split: each class in proportion to its size, and evenly over its images.

    Args:
        labels: (N,), of the split.
        count: the number of images, at least 1; all are chosen where there are no more.

    Returns:
        (min(count, N),) numbers of images, ascending; at least one of each class where `count` allows it.
    """
    order = np.argsort(labels, kind="stable")
    _, sizes = np.unique(labels, return_counts=True)
    if count >= len(labels):
        return np.arange(len(labels))
    if count < len(sizes):  # not even one of each
        starts = np.cumsum(sizes) - sizes
        return np.sort(order[starts[np.linspace(0, len(sizes) - 1, count).round().astype(int)]])
    wanted = (count - len(sizes)) * (sizes - 1) / max(1, len(labels) - len(sizes))  # beside one of each
    each = 1 + np.floor(wanted).astype(int)
    short = count - int(each.sum())
    each[np.argsort(-(wanted % 1), kind="stable")[:short]] += 1
    starts = np.cumsum(sizes) - sizes
    places = [start + (np.arange(n) * size) // n for start, size, n in zip(starts, sizes, each, strict=True)]
    return np.sort(order[np.concatenate(places)])
