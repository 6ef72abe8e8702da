"""Small pictures of a data set's images inside a page, found by the keys of their content."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

from podium.data.dataset import Dataset, Split
from podium.data.names import show
from podium.data.preprocessing import Preprocessing
from podium.errors import DataError

THUMBNAIL = 176  # pixels of the longest side
QUALITY = 78  # of the JPEGs


@dataclass(frozen=True)
class Album:
    """Where the images with certain contents lie; empty where the data is not there.

    Args:
        places: key of the content -> the split and the number of the image in it.
        channels: 1 or 3.
    """

    places: dict[int, tuple[Split, int]] = field(default_factory=dict)
    channels: int = 3

    @classmethod
    def of(cls, data: Dataset, wanted: np.ndarray, preprocessing: Preprocessing) -> Self:
        """Find images in a data set.

        Args:
            data: the data set.
            wanted: (N,) uint64, the keys of the images' content.
            preprocessing: of a network that was trained on it, which says what is white.
        """
        places: dict[int, tuple[Split, int]] = {}
        for split in data.splits.values():
            images, keys = split.scaled(preprocessing.white), split.contents()
            for row in np.flatnonzero(np.isin(keys, wanted)).tolist():
                places.setdefault(int(keys[row]), (images, row))
        return cls(places, preprocessing.channels)

    def name(self, key: int) -> str | None:
        """The name of an image below the root of the data set; None where it is not there."""
        return name_below(*self.places[key]) if key in self.places else None

    def picture(self, key: int) -> str:
        """The small picture of an image as a data URI; empty where it is not there or cannot be read."""
        if key not in self.places:
            return ""
        split, row = self.places[key]
        try:
            return thumbnail(split.image(row, self.channels))
        except DataError:
            return ""


def name_below(images: Split, index: int) -> str:
    """An image's name below the data set's root: a page that is passed on must not name folders of this machine."""
    if images.files is None:
        return images.name_of(index)
    return show(images.files[index].below or Path(images.files[index].name).name)


def thumbnail(picture: Image.Image) -> str:
    """A small JPEG as a data URI, drawn from the pixels only, so that no EXIF or GPS position is in it.

    Args:
        picture: of mode "L" or "RGB".
    """
    times = THUMBNAIL / max(picture.size)
    size = max(1, round(picture.width * times)), max(1, round(picture.height * times))
    small = picture.resize(size, Image.Resampling.BICUBIC if times < 1 else Image.Resampling.NEAREST, reducing_gap=3.0)
    clean, out = Image.new("RGB", small.size), io.BytesIO()
    clean.paste(small)
    clean.save(out, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
