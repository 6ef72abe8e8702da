"""`podium export`: a trained network as one file for deployment."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from podium.cli.shared import add_reading, print_json, reading_given

HELP = "write a run as one file that runs without Podium's training: ONNX, OpenVINO or torch.export; or as a model of Triton"
EXAMPLE = """podium export runs/a -o rose.onnx
         podium predict rose.onnx rose.jpg"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument("run_folder", metavar="RUN", help="a run folder or bundle")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help=".onnx, .xml or .pt2; with --format triton, a new folder",
    )
    parser.add_argument("--format", choices=("onnx", "openvino", "torch", "triton"), help="[by the file's name]")
    parser.add_argument(
        "--data",
        metavar="DATA",
        help="images: the file's answers for 64 of them must be the run's, to 1e-4, or no file is left [the run's own]",
    )
    add_reading(parser)
    parser.add_argument(
        "--preprocessing",
        choices=("inside", "beside"),
        default="inside",
        help="inside: the graph takes uint8 (N, S, S, C); beside: it takes normalised float32 (N, C, S, S), and the card "
        "says how to make that [inside]",
    )
    parser.add_argument(
        "--heatmap",
        action="store_true",
        help="the file also gives a heat map: where in the image its answer comes from",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from podium.api.deploy import export
    from podium.deployment.described import files_of

    a = arguments
    how = {"data": a.data, "format": a.format, "preprocessing": a.preprocessing, "heat_map": a.heatmap}
    parity = export(a.run_folder, a.out, **how, **reading_given(a))
    files = a.out.rglob("*") if a.out.is_dir() else files_of(a.out)
    size = sum(path.stat().st_size for path in files if path.is_file())
    if a.json:
        print_json({"file": str(a.out), "bytes": size, "parity": asdict(parity)})
    else:
        print(f"{a.out}: {size / 1e6:,.2f} MB; {parity}")
    return 0
