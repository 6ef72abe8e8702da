"""A comparison in progress: the lock of its folder, and what it says there of itself to those who read along."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from podium.comparison.candidates import Choice
from podium.comparison.protocol import Protocol
from podium.files import write_json
from podium.runs.folder import RunFolder
from podium.runs.recommended import STUDY_NOTE, read_study_note


@contextmanager
def in_progress(out: Path, choice: Choice, seeds: int, folds: int | None) -> Iterator[None]:
    """Lock the folder of a comparison within this context, and note the command line that goes on with it.

    Args:
        out: the folder.
        choice: has the words of the command line, and how networks are ranked.
        seeds, folds: runs of each network; None: no folds.

    Raises:
        InUse: another process compares networks there.
    """
    with RunFolder(out).locked():
        command = {"words": list(choice.words), "folder": str(Path.cwd())} if choice.words else None
        write_json(out / STUDY_NOTE, {"command": command, "protocol": Protocol.of(choice, seeds, folds).to_dict()})
        yield


def add_to_note(out: Path, **found: Any) -> None:
    """Add to what a comparison says of itself.

    Args:
        out: its folder.
        found: `runs`, the folders of the runs to train, below that of the comparison; `failed`, of those that cannot be, with the
            reason; `verdict`, its sentences.
    """
    write_json(out / STUDY_NOTE, {**read_study_note(out), **found})
