"""`podium recipes`: the training recipes, their sources and settings."""

from __future__ import annotations

import argparse

from podium.cli.shared import print_json

HELP = "list the training recipes and their sources"
EXAMPLE = "podium recipes resnet-cifar-2015"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument("name", nargs="?", help="show the settings of this recipe")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
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
