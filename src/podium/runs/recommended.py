"""A comparison's folder in the place of a run: the run that its leaderboard puts first."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

from podium.errors import ModelFileError

ASKED, TABLE = "comparison.yaml", "leaderboard.csv"  # the settings of a comparison as asked, and what came of it


@dataclass(frozen=True)
class Recommended:
    """A run that a comparison puts first.

    Args:
        path: its folder.
        learned: whether it is better than the most frequent class every time.
    """

    path: Path
    learned: bool


def recommended(path: str | os.PathLike[str]) -> Recommended | None:
    """What a comparison's folder recommends; None if the path is something else.

    Raises:
        ModelFileError: the comparison has no finished run yet, its table is damaged, or the run has gone.
    """
    folder = Path(path)
    if not (folder / ASKED).is_file():
        return None
    try:
        with (folder / TABLE).open(newline="", encoding="utf-8") as file:
            row = next(csv.DictReader(file))
        run, learned = row["run"], row["learned"] == "True"
    except FileNotFoundError:
        what = f"{folder}: a comparison that has no finished network yet"
        raise ModelFileError(what, "run the same comparison again, to its end") from None
    except (OSError, ValueError, KeyError, StopIteration, csv.Error) as error:
        what = f"{folder / TABLE}: does not name a run ({type(error).__name__}: {error})"
        raise ModelFileError(what, "run the same comparison again: its table is written anew") from None
    if not run or Path(run).name != run or not (folder / run).is_dir():
        what = f"{folder / TABLE}: recommends {run!r}, which is not there"
        raise ModelFileError(what, "give the folder of a run, or run the same comparison again")
    return Recommended(folder / run, learned)


def run_of(path: str | os.PathLike[str]) -> Path:
    """The folder of a run: the path itself, or what a comparison's folder recommends."""
    found = recommended(path)
    return Path(path) if found is None else found.path
