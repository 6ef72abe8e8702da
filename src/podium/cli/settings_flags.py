"""The flags of the settings, made from the fields of `Settings`, and those for where settings come from."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from podium.cli import flags
from podium.settings import FIELDS, base_type


def settings_given(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings among a command line's flags; None is a flag that was not given."""
    names = {*FIELDS, "epochs", "steps", "budget"} - {"model", "data", "recipe"}
    return {name: value for name, value in vars(arguments).items() if name in names}


def add_settings(parser: argparse.ArgumentParser, leave_out: set[str]) -> None:
    """Add a flag for each field of the settings.

    Args:
        parser: the verb's parser.
        leave_out: fields that the verb takes otherwise, or decides itself.
    """
    group = parser.add_argument_group("settings (over the recipe's; also keys of a --config file)")
    for name, field in FIELDS.items():
        if name in leave_out:
            continue
        kind, optional = base_type(name)
        flag, meta = f"--{name.replace('_', '-')}", field.metadata
        default = "" if optional else f" [{_as_typed(field.default)}]"
        text = str(meta["help"]) + default.replace("%", "%%")
        if kind is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
        else:
            choices = meta["choices"] or None
            read: Any = numbers if kind is tuple else kind
            if meta["word"]:
                read = _number_or_word(kind, meta["word"])
            metavar = None if choices else {int: "N", float: "X", tuple: "X,Y"}.get(kind, "TEXT")
            group.add_argument(flag, type=read, choices=choices, metavar=metavar, default=None, help=text)


def add_length(parser: argparse.ArgumentParser, recipe: str = "quick") -> None:
    """Add the flags for the recipe, the settings file and the length of training.

    Args:
        parser: the verb's parser.
        recipe: the verb's usual recipe.
    """
    parser.add_argument("--recipe", metavar="NAME", help=f"named settings to start from (`podium recipes`) [{recipe}]")
    parser.add_argument("--config", type=Path, metavar="FILE", help="a settings file (YAML), over the recipe")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=flags.epochs, metavar="N", help="passes over the training images")
    length.add_argument("--steps", type=flags.steps, metavar="N", help="optimiser steps")
    length.add_argument(
        "--budget",
        metavar="TIME",
        help="such as 90s, 2m, 1h: a short measurement turns it into a fixed number of steps",
    )


def numbers(text: str) -> tuple[float, ...]:
    """Read "0.25,1" as (0.25, 1.0); argparse names this function in its errors."""
    return tuple(float(part) for part in text.split(","))


def _number_or_word(kind: Callable[[str], Any], word: str) -> Callable[[str], Any]:
    """A function that reads a number, or this one word."""

    def read(text: str) -> Any:
        return text if text == word else kind(text)

    read.__name__ = f"{kind.__name__} or {word}"  # argparse names it in its errors
    return read


def _as_typed(default: Any) -> str:
    """A default as a person would type it."""
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
