"""`podium predict`: the classes of images, by a trained network."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from podium.cli import console, flags
from podium.cli.shared import print_json
from podium.errors import DataError, NumericError

HELP = "name what is on images"
EXAMPLE = "podium predict runs/a rose.jpg tulip.jpg --top 3"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument(
        "run_folder",
        metavar="RUN|FILE",
        help="a run folder, a comparison's folder (its best run), a bundle, or an exported file (needs no torch)",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="files, or folders for all images in them and below")
    parser.add_argument("--top", type=flags.top, default=5, metavar="N", help="number of classes shown for each [5]")
    flags.add_max_pixels(parser, None)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code, which is that of the last image that could not be read."""
    from podium.data.folders import images_below
    from podium.deployment.load import load

    _say_which_run(arguments.run_folder)
    model = load(arguments.run_folder)
    if arguments.max_pixels is not None:
        model = replace(model, preprocessing=replace(model.preprocessing, max_pixels=arguments.max_pixels))
    answers, code, waiting = [], 0, list(reversed(arguments.images))
    while waiting:
        image = waiting.pop()
        try:
            if Path(image).is_dir():
                waiting += reversed(images_below(Path(image)))
                continue
            (answer,) = model.predict(image, arguments.top)
        except (DataError, NumericError) as problem:  # the other images are answered all the same
            console.error(problem)
            code = problem.exit_code
            continue
        answers.append(answer)
        if not arguments.json:
            _show(answer)
    if arguments.json:
        print_json(answers)
    return code


def _say_which_run(folder: str) -> None:
    """Of a comparison's folder, say which of its runs answers, and warn if that one has learned nothing."""
    from podium.runs.recommended import recommended

    if (first := recommended(folder)) is not None:
        print(f"note: of {folder} its first network, {first.path}", file=sys.stderr)
        if not first.learned:
            print("warning: it is not clearly better than the most frequent class every time", file=sys.stderr)


def _show(answer: dict[str, Any]) -> None:
    named = ", ".join(f"{row['class']} {100 * row['probability']:.1f} %" for row in answer["top"])
    print(console.one_line(f"{answer['file']}: {named}"))
