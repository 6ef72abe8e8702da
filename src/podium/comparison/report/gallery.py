"""The pictures of a report: mistakes of each network and images of each cell of its confusion matrix, within a budget of bytes.

A picture is in the page once, however many networks show it. The most important pictures come first: the mistakes of every network,
then the cells in which most images lie, one image of each before a second one of any.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from podium.comparison.report.pictures import name_below
from podium.data.dataset import Dataset
from podium.errors import DataError
from podium.evaluation.metrics import MOST_CLASSES, MOST_CONFUSED, probabilities
from podium.runs.folder import RunFolder

BUDGET = 4_000_000  # bytes of all pictures in a page
SIDE = 128  # pixels of the longest side of a picture
QUALITY = 75  # of the WebP files
LOSSLESS = 32  # pixels of the longest side up to which a picture is kept to the bit: the small ones of benchmarks
MISTAKES = 12  # shown of each network, both of the most and of the least confident ones
OF_A_CELL = 12  # images shown of a cell at most
DIAGONAL = 4  # of those that are right, fewer


@dataclass
class Gallery:
    """The pictures of a page, each once.

    Args:
        data: whose images they are.
        budget: bytes that all of them may take.
        pictures: {uri, name} of each; the uri is empty where the image cannot be read any more.
    """

    data: Dataset
    budget: int = BUDGET
    pictures: list[dict[str, str]] = field(default_factory=list)
    _places: dict[tuple[str, int], int] = field(default_factory=dict)
    _bytes: int = 0

    def add(self, split: str, index: int) -> int | None:
        """The number of an image's picture; None where it is not in the page and the budget is spent."""
        place = self._places.get((split, index))
        if place is None and self._bytes < self.budget:
            images = self.data.splits[split].scaled(self.data.depth[0])
            try:
                uri = small_picture(images.image(index, self.data.channels))
            except DataError:
                uri = ""
            self.pictures.append({"uri": uri, "name": name_below(images, index)})
            self._bytes += len(uri)
            place = self._places[split, index] = len(self.pictures) - 1
        return place


@dataclass
class Shown:
    """The images of a network that a page shows.

    Args:
        run: the network's run.
    """

    run: RunFolder

    def __post_init__(self) -> None:
        logits, self.labels = self.run.predictions
        sure = probabilities(logits)
        self.classes, self.guesses, self.sure = logits.shape[1], sure.argmax(1), sure.max(1)
        self.split = self.run.result["split"]
        self.cells: dict[tuple[int, int], list[tuple[int, int]]] = {}  # (true, predicted) -> (picture, image) of each

    def mistakes(self, gallery: Gallery) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The wrong answers that the network is most certain of, and those that it is least certain of."""
        wrong = np.flatnonzero(self.guesses != self.labels)
        wrong = wrong[np.argsort(-self.sure[wrong], kind="stable")].tolist()
        ends = wrong[:MISTAKES], wrong[MISTAKES:][: -MISTAKES - 1 : -1]
        most, least = ([self._entry(index, gallery) for index in end] for end in ends)
        return most, least

    def _entry(self, index: int, gallery: Gallery) -> dict[str, Any]:
        names = gallery.data.classes
        return {
            "picture": gallery.add(self.split, index),
            "truth": names[self.labels[index]],
            "predicted": names[self.guesses[index]],
            "percent": f"{100 * self.sure[index]:.0f}",
        }

    def wanted(self) -> Iterator[tuple[tuple[int, int, int], tuple[int, int], int]]:
        """(rank, cell, image) of all images that a page with room for them shows; the lowest ranks are the most important."""
        classes = self.classes
        cell = self.labels.astype(np.int64) * classes + self.guesses
        order = np.lexsort((-self.sure, cell))  # of each cell the most certain first
        cells, starts, counts = np.unique(cell[order], return_index=True, return_counts=True)
        wrong = cells // classes != cells % classes
        kept = np.argsort(np.where(wrong, -counts, 0), kind="stable")
        if classes > MOST_CLASSES:  # as of `most_confused`
            kept = kept[:MOST_CONFUSED][wrong[kept[:MOST_CONFUSED]]]
        for place in kept.tolist():
            pair, count = divmod(int(cells[place]), classes), int(counts[place])
            images = order[starts[place] : starts[place] + count]
            if pair[0] == pair[1]:
                images = images[::-1][:DIAGONAL]  # right, and least certain
            for rank, image in enumerate(images[:OF_A_CELL].tolist()):
                yield (pair[0] == pair[1], rank, -count), pair, image

    def to_json(self) -> dict[str, list[list[int]]]:
        """{"true,predicted": [[picture, confidence in per cent], ...]} by the numbers of the classes."""
        return {
            f"{true},{guess}": [[picture, round(100 * float(self.sure[image]))] for picture, image in found]
            for (true, guess), found in self.cells.items()
        }


def fill_cells(networks: Sequence[Shown], gallery: Gallery) -> None:
    """Add pictures of the networks' cells to a gallery, the most important first, until its budget is spent."""
    wanted = [
        (rank, number, cell, image) for number, each in enumerate(networks) for rank, cell, image in each.wanted()
    ]
    for _, number, cell, image in sorted(wanted, key=lambda one: one[:2]):
        network = networks[number]
        if (picture := gallery.add(network.split, image)) is not None:
            network.cells.setdefault(cell, []).append((picture, image))


def small_picture(picture: Image.Image) -> str:
    """A small WebP as a data URI, drawn from the pixels alone, so that no EXIF, GPS position or comment is in it.

    Args:
        picture: of mode "L" or "RGB".
    """
    picture.thumbnail((SIDE, SIDE), reducing_gap=3.0)
    clean, out = Image.fromarray(np.asarray(picture)), io.BytesIO()
    clean.save(out, "WEBP", lossless=max(clean.size) <= LOSSLESS, quality=QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"
