"""Takes a comparison's folder in the place of a run: the run that it recommends."""

from __future__ import annotations

import csv
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podium.errors import ModelFileError

logger = logging.getLogger("podium")

REQUEST, TABLE = "comparison.yaml", "leaderboard.csv"  # the settings a comparison was started with, and its outcome
STUDY_NOTE = "study.json"  # the command line of a comparison, its runs, and in the end its verdict
FOLD = "fold"  # how the folders of a cross-validation's folds are called, before their number


@dataclass(frozen=True)
class Recommended:
    """The run that a comparison recommends.

    Args:
        path: its folder.
        learned: whether it is better than to answer the most frequent class every time.
    """

    path: Path
    learned: bool


def recommended(path: str | os.PathLike[str]) -> Recommended | None:
    """Return the run that a comparison's folder recommends; None where the path is no comparison.

    Raises:
        ModelFileError: the comparison has no finished run yet, its table is damaged, or the run is gone.
    """
    folder = Path(path)
    if not (folder / REQUEST).is_file():
        return None
    try:
        with (folder / TABLE).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        _refuse_none_within(folder, rows)
        # Tables of Podium 0.1.0 have no such column; their first row was the one to take.
        row = next((row for row in rows if row.get("recommended") == "True"), rows[0])
        run, learned = row["run"], row["learned"] == "True"
    except FileNotFoundError:
        what = f"{folder}: a comparison that has no finished network yet"
        raise ModelFileError(what, "run the same comparison again, to its end") from None
    except (OSError, ValueError, KeyError, IndexError, csv.Error) as error:
        what = f"{folder / TABLE}: does not name a run ({type(error).__name__}: {error})"
        raise ModelFileError(what, "run the same comparison again: its table is written anew") from None
    if not run or Path(run).name != run or not (folder / run).is_dir():
        what = f"{folder / TABLE}: recommends {run!r}, which is not there"
        raise ModelFileError(what, "give the folder of a run, or run the same comparison again")
    if (folder / run / f"{FOLD}1").is_dir():  # it holds the runs of the folds, and no network that saw all images
        what = f"{folder}: was cross-validated, and no network was trained on all images"
        why = "because none has clearly learned" if not learned else "because that run failed"
        raise ModelFileError(
            f"{what}, {why}", "run the same comparison again, or one that trains longer in another folder"
        )
    return Recommended(folder / run, learned)


def read_study_note(folder: Path) -> dict[str, Any]:
    """What a comparison says of itself: {command, protocol, runs, verdict}, as far as it has come; empty of an older one."""
    try:
        found = json.loads((folder / STUDY_NOTE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _refuse_none_within(folder: Path, rows: list[dict[str, str]]) -> None:
    """Refuse a comparison that recommends no network, since each that has learned is above its limits.

    Raises:
        ModelFileError: it is one; names the nearest network.
    """
    learned = [row for row in rows if row.get("learned") == "True" and row.get("of_limits")]
    if not learned or any(row.get("recommended") == "True" for row in rows):
        return
    nearest = min(learned, key=lambda row: float(row["of_limits"]))
    what = f"{folder}: recommends no network, since none is within its limits of latency or size"
    fix, run = "run the same comparison again with other limits", folder / nearest["run"]
    if not (run / f"{FOLD}1").is_dir():  # with folds there is no network to give
        fix += f", or give {run}, the nearest to them"
    raise ModelFileError(what, fix)


def run_of(path: str | os.PathLike[str]) -> Path:
    """Return the folder of a run: the path itself, or the run that a comparison's folder recommends, which is said."""
    found = recommended(path)
    if found is None:
        return Path(path)
    which = "run that it recommends" if found.learned else "first run of its table, since it recommends none"
    logger.info(f"{path} stands for the {which}: {found.path}")
    if not found.learned:
        logger.warning(f"{found.path} is not clearly better than the most frequent class every time")
    return found.path
