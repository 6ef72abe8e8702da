"""Evaluation on several views of an image: 10 crops, 144 crops, or the whole image densely, averaged to one prediction."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from podium.data.loader import Batch, Loader
from podium.data.preprocessing import Preprocessing, resized_crop
from podium.errors import DataError, UsageError

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

CROPS = (1, 10, 144, "dense")
# Sides of a crop over the short side of the image.
ALEXNET = 7 / 8  # 224 of 256
GOOGLENET = (7 / 8, 7 / 9, 7 / 10, 7 / 11)  # 224 of 256, 288, 320 and 352
LONGEST = 16  # long side over short side of what is seen densely: beyond it the feature maps would fill the memory


def parse_crops(crops: int | str) -> int | str:
    """Read a number of crops as one of `CROPS`; the text "10" becomes 10.

    Raises:
        UsageError: it is none of them.
    """
    if str(crops) not in map(str, CROPS):
        raise UsageError(f"crops: {crops!r}", f"give one of {', '.join(map(str, CROPS))}")
    return crops if crops == "dense" else int(crops)


def corners_and_centre(within: Box, side: float) -> list[Box]:
    """Five squares: upper left, upper right, lower left, lower right, centre."""
    left, top, right, bottom = within
    x, y = right - side, bottom - side
    firsts = (left, top), (x, top), (left, y), (x, y), ((left + x) / 2, (top + y) / 2)
    return [(a, b, a + side, b + side) for a, b in firsts]


def three_squares(width: int, height: int) -> list[Box]:
    """The left, centre and right square of an image, or the top, centre and bottom one of an upright image."""
    side = min(width, height)
    x, y = width - side, height - side
    return [(a, b, a + side, b + side) for a, b in ((0, 0), (x / 2, y / 2), (x, y))]


def boxes(crops: int, width: int, height: int, part: float = ALEXNET) -> list[Box]:
    """Where the crops of an image lie; mirrored they come to twice as many.

    Cutting S x S pixels out of an image resized so that its short side is S / part is cutting a square of `part` of the
    short side, and resizing that: so the boxes are of the image as it is, and each is resized once.

    Args:
        crops: 10: four corners and the centre [Krizhevsky et al. 2012, section 5]; 144: at four scales, out of three
            squares, the four corners, the centre, and the square as a whole, which is the same at each scale
            [Szegedy et al. 2014, section 7].
        width, height: in pixels.
        part: for 10: side of a crop over the short side.

    Returns:
        5 or 72 boxes.
    """
    if crops == 10:
        return corners_and_centre((0, 0, width, height), min(width, height) * part)
    return [
        box
        for scale in GOOGLENET
        for square in three_squares(width, height)
        for box in (*corners_and_centre(square, min(width, height) * scale), square)
    ]


def cut(image: Image.Image, preprocessing: Preprocessing, crops: int) -> np.ndarray:
    """The crops of an image before mirroring.

    Ten crops are as large a part of the short side as the preprocessing's `crop_pct`, so the centre is what a single crop
    sees; where that leaves nothing to cut they are AlexNet's 7/8, enlarged. Of images that are padded or stretched to a
    square, the crops are of that square.

    Returns:
        uint8 (5 or 72, image_size, image_size, C).
    """
    p = preprocessing
    part = p.crop_pct if p.resize == "crop" and p.crop_pct < 1 else ALEXNET
    if p.resize != "crop":
        square = replace(p, image_size=round(p.image_size / (part if crops == 10 else min(GOOGLENET)))).square(image)
        image = Image.fromarray(square[..., 0] if p.channels == 1 else square)
    size = p.image_size, p.image_size
    return np.stack([resized_crop(image, size, box, p.interpolation) for box in boxes(crops, *image.size, part)])


def whole(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """All of an image, its short side image_size / crop_pct; padded or stretched to the square where the preprocessing says so.

    Returns:
        uint8 (H, W, C).
    """
    p = preprocessing
    if p.resize != "crop":
        return p.square(image)
    scale = p.image_size / p.crop_pct / min(image.size)
    width, height = (round(side * scale) for side in image.size)
    return resized_crop(image, (width, height), (0, 0, *image.size), p.interpolation)


def views(loader: Loader, crops: int | str, mirrored: bool = True) -> Iterator[Batch]:
    """Batches of all views of each image, in the split's order.

    Args:
        loader: whose images, preprocessing and threads they are.
        crops: 10, 144 or "dense".
        mirrored: each view also mirrored; without, there are half as many.

    Yields:
        Batches in which x is (N * V, C, H, W), the V views of an image one after the other, mirrored ones last. Dense
        views have the size of their image: a batch ends where the next image has another.

    Raises:
        DataError: an image is too long for dense evaluation.
    """
    split, p = loader.split, loader.preprocessing

    def read(index: int) -> np.ndarray:
        image = split.image(index, p.channels)
        if isinstance(crops, int):
            return cut(image, p, crops)
        if max(image.size) > LONGEST * min(image.size):
            name = split.name_of(index)
            what = f"{name}: {image.width} x {image.height} pixels, more than {LONGEST} times as long as wide"
            raise DataError(what, "leave it out, or evaluate by 1, 10 or 144 crops")
        return whole(image, p)[None]

    at_once = max(1, loader.batch_size // (crops if isinstance(crops, int) else 2))
    for rows, images in loader.decoded(torch.arange(len(split)).split(at_once), read):
        for _, alike in groupby(zip(rows, images, strict=True), key=lambda pair: pair[1].shape):
            index, pixels = zip(*alike, strict=True)
            x = torch.from_numpy(np.stack(pixels)).to(loader.device)  # (N, V / 2, H, W, C)
            x = (torch.cat([x, x.flip(3)], 1) if mirrored else x).flatten(0, 1)
            chosen = torch.stack(index).to(loader.device)
            yield Batch(loader.normalized(x), loader.labels[chosen], chosen)


def averaged(logits: Tensor, images: int) -> Tensor:
    """The logarithm of the class probabilities averaged over the views of each image.

    Args:
        logits: (N * V, K), or (N * V, K, h, w), which are averaged over positions first [Simonyan and Zisserman 2014,
            section 3.2].
        images: N.

    Returns:
        (N, K); softmax gives the averaged probabilities.
    """
    scores = logits.mean((2, 3)) if logits.ndim == 4 else logits
    each = scores.log_softmax(1).unflatten(0, (images, -1))  # (N, V, K)
    return each.logsumexp(1) - math.log(each.shape[1])
