"""`podium diff`: two trained networks on the same images."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from podium import tables
from podium.cli import console, flags, shared
from podium.cli.shared import print_json

if TYPE_CHECKING:
    from podium.comparison.disagreement import Disagreement

HELP = "show on which images two trained networks disagree, and test whether one is better"
EXAMPLE = """podium diff runs/a runs/b -o diff.html
         podium diff runs/a rose.onnx photos/"""
SHOWN = 12  # classes that are printed
RUN = "a run folder, a comparison's folder (its recommended run), a bundle or an exported file"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument("first", metavar="RUN", help=RUN)
    parser.add_argument("second", metavar="RUN", help="the network that is compared with it")
    parser.add_argument(
        "data",
        nargs="?",
        metavar="DATA",
        help="evaluate both on these images, without those that either was trained on [the images that the results of both report]",
    )
    parser.add_argument(
        "-o", "--out", metavar="FILE.html", help="write a page with the pictures on which the networks disagree"
    )
    flags.add_device(parser)
    shared.add_reading(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from podium.api.diff import diff
    from podium.comparison.report.diff_page import check_target, write_diff_page

    page = Path(arguments.out) if arguments.out else None
    if page is not None:
        check_target(page)
    with console.counting_bar("evaluating", quiet=arguments.json) as progress:
        how = {"device": arguments.device, "progress": progress, **shared.reading_given(arguments)}
        found = diff(arguments.first, arguments.second, arguments.data, **how)
    if page is not None:
        write_diff_page(page, found)
    if arguments.json:
        print_json(found.to_dict())
    else:
        _show(found)
        if page is not None:
            print(f"written: {page}")
    return 0


def _show(found: Disagreement) -> None:
    from podium.comparison.report.diff_page import score_cells, shown_classes

    for note in found.notes:
        print(console.one_line(note), file=sys.stderr)
    one, two = found.names
    t = found.table
    counts = [
        [f"{one} right", f"{t['both']:,}", f"{t['first']:,}"],
        [f"{one} wrong", f"{t['second']:,}", f"{t['neither']:,}"],
    ]
    tables.table(f"{found.images}:", ["", f"{two} right", f"{two} wrong"], counts, {f"{two} right", f"{two} wrong"})
    columns = ["score", one, two, "difference", "95 % interval"]
    tables.table(f"{two} less {one}:", columns, [score_cells(score) for score in found.scores], set(columns[1:]))
    classes = shown_classes(found.classes, SHOWN)
    columns = ["class", "images", one, two, "difference", "interval"]
    rows = []
    for c in classes:
        shares = [f"{100 * c.first:.1f}", f"{100 * c.second:.1f}", f"{100 * c.difference:+.1f}"]
        interval = f"{100 * c.low:+.1f} to {100 * c.high:+.1f}{' *' if c.clear else '  '}"
        rows.append([console.one_line(c.name), f"{c.n:,}", *shares, interval])
    every = (
        ""
        if len(classes) == len(found.classes)
        else f", the {len(classes)} of {len(found.classes):,} classes that differ most"
    )
    tables.table(
        f"recall in %{every}; the intervals hold for all classes at once, * where they tell:",
        columns,
        rows,
        set(columns[1:]),
    )
    print(found.verdict())
