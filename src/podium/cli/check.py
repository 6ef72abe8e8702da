"""`podium check`: what is wrong with a data set."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING

from podium import tables
from podium.cli import console, flags, shared
from podium.cli.shared import print_json

if TYPE_CHECKING:
    from podium.data.check import CheckReport

HELP = "find what is wrong with a data set before it costs a night"
EXAMPLE = "podium check photos/"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument(
        "data", help="a named set, a folder of class folders, an archive, or a table of paths and labels"
    )
    flags.add_max_pixels(parser)
    shared.add_reading(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code, which is 3 if there are problems."""
    from podium.data.check import check

    with console.counting_bar("checking", quiet=arguments.json) as progress:
        more = {"max_pixels": arguments.max_pixels, **shared.reading_given(arguments)}
        report = check(arguments.data, progress, **more)
    if arguments.json:
        print_json(report.to_dict())
    else:
        _show(report)
    return 3 if report.problems else 0


def _show(report: CheckReport) -> None:
    splits = sorted({s for counts in report.classes.values() for s in counts}, key=["train", "val", "test"].index)
    rows = [[name, *(str(counts.get(s, 0)) for s in splits)] for name, counts in report.classes.items()]
    title = f"{report.source}: {report.images:,} images, {len(report.classes)} classes"
    tables.table(title, ["class", *splits], rows, set(splits))
    if report.formats:
        print("formats: " + ", ".join(f"{count:,} {kind}" for kind, count in report.formats.items()))
    for problem in report.problems:
        print(f"{problem.kind}: {problem.path}  {problem.detail}")
    for note in report.notes:
        print(note)
    images, copies = report.repeated
    if copies:
        print(f"exact copies: {images:,} images are there more than once, {copies:,} copies beside the first")
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in Counter(p.kind for p in report.problems).items())
    print(f"{len(report.problems)} problems: {kinds}" if report.problems else "nothing wrong was found")
