"""Verbs about networks: models, info, draw, recipes, import. Heavy imports happen inside, so that `--help` costs nothing."""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium import tables
from podium.cli.shared import print_json
from podium.errors import UsageError, closest

if TYPE_CHECKING:
    from podium.models.convnet import ConvNet


def models(arguments: argparse.Namespace) -> int:
    """podium models."""
    from podium.comparison.lineage import networks, percent, write_lineage
    from podium.evaluation.cost import short
    from podium.models import list_models

    rows = networks(arguments.pattern)
    if not rows:
        raise UsageError(
            f"no network matches {arguments.pattern!r}",
            closest(arguments.pattern.strip("*"), list_models()) or "`podium models` lists all",
        )
    if arguments.out:
        if arguments.out.is_dir():
            raise UsageError(f"-o {arguments.out}: that is a folder", "name a file, such as lineage.html")
        write_lineage(arguments.out, rows)
    if arguments.json:
        print_json(rows)
    elif arguments.out:
        print(f"page: {arguments.out}")
    else:
        columns = ["name", "family", "year", "depth", "parameters", "multiply-adds", "input", "error %"]
        cells = [
            [
                r["name"],
                r["family"],
                str(r["year"]),
                str(r["depth"] or ""),
                f"{r['params']:,}",
                short(r["macs"]),
                r["input"],
                "/".join(percent(error) or "-" for error in (r["top1_error"], r["top5_error"]))
                if r["protocol"]
                else "",
            ]
            for r in rows
        ]
        tables.table("", columns, cells, right={"depth", "parameters", "multiply-adds"})
        print("error: top-1/top-5 as published, by protocols that --json names; of small inputs on MNIST or CIFAR-10")
    return 0


def _network(target: str, **form: Any) -> ConvNet:
    """A run's network, or one by name and without weights, in the form that flags ask for: up to 64 px small by itself."""
    from podium.models.convnet import meta
    from podium.models.forms import small_without_data
    from podium.runs import bundle
    from podium.weights.create import create_model

    if Path(target).exists():
        for flag in (f"--{key.replace('_', '-')}" for key, value in form.items() if value is not None):
            raise UsageError(f"{flag}: {target} is a network that has its form", "leave it out, or give a name")
        return bundle.load(target).model
    size = form["image_size"]
    if form.get("small") is None:
        form["small"] = small_without_data(size)
    return meta(lambda: create_model(target, **form))


def info(arguments: argparse.Namespace) -> int:
    """podium info."""
    from podium.evaluation.layers import summary
    from podium.models.structure import by

    a = arguments
    facts = summary(_network(a.target, image_size=a.image_size, num_classes=a.num_classes, small=a.small))
    if a.json:
        print_json(facts)
        return 0
    columns = ["layer", "type", "output", "parameters", "multiply-adds", "receptive field"]
    cells: list[list[str]] = []
    for part, group in itertools.groupby(facts["layers"], lambda layer: layer["part"]):
        layers = list(group)
        params, macs = (f"{sum(layer[key] for layer in layers):,}" for key in ("params", "macs"))
        only = " (in training only)" if layers[0]["training_only"] else ""
        cells.append([part + only, "", by(layers[-1]["shape"]), params, macs, ""])
        for layer in layers:
            name = layer["name"].removeprefix("stages.").removeprefix(part).removeprefix(".") or part
            field = layer["receptive_field"]
            seen = "all" if field is None else str(field[0]) if field[0] == field[1] else by(field)
            numbers = (f"{layer[key]:,}" if layer[key] else "" for key in ("params", "macs"))
            cells.append([f"    {name}", layer["type"], by(layer["shape"]), *numbers, seen])
    spec = facts["spec"]
    image = by((spec["in_chans"], spec["image_size"], spec["image_size"]))
    form = ", small form" if spec["small"] else ""
    title = f"{facts['name']}{form}: image {image}, {spec['num_classes']} classes"
    tables.table(title, columns, cells, set(columns[3:]))
    for fact, text in _totals(facts).items():
        print(f"{fact:<14} {text}")
    return 0


def _totals(facts: dict[str, Any]) -> dict[str, str]:
    """What stands under the layer table: the sums and the paper."""
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


def draw(arguments: argparse.Namespace) -> int:
    """podium draw."""
    from podium.diagrams.draw import diagram
    from podium.evaluation.cost import count_net
    from podium.files import write_atomic
    from podium.models import architecture

    out: Path = arguments.out
    if out.suffix.lower() != ".svg" or out.is_dir():
        raise UsageError(f"-o {out}: a diagram is an SVG file", "give a name that ends in .svg")
    net = _network(arguments.target, image_size=arguments.image_size)
    cost, name = count_net(net), net.spec["model"]
    numbers = f"{cost.params:,} parameters, {cost.macs:,} multiply-adds"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, diagram(net, name, architecture(name).paper, numbers).encode())
    if arguments.json:
        print_json({"file": str(out), "name": name})
    else:
        print(f"diagram: {out}")
    return 0


def recipes(arguments: argparse.Namespace) -> int:
    """podium recipes."""
    from podium.training.recipes.named import RECIPES, recipe

    chosen = {arguments.name: recipe(arguments.name)} if arguments.name else RECIPES
    if arguments.json:
        print_json(
            [{"name": n, "source": r.source, "differs": r.differs, "settings": r.settings} for n, r in chosen.items()]
        )
        return 0
    for name, r in chosen.items():
        print(f"{name}: {r.source}")
        if r.differs:
            print(f"  differs: {r.differs}")
        if arguments.name:
            for key, value in r.settings.items():
                print(f"  {key}: {list(value) if isinstance(value, tuple) else value}")
    return 0


def import_(arguments: argparse.Namespace) -> int:
    """podium import."""
    from podium import api

    a = arguments
    made = api.import_weights(a.source, a.file, a.out, num_classes=a.num_classes, in_chans=a.in_chans)
    if a.json:
        card = made.card
        print_json({"run": str(a.out), "spec": made.model.spec, "classes": list(made.classes), "notes": card["notes"]})
    else:
        for note in made.card["notes"]:
            print(f"note: {note}", file=sys.stderr)
        print(f"{a.source}: {made.model.spec['model']} with {len(made.classes)} classes in {a.out}")
    return 0
