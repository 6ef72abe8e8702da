"""Telling a lack of memory from a damaged image: only the second may be left out, and some decoders report both alike."""

from __future__ import annotations

import errno
import functools
import io
import math
import re
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from PIL import Image

from podium.data.formats import PILLOW
from podium.errors import STARVED, MachineError

BYTES = 24  # a pixel, that the decoder in most need of memory takes (JPEG 2000 in colour with transparency), or DICOM's window
HEIF_SIZE = re.compile(rb"ispe\0\0\0\0(.{4})(.{4})", re.DOTALL)

Decoder = TypeVar("Decoder", bound=Callable[..., Any])


def starving(decoder: Decoder) -> Decoder:
    """Decorate a function of (bytes, name, ...): running out of memory is the machine's fault, not the image's.

    Raises:
        MachineError: instead of a MemoryError; names the image.
    """

    @functools.wraps(decoder)
    def named(data: bytes, name: str, *more: Any, **how: Any) -> Any:
        try:
            return decoder(data, name, *more, **how)
        except MemoryError:
            raise no_memory(name) from None

    return cast(Decoder, named)


def no_memory(name: str) -> MachineError:
    """The error for an image that there was no memory to decode."""
    return MachineError(f"{name}: no memory was left to decode it", STARVED)


def out_of_memory(error: BaseException, size: tuple[int, int] = (0, 0)) -> bool:
    """Whether a decoder's error comes from a lack of memory.

    Pillow, libjpeg and libheif may report it in words only. libwebp, OpenJPEG and progressive JPEGs report a damaged image,
    so memory for an image of this size is tried.

    Args:
        error: of the decoder.
        size: (width, height) of the image; (0, 0) where it is not known.
    """
    # The limits of Pillow on texts, and of libheif on everything, are no lack of memory.
    said = re.search(r"\bmemory\b(?!.*(MAX_TEXT|limit|Invalid))", str(error), re.IGNORECASE) is not None
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM or said:
        return True
    try:
        np.empty(BYTES * size[0] * size[1], np.uint8)
    except MemoryError:
        return True
    return False


def size_by_header(data: bytes, max_pixels: int) -> tuple[int, int]:
    """The size that an image file says, without the decoders that need memory to open it.

    Args:
        data: the file's bytes.
        max_pixels: the largest width times height that is opened.

    Returns:
        (width, height); (0, 0) where it says none, or a larger one.
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        size = _webp_size(data)
    elif sizes := stored_sizes(data):
        size = max(sizes, key=math.prod)
    else:
        try:
            size = Image.open(io.BytesIO(data), formats=PILLOW).size
        except Exception:  # decoders raise anything
            return 0, 0
    return size if size[0] * size[1] <= max_pixels else (0, 0)


def stored_sizes(data: bytes) -> list[tuple[int, int]]:
    """The sizes of all images in a HEIC or AVIF file, before they are cropped, and of the parts that they are stored in."""
    if data[4:8] != b"ftyp":
        return []
    pairs = HEIF_SIZE.findall(data)
    return [(int.from_bytes(width, "big"), int.from_bytes(height, "big")) for width, height in pairs]


def _webp_size(data: bytes) -> tuple[int, int]:
    """The size in the first chunk of a WebP, by its container specification and RFC 6386 and 9649."""
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + bits % 2**14, 1 + (bits >> 14) % 2**14
    return int.from_bytes(data[26:28], "little") % 2**14, int.from_bytes(data[28:30], "little") % 2**14
