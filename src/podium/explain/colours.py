"""Maps as colours over a photo, on the photo's own pixels. numpy and Pillow only."""

from __future__ import annotations

import numpy as np
from PIL import Image

# matplotlib's "inferno", at nine places: lightness rises with the value, also for readers who see fewer colours and in print.
INFERNO = np.array(
    [(0, 0, 4), (31, 12, 72), (85, 15, 109), (136, 34, 106), (186, 54, 85), (227, 89, 51), (249, 140, 10), (249, 201, 50), (252, 255, 164)],
    np.float32,
)  # fmt: skip
STRENGTH = 0.75  # how far the colour of the largest value covers the photo
UNSEEN = 0.35  # brightness of what lies outside of the square that the network sees

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


def colours(values: np.ndarray) -> np.ndarray:
    """Numbers in 0..1 as colours, (..., 3) float32 in 0..255."""
    places = np.linspace(0, 1, len(INFERNO))
    return np.stack([np.interp(values, places, INFERNO[:, channel]) for channel in range(3)], -1).astype(np.float32)


def _weights(length: int, first: float, last: float, count: int, span: float) -> np.ndarray:
    """How much each of `count` values counts at each of `length` pixels, (length, count).

    The values are spread evenly over a share `span` of the pixels from `first` to `last`, in their middle. Between the centres of
    two values the weights are linear, beyond the outer ones they stay as they are there, and other pixels have none.
    """
    centres = np.arange(length) + 0.5
    at = (((centres - first) / (last - first) - 0.5) / span + 0.5) * count - 0.5
    near = np.clip(at, 0, count - 1)
    weights = np.maximum(0, 1 - np.abs(near[:, None] - np.arange(count)))
    return np.where(((centres >= first) & (centres <= last))[:, None], weights, 0.0).astype(np.float32)


def on_photo(values: np.ndarray, box: Box, width: int, height: int, span: float = 1.0) -> np.ndarray:
    """Stretch a map over its part of a photo, bilinearly.

    Args:
        values: (h, w), of the square that the network sees.
        box: where that square lies in the photo; it may reach beyond it.
        width, height: of the photo, in pixels.
        span: the map's side as a share of the square's, in whose middle it lies; see `span_of`.

    Returns:
        (height, width) float32; 0 where the network sees nothing.
    """
    left, top, right, bottom = box
    down = _weights(height, top, bottom, values.shape[0], span)
    across = _weights(width, left, right, values.shape[1], span)
    return down @ values.astype(np.float32) @ across.T


def over(photo: Image.Image, values: np.ndarray, box: Box, span: float = 1.0) -> Image.Image:
    """Draw a map over a photo.

    Args:
        photo: of mode "L" or "RGB".
        values: (h, w) in 0..1, of the square that the network sees.
        box: where that square lies in the photo, in pixels; the rest of the photo is darkened.
        span: as of `on_photo`.

    Returns:
        An image of mode "RGB" and of the photo's size.
    """
    grey = np.asarray(photo.convert("L"), np.float32)[..., None]
    heat = on_photo(values, box, photo.width, photo.height, span)[..., None]
    seen = on_photo(np.ones((1, 1)), box, photo.width, photo.height)[..., None]
    share = STRENGTH * heat
    mixed = (grey * (1 - share) + colours(heat[..., 0]) * share) * np.where(seen > 0, 1.0, UNSEEN)
    return Image.fromarray(mixed.round().astype(np.uint8))
