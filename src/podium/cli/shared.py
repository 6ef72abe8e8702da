"""What several verbs need: the flags of settings, and one JSON document."""

from __future__ import annotations

import argparse
import io
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from podium.cli import flags
from podium.settings import FIELDS, base_type


def print_json(content: Any) -> None:
    """One JSON document on standard output, in letters that every encoding has; what is not finite is null."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    print(json.dumps(_finite(content), allow_nan=False))


def _finite(content: Any) -> Any:
    """The same with null in the place of numbers that JSON does not have."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    return [_finite(value) for value in content] if isinstance(content, list | tuple) else content


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


def _plain(default: Any) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def numbers(text: str) -> tuple[float, ...]:
    """ "0.25,1" as (0.25, 1.0); argparse names this function in its errors."""
    return tuple(float(part) for part in text.split(","))


def _or_word(kind: Any, word: str) -> Any:
    """What reads a number, or this word in its place."""

    def read(text: str) -> Any:
        return text if text == word else kind(text)

    read.__name__ = f"{kind.__name__} or {word}"
    return read


def add_settings(parser: argparse.ArgumentParser, leave_out: set[str]) -> None:
    """A flag for each field of the settings."""
    group = parser.add_argument_group("settings (over the recipe's; also keys of a --config file)")
    for name, spec in FIELDS.items():
        if name in leave_out:
            continue
        kind, optional = base_type(name)
        flag, meta = f"--{name.replace('_', '-')}", spec.metadata
        default = "" if optional else f" [{_plain(spec.default)}]"
        text = str(meta["help"]) + default.replace("%", "%%")
        if kind is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
        else:
            choices = meta["choices"] or None
            read: Any = numbers if kind is tuple else kind
            if meta["word"]:
                read = _or_word(kind, meta["word"])
            metavar = None if choices else {int: "N", float: "X", tuple: "X,Y"}.get(kind, "TEXT")
            group.add_argument(flag, type=read, choices=choices, metavar=metavar, default=None, help=text)


def add_length(parser: argparse.ArgumentParser, recipe: str = "quick") -> None:
    """Flags for where settings come from, and how long to train."""
    parser.add_argument("--recipe", metavar="NAME", help=f"named settings to start from (`podium recipes`) [{recipe}]")
    parser.add_argument("--config", type=Path, metavar="FILE", help="a settings file (YAML), over the recipe")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=flags.epochs, metavar="N", help="passes over the training images")
    length.add_argument("--steps", type=flags.steps, metavar="N", help="optimiser steps")
    length.add_argument("--budget", metavar="TIME", help="such as 90s, 2m, 1h: measured into steps, then exact")
