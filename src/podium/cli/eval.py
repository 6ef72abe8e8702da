"""`podium eval`: a trained network on the images of a data set."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from podium import tables
from podium.cli import console, flags, shared
from podium.cli.shared import print_json

if TYPE_CHECKING:
    from podium.comparison.slices import Slices

HELP = "evaluate a run or bundle on a data set"
EXAMPLE = "podium eval runs/a photos/"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument("run_folder", metavar="RUN", help="a run folder or bundle")
    parser.add_argument(
        "data", help="a named set (digits, mnist, ...), a folder, an archive, or a table of paths and labels"
    )
    parser.add_argument("--split", help="train, val or test [test if there is one, else the images the run held out]")
    parser.add_argument(
        "--split-seed",
        type=flags.seed,
        metavar="N",
        help="seed of the split of a run of Podium 0.1.0 whose split cannot be recognised",
    )
    parser.add_argument(
        "--limit", type=flags.limit, metavar="N", help="evaluate on N images only, of all classes in proportion"
    )
    parser.add_argument(
        "--crops",
        default="1",
        metavar="1|10|144|dense",
        help="views of each image whose probabilities are averaged: the centre; also the corners, mirrored (AlexNet); "
        "crops of three squares at four scales (GoogLeNet); the whole image (VGG). No view is mirrored if the run was "
        "trained without mirroring [1]",
    )
    parser.add_argument(
        "--slice",
        metavar="COLUMN|REGEX",
        help="also report the accuracy for each value of this column, or of what the group of a regular expression finds in the path",
    )
    shared.add_reading(parser)
    flags.add_device(parser)
    parser.add_argument(
        "--workers",
        type=flags.workers,
        metavar="N",
        help="threads that decode images [2; for a GPU as many as cores, at most 16]",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from podium.api.evaluate import evaluate

    with console.counting_bar("evaluating", quiet=arguments.json) as progress:
        scores = evaluate(
            arguments.run_folder,
            arguments.data,
            split=arguments.split,
            limit=arguments.limit,
            workers=arguments.workers,
            crops=arguments.crops,
            split_seed=arguments.split_seed,
            slice=arguments.slice,
            device=arguments.device,
            progress=progress,
            **shared.reading_given(arguments),
        )
    if arguments.json:
        print_json(scores)
    else:
        _show(scores)
    return 0


def _show(scores: dict[str, Any]) -> None:
    from podium.comparison.slices import Slices
    from podium.evaluation.metrics import TOP5_FROM
    from podium.training.confidence import format_confidence

    for note in scores["notes"]:
        print(note, file=sys.stderr)
    columns = ["class", "images", "precision", "recall", "F1"]
    rows = [
        [r["class"], str(r["n"]), f"{r['precision']:.3f}", f"{r['recall']:.3f}", f"{r['f1']:.3f}"]
        for r in scores["per_class"]
    ]
    tables.table("", columns, rows, set(columns[1:]))
    if "slices" in scores:
        _show_slices(Slices.read(scores["slices"]))
    top5 = f", top-5 {100 * scores['top5']:.2f} %" if len(scores["per_class"]) >= TOP5_FROM else ""
    print(
        f"{scores['split']}: top-1 {100 * scores['top1']:.2f} %{top5}, loss {scores['loss']:.4f}, "
        f"calibration error {scores['ece']:.4f}, on {scores['n']:,} images, crops {scores['crops']}"
        + ("" if scores.get("mirrored", True) else " without mirrored views, as the run was trained")
    )
    for line in format_confidence(scores.get("confidence")):
        print(line)


def _show_slices(found: Slices) -> None:
    """The table of slices, the worst first, and a sentence on the worst."""
    from podium.comparison.slices import SHOWN

    columns = [found.column, "images", "top-1 %", "95 % interval"]
    rows = [
        [
            one.value,
            str(one.n),
            f"{100 * one.top1:.2f}",
            f"{100 * one.top1_low:.2f}-{100 * one.top1_high:.2f}",
        ]
        for one in found.values[:SHOWN]
    ]
    tables.table("", columns, rows, set(columns[1:]))
    if (more := len(found.values) - SHOWN) > 0:
        print(f"and {more:,} more (--json has all)")
    if sentence := found.sentence():
        print(sentence)
