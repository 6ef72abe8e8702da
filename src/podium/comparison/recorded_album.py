"""The pictures behind the recorded answers of runs: the images are found by their content in the data that a run names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from podium.comparison.answered import Answered
from podium.comparison.cross_validation import fold_folders
from podium.comparison.report.pictures import Album
from podium.data.reading import as_recorded
from podium.data.sources import load_stored
from podium.errors import PodiumError
from podium.training.images import settings_in


def recorded_album(folders: Sequence[Path], answered: Answered, wanted: np.ndarray) -> tuple[Album, list[str]]:
    """Find images in the data that the first of some runs names, else the second.

    Args:
        folders: of the runs.
        answered: the answers of one of them, whose preprocessing says how an image is shown.
        wanted: (N,) uint64, the keys of the images' content.

    Returns:
        Where the images lie, and a note where some or all are gone.
    """
    why, p = "", answered.preprocessing
    for place in folders:
        settings = settings_in(next(fold_folders(place), place))
        if not settings:
            continue
        source = settings["data"]
        try:
            how = as_recorded(settings, source)
            data = load_stored(source, resize=p.resize, channels=p.channels, max_pixels=p.max_pixels, **how)
            album = Album.of(data, wanted, p)
        except PodiumError as error:
            why = why or f" ({error.what})"
            continue
        if missing := len(np.setdiff1d(wanted, list(album.places))):
            return album, [f"note: {missing:,} images are no longer in {data.name}, so their pictures are not shown"]
        return album, []
    return Album(), [f"note: no pictures are shown, since the data of the runs are not there{why}"]
