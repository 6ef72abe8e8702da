"""Decoding image files to upright images of 8 bits a channel, by content and never by extension. Without torch."""

from __future__ import annotations

import contextlib
import math
import re
import warnings
from collections.abc import Callable

import numpy as np
from PIL import Image

from podium.data.depth import (
    OTHER_BYTE,
    WHITE,
    White,
    deep_colour,
    deep_values,
    is_deep,
    names_no_value,
    raw_mode,
    scaled,
    without_value,
)
from podium.data.formats import recognised
from podium.data.metadata import ORIENTATION, orientation, without_metadata
from podium.data.opening import MAX_PIXELS, SAVE_AGAIN, check_size, opened, own_orientation
from podium.data.starving import no_memory, out_of_memory, size_by_header, starving
from podium.errors import FormatNotRead, ImageError, PodiumError, UsageError

# Pillow's warnings say nothing new: damaged EXIF counts as none, and `MAX_PIXELS` limits the size.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

JPEGS = ("JPEG", "MPO")  # as Pillow names them
GREYS = {"L;2": 85, "L;4": 17}  # Pillow's names of grey of 2 and 4 bits, and by what their values become 8 bits
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def reduction(spare: float) -> int:
    """How many times smaller a JPEG may be decoded, 1, 2, 4 or 8, where its sides are `spare` times as long as they need be."""
    return next((times for times in (8, 4, 2) if times <= spare), 1)


