"""The training images that a network finds most like an image, by its pooled features."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from podium.explain.last_map import as_input, undisturbed
from podium.explain.panels import Panel, Picture, fitted, short_name
from podium.models.convnet import ConvNet

SIDE = 136  # pixels of the longest side of a picture
SHOWN = 8  # neighbours


@dataclass(frozen=True)
class Neighbour:
    """A training image.

    Args:
        name: of the image.
        label: its class.
        similarity: the cosine of the angle between its features and those of the image it is compared with; 1 for its copy.
        photo: the image.
    """

    name: str
    label: str
    similarity: float
    photo: Image.Image


@dataclass(frozen=True)
class Nearest:
    """An image and the training images most like it.

    Args:
        row: the network's answer to the image, as `predict` returns it.
        photo: the image.
        neighbours: the most alike first.
    """

    row: dict[str, Any]
    photo: Image.Image
    neighbours: tuple[Neighbour, ...]

    def panels(self) -> list[Panel]:
        """The photo and its neighbours, in order."""
        first = self.row["top"][0]
        shown = [Picture(fitted(self.photo, SIDE), f"{first['class']} {100 * first['probability']:.1f} %")]
        shown += [Picture(fitted(n.photo, SIDE), f"{n.label}\n{n.similarity:.3f}") for n in self.neighbours]
        return [Panel(f"{short_name(self.row['file'])}: the most similar training images", shown)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        found = [{"file": n.name, "class": n.label, "similarity": n.similarity} for n in self.neighbours]
        return {**self.row, "method": "nearest", "nearest": found}

    def describe(self) -> str:
        """One line: the answer, and the classes of the neighbours."""
        named = ", ".join(f"{n.name} ({n.label}, {n.similarity:.3f})" for n in self.neighbours[:3])
        return f"{self.row['file']}: {self.row['answer']}; nearest {named}"


def pooled_features(net: ConvNet, batches: Iterable[Tensor], shown: Callable[[int], None] | None = None) -> np.ndarray:
    """Compute what the network's head reads: its last map, pooled and flattened, at length 1.

    Args:
        net: the network, which is left as it is.
        batches: of images (N, C, S, S), normalised.
        shown: called with the number of images done.

    Returns:
        (N, F) float32, each row of length 1.
    """
    rows, done = [], 0
    with undisturbed(net), torch.no_grad():
        for x in batches:
            features = net.head.pool(net.forward_features(as_input(net, x))).flatten(1).float()
            rows.append(torch.nn.functional.normalize(features, dim=1).cpu().numpy())
            done += len(x)
            if shown is not None:
                shown(done)
    return np.concatenate(rows)


def most_alike(image: np.ndarray, others: np.ndarray, count: int = SHOWN) -> list[tuple[int, float]]:
    """The rows of `others` (N, F) nearest to the features (F,) of an image, with their similarity, the nearest first."""
    similarity = others @ image
    return [(int(i), float(similarity[i])) for i in np.argsort(-similarity, kind="stable")[:count]]
