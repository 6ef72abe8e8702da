"""Durations, sizes and counts as people write them: "30ep", "10m", "8ms", "5MB" and "500M", read into numbers."""

from __future__ import annotations

import re

from podium.errors import UsageError

# The units that each setting accepts: epochs, iterations (training steps), seconds, minutes, hours, or a share of the run.
DURATIONS = {
    "duration": ("ep", "it", "s", "m", "h"),
    "budget": ("s", "m", "h"),
    "warmup": ("ep", "it", "%"),
    "unfreeze": ("ep", "it", "%"),
    "decay_every": ("ep", "it"),
    "checkpoint_every": ("s", "m", "h"),
    "grace": ("s", "m", "h"),
}
_EXAMPLES = {"ep": "30ep", "it": "5000it", "s": "90s", "m": "10m", "h": "2h", "%": "10%"}
LONGEST = 10**9  # the largest number of any duration, in the unit it is written in
_WORDS = {"ep": "epochs", "it": "steps", "s": "s", "m": "min", "h": "h"}
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_MILLISECONDS = {"ms": 1.0, "us": 1e-3, "s": 1e3, "": 1.0}
_COUNTS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_BYTES = {"b": 1.0, "": 1.0} | {
    prefix + end: factor for prefix, factor in (("k", 1e3), ("m", 1e6), ("g", 1e9)) for end in ("", "b")
}


def parse_duration(name: str, text: str) -> tuple[float, str]:
    """Read "30ep", "5000it", "10m" or "5%" as a number and its unit; minutes and hours become seconds.

    Args:
        name: of the setting, which decides the units that are accepted; one of `DURATIONS`.
        text: its value.

    Returns:
        The number, and "ep", "it", "s" or "%".

    Raises:
        UsageError: the text is no number with one of these units, or the number is too large.
    """
    accepted = DURATIONS[name]
    value, unit = _number_and_unit(text)
    if value is None or unit not in accepted:
        examples = ", ".join(_EXAMPLES[unit] for unit in accepted)
        raise UsageError(f"{name}: {text!r}", f"write a number and a unit: {examples}")
    if value > LONGEST:
        raise UsageError(f"{name}: {text!r}", f"give at most {LONGEST}{unit}")
    if unit not in _SECONDS:
        return value, unit
    if value <= 0:
        raise UsageError(f"{name}: {text!r}", "give a time above 0, such as 90s")
    return value * _SECONDS[unit], "s"


def to_steps(name: str, text: str, steps_per_epoch: int, total: int = 0) -> int:
    """Read a duration as a number of training steps.

    Args:
        name, text: as `parse_duration` takes them; the unit is not one of time.
        steps_per_epoch: what an epoch counts for.
        total: steps of the whole run, of which a percentage is taken.
    """
    value, unit = parse_duration(name, text)
    return round(value * {"ep": steps_per_epoch, "it": 1, "%": total / 100}[unit])


def scaled_duration(name: str, text: str, share: float) -> str:
    """Return a share of a duration, in the same unit: 0.1 of "20ep" is "2ep"; of training steps at least one.

    Args:
        name, text: as `parse_duration` takes them.
        share: of it.
    """
    value, unit = parse_duration(name, text)
    value = max(1, round(value * share)) if unit == "it" else value * share
    return f"{value:.6f}".rstrip("0").rstrip(".") + unit


def duration_in_words(text: str) -> str:
    """Return a duration as a sentence has it: "2ep" is "2 epochs", "400it" is "400 steps"; a time stays a time, "10 min".

    A number that is not whole, as the length of a heat is, has three digits, or none behind the point from 100 on.

    Args:
        text: of a setting.
    """
    value, unit = _number_and_unit(text)
    if value is None or unit not in _WORDS:
        return text
    word = _WORDS[unit]
    number = f"{value:,.0f}" if value.is_integer() or value >= 100 else f"{value:.3g}"
    return f"{number} {word.removesuffix('s') if value == 1 and len(word) > 3 else word}"


def parse_milliseconds(name: str, text: str | float) -> float:
    """Read "8ms", "500us" or "0.5s" as milliseconds; a plain number is of milliseconds.

    Args:
        name: what the message calls it.

    Raises:
        UsageError: it is none of these.
    """
    return _scaled(name, text, _MILLISECONDS, "8ms")


def parse_bytes(name: str, text: str | float) -> float:
    """Read "500MB", "1.5 GB", "20k" or a plain number as bytes; units are powers of 1000, in letters of either case.

    Args:
        name: what the message calls it.

    Raises:
        UsageError: it is none of these.
    """
    return _scaled(name, text, _BYTES, "5MB")


def parse_count(name: str, text: str | float) -> float:
    """Read "5M", "1.5G", "20k" or a plain number as a count, of parameters or multiply-adds; letters of either case.

    Args:
        name: what the message calls it.

    Raises:
        UsageError: it is none of these.
    """
    return _scaled(name, text, _COUNTS, "5M")


def _scaled(name: str, text: str | float, units: dict[str, float], example: str) -> float:
    value, unit = _number_and_unit(str(text).lower())
    if value is None or unit not in units:
        raise UsageError(f"{name}: {text!r}", f"write a number and a unit, such as {example}")
    if value <= 0:
        raise UsageError(f"{name}: {text!r}", f"give more than 0, such as {example}")
    return value * units[unit]


def _number_and_unit(text: str) -> tuple[float | None, str]:
    """The number that a text begins with, and the letters or the % after it; (None, "") where it is not of that form."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*|%)", text.strip(), re.ASCII)
    return (float(match[1]), match[2]) if match is not None else (None, "")
