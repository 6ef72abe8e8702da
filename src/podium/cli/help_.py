"""`podium help`: what a verb does and takes."""

from __future__ import annotations

import argparse
from typing import Any

from podium.cli.shared import print_json

HELP = "show what a verb does and takes; without one, all verbs"
EXAMPLE = "podium help train"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument("about", nargs="?", metavar="VERB", help="such as train")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from podium.cli.parser import build_parser, refuse_unknown_verb, verbs_of

    main = build_parser()
    if arguments.about is not None:
        refuse_unknown_verb(arguments.about, verbs_of(main))
    chosen = main if arguments.about is None else verbs_of(main)[arguments.about]
    if arguments.json:
        print_json(_described(chosen))
    else:
        chosen.print_help()
    return 0


def _described(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """What a parser takes, for JSON: its arguments, or the verbs and what each does."""
    arguments, verbs = [], dict[str, str]()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            verbs = {choice.dest: choice.help or "" for choice in action._choices_actions}
        else:
            text = parser._get_formatter()._expand_help(action) if action.help else ""
            names = list(action.option_strings) or [str(action.metavar or action.dest)]
            choices = list(action.choices) if action.choices is not None else None
            arguments.append({"names": names, "value": action.metavar, "choices": choices, "help": text})
    more = {"verbs": verbs} if verbs else {}
    return {
        "name": parser.prog,
        "description": parser.description,
        "epilog": parser.epilog,
        "arguments": arguments,
        **more,
    }
