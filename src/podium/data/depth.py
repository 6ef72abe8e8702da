"""Images of more than 8 bits a channel: which value is white in a data set, and how values become 8 bits. Without torch.

A 12-bit camera writes values up to 4,095 into 16-bit files; scaled by 65,535 they would all be nearly black. So the range of
values is searched for once, in the training images, and the value of white is a part of a network's preprocessing. Where
values are fractions or below zero, the value of black is found too.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from podium.data.opening import MAX_PIXELS, frames, opened
from podium.data.readers import Readers
from podium.data.sampling import by_content
from podium.data.starving import no_memory, out_of_memory, size_by_header
from podium.errors import DataError, MachineError

if TYPE_CHECKING:
    from podium.data.image_file import ImageFile

# The value of white; or, where values are fractions or below zero, those of black and white.
White = int | tuple[float, float]

WHITE = 65535  # of 16 bits
ANY = (0.0, 1.0)  # where an image is decoded only to see whether that is possible
IMAGES, BYTES = 512, 256 << 20  # the sample's limits
JPEGS, FEW = (".jpg", ".jpeg"), 32  # JPEGs have 8 bits: this many are sampled where there are no others
SPARE = 1.01  # fractions may exceed a round value so much, and are white then
FLAT = 0.1  # of the range: where nearly all values lie in so little of it, the images look almost of one grey
INNER, DRAWN = (0.001, 0.999), 100_000  # the quantiles that "nearly all" means, of at most so many values of an image
SAMPLE_FORMAT, NODATA = 339, 42113  # tags of TIFF: the sign of values; GDAL's value of pixels that have none, as text
# Raw modes of two bytes a value -> that by which Pillow reads the other byte, of which it keeps the upper one.
OTHER_BYTE = {
    "LA;16B": "RGBA",
    **{f"{mode};16B": f"{mode};16L" for mode in ("RGB", "RGBA", "RGBX", "CMYK")},
    **{f"{mode};16L": f"{mode};16B" for mode in ("RGB", "RGBA", "RGBX", "CMYK")},
    **{f"{mode};16N": f"{mode};16{'B' if np.little_endian else 'L'}" for mode in ("RGB", "RGBA", "RGBX", "CMYK")},
}


@dataclass(frozen=True)
class Depth:
    """What a sample of images showed of their values.

    Args:
        white: the value of white in images of more than 8 bits a channel, or the values of black and white.
        note: on `white`, where it is not that of 16 bits.
        several: a note on files of several images, of which the first is used.
        flat: a note where nearly all values lie in a small part of the range.
    """

    white: White = WHITE
    note: str | None = None
    several: str | None = None
    flat: str | None = None


@dataclass(frozen=True)
class _Values:
    """The values of one image: the least and the largest, of those that are finite; the bounds of nearly all; its number of frames."""

    low: float = 0
    high: float = 0
    inner: tuple[float, float] = (0, 0)
    deep: bool = False
    fractions: bool = False
    units: bool = False  # of DICOM, whose files may say the same unit in whole numbers and in fractions
    frames: int = 1


def is_white(value: Any) -> bool:
    """Whether a value of a card can be that of `White`."""
    if isinstance(value, tuple | list):
        numbers = len(value) == 2 and all(isinstance(v, int | float) and math.isfinite(v) for v in value)
        return numbers and value[0] < value[1]
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**32


def as_white(value: Any) -> White:
    """The value of white as a card has it.

    Raises:
        ValueError: it is none.
    """
    if not is_white(value):
        raise ValueError(f"white: {value!r}")
    return (float(value[0]), float(value[1])) if isinstance(value, tuple | list) else value


def scaled(values: np.ndarray, white: White) -> np.ndarray:
    """Values from black (0) to `white` as uint8, rounded; larger ones are white, smaller ones and those that are no number black."""
    if isinstance(white, tuple):
        black, top = white
        unit = (np.nan_to_num(values.astype(np.float64), nan=black, posinf=top, neginf=black) - black) / (top - black)
        return np.asarray(np.floor(np.clip(unit, 0, 1) * 255 + 0.5), np.uint8)
    wide = np.clip(values.astype(np.int64), 0, white)
    return np.asarray((wide * 255 + white // 2) // white, np.uint8)


def raw_mode(image: Image.Image) -> str:
    """Pillow's name for the layout of the pixels in a file; available only before the image is loaded."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0].args if tiles else ""
    first = arguments if isinstance(arguments, str) else (arguments or ("",))[0]
    return first if isinstance(first, str) else ""


