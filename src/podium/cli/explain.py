"""`podium explain`: where in an image an answer comes from, and what else there is to see in a network."""

from __future__ import annotations

import argparse
from pathlib import Path

from podium.cli import console, flags
from podium.cli.shared import print_json
from podium.errors import DataError, NumericError, PodiumError

HELP = "show where in images the answers of a network come from"
EXAMPLE = """podium explain runs/a rose.jpg -o rose.png
         podium explain rose.onnx rose.jpg -o rose.png
         podium explain runs/a new/ -o new.html --method occlusion --class rose
         podium explain runs/a rose.jpg --method layers -o layers.png"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument(
        "run_folder",
        metavar="RUN",
        help="a run folder, a comparison's folder (its recommended run), a bundle, or a file of `podium export --heatmap`",
    )
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help='files, folders for all images in them and below, patterns such as "new/*.jpg", or https URLs',
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="FILE",
        help="write a page (.html) or one picture (.png); an earlier one is replaced",
    )
    parser.add_argument(
        "--method",
        metavar="NAME",
        help="a heat map: grad-cam, class-map (which exported files have), occlusion or integrated-gradients; or layers (filters of the first convolution, and feature "
        "maps of each stage), or nearest (the most similar training images) [grad-cam; class-map of an exported file]",
    )
    parser.add_argument(
        "--class", dest="label", metavar="NAME", help="the class that a heat map explains [the most probable one]"
    )
    parser.add_argument(
        "--data", metavar="DATA", help="where --method nearest finds training images [the data of the run]"
    )
    flags.add_device(parser)
    flags.add_max_pixels(parser, None)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code, which is that of the last image that could not be read."""
    from podium.api.explain import explain
    from podium.comparison.report.explain_page import check_target, write_explanations
    from podium.data.inputs import inputs

    images, out = arguments.images, arguments.out
    count = sum(1 for _ in inputs(images))
    if out is not None:
        check_target(out, count)
    made, code = [], 0
    with console.counting_bar("training images", quiet=arguments.json) as progress:
        how = {name: getattr(arguments, name) for name in ("method", "label", "data", "device", "max_pixels")}
        found = explain(arguments.run_folder, images, **how, progress=progress)
    with console.counting_bar("explaining", quiet=arguments.json or count < 2) as progress:
        for done, (_, each) in enumerate(found, 1):
            if isinstance(each, DataError | NumericError):  # the other images are explained all the same
                console.error(each)
                code = each.exit_code
            elif isinstance(each, PodiumError):
                raise each
            else:
                made.append(each)
            progress(done, count)
    if out is not None and made:
        panels = [panel for each in made for panel in each.panels()]
        method = made[0].to_dict()["method"]
        write_explanations(out, arguments.run_folder, method, panels)
    if arguments.json:
        print_json([each.to_dict() for each in made])
        return code
    for each in made:
        print(console.one_line(each.describe()))
    if made:
        print(f"written: {out}" if out is not None else "-o FILE.html or FILE.png writes the pictures")
    return code
