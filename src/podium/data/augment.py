"""Augmentation of whole batches on the device; every random number depends only on (seed, epoch, image)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from podium.data.upload import uploaded

# Principal components of ImageNet's colours in units of pixel/255; a row is an eigenvector times its eigenvalue
# [Krizhevsky et al. 2012, section 4.1; the numbers are those of fb.resnet.torch].
COLOUR_AXES = (
    (-0.5675 * 0.2175, -0.5808 * 0.2175, -0.5836 * 0.2175),
    (0.7192 * 0.0188, -0.0045 * 0.0188, -0.6948 * 0.0188),
    (0.4009 * 0.0045, -0.8140 * 0.0045, 0.4203 * 0.0045),
)


@dataclass(frozen=True)
class Augment:
    """How training images are augmented; not at all by default.

    Args:
        crop: "none"; "pad": the image is shifted by up to `crop_padding` of its side over black; "scale": a square is cut,
            whose side is the short side divided by a number in `crop_range`; "area": a rectangle is cut, whose share of the
            area is in `crop_range` and whose aspect ratio is in [3/4, 4/3] [Szegedy et al. 2014, section 6].
        crop_padding: a fraction of the image's side, for "pad".
        crop_range: from and to, for "scale" and "area".
        flip: whether half of the images are mirrored.
        erase: side of an erased square, as a fraction of the image's side [DeVries and Taylor 2017].
        colour: standard deviation of the noise along the principal components of the colours.
    """

    crop: str = "none"
    crop_padding: float = 0.125
    crop_range: tuple[float, float] = (0.25, 1.0)
    flip: bool = False
    erase: float = 0.0
    colour: float = 0.0


def key(*parts: int | str) -> int:
    """Hash some parts to a 32-bit number; different parts give unrelated numbers."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=4).digest(), "little")


def uniform(seed: int, epoch: int, index: Tensor, draw: str) -> Tensor:
    """Draw one number in [0, 1) for each image.

    Args:
        seed: the run's seed.
        epoch: the number of the epoch.
        index: (N,) int64, the numbers of the images in the split.
        draw: what the number is for; different names give independent numbers.

    Returns:
        (N,) float32: an integer hash (the finaliser of MurmurHash3, twice) of index and key, the same on every device.
    """
    low = 0xFFFFFFFF
    x = (index * 0x9E3779B1 + key(seed, epoch, draw)) & low
    for _ in range(2):
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            x = ((x ^ (x >> shift)) * factor) & low
        x = x ^ (x >> 16)
    return (x >> 8).to(torch.float32) / (1 << 24)


def normal(seed: int, epoch: int, index: Tensor, draw: str) -> Tensor:
    """Draw one standard normal number for each image, by the method of Box and Muller."""
    u, v = uniform(seed, epoch, index, draw + "/radius"), uniform(seed, epoch, index, draw + "/angle")
    return (-2 * (1 - u).log()).sqrt() * (2 * math.pi * v).cos()


@dataclass(frozen=True)
class Shifts:
    """The window of each padded image that an epoch uses.

    Args:
        top: (M,) int64, the window's first row in the padded image.
        left: (M,) int64, its first column.
        mirrored: (M,) bool, whether it is mirrored; None: no window is.
    """

    top: Tensor
    left: Tensor
    mirrored: Tensor | None


def padding(augment: Augment | None, side: int) -> int:
    """The number of black pixels on each side of an image that a "pad" crop may include."""
    return round(augment.crop_padding * side) if augment is not None and augment.crop == "pad" else 0


def shifts(augment: Augment, side: int, seed: int, epoch: int, index: Tensor) -> Shifts:
    """Draw a window of side x side pixels, and whether it is mirrored, for each image.

    Args:
        index: (M,) int64, the numbers of the images in the split.
    """
    spread = 2 * padding(augment, side) + 1
    top, left = ((uniform(seed, epoch, index, draw) * spread).floor().long() for draw in ("y", "x"))
    return Shifts(top, left, uniform(seed, epoch, index, "flip") < 0.5 if augment.flip else None)


