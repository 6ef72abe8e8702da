"""One run as a board shows it: its state and why, how far it is, its curves and its scores."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podium.board.followed import Followed, Lock, State
from podium.board.tails import Log, Whole, both, number, parse_object
from podium.runs.folder import RESULT, SETTINGS, SPEED

STOPPED = (130, 143)  # exit codes of a run that a person stopped
SCORES = ("top1", "top5", "loss", "macro_f1", "balanced_accuracy", "ece")
FACTS = ("params", "macs", "size_bytes", "seconds", "epochs", "steps", "images_per_second", "n")
LINES = 1000  # of a settings file that are read
SHOWN = 500  # characters of a reason


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
class Trained(Followed):
    """A run.

    Args:
        study: the id of the comparison that it belongs to; None: it is a single run.
    """

    study: str | None = None
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

    def _read(self, version: int) -> bool:
        changed = [each.refresh() for each in (self.settings, self.result, self.speed)]
        return self.log.refresh(version) or any(changed)

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
            "warning": both(self.log.warning),
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
            "report": self.has_report,
            "said": both(self.said),
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
