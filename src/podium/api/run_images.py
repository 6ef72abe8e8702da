"""The run that a caller names, and the images that belong to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from podium.compression.shrink import Shrunk
from podium.data.dataset import Dataset
from podium.data.folds import in_roles
from podium.data.names import show
from podium.data.reading import Reading, ReadingFields, as_recorded, from_keywords
from podium.data.roles import Record, described, for_evaluation, without_learned
from podium.data.sources import load_stored
from podium.deployment.runtime import Exported
from podium.errors import DataError, UsageError
from podium.runs import bundle
from podium.runs.bundle import Bundle
from podium.runs.folder import RunFolder
from podium.runs.recommended import run_of
from podium.training.images import images_of, known_to, settings_in

Run = str | Path | RunFolder | Shrunk | Bundle  # everything that names a trained network


def bundle_of(run: Run) -> Bundle:
    """The bundle of a run, opened; a bundle that is open already is returned as it is."""
    return run if isinstance(run, Bundle) else bundle.load(folder_of(run))


def folder_of(run: str | Path | RunFolder | Shrunk) -> Path:
    """The folder of a run; of a comparison's folder, that of the run it recommends."""
    run = run.run if isinstance(run, Shrunk) else run
    return run_of(run.path if isinstance(run, RunFolder) else run)


def reading_of(
    caller: str, given: ReadingFields, data: str | Path | Dataset | None, others: Sequence[str]
) -> Reading | None:
    """Where the labels of the data stand, as a caller says it; None where nothing is said.

    Args:
        caller: the function's name.
        given: its keywords.
        data: as the caller gives them.
        others: the names of its other arguments, for what is misspelt.

    Raises:
        UsageError: a keyword is unknown, or there are no data that it could be said of.
    """
    if not given:
        return None
    reading, name = from_keywords(caller, given, others), next(iter(given))
    if isinstance(data, Dataset):
        raise UsageError(f"{name}: the data set is loaded already", "give it to load_data")
    if data is None:
        raise UsageError(
            f"{name}: no data are given, and the run knows how its own are read", "give the data too, or leave it out"
        )
    return reading


def images_for(
    model: Bundle | Exported,
    data: str | Path | Dataset | None,
    to_train: bool = True,
    reading: Reading | None = None,
    given: str = "with --data DATA",
) -> Dataset:
    """The data set that the caller gives, or the one that a run was trained on, with the run's own split.

    Args:
        model: the network of the run, opened; the settings beside it name its data. Images that it was trained on are never
            among the others.
        data: the data set; None takes the run's own.
        to_train: whether training images are needed too; otherwise a folder of test images, or of one class, will do.
        reading: where the labels stand; None: as for the run's training, where these are its data.
        given: how a person gives other images, for the fix; empty where that is not possible.

    Raises:
        UsageError: no data set is given, and the run does not name one.
        DataError: the data set is not there, or has none of the network's classes.
    """
    p = model.preprocessing
    p.check_channels()
    recorded: dict[str, Any] = {"val": None, "test": None, "seed": 0, "split_seed": None}
    own = settings_in(model.folder if isinstance(model, Bundle) else None)
    if data is None:
        if not own:
            what = "no data: which images the network was trained on is not on record"
            raise UsageError(what, f"give images of its classes {given}")
        recorded |= own
        data = recorded["data"]
        _refuse_moved(Path(recorded["data"]), given)
    record = None
    if not isinstance(data, Dataset):
        how = as_recorded(own, data) | ({} if reading is None else {"reading": reading})
        if isinstance(model, Bundle):
            stored = images_of(model, data, **how)
        else:
            stored = load_stored(data, resize=p.resize, channels=p.channels, max_pixels=p.max_pixels, **how)
        record = known_to(model, stored) if isinstance(model, Bundle) else None
        seed = recorded["seed"] if recorded["split_seed"] is None else recorded["split_seed"]
        val, test = (_share(name, recorded[name], stored, record) for name in ("val", "test"))
        split = in_roles(stored, val, seed, record, test=test) if to_train else for_evaluation(stored, record)
        read = {"on_bad": how["on_bad"], "max_pixels": p.max_pixels, **vars(how["reading"])}
        data = replace(described(split), loaded_with=read)  # a run that is trained on them records it
    elif isinstance(model, Bundle) and (record := known_to(model, data)) is not None:
        data = without_learned(data, record)
    if not set(data.classes) & set(model.classes):
        known = ", ".join(model.classes[:10]) + (", ..." if len(model.classes) > 10 else "")
        raise DataError(f"{data.name}: none of the network's classes is in it", f"give images of some of them: {known}")
    return data


def _refuse_moved(data: Path, given: str) -> None:
    """Refuse the data that a run names, a path where it was a file or folder, if they are no longer there."""
    if data.is_absolute() and not data.exists():
        what = f"{show(data)}: the images that the network was trained on are no longer there"
        raise DataError(what, f"give their new place {given}, or put them back" if given else "put them back")


def _share(role: str, given: float | None, data: Dataset, record: Record | None) -> float | None:
    """The share of training images to hold out: of data that have images which a run held out, as many as it did."""
    if given is not None or record is None or role in data.splits or "train" not in data.splits:
        return given
    held = record.held_out(data.splits["train"]).any()
    return record.made.get({"val": "share", "test": "test"}[role]) if held else None
