"""What value each setting may have: its type, its bounds, and what makes sense together. Imports nothing heavy."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from typing import Any

from podium.calls import number_of
from podium.devices import parse_device
from podium.errors import UsageError, closest
from podium.patterns import parse_pattern
from podium.units import DURATIONS, parse_duration

# The range of a kind of crop that is chosen without one: VGG's scale jitter, 256 to 512 over 224 [Simonyan and Zisserman
# 2014, section 3.1], and a quarter of the area to all of it.
RANGES = {"scale": (256 / 224, 512 / 224), "area": (0.25, 1.0)}
_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", tuple: "a list of numbers"}


def check(name: str, value: Any, kind: type, meta: Mapping[str, Any]) -> None:
    """Raise a UsageError that names the setting, the value and what it may be.

    Args:
        name: of the setting.
        value: of it; not None where that is one of its values.
        kind: of its values.
        meta: of its field, see `settings.option`.
    """
    if value == meta["word"] and isinstance(value, str):
        return
    _check_kind(name, value, kind, meta["word"])
    for v in value if kind is tuple else (value,):
        if isinstance(v, float) and not math.isfinite(v):
            raise UsageError(f"{name}: {value!r}", "give a finite number")
        if meta["at_least"] is not None and v < meta["at_least"]:
            raise UsageError(f"{name}: {value!r}", f"give at least {meta['at_least']}")
        if meta["below"] is not None and v >= meta["below"]:
            raise UsageError(f"{name}: {value!r}", f"give less than {meta['below']}")
    if meta["choices"] and value not in meta["choices"]:
        hint = closest(str(value), meta["choices"]) or f"one of {', '.join(meta['choices'])}"
        raise UsageError(f"{name}: {value!r}", hint)
    if name in DURATIONS:
        parse_duration(name, value)
    if name == "group_from":
        parse_pattern(name, value)
    if name == "alpha" and value > 1:
        raise UsageError(f"alpha: {value!r}", "give a share, from 0 to 1")
    if name == "lr" and value > 1e3:
        raise UsageError(f"lr: {value!r}", "no network trains at such a rate; give less than 1000")
    if name == "on_nan":
        skips(value)
    if name == "recall":
        parse_recall(value)
    if name == "device":
        parse_device(value)
    if name == "crop_range" and (len(value) != 2 or not 0 < value[0] <= value[1]):
        raise UsageError(f"crop_range: {list(value)!r}", "give two positive numbers, the smaller first")


def _check_kind(name: str, value: Any, kind: type, word: str | None) -> None:
    if _fits(value, kind):
        return
    if isinstance(value, str) and kind in (int, float) and (n := number_of(value, kind is int)) is not None:
        raise UsageError(f"{name}: {value!r} is a text", f"give the number: {n}")
    raise UsageError(f"{name}: {value!r}", f"give {_NAMES[kind]}" + (f", or {word}" if word else ""))


def _fits(value: Any, kind: type) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is float:
        return number
    if kind is tuple:
        return isinstance(value, tuple) and all(_fits(v, float) for v in value)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def check_sense(name: str, value: Any, meta: Mapping[str, Any]) -> None:
    """Raise a UsageError for a value of the right kind that makes no sense; runs of older versions may have one on record.

    Args:
        name, value, meta: as `check` takes them.
    """
    most = meta["at_most"]
    if most is not None and isinstance(value, int | float) and value > most:
        raise UsageError(f"{name}: {value!r}", f"give at most {most}")
    if name == "milestones":
        increasing = all(a < b for a, b in itertools.pairwise(value))
        if not value or not increasing or not all(0 < v < 1 for v in value):
            fix = "give fractions of the run between 0 and 1, each larger than the one before: 0.5,0.75"
            raise UsageError(f"milestones: {list(value)!r}", fix)
    if name in ("warmup", "unfreeze") and value is not None:
        share, unit = parse_duration(name, value)
        if unit == "%" and share > 100:
            raise UsageError(f"{name}: {value!r}", "give at most 100%")
    if name == "decay_every" and parse_duration(name, value)[0] == 0:
        raise UsageError(f"{name}: {value!r}", "give a time above 0, such as 2ep")


def check_range(crop: str, between: tuple[float, ...]) -> None:
    """Raise a UsageError where the range of a kind of crop lies beyond the image, or leaves nothing of it."""
    if crop == "area" and between[1] > 1:
        raise UsageError(f"crop_range: {list(between)!r}", "give fractions of the area, at most 1, such as 0.25,1")
    if crop == "scale" and not 1 <= between[0] <= between[1] <= 100:
        fix = "give the short side over the crop's side, from 1 to 100: 1.14,2.29 as VGG, 256 to 512 over 224"
        raise UsageError(f"crop_range: {list(between)!r}", fix)


def skips(on_nan: str) -> int:
    """How many training steps with a loss or gradient that is not finite may be left out: 0 for "error", N for "skip:N"."""
    match = re.fullmatch(r"error|skip:(\d+)", on_nan, re.ASCII)
    if match is None:
        raise UsageError(f"on_nan: {on_nan!r}", "write error, or skip and how often: skip:3")
    return int(match[1] or 0)


POINT = re.compile(r"\s*(?P<name>.+?)\s*=\s*(?P<share>[0-9.]+)(?P<percent>%?)\s*(,|$)")


def parse_recall(text: str | None) -> dict[str, float]:
    """Read the setting `recall`: "defect=0.99,scratch=95%" as {class: share}; a class may have commas in its name.

    Raises:
        UsageError: not of this form, a class twice, or a share that is not between 0 and 1.
    """
    found: dict[str, float] = {}
    rest = text or ""
    while rest or text == "":
        match = POINT.match(rest)
        try:
            share = float(match["share"]) / (100 if match["percent"] else 1) if match else 0.0
        except ValueError:  # several points
            share = 0.0
        if match is None or not 0 < share < 1:
            fix = "write CLASS=SHARE with a share between 0 and 1, both excluded, such as defect=0.99"
            raise UsageError(f"recall: {rest or text!r}", fix)
        if match["name"] in found:
            raise UsageError(f"recall: {match['name']!r} stands there twice", "keep one of the two")
        found[match["name"]], rest = share, rest[match.end() :]
    return found
