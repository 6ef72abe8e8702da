"""The images of a run, without those that its starting weights or its teacher were trained on."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from podium.data.dataset import Dataset
from podium.data.folds import in_roles
from podium.data.groups import with_groups
from podium.data.held_out import hold_out
from podium.data.images import Progress
from podium.data.reading import NAMES, Reading, as_recorded, is_own, recorded
from podium.data.record import Record, merged, read_record
from podium.data.roles import HELD_OUT, described, for_evaluation, without_learned
from podium.data.sources import load_stored
from podium.errors import DataError, UsageError
from podium.runs.bundle import CARD, Bundle
from podium.runs.folder import SETTINGS
from podium.runs.recommended import REQUEST, run_of
from podium.settings import Origins, Settings, parse_recall, read_file
from podium.training.transfer.source import PIN, read_source

logger = logging.getLogger("podium")

BALANCE = ("class_weights", "sampler")  # what makes up for classes of few images; one of the two does
AS_LOADED = "as the data set was loaded"


def source_of(data: str | Path | Dataset) -> str:
    """Return what settings call a data set: its path or name."""
    return data.source if isinstance(data, Dataset) else str(data)


def loaded(data: str | Path | Dataset) -> Dataset | None:
    """Return the data set itself where it was loaded already; None for a path or name."""
    return data if isinstance(data, Dataset) else None


def as_loaded(s: Settings, data: Dataset) -> tuple[Settings, dict[str, str]]:
    """Return settings that say how a data set was loaded, by which its run goes on and is evaluated.

    Args:
        s: the settings of the run.
        data: its data set; where it was not loaded before, the settings say how it was read already.

    Returns:
        The settings, and the origin of each that has changed.
    """
    own = (
        ("val", "test", "split_seed") if s.folds is not None else ()
    )  # the folds of a loaded data set are drawn by the run
    found = {key: value for key, value in data.loaded_with.items() if key not in own and value != getattr(s, key)}
    return s.replace(**found), dict.fromkeys(found, AS_LOADED)


def split_seed(s: Settings) -> int:
    """Return the seed that chooses the held-out images."""
    return s.seed if s.split_seed is None else s.split_seed


def data_of(
    s: Settings, own: Record | None = None, progress: Progress | None = None, starts: Sequence[str] = ()
) -> Dataset:
    """Load the data set that settings name, with its images in their roles: train, val and test.

    Args:
        s: of the run.
        own: the run's own record of its images, where it goes on.
        progress: called with (files read, files to read) while image files are read for the first time.
        starts: names of more weights, whose images are kept apart too.

    Raises:
        DataError: the data cannot be read, or nothing is left to train on or to evaluate on.
    """
    return _in_roles(s, lambda stored: own or inherited(s, stored, starts), progress)


def _in_roles(s: Settings, find: Callable[[Dataset], Record | None], progress: Progress | None = None) -> Dataset:
    """Load the data set of some settings, with its images in the roles that a record gives them.

    Args:
        s: the settings.
        find: from the data set as it is stored to the record of its images.
        progress: called with (files read, files to read) where files are read for the first time.
    """
    stored = stored_of(s, progress)
    return in_roles_of(s, stored, find(stored))


def in_roles_of(s: Settings, stored: Dataset, record: Record | None) -> Dataset:
    """Give a data set as it is stored the roles that settings say, or a record of its images."""
    return described(in_roles(stored, s.val, split_seed(s), record, s.folds, s.fold, s.test))


def stored_of(s: Settings, progress: Progress | None = None) -> Dataset:
    """Load the data set that settings name with the splits it was given, and with the groups that they name.

    Args:
        s: the settings.
        progress: called with (files read, files to read) where files are read for the first time.
    """
    how: dict[str, Any] = {
        name: getattr(s, name) for name in ("resize", "on_bad", "channels", "max_pixels", "group_from")
    }
    data = load_stored(s.data, **how, progress=progress, reading=Reading.of(vars(s)))
    return with_groups(data, s.group_from, s.group_column)


def inherited(s: Settings, data: Dataset, starts: Sequence[str] = ()) -> Record | None:
    """Return which images the starting weights and the teacher of a run learned from and held out; None where there are none.

    Args:
        s: of the run.
        data: of the run.
        starts: names of more weights.

    Raises:
        DataError: one of them was trained on these data, and on which of the images is not on record.
    """
    records = []
    for name in (s.weights, s.teacher, *starts):
        folder = Path((name or "").partition(PIN)[0])
        if name and folder.is_dir():
            folder = run_of(folder)
            record = read_record(folder)
            if record is None and s.split_seed is None:
                record = recognised(folder, data)
            records += [record] if record is not None else []
    return merged(records)


def recognised(folder: Path, data: Dataset) -> Record | None:
    """Return the record of a run or bundle of Podium 0.1.0, which wrote none: the split that has the card's fingerprint.

    Args:
        folder: of the run or bundle.
        data: as loaded, or with the splits that it was given.

    Returns:
        None where it was not trained on these images.

    Raises:
        DataError: it was trained on data at this place without splits, and these are not the same images.
    """
    card, settings = _card(folder), read_file(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    chosen = card.get("held_out") or {}
    above = folder.parent / REQUEST
    seeds = [chosen.get("seed"), settings.get("split_seed"), settings.get("seed"), card.get("seed"), 0]
    seeds += [read_file(above).get("seed")] if above.is_file() else []
    share = chosen.get("share") or settings.get("val") or HELD_OUT
    flat = set(data.splits) == {"train"}
    candidates = [] if flat else [data]
    if "val" not in data.splits and "train" in data.splits:
        for seed in dict.fromkeys(seed for seed in seeds if isinstance(seed, int)):
            with contextlib.suppress(DataError):  # too few images by now
                candidates += [hold_out(data, share, seed, together) for together in (True, False)]
    for split in candidates if "data_sha256" in card else ():
        if split.is_what(card["data_sha256"]):
            roles = {name: part.contents() for name, part in split.splits.items()}
            return Record(roles, np.zeros(0, np.uint64), {"fingerprint": split.fingerprint(), **(split.held_out or {})})
    if flat and settings and data.source and Path(settings.get("data", "")).resolve() == Path(data.source).resolve():
        raise DataError(
            f"{folder}: was written before runs put their split on record, and the images of {data.name} are not what they were "
            "then: which of them it was trained on is not known",
            "give the seed of its split (eval, train: --split-seed N), or images that it has never seen",
        )
    return None


def _card(folder: Path) -> dict[str, Any]:
    try:
        card = json.loads((folder / CARD).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return card if isinstance(card, dict) else {}


def images_of(model: Bundle, source: str | Path, **how: Any) -> Dataset:
    """Load a data set with the network's channels and its way to make images square, with no images held out."""
    p, record = model.preprocessing, read_record(model.folder) if model.folder is not None else None
    how["group_from"] = record.made.get("group_from") if record is not None else None
    return load_stored(source, resize=p.resize, channels=p.channels, max_pixels=p.max_pixels, **how)