def shift_and_flip(padded: Tensor, rows: Tensor, side: int, drawn: Shifts, index: Tensor) -> Tensor:
    """Cut the drawn window out of each image, mirrored where that was drawn.

    All windows have the same pattern of bytes and differ in the first byte only, so a batch is one gather.

    Args:
        padded: (M, H, W, C) uint8, contiguous.
        rows: (N,) int64, the rows of `padded` to use.
        side: of the windows, in pixels.
        index: (N,) int64, their numbers in the split.

    Returns:
        (N, side, side, C) uint8.
    """
    count, height, width, channels = padded.shape
    starts = count * height * width - (side - 1) * width - side + 1
    windows = padded.as_strided((starts, side, side * channels), (channels, width * channels, 1))
    first = (rows * height + drawn.top[index]) * width + drawn.left[index]
    out = windows[first].unflatten(2, (side, channels))
    if drawn.mirrored is None:
        return out
    return torch.where(drawn.mirrored[index, None, None, None], out.flip(2), out)


def crop_draws(augment: Augment, seed: int, epoch: int, index: Tensor) -> Tensor:
    """Draw the crop of each image for an epoch, whatever the image's size.

    Args:
        index: (N,) int64, the numbers of the images in the split.

    Returns:
        (4, N) float32 for `crop_boxes`: size, square root of the aspect ratio, and position from left and top in [0, 1).
    """
    low, high = augment.crop_range
    u, v, x, y = (uniform(seed, epoch, index, draw) for draw in ("size", "aspect", "x", "y"))
    share = low + u * (high - low)
    if augment.crop == "scale":
        return torch.stack([1 / share, torch.ones_like(share), x, y])
    return torch.stack([share.sqrt(), torch.exp((v - 0.5) * math.log(4 / 3)), x, y])


def crop_boxes(augment: Augment, drawn: Any, width: Any, height: Any) -> tuple[Any, Any, Any, Any]:
    """The boxes (left, top, right, bottom), in pixels, of "scale" or "area" crops.

    Args:
        drawn: of `crop_draws`, (4, N), or (4,) of one image; a tensor or an array.
        width, height: of the images, in pixels: numbers, or arrays (N,) beside an array.

    Returns:
        Four tensors or arrays (N,), or four numbers, as they were given.
    """
    size, stretch, x, y = drawn
    if isinstance(width, np.ndarray):
        width, height, root = (v.astype(np.float32) for v in (width, height, np.sqrt(width * height)))
        side = size * (np.minimum(width, height) if augment.crop == "scale" else root)
    else:
        side = size * (min(width, height) if augment.crop == "scale" else math.sqrt(width * height))
    w, h = (side * stretch).clip(None, width), (side / stretch).clip(None, height)
    left, top = x * (width - w), y * (height - h)
    return left, top, left + w, top + h


def whole_pixels(box: Sequence[Any], width: Any, height: Any) -> np.ndarray:
    """Round a box (left, top, right, bottom), or N of them, to whole pixels; at least one pixel remains.

    Args:
        box: four numbers, or (N,) each.
        width: of the image, or (N,).
        height: of the image, or (N,).

    Returns:
        (4,) or (4, N) int64.
    """
    left, top, right, bottom = np.rint(np.stack(box)).astype(np.int64)
    left, top = np.minimum(left, width - 1), np.minimum(top, height - 1)
    return np.stack([left, top, np.maximum(right, left + 1), np.maximum(bottom, top + 1)])


def resized(region: Tensor, side: int, interpolation: str, mirrored: bool) -> Tensor:
    """Resize a region of one image to a square by antialiased interpolation.

    Args:
        region: (1, C, H, W) uint8, channels last in memory.
        side: of the square, in pixels.
        interpolation: "bilinear" or "bicubic".
        mirrored: whether left and right are swapped.
    """
    x = F.interpolate(region, (side, side), mode=interpolation, antialias=True)
    return x.flip(3) if mirrored else x


def crop_and_resize(x: Tensor, boxes: Tensor) -> Tensor:
    """Cut a box out of each image and resize it to the image's size by bilinear interpolation.

    Args:
        x: (N, C, H, W) float.
        boxes: (N, 4) in pixels.
    """
    _, _, height, width = x.shape
    left, top, right, bottom = boxes.unbind(1)
    zero = torch.zeros_like(left)
    theta = torch.stack(
        [
            torch.stack([(right - left) / width, zero, (left + right) / width - 1], 1),
            torch.stack([zero, (bottom - top) / height, (top + bottom) / height - 1], 1),
        ],
        1,
    )  # (N, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    if has_border(x.device):
        return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
    edges = 1 - 1 / width, 1 - 1 / height  # the middle of the outermost pixels
    inside = [places.clamp(-edge, edge) for places, edge in zip(grid.unbind(3), edges, strict=True)]
    return F.grid_sample(x, torch.stack(inside, 3), mode="bilinear", align_corners=False)


