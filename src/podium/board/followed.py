"""What runs and comparisons have in common on a board: a folder whose files change, and somebody who may hold its lock."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from podium.board.tails import Whole, signature
from podium.platform import process_lives

State = Literal["waiting", "running", "elsewhere", "finished", "stopped", "failed", "interrupted"]
HOLDER = re.compile(r"process (\d+) on (.+)")  # as `RunFolder.locked` writes it
REPORT = "report.html"


def id_of(below: str) -> str:
    """What a folder is called in addresses: the page names no paths, so it can name none outside."""
    return hashlib.sha256(os.fsencode(below)).hexdigest()[:16]


def text_of(name: object) -> str:
    """A name as a page shows it, whatever bytes it has."""
    return os.fsencode(str(name)).decode("utf-8", "backslashreplace") if isinstance(name, Path) else str(name)


@dataclass
class Lock:
    """Who holds the lock of a folder, as far as this machine can tell.

    Args:
        path: of the lock's file.
    """

    path: Path
    _said: Whole[str] = field(init=False)

    def __post_init__(self) -> None:
        self._said = Whole(self.path, lambda text: text[:200].decode("utf-8", "replace"))

    def refresh(self, held: dict[int, list[int]] | None) -> tuple[State | None, str]:
        """Look who holds it.

        Args:
            held: the locks of this machine, as `platform.lock_holders` lists them.

        Returns:
            "running", or "elsewhere" where another machine has had it last; None where nobody holds it. With the holder in words.
        """
        self._said.refresh()
        named = HOLDER.fullmatch((self._said.content or "").strip())
        if named is None:
            return None, ""
        process, host = int(named[1]), named[2]
        if host != socket.gethostname():
            return "elsewhere", text_of(named[0])
        if held is not None:
            try:
                lives = process in held.get(self.path.stat().st_ino, [])
            except OSError:
                lives = False
        else:
            lives = process_lives(process)
        return ("running", text_of(named[0])) if lives else (None, "")


@dataclass
class Followed:
    """A run or a comparison.

    Args:
        folder: of it.
        below: its path below the board's folder.
        name: for people.
        version: in which something of it changed last.
        said: what the process that was to go on with it said when it failed.
        state: whether it is finished, trains, or has ended early.
        holder: the process that trains it, in words.
        has_report: whether its report is there.
    """

    folder: Path
    below: Path
    name: str
    version: int = 0
    said: str = ""
    state: State = "interrupted"
    holder: str = ""
    has_report: bool = False

    @property
    def id(self) -> str:
        """What it is called in addresses."""
        return id_of(os.fspath(self.below))

    @property
    def report(self) -> Path:
        """Where its report lies, once it has one."""
        return self.folder / REPORT

    def refresh(self, version: int, held: dict[int, list[int]] | None) -> bool:
        """Read what has changed; returns whether anything has, and marks it with the version then.

        Args:
            version: that is being made.
            held: the locks of this machine.
        """
        changed = self._read(version)
        now = (*self._state(held), signature(self.report) is not None)
        changed |= now != (self.state, self.holder, self.has_report)
        self.state, self.holder, self.has_report = now
        if changed:
            self.version = version
        return changed

    def _read(self, version: int) -> bool:
        """Read the files that have changed; returns whether any has."""
        raise NotImplementedError

    def _state(self, held: dict[int, list[int]] | None) -> tuple[State, str]:
        """What `state` and `holder` are now."""
        raise NotImplementedError
