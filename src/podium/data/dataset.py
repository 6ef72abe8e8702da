"""Images with labels, split by split, over one class list. numpy only."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from podium.data.decode import decode, decode_pixels
from podium.data.depth import WHITE, find_white
from podium.errors import DataError

if TYPE_CHECKING:
    from podium.data.mirror import Mirroring
    from podium.data.pack import Packed

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class ImageFile:
    """Where the bytes of an image lie: a file, a part of a tar, or memory.

    Args:
        path: the file or archive.
        name: as shown to people.
        offset, size: the bytes in it.
        mtime_ns: when the file was changed last.
        content: the bytes, for members of compressed archives.
        below: its name below the data set's root, with "/" between folders: the same wherever the data lies.
    """

    path: Path
    name: str
    offset: int
    size: int
    mtime_ns: int
    content: bytes | None = None
    below: str = ""

    @classmethod
    def of(cls, path: Path) -> ImageFile:
        """A file of its own.

        Raises:
            DataError: it is missing, or not a file.
        """
        name = show(path)
        try:
            stat = path.stat()
        except OSError as error:
            raise DataError(f"{name}: cannot be read ({error.strerror})", "check the path") from None
        if path.is_dir():
            raise DataError(f"{name}: a folder, not an image", "give image files")
        return cls(path, name, 0, stat.st_size, stat.st_mtime_ns)

    def read(self) -> bytes:
        """The image's bytes.

        Raises:
            DataError: the file is gone, unreadable, or not the one that was indexed.
        """
        if self.content is not None:
            return self.content
        try:
            with self.path.open("rb") as file:
                stat = os.fstat(file.fileno())
                if stat.st_mtime_ns != self.mtime_ns or stat.st_size < self.offset + self.size:
                    raise DataError(f"{self.name}: changed since the data set was read", "start again")
                return os.pread(file.fileno(), self.size, self.offset)
        except OSError as error:
            raise DataError(
                f"{self.name}: cannot be read ({error.strerror})", "check the file and its permissions"
            ) from None


def show(path: Path | str) -> str:
    """A path for a message: one that is not UTF-8, or has control characters, as Python writes it."""
    text = str(path)
    return text if text.isprintable() and text.encode(errors="replace").decode() == text else repr(text)


@dataclass
class Split:
    """The images of one split: pixels in memory, files, or a part of a pack.

    Args:
        labels: (N,) int64, over the data set's classes.
        pixels: (N, H, W, C) uint8, or None.
        files: N of them, or None.
        packed: N of them, or None.
        white: the value that is white in files of more than 8 bits a channel.
    """

    labels: np.ndarray
    pixels: np.ndarray | None = None
    files: tuple[ImageFile, ...] | None = None
    packed: Packed | None = None
    white: int = WHITE

    def __len__(self) -> int:
        return len(self.labels)

    def scaled(self, white: int) -> Split:
        """The same images, with another value for white in those of more than 8 bits a channel."""
        return self if white == self.white else replace(self, white=white)

    def image(self, index: int, channels: int) -> Image.Image:
        """One image, upright, of mode "L" or "RGB".

        Raises:
            DataError: its file cannot be read or decoded.
        """
        if self.files is not None:
            file = self.files[index]
            return decode(file.read(), file.name, channels, white=self.white)
        stored = self.pixels if self.pixels is not None else self.packed
        if stored is None:
            raise DataError("a split without images", "give pixels, files or a pack")
        pixels = stored[index]
        image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        return image.convert("L" if channels == 1 else "RGB")

    def array(self, index: int, channels: int, shrink: Callable[[int, int], int] | None = None) -> np.ndarray:
        """One image as `image` gives it, (H, W, C) uint8, but for JPEGs that `shrink` makes smaller (see `decode`)."""
        if self.files is not None:
            file = self.files[index]
            return decode_pixels(file.read(), file.name, channels, shrink, self.white)
        if self.pixels is not None and self.pixels.shape[-1] == channels:
            return self.pixels[index]
        if self.packed is not None and channels == 3:
            return self.packed[index]
        image = self.image(index, channels)
        return np.asarray(image).reshape(image.height, image.width, channels)

    def select(self, indices: Sequence[int] | np.ndarray | range) -> Split:
        """Some of its images, in the order given."""
        chosen = np.asarray(indices, dtype=np.int64)
        return Split(
            self.labels[chosen],
            self.pixels[chosen] if self.pixels is not None else None,
            tuple(self.files[i] for i in chosen) if self.files is not None else None,
            self.packed.select(chosen) if self.packed is not None else None,
            self.white,
        )


@dataclass
class Dataset:
    """One class list and up to three splits.

    Args:
        name: as shown to people.
        classes: over all splits, in the order of the labels.
        splits: "train", and "val" and "test" where there are.
        channels: 1 or 3.
        image_size: the size to train at unless told otherwise, in pixels.
        mirror: whether a mirrored image keeps its class; None: the images are asked (`mirroring`).
        mean, std: a number a channel, in units of pixel/255.
        resize, crop_pct: how an image becomes square (`decode.fit`).
        source: where it came from.
        skipped: (name, reason) of images that were left out.
        notes: what a person should know of it, a line each.
        white: the value that is white in its images of more than 8 bits a channel; None: they are asked (`depth`).
    """

    name: str
    classes: tuple[str, ...]
    splits: dict[str, Split]
    channels: int
    image_size: int
    mirror: bool | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str = "crop"
    crop_pct: float = 1.0
    source: str = ""
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)
    white: int | None = None

    @cached_property
    def depth(self) -> tuple[int, str | None]:
        """The value that is white in its images of more than 8 bits a channel, and what to say of it, if anything."""
        if self.white is not None:
            return self.white, None
        return find_white(self.splits["train"].files or ())

    @cached_property
    def mirroring(self) -> Mirroring:
        """Whether training may mirror images, and why: as is known of the set, or as its training images say."""
        from podium.data.mirror import Mirroring, mirroring

        if self.mirror is None:
            return mirroring(self.splits["train"].scaled(self.depth[0]), self.classes)
        return Mirroring(self.mirror, f"{'on' if self.mirror else 'off'}: as is known of {show(self.name)}", True)

    def fingerprint(self) -> str:
        """SHA-256 over classes, labels and pixels (of files: names and sizes; of a pack: its index): the same images give the same."""
        digest = hashlib.sha256(repr(self.classes).encode())
        for name, split in self.splits.items():
            digest.update(name.encode() + np.ascontiguousarray(split.labels).tobytes())
            if split.pixels is not None:
                digest.update(np.ascontiguousarray(split.pixels).data)
            if split.packed is not None:
                digest.update(split.packed.fingerprint())
            for file in split.files or ():
                digest.update(
                    f"{file.path.name}{file.name.rsplit('!', 1)[-1]}{file.size}".encode(errors="surrogateescape")
                )
        return digest.hexdigest()
