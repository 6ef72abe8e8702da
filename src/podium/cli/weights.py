"""`podium weights`: the official weight files on record, which of them are on this machine, and fetching them ahead."""

from __future__ import annotations

import argparse
from typing import Any

from podium import tables
from podium.cli.shared import print_json
from podium.errors import MachineError, UsageError, closest

HELP = "list official weights and what is in the cache, or fetch them ahead"
EXAMPLE = "podium weights 'resnet*'"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument("pattern", nargs="?", help="a shell pattern for networks, or for sources: 'timm:*' [all]")
    parser.add_argument(
        "--fetch",
        nargs="+",
        metavar="NAME",
        help="download into the cache: a network, LIBRARY:NAME or LIBRARY:NAME.TAG, such as torchvision:resnet50.v2",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    if arguments.fetch and arguments.pattern:
        raise UsageError(
            f"--fetch, and a pattern {arguments.pattern!r}", "give the names to fetch after --fetch, and no pattern"
        )
    return (
        _fetch(arguments.fetch, arguments.json) if arguments.fetch else _list(arguments.pattern or "*", arguments.json)
    )


def _list(pattern: str, as_json: bool) -> int:
    from podium.models import list_models
    from podium.weights.listing import official_weights

    rows = official_weights(pattern)
    if not rows:
        word = pattern.strip("*")
        hint = "" if word in list_models() else closest(word, list_models())
        hint = hint or "`podium weights` lists those that are"
        raise UsageError(f"no official weights of {pattern!r} are on record", hint)
    if as_json:
        print_json(rows)
        return 0
    cells = [[_marked(r), r["model"], _size(r), _top1(r), r["licence"] or "not stated", _place(r)] for r in rows]
    columns = ["source", "network", "MB", "top-1 %", "licence", "in the cache"]
    tables.table("", columns, cells, right={"MB", "top-1 %"})
    print(
        "*: the file that the network's bare name stands for. Top-1 is as published; --json has the size of the images."
    )
    unknown = sum(not (r["sha256"] or r["md5"] or r["address"].count("/resolve/")) for r in rows)
    if unknown:
        print(
            f"For {unknown} of these no digest is published, so only their size is checked; --json has the others' md5 and sha256."
        )
    return 0


def _marked(row: dict[str, Any]) -> str:
    return f"{row['source']} *" if row["best"] else str(row["source"])


def _size(row: dict[str, Any]) -> str:
    """Megabytes, where they are known."""
    size = row["bytes"] or (row["mib"] or 0) * 2**20
    return f"{size / 1e6:,.0f}" if size else ""


def _top1(row: dict[str, Any]) -> str:
    return "" if row["top1"] is None else f"{row['top1']:.1f}"


def _place(row: dict[str, Any]) -> str:
    return "yes" if row["cached"] else ""


def _fetch(names: list[str], as_json: bool) -> int:
    from podium.cli.fetching import fetch
    from podium.weights.listing import official_name

    sources = [official_name(name) for name in names]  # all are known before the first is downloaded
    try:
        found = [{"source": source, "path": str(fetch(source, quiet=as_json))} for source in sources]
    except MachineError as error:
        fix = f"{error.fix}; or train from random weights: podium compare DATA --scratch"
        raise MachineError(error.what, fix) from None
    if as_json:
        print_json(found)
    else:
        for each in found:
            print(f"{each['source']}: {each['path']}")
    return 0
