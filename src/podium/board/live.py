"""All that a board knows of a folder, and what of it is new since a version: the page is told no more than that."""

from __future__ import annotations

import os
import secrets
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podium.board.followed import id_of, text_of
from podium.board.platform import lock_holders
from podium.board.studies import Study
from podium.board.trained import Trained
from podium.board.tree import Place, Tree

GONE = 1000  # folders that have vanished, which are remembered


@dataclass
class Live:
    """A folder of comparisons and runs.

    Args:
        root: the folder.
        version: grows with every change.
    """

    root: Path
    version: int = 0
    studies: dict[Path, Study] = field(default_factory=dict)
    runs: dict[Path, Trained] = field(default_factory=dict)
    name: str = field(default_factory=lambda: secrets.token_hex(4))  # of this board: another counts other versions
    _named: dict[str, Trained | Study] = field(default_factory=dict)  # by id
    _gone: dict[str, int] = field(default_factory=dict)
    _forgotten: int = 0  # the last version whose vanished folders are no longer remembered
    _tree: Tree = field(init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self._tree = Tree(self.root)

    def refresh(self) -> bool:
        """Read what has changed on disk; returns whether anything has."""
        with self._lock:
            version, held = self.version + 1, lock_holders()
            changed = self._follow(self._tree.places(), version)
            for run in self.runs.values():
                changed |= run.refresh(version, held)
            for study in self.studies.values():
                changed |= study.refresh(version, held)
            self.version += changed
            return changed

    def _follow(self, places: list[Place], version: int) -> bool:
        """Take in the folders that are new, and leave out those that are gone."""
        there = {place.below for place in places}
        for known in (self.studies, self.runs):
            for below in [below for below in known if below not in there]:
                gone = known.pop(below).id
                self._gone[gone] = version
                self._named.pop(gone, None)
        changed = version in self._gone.values()
        for place in places:
            known_ = self.studies if place.is_study else self.runs
            if place.below not in known_:
                changed = True
                self._add(place, version)
        if changed:
            for study in self.studies.values():
                runs = [run for run in self.runs.values() if run.study == study.id]
                study.version = version if len(runs) != len(study.runs) else study.version  # those that wait are others
                study.runs = runs
        while len(self._gone) > GONE:
            first = next(iter(self._gone))
            self._forgotten = max(self._forgotten, self._gone.pop(first))
        return changed

    def _add(self, place: Place, version: int) -> None:
        folder, above = self.root / place.below, place.study
        named = place.below.relative_to(above) if above is not None and place.below != above else place.below
        name = text_of(named) if named.parts else text_of(Path(self.root.resolve().name))
        owner = id_of(os.fspath(above)) if above is not None else None
        found: Trained | Study
        if place.is_study:
            found = self.studies[place.below] = Study(folder, place.below, name, version)
        else:
            found = self.runs[place.below] = Trained(folder, place.below, name, version, study=owner)
        self._named[found.id] = found

    def since(self, seen: str) -> dict[str, Any]:
        """What is new since a version: studies and runs that have changed, whole, but of the curves only the new points.

        Args:
            seen: the version that a page has, as `mark` gives it; any other text: none.
        """
        with self._lock:
            name, _, number = seen.partition(".")
            known = int(number) if name == self.name and number.isdecimal() else -1
            whole = not self._forgotten <= known <= self.version
            known = -1 if whole else known
            return {
                "mark": self.mark,
                "now": round(time.time(), 1),
                "whole": whole,
                "folder": text_of(Path(self.root.resolve().name)),
                "full": self._tree.full,
                "studies": [study.to_dict() for study in self.studies.values() if study.version > known],
                "runs": [run.to_dict(known) for run in self.runs.values() if run.version > known],
                "gone": [] if whole else [id_ for id_, version in self._gone.items() if version > known],
            }

    @property
    def mark(self) -> str:
        """The version by name, which an answer of `since` brings the page to."""
        return f"{self.name}.{self.version}"

    def find(self, name: str) -> Trained | Study | None:
        """The run or comparison of an id; at once, also during a long look at the folder."""
        return self._named.get(name)

    def to_rank(self) -> tuple[Study, str] | None:
        """A comparison whose leaderboard so far is not of what has finished, and what names that; None: there is none."""
        with self._lock:
            for study in self.studies.values():
                if study.state != "finished" and study.finished and (key := study.to_rank) != study.ranked:
                    return study, key
        return None

    def rank_so_far(self, study: Study, table: dict[str, Any] | None) -> None:
        """Show the leaderboard of what has finished of a comparison.

        Args:
            study: the comparison.
            table: as `studies.parse_table` has it.
        """
        with self._lock:
            if table != study.so_far:
                self.version += 1
                study.so_far, study.version = table, self.version

    def say(self, name: str, said: str) -> None:
        """Show what a process said that was to go on with a run or a comparison.

        Args:
            name: its id.
            said: the text.
        """
        with self._lock:
            if (found := self.find(name)) is not None:
                self.version += 1
                found.said, found.version = said, self.version
