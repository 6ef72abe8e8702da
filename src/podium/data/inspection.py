"""Inspecting one image: what is wrong with its file, the digest of its content, and the grey image that its look is measured on."""

from __future__ import annotations

import contextlib
import hashlib
import io
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from podium.data.check_report import Problem
from podium.data.decode import JPEGS, decode_pixels, reduction
from podium.data.depth import White
from podium.data.formats import FORMATS, HEAD, PILLOW, recognised
from podium.data.image_file import ImageFile
from podium.data.images import ImageSource
from podium.data.looks import SMALLEST_GREY, grey_of, spare
from podium.data.metadata import blocks, orientation, without_metadata
from podium.data.names import EXTENSIONS, suffix
from podium.data.opening import MAX_PIXELS, frames, opened
from podium.errors import DataError, ImageTooLarge


@dataclass(frozen=True)
class Inspected:
    """What was found out about one image.

    Args:
        problem: of its file; None where it is sound.
        digest: SHA-256 of its content; None where that could not be read.
        grey: the image that its look is measured on; None where it could not be decoded, or is very small.
        size: (width, height) of the image in pixels.
        decoded: whether it could be decoded.
        format: of the file, by its content; empty for pixels.
        frames: how many images, pages or frames are in the file.
        pixels: SHA-256 of the pixels of a file whose image is too small for `grey`; None for others.
    """

    problem: Problem | None
    digest: bytes | None = None
    grey: Image.Image | None = None
    size: tuple[int, int] = (0, 0)
    decoded: bool = False
    format: str = ""
    frames: int = 1
    pixels: bytes | None = None


def inspect_file(file: ImageFile, white: White, max_pixels: int = MAX_PIXELS) -> Inspected:
    """Read and decode one image file.

    Args:
        file: of the image.
        white: the value that is white in images of more than 8 bits a channel.
        max_pixels: the largest width times height of an image that is opened.
    """
    try:
        content = file.read()
    except DataError as error:
        return Inspected(Problem("unreadable", file.name, error.what))
    if not content:
        return Inspected(Problem("zero-byte", file.name, "an empty file"))
    digest, kind, sizes = hashlib.sha256(content).digest(), recognised(content[:HEAD]), list[tuple[int, int]]()

    def shrink(width: int, height: int) -> int:
        sizes.append((width, height))
        return reduction(spare(width, height))

    try:
        pixels = decode_pixels(content, file.name, 1, shrink, white, max_pixels, luma=True)
        size = sizes[-1] if sizes else (pixels.shape[1], pixels.shape[0])  # only JPEGs are decoded smaller
        if min(size) < SMALLEST_GREY:  # whether it is grey decides there
            pixels = decode_pixels(content, file.name, 3, None, white, max_pixels)
    except DataError as error:
        return Inspected(_refused(file, error), digest, format=kind or "unknown")
    count = 1
    with contextlib.suppress(Exception):  # metadata that other programs refuse, which decoding passes over
        count = frames(opened(content, file.name, max_pixels)) if kind not in ("JPEG", "BMP", "Netpbm") else 1
    grey, odd = grey_of(pixels, size), _odd(file, content, kind)
    exact = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest() if grey is None else None
    return Inspected(odd, digest, grey, size, True, kind or "unknown", count, exact)


def inspect_array(images: ImageSource, index: int, channels: int, where: str) -> Inspected:
    """Read one image that is stored as pixels.

    Args:
        images: the source of the image.
        index: its number there.
        channels: 1 or 3.
        where: its name in messages.
    """
    try:
        pixels = images.array(index, channels)
    except DataError as error:
        return Inspected(Problem("unreadable", where, error.what))
    size = (pixels.shape[1], pixels.shape[0])
    return Inspected(None, hashlib.sha256(pixels.tobytes()).digest(), grey_of(pixels, size), size, True)


def _refused(file: ImageFile, error: DataError) -> Problem:
    what = error.what.removeprefix(f"{file.name}: ")
    if what.startswith("truncated"):
        return Problem("truncated", file.name, what)
    return Problem("too-large" if isinstance(error, ImageTooLarge) else "unreadable", file.name, what)


def _odd(file: ImageFile, content: bytes, kind: str) -> Problem | None:
    """What is odd about a file that can be decoded; None where nothing is."""
    ending = suffix((file.below or file.path.name).rsplit("/", 1)[-1])
    if kind in FORMATS and ending in EXTENSIONS and ending not in FORMATS[kind].endings:
        return Problem("extension-lies", file.name, f"its content is {kind}; it is read by content")
    if fault := damaged_metadata(content):
        return Problem("metadata", file.name, f"{fault}; its pixels are read")
    return None


def damaged_metadata(data: bytes) -> str:
    """What other programs will refuse in the metadata of an image that Podium decodes; empty where there is nothing.

    Args:
        data: the bytes of an image file.
    """
    if without_metadata(data) is None:
        return ""
    try:
        image = Image.open(io.BytesIO(data), formats=PILLOW)
        if image.format not in JPEGS:
            image.load()  # a PNG may have metadata behind its pixels
        exif = image.getexif()
        if orientation(data) > 1:
            exif.tobytes()  # as Pillow's `exif_transpose` calls it
    except MemoryError:
        raise
    except Exception as error:  # metadata consists of offsets, counts and types, all of which may be wrong
        if "MAX_TEXT" not in str(error):  # Pillow's limit; long text is no fault
            kind = "EXIF" if blocks(data)[0] else "text or a colour profile"
            # Pillow's "cannot identify image file" names the buffer in memory, which says nothing to a person.
            why = "" if isinstance(error, UnidentifiedImageError) else f": {error}"
            return f"its {kind} cannot be parsed ({' '.join(f'{type(error).__name__}{why}'.split())})"
    return ""
