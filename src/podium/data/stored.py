"""How large the images of a data set are as they are stored."""

from __future__ import annotations

from podium.data.dataset import Dataset


def stored_size(data: Dataset, small: int) -> int | None:
    """The side of a data set's images: of arrays the set's own size, of photos the longest side where all are small.

    Args:
        data: where it holds files, the headers of some are read.
        small: the longest side of a small photo, in pixels.

    Returns:
        Pixels; None where a photo is larger, or none can be read.
    """
    if data.splits["train"].pixels is not None:
        return data.image_size
    longest = 0
    for split in data.splits.values():
        longest = max(longest, split.images.longest_side(small))
        if longest > small:
            return None
    return longest or None