def is_deep(image: Image.Image) -> bool:
    """Whether an image of Pillow's has more than 8 bits a channel, all of which Pillow keeps."""
    return image.mode == "F" or image.mode.startswith("I")


def deep_values(image: Image.Image) -> np.ndarray:
    """The values of a loaded image that `is_deep`; 32 bits without a sign as they are, which Pillow gives a sign."""
    values, tags = np.asarray(image), getattr(image, "tag_v2", {})
    return values.view(np.uint32) if tags and image.mode == "I" and 2 not in tags.get(SAMPLE_FORMAT, (1,)) else values


def names_no_value(image: Image.Image) -> bool:
    """Whether a TIFF has GDAL's tag for the value of pixels that have none."""
    return NODATA in getattr(image, "tag_v2", {})


def without_value(image: Image.Image, values: np.ndarray) -> np.ndarray | None:
    """Where a file says that pixels have no value, as (H, W) bool; None where it names no such value.

    Args:
        image: a loaded image of more than 8 bits a channel. DICOM's padding is in its `info`, GDAL's "nodata" a tag of its TIFF.
        values: those of the image, (H, W) or (H, W, C). A colour has no value where none of its channels has one.
    """
    if isinstance(padding := image.info.get("padding"), np.ndarray):
        return padding
    try:
        said = float(str(getattr(image, "tag_v2", {})[NODATA]).strip("\0 "))
    except (KeyError, ValueError):
        return None
    rounding = 1e-5 if values.dtype.kind == "f" else 0  # the text has fewer digits than the value
    where = np.asarray(np.isclose(values.astype(np.float64), said, rtol=rounding, atol=0))
    return where if where.ndim == 2 else np.asarray(where.all(2))


def deep_colour(data: bytes, image: Image.Image, mode: str) -> np.ndarray | None:
    """All 16 bits of a colour image, of which Pillow keeps the upper 8.

    Args:
        data: the file.
        image: loaded from it.
        mode: its `raw_mode`.

    Returns:
        (H, W, C) int64 without transparency; None if it is another kind of image.
    """
    if image.format == "PPM":
        return _netpbm_colour(data, image)
    if image.format not in ("PNG", "TIFF") or mode not in OTHER_BYTE:
        return None
    again = Image.open(io.BytesIO(data), formats=(image.format,))
    again.tile = [tile._replace(args=_other(tile.args, mode)) for tile in again.tile]
    again.load()
    low = np.asarray(again).astype(np.int64)
    if mode == "LA;16B":  # read as four bytes: both of grey, both of transparency
        return np.repeat((low[..., :1] << 8) | low[..., 1:2], 3, axis=2)
    colours = 4 if image.mode == "CMYK" else 3
    return (np.asarray(image).astype(np.int64)[..., :colours] << 8) | low[..., :colours]


def _other(arguments: Any, mode: str) -> Any:
    return OTHER_BYTE[mode] if isinstance(arguments, str) else (OTHER_BYTE[mode], *arguments[1:])


