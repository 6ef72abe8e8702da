"""One comparison as a board shows it: what it is about to train, its leaderboard, its verdict and whether it is under way."""

from __future__ import annotations

import csv
import io
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podium.board.followed import Followed, Lock, State
from podium.board.tails import Whole, both, number, parse_object, signature
from podium.board.trained import SHOWN, Trained, parse_settings
from podium.runs.folder import RESULT
from podium.runs.recommended import REQUEST, STUDY_NOTE, TABLE

LONGEST = 4000  # characters of a command line that are shown
ABOUT = ("recipe", "duration", "folds", "seed")  # settings that are shown of it


def parse_table(text: bytes) -> dict[str, Any]:
    """The leaderboard as its file has it: {columns, rows}, every cell as text.

    Raises:
        ValueError: it is none.
    """
    try:
        rows = list(csv.reader(io.StringIO(text.decode("utf-8"), newline="")))
    except csv.Error as error:
        raise ValueError(str(error)) from None
    if not rows or "model" not in rows[0]:
        raise ValueError("no leaderboard")
    return {"columns": rows[0], "rows": [row for row in rows[1:] if len(row) == len(rows[0])]}


@dataclass
class Study(Followed):
    """A comparison.

    Args:
        so_far: the leaderboard of what has finished, while there is none in the folder.
        ranked: what that leaderboard was made of.
    """

    so_far: dict[str, Any] | None = None
    ranked: str = ""
    table: Whole[dict[str, Any]] = field(init=False)
    note: Whole[dict[str, Any]] = field(init=False)
    settings: Whole[dict[str, str]] = field(init=False)
    lock: Lock = field(init=False)
    runs: list[Trained] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.table = Whole(self.folder / TABLE, parse_table)
        self.note = Whole(self.folder / STUDY_NOTE, parse_object)
        self.settings = Whole(self.folder / REQUEST, parse_settings)
        self.lock = Lock(self.folder / ".lock")

    def _read(self, version: int) -> bool:
        changed = [each.refresh() for each in (self.table, self.note, self.settings)]
        return any(changed) or any(run.version == version for run in self.runs)

    def _state(self, held: dict[int, list[int]] | None) -> tuple[State, str]:
        found, holder = self.lock.refresh(held)
        if found == "running" or any(run.state == "running" for run in self.runs):
            return "running", holder
        if self._decided:
            return "finished", ""
        if found == "elsewhere" or any(run.state == "elsewhere" for run in self.runs):
            return "elsewhere", holder
        return ("stopped" if any(run.state == "stopped" for run in self.runs) else "interrupted"), ""

    @property
    def _decided(self) -> bool:
        """Whether it went to its end: its verdict is written last. One of an older version has no note of it."""
        note = self.note.content
        return self.table.content is not None and (note is None or "verdict" in note)

    @property
    def waiting(self) -> list[str]:
        """The folders of the runs that have not begun."""
        planned = (self.note.content or {}).get("runs")
        names = planned if isinstance(planned, list) and self.state != "finished" else []
        begun = {*self._begun, *self._failed}
        return [name[:200] for name in map(str, names[:1000]) if name not in begun]

    @property
    def _begun(self) -> set[str]:
        return {run.below.relative_to(self.below).as_posix() for run in self.runs}

    @property
    def _failed(self) -> dict[str, Any]:
        failed = (self.note.content or {}).get("failed")
        return failed if isinstance(failed, dict) else {}

    @property
    def never_begun(self) -> list[tuple[str, tuple[str, str | None]]]:
        """The folders of the runs that failed before they had one, each with the reason."""
        found = [(name, why) for name, why in self._failed.items() if name not in self._begun]
        return [(name[:200], both(str(why)[:SHOWN])) for name, why in found[:1000]]

    @property
    def seconds_left(self) -> float | None:
        """About how long its runs will take: those that wait as long as the others on average; None where none tells."""
        running = [run for run in self.runs if run.state == "running"]
        left = [seconds for run in running if (seconds := run.seconds_left) is not None]
        done = [run.log.last["seconds"] for run in self.runs if run.state == "finished" and run.log.last.get("seconds")]
        done += [
            (run.log.last["seconds"] or 0.0) + seconds for run in running if (seconds := run.seconds_left) is not None
        ]
        if not running or len(left) < len(running) or not done or "runs" not in (self.note.content or {}):
            return None  # in a round before the last, what comes after it is not decided
        return number((sum(left) + len(self.waiting) * sum(done) / len(done)) / len(running))

    @property
    def ends_at(self) -> float | None:
        """When its last run will end, about, in seconds since 1970; None where that is not known."""
        left = self.seconds_left
        last = max((run.log.written for run in self.runs if run.state == "running"), default=0.0)
        return None if left is None else round(last + left, 1)

    @property
    def _again(self) -> str:
        """The command line that a resume starts, for a person to look at; empty where none is on record."""
        command = (self.note.content or {}).get("command")
        words = command.get("words") if isinstance(command, dict) else None
        return shlex.join(["podium", *map(str, words)])[:LONGEST] if isinstance(words, list) else ""

    def to_dict(self) -> dict[str, Any]:
        """What the page is told of it; its runs are told beside it."""
        note, settings = self.note.content or {}, self.settings.content or {}
        verdict = note.get("verdict") if self.state == "finished" else None
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "holder": self.holder,
            "data": Path(settings.get("data", "")).name[:200],
            "about": {key: settings[key][:100] for key in ABOUT if settings.get(key, "null") != "null"},
            "waiting": self.waiting,
            "failed": self.never_begun,
            "ends_at": self.ends_at if self.state == "running" else None,
            "decided": self._decided and self.state == "finished",
            "table": self.table.content if self.state == "finished" else self.so_far if self.finished else None,
            "verdict": [both(str(sentence)) for sentence in verdict] if isinstance(verdict, list) else [],
            "report": self.has_report,
            "said": both(self.said),
            "again": self._again,
        }

    @property
    def finished(self) -> list[Trained]:
        """The runs of its own that are finished, which a leaderboard ranks; those of folds and of rounds are not among them."""
        return [
            run for run in self.runs if run.intact and run.folder.parent == self.folder and "-seed" in run.folder.name
        ]

    @property
    def to_rank(self) -> str:
        """What names the runs to rank and their state: another text where others have finished, or one has changed."""
        return f"rank {self.id} {[(run.folder.name, signature(run.folder / RESULT)) for run in self.finished]}"
