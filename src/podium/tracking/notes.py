"""The note in a folder on where its run, or its comparison, is logged to."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from podium.errors import EXTRAS, MachineError, UsageError, closest
from podium.files import write_json

NOTE = "tracking.json"
TRACKERS = ("mlflow", "tensorboard")


def parse_trackers(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """The trackers that were named.

    Args:
        value: a name, names separated by commas, or a list of them; None: none.

    Raises:
        UsageError: a name is unknown.
        MachineError: its package is not installed.
    """
    words = value.split(",") if isinstance(value, str) else [] if value is None else list(value)
    names = tuple(dict.fromkeys(str(word).strip() for word in words))
    for name in names:
        if name not in TRACKERS:
            raise UsageError(f"log_to: {name!r}", closest(name, TRACKERS) or f"give {' or '.join(TRACKERS)}")
        if name in EXTRAS and importlib.util.find_spec(name) is None:
            raise MachineError(f"{name} is not installed, which log_to needs", f'pip install "podium[{EXTRAS[name]}]"')
    return names


def read_note(folder: Path) -> dict[str, Any]:
    """The note of a folder: {log_to: the trackers that were named, and what each of them keeps}; empty without a note."""
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def write_note(folder: Path, note: dict[str, Any]) -> None:
    """Write the note of a folder."""
    write_json(folder / NOTE, note)
