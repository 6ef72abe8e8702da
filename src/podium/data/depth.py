"""Images of more than 8 bits a channel: which value is white in a data set, and how values become 8 bits. Without torch.

A 12-bit camera writes values up to 4,095 into 16-bit files; scaled by 65,535 they would all be nearly black. So the largest
value is searched for once, in the training images, and the value of white is a part of a network's preprocessing.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from podium.data.readers import Readers
from podium.data.sampling import by_content
from podium.errors import DataError

if TYPE_CHECKING:
    from podium.data.image_file import ImageFile

WHITE = 65535  # of 16 bits
MOST_PIXELS = 50_000_000  # the limit of `decode` holds here too
IMAGES, BYTES = 512, 256 << 20  # the sample's limits
JPEGS, FEW = (".jpg", ".jpeg"), 32  # JPEGs have 8 bits: this many are sampled where there are no others
OTHER_BYTE = {
    "RGB;16B": "RGB;16L",
    "RGBA;16B": "RGBA;16L",
    "LA;16B": "RGBA",
}  # raw modes by which Pillow reads the low bytes


def scaled(values: np.ndarray, white: int) -> np.ndarray:
    """Values from 0 to `white` as uint8, rounded; larger ones are white."""
    wide = np.clip(values.astype(np.int64), 0, white)
    return np.asarray((wide * 255 + white // 2) // white, np.uint8)


def raw_mode(image: Image.Image) -> str:
    """Pillow's name for the layout of the pixels in a file; available only before the image is loaded."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0].args if tiles else ""
    first = arguments if isinstance(arguments, str) else (arguments or ("",))[0]
    return first if isinstance(first, str) else ""


def deep_colour(data: bytes, image: Image.Image, mode: str) -> np.ndarray | None:
    """All 16 bits of a colour PNG, of which Pillow keeps the upper 8.

    Args:
        data: the file.
        image: loaded from it.
        mode: its `raw_mode`.

    Returns:
        (H, W, C) int64 without transparency; None if it is another kind of image.
    """
    if image.format != "PNG" or mode not in OTHER_BYTE:
        return None
    again = Image.open(io.BytesIO(data), formats=("PNG",))
    again.tile = [tile._replace(args=OTHER_BYTE[mode]) for tile in again.tile]
    again.load()
    low = np.asarray(again).astype(np.int64)
    if mode == "LA;16B":  # read as four bytes: both of grey, both of transparency
        return np.repeat((low[..., :1] << 8) | low[..., 1:2], 3, axis=2)
    return (np.asarray(image).astype(np.int64)[..., :3] << 8) | low[..., :3]


def largest_value(data: bytes) -> int | None:
    """The largest value of an image of more than 8 bits a channel; None where it has 8, or cannot be read."""
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG",))  # of the formats that are read the only one with more
        if image.width * image.height > MOST_PIXELS:  # `decode` refuses it
            return None
        mode = raw_mode(image)
        if not image.mode.startswith("I") and mode not in OTHER_BYTE:
            return None
        image.load()
        values = np.asarray(image) if image.mode.startswith("I") else deep_colour(data, image, mode)
        return None if values is None else max(0, int(values.max()))
    except MemoryError:
        raise
    except Exception:  # decoders raise anything; a damaged image is reported when it is used
        return None


def find_white(files: Sequence[ImageFile]) -> tuple[int, str | None]:
    """Find the value that is white in image files, from a sample of them: the largest value that the bits in use can hold.

    Returns:
        The value, 65,535 where nothing else is found; and a note about it where it differs from that.
    """
    others = [file for file in files if not file.name.lower().endswith(JPEGS)]
    looked = others or list(files)
    size = max(1, sum(file.size for file in looked) // max(1, len(looked)))
    count = min(IMAGES if others else FEW, max(FEW, BYTES // size))
    chosen = [looked[i] for i in by_content(looked)[:count]]
    with Readers(2) as pool:
        found = [value for value in pool.map(_largest, chosen) if value is not None]
    most = max(found, default=0)
    bits = most.bit_length()
    if most == 0 or bits == 16:
        return WHITE, None
    white = 2**bits - 1
    stored = "16-bit" if bits < 16 else "32-bit"
    return white, f"note: {stored} images that use {bits} bits (largest value {most:,}): scaled by {white:,}"


def _largest(file: ImageFile) -> int | None:
    try:
        return largest_value(file.read())
    except DataError:
        return None
