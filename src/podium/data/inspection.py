"""Inspecting one image: what is wrong with its file, the digest of its content, and what it looks like."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from podium.data.check_report import Problem
from podium.data.decode import FORMATS, JPEGS, MAX_PIXELS, decode_pixels
from podium.data.image_file import ImageFile
from podium.data.images import ImageSource
from podium.data.looks import Look, look, reduction
from podium.data.metadata import blocks, orientation, without_metadata
from podium.data.names import suffix
from podium.errors import DataError

SIGNATURES = {
    b"\xff\xd8\xff": ("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg")),
    b"\x89PNG": ("PNG", (".png",)),
    b"RIFF": ("WEBP", (".webp",)),
    b"BM": ("BMP", (".bmp",)),
    b"GIF8": ("GIF", (".gif",)),
}


@dataclass(frozen=True)
class Inspected:
    """What was found out about one image.

    Args:
        problem: of its file; None where it is sound.
        digest: SHA-256 of its content; None where that could not be read.
        look: what it looks like; None where it could not be decoded, or is very small.
        decoded: whether it could be decoded.
    """

    problem: Problem | None
    digest: bytes | None = None
    look: Look | None = None
    decoded: bool = False


def inspect_file(file: ImageFile, white: int) -> Inspected:
    """Read and decode one image file.

    Args:
        file: of the image.
        white: the value that is white in images of more than 8 bits a channel.
    """
    try:
        content = file.read()
    except DataError as error:
        return Inspected(Problem("unreadable", file.name, error.what))
    if not content:
        return Inspected(Problem("zero-byte", file.name, "an empty file"))
    digest, sizes = hashlib.sha256(content).digest(), list[tuple[int, int]]()

    def shrink(width: int, height: int) -> int:
        sizes.append((width, height))
        return reduction(width, height)

    try:
        pixels = decode_pixels(content, file.name, 3, shrink, white)
    except DataError as error:
        return Inspected(_refused(file, error), digest)
    size = sizes[-1] if sizes else (pixels.shape[1], pixels.shape[0])  # only JPEGs are decoded smaller
    return Inspected(_odd(file, content), digest, look(pixels, size), True)


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
    height, width = pixels.shape[:2]
    return Inspected(None, hashlib.sha256(pixels.tobytes()).digest(), look(pixels, (width, height)), True)


def _refused(file: ImageFile, error: DataError) -> Problem:
    what = error.what.removeprefix(f"{file.name}: ")
    if what.startswith("truncated"):
        return Problem("truncated", file.name, what)
    return Problem("too-large" if f"{MAX_PIXELS // 10**6} million" in what else "unreadable", file.name, what)


def _odd(file: ImageFile, content: bytes) -> Problem | None:
    """What is odd about a file that can be decoded; None where nothing is."""
    ending = suffix((file.below or file.path.name).rsplit("/", 1)[-1])
    for signature, (kind, endings) in SIGNATURES.items():
        if content.startswith(signature) and ending not in endings:
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
        image = Image.open(io.BytesIO(data), formats=FORMATS)
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