@starving
def decode(
    data: bytes,
    name: str,
    channels: int,
    shrink: Callable[[int, int], int] | None = None,
    white: White = WHITE,
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """Decode one image, upright, with 8 bits a channel.

    The orientation is applied, transparency is composed over white, more than 8 bits are scaled to 8, CMYK and palettes become
    RGB, and of several frames or pages the first is taken. Damaged metadata is ignored as long as the pixels can be decoded.

    Args:
        data: the file's bytes.
        name: the name for messages.
        channels: 1 for grey, 3 for colour.
        shrink: from the upright (width, height) to 1, 2, 4 or 8: how many times smaller a JPEG may be decoded, which its
            cosine transform gives directly. The whole file is read and checked all the same.
        white: the value that is white in images of more than 8 bits a channel, or those that are black and white (`depth.py`).
        max_pixels: the largest width times height.

    Returns:
        A loaded image of mode "L" or "RGB".

    Raises:
        ImageError: empty, not an image, of a format that is not read here, truncated, damaged, or too large; names the file.
        MachineError: memory ran out while it was decoded.
    """
    if not data:
        raise ImageError(f"{name}: empty file", "copy the file again, or delete it")
    upright, failed = orientation(data), None
    for content in (data, without_metadata(data), data):  # again, if other threads had the memory that it needed
        try:
            if content is not None:
                return _decoded(content, upright, name, channels, shrink, white, max_pixels)
        except (PodiumError, MemoryError):
            raise
        except Exception as error:  # decoders raise anything
            if out_of_memory(error, size_by_header(data, max_pixels)):
                raise MemoryError from None
            failed = failed or error
    raise _refusal(failed or ValueError(), data, name)


def _decoded(
    data: bytes,
    upright: int,
    name: str,
    channels: int,
    shrink: Callable[[int, int], int] | None,
    white: White,
    max_pixels: int,
) -> Image.Image:
    """Decode an image that has this orientation; errors of the decoder pass through."""
    image = opened(data, name, max_pixels)
    upright = max(upright, own_orientation(image))
    if shrink is not None and image.format in JPEGS:
        times = shrink(*(image.size[::-1] if upright >= 5 else image.size))
        if times > 1:
            image.draft(None, (image.width // times, image.height // times))
    stored = raw_mode(image)
    image.load()
    if (scale := GREYS.get(stored)) and isinstance(said := image.info.get("transparency"), int):
        image.info["transparency"] = said * scale  # Pillow scales the pixels and not this value
    clear = _clear_colour(data, image, stored)
    if is_deep(image):
        image = _from_deep(image, white, name)
    elif (white != WHITE or names_no_value(image)) and (deep := deep_colour(data, image, stored)) is not None:
        image.paste(
            Image.merge(
                image.mode, [*map(Image.fromarray, _planes(deep, white, image)), *image.split()[deep.shape[2] :]]
            )
        )
    if clear is not None:
        image.info.pop("transparency", None)
        image.paste("white", mask=Image.fromarray(clear))
    if upright > 1:
        image = image.transpose(TURNS[upright])
    image = _eight_bits(image)
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _clear_colour(data: bytes, image: Image.Image, stored: str) -> np.ndarray | None:
    """Where an image of 16-bit colours has the one that its PNG calls transparent, (H, W) bool; None where it calls none so."""
    said = image.info.get("transparency")
    deep = deep_colour(data, image, stored) if isinstance(said, tuple) else None
    return None if deep is None else (deep == said).all(2)


def _refusal(error: Exception, data: bytes, name: str) -> ImageError:
    """The error that explains a decoder's error."""
    said = " ".join(str(error).split()) or type(error).__name__
    kind = "truncated" if "truncated" in said.lower() else "damaged"
    if re.search("unknown pixel mode|samples per pixel|not supported|unsupported|conversion from", said, re.IGNORECASE):
        return FormatNotRead(f"{name}: {recognised(data)} of a kind that is not read ({said})", SAVE_AGAIN)
    if data[:4] == b"RIFF" and (length := 8 + int.from_bytes(data[4:8], "little")) > len(data):
        kind, said = "truncated", f"{len(data):,} of {length:,} bytes are there"  # Pillow does not say it of a WebP
    return ImageError(f"{name}: {kind} image ({said})", "copy it again from where it came from, or delete it")


@starving
def decode_pixels(
    data: bytes,
    name: str,
    channels: int,
    shrink: Callable[[int, int], int] | None = None,
    white: White = WHITE,
    max_pixels: int = MAX_PIXELS,
    luma: bool = False,
) -> np.ndarray:
    """Decode one image to (H, W, C) uint8, as `decode` does; plain JPEGs are decoded by libjpeg-turbo without Pillow.

    A file in which libjpeg-turbo finds any fault, such as an early end, is passed to `decode`, which accepts or refuses it.
    With `luma`, the grey levels of a colour JPEG are those that are stored in it: quicker, and not rounded as `decode` does.
    """
    import simplejpeg  # not installed everywhere that exported files run

    with contextlib.suppress(Exception):  # then `decode` decides
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        wanted = ("Gray", "YCbCr", "RGB") if luma else ("Gray",) if channels == 1 else ("YCbCr", "RGB")
        if colours in wanted and width * height <= max_pixels and orientation(data) == 1:
            times = shrink(width, height) if shrink is not None else 1
            return simplejpeg.decode_jpeg(
                data,
                "GRAY" if channels == 1 else "RGB",
                min_height=math.ceil(height / times),
                min_width=math.ceil(width / times),
                min_factor=times,
            )
    return as_pixels(decode(data, name, channels, shrink, white, max_pixels))


def upright_of(
    image: Image.Image, name: str, channels: int, white: White = WHITE, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Make an image that is open in Pillow what `decode` makes of its file: upright, with 8 bits a channel.

    Args:
        image: left as it is, but loaded.
        name: the name for messages.
        channels: 1 for grey, 3 for colour.
        white: the value that is white in images of more than 8 bits a channel.
        max_pixels: the largest width times height.

    Raises:
        ImageError: truncated, damaged, or too large.
        MachineError: memory ran out while it was decoded.
        UsageError: a colour image of 16 bits, of which Pillow has dropped the lower 8, for a network that needs them.
    """
    check_size(image.size, name, max_pixels)
    if 0 in image.size:
        raise ImageError(f"{name}: an image of {image.width} x {image.height} pixels", "give one that has pixels")
    if white != WHITE and raw_mode(image) in OTHER_BYTE:
        raise UsageError(f"{name}: Pillow keeps 8 of its 16 bits a channel", "give the file's path or its bytes")
    try:
        image.load()
        turn = 1
        with contextlib.suppress(Exception):  # damaged EXIF counts as none; of TIFF, loading has applied it
            turn = int(image.getexif().get(ORIENTATION, 1))
        plain = _from_deep(image, white, name) if is_deep(image) else image
        plain = _eight_bits(plain.transpose(TURNS[turn]) if turn in TURNS else plain)
        mode = "L" if channels == 1 else "RGB"
        return plain if plain.mode == mode else plain.convert(mode)
    except PodiumError:
        raise
    except Exception as error:  # decoders raise anything
        if out_of_memory(error, image.size):
            raise no_memory(name) from None
        raise _refusal(error, b"", name) from None


def _planes(deep: np.ndarray, white: White, image: Image.Image) -> list[np.ndarray]:
    eight = scaled(deep, white)
    if (gone := without_value(image, deep)) is not None:
        eight[gone] = 0
    return [np.ascontiguousarray(plane) for plane in np.moveaxis(eight, 2, 0)]


def _from_deep(image: Image.Image, white: White, name: str) -> Image.Image:
    """Grey of more than 8 bits as "L"; Pillow's own conversion would make all large values white.

    Raises:
        ImageError: fractions, where the data set that a network learned from had none to tell what is white.
    """
    if image.mode == "F" and not isinstance(white, tuple):
        what = (
            f"{name}: floating-point pixels, and the network was trained on none that would tell which value is white"
        )
        raise ImageError(what, "save it with 8 or 16 bits a channel")
    values = deep_values(image)
    eight = scaled(values, white)
    if isinstance(clear := image.info.get("transparency"), int):  # the one grey level of a PNG that is transparent
        eight[values == clear] = 255
    if image.info.get("white_is_zero"):
        eight = 255 - eight
    if (gone := without_value(image, values)) is not None:
        eight[gone] = 0
    return Image.fromarray(eight)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Convert an image of any mode of 8 bits to "L" or "RGB"."""
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, "RGBA")).convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def as_pixels(image: Image.Image) -> np.ndarray:
    """The pixels of an image of mode "L" or "RGB", (H, W, C) uint8."""
    return np.asarray(image).reshape(image.height, image.width, -1)