def _netpbm_colour(data: bytes, image: Image.Image) -> np.ndarray | None:
    """The values of a binary PPM of more than 8 bits, scaled to 16 by the largest value that its header says."""
    tile: Any = Image.open(io.BytesIO(data), formats=("PPM",)).tile[0]
    most = int(tile.args[1]) if tile.codec_name == "ppm" else 255
    if image.mode != "RGB" or most <= 255:
        return None
    values = np.frombuffer(data, ">u2", image.width * image.height * 3, tile.offset).astype(np.int64)
    return ((values * WHITE + most // 2) // most).reshape(image.height, image.width, 3)


def _values(file: ImageFile, max_pixels: int) -> _Values | None:
    """The values of an image; None where it cannot be read, which is reported when it is used."""
    data = b""
    try:
        data = file.read()
        image = opened(data, file.name, max_pixels)
        count, mode = frames(opened(data, file.name, max_pixels)), raw_mode(image)  # counting moves on to another page
        if not is_deep(image) and mode not in OTHER_BYTE and image.format != "PPM":
            return _Values(frames=count)
        image.load()
        values = deep_values(image) if is_deep(image) else deep_colour(data, image, mode)
        if values is None:
            return _Values(frames=count)
        fractions = image.mode == "F"
        if (gone := without_value(image, values)) is not None:
            values = values[~gone]
        kept = values[np.isfinite(values)] if fractions else values
        low, high = (float(kept.min()), float(kept.max())) if kept.size else (0.0, 0.0)
        return _Values(low, high, _inner(kept, low, high), True, fractions, image.format == "DICOM", count)
    except MachineError:
        raise
    except Exception as error:  # decoders raise anything; a damaged image is reported when it is used
        if out_of_memory(error, size_by_header(data, max_pixels)):
            raise no_memory(file.name) from None
        return None


def _inner(values: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """The bounds of nearly all values of an image without its least and its largest, which may be special ones."""
    some = values.reshape(-1)
    if some.size > DRAWN:
        some = some[np.random.default_rng(0).integers(0, some.size, DRAWN)]
    between = some[(some > low) & (some < high)]
    if between.size < some.size * FLAT:
        return low, high
    least, most = np.quantile(between, INNER)
    return float(least), float(most)


def look_at(files: Sequence[ImageFile], max_pixels: int = MAX_PIXELS) -> Depth:
    """Find the value that is white in image files, from a sample of them: the largest that the bits in use can hold.

    Args:
        files: the training images.
        max_pixels: the largest size that is opened.

    Raises:
        DataError: the images are of whole numbers and of fractions in different ranges.
    """
    others = [file for file in files if not file.name.lower().endswith(JPEGS)]
    looked = others or list(files)
    size = max(1, sum(file.size for file in looked) // max(1, len(looked)))
    count = min(IMAGES if others else FEW, max(FEW, BYTES // size))
    chosen = [looked[i] for i in by_content(looked)[:count]]
    with Readers(2) as pool:
        found = [each for each in pool.map(_values, chosen, [max_pixels] * len(chosen)) if each is not None]
    more = sum(each.frames > 1 for each in found)
    several = (
        f"note: {more} of the {len(found)} files looked at hold several images, pages or frames: the first is used"
        if more
        else None
    )
    deep = [each for each in found if each.deep]
    white, note = _white(deep)
    return Depth(white, note, several, _flat(deep, white))


def find_white(files: Sequence[ImageFile]) -> tuple[White, str | None]:
    """Find the value that is white in image files, and a note where it is not 65,535; see `look_at`."""
    found = look_at(files)
    return found.white, found.note


def _white(found: list[_Values]) -> tuple[White, str | None]:
    low, high = min((each.low for each in found), default=0), max((each.high for each in found), default=0)
    units = any(each.fractions and each.units for each in found)  # a slice of whole numbers has the unit of the others
    fractions = [each for each in found if each.fractions or (each.units and units)]
    if low >= 0 and not fractions:
        bits = int(high).bit_length()
        if bits in (0, 16):
            return WHITE, None
        stored = "16-bit" if bits < 16 else "32-bit"
        white = 2**bits - 1
        return white, f"note: {stored} images that use {bits} bits (largest value {int(high):,}): scaled by {white:,}"
    if (low, high) == (0, 0):
        return ANY, None
    black, top = -_round_up(-low) if low < 0 else 0.0, _round_up(high) if high > 0 else 0.0
    whole = [each for each in found if each not in fractions]
    if fractions and whole and _round_up(max(e.high for e in whole)) != _round_up(max(e.high for e in fractions)):
        most = max(each.high for each in whole), max(each.high for each in fractions)
        what = f"images of whole numbers up to {most[0]:,.0f} and of fractions up to {most[1]:,.6g} in one data set"
        raise DataError(what, "save all of them with values of one range")
    kind = "images of fractions" if fractions else "images of signed values"
    range_ = f"from {low:,.6g} to {high:,.6g}"
    return (black, top), f"note: {kind} ({range_}): {black:,.6g} is black and {top:,.6g} white"


def _flat(found: list[_Values], white: White) -> str | None:
    """A note where nearly all values of the images become few of the 256 grey levels."""
    black, top = white if isinstance(white, tuple) else (0, white)
    low, high = min((each.inner[0] for each in found), default=0), max((each.inner[1] for each in found), default=0)
    if low == high or high - low > FLAT * (top - black):
        return None
    levels = math.ceil((high - low) / (top - black) * 255)
    what = f"nearly all values lie between {low:,.6g} and {high:,.6g}, and become about {levels:,} of 256 grey levels"
    mend = f"numpy.clip((v - {low:.6g}) / ({high:.6g} - {low:.6g}), 0, 1) * 65535, as uint16"
    return f"note: {what}, so that images look almost of one grey; save them with their values v stretched: {mend}"


def _round_up(value: float) -> float:
    """The next round value: of 2 and more the largest that so many bits can hold, below that a power of two."""
    least = value / SPARE
    if least > 1:
        return float(2 ** math.ceil(least).bit_length() - 1)
    return 2.0 ** math.ceil(math.log2(least)) if least > 0 else 0.0
