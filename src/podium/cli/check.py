"""`podium check`: what is wrong with a data set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from podium import tables
from podium.cli import console, flags, shared
from podium.cli.shared import print_json
from podium.settings import FIELDS

if TYPE_CHECKING:
    from podium.data.check_report import CheckReport, Problem

HELP = "find what is wrong with a data set before training"
EXAMPLE = "podium check photos/ -o check.html"
GROUPING = ("group_from", "group_column")
SHOWN = 10  # problems of a kind that are printed


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument(
        "data", help="a named set (digits, mnist, ...), a folder, an archive, or a table of paths and labels"
    )
    parser.add_argument("-o", "--out", metavar="FILE.html", help="write a page with the pictures")
    parser.add_argument(
        "--list", metavar="FILE.csv", help="write what to move or drop as a table; nothing is moved or dropped"
    )
    parser.add_argument("--labels", action="store_true", help="look for likely label errors too, which takes longer")
    parser.add_argument(
        "--weights", metavar="SOURCE", help="check labels by the features of this run, bundle or LIBRARY:NAME"
    )
    flags.add_device(parser)
    flags.add_max_pixels(parser)
    shared.add_reading(parser)
    for name in GROUPING:
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="TEXT", help=FIELDS[name].metadata["help"])


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code, which is 3 if there are problems that are more than worth a look."""
    from podium.api.check import check
    from podium.comparison.report.check_page import check_target, write_check_page, write_list

    page, table = (Path(name) if name else None for name in (arguments.out, arguments.list))
    for path in (page, table):
        if path is not None:
            check_target(path)
    with console.counting_bar("checking", quiet=arguments.json) as progress:
        grouping = {name: getattr(arguments, name) for name in GROUPING}
        how = {
            "max_pixels": arguments.max_pixels,
            "device": arguments.device,
            **grouping,
            **shared.reading_given(arguments),
        }
        report = check(arguments.data, progress, labels=arguments.labels, weights=arguments.weights, **how)
    if page is not None:
        write_check_page(page, report)
    if table is not None:
        write_list(table, report)
    if arguments.json:
        print_json(report.to_dict())
    else:
        _show(report)
        for path in (page, table):
            if path is not None:
                print(f"written: {path}")
    return 3 if report.faults else 0


def _show(report: CheckReport) -> None:
    splits = sorted({s for counts in report.classes.values() for s in counts}, key=["train", "val", "test"].index)
    rows = [[name, *(str(counts.get(s, 0)) for s in splits)] for name, counts in report.classes.items()]
    title = f"{report.source}: {report.images:,} images, {len(report.classes)} classes"
    if rows:
        tables.table(title, ["class", *splits], rows, set(splits))
    if report.formats:
        print("formats: " + ", ".join(f"{count:,} {kind}" for kind, count in report.formats.items()))
    kinds: dict[str, list[Problem]] = {}
    for problem in report.problems:
        kinds.setdefault(problem.kind, []).append(problem)
    for kind, problems in kinds.items():
        for problem in problems[:SHOWN]:
            print(console.one_line(f"{kind}: {problem.path}  {problem.detail}"))
        if len(problems) > SHOWN:
            print(f"{kind}: and {len(problems) - SHOWN:,} more; --list FILE.csv and --json have all")
    for note in report.notes:
        print(console.one_line(note))
    images, copies = report.repeated
    if copies:
        there, beside = "image is" if images == 1 else "images are", "copy" if copies == 1 else "copies"
        print(f"exact copies: {images:,} {there} there more than once, {copies:,} {beside} beside the first")
    print(report.summary)
