"""What several verbs need."""

from __future__ import annotations

import argparse
from typing import Any

from podium.files import json_text
from podium.settings import FIELDS


def print_json(content: Any) -> None:
    """One JSON document on standard output."""
    print(json_text(content))


def settings_flags(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings among a command line's flags; `None` where none was given."""
    names = {*FIELDS, "epochs", "steps", "budget"} - {"model", "data", "recipe"}
    return {name: value for name, value in vars(arguments).items() if name in names}
