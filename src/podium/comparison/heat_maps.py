"""The heat maps of a comparison: a few images, chosen by a rule, as every network sees them. A run keeps those that it has computed."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from zipfile import BadZipFile

import numpy as np
from PIL import Image

from podium.data.dataset import Split
from podium.explain.colours import over
from podium.explain.panels import fitted
from podium.files import write_atomic
from podium.runs import bundle
from podium.runs.bundle import WEIGHTS
from podium.runs.folder import RunFolder

MAPS = "heat_maps.npz"  # in a run folder
EACH = 3  # images that most networks have right, and images that most have wrong
SIDE = 128  # pixels of the longest side of a picture


def chosen_images(guesses: np.ndarray, confidence: np.ndarray, labels: np.ndarray) -> list[int]:
    """Choose the images whose maps are shown: those that most networks have right, then those that most have wrong.

    Among equals those come first on which the networks are most certain of their answers. A class is shown a second time
    only when no other is left.

    Args:
        guesses: (M, N), the answers of M networks to N images.
        confidence: (M, N), of these answers.
        labels: (N,).

    Returns:
        At most `EACH` images of either kind, by number.
    """
    right = (guesses == labels).sum(0)
    certain = confidence.mean(0)
    hits = np.lexsort((-certain, -right))
    wrong = hits[np.argsort(right[hits], kind="stable")]  # as certain ones first among those that most have wrong
    found = _of_different_classes([i for i in hits.tolist() if right[i] > 0], labels)
    return found + _of_different_classes(
        [i for i in wrong.tolist() if right[i] < len(guesses) and i not in found], labels
    )


def _of_different_classes(ordered: Sequence[int], labels: np.ndarray) -> list[int]:
    """The first `EACH` images of an order, each class once before any is shown twice."""
    times: dict[int, int] = {}
    ranked = []
    for place, image in enumerate(ordered):
        times[int(labels[image])] = times.get(int(labels[image]), 0) + 1
        ranked.append((times[int(labels[image])], place, image))
    return [image for _, _, image in sorted(ranked)[:EACH]]


@dataclass(frozen=True)
class Kept:
    """The maps of one run.

    Args:
        weights: the digest of the weights that made them.
        keys: (M,) uint64, of the images' content.
        classes: (M,), that each map explains.
        maps: (M, h, w) float32 in 0..1.
    """

    weights: str
    keys: np.ndarray
    classes: np.ndarray
    maps: np.ndarray

    @classmethod
    def read(cls, run: RunFolder) -> Kept | None:
        """The maps that a run has kept; None where there are none, or where the file is damaged."""
        try:
            with np.load(run / MAPS) as arrays:
                return cls(str(arrays["weights"]), arrays["keys"], arrays["classes"], arrays["maps"].astype(np.float32))
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error):
            return None

    def write(self, run: RunFolder) -> None:
        """Keep the maps in the run's folder."""
        out = io.BytesIO()
        maps = self.maps.astype(np.float16)
        np.savez_compressed(out, weights=np.array(self.weights), keys=self.keys, classes=self.classes, maps=maps)
        write_atomic(run / MAPS, out.getvalue())


def pictures_of(run: RunFolder, images: Split, classes: np.ndarray) -> list[Image.Image] | None:
    """Draw where a network looks in some images for a class of each; a run that has kept these maps does not compute them again.

    Args:
        run: the run.
        images: M of them.
        classes: (M,), the class that is explained in each.

    Returns:
        M pictures of mode "RGB"; None where the folder has no network, as that of a pooled cross-validation has none.

    Raises:
        ModelFileError: the run's network is damaged.
        DataError: an image cannot be read any more.
    """
    if not (run / WEIGHTS).is_file():
        return None
    model = bundle.load(run.path)
    p = model.preprocessing
    photos = [images.scaled(p.white).image(row, p.channels) for row in range(len(images))]
    kept, keys, weights = Kept.read(run), images.contents(), str(model.card["sha256"])
    same = kept is not None and kept.weights == weights and np.array_equal(kept.keys, keys)
    if kept is None or not same or not np.array_equal(kept.classes, classes):
        maps = model.heat(np.stack([p.square(photo) for photo in photos]), classes, model.methods[0])
        kept = Kept(weights, keys, np.asarray(classes), maps)
        kept.write(run)
    drawn = []
    span = model.span(model.methods[0])
    for photo, values in zip(photos, kept.maps, strict=True):
        shown = fitted(photo, SIDE)
        scale = np.array([shown.width / photo.width, shown.height / photo.height] * 2)
        left, top, right, bottom = (float(edge) for edge in scale * p.region(*photo.size))
        drawn.append(over(shown, values, (left, top, right, bottom), span))
    return drawn
