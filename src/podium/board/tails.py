"""Files that change while a board reads them: each is read again only where it has changed, and a log only from where it has grown."""

from __future__ import annotations

import functools
import json
import os
import stat
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from podium.comparison.report.languages import chinese

T = TypeVar("T")
LARGEST = 64 << 20  # bytes of a file that is read whole, such as a result of many classes
CHUNK = 4 << 20  # bytes of a log that are read at a time
MOST = 1500  # epochs of a curve that are kept; of a longer one every second, fourth, ...
RECENT = 6  # epochs that the speed of a run is computed from
HIGHEST = 1e100  # no number of ours is higher, and no sum or product of some is infinite
TAIL = 200  # bytes before those that are new, which tell whether the file is still the one that was read
COLUMNS = ("epoch", "step", "seconds", "train_loss", "loss", "top1")


def signature(path: Path) -> tuple[int, int, int, int] | None:
    """What changes when a file does, or who may read it: its inode, size and times; None where it is no file.

    A link in the place of a file is none: in a folder of somebody else's it may lead to any file of this machine.
    """
    try:
        found = path.lstat()
    except (OSError, ValueError):
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns) if stat.S_ISREG(found.st_mode) else None


@dataclass
class Whole(Generic[T]):
    """A file that is read whole when it has changed.

    Args:
        path: of the file.
        parse: what is made of its bytes; may raise ValueError.
        content: what was made of them; None where there is no file, or it is damaged.
    """

    path: Path
    parse: Callable[[bytes], T]
    content: T | None = None
    _read: tuple[int, int, int, int] | None = None

    def refresh(self) -> bool:
        """Read the file if it has changed; returns whether it has."""
        now = signature(self.path)
        if now == self._read:
            return False
        self._read, self.content = now, None
        if now is not None and now[1] <= LARGEST:
            try:
                self.content = self.parse(self.path.read_bytes())
            except (OSError, ValueError, RecursionError):
                self.content = None
        return True


def parse_object(text: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        ValueError: it is none.
    """
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


@functools.lru_cache(maxsize=2000)
def both(sentence: str) -> tuple[str, str | None]:
    """A sentence of Podium's and its Chinese form; None where the phrase book has none."""
    return sentence, chinese().translate(sentence)


def number(value: object) -> float | None:
    """A finite number as it is, without digits that no curve shows; None of anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < HIGHEST:
        return None
    return value if isinstance(value, int) else float(f"{value:.6g}")


@dataclass
class Log:
    """The log of a run: its curves as columns, and what its rows of the start and of the end say.

    Args:
        path: of the file.
        points: the columns of the epochs, of equal length.
        stamps: of each epoch, the version of the board that read it.
        renewed: the version in which the points were begun anew, or thinned.
        start, ended: the rows of the start and of an early end; `ended` is None while nothing has ended the training.
        split: the images that scores are of.
        warning: the text of the last warning.
    """

    path: Path
    points: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in COLUMNS})
    stamps: list[int] = field(default_factory=list)
    renewed: int = 0
    start: dict[str, Any] = field(default_factory=dict)
    ended: dict[str, Any] | None = None
    split: str = ""
    warning: str = ""
    last: dict[str, Any] = field(default_factory=dict)
    written: float = 0.0  # when, by the clock of the file system
    _read: tuple[int, int, int, int] | None = None
    _offset: int = 0
    _tail: bytes = b""
    _damaged: bool = False
    _epochs: int = 0
    _every: int = 1
    _recent: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=RECENT))

    def refresh(self, version: int) -> bool:
        """Read what the log has grown by; from its start where it is another file, or is shorter.

        Args:
            version: of the board, which new points are marked with.

        Returns:
            Whether anything changed.
        """
        now = signature(self.path)
        if now == self._read:
            return False
        before, self._read = self._read, now
        if now is None or before is None or now[0] != before[0] or now[1] < self._offset:
            self._begin_anew(version)
        if now is not None:
            self.written = now[2] / 1e9
            self._read_on(version)
        return True

    def _begin_anew(self, version: int) -> None:
        self.points, self.stamps, self.renewed = {name: [] for name in COLUMNS}, [], version
        self.start, self.ended, self.warning, self.last, self.split = {}, None, "", {}, ""
        self._offset, self._tail, self._damaged, self._epochs, self._every = 0, b"", False, 0, 1
        self._recent.clear()

    def _read_on(self, version: int) -> None:
        """Take in the whole lines after those that were read; a last line without its end waits for the rest."""
        try:
            handle = os.open(self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
        except OSError:
            return
        with os.fdopen(handle, "rb") as file:
            file.seek(self._offset - len(self._tail))
            if file.read(len(self._tail)) != self._tail:  # another file with the inode of the one that was deleted
                self._begin_anew(version)
            file.seek(self._offset)
            while not self._damaged and (chunk := file.read(CHUNK)):
                whole, end, _ = chunk.rpartition(b"\n")
                if not end:  # half a line, or one so long that it is none of ours
                    self._damaged = len(chunk) == CHUNK
                    return
                self._offset += len(whole) + 1
                self._tail = (whole + end)[-TAIL:]
                file.seek(self._offset)
                for line in whole.split(b"\n"):
                    self._take(line, version)

    def _take(self, line: bytes, version: int) -> None:
        """Take in a line; from the first damaged one on, nothing more, as `RunFolder.rows` has it."""
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if self._damaged or not isinstance(row, dict) or "event" not in row:
            self._damaged = True
            return
        event = row["event"]
        self.ended = row if event == "ended" else None
        if event == "start":
            self.start = row
        elif event == "warning":
            self.warning = str(row.get("text", ""))[:500]
        elif event == "epoch":
            self._add(row, version)

    def _add(self, row: dict[str, Any], version: int) -> None:
        """Add an epoch to the curves."""
        self.last = {name: number(row.get(name)) for name in COLUMNS}
        self.split = str(row.get("split", ""))[:40]
        if self.last["step"] is not None and self.last["seconds"] is not None:
            self._recent.append((self.last["step"], self.last["seconds"]))
        if self._epochs % self._every == 0:
            for name, values in self.points.items():
                values.append(self.last[name])
            self.stamps.append(version)
        self._epochs += 1
        if len(self.stamps) > MOST:
            self.points = {name: values[::2] for name, values in self.points.items()}
            self.stamps, self._every, self.renewed = self.stamps[::2], 2 * self._every, version

    @property
    def seconds_a_step(self) -> float | None:
        """How long a step takes, by the last epochs; None before the first."""
        if not self._recent:
            return None
        (step, seconds), (last_step, last_seconds) = self._recent[0], self._recent[-1]
        if last_step == step:
            step, seconds = 0, 0.0
        return max(0.0, (last_seconds - seconds) / (last_step - step)) if last_step > step else None

    def since(self, version: int) -> dict[str, Any] | None:
        """The points that are newer than a version: all of them, with "whole", where they were begun anew; None for none."""
        whole = self.renewed > version
        first = 0 if whole else next((i for i in range(len(self.stamps), 0, -1) if self.stamps[i - 1] <= version), 0)
        if not whole and first == len(self.stamps):
            return None
        return {"whole": whole, **{name: values[first:] for name, values in self.points.items()}}