def known_to(model: Bundle, data: Dataset, decided: bool = False) -> Record | None:
    """Return which images a run or bundle learned from and held out, from its record or by recognising its split.

    Args:
        model: the run or bundle.
        data: that may hold its images.
        decided: whether the seed of the split was given, so that only a record counts.
    """
    if model.folder is None:
        return None
    record = read_record(model.folder)
    return record if record is not None or decided else recognised(model.folder, data)


def evaluated_on(
    model: Bundle,
    data: str | Path | Dataset,
    seed: int | None = None,
    progress: Progress | None = None,
    reading: Reading | None = None,
) -> Dataset:
    """Return a data set for the evaluation of a run or bundle, without the images that it was trained on.

    Args:
        model: the run or bundle.
        data: a data set, its path or its name.
        seed: of the split of a run that has none on record.
        progress: called with (files read, files to read) while image files are read for the first time.
        reading: where the labels stand; None: as for the run's training, where these are its data.

    Raises:
        UsageError: a seed is given, but the run has its split on record.
        DataError: it was trained on all of these data, or on images of them that are not on record.
    """
    if isinstance(data, Dataset):
        stored = data
    else:
        how = as_recorded(settings_in(model.folder), data) | ({"reading": reading} if reading is not None else {})
        stored = images_of(model, data, progress=progress, **how)
    if seed is None:
        record = known_to(model, stored)
        split = for_evaluation(stored, record)
        if record is None and set(stored.splits) == {"train"} and "origin" not in model.card:
            note = "note: which images the network was trained on is not on record; were some of these among them, it would look better than it is"
            split.notes = (*split.notes, note)
        return split
    if model.folder is None or read_record(model.folder) is not None:
        raise UsageError(f"split_seed: {seed}, but the run has its split on record", "leave --split-seed out")
    if set(stored.splits) != {"train"}:
        raise UsageError(f"split_seed: {seed}, but {stored.name} has splits of its own", "leave --split-seed out")
    settings = settings_in(model.folder)
    return hold_out(stored, settings.get("val") or HELD_OUT, seed, together=False)


