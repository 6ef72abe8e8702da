"""What one image looks like, in a few numbers: its size, brightness, sharpness and perceptual hashes; and which images stand out.

Sharpness is the variance of the Laplacian [Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy"] over the
variance of the grey levels, on an image whose short side has about 256 pixels, because that is what a network sees of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from podium.data.check_report import CheckReport
from podium.data.near_duplicates import hashes

SIDE = 256  # pixels of the short side on which brightness and sharpness are measured
SMALLEST, SMALLEST_GREY = 32, 64  # pixels of a short side; smaller images look alike too often to be compared
GREY = 8  # the largest difference between the channels of a grey image
GREYS = np.arange(256.0)
FEW = 8  # images below which none can stand out
FAR = 3.5  # robust standard deviations from the median [Iglewicz and Hoaglin 1993, "How to detect and handle outliers"]
BLURRED = 100.0  # variance of the Laplacian above which no image counts as blurred
DARK, BRIGHT, BLANK = 80, 220, 2.0  # 99th percentile and mean of the grey levels, of 255; their standard deviation
ELONGATED, RESIZED = 2.0, 4.0  # how many times longer, or larger and smaller by its sides, than the median image
USUAL = 0.2  # a share of the images above which a look is usual in a data set


@dataclass(frozen=True)
class Look:
    """What is measured of an image.

    Args:
        width, height: in pixels, upright.
        mean: of the grey levels, 0 to 255.
        light: their 99th percentile.
        spread: their standard deviation.
        laplacian: variance of the Laplacian.
        hashes: (2, 4) uint64, of the image and of its mirror image; None where it is flat.
    """

    width: int
    height: int
    mean: float
    light: float
    spread: float
    laplacian: float
    hashes: np.ndarray | None


def spare(width: int, height: int) -> float:
    """How many times as many pixels the short side of an image has as are looked at."""
    return min(width, height) / SIDE


def grey_of(pixels: np.ndarray, size: tuple[int, int]) -> Image.Image | None:
    """The grey image that is measured, of a short side of at most 256 pixels; None for images too small to be compared.

    Args:
        pixels: (H, W, 1 or 3) uint8, possibly smaller than the image.
        size: (width, height) of the image; below 32 pixels, or 64 of grey, it is too small.
    """
    side = min(size)
    if side < SMALLEST or (side < SMALLEST_GREY and int(np.ptp(pixels, axis=2).max()) <= GREY):
        return None
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    grey = image if image.mode == "L" else image.convert("L")
    times = min(grey.size) / SIDE
    if times > 1:
        grey = grey.resize((round(grey.width / times), round(grey.height / times)), Image.Resampling.BOX)
    return grey


def look(grey: Image.Image, size: tuple[int, int]) -> Look:
    """Measure an image.

    Args:
        grey: as `grey_of` returns it.
        size: (width, height) of the image.
    """
    levels = np.asarray(grey)
    counts = np.array(grey.histogram())
    mean = float(counts @ GREYS) / levels.size
    spread = math.sqrt(max(0.0, float(counts @ GREYS**2) / levels.size - mean**2))
    light = float(np.searchsorted(np.cumsum(counts), 0.99 * levels.size))
    return Look(*size, mean, light, spread, _laplacian(levels), hashes(grey))


def _laplacian(levels: np.ndarray) -> float:
    a = levels.astype(np.int16)
    response = a[1:-1, 1:-1] << 2
    for neighbour in (a[:-2, 1:-1], a[2:, 1:-1], a[1:-1, :-2], a[1:-1, 2:]):
        response -= neighbour
    flat = response.ravel().astype(np.float32)
    return float(flat @ flat / flat.size - flat.mean() ** 2)


# --- which images stand out


def add_outliers(report: CheckReport, names: Sequence[str], looks: Sequence[Look]) -> None:
    """Add the images to a report that are blank, dark, bright, blurred, or of a size or shape far from the others.

    A look that many images have, such as the white ground of photos of products, is usual, and is a note in the report.

    Args:
        report: of the data set.
        names: of the images.
        looks: of the same images.
    """
    if not looks:
        return
    for kind, (found, detail) in _outliers(looks).items():
        rows = np.flatnonzero(found)
        if len(rows) > max(1, USUAL * len(looks)) and kind != "blank":
            report.notes.append(f"{len(rows):,} of {len(looks):,} images are {kind}, so that is usual here")
            continue
        for row in rows.tolist():
            report.add(kind, names[row], detail(row))


def _outliers(looks: Sequence[Look]) -> dict[str, tuple[np.ndarray, Callable[[int], str]]]:
    """Kind -> the images that are so, (N,) bool, and what to say of one."""
    mean, light, spread, laplacian = (
        np.array([getattr(one, key) for one in looks]) for key in ("mean", "light", "spread", "laplacian")
    )
    width, height = np.array([(one.width, one.height) for one in looks], float).T
    shape, side = np.abs(np.log(width / height)), np.log(np.sqrt(width * height))
    sharp = np.log((laplacian + 0.1) / (np.square(spread) + 10))
    blank = spread < BLANK
    dark, bright = ~blank & (light < DARK), ~blank & (mean > BRIGHT)
    blurred = ~blank & (laplacian < BLURRED) & _far(sharp, below=True)
    odd_shape = _far(shape) & (np.abs(shape - np.median(shape)) > np.log(ELONGATED))
    odd_side = _far(side) & (np.abs(side - np.median(side)) > np.log(RESIZED))
    usual = f"{np.median(width):.0f} x {np.median(height):.0f}"
    size = [f"{one.width} x {one.height}" for one in looks]
    return {
        "blank": (blank, lambda i: f"one shade of grey {mean[i]:.0f} of 255 all over"),
        "dark": (dark, lambda i: f"99 % of its pixels are darker than {light[i]:.0f} of 255"),
        "bright": (
            bright,
            lambda i: f"mean brightness {mean[i]:.0f} of 255; the median image has {np.median(mean):.0f}",
        ),
        "blurred": (
            blurred,
            lambda i: f"{np.exp(np.median(sharp) - sharp[i]):.0f} times less sharp than the median image",
        ),
        "odd-size": (odd_shape | odd_side, lambda i: f"{size[i]} pixels; the median image has {usual}"),
    }


def _far(values: np.ndarray, below: bool = False) -> np.ndarray:
    """Which values are far from the median of all, (N,) bool; none of a few.

    Args:
        values: (N,).
        below: whether only small values count.
    """
    if len(values) < FEW:
        return np.zeros(len(values), bool)
    away = values - np.median(values)
    scale = 1.4826 * np.median(np.abs(away))
    return np.asarray((-away if below else np.abs(away)) > FAR * max(float(scale), 1e-9))
