"""`podium prune`: a trained network made smaller."""

from __future__ import annotations

import argparse

from podium.cli import console, flags
from podium.cli.settings_flags import settings_given
from podium.cli.shared import same_command_continues
from podium.cli.shrinking import add_shrinking, label_first, show_shrunk

HELP = "make a trained network smaller, fine-tune it with the original as its teacher, and compare it with its controls"
EXAMPLE = "podium prune runs/a cifar10 --macs 0.5 --epochs 10 -o runs/a-half"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument("parent", metavar="RUN", help="a run, a bundle, or LIBRARY:NAME=FILE")
    parser.add_argument("data", help="the data set that it was trained on")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--speedup", type=flags.speedup, metavar="X", help="divide the multiply-adds by this; the time is measured"
    )
    target.add_argument("--macs", type=flags.share, metavar="X", help="share of the multiply-adds that is left")
    target.add_argument("--latency", metavar="TIME", help="of one image on this machine, such as 8ms")
    target.add_argument("--size", metavar="BYTES", help="of the weights' file, such as 5MB")
    parser.add_argument("--depth", action="store_true", help="remove whole residual blocks instead of channels")
    flags.add_terms(parser)
    add_shrinking(parser, recipe="shrink")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from podium.api.smaller import prune

    a = arguments
    with console.training_bar(quiet=a.json) as bar, same_command_continues(a.command):
        shrunk = prune(
            a.parent,
            a.data,
            a.out,
            speedup=a.speedup,
            macs=a.macs,
            latency=a.latency,
            size=a.size,
            depth=a.depth,
            controls=a.controls,
            tolerance=a.tolerance,
            accept_unproven=a.accept_unproven,
            progress=label_first(bar),
            recipe=a.recipe,
            config=a.config,
            **settings_given(a),
        )
    return show_shrunk(shrunk, a.parent, a.json)
