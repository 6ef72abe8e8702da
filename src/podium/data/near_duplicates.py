"""Near duplicates: images that are the same but for compression, size or mirroring, found by perceptual hashes.

A hash has 256 bits: which of the lowest frequencies of an image's cosine transform are above their median [Zauner 2010,
"Implementation and benchmarking of perceptual image hash functions"]. The bits are those of `phash` of the library ImageHash,
which takes four times as long. The search compares every two images, in blocks, by counting the bits in
which they differ: first 64 bits of the lowest frequencies, then all bits of the few pairs that are left. The limits are
measured by `benchmarks/near_duplicates.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

SIDE, BITS = 32, 16  # pixels of the image that is hashed; bits a side
LOW = 8  # a side, of the bits that are compared first
NEAR, NEAR_LOW = 30, 12  # bits that may differ, of all and of those that are compared first
# Mirroring an image changes the sign of its odd horizontal frequencies.
MIRROR = np.where(np.arange(BITS) % 2, -1.0, 1.0)
FLAT = 8.0  # standard deviation of grey levels below which an image has no structure to compare
ROWS, COLUMNS = 128, 8192  # of a block


@dataclass(frozen=True)
class Pair:
    """Two images that look alike.

    Args:
        image: the number of the later one.
        other: the number of the earlier one.
        bits: in how many bits they differ, of 256.
        mirrored: whether one looks like the mirror image of the other.
    """

    image: int
    other: int
    bits: int
    mirrored: bool


def hashes(grey: Image.Image) -> np.ndarray | None:
    """The perceptual hashes of an image and of its mirror image.

    Args:
        grey: of mode "L", of any size.

    Returns:
        (2, 4) uint64; None where the image is so flat that its hash would be noise.
    """
    from scipy.fftpack import (
        dct,
    )  # a third of a second, which every training would wait for: its report names what `check` finds

    small = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX))
    if float(np.std(small)) < FLAT:
        return None
    frequencies = dct(dct(small, axis=0), axis=1)[:BITS, :BITS]
    return np.stack([_bits(frequencies), _bits(frequencies * MIRROR)])


def _bits(frequencies: np.ndarray) -> np.ndarray:
    """The hash of these frequencies, (4,) uint64; the first number holds the lowest ones."""
    middle = np.sort(frequencies, axis=None)[BITS * BITS // 2 - 1 : BITS * BITS // 2 + 1]
    bits = frequencies > middle.mean()  # the median; `np.median` takes longer than all the rest
    low, right, below = bits[:LOW, :LOW], bits[:LOW, LOW:], bits[LOW:]
    return np.packbits(np.concatenate([low.ravel(), right.ravel(), below.ravel()])).view(np.uint64)


def near_pairs(
    found: np.ndarray,
    weight: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    near: int = NEAR,
    near_low: int = NEAR_LOW,
) -> list[Pair]:
    """Find for each image the earlier image that it most resembles.

    Args:
        found: (N, 2, 4) uint64, as `hashes` returns them.
        weight: from the numbers of later and earlier images, (M,) each, to (M,) integers from 0 to 9: of several earlier images
            that resemble one, one of the largest weight is taken, and of these the most alike.
        near: bits of 256 in which two images may differ.
        near_low: bits of the lowest 64 in which they may differ.

    Returns:
        At most one pair for each image, in the order of the images.
    """
    own, mirrored = np.ascontiguousarray(found[:, 0]), np.ascontiguousarray(found[:, 1])
    low = np.ascontiguousarray(own[:, 0])
    pairs = []
    for start in range(0, len(own), ROWS):
        stop = min(start + ROWS, len(own))
        best = np.full(stop - start, -1, np.int64)
        for left in range(0, stop, COLUMNS):
            columns = slice(left, min(left + COLUMNS, stop))
            for flip, rows in enumerate((own[start:stop], mirrored[start:stop])):
                differ = np.bitwise_count(rows[:, :1] ^ low[None, columns])
                row, column = np.nonzero(differ <= near_low)
                column += left
                earlier = column < row + start
                row, column = row[earlier], column[earlier]
                bits = np.bitwise_count(rows[row] ^ own[column]).sum(1, dtype=np.int64)
                kept = bits <= near
                row, column, bits = row[kept], column[kept], bits[kept]
                more = weight(row + start, column) if weight is not None else 0
                np.maximum.at(best, row, _rank(more, bits, flip, column))
        pairs += [_pair(start + row, int(rank)) for row, rank in enumerate(best) if rank >= 0]
    return pairs


def _rank(weight: np.ndarray | int, bits: np.ndarray, flip: int, column: np.ndarray) -> np.ndarray:
    """One number a pair, larger for a better one: by weight, bits, not being mirrored, and being earlier."""
    return (((np.int64(weight) * 1024 + 1023 - bits) * 2 + 1 - flip) << 32) + (2**32 - 1 - column)


def _pair(image: int, rank: int) -> Pair:
    rest, column = divmod(rank, 2**32)
    bits, unflipped = divmod(rest, 2)
    return Pair(image, 2**32 - 1 - column, 1023 - bits % 1024, not unflipped)


def stacked(found: Sequence[np.ndarray | None]) -> tuple[np.ndarray, list[int]]:
    """The hashes of the images that have some, (M, 2, 4) uint64, and the numbers of these images."""
    rows = [row for row, one in enumerate(found) if one is not None]
    kept = [one for one in found if one is not None]
    return np.array(kept, np.uint64).reshape(-1, 2, BITS * BITS // 64), rows
