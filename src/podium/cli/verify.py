"""`podium verify`: the digests of a model's files, and the weights that it came from."""

from __future__ import annotations

import argparse
from typing import Any

from podium.cli.shared import print_json
from podium.errors import ModelFileError

HELP = "compute every digest of a model again, and follow its weights back to where they came from"
EXAMPLE = "podium verify runs/a rose.onnx"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument(
        "paths", nargs="+", metavar="RUN|FILE", help="run folders, bundles, exported files (need no torch)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code.

    Raises:
        ModelFileError: a file is not as it was written.
    """
    from podium.verification import verify

    found = [verify(path) for path in arguments.paths]
    if arguments.json:
        print_json(found)
    else:
        for model in found:
            _show(model)
    wrong = [row["error"] for model in found for row in model["files"] if row["error"] is not None]
    if wrong:
        raise ModelFileError(wrong[0], "copy it again from where it is whole")
    return 0


def _show(model: dict[str, Any]) -> None:
    print(model["path"])
    for row in model["files"]:
        state = "as it was written" if row["checked"] else "carries no digest"
        if row["error"] is not None:
            state = f"NOT as it was written: {row['error']}"
        print(f"  {row['file']:<18}  sha256 {row['sha256'] or 'none':<64}  {state}")
    _show_origins(model["origins"], 1)


def _show_origins(origins: list[dict[str, Any]], depth: int) -> None:
    """The weights that a model came from, each with those that it came from itself indented below it."""
    for origin in origins:
        state = f": {origin['state']}" if origin["state"] else ""
        source = f" {origin['source']}" if origin["source"] else ""
        print(f"{'  ' * depth}{origin['as']}{source}, weights of sha256 {origin['sha256']}{state}")
        _show_origins(origin["origins"], depth + 1)
