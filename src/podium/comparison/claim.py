"""The folder of a comparison: what it was made with is recorded in it, and other settings or images are never mixed in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from podium.comparison.candidates import RankOn
from podium.comparison.images import Images
from podium.data.dataset import Dataset
from podium.data.record import RECORD, read_record
from podium.errors import DataError, ModelFileError, PodiumError, UsageError
from podium.runs import bundle
from podium.runs.folder import SETTINGS
from podium.runs.recommended import REQUEST
from podium.settings import Origins, Settings, read_file, write_file
from podium.training.resume import NOT_COMPARED

AGAIN = "give the same to go on with it, or name another folder with -o"


OTHERWISE: dict[RankOn, tuple[RankOn, str]] = {
    "val": ("test", "on the same held-out images that report (--rank-on test), and none are left to report"),
    "test": ("val", "on validation images, and other images report (--rank-on val)"),
}


def claim(out: Path, merged: Origins, places: Mapping[str, Dataset], images: Images, rank_on: RankOn) -> None:
    """Write the given settings into the folder of a comparison, and refuse one that has runs of other settings or images.

    Args:
        out: the folder.
        merged: settings that hold for all runs, and their origin.
        places: the images that runs in it were trained on, by the pattern of their folders.
        images: the same before they had their roles.
        rank_on: which of them rank the networks.

    Raises:
        UsageError: names the setting that differs, or the folder that holds something else.
        DataError: names the run that was trained on other images.
        ModelFileError: the card of a run is damaged.
    """
    note, given = out / REQUEST, merged.settings
    if not note.is_file() and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: exists already and holds no comparison", "name another folder with -o")
    if note.is_file() and any(out.glob(f"**/{SETTINGS}")):
        recorded = Settings(**read_file(note))
        for key in (key for key in given.to_dict() if key not in NOT_COMPARED):
            old, new = getattr(recorded, key), getattr(given, key)
            if old != new:
                raise UsageError(f"{out}: was made with {key} {old!r}, not {new!r}", AGAIN)
    try:
        for pattern, data in places.items():
            _refuse_others(out, pattern, data)
    except DataError:
        if given.folds is None:
            _refuse_other_roles(out, images, rank_on)
        raise
    out.mkdir(parents=True, exist_ok=True)
    write_file(note, given, merged.origin)


def _refuse_others(out: Path, pattern: str, data: Dataset) -> None:
    """Refuse runs that were trained on other images.

    Args:
        out: the folder of the comparison.
        pattern: of their folders.
        data: the images now.
    """
    for card in out.glob(f"{pattern}/{bundle.CARD}"):
        try:
            trained_on = json.loads(card.read_text(encoding="utf-8"))["data_sha256"]
        except (ValueError, KeyError, TypeError):
            raise ModelFileError(f"{card}: damaged", f"delete {card.parent} to train it again") from None
        if not data.is_what(trained_on):
            raise DataError(f"{card.parent}: was trained on other images than {data.name} has now", AGAIN)
    for path in out.glob(f"{pattern}/{RECORD}"):  # of runs that are not finished
        record = read_record(path.parent)
        if record is not None and record.made.get("fingerprint") != data.fingerprint():
            raise DataError(f"{path.parent}: was begun on other images than {data.name} has now", AGAIN)


def _refuse_other_roles(out: Path, images: Images, rank_on: RankOn) -> None:
    """Refuse to rank networks on other images than their runs were begun for.

    Raises:
        UsageError: the runs have the images in the other roles; says how to go on with them.
    """
    other, how = OTHERWISE[rank_on]
    try:
        _refuse_others(out, "*", images.in_roles(other)[0])
    except PodiumError:
        return
    fix = f"go on with it as it was begun: --rank-on {other}, or name another folder with -o"
    raise UsageError(f"{out}: its networks were trained to be ranked {how}", fix)


def absolute(merged: Origins) -> Origins:
    """Return the settings with the absolute path of their data, where these lie in a file or folder."""
    if not Path(merged.settings.data).exists():
        return merged
    return Origins(merged.settings.replace(data=str(Path(merged.settings.data).resolve())), merged.origin)


def begun_pretrained(out: Path) -> bool | None:
    """Whether the runs of a comparison started from pretrained weights; None where none has begun."""
    for path in sorted(out.glob(f"**/{SETTINGS}")):
        return read_file(path).get("weights") is not None
    return None
