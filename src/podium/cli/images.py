"""Verbs about images: check and pack. Heavy imports happen inside, so that `--help` costs nothing."""

from __future__ import annotations

import argparse
from collections import Counter

from podium import tables
from podium.cli import console
from podium.cli.shared import print_json


def check(arguments: argparse.Namespace) -> int:
    """podium check."""
    from podium.data.check import check as inspect_data

    with console.counting_bar("checking", quiet=arguments.json) as progress:
        report = inspect_data(arguments.data, progress)
    if arguments.json:
        print_json(report.to_dict())
    else:
        splits = sorted({s for counts in report.classes.values() for s in counts}, key=["train", "val", "test"].index)
        rows = [[name, *(str(counts.get(s, 0)) for s in splits)] for name, counts in report.classes.items()]
        tables.table(
            f"{report.source}: {report.images:,} images, {len(report.classes)} classes",
            ["class", *splits],
            rows,
            set(splits),
        )
        for problem in report.problems:
            print(f"{problem.kind}: {problem.path}  {problem.detail}")
        for note in report.notes:
            print(note)
        images, copies = report.repeated
        if copies:
            print(f"exact copies: {images:,} images are there more than once, {copies:,} copies beside the first")
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in Counter(p.kind for p in report.problems).items())
        print(f"{len(report.problems)} problems: {kinds}" if report.problems else "nothing wrong was found")
    return 3 if report.problems else 0


def pack(arguments: argparse.Namespace) -> int:
    """podium pack."""
    from podium.data.pack import write_pack
    from podium.data.shards import write_shards
    from podium.data.sources import read
    from podium.units import parse_bytes

    shard_size = max(1, round(parse_bytes("shard size", arguments.shard_size or "500MB")))
    data = read(arguments.data, arguments.on_bad)
    with console.counting_bar("packing", quiet=arguments.json) as progress:
        if arguments.shards:
            card = write_shards(data, arguments.out, shard_size, progress)
            size = sum(card["shards"].values())
        else:
            card = write_pack(data, arguments.out, arguments.side or 256, progress)
            size = sum(file["bytes"] for file in card["files"].values())
    images = sum(card["splits"].values())
    if arguments.json:
        more = {"shards": len(card["shards"])} if arguments.shards else {}
        print_json({"pack": str(arguments.out), "images": images, "bytes": size, "classes": card["classes"], **more})
    else:
        for name, why in card["skipped"]:
            print(f"left out: {name}  {why}")
        print(f"pack: {arguments.out}: {images:,} images of {len(card['classes'])} classes, {size / 1e6:,.1f} MB")
    return 0
