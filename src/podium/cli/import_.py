"""`podium import`: another library's checkpoint as a bundle."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from podium.cli import flags
from podium.cli.fetching import fetch_ahead
from podium.cli.shared import print_json

HELP = "turn another library's checkpoint into a bundle"
EXAMPLE = "podium import torchvision:resnet18 best.pth --classes photos/ -o runs/resnet18"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument(
        "source",
        metavar="LIBRARY:NAME",
        help="such as torchvision:resnet50, keras:Xception; timm:resnet50.tv_in1k names one of several weights",
    )
    parser.add_argument(
        "file",
        type=Path,
        nargs="?",
        help=".pth, .safetensors, .h5, .weights.h5 or .keras; the index or folder of a file in parts [the official file, downloaded]",
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder of the bundle")
    parser.add_argument(
        "--num-classes", type=flags.classes, metavar="N", help="put a fresh classifier of this size on it"
    )
    parser.add_argument(
        "--in-chans", type=flags.channels, metavar="N", help="adapt the first convolution to this many channels"
    )
    parser.add_argument(
        "--classes",
        metavar="FILE|DATA",
        help="names of the classes: text with one name a line, JSON, YAML or CSV; a run that has them; or the data it was trained on, "
        "class folders or a table of images",
    )
    parser.add_argument(
        "--class-order",
        choices=("text", "natural"),
        help="order of the classes of DATA: text (1, 10, 2), as ImageFolder and Keras number them, or natural (1, 2, 10), as Podium "
        "does [text for class folders, natural for a table]",
    )
    for name, said in (("mean", "mean"), ("std", "standard deviation")):
        parser.add_argument(
            f"--{name}",
            type=flags.per_channel(f"{name}:"),
            metavar="X[,X,X]",
            help=f"{said} by which pixels from 0 to 1 were normalised for the network, for all channels or red, green, blue [as the "
            "file's own layers do it, else as is usual for LIBRARY:NAME]",
        )
    parser.add_argument("--ema", action="store_true", help="take the averaged (EMA) weights of a file that has both")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from podium.api.weights import import_weights

    a = arguments
    if a.file is None:
        fetch_ahead(a.source, a.json)
    made = import_weights(
        a.source,
        a.file,
        a.out,
        num_classes=a.num_classes,
        in_chans=a.in_chans,
        classes=a.classes,
        class_order=a.class_order,
        ema=a.ema,
        mean=a.mean,
        std=a.std,
    )
    if a.json:
        card = made.card
        print_json({"run": str(a.out), "spec": made.model.spec, "classes": list(made.classes), "notes": card["notes"]})
    else:
        for note in made.card["notes"]:
            print(f"note: {note}", file=sys.stderr)
        print(f"{a.source}: {made.model.spec['model']} with {len(made.classes)} classes in {a.out}")
    return 0
