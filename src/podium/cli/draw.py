"""`podium draw`: a network as a diagram."""

from __future__ import annotations

import argparse
from pathlib import Path

from podium.cli import flags
from podium.cli.network import network_of
from podium.cli.shared import print_json
from podium.errors import UsageError

HELP = "draw a network as its paper's figure does"
EXAMPLE = "podium draw googlenet -o googlenet.svg"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument("target", metavar="NAME|RUN", help="a network (`podium models`), a run folder or bundle")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="FILE.svg", help="the file; an existing one is replaced"
    )
    parser.add_argument(
        "--image-size", type=flags.image_size, metavar="N", help="side of the input, for a name [the paper's]"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from podium.diagrams.draw import diagram
    from podium.evaluation.cost import count_net
    from podium.files import write_atomic
    from podium.models import architecture

    out: Path = arguments.out
    if out.suffix.lower() != ".svg" or out.is_dir():
        raise UsageError(f"-o {out}: a diagram is an SVG file", "give a name that ends in .svg")
    net = network_of(arguments.target, image_size=arguments.image_size)
    cost, name = count_net(net), net.spec["model"]
    caption = f"{cost.params:,} parameters, {cost.macs:,} multiply-adds"
    out.parent.mkdir(parents=True, exist_ok=True)
    known = architecture(name)
    notes = [note for note in (known.paper, caption, known.note) if note]
    write_atomic(out, diagram(net, name, *notes).encode())
    if arguments.json:
        print_json({"file": str(out), "name": name})
    else:
        print(f"diagram: {out}")
    return 0
