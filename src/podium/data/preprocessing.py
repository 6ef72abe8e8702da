"""Preprocessing: from an image to the square of pixels that a network sees, and the numbers that normalise it. Without torch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any, Literal, Self, get_args

import numpy as np
from PIL import Image

from podium.data.decode import as_pixels, decode
from podium.data.depth import WHITE, White, as_white, is_white
from podium.data.opening import MAX_PIXELS
from podium.errors import UsageError

Resize = Literal["crop", "pad", "stretch"]
RESIZES: tuple[str, ...] = get_args(Resize)
INTERPOLATIONS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
CHANNEL_ORDERS = ("rgb", "bgr")


def fit(
    image: Image.Image, size: int, how: Resize, crop_pct: float = 1.0, interpolation: str = "bilinear"
) -> np.ndarray:
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
    return as_pixels(canvas)


def resized_crop(
    image: Image.Image, size: tuple[int, int], box: tuple[float, ...], interpolation: str = "bilinear"
) -> np.ndarray:
    """Resize a box (left, top, right, bottom), in pixels, to a size (width, height): uint8 (height, width, C)."""
    whole = box == (0, 0, *image.size) and image.size == size
    left, top, right, bottom = box
    box = (max(0.0, left), max(0.0, top), min(float(image.width), right), min(float(image.height), bottom))
    return as_pixels(image if whole else image.resize(size, INTERPOLATIONS[interpolation], box=box))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _are_finite(values: Any, counts: tuple[int, ...]) -> bool:
    return isinstance(values, tuple | list) and len(values) in counts and all(map(_is_finite, values))


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
    resize: Resize = "crop"
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
            "image_size": _is_whole(self.image_size) and self.image_size**2 <= MAX_PIXELS,
            "channels": _is_whole(self.channels),
            "resize": self.resize in RESIZES,
            "crop_pct": _is_finite(self.crop_pct) and 0 < self.crop_pct <= 1,
            "mean": _are_finite(self.mean, counts),
            "std": _are_finite(self.std, counts) and all(s > 0 for s in self.std),
            "interpolation": self.interpolation in tuple(INTERPOLATIONS),
            "channel_order": self.channel_order in CHANNEL_ORDERS,
            "white": is_white(self.white),
            "max_pixels": _is_whole(self.max_pixels),
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

    def region(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Where the square that the network sees lies in an image: left, top, right, bottom in the image's pixels.

        A square that was padded reaches beyond the image.
        """
        if self.resize == "stretch":
            return 0.0, 0.0, float(width), float(height)
        if self.resize == "crop":
            side = min(width, height) * self.crop_pct
            left, top = (width - side) / 2, (height - side) / 2
            return left, top, left + side, top + side
        scale = self.image_size / max(width, height)
        edges = []
        for side in (width, height):
            inner = max(1, round(side * scale))
            pad = (self.image_size - inner) // 2
            edges.append((-pad * side / inner, (self.image_size - pad) * side / inner))
        (left, right), (top, bottom) = edges
        return left, top, right, bottom

    def pixels(self, data: bytes, name: str) -> np.ndarray:
        """Decode an image file and make it square: uint8 (size, size, C), in the network's order of channels."""
        rgb = self.square(self.decode(data, name))
        return rgb if self.channel_order == "rgb" else np.ascontiguousarray(rgb[..., ::-1])
