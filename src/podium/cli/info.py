"""`podium info`: the layers of a network."""

from __future__ import annotations

import argparse
import itertools
from typing import Any

from podium import tables
from podium.cli import flags
from podium.cli.network import network_of
from podium.cli.shared import print_json

HELP = "show the layers of a network: shapes, parameters, multiply-adds, receptive fields"
EXAMPLE = "podium info resnet50 --image-size 256"

COLUMNS = ["layer", "type", "output", "parameters", "multiply-adds", "receptive field"]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument("target", metavar="NAME|RUN", help="a network (`podium models`), a run folder or bundle")
    parser.add_argument(
        "--image-size", type=flags.image_size, metavar="N", help="side of the input, for a name [the paper's]"
    )
    parser.add_argument("--num-classes", type=flags.classes, metavar="N", help="for a name [the paper's]")
    parser.add_argument(
        "--small",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="the form for small images, for a name [up to 64 px]",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from podium.evaluation.layers import summary
    from podium.models.structure import format_sizes

    a = arguments
    facts = summary(network_of(a.target, image_size=a.image_size, num_classes=a.num_classes, small=a.small))
    if a.json:
        print_json(facts)
        return 0
    spec = facts["spec"]
    image = format_sizes((spec["in_chans"], spec["image_size"], spec["image_size"]))
    form = ", small form" if spec["small"] else ""
    title = f"{facts['name']}{form}: image {image}, {spec['num_classes']} classes"
    tables.table(title, COLUMNS, layer_cells(facts["layers"]), set(COLUMNS[3:]))
    for fact, text in _totals(facts).items():
        print(f"{fact:<14} {text}")
    return 0


def layer_cells(layers: list[dict[str, Any]]) -> list[list[str]]:
    """Return the rows of the table: each part of the network with its sums, and below it the part's layers."""
    from podium.models.structure import format_sizes

    cells: list[list[str]] = []
    for part, group in itertools.groupby(layers, lambda layer: layer["part"]):
        own = list(group)
        params, macs = (f"{sum(layer[key] for layer in own):,}" for key in ("params", "macs"))
        only = " (in training only)" if own[0]["training_only"] else ""
        cells.append([part + only, "", format_sizes(own[-1]["shape"]), params, macs, ""])
        for layer in own:
            name = layer["name"].removeprefix("stages.").removeprefix(part).removeprefix(".") or part
            field = layer["receptive_field"]
            seen = "all" if field is None else str(field[0]) if field[0] == field[1] else format_sizes(field)
            numbers = (f"{layer[key]:,}" if layer[key] else "" for key in ("params", "macs"))
            cells.append([f"    {name}", layer["type"], format_sizes(layer["shape"]), *numbers, seen])
    return cells


def _totals(facts: dict[str, Any]) -> dict[str, str]:
    """The lines below the table: the sums, the published error and the paper."""
    more = facts["auxiliary_params"]
    extra = f", and {more:,} of auxiliary classifiers in training" if more else ""
    weights, kept = (f"{facts[key] / 1e6:,.1f} MB" for key in ("params_bytes", "activations_bytes"))
    errors = {key: facts[f"{key.replace('-', '')}_error"] for key in ("top-1", "top-5")}
    said = ", ".join(f"{key} {100 * error:.4g} %" for key, error in errors.items() if error is not None)
    source = f" ({facts['source']})" if facts["source"] else ""
    lines = {
        "parameters": f"{facts['params']:,}{extra}",
        "multiply-adds": f"{facts['macs']:,}: those of convolutions and fully connected layers, for one image",
        "memory": f"{weights} of parameters, {kept} of activations: float32, for one image every output not made in place",
        "depth": f"{facts['depth']} layers as papers count them" if facts["depth"] else "",
        "error": f"{said}, {facts['protocol']}{source}" if said else f"none is published{source}",
        "paper": facts["paper"],
        "note": facts["note"],
    }
    return {fact: text for fact, text in lines.items() if text}
