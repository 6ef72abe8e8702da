"""Decoding image files to uint8 pixels, by content and never by extension, and making them square. Without torch."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import math
import re
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Self, TypeVar, cast

import numpy as np
from PIL import Image

from podium.data.depth import OTHER_BYTE, WHITE, White, as_white, deep_colour, is_deep, is_white, raw_mode, scaled
from podium.data.formats import recognised
from podium.data.metadata import ORIENTATION, orientation, without_metadata
from podium.data.opening import MAX_PIXELS, SAVE_AGAIN, check_size, opened, own_orientation
from podium.errors import STARVED, ImageError, MachineError, PodiumError, UsageError

# Pillow's warnings say nothing new: damaged EXIF counts as none, and `MAX_PIXELS` limits the size.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

RESIZES = ("crop", "pad", "stretch")
INTERPOLATIONS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
CHANNEL_ORDERS = ("rgb", "bgr")
JPEGS = ("JPEG", "MPO")  # as Pillow names them
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


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
            raise MachineError(f"{name}: no memory was left to decode it", STARVED) from None

    return cast(Decoder, named)


def out_of_memory(error: BaseException) -> bool:
    """Whether a decoder's error means that memory ran out; Pillow and libjpeg may report that only in the text."""
    said = (
        re.search(r"\bmemory\b(?!.*(MAX_TEXT|limit|Invalid))", str(error), re.IGNORECASE) is not None
    )  # the limits of Pillow on texts, and of libheif on everything, are no lack of memory
    return isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM or said


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
    for content in (data, without_metadata(data)):
        try:
            if content is not None:
                return _decoded(content, upright, name, channels, shrink, white, max_pixels)
        except (PodiumError, MemoryError):
            raise
        except Exception as error:  # decoders raise anything
            if out_of_memory(error):
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
    if is_deep(image):
        image = _from_deep(image, white, name)
    elif white != WHITE and (deep := deep_colour(data, image, stored)) is not None:
        image.paste(
            Image.merge(image.mode, [*map(Image.fromarray, _planes(deep, white)), *image.split()[deep.shape[2] :]])
        )
    if upright > 1:
        image = image.transpose(TURNS[upright])
    image = _eight_bits(image)
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _refusal(error: Exception, data: bytes, name: str) -> ImageError:
    """The error that explains a decoder's error."""
    said = " ".join(str(error).split()) or type(error).__name__
    kind = "truncated" if "truncated" in said.lower() else "damaged"
    if re.search("unknown pixel mode|samples per pixel|not supported|unsupported|conversion from", said, re.IGNORECASE):
        return ImageError(f"{name}: {recognised(data)} of a kind that is not read ({said})", SAVE_AGAIN)
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
        image = Image.open(io.BytesIO(data), formats=("JPEG",))
        plain = image.format in JPEGS and image.mode in ("L" if channels == 1 else "RGB", "RGB" if luma else "")
        if plain and image.width * image.height <= max_pixels and orientation(data) == 1:
            times = shrink(*image.size) if shrink is not None else 1
            return simplejpeg.decode_jpeg(
                data,
                "GRAY" if channels == 1 else "RGB",
                min_height=math.ceil(image.height / times),
                min_width=math.ceil(image.width / times),
                min_factor=times,
            )
    return _pixels(decode(data, name, channels, shrink, white, max_pixels))


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
        UsageError: a colour image of 16 bits, of which Pillow has dropped the lower 8, for a network that needs them.
    """
    check_size(image.size, name, max_pixels)
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
    except (PodiumError, MemoryError):
        raise
    except Exception as error:  # decoders raise anything
        raise _refusal(error, b"", name) from None


def _planes(deep: np.ndarray, white: White) -> list[np.ndarray]:
    return [np.ascontiguousarray(plane) for plane in np.moveaxis(scaled(deep, white), 2, 0)]


def _from_deep(image: Image.Image, white: White, name: str) -> Image.Image:
    """Grey of more than 8 bits as "L"; Pillow's own conversion would make all large values white.

    Raises:
        ImageError: fractions, where the data set that a network learned from had none to tell what is white.
    """
    if image.mode == "F" and not isinstance(white, tuple):
        what = f"{name}: floating-point pixels, of which no value is known to be white"
        raise ImageError(what, "save it with 8 or 16 bits; only images like it in the training set tell its range")
    eight = scaled(np.asarray(image), white)
    return Image.fromarray(255 - eight if image.info.get("white_is_zero") else eight)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Convert an image of any mode of 8 bits to "L" or "RGB"."""
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, "RGBA")).convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def fit(image: Image.Image, size: int, how: str, crop_pct: float = 1.0, interpolation: str = "bilinear") -> np.ndarray:
    """Make an image square by one antialiased resize.

    Args:
        image: of mode "L" or "RGB".
        size: side of the square.
        how: "crop": the central square of `crop_pct` of the short side; "pad": the whole image, centred on black; "stretch":
            the whole image, distorted.
        crop_pct: share of the short side, for "crop".
        interpolation: "bilinear" or "bicubic".

    Returns:
        uint8 (size, size, C).
    """
    width, height = image.size
    if how == "crop":
        side = min(width, height) * crop_pct
        left, top = (width - side) / 2, (height - side) / 2
        return resized_crop(image, (size, size), (left, top, left + side, top + side), interpolation)
    if how == "stretch":
        return resized_crop(image, (size, size), (0, 0, width, height), interpolation)
    scale = size / max(width, height)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    canvas = Image.new(image.mode, (size, size))
    small = image.resize(inner, INTERPOLATIONS[interpolation])
    canvas.paste(small, ((size - inner[0]) // 2, (size - inner[1]) // 2))
    return _pixels(canvas)


def resized_crop(
    image: Image.Image, size: tuple[int, int], box: tuple[float, ...], interpolation: str = "bilinear"
) -> np.ndarray:
    """Resize a box (left, top, right, bottom), in pixels, to a size (width, height): uint8 (height, width, C)."""
    whole = box == (0, 0, *image.size) and image.size == size
    left, top, right, bottom = box
    box = (max(0.0, left), max(0.0, top), min(float(image.width), right), min(float(image.height), bottom))
    return _pixels(image if whole else image.resize(size, INTERPOLATIONS[interpolation], box=box))


def _pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).reshape(image.height, image.width, -1)


@dataclass(frozen=True)
class Preprocessing:
    """How an image is prepared for a network.

    Args:
        image_size: side of the square, in pixels.
        channels: 1 or 3.
        resize, crop_pct: as in `fit`.
        mean, std: a number a channel, in units of pixel/255 and in the network's order of channels.
        interpolation: "bilinear" or "bicubic".
        channel_order: "rgb", or "bgr" for networks that came from Caffe.
        white: the value that is white in images of more than 8 bits a channel, or those that are black and white.
        max_pixels: the largest width times height of an image that is opened.
    """

    image_size: int
    channels: int
    resize: str = "crop"
    crop_pct: float = 1.0
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    interpolation: str = "bilinear"
    channel_order: str = "rgb"
    white: White = WHITE
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        counts = (1, self.channels)  # one number for all, or one each
        possible = {
            "image_size": isinstance(self.image_size, int) and self.image_size >= 1,
            "channels": self.channels >= 1,
            "resize": self.resize in RESIZES,
            "crop_pct": 0 < self.crop_pct <= 1,
            "mean": len(self.mean) in counts and all(map(math.isfinite, self.mean)),
            "std": len(self.std) in counts and all(0 < s < math.inf for s in self.std),
            "interpolation": self.interpolation in INTERPOLATIONS,
            "channel_order": self.channel_order in CHANNEL_ORDERS,
            "white": is_white(self.white),
            "max_pixels": isinstance(self.max_pixels, int) and self.max_pixels >= 1,
        }
        for name, fits in possible.items():
            if not fits:
                raise ValueError(f"{name}: {getattr(self, name)!r}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a card; `white` and `max_pixels` are left out where they are the usual ones."""
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {k: v for k, v in plain.items() if (k, v) not in (("white", WHITE), ("max_pixels", MAX_PIXELS))}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read what `to_dict` wrote; fields that an older card lacks get their defaults."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        if "white" in plain:
            plain["white"] = as_white(plain["white"])
        return cls(**plain)

    def scale_and_offset(self) -> tuple[np.ndarray, np.ndarray]:
        """The numbers that normalise pixels: `pixel * scale + offset` is (pixel / 255 - mean) / std.

        Returns:
            Two float32 arrays, each of one number a channel, in the network's order of channels, or of one for all.
        """
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        return 1 / (255 * std), -mean / std

    def check_channels(self) -> None:
        """Refuse to read image files for a network that takes neither grey nor colour.

        Raises:
            UsageError: the network takes another number of channels.
        """
        if self.channels not in (1, 3):
            what = f"the network sees {self.channels} channels, and image files have 1 (grey) or 3 (colour)"
            raise UsageError(what, "call its .model with such images in Python, or import it without --in-chans")

    def decode(self, data: bytes, name: str) -> Image.Image:
        """Decode an image file as the network's images were: "L" or "RGB", upright."""
        return decode(data, name, self.channels, white=self.white, max_pixels=self.max_pixels)

    def square(self, image: Image.Image) -> np.ndarray:
        """Make a decoded image square: uint8 (size, size, C), in RGB."""
        return fit(image, self.image_size, self.resize, self.crop_pct, self.interpolation)

    def pixels(self, data: bytes, name: str) -> np.ndarray:
        """Decode an image file and make it square: uint8 (size, size, C), in the network's order of channels."""
        rgb = self.square(self.decode(data, name))
        return rgb if self.channel_order == "rgb" else np.ascontiguousarray(rgb[..., ::-1])
