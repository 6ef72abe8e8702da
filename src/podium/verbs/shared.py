"""What several verbs need."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from podium.files import json_text
from podium.settings import FIELDS


def print_json(content: Any) -> None:
    """One JSON document on standard output."""
    print(json_text(content))


@contextmanager
def going_on(command: str) -> Iterator[None]:
    """Within it an interruption says that the same command line goes on with what is finished so far."""
    from podium.training.interrupt import Stopped

    try:
        yield
    except Stopped as stopped:
        stopped.fix = f"go on with: {command}"
        raise
    except KeyboardInterrupt:  # between two runs, or while they are timed
        raise KeyboardInterrupt(f"go on with: {command}") from None


def settings_flags(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings among a command line's flags; `None` where none was given."""
    names = {*FIELDS, "epochs", "steps", "budget"} - {"model", "data", "recipe"}
    return {name: value for name, value in vars(arguments).items() if name in names}
