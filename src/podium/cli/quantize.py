"""`podium quantize`: a trained network in 8-bit integers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium import tables
from podium.cli import console, flags
from podium.cli.shared import add_reading, print_json, reading_given, same_command_continues
from podium.cli.shrinking import too_few
from podium.errors import DataError

if TYPE_CHECKING:
    from podium.compression.quantize import Quantized

HELP = "write a run in 8-bit integers if it stays as accurate, with a table of before and after"
EXAMPLE = """podium quantize runs/a photos/ -o runs/a-int8
         podium predict runs/a-int8 rose.jpg"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument("run_folder", metavar="RUN", help="a run folder or bundle")
    parser.add_argument(
        "data",
        nargs="?",
        help="a data set: its training images measure the ranges, its test or validation images decide [the run's own]",
    )
    add_reading(parser)
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--engine", choices=("onnxruntime", "openvino"), default="onnxruntime", help="[onnxruntime]")
    flags.add_terms(parser)
    parser.add_argument(
        "--qat",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="if more is lost on images that do not decide, fine-tune with int8's rounding (recipe qat, DIR/qat) [yes]",
    )
    parser.add_argument("--epochs", type=flags.tuning, metavar="N", help="length of that fine-tuning [5]")
    parser.add_argument(
        "--limit",
        type=flags.limit,
        metavar="N",
        help="images that decide, at most, of all classes in proportion [all, up to a gigabyte of them]",
    )
    parser.add_argument(
        "--seconds", type=flags.seconds, default=1.0, metavar="X", help="time to measure each engine and batch [1]"
    )
    parser.add_argument(
        "--heatmap",
        dest="heat_map",
        action="store_true",
        help="the model also gives a heat map: where in the image its answer comes from",
    )
    flags.add_device(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from podium.api.deploy import quantize

    a = arguments

    def say(text: str) -> None:
        if not a.json:
            print(text, file=sys.stderr, flush=True)

    def progress(name: str, step: int, steps: int, shown: dict[str, Any]) -> None:
        if "event" in shown:  # a line each epoch and no bar, which would disturb the timings
            say(f"{name}  {console.epoch_line(shown)}")

    names = ("engine", "tolerance", "accept_unproven", "limit", "seconds", "qat", "epochs", "heat_map", "device")
    options = {key: getattr(a, key) for key in names}
    with same_command_continues(a.command):
        made = quantize(a.run_folder, a.data, a.out, **options, say=say, progress=progress, **reading_given(a))
    if a.json:
        print_json({"run": str(made.path), "gate": made.gate, "rows": made.rows})
    else:
        _show(made)
    if not made.decision.left_open:
        return 0
    console.error(too_few(made.decision, made.path))
    return DataError.exit_code


def _show(made: Quantized) -> None:
    columns = ["", "engine", "dtype", "top-1 %", "± 95 %", "MB", "batch", "p50 ms", "p95 ms", "images/s"]
    cells = []
    for r in made.rows:
        figures = [f"{100 * r['top1']:.2f}", f"{100 * r['error']:.2f}", f"{r['size_bytes'] / 1e6:.2f}", str(r["batch"])]
        times = [*(f"{r['latency_ms'][key]:.2f}" for key in ("p50", "p95")), f"{r['images_per_second']:,.1f}"]
        cells.append([r["name"], r["engine"], r["dtype"], *figures, *times])
    tables.table("", columns, cells, set(columns[3:]))
    print(f"{made.decision}: {made.path}")
