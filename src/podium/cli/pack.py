"""`podium pack`: a data set decoded once into a pack, or written as shards."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from podium.cli import console, flags, shared
from podium.cli.shared import print_json

HELP = "decode photos once, into a folder that every verb reads in their place, at the speed of memory"
EXAMPLE = """podium pack photos/ -o packed
         podium train resnet18 packed
         podium pack imagenet/ --shards -o shards       # as files, in tars: for sets too large to decode at once"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument("data", help="a folder of class folders, an archive, or a table; splits and classes are kept")
    shared.add_reading(parser)
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="the pack: a new folder")
    parser.add_argument(
        "--side",
        type=flags.side,
        metavar="N",
        help="short side in pixels that larger photos are shrunk to; crops are cut out of that, so take a little more "
        "than the network's input. A photo costs about 4 N² bytes [256]",
    )
    parser.add_argument(
        "--shards",
        action="store_true",
        help="keep the files as they are, in tars of the WebDataset convention with an index, which every verb reads, "
        "also from a URL (file://, s3://, ... by fsspec, extra `shards`)",
    )
    parser.add_argument("--shard-size", metavar="SIZE", help="least size of the images in a shard [500MB]")
    parser.add_argument(
        "--on-bad",
        choices=("error", "skip"),
        default="error",
        help="whether a photo that cannot be read stops the packing, or is left out and listed [error]",
    )
    flags.add_max_pixels(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from podium.data.names import show
    from podium.data.pack import write_pack
    from podium.data.reading import Reading
    from podium.data.shards import write_shards
    from podium.data.sources import read
    from podium.units import parse_bytes

    shard_size = max(1, round(parse_bytes("shard size", arguments.shard_size or "500MB")))
    how = Reading(**shared.reading_given(arguments))
    data = read(arguments.data, arguments.on_bad, arguments.max_pixels, how)
    with console.counting_bar("packing", quiet=arguments.json) as progress:
        if arguments.shards:
            card = write_shards(data, arguments.out, shard_size, progress)
            size = sum(card["shards"].values())
        else:
            card = write_pack(data, arguments.out, arguments.side or 256, progress)
            size = sum(file["bytes"] for file in card["files"].values())
    images = sum(card["splits"].values())
    left_out = [{"file": name, "why": why} for name, why in card["skipped"]]
    columns = dict.fromkeys(name for split in data.splits.values() for name in split.columns)
    kept = [f"note: the columns {', '.join(map(show, columns))} are kept with the images"] if columns else []
    notes = kept + [note for note in data.notes if not note.startswith("skipped: ")]  # which `left_out` has
    if arguments.json:
        more = {"shards": len(card["shards"])} if arguments.shards else {}
        made = {"pack": str(arguments.out), "images": images, "bytes": size, "classes": card["classes"], **more}
        print_json({**made, "left_out": left_out, "notes": notes})
    else:
        for note in notes:
            print(console.one_line(note), file=sys.stderr)
        for each in left_out:
            print(f"left out: {each['file']}  {each['why']}")
        print(f"pack: {arguments.out}: {images:,} images of {len(card['classes'])} classes, {size / 1e6:,.1f} MB")
    return 0
