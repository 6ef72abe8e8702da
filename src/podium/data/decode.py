"""Bytes to uint8 pixels, by content and never by extension, with a written rule for every kind of image. No torch here."""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from podium.errors import DataError, UsageError

# What Pillow would print beside the image, or beside our own error: damaged EXIF counts as none, and size has its limit below.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
RESIZES = ("crop", "pad", "stretch")
INTERPOLATIONS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
CHANNEL_ORDERS = ("rgb", "bgr")
MAX_PIXELS = 50_000_000  # read from the header, before anything is decoded
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, MemoryError, IndexError, TypeError)  # what decoders raise
FIX = "`podium check` lists every such file; --on-bad skip leaves them out"


def decode(data: bytes, name: str, channels: int, shrink: Callable[[int, int], int] | None = None) -> Image.Image:
    """One image, upright, with 8 bits a channel.

    The orientation in EXIF is applied; transparency is laid on white; 16 bits are scaled to 8; CMYK and palettes become
    RGB; of an animation the first frame counts.

    Args:
        data: the file's bytes.
        name: for messages.
        channels: 1 for grey, 3 for colour.
        shrink: of (width, height), upright: how many times smaller than that a JPEG may come, 1, 2, 4 or 8; its cosine
            transform gives that directly. All of the file is read and checked all the same.

    Returns:
        A loaded image of mode "L" or "RGB".

    Raises:
        DataError: empty, not an image, of another format, truncated, damaged, or too large; names the file.
    """
    if not data:
        raise DataError(f"{name}: empty file", FIX)
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise DataError(*_too_large(name, f"{image.width} x {image.height} pixels"))
        if shrink is not None and image.format == "JPEG":
            _shrink(image, shrink)
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        image = _eight_bits(image)
        return (
            image if image.mode == ("L" if channels == 1 else "RGB") else image.convert("L" if channels == 1 else "RGB")
        )
    except Image.DecompressionBombError:
        raise DataError(*_too_large(name, "far more pixels")) from None
    except UnidentifiedImageError:
        raise DataError(f"{name}: not an image of {', '.join(FORMATS)}", FIX) from None
    except DAMAGED as error:
        kind = "truncated" if "truncated" in str(error).lower() else "damaged"
        raise DataError(f"{name}: {kind} image ({error})", FIX) from None


def decode_pixels(data: bytes, name: str, channels: int, shrink: Callable[[int, int], int] | None = None) -> np.ndarray:
    """What `decode` gives, as (H, W, C) uint8; a plain JPEG comes from libjpeg-turbo itself, without the way through Pillow.

    The slightest doubt of libjpeg-turbo's, such as an early end, sends the file to `decode`, which accepts or names it.
    """
    import simplejpeg  # where exported files run it need not be installed

    with contextlib.suppress(*DAMAGED, Image.DecompressionBombError):
        image = Image.open(io.BytesIO(data), formats=("JPEG",))
        plain = image.format == "JPEG" and image.mode == ("L" if channels == 1 else "RGB")
        if plain and image.width * image.height <= MAX_PIXELS and _orientation(image) not in range(2, 9):
            times = shrink(*image.size) if shrink is not None else 1
            return simplejpeg.decode_jpeg(
                data,
                "GRAY" if channels == 1 else "RGB",
                min_height=math.ceil(image.height / times),
                min_width=math.ceil(image.width / times),
                min_factor=times,
            )
    return _pixels(decode(data, name, channels, shrink))


def format_of(data: bytes) -> str:
    """Which of `FORMATS` an image that can be decoded is, by its content."""
    return Image.open(io.BytesIO(data), formats=FORMATS).format or ""


def _orientation(image: Image.Image) -> Any:
    return image.getexif().get(ExifTags.Base.Orientation)


def _shrink(image: Image.Image, shrink: Callable[[int, int], int]) -> None:
    """Have an image whose header was read decoded smaller."""
    times = shrink(*(image.size[::-1] if _orientation(image) in (5, 6, 7, 8) else image.size))
    if times > 1:
        image.draft(None, (image.width // times, image.height // times))


def _too_large(name: str, size: str) -> tuple[str, str]:
    return f"{name}: {size}, more than the {MAX_PIXELS // 10**6} million that are opened", "scale the image down first"


def _eight_bits(image: Image.Image) -> Image.Image:
    """Mode L or RGB of any mode that the formats have."""
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own convert clips it to white
        wide = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def fit(image: Image.Image, size: int, how: str, crop_pct: float = 1.0, interpolation: str = "bilinear") -> np.ndarray:
    """A square of pixels out of a whole image, by one antialiased resize.

    Args:
        image: of mode "L" or "RGB".
        size: side of the square.
        how: "crop": the centred square of `crop_pct` of the short side; "pad": all of it, centred on black; "stretch".
        crop_pct: for "crop".
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
    """A box (left, top, right, bottom) in pixels, resized to a size (width, height): uint8 (height, width, C)."""
    whole = box == (0, 0, *image.size) and image.size == size
    left, top, right, bottom = box
    box = (max(0.0, left), max(0.0, top), min(float(image.width), right), min(float(image.height), bottom))
    return _pixels(image if whole else image.resize(size, INTERPOLATIONS[interpolation], box=box))


def _pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).reshape(image.height, image.width, -1)


@dataclass(frozen=True)
class Preprocessing:
    """What is done to an image before a network sees it.

    Args:
        image_size: side of the square, in pixels.
        channels: 1 or 3.
        resize, crop_pct: as in `fit`.
        mean, std: a number a channel, in units of pixel/255 and in the network's order of channels.
        interpolation: "bilinear" or "bicubic".
        channel_order: "rgb", or "bgr" for networks that came from Caffe.
    """

    image_size: int
    channels: int
    resize: str = "crop"
    crop_pct: float = 1.0
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    interpolation: str = "bilinear"
    channel_order: str = "rgb"

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
        }
        for name, fits in possible.items():
            if not fits:
                raise ValueError(f"{name}: {getattr(self, name)!r}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a card."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """What `to_dict` gave; fields that an older card lacks have their defaults."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**plain)

    def check_channels(self) -> None:
        """Refuse to read images for a network that sees neither grey nor colour.

        Raises:
            UsageError: it sees another number of channels.
        """
        if self.channels not in (1, 3):
            what = f"the network sees {self.channels} channels, and image files have 1 (grey) or 3 (colour)"
            raise UsageError(what, "call its .model with such images in Python, or import it without --in-chans")

    def square(self, image: Image.Image) -> np.ndarray:
        """uint8 (size, size, C) of a decoded image, still in RGB."""
        return fit(image, self.image_size, self.resize, self.crop_pct, self.interpolation)

    def pixels(self, data: bytes, name: str) -> np.ndarray:
        """uint8 (size, size, C) of an image file's bytes, in the network's order of channels."""
        rgb = self.square(decode(data, name, self.channels))
        return rgb if self.channel_order == "rgb" else np.ascontiguousarray(rgb[..., ::-1])
