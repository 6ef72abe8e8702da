"""What several verbs share: flags for where labels stand, one JSON document, and the command that continues after an interruption."""

from __future__ import annotations

import argparse
import io
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from podium.settings import FIELDS
from podium.tracking.notes import parse_trackers

READING = ("image_column", "label_column", "split_column", "class_from")


def print_json(content: Any) -> None:
    """Print one JSON document on standard output, in UTF-8 whatever the terminal's encoding; numbers that are not finite are null."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    print(json.dumps(_finite(content), allow_nan=False))


def _finite(content: Any) -> Any:
    """The same content with null in place of numbers that JSON does not have."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    return [_finite(value) for value in content] if isinstance(content, list | tuple) else content


@contextmanager
def same_command_continues(command: str) -> Iterator[None]:
    """Within it, an interruption says that the same command line continues with what is finished so far.

    Args:
        command: the command line as the person typed it.
    """
    from podium.training.interrupt import Stopped

    try:
        yield
    except Stopped as stopped:
        stopped.fix = f"go on with: {command}"
        raise
    except KeyboardInterrupt:  # between two runs, or while they are timed
        raise KeyboardInterrupt(f"go on with: {command}") from None


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say where the labels of images stand; verbs that train have them among the settings."""
    for name in READING:
        help = FIELDS[name].metadata["help"]
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="TEXT", help=help)


def add_log_to(parser: argparse.ArgumentParser) -> None:
    """Add the flag that names what a verb logs to besides its own folder."""
    parser.add_argument(
        "--log-to",
        type=parse_trackers,
        default=(),
        metavar="NAMES",
        help="send parameters, metrics and files to mlflow (as MLFLOW_TRACKING_URI says), tensorboard or both: mlflow,tensorboard",
    )


def reading_given(arguments: argparse.Namespace) -> dict[str, Any]:
    """The flags of `add_reading` that were given, by the names of their settings."""
    return {name: value for name in READING if (value := getattr(arguments, name)) is not None}