def has_border(device: torch.device) -> bool:
    """Whether torch repeats the outermost pixels where it samples a map: on Apple's GPUs versions before 2.13 do not.

    There the samples stay within the outermost pixels, which gives the same values up to the rounding of their places: to the
    bit where the side is a power of two, else to 1e-4.
    """
    return device.type != "mps"


def erase(x: Tensor, side: float, seed: int, epoch: int, index: Tensor) -> Tensor:
    """Set a square around a random point to 0, which is the mean after normalisation.

    Args:
        x: (N, C, H, W), normalised.
        side: of the square, as a fraction of the image's side.
        seed: the run's seed.
        epoch: the number of the epoch.
        index: (N,) int64, the numbers of the images in the split.
    """
    _, _, height, width = x.shape
    half = side / 2 * height
    cy = uniform(seed, epoch, index, "erase y")[:, None] * height
    cx = uniform(seed, epoch, index, "erase x")[:, None] * width
    y = (torch.arange(height, device=x.device) + 0.5 - cy).abs() < half
    x_ = (torch.arange(width, device=x.device) + 0.5 - cx).abs() < half
    return x.masked_fill((y[:, :, None] & x_[:, None, :])[:, None], 0.0)


def colour_noise(
    x: Tensor, sigma: float, std: Tensor, seed: int, epoch: int, index: Tensor, channel_order: str = "rgb"
) -> Tensor:
    """Add N(0, sigma²) times each principal component to all pixels of an image; grey images get the mean of the channels.

    Args:
        x: (N, C, H, W), normalised.
        sigma: standard deviation of the noise.
        std: (C,), by which x was divided.
        seed: the run's seed.
        epoch: the number of the epoch.
        index: (N,) int64, the numbers of the images in the split.
        channel_order: of x, "rgb" or "bgr".
    """
    axes = uploaded(torch.tensor(COLOUR_AXES), x.device)  # (3 components, RGB)
    if channel_order == "bgr":
        axes = axes.flip(1)
    strength = torch.stack([normal(seed, epoch, index, f"colour {i}") for i in range(3)], 1) * sigma
    shift = strength @ axes  # (N, 3)
    if x.shape[1] != 3:
        shift = shift.mean(1, keepdim=True)
    return x + (shift / std)[:, :, None, None]


def mix(x: Tensor, y: Tensor, num_classes: int, mixup: float, cutmix: float) -> tuple[Tensor, Tensor]:
    """Apply Mixup [Zhang et al. 2017] or CutMix [Yun et al. 2019] to a batch, by torch's generator, which each step seeds.

    Args:
        x: (N, C, H, W).
        y: labels (N,).
        num_classes: K.
        mixup: parameter of Mixup's Beta distribution; 0 is off.
        cutmix: the same of CutMix. Where both are on, each step draws one of them.

    Returns:
        Mixed images, and soft targets (N, K).
    """
    cut = cutmix > 0 and (mixup == 0 or float(torch.rand(())) < 0.5)
    alpha = cutmix if cut else mixup
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    partner = uploaded(torch.randperm(len(x)), x.device)
    if cut:
        height, width = x.shape[-2:]
        h, w = round(height * math.sqrt(1 - share)), round(width * math.sqrt(1 - share))
        cy, cx = int(torch.randint(height, ())), int(torch.randint(width, ()))
        top, bottom = max(0, cy - h // 2), min(height, cy - h // 2 + h)
        left, right = max(0, cx - w // 2), min(width, cx - w // 2 + w)
        x = x.clone()
        x[:, :, top:bottom, left:right] = x[partner, :, top:bottom, left:right]
        share = 1 - max(0, bottom - top) * max(0, right - left) / (height * width)
    else:
        x = share * x + (1 - share) * x[partner]
    soft = F.one_hot(y, num_classes).to(x.dtype)
    return x, share * soft + (1 - share) * soft[partner]
