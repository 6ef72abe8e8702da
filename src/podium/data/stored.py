"""How large the images of a data set are as they are stored."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from podium.data.dataset import Dataset, ImageFile, Split
from podium.data.decode import FORMATS

LOOKED_AT = 256  # files of a split whose headers are read at most, evenly apart


def stored_size(data: Dataset, small: int) -> int | None:
    """The side of a data set's images: of pixels in memory as the set says; of photos the longest, where all are small.

    Args:
        data: of files, the headers of some are read.
        small: side in pixels up to which photos are small.

    Returns:
        Pixels; None for photos of which one is larger, or none can be read.
    """
    if data.splits["train"].pixels is not None:
        return data.image_size
    longest = 0
    for split in data.splits.values():
        longest = max(longest, _longest(split, small))
        if longest > small:
            return None
    return longest or None


def _side(file: ImageFile) -> int:
    """The longer side of a photo, by its header; 0 where that cannot be read: who decodes it says what is wrong with it."""
    try:
        with Image.open(io.BytesIO(file.read()), formats=FORMATS) as image:
            return max(image.size)
    except MemoryError:
        raise
    except Exception:  # a damaged header can raise anything
        return 0


def _longest(split: Split, small: int) -> int:
    """The longest side of a split's photos, or that of the first which is not small."""
    if split.packed is not None:
        return int(split.packed.index[split.packed.rows, 1:3].max(initial=0))
    longest, files = 0, split.files or ()
    for place in np.unique(np.linspace(0, len(files) - 1, min(LOOKED_AT, len(files))).astype(int)):
        longest = max(longest, _side(files[place]))
        if longest > small:
            break
    return longest
