"""Features of images for small classifiers that decide something about a data set, without a trained network. numpy and Pillow only.

They are the responses to whitened patches of the images themselves, pooled over a grid [Coates, Ng and Lee 2011, "An analysis
of single-layer networks in unsupervised feature learning"].
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from podium.data.dataset import Split
from podium.data.decode import reduction
from podium.data.images import ImageSource
from podium.errors import DataError

SIDE, PATCH, FILTERS = 32, 6, 64  # pixels; filters
CELLS = 3  # a side; each has 9 x 9 places, of which the strongest response is kept
CONTRAST = 100.0  # variance that counts as flat, in grey levels squared


def small_image(images: Split | ImageSource, row: int) -> np.ndarray | None:
    """A whole image on SIDE x SIDE pixels; None where it cannot be read, which training reports."""
    try:
        pixels = images.array(row, 3, lambda width, height: reduction(min(width, height) / SIDE))
    except DataError:
        return None
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _windows(images: np.ndarray) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(images, (PATCH, PATCH), (1, 2))


def patch_filters(images: np.ndarray) -> np.ndarray:
    """Decorrelated filters (PATCH², FILTERS) that respond to patches of the images."""
    draw, places = np.random.Generator(np.random.PCG64(0)), 10_000
    across = SIDE - PATCH + 1
    where = (draw.integers(0, limit, places) for limit in (len(images), across, across))
    patches = _windows(images)[tuple(where)].reshape(places, -1)
    patches = patches - patches.mean(1, keepdims=True)
    strength = np.square(patches).mean(1)
    normal = patches / np.sqrt(strength + CONTRAST)[:, None]
    values, vectors = np.linalg.eigh(np.cov(normal.T))
    whitening = (vectors / np.sqrt(values + 0.1 * values.mean() + 1e-9)) @ vectors.T
    chosen = np.flatnonzero(strength > max(1.0, float(np.median(strength))))[:FILTERS]
    found = normal[chosen] @ whitening if len(chosen) == FILTERS else draw.standard_normal((FILTERS, PATCH * PATCH))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(whitening @ found.T, np.float32)


def patch_features(images: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Features (N, D) of images (N, SIDE, SIDE): the strongest response to each patch, light or dark, in each cell and overall."""
    out = []
    for start in range(0, len(images), 64):
        windows = _windows(images[start : start + 64])
        count, across = windows.shape[:2]
        patches = windows.reshape(-1, PATCH * PATCH)
        patches = patches - patches.mean(1, keepdims=True)
        patches /= np.sqrt(np.square(patches).mean(1, keepdims=True) + CONTRAST)
        response = np.abs(patches @ filters).reshape(count, CELLS, across // CELLS, CELLS, across // CELLS, FILTERS)
        cells = response.max((2, 4))
        out.append(np.concatenate([cells.reshape(count, -1), cells.max((1, 2))], 1))
    return np.concatenate(out)
