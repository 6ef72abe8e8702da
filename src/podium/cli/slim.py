"""`podium slim`: the uniform smaller variant of a network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from podium.cli import console, flags
from podium.cli.settings_flags import settings_given
from podium.cli.shared import print_json, same_command_continues
from podium.cli.shrinking import add_shrinking, label_first
from podium.errors import UsageError

if TYPE_CHECKING:
    from podium.runs.folder import RunFolder

HELP = "train the uniform smaller variant of a network, from scratch"
EXAMPLE = "podium slim resnet18 photos/ --width 0.5 --depth 1,1,1,1 -o runs/slim"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument("model", help="name of the full network (`podium models`)")
    parser.add_argument(
        "data", help="a named set (digits, mnist, ...), a folder, an archive, or a table of paths and labels"
    )
    parser.add_argument("--width", type=flags.width, default=1.0, metavar="X", help="factor of all channel counts [1]")
    parser.add_argument("--depth", metavar="N,N,...", help="blocks of each stage [the network's]")
    add_shrinking(parser, controls=False)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from podium.api.smaller import slim

    a = arguments
    depth = _blocks(a.depth)
    out = a.out or Path("runs") / f"{a.model}-slim-{Path(a.data).stem or 'data'}"
    with console.training_bar(quiet=a.json) as bar, same_command_continues(a.command):
        trained = slim(
            a.model,
            a.data,
            out,
            width=a.width,
            depth=depth,
            progress=label_first(bar),
            recipe=a.recipe,
            config=a.config,
            **settings_given(a),
        )
    _show(trained, a.json)
    return 0


def _blocks(text: str | None) -> tuple[int, ...] | None:
    """Read "2,2,2,2" as the blocks of each stage."""
    try:
        return tuple(int(part) for part in text.split(",")) if text else None
    except ValueError:
        raise UsageError(f"--depth {text}", "give a number a stage: 2,2,2,2") from None


def _show(trained: RunFolder, json: bool) -> None:
    r = trained.result
    if json:
        keys = ("top1", "top5", "loss", "split", "steps", "params", "macs", "size_bytes", "seconds")
        print_json({"run": str(trained.path), **{key: r[key] for key in keys}})
    else:
        size = f"{r['params']:,} parameters, {r['macs']:,} multiply-adds"
        print(f"{r['split']} top-1 {100 * r['top1']:.2f} %, {size}: {trained.path}")
