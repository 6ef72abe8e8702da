"""The images of a protocol: a data set by its name, and the part of it that an experiment takes."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np

from podium.data.dataset import Dataset, Split
from podium.data.images import ArrayImages
from podium.data.sampling import stratified
from podium.data.sources import NAMED, load_data, locate
from podium.errors import DataError
from podium.experiments.claim import Protocol


def load(name: str, place: Path | None) -> Dataset:
    """Read a data set that protocols name.

    Args:
        name: of the set.
        place: a folder that holds sets by their names; None: where Podium finds it by its name.

    Raises:
        DataError: it is not there.
    """
    if place is not None and not place.is_dir():
        raise DataError(f"{place}: no such folder", f"name the folder that has {name} in it with --data")
    if place is not None and not (place / name).exists():
        raise DataError(
            f"{place}: there is no {name} in it",
            f"put the set there as {place / name}, or name the folder that has it with --data",
        )
    if place is None:
        try:
            locate(name)
        except DataError as error:
            put = f"{error.fix}, or " if name in NAMED else ""
            raise DataError(error.what, f"{put}name the folder that has {name} in it with --data DIR") from None
    return _loaded(str(place / name) if place is not None else name)


@functools.lru_cache(maxsize=2)
def _loaded(source: str) -> Dataset:
    return load_data(source)


def part(protocol: Protocol, data: Dataset) -> Dataset:
    """The images of a protocol: of each class in proportion, the same each time, with validation images taken from the training ones.

    Args:
        protocol: says how many, and how small they are made.
        data: the whole set, with training and test images.

    Raises:
        DataError: it has no test images, or fewer training images than are wanted.
    """
    train = data.splits["train"]
    test = data.splits.get("test", data.splits.get("val"))
    if test is None:
        raise DataError(f"{data.name}: no test images", "give a set that has some")
    wanted = (protocol.train or len(train) - protocol.val) + protocol.val
    if wanted > len(train):
        raise DataError(f"{data.name}: {len(train):,} training images, {wanted:,} are wanted", "give the whole set")
    taken = train.select(stratified(train.labels, wanted))
    chosen = stratified(taken.labels, protocol.val)
    learned = np.setdiff1d(np.arange(len(taken)), chosen)
    if protocol.test is not None:
        test = test.select(stratified(test.labels, protocol.test))
    splits = {"train": taken.select(learned), "val": taken.select(chosen), "test": test}
    size = data.image_size
    if protocol.side is not None:
        splits, size = {name: _smaller(split, protocol.side) for name, split in splits.items()}, protocol.side
    crop = data.crop_pct if data.splits["train"].pixels is None else protocol.crop_pct
    return dataclasses.replace(
        data, splits=splits, image_size=size, crop_pct=crop, held_out=None, loaded_with={}, notes=()
    )


def _smaller(split: Split, side: int) -> Split:
    """The images of a split made smaller, each new pixel the mean of a square of them."""
    if split.pixels is None:
        raise DataError(f"images of {side} px are made of arrays only", "give MNIST, Fashion-MNIST or CIFAR")
    n, height, _, channels = split.pixels.shape
    factor = height // side
    grid = split.pixels.reshape(n, side, factor, side, factor, channels)
    return Split(split.labels, ArrayImages(grid.mean((2, 4)).round().astype(np.uint8)))
