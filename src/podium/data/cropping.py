"""Random crops cut out of whole images, before anything is resized: of files and arrays, and of packs without a copy."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from podium.data import augment as aug
from podium.data.augment import Augment
from podium.data.dataset import Split
from podium.data.decode import reduction
from podium.data.preprocessing import Preprocessing


class Cropper:
    """Reads images as the crops that an epoch has drawn.

    Args:
        split: the images.
        preprocessing: side, channels and interpolation of the result.
        augment: the kind of crop.
        drawn: (4, M) float32, of `augment.crop_draws`, for all images of the split.
        mirrored: (M,) bool, the images that are mirrored.
        flat: of `flat_pixels`, where the split has a memory map.
    """

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing,
        augment: Augment,
        drawn: np.ndarray,
        mirrored: np.ndarray,
        flat: Tensor | None = None,
    ) -> None:
        self.split, self.preprocessing, self.augment = split, preprocessing, augment
        self.drawn, self.mirrored, self.flat = drawn, mirrored, flat

    def read(self, part: list[int]) -> Iterator[Tensor]:
        """The crops of these draws, image + N * t as `Loader.rows` has them, (1, C, H, W) uint8 each, channels last in memory."""
        return self._read(part) if self.flat is None else self._read_flat(part, self.flat)

    def _read(self, part: list[int]) -> Iterator[Tensor]:
        """Crops out of all pixels of an image, or of a JPEG decoded only as large as the crop requires."""
        p, times = self.preprocessing, 1

        def shrink(width: int, height: int) -> int:
            nonlocal times
            left, top, right, bottom = aug.crop_boxes(self.augment, self.drawn[:, index], width, height)
            spare = min(right - left, bottom - top) / p.image_size
            times = reduction(spare)
            shape[:] = width, height
            return times

        for index in part:
            times, shape = 1, [0, 0]
            pixels = self.split.array(index % len(self.split), p.channels, shrink)
            height, width, _ = pixels.shape
            whole = shape if shape[0] else (width, height)  # only JPEGs call `shrink`
            box = aug.crop_boxes(self.augment, self.drawn[:, index], *whole)
            left, top, right, bottom = aug.whole_pixels([edge / times for edge in box], width, height).tolist()
            region = channels_first(pixels[top:bottom, left:right])
            yield aug.resized(region, p.image_size, p.interpolation, bool(self.mirrored[index]))

    def _read_flat(self, part: list[int], flat: Tensor) -> Iterator[Tensor]:
        """Crops out of a memory map, where a region is a view: the same pixels as `_read` gives."""
        p, (start, height, width) = (
            self.preprocessing,
            self.split.images.places([draw % len(self.split) for draw in part]),
        )
        box = aug.whole_pixels(aug.crop_boxes(self.augment, self.drawn[:, part], width, height), width, height)
        rows = np.stack([*box, start, width, self.mirrored[part]], 1).tolist()
        for left, top, right, bottom, first, across, flip in rows:
            shape, line = (1, 3, bottom - top, right - left), 3 * across
            region = flat.as_strided(shape, (shape[2] * line, 1, line, 3), first + top * line + 3 * left)
            yield aug.resized(region, p.image_size, p.interpolation, bool(flip))


def flat_pixels(split: Split, channels: int) -> Tensor | None:
    """All pixels of a split's memory map, (bytes,) uint8, for networks that see colour; else None.

    Nothing is read here, and nothing is ever written through it.
    """
    flat = split.images.flat
    if flat is None or channels != 3:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch has no tensors that cannot be written
        return torch.from_numpy(flat)


def channels_first(pixels: np.ndarray) -> Tensor:
    """(H, W, C) uint8, copied, as (1, C, H, W), channels last in memory."""
    # The explicit batch dimension gives a stride by which torch chooses its fast kernel.
    return torch.from_numpy(np.array(pixels[None], order="C")).permute(0, 3, 1, 2)
