"""What a setting may be: kinds, bounds, and lengths of time such as "30ep" or "10m". Imports nothing heavy."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from typing import Any

from podium.calls import number_of
from podium.errors import UsageError, closest

# Of a kind of crop that is chosen without a range: VGG's scale jitter, 256 to 512 over 224 [Simonyan and Zisserman 2014,
# section 3.1], and a quarter of the area to all of it.
RANGES = {"scale": (256 / 224, 512 / 224), "area": (0.25, 1.0)}
DURATIONS = {
    "duration": ("ep", "it", "s", "m", "h"),
    "budget": ("s", "m", "h"),
    "warmup": ("ep", "it", "%"),
    "unfreeze": ("ep", "it", "%"),
    "decay_every": ("ep", "it"),
    "checkpoint_every": ("s", "m", "h"),
    "grace": ("s", "m", "h"),
}
_LIKE = {"ep": "30ep", "it": "5000it", "s": "90s", "m": "10m", "h": "2h", "%": "10%"}
LONGEST = 10**9  # of any length, in its unit
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
    if not _fits(value, kind):
        if isinstance(value, str) and kind in (int, float) and (n := number_of(value, kind is int)) is not None:
            raise UsageError(f"{name}: {value!r} is a text", f"give the number: {n}")
        raise UsageError(
            f"{name}: {value!r}", f"give {_NAMES[kind]}" + (f", or {meta['word']}" if meta["word"] else "")
        )
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
        duration(name, value)
    if name == "alpha" and value > 1:
        raise UsageError(f"alpha: {value!r}", "give a share, from 0 to 1")
    if name == "lr" and value > 1e3:
        raise UsageError(f"lr: {value!r}", "no network trains at such a rate; give less than 1000")
    if name == "on_nan":
        skips(value)
    if name == "crop_range" and (len(value) != 2 or not 0 < value[0] <= value[1]):
        raise UsageError(f"crop_range: {list(value)!r}", "give two positive numbers, the smaller first")


def _fits(value: Any, kind: type) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is float:
        return number
    if kind is tuple:
        return isinstance(value, tuple) and all(_fits(v, float) for v in value)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def check_sense(name: str, value: Any, meta: Mapping[str, Any]) -> None:
    """Raise a UsageError for what is of the right kind and makes no sense all the same; arguments as of `check`."""
    most = meta["at_most"]
    if most is not None and isinstance(value, int | float) and value > most:
        raise UsageError(f"{name}: {value!r}", f"give at most {most}")
    if name == "milestones":
        increasing = all(a < b for a, b in itertools.pairwise(value))
        if not value or not increasing or not all(0 < v < 1 for v in value):
            fix = "give fractions of the run between 0 and 1, each larger than the one before: 0.5,0.75"
            raise UsageError(f"milestones: {list(value)!r}", fix)
    if name in ("warmup", "unfreeze") and value is not None:
        share, unit = duration(name, value)
        if unit == "%" and share > 100:
            raise UsageError(f"{name}: {value!r}", "give at most 100%")
    if name == "decay_every" and duration(name, value)[0] == 0:
        raise UsageError(f"{name}: {value!r}", "give more than no time, such as 2ep")


def check_range(crop: str, between: tuple[float, ...]) -> None:
    """Raise a UsageError where a range lies beyond the image for its kind of crop, or leaves nothing of it."""
    if crop == "area" and between[1] > 1:
        raise UsageError(f"crop_range: {list(between)!r}", "give fractions of the area, at most 1, such as 0.25,1")
    if crop == "scale" and not 1 <= between[0] <= between[1] <= 100:
        fix = "give the short side over the crop's side, from 1 to 100: 1.14,2.29 as VGG, 256 to 512 over 224"
        raise UsageError(f"crop_range: {list(between)!r}", fix)


def duration(name: str, text: str) -> tuple[float, str]:
    """Read "30ep", "5000it", "10m" or "5%": the number, and the unit; minutes and hours become seconds."""
    units = DURATIONS[name]
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ep|it|s|m|h|%)", text.strip(), re.ASCII)
    if match is None or match[2] not in units:
        raise UsageError(f"{name}: {text!r}", f"write a number and a unit: {', '.join(_LIKE[unit] for unit in units)}")
    value, unit = float(match[1]), match[2]
    if value > LONGEST:
        raise UsageError(f"{name}: {text!r}", f"give at most {LONGEST}{unit}")
    if unit in ("m", "h"):
        value, unit = value * {"m": 60, "h": 3600}[unit], "s"
    if unit == "s" and value <= 0:
        raise UsageError(f"{name}: {text!r}", "give more than no time, such as 90s")
    return value, unit


def skips(on_nan: str) -> int:
    """How many steps that are not finite may be left out: 0 for "error", N for "skip:N"."""
    match = re.fullmatch(r"error|skip:(\d+)", on_nan, re.ASCII)
    if match is None:
        raise UsageError(f"on_nan: {on_nan!r}", "write error, or skip and how often: skip:3")
    return int(match[1] or 0)


def to_steps(name: str, text: str, steps_per_epoch: int, total: int = 0) -> int:
    """A duration in steps; a percentage is of `total`."""
    value, unit = duration(name, text)
    return round(value * {"ep": steps_per_epoch, "it": 1, "%": total / 100}[unit])
