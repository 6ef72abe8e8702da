"""Explain the answers of a network: what `podium explain` shows, image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from podium.data.inputs import Input, inputs
from podium.deployment.load import load
from podium.deployment.runtime import Exported
from podium.errors import DataError, NumericError, PodiumError, UsageError, closest
from podium.explain.panels import Panel
from podium.runs.predictor import OTHER_METHODS

if TYPE_CHECKING:  # torch is imported for runs and bundles only
    from podium.data.dataset import Dataset
    from podium.explain.layers import Layers
    from podium.runs.bundle import Bundle

HEAT = ("grad-cam", "class-map", "occlusion", "integrated-gradients")
BATCH, WORKERS = 64, 2  # training images whose features are computed together, and threads that decode them

Progress = Callable[[int, int], None]  # called with (done, total)


class Shown(Protocol):
    """What an explanation of any kind can do."""

    def panels(self) -> list[Panel]:
        """Its pictures."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""

    def describe(self) -> str:
        """One line for people."""


Explained = tuple[str, Shown | PodiumError]  # the name of an image, and its explanation or its error


def explain(
    run: str | Path,
    images: list[str],
    *,
    method: str | None = None,
    label: str | None = None,
    data: str | Path | Dataset | None = None,
    device: str = "auto",
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Explained]:
    """Explain the answers of a network to images, one after the other.

    Args:
        run: a run folder, a comparison's folder (its recommended run), a bundle or an exported file.
        images: as `Predictor.predict` takes them.
        method: a heat map (see `HEAT`), "layers" or "nearest"; None: the network's usual heat map.
        label: the class that a heat map explains; None: the most probable one of each image.
        data: where "nearest" finds its images: a data set as `load_data` takes or returns it, of which the training images
            count; None: the run's own.
        device: what computes: "auto" for a GPU where there is one, else the processor; "cpu", "cuda", "cuda:1" or "mps".
        max_pixels: the largest width times height of an image that is opened; None: as when the network was trained.
        progress: called with (training images done, training images) while their features are computed.

    Returns:
        For each image its name, and its explanation or its error.

    Raises:
        UsageError: an argument is unknown, or of no use to the method.
        ModelFileError: the network cannot be read.
        DataError: the training images cannot be read.
    """
    _refuse_idle(method, label, data)
    model = load(run, device=device)
    if max_pixels is not None:
        model = replace(model, preprocessing=replace(model.preprocessing, max_pixels=max_pixels))
    if method not in OTHER_METHODS:
        return model.explained(images, label, method)
    if isinstance(model, Exported):
        with_data = " with --data DATA" if method == "nearest" and data is None else ""
        fix = f"give the run that it was made from, or its bundle{with_data}"
        raise UsageError(f"method: {method}, which an exported file does not have: {run}", fix)
    model.preprocessing.check_channels()
    if method == "layers":
        return (_each(model, one, _layers) for one in inputs(images))
    find = _nearest_in(model, data, progress or (lambda done, total: None))
    return (_each(model, one, find) for one in inputs(images))


def _refuse_idle(method: str | None, label: str | None, data: Any) -> None:
    """Refuse an unknown method, and arguments that the method would ignore."""
    if method is not None and method not in (*HEAT, *OTHER_METHODS):
        known = [*HEAT, *OTHER_METHODS]
        like = closest(method, known, cutoff=0.7)
        raise UsageError(f"method: there is no {method!r}", like or f"give one of {', '.join(known)}")
    if label is not None and method in OTHER_METHODS:
        raise UsageError(f"class: {label}, but {method} explains no class", "leave it out, or make a heat map")
    if data is not None and method != "nearest":
        raise UsageError("data: only the method nearest needs training images", "leave it out, or add --method nearest")


def _each(model: Bundle, one: Input, make: Callable[[Bundle, Input], Shown]) -> Explained:
    """What a function makes of an image, or why there is nothing to show."""
    try:
        return one.name, make(model, one)
    except (DataError, NumericError, UsageError) as problem:
        return one.name, problem


def _layers(model: Bundle, one: Input) -> Layers:
    from podium.explain.layers import Layers

    p = model.preprocessing
    photo = one.read(p)
    x = model.normalised(p.square(photo)[None])
    return Layers.of(model.model, x, one.name, photo, p.channel_order == "rgb")


def _nearest_in(
    model: Bundle, data: str | Path | Dataset | None, progress: Progress
) -> Callable[[Bundle, Input], Shown]:
    """A function that finds the training images most like an image; their features are computed once.

    Raises:
        UsageError: no data set is given, and the network does not name one.
        DataError: there are no training images.
    """
    from podium.api.run_images import images_for
    from podium.data.loader import Loader
    from podium.explain.nearest import Nearest, Neighbour, most_alike, pooled_features

    found = images_for(model, data)
    if "train" not in found.splits:
        raise DataError(f"{found.name}: no training images", "give data that have some with --data DATA")
    p, images = model.preprocessing, found.splits["train"]
    device = next(model.model.parameters()).device
    loader = Loader(images, p, batch_size=BATCH, device=device, workers=WORKERS)
    features = pooled_features(model.model, (b.x for b in loader.epoch()), lambda done: progress(done, len(images)))
    seen = images.scaled(p.white)

    def nearest(model: Bundle, one: Input) -> Nearest:
        photo = one.read(p)
        (row,) = model.predict([photo])
        (own,) = pooled_features(model.model, [model.normalised(p.square(photo)[None])])
        neighbours = [
            Neighbour(images.name_of(i), found.classes[images.labels[i]], similarity, seen.image(i, p.channels))
            for i, similarity in most_alike(np.asarray(own), features)
        ]
        return Nearest({**row, "file": one.name}, photo, tuple(neighbours))

    return nearest
