"""Images with labels, split by split, over one class list. numpy only."""

from __future__ import annotations

import errno
import hashlib
import os
import stat as kinds
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from podium.data.decode import STARVED, decode, decode_pixels
from podium.data.depth import WHITE, find_white
from podium.data.identity import file_keys, pixel_keys
from podium.errors import DataError, MachineError
from podium.platform import read_at

if TYPE_CHECKING:
    from podium.data.mirror import Mirroring
    from podium.data.pack import Packed

SPLITS = ("train", "val", "test")
STARVING = (errno.ENOMEM, errno.EMFILE, errno.ENFILE)  # what says nothing of the file: too little memory, too many open
SPECIAL = {
    kinds.S_IFIFO: "a named pipe",
    kinds.S_IFSOCK: "a socket",
    kinds.S_IFCHR: "a device",
    kinds.S_IFBLK: "a device",
}


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
        key: of its content (`identity.content_key`), where an index says it.
    """

    path: Path
    name: str
    offset: int
    size: int
    mtime_ns: int
    content: bytes | None = None
    below: str = ""
    key: int | None = None

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
        if kind := SPECIAL.get(kinds.S_IFMT(stat.st_mode)):
            raise DataError(f"{name}: {kind}, not a file", "give image files")
        return cls(path, name, 0, stat.st_size, stat.st_mtime_ns)

    def read(self) -> bytes:
        """The image's bytes.

        Raises:
            DataError: the file is gone, unreadable, or not the one that was indexed.
            MachineError: there is no memory, or too many files are open.
        """
        if self.content is not None:
            return self.content
        try:
            with open(self.path, "rb", opener=_at_once) as file:
                stat = os.fstat(file.fileno())
                if stat.st_mtime_ns != self.mtime_ns or stat.st_size < self.offset + self.size:
                    raise DataError(f"{self.name}: changed since the data set was read", "start again")
                return read_at(file, self.size, self.offset)
        except OSError as error:
            what = f"{self.name}: cannot be read ({error.strerror})"
            if error.errno in STARVING:
                raise MachineError(what, STARVED) from None
            raise DataError(what, "check the file and its permissions") from None


def _at_once(path: str, flags: int) -> int:
    """Open a file without waiting for another process, as a named pipe would that has come into its place."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def show(path: Path | str) -> str:
    """A path for a message: one that is not UTF-8, or has control characters, as Python writes it."""
    text = str(path)
    return text if text.isprintable() and text.encode(errors="replace").decode() == text else repr(text)


def is_text(name: object) -> bool:
    """Whether a name can be written as UTF-8, as cards and reports are."""
    return isinstance(name, str) and name.encode(errors="replace").decode() == name


@dataclass
class Split:
    """The images of one split: pixels in memory, files, or a part of a pack.

    Args:
        labels: (N,) int64, over the data set's classes.
        pixels: (N, H, W, C) uint8, or None.
        files: N of them, or None.
        packed: N of them, or None.
        keys: (N,) uint64, of the content of each as it is stored; None until `contents` is asked.
        white: the value that is white in files of more than 8 bits a channel.
    """

    labels: np.ndarray
    pixels: np.ndarray | None = None
    files: tuple[ImageFile, ...] | None = None
    packed: Packed | None = None
    keys: np.ndarray | None = None
    white: int = WHITE

    def __len__(self) -> int:
        return len(self.labels)

    def contents(self, progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        """A key of the content of each image, (N,) uint64: equal where two are the same, wherever they lie.

        Args:
            progress: called with (files read, files to read) where files have to be read for it.

        Raises:
            DataError: a file cannot be read.
        """
        if self.keys is None:
            if self.files is not None:
                self.keys = file_keys(self.files, progress)
            elif self.pixels is not None:
                self.keys = pixel_keys(self.pixels)
            elif self.packed is not None:
                self.keys = self.packed.contents()
            else:
                raise DataError("a split without images", "give pixels, files or a pack")
        return self.keys

    def name_of(self, index: int) -> str:
        """What a person knows an image by: its file's name, or its number."""
        return self.files[index].name if self.files is not None else f"image {index}"

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
            self.keys[chosen] if self.keys is not None else None,
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
        held_out: share and seed, where Podium has chosen which images validate.
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
    held_out: dict[str, Any] | None = None
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
        """SHA-256 of what the data set is: classes, splits, labels, and each image's name below the root, size and content.

        Where it lies and how its path is typed does not count.
        """
        digest = hashlib.sha256(repr(self.classes).encode(errors="surrogateescape"))
        for name, split in self.splits.items():
            digest.update(name.encode() + np.ascontiguousarray(split.labels, np.int64).tobytes())
            digest.update(split.contents().tobytes())
            if split.packed is not None:
                digest.update(split.packed.fingerprint())
            for file in split.files or ():
                digest.update(f"{file.below}\0{file.size}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def is_what(self, fingerprint: str) -> bool:
        """Whether a fingerprint on record is of these images, or was before fingerprints went by content."""
        return fingerprint == self.fingerprint() or fingerprint in fingerprints_before(self)


def fingerprints_before(data: Dataset) -> Iterator[str]:
    """What Podium 0.1.0 took for the fingerprint: of files it hashed the path as it was typed, of which the likely ones are tried."""
    place = Path(os.path.abspath(data.source or "."))
    ends = [Path(*place.parts[-count:]) for count in range(1, len(place.parts))]  # photos, data/photos, ...
    roots = [Path(data.source), place, *ends, *(Path(*[".."] * up, end) for up in (1, 2, 3) for end in ends)]
    for root in dict.fromkeys(roots) if any(split.files for split in data.splits.values()) else roots[:1]:
        digest = hashlib.sha256(repr(data.classes).encode(errors="surrogateescape"))
        for name, split in data.splits.items():
            digest.update(name.encode() + np.ascontiguousarray(split.labels).tobytes())
            if split.pixels is not None:
                digest.update(np.ascontiguousarray(split.pixels).data)
            if split.packed is not None:
                digest.update(split.packed.fingerprint())
            for file in split.files or ():
                inside = (
                    Path(data.source) in file.path.parents
                )  # else in an archive, where the typed path did not count
                typed = show(root / file.path.relative_to(data.source)) if inside else file.name
                text = f"{file.path.name}{typed.rsplit('!', 1)[-1]}{file.size}"
                digest.update(text.encode(errors="surrogateescape"))
        yield digest.hexdigest()
