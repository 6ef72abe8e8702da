"""The images of a request, decoded in threads: what each shows as the network sees it, or why it cannot be read."""

from __future__ import annotations

import asyncio
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from PIL import Image

from podium.data.formats import HEAD, recognised
from podium.data.metadata import JPEG, PNG, chunks
from podium.data.preprocessing import Preprocessing
from podium.data.readers import Readers
from podium.data.starving import size_by_header
from podium.errors import FormatNotRead, ImageError, ImageTooLarge, PodiumError
from podium.web.problems import Problem

MARKER = re.compile(rb"\xff[^\0\xd0-\xd7\xff]")  # of a JPEG, where something else than its pixels begins
SCAN, END = 0xDA, 0xD9
LARGE = 8_000_000  # pixels above which images are decoded one at a time: each takes some hundred megabytes
SCANS = 100  # of a progressive JPEG, which usually has ten: each goes over the whole image, and may take a few bytes of the file
SEGMENTS = 2000  # of a JPEG: Pillow copies its EXIF at each ...
EXIF, EXIFS = b"Exif\0\0", 64  # ... that has a part of it, of 64 kB
GAPS = 64 << 10  # bytes between the segments of a JPEG, which Pillow reads one by one
CHUNKS = 100_000  # of a PNG
# Of an image that Pillow decodes in Python, a second for each million pixels: plain Netpbm, that of unusual depth, BMP in runs
SLOW_PIXELS, SLOW_BYTES, COMMENTS = 2_000_000, 4 << 20, 100
SLOW_KINDS = {"BMP": "a BMP in runs", "PPM": "a Netpbm image of numbers as text, or of unusual depth"}
NETPBM = re.compile(rb"P[0-6fy]")


@dataclass(frozen=True)
class Picture:
    """An image that is decoded.

    Args:
        square: (S, S, C) uint8, in RGB.
        width, height: of the image, upright, in pixels.
    """

    square: np.ndarray
    width: int
    height: int


class Pictures:
    """Threads that decode images: several for usual ones, and one for large ones, so that these bound no memory but time.

    Args:
        threads: that decode usual images.
    """

    def __init__(self, threads: int) -> None:
        self.usual, self.large = Readers(threads), Readers(1)

    async def decode(self, files: Sequence[bytes], p: Preprocessing) -> list[Picture]:
        """Decode the images of a request.

        Args:
            files: the bytes of each.
            p: the network's preprocessing.

        Raises:
            Problem: the first that cannot be read, by its position.
        """
        names = ["the image"] if len(files) == 1 else [f"image {number + 1}" for number in range(len(files))]
        work = [self._one(data, name, p) for data, name in zip(files, names, strict=True)]
        return list(await asyncio.gather(*work))

    async def _one(self, data: bytes, name: str, p: Preprocessing) -> Picture:
        found = await asyncio.wrap_future(self.usual.submit(_decode, data, name, p, LARGE))
        if found is None:
            found = await asyncio.wrap_future(self.large.submit(_decode, data, name, p, math.inf))
        if isinstance(found, Problem):
            raise found
        if found is None:
            raise RuntimeError("an image larger than any")
        return found


def _decode(data: bytes, name: str, p: Preprocessing, most: float) -> Picture | Problem | None:
    """Decode one image; None where it has more than `most` pixels."""
    if (many := _too_many(data)) is not None:
        fix = "save it again as JPEG or PNG"
        return Problem(422, "image_unreadable", f"{name} is {many}", fix)
    width, height = size_by_header(data, p.max_pixels)
    if width * height > most or (
        most < math.inf and recognised(data[:HEAD]) == "DICOM"
    ):  # whose size is not in its head
        return None
    try:
        image = p.decode(data, name)
        return Picture(p.square(image), *image.size)
    except PodiumError as error:
        return problem_of(error, name)


def _too_many(data: bytes) -> str | None:
    """What a file has so much of that decoding it takes far longer than its pixels need; None of usual files."""
    if data.startswith(PNG):
        return f"a PNG of more than {CHUNKS} chunks" if any(islice(chunks(data), CHUNKS, None)) else None
    if not data.startswith(JPEG):
        return _too_slow(data)
    place, scans, gaps, parts = len(JPEG), 0, 0, 0
    for _ in range(SEGMENTS):
        found = MARKER.search(data, place)
        if found is None or data[found.end() - 1] == END:
            return None
        gaps += 0 if scans else found.start() - place
        scans += data[found.end() - 1] == SCAN
        parts += data.startswith(EXIF, found.end() + 2)
        if parts > EXIFS:
            return f"a JPEG whose EXIF has more than {EXIFS} parts"
        if scans > SCANS:
            return f"a JPEG of more than {SCANS} scans"
        if gaps > GAPS:
            return f"a JPEG with more than {GAPS} bytes between its segments"
        place = found.end() + max(2, int.from_bytes(data[found.end() : found.end() + 2], "big"))
    return f"a JPEG of more than {SEGMENTS} segments"


def _too_slow(data: bytes) -> str | None:
    """What an image is that Pillow's Python would decode for many seconds; None of all others."""
    kind = recognised(data[:HEAD])
    if NETPBM.match(data) and not kind:  # its head is read byte by byte
        return f"a Netpbm image whose size does not stand in its first {HEAD} bytes"
    if kind not in ("BMP", "Netpbm"):
        return None
    try:
        image = Image.open(io.BytesIO(data), formats=tuple(SLOW_KINDS))
    except Exception:  # decoders raise anything; the refusal of a damaged image is made where it is decoded
        return None
    if not any(tile.codec_name in Image.DECODERS for tile in image.tile):
        return None
    what = SLOW_KINDS[image.format or ""]
    if image.width * image.height > SLOW_PIXELS or len(data) > SLOW_BYTES:
        return f"{what}, and has more than {SLOW_PIXELS / 1e6:g} million pixels or {SLOW_BYTES >> 20} MiB"
    if image.format == "PPM" and data[:2] in (b"P1", b"P2", b"P3") and data.count(b"#") > COMMENTS:
        return f"{what}, and has more than {COMMENTS} comments"
    return None


def problem_of(error: PodiumError, name: str) -> Problem:
    """The answer to an image that cannot be read.

    A decoder's own words stay out of it, as they may quote the file.

    Args:
        error: of decoding.
        name: the position of the image.
    """
    what = error.what.partition(" (")[0]
    if isinstance(error, ImageTooLarge):
        return Problem(413, "image_too_large", what, "scale it down")
    if isinstance(error, FormatNotRead):
        return Problem(415, "format_not_supported", what, "save it as JPEG or PNG")
    if isinstance(error, ImageError):
        fix = "open it in another program and save it again as JPEG or PNG"
        return Problem(422, "image_unreadable", f"{name} is empty, damaged or cut short", fix)
    return Problem(
        503, "no_memory", f"no memory was left to decode {name}", "send it again later", {"Retry-After": "5"}
    )
