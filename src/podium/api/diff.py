"""`podium.diff`: two trained networks on the same images, and on which of them they disagree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from podium.api.answers import Network, Part
from podium.api.run_images import Run, folder_of, reading_of
from podium.bars import counting_progress
from podium.calls import public
from podium.comparison.answered import (
    Answered,
    Labelled,
    answers_on_record,
    names_of,
    refuse_other_classes,
    shared_images,
)
from podium.comparison.disagreement import Disagreement
from podium.comparison.recorded_album import recorded_album
from podium.comparison.report.pictures import Album
from podium.data.dataset import Dataset
from podium.data.reading import ReadingFields, as_recorded, is_own
from podium.deployment.runtime import Exported, is_exported
from podium.devices import pick_device
from podium.errors import UsageError
from podium.runs.bundle import Bundle
from podium.training.images import settings_in

Progress = Callable[[int, int], None]


@public
def diff(
    first: Run | Exported,
    second: Run | Exported,
    data: str | Path | Dataset | None = None,
    *,
    device: str = "auto",
    progress: Progress | bool | None = None,
    **reading: Unpack[ReadingFields],
) -> Disagreement:
    """Compare two trained networks on the same images: the images that only one has right, and an exact paired test.

    Without `data` the images are those that the results of both runs report, by their recorded answers; images are recognised
    by their content. The pooled answers of a cross-validation count as one network.

    Args:
        first: a run folder, bundle or exported file, or a comparison's folder for the run that it recommends.
        second: the other one, given likewise.
        data: a data set as `load_data` takes or returns it, on which both are evaluated now; images that either was trained on
            are left out. None: what both have on record; where one has nothing, the data of the other.
        device: what computes: "auto" for a GPU where there is one, else the processor; "cpu", "cuda", "cuda:1" or "mps".
        progress: called with (files read, files to read), then with (images done, images in all); False: nothing; None: a bar.
        reading: image_column=, label_column=, split_column= and class_from=, as for `load_data`.

    Returns:
        The counts, scores and intervals as attributes and by `to_dict`; `save("diff.html")` writes the page.

    Raises:
        DataError: they know other classes, or have no images in common that neither was trained on.
        UsageError: no data is given, and neither of the two says which it was made for.
    """
    how = reading_of("diff", reading, data, ["first", "second", "data", "device", "progress"])
    pick_device(device)  # refused at once where it is not here
    places = [_place(network) for network in (first, second)]
    if data is None:
        recorded = [answers_on_record(place) if isinstance(place, Path) else None for place in places]
        if recorded[0] is not None and recorded[1] is not None:
            return _on_record(places, recorded[0], recorded[1])
    with counting_progress(progress, "evaluating") as shown:
        networks = [Network.open(place, device) for place in places]
        source = _own_data(networks) if data is None else data
        known = _reading(networks, source) | ({"reading": how} if how is not None else {})
        parts = [Part.of(network, source, known, shown) for network in networks]
        names = names_of(*((network.model, network.run) for network in networks))
        refuse_other_classes(names, *(network.predictor.classes for network in networks))
        shared = shared_images(*(part.labelled(name) for part, name in zip(parts, names, strict=True)))
        answered = [part.answers(rows, shown) for part, rows in zip(parts, shared.rows, strict=True)]
    one, two = answered[0], answered[1].in_order_of(answered[0].classes)
    notes = [*parts[0].notes(networks[1]), *parts[1].notes(networks[0]), *shared.notes]
    return Disagreement(
        one, two, Album.of(parts[0].data, _differing(one, two), one.preprocessing), tuple(dict.fromkeys(notes))
    )


def _place(network: Run | Exported) -> Path | Bundle | Exported:
    """The path of a network, for a comparison's folder that of the run it recommends; a network that is open already as it is."""
    if isinstance(network, Bundle | Exported):
        return network
    if isinstance(network, str | Path) and is_exported(network):
        return Path(network)
    return folder_of(network)


def _on_record(places: Sequence[Path | Bundle | Exported], first: Answered, second: Answered) -> Disagreement:
    """Compare two runs by their recorded answers."""
    names = names_of((first.model, first.run), (second.model, second.run))
    refuse_other_classes(names, first.classes, second.classes)
    images = [Labelled(name, a.split, a.keys, a.labelled) for name, a in zip(names, (first, second), strict=True)]
    shared = shared_images(*images)
    one = first.select(shared.rows[0])
    two = second.select(shared.rows[1]).in_order_of(one.classes)
    folders = [place for place in places if isinstance(place, Path)]
    album, notes = recorded_album(folders, one, _differing(one, two))
    return Disagreement(one, two, album, (*shared.notes, *notes))


def _differing(one: Answered, two: Answered) -> np.ndarray:
    """The keys of the images that two networks answer differently."""
    return one.keys[one.answers != two.answers]


def _own_data(networks: Sequence[Network]) -> str:
    """The data set that the first of the networks was trained on, else the second.

    Raises:
        UsageError: neither names one.
    """
    for network in networks:
        if settings := settings_in(network.folder):
            return str(settings["data"])
    what = "no data: neither of the two says which images it was made for"
    raise UsageError(what, "give some: podium diff RUN RUN photos/")


def _reading(networks: Sequence[Network], source: str | Path | Dataset) -> dict[str, Any]:
    """How the run that was trained on a data set read it, as keywords of `load_stored`; empty where none of the two was."""
    if isinstance(source, Dataset):
        return {}
    own = [settings for network in networks if is_own(settings := settings_in(network.folder), source)]
    return as_recorded(own[0], source) if own else {}
