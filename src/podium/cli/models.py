"""`podium models`: the networks there are, as a table, as JSON, or as a page that tells their story."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from podium import tables
from podium.cli.shared import print_json
from podium.errors import UsageError, closest

HELP = "list the networks, in order of year"
EXAMPLE = "podium models 'resnet*' -o resnets.html"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument("pattern", nargs="?", default="*", help="a shell pattern")
    parser.add_argument(
        "-o", "--out", type=Path, metavar="FILE", help="write a page about them, with charts and diagrams"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from podium.comparison.report.lineage import networks, write_lineage
    from podium.models import list_models

    rows = networks(arguments.pattern)
    if not rows:
        raise UsageError(
            f"no network matches {arguments.pattern!r}",
            closest(arguments.pattern.strip("*"), list_models()) or "`podium models` lists all",
        )
    if arguments.out:
        if arguments.out.is_dir():
            raise UsageError(f"-o {arguments.out}: that is a folder", "name a file, such as lineage.html")
        write_lineage(arguments.out, rows)
    if arguments.json:
        print_json(rows)
    elif arguments.out:
        print(f"page: {arguments.out}")
    else:
        _show(rows)
    return 0


def _show(rows: list[dict[str, Any]]) -> None:
    from podium.comparison.report.lineage import percent
    from podium.evaluation.cost import short

    columns = ["name", "family", "year", "depth", "parameters", "multiply-adds", "input", "error %"]
    cells = []
    for r in rows:
        errors = "/".join(percent(error) or "-" for error in (r["top1_error"], r["top5_error"]))
        size = [str(r["depth"] or ""), f"{r['params']:,}", short(r["macs"])]
        cells.append([r["name"], r["family"], str(r["year"]), *size, r["input"], errors if r["protocol"] else ""])
    tables.table("", columns, cells, right={"depth", "parameters", "multiply-adds"})
    print("error: top-1/top-5 as published, by protocols that --json names; of small inputs on MNIST or CIFAR-10")
