"""`podium help`: what a verb does and takes."""

from __future__ import annotations

import argparse

HELP = "show what a verb does and takes; without one, all verbs"
EXAMPLE = "podium help train"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument("about", nargs="?", metavar="VERB", help="such as train")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from podium.cli.parser import build_parser, parse

    if arguments.about is None:
        build_parser().print_help()
    else:
        parse([arguments.about, "--help"])  # prints it and ends
    return 0
