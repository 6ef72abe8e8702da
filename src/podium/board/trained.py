"""One run as a board shows it: its state and why, how far it is, its curves and its scores."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from podium.board.tails import Log, Whole, both, number, parse_object, signature
from podium.platform import process_lives
from podium.runs.folder import RESULT, SETTINGS, SPEED

State = Literal["waiting", "running", "elsewhere", "finished", "stopped", "failed", "interrupted"]
HOLDER = re.compile(r"process (\d+) on (.+)")  # as `RunFolder.locked` writes it
REPORT = "report.html"
STOPPED = (130, 143)  # exit codes of a run that a person stopped
SCORES = ("top1", "top5", "loss", "macro_f1", "balanced_accuracy", "ece")
FACTS = ("params", "macs", "size_bytes", "seconds", "epochs", "steps", "images_per_second", "n")
LINES = 1000  # of a settings file that are read
SHOWN = 500  # characters of a reason


def id_of(below: str) -> str:
    """What a folder is called in addresses: the page names no paths, so it can name none outside."""
    return hashlib.sha256(os.fsencode(below)).hexdigest()[:16]


def text_of(name: object) -> str:
    """A name as a page shows it, whatever bytes it has."""
    return os.fsencode(str(name)).decode("utf-8", "backslashreplace") if isinstance(name, Path) else str(name)


def parse_settings(text: bytes) -> dict[str, str]:
    """The settings of a run as text, without their comments.

    Line by line, since a YAML parser would take most of the second in which a board of sixty runs is open.
    """
    found = {}
    for line in text.decode("utf-8").splitlines()[:LINES]:
        key, colon, value = line.partition(": ")
        if colon and key.isidentifier():
            found[key] = value.partition("  # ")[0].strip()
    return found


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
class Trained:
    """A run.

    Args:
        folder: of the run.
        below: its path below the board's folder.
        study: the id of the comparison that it belongs to; None: it is a single run.
        name: for people.
        version: in which something of it changed last.
        said: what the process that was to go on with it said when it failed.
    """

    folder: Path
    below: Path
    study: str | None
    name: str
    version: int = 0
    said: str = ""
    state: State = "interrupted"
    holder: str = ""
    log: Log = field(init=False)
    lock: Lock = field(init=False)
    settings: Whole[dict[str, str]] = field(init=False)
    result: Whole[dict[str, Any]] = field(init=False)
    speed: Whole[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.log, self.lock = Log(self.folder / "log.jsonl"), Lock(self.folder / ".lock")
        self.settings = Whole(self.folder / SETTINGS, parse_settings)
        self.result = Whole(self.folder / RESULT, brief_result)
        self.speed = Whole(self.folder / SPEED, parse_object)

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
        changed = [each.refresh() for each in (self.settings, self.result, self.speed)]
        changed.append(self.log.refresh(version))
        state, holder = self._state(held)
        if any(changed) or (state, holder) != (self.state, self.holder):
            self.state, self.holder, self.version = state, holder, version
            return True
        return False

    def _state(self, held: dict[int, list[int]] | None) -> tuple[State, str]:
        """Whether it is finished, trains, or has ended early; with the process that trains it, in words."""
        if self.result.content is not None:
            return "finished", ""
        found, holder = self.lock.refresh(held)
        if found == "running" or (found is not None and self.log.ended is None):
            return found, holder
        if self.log.ended is not None:
            return ("stopped" if self.log.ended.get("exit_code") in STOPPED else "failed"), ""
        return "interrupted", ""

    @property
    def intact(self) -> bool:
        """Whether it has predictions, which pictures and comparisons are made of."""
        return self.state == "finished" and (self.folder / "predictions.npz").is_file()

    @property
    def steps(self) -> int | None:
        """The steps of the whole run; None before they are on record."""
        found = number(self.log.start.get("steps"))
        return int(found) if found is not None else None

    @property
    def seconds_left(self) -> float | None:
        """How long it trained after its last epoch in the log would take to the end; None where that is not known."""
        each, steps, step = self.log.seconds_a_step, self.steps, self.log.last.get("step")
        return None if each is None or steps is None or step is None else number(max(0.0, (steps - step) * each))

    def to_dict(self, since: int) -> dict[str, Any]:
        """What the page is told of it.

        Args:
            since: the version that the page has, so that it has the points before.
        """
        settings, result, timed = self.settings.content or {}, self.result.content or {}, self.speed.content or {}
        left = self.seconds_left if self.state == "running" else None
        latency = timed.get("latency_ms")
        return {
            "id": self.id,
            "study": self.study,
            "name": self.name,
            "model": str(result.get("model") or settings.get("model") or self.name)[:200],
            "seed": settings.get("seed"),
            "data": Path(settings.get("data", "")).name[:200],
            "state": self.state,
            "holder": self.holder,
            "reason": both(str(self.log.ended.get("text", ""))[:SHOWN] if self.log.ended is not None else ""),
            "warning": self.log.warning,
            "split": self.log.split,
            "step": self.log.last.get("step"),
            "steps": self.steps,
            "epoch": self.log.last.get("epoch"),
            "seconds": self.log.last.get("seconds"),
            "ends_at": None if left is None else round(self.log.written + left, 1),
            "written": round(self.log.written, 1),
            "result": result or None,
            "latency_ms": number(latency.get("p50")) if isinstance(latency, dict) else None,
            "intact": self.intact,
            "report": signature(self.report) is not None,
            "said": self.said,
            "points": self.log.since(since),
        }


def brief_result(text: bytes) -> dict[str, Any]:
    """What a board shows of a result, which of many classes is large.

    Raises:
        ValueError: it is no result.
    """
    found = json.loads(text)
    if not isinstance(found, dict) or number(found.get("top1")) is None:
        raise ValueError("no result")
    words = {key: str(found[key])[:200] for key in ("model", "split", "weights") if key in found}
    return {**words, **{key: number(found.get(key)) for key in (*SCORES, *FACTS)}}