def settings_in(folder: Path | None) -> dict[str, Any]:
    """The settings of a run; empty where a folder has none."""
    return read_file(folder / SETTINGS) if folder is not None and (folder / SETTINGS).is_file() else {}


def as_parent(merged: Origins, run: str | Path, data: Dataset | None) -> tuple[Settings, Dataset]:
    """Return settings and data as a trained network had them: held-out images, resize, what classes weigh, operating points.

    Args:
        merged: the settings and their origins.
        run: a run or bundle.
        data: loaded already; None: the data set that the settings name.
    """
    s, model = merged.settings, read_source(str(run), "run").bundle
    if model.folder is not None and (model.folder / SETTINGS).is_file():
        before = {"split_seed": None, **read_file(model.folder / SETTINGS)}
        before |= vars(recorded(before, s.data))
        kept = ["val", "test", "seed", "split_seed", "group_from", "group_column", *NAMES]
        kept += ["folds", "fold"] if data is None else []
        kept += ["on_bad", "slice"] if is_own(before, s.data) else []
        kept += ["recall", *([] if any(merged.origin[key].given for key in BALANCE) else BALANCE)]
        s = s.replace(**{key: before[key] for key in kept if key in before and not merged.origin[key].given})
    if data is None:
        p = model.preprocessing
        s = s.replace(resize=p.resize, channels=s.channels or p.channels)
        s = s if merged.origin["max_pixels"].given else s.replace(max_pixels=p.max_pixels)
        decided = merged.settings.split_seed is not None
        data = _in_roles(s, lambda stored: known_to(model, stored, decided))
        if Path(s.data).exists():
            data.source = str(Path(s.data).resolve())
    elif (record := known_to(model, data)) is not None:
        data = without_learned(data, record)
    if not merged.origin["recall"].given:
        s = s.replace(recall=taken_over(s.recall, run, data))
    return s, data


def taken_over(recall: str | None, run: str | Path, data: Dataset) -> str | None:
    """Return the operating points of a run for another one; None where its data cannot fit them, which is logged.

    Args:
        recall: the setting of the run.
        run: its name.
        data: of the other one.
    """
    if recall is None or ({"val", "test"} <= data.splits.keys() and set(parse_recall(recall)) <= set(data.classes)):
        return recall
    why = "these data have no such class, or no held-out images other than those that measure the accuracy"
    logger.info(f"recall: {recall} of {run} is not used: {why}")
    return None


def refuse_other_images(own: Record, data: Dataset) -> None:
    """Refuse to resume a run on other images than those it began with.

    Args:
        own: the run's record of its images.
        data: the images now.

    Raises:
        DataError: the images differ; says how many are new and how many are gone.
    """
    if own.made.get("fingerprint") == data.fingerprint():
        return
    before = np.concatenate(list(own.roles.values()))
    now = np.concatenate([split.contents() for split in data.splits.values()])
    fresh, gone = len(np.setdiff1d(now, before)), len(np.setdiff1d(before, now))
    how = f"{fresh:,} are new, {gone:,} are gone" if fresh or gone else "their names or classes are others"
    back = " and ".join(["put back what is gone"] * (gone > 0) + ["take out what is new"] * (fresh > 0))
    raise DataError(
        f"data: the images of {data.name} are not those the run began with ({how})",
        f"{back or 'name and sort them as they were'}, or start another run with -o",
    )
