"""`podium distill`: a small network trained on a trained one's answers."""

from __future__ import annotations

import argparse
from pathlib import Path

from podium.cli import console
from podium.cli.settings_flags import settings_given
from podium.cli.shared import same_command_continues
from podium.cli.shrinking import add_shrinking, label_first, show_shrunk

HELP = "train a small network on a trained one's answers, and once more without them"
EXAMPLE = "podium distill runs/a lenet5_modern digits --epochs 10 -o runs/student"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument("parent", metavar="TEACHER", help="a run, a bundle, or LIBRARY:NAME=FILE")
    parser.add_argument("student", metavar="STUDENT", help="name of a network, or a run or bundle to start from")
    parser.add_argument("data", help="the data set that the teacher was trained on")
    add_shrinking(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from podium.api.smaller import distill

    a = arguments
    out = a.out or Path("runs") / f"{Path(a.student).name}-distilled-{Path(a.data).stem or 'data'}"
    with console.training_bar(quiet=a.json) as bar, same_command_continues(a.command):
        shrunk = distill(
            a.parent,
            a.student,
            a.data,
            out,
            controls=a.controls,
            progress=label_first(bar),
            recipe=a.recipe,
            config=a.config,
            **settings_given(a),
        )
    return show_shrunk(shrunk, a.parent, a.json)
