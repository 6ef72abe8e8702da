"""The images of a split behind one interface, wherever they lie. numpy and Pillow only.

A new kind of data is one class that implements `ImageSource`. `ArrayImages` and `FileImages` are here, and the images of a
pack are in `pack.py`. The rest of Podium calls the methods; three optional views (`pixels`, `files`, `flat`) let a caller
take a faster path where a source has one.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

from podium.data.decode import decode, decode_pixels
from podium.data.depth import WHITE, White
from podium.data.identity import file_keys, pixel_keys
from podium.data.image_file import ImageFile
from podium.data.names import show
from podium.data.opening import MAX_PIXELS, opened
from podium.data.sampling import by_content
from podium.data.starving import no_memory, out_of_memory, size_by_header
from podium.errors import MachineError

HEADERS = 256  # files at most, evenly apart, whose headers tell how large the images are

Progress = Callable[[int, int], None]  # called with (done, total)
Shrink = Callable[[int, int], int]  # from (width, height) to 1, 2, 4 or 8: how many times smaller a JPEG may be decoded


class ImageSource(ABC):
    """N images, numbered from 0.

    Attributes:
        pixels: (N, H, W, C) uint8, where the images are one array in memory; else None.
        files: N files, where each image is the bytes of one; else None.
        flat: (bytes,) uint8, where the RGB pixels of every image lie in one memory map, at `places`; else None.
        max_pixels: the largest width times height of an image that is opened.
    """

    pixels: np.ndarray | None = None
    files: tuple[ImageFile, ...] | None = None
    flat: np.ndarray | None = None
    max_pixels: int = MAX_PIXELS

    @abstractmethod
    def __len__(self) -> int:
        """The number of images."""

    @abstractmethod
    def image(self, index: int, channels: int) -> Image.Image:
        """Decode one image, upright.

        Args:
            index: its number.
            channels: 1 or 3.

        Returns:
            A loaded image of mode "L" or "RGB".

        Raises:
            DataError: it cannot be read or decoded.
        """

    def array(self, index: int, channels: int, shrink: Shrink | None = None) -> np.ndarray:
        """Decode one image to (H, W, C) uint8, as `image` does.

        Args:
            index: its number.
            channels: 1 or 3.
            shrink: lets a JPEG be decoded at a fraction of its size (see `decode`).
        """
        image = self.image(index, channels)
        return np.asarray(image).reshape(image.height, image.width, channels)

    def name(self, index: int) -> str:
        """The name by which a person knows an image."""
        return f"image {index}"

    @abstractmethod
    def select(self, rows: np.ndarray) -> Self:
        """The images of these numbers, (M,) int64, in this order."""

    def joined(self, other: Self) -> Self:
        """These images and then those of another split of the same data set."""
        raise NotImplementedError(f"{type(self).__name__} cannot be joined")

    def scaled(self, white: White) -> Self:
        """The same images, where `white` is the value of white in those of more than 8 bits a channel."""
        return self

    @abstractmethod
    def contents(self, progress: Progress | None = None) -> np.ndarray:
        """A key of each image's content, (N,) uint64: equal where two images are the same, wherever they lie.

        Args:
            progress: called with (files read, files to read) where files have to be read for it.

        Raises:
            DataError: a file cannot be read.
        """

    def fingerprint(self) -> bytes:
        """What identifies the images beside their `contents`; empty where that is all."""
        return b""

    @abstractmethod
    def fingerprint_before(self, source: Path, root: Path) -> bytes | memoryview:
        """What Podium 0.1.0 hashed of the images.

        Args:
            source: the data set's place.
            root: how its path may have been typed then.
        """

    @abstractmethod
    def content_order(self) -> list[int]:
        """The numbers of the images in an order that looks random and depends on the images alone, not on their places."""

    @abstractmethod
    def longest_side(self, limit: int) -> int:
        """The longest side of the images in pixels, or that of the first image found that exceeds `limit`.

        Of files, the headers of an evenly spaced sample are read; those that cannot be read count as 0.
        """

    def places(self, rows: list[int]) -> np.ndarray:
        """Where images lie in `flat`, (3, n) int64: first byte, height, width."""
        raise NotImplementedError(f"{type(self).__name__} has no memory map")


class ArrayImages(ImageSource):
    """Images of one size in memory.

    Args:
        pixels: (N, H, W, C) uint8.
    """

    pixels: np.ndarray

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def image(self, index: int, channels: int) -> Image.Image:  # noqa: D102
        return as_image(self.pixels[index], channels)

    def array(self, index: int, channels: int, shrink: Shrink | None = None) -> np.ndarray:  # noqa: D102
        return self.pixels[index] if self.pixels.shape[-1] == channels else super().array(index, channels, shrink)

    def select(self, rows: np.ndarray) -> Self:  # noqa: D102
        return type(self)(self.pixels[rows])

    def joined(self, other: Self) -> Self:  # noqa: D102
        return type(self)(np.concatenate([self.pixels, other.pixels]))

    def contents(self, progress: Progress | None = None) -> np.ndarray:  # noqa: D102
        return pixel_keys(self.pixels)

    def fingerprint_before(self, source: Path, root: Path) -> bytes | memoryview:  # noqa: D102
        return np.ascontiguousarray(self.pixels).data

    def content_order(self) -> list[int]:  # noqa: D102
        checksums = np.array([zlib.crc32(np.ascontiguousarray(image).data) for image in self.pixels], np.int64)
        return np.argsort(checksums, kind="stable").tolist()

    def longest_side(self, limit: int) -> int:  # noqa: D102
        return max(self.pixels.shape[1:3])


class FileImages(ImageSource):
    """Images that are decoded from their files when they are read.

    Args:
        files: one for each image.
        white: the value that is white in images of more than 8 bits a channel, or those that are black and white.
        max_pixels: the largest width times height of an image that is opened.
    """

    files: tuple[ImageFile, ...]

    def __init__(self, files: Iterable[ImageFile], white: White = WHITE, max_pixels: int = MAX_PIXELS) -> None:
        self.files, self.white, self.max_pixels = tuple(files), white, max_pixels

    def __len__(self) -> int:
        return len(self.files)

    def image(self, index: int, channels: int) -> Image.Image:  # noqa: D102
        file = self.files[index]
        return decode(file.read(), file.name, channels, None, self.white, self.max_pixels)

    def array(self, index: int, channels: int, shrink: Shrink | None = None) -> np.ndarray:  # noqa: D102
        file = self.files[index]
        return decode_pixels(file.read(), file.name, channels, shrink, self.white, self.max_pixels)

    def name(self, index: int) -> str:  # noqa: D102
        return self.files[index].name

    def select(self, rows: np.ndarray) -> Self:  # noqa: D102
        return type(self)((self.files[row] for row in rows), self.white, self.max_pixels)

    def joined(self, other: Self) -> Self:  # noqa: D102
        return type(self)((*self.files, *other.files), self.white, self.max_pixels)

    def scaled(self, white: White) -> Self:  # noqa: D102
        return self if white == self.white else type(self)(self.files, white, self.max_pixels)

    def contents(self, progress: Progress | None = None) -> np.ndarray:  # noqa: D102
        return file_keys(self.files, progress)

    def fingerprint(self) -> bytes:  # noqa: D102
        text = "".join(f"{file.below}\0{file.size}\n" for file in self.files)
        return text.encode(errors="surrogateescape")

    def fingerprint_before(self, source: Path, root: Path) -> bytes | memoryview:  # noqa: D102
        texts = []
        for file in self.files:
            inside = source in file.path.parents  # else in an archive, where the typed path did not count
            typed = show(root / file.path.relative_to(source)) if inside else file.name
            texts.append(f"{file.path.name}{typed.rsplit('!', 1)[-1]}{file.size}")
        return "".join(texts).encode(errors="surrogateescape")

    def content_order(self) -> list[int]:  # noqa: D102
        return by_content(self.files)

    def longest_side(self, limit: int) -> int:  # noqa: D102
        longest, count = 0, len(self.files)
        for row in np.unique(np.linspace(0, count - 1, min(HEADERS, count)).astype(int)):
            longest = max(longest, _side(self.files[row], self.max_pixels))
            if longest > limit:
                break
        return longest


def as_image(pixels: np.ndarray, channels: int) -> Image.Image:
    """(H, W, 1 or 3) uint8 as an image of mode "L" or "RGB"."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    return image.convert("L" if channels == 1 else "RGB")


def _side(file: ImageFile, max_pixels: int) -> int:
    """The longer side of an image, by its header; 0 where the header cannot be read, which decoding reports later."""
    data = b""
    try:
        data = file.read()
        return max(opened(data, file.name, max_pixels).size)
    except MachineError:
        raise
    except Exception as error:  # a damaged header can raise anything
        if out_of_memory(error, size_by_header(data, max_pixels)):
            raise no_memory(file.name) from None
        return 0
