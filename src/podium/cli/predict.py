"""`podium predict`: the classes of images, by a trained network."""

from __future__ import annotations

import argparse
import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from podium.cli import console, flags
from podium.cli.shared import print_json
from podium.errors import DataError, NumericError, PodiumError, UsageError
from podium.files import refuse_unwritable, write_atomic

HELP = "name what images show"
EXAMPLE = """podium predict runs/a rose.jpg tulip.jpg --top 3
         podium predict runs/a new/ "other/*.jpg" --min-confidence 0.8 --csv answers.csv"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument(
        "run_folder",
        metavar="RUN|FILE",
        help="a run folder, a comparison's folder (its best run), a bundle, or an exported file (needs no torch)",
    )
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help='files, folders for all images in them and below, patterns such as "new/*.jpg", or https URLs',
    )
    parser.add_argument("--top", type=flags.top, default=5, metavar="N", help="number of classes shown for each [5]")
    parser.add_argument(
        "--min-confidence",
        type=flags.probability,
        metavar="P",
        help="answer unknown where the most probable class has less, 0 to answer all [the threshold of the card, if it has one]",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write the answers as a table")
    flags.add_device(parser)
    flags.add_max_pixels(parser, None)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code, which is that of the last image that could not be read."""
    from podium.deployment.load import load

    _check_table(arguments.csv)
    model = load(arguments.run_folder, device=arguments.device)
    if arguments.max_pixels is not None:
        model = replace(model, preprocessing=replace(model.preprocessing, max_pixels=arguments.max_pixels))
    rows: list[tuple[str, dict[str, Any] | PodiumError]] = []
    code = 0
    for name, row in model.answers(arguments.images, arguments.top, arguments.min_confidence):
        rows.append((name, row))
        if isinstance(row, DataError | NumericError):  # the other images are answered all the same
            console.error(row)
            code = row.exit_code
        elif isinstance(row, PodiumError):
            raise row
        elif not arguments.json:
            _show(row)
    if arguments.csv is not None:
        write_atomic(arguments.csv, _table(rows, arguments.top))
    if arguments.json:
        print_json([row for _, row in rows if isinstance(row, dict)])
    return code


def _check_table(path: Path | None) -> None:
    """Refuse a table that could not be written, before the first image is read."""
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        what = "a folder" if path.is_dir() else "its folder is not there"
        raise UsageError(f"--csv: {path}: {what}", "name a file in a folder that is there")
    if path is not None:
        refuse_unwritable(path)


def _show(row: dict[str, Any]) -> None:
    named = ", ".join(f"{each['class']} {100 * each['probability']:.1f} %" for each in row["top"])
    first = row["top"][0]["class"]
    answer = "" if row["known"] and row["answer"] == first else f"{row['answer']}; "
    print(console.one_line(f"{row['file']}: {answer}{named}"))


def _table(rows: list[tuple[str, dict[str, Any] | PodiumError]], top: int) -> bytes:
    """The answers as CSV in UTF-8, a row an image: one that has no answer has its error in the last column."""
    shown = [row["top"] for _, row in rows if isinstance(row, dict)]
    count = max(map(len, shown), default=min(top, 1))
    heads = [f"{name}_{place + 1}" for place in range(count) for name in ("class", "probability")]
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["file", "answer", "known", *heads, "error"])
    for name, row in rows:
        if isinstance(row, PodiumError):
            table.writerow([name, "", "", *[""] * len(heads), row.what])
        else:
            cells = [cell for each in row["top"] for cell in (each["class"], f"{each['probability']:.6f}")]
            table.writerow([row["file"], row["answer"], str(row["known"]).lower(), *cells, ""])
    return out.getvalue().encode(errors="backslashreplace")
