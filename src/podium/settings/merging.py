"""Merging settings: defaults, then a recipe, then a file, then flags; each value keeps where it came from."""

from __future__ import annotations

import numbers
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podium.calls import meant
from podium.errors import UsageError
from podium.settings.checks import RANGES, check_range
from podium.settings.fields import FIELDS, UNKNOWN, Settings, base_type, check_given
from podium.settings.file import read_file
from podium.settings.origin import DEFAULT, FLAG, Origin

LENGTHS = ("epochs", "steps", "budget")  # other words for the duration, but in a file


@dataclass(frozen=True)
class Origins:
    """Settings and, for each, where its value came from."""

    settings: Settings
    origin: dict[str, Origin]


def moved(origin: Mapping[str, Origin], before: Settings, after: Settings, by: str) -> dict[str, Origin]:
    """Return the origins after an operation has decided some of the values.

    Args:
        origin: setting -> where its value came from.
        before, after: the settings; a value that differs has the origin "by" the operation.
        by: the operation, such as "podium prune".
    """
    changed = [key for key in FIELDS if key != "data" and getattr(before, key) != getattr(after, key)]
    return {**origin, **dict.fromkeys(changed, Origin(f"by {by}"))}


def merge(
    recipe: Mapping[str, Any],
    recipe_name: str,
    file: Path | None,
    flags: Mapping[str, Any],
    named: Origin = DEFAULT,
) -> Origins:
    """Merge settings: a file has precedence over the recipe, and flags over both.

    Args:
        recipe, recipe_name: the settings to start from.
        file: a settings file, or None.
        flags: of the command line, or keywords; what is None was not given.
        named: where the name of the recipe came from; it is recorded even where the file names another.

    Raises:
        UsageError: an unknown or mistyped key; names the file and line, and the closest keys.
    """
    found: dict[str, Any] = {spec.name: spec.default for spec in FIELDS.values()}
    origin = dict.fromkeys(found, DEFAULT)
    layers: list[tuple[Origin, Mapping[str, Any]]] = [(Origin(f"recipe {recipe_name}"), recipe)]
    if file is not None:
        layers.append((Origin.file(file), read_file(file, check_given)))
    layers.append((FLAG, {k: v for k, v in flags.items() if v is not None}))
    for source, layer in layers:
        crop = layer.get("crop", found["crop"])
        if isinstance(crop, str) and crop != found["crop"]:  # a range is of one kind of crop
            found["crop_range"], origin["crop_range"] = RANGES.get(layer["crop"], RANGES["area"]), DEFAULT
        for key, value in layer.items():
            if key not in FIELDS:
                raise UsageError(f"no setting is called {key!r}", meant(key, [*FIELDS, *LENGTHS], UNKNOWN))
            found[key], origin[key] = plain(key, value), source
            if source.given:
                check_given(key, found[key])
    found["recipe"], origin["recipe"] = recipe_name, named
    if origin["crop_range"].given:
        check_range(found["crop"], found["crop_range"])
    return Origins(Settings(**found), origin)


def plain(name: str, value: Any) -> Any:
    """Return the value of a setting as `Settings` has it: a path as text, numpy's numbers as Python's, a list as a tuple."""
    if isinstance(value, os.PathLike) and base_type(name)[0] is str:
        return os.fspath(value)
    if isinstance(value, numbers.Number) and hasattr(value, "item"):
        return value.item()
    return tuple(value) if isinstance(value, list) else value
