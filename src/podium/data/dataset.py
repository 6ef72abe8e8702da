"""Images with labels, split by split, over one list of classes. numpy only."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from podium.data import shown
from podium.data.depth import Depth, White, look_at
from podium.data.image_file import ImageFile
from podium.data.images import ImageSource, Progress, Shrink
from podium.data.names import show
from podium.data.preprocessing import Resize

if TYPE_CHECKING:
    from podium.data.mirror import Mirroring

SPLITS = ("train", "val", "test")


@dataclass
class Split:
    """The images of one split and their labels.

    Args:
        labels: (N,) int64, numbers of the data set's classes.
        images: N of them.
        keys: (N,) uint64, a key of the content of each as it is stored; None until `contents` is called.
        columns: by name, (N,) text: what is known of each image beside its class, such as its patient or camera; "" where it
            is not known. The column "(group)" names the images that stay on one side of every split.
    """

    labels: np.ndarray
    images: ImageSource
    keys: np.ndarray | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def pixels(self) -> np.ndarray | None:
        """(N, H, W, C) uint8, where the images are one array in memory; else None."""
        return self.images.pixels

    @property
    def files(self) -> tuple[ImageFile, ...] | None:
        """The file of each image, where each has one; else None."""
        return self.images.files

    def contents(self, progress: Progress | None = None) -> np.ndarray:
        """A key of each image's content, (N,) uint64: equal where two images are the same, wherever they lie.

        Args:
            progress: called with (files read, files to read) where files have to be read for it.

        Raises:
            DataError: a file cannot be read.
        """
        if self.keys is None:
            self.keys = self.images.contents(progress)
        return self.keys

    def name_of(self, index: int) -> str:
        """The name by which a person knows an image: that of its file, or its number."""
        return self.images.name(index)

    def scaled(self, white: White) -> Split:
        """The same images, with another value for white in those of more than 8 bits a channel."""
        images = self.images.scaled(white)
        return self if images is self.images else replace(self, images=images)

    def image(self, index: int, channels: int) -> Image.Image:
        """Decode one image, upright, to mode "L" (1 channel) or "RGB" (3).

        Raises:
            DataError: its file cannot be read or decoded.
        """
        return self.images.image(index, channels)

    def array(self, index: int, channels: int, shrink: Shrink | None = None) -> np.ndarray:
        """Decode one image to (H, W, C) uint8, as `image` does; `shrink` lets a JPEG come smaller (see `decode`)."""
        return self.images.array(index, channels, shrink)

    def select(self, indices: Sequence[int] | np.ndarray | range) -> Split:
        """The images of these numbers, in this order."""
        rows = np.asarray(indices, dtype=np.int64)
        keys = self.keys[rows] if self.keys is not None else None
        columns = {name: values[rows] for name, values in self.columns.items()}
        return Split(self.labels[rows], self.images.select(rows), keys, columns)


@dataclass
class Dataset:
    """One list of classes and up to three splits.

    Args:
        name: the name that people see.
        classes: over all splits, in the order of the labels.
        splits: "train", and "val" and "test" where the set has them.
        channels: 1 or 3.
        image_size: the size at which networks train unless another is given, in pixels.
        mirror: whether a mirrored image keeps its class; None: the images decide (`mirroring`).
        mean: one number a channel, in units of pixel/255.
        std: one number a channel, in units of pixel/255.
        resize: how an image becomes square: "crop", "pad" or "stretch" (`decode.fit`).
        crop_pct: the share of the short side that "crop" keeps.
        source: where the set was read from.
        skipped: (name, reason) of images that were left out.
        notes: what a person should know about the set, one line each.
        held_out: the seed, "share" of the validation images and share of the "test" images, where Podium chose them.
        white: the value that is white in images of more than 8 bits a channel, or those that are black and white; None: the
            images decide (`depth`).
        grouping: the setting that named the groups of images, and its value; None where there are no groups.
        loaded_with: the settings of a run that reads the set in the same way; empty where `load_data` did not read it.
    """

    name: str
    classes: tuple[str, ...]
    splits: dict[str, Split]
    channels: int
    image_size: int
    mirror: bool | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Resize = "crop"
    crop_pct: float = 1.0
    source: str = ""
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)
    held_out: dict[str, Any] | None = None
    white: White | None = None
    grouping: dict[str, str] | None = None
    loaded_with: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return shown.describe(self)

    def _repr_html_(self) -> str:
        return shown.as_html(self)

    @cached_property
    def values(self) -> Depth:
        """What is known of images of more than 8 bits a channel, and of files that hold several images."""
        if self.white is not None:
            return Depth(self.white)
        images = self.splits["train"].images
        return look_at(images.files or (), images.max_pixels)

    @property
    def depth(self) -> tuple[White, str | None]:
        """The value that is white in images of more than 8 bits a channel, and a note about it where one is due."""
        return self.values.white, self.values.note

    @property
    def max_pixels(self) -> int:
        """The largest width times height of an image that is opened."""
        return self.splits["train"].images.max_pixels

    @cached_property
    def mirroring(self) -> Mirroring:
        """Whether training may mirror images, and why: known of the set, or found from its training images."""
        from podium.data.mirror import Mirroring, mirroring

        if self.mirror is None:
            return mirroring(self.splits["train"].scaled(self.depth[0]), self.classes)
        return Mirroring(self.mirror, f"{'on' if self.mirror else 'off'}: as is known of {show(self.name)}", True)

    def fingerprint(self) -> str:
        """SHA-256 of classes, splits, labels, and each image's name below the root, size and content.

        Neither the place of the set nor the way its path was typed has an influence.
        """
        digest = hashlib.sha256(repr(self.classes).encode(errors="surrogateescape"))
        for name, split in self.splits.items():
            digest.update(name.encode() + np.ascontiguousarray(split.labels, np.int64).tobytes())
            digest.update(split.contents().tobytes())
            digest.update(split.images.fingerprint())
        return digest.hexdigest()

    def is_what(self, fingerprint: str) -> bool:
        """Whether a recorded fingerprint is of these images, as computed now or by Podium 0.1.0."""
        return fingerprint == self.fingerprint() or fingerprint in fingerprints_before(self)


def fingerprints_before(data: Dataset) -> Iterator[str]:
    """The fingerprints that Podium 0.1.0 may have computed of a data set.

    It hashed the path of each file as it was typed, so the likely ways to type it are tried.
    """
    source = Path(data.source)
    place = Path(os.path.abspath(data.source or "."))
    ends = [Path(*place.parts[-count:]) for count in range(1, len(place.parts))]  # photos, data/photos, ...
    roots = [source, place, *ends, *(Path(*[".."] * up, end) for up in (1, 2, 3) for end in ends)]
    for root in dict.fromkeys(roots) if any(split.files for split in data.splits.values()) else roots[:1]:
        digest = hashlib.sha256(repr(data.classes).encode(errors="surrogateescape"))
        for name, split in data.splits.items():
            digest.update(name.encode() + np.ascontiguousarray(split.labels).tobytes())
            digest.update(split.images.fingerprint_before(source, root))
        yield digest.hexdigest()
