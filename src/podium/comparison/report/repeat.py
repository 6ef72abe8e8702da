"""The command lines of a report: the one that was typed, and the one that makes the same from scratch in a new folder.

Both are without what is private: a path within the current folder stays as it is, of any other only its last part is shown.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from podium.comparison.candidates import Candidate, Choice
from podium.files import shell_word
from podium.settings import FIELDS, Settings, read_file
from podium.training.recipes.named import recipe
from podium.units import parse_duration

LENGTHS = {"ep": "--epochs", "it": "--steps", "s": "--budget"}
# Fields of `Choice` that are flags of the same name, and not decided from what a person gave.
CHOSEN = (
    "finetune",
    "rank_by",
    "within",
    "rank_on",
    "learning_curve",
    "max_params",
    "max_macs",
    "heats",
    "tune",
    "trials",
)


def without_private_folders(words: Sequence[str]) -> str:
    """A command line that may leave this machine.

    Args:
        words: after `podium`, as a shell hands them over.
    """
    return " ".join(shell_word(word) for word in ("podium", *map(public, words)))


def public(word: str) -> str:
    """A word of a command line, with paths to outside of the current folder cut to their last part: "-m=A=/tmp/w.pth" too."""
    for mark in ("=", ","):
        if mark in word:
            return mark.join(map(public, word.split(mark)))
    here, home, place = Path.cwd(), Path.home(), Path(os.path.abspath(word))
    outside = os.path.isabs(word) or word.startswith("..")
    if not word or not (os.path.lexists(word) or (outside and any(each.is_dir() for each in place.parents[:-1]))):
        return word  # no path, which may have slashes too
    names_home = here in home.parents and place.is_relative_to(home)
    return place.relative_to(here).as_posix() if place.is_relative_to(here) and not names_home else place.name


def compare_again(
    candidates: Sequence[Candidate], s: Settings, choice: Choice, seeds: int, pretrained: bool, threads: int | None
) -> str:
    """Write the command that makes a comparison from scratch.

    Args:
        candidates: all its networks.
        s: settings that hold for all runs.
        choice: what a person decided.
        seeds: runs of each network.
        pretrained: whether the networks start from pretrained weights.
        threads: that each run computed with; None where that differs.
    """
    words = ["compare", s.data, "-m", ",".join(candidate.model for candidate in candidates)]
    if pretrained and all(candidate.downloaded for candidate in candidates):
        words[-1] = ",".join(str(candidate.source) for candidate in candidates)
    elif pretrained:
        words += ["--weights", ",".join(str(candidate.source) for candidate in candidates)]
    else:
        words.append("--scratch")
    usual = Choice()
    for name in CHOSEN:
        if (value := getattr(choice, name)) != getattr(usual, name):
            words += _flag(name, value)
    if choice.max_latency is not None:
        words += ["--max-latency", f"{choice.max_latency:g}ms"]
    if choice.max_size is not None:
        words += ["--max-size", f"{choice.max_size / 1e6:g}MB"]
    words += ["--seeds", str(seeds)] if seeds > 1 else []
    words += _settings(s if threads is None else s.replace(threads=threads), "finetune" if pretrained else "quick")
    return without_private_folders([*words, "-o", "NEW-FOLDER"])


def train_again(path: Path) -> str | None:
    """The command that makes a run from scratch; None where its settings are not on record, or `podium train` is not what made it.

    Args:
        path: of the settings of a run.
    """
    if not path.is_file():
        return None
    s = Settings(**read_file(path))
    weights = ["--weights", s.weights.partition("@")[0]] if s.weights is not None else []
    words = ["train", s.model, s.data, *weights, *_settings(s, "quick")]
    return without_private_folders([*words, "-o", "NEW-FOLDER"])


def _settings(s: Settings, usual: str) -> list[str]:
    """The flags of the settings that are not as the recipe has them.

    Args:
        s: the settings.
        usual: the recipe of the verb where none is named.
    """
    words = [] if s.recipe == usual else ["--recipe", s.recipe]
    base = dataclasses.replace(Settings(), **recipe(s.recipe).settings)
    for name in FIELDS:
        value = getattr(s, name)
        if name in ("model", "data", "recipe", "weights") or value is None or value == getattr(base, name):
            continue
        words += _length(value) if name == "duration" else _flag(name, value)
    return words


def _length(duration: str) -> list[str]:
    """The flag of a duration: "30ep" is --epochs 30."""
    number, unit = parse_duration("duration", duration)
    return [LENGTHS[unit], duration if unit == "s" else f"{number:.0f}"]


def _flag(name: str, value: object) -> list[str]:
    """The words that give a setting a value."""
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag if value else f"--no-{name.replace('_', '-')}"]
    if isinstance(value, tuple):
        return [flag, ",".join(map(str, value))]
    return [flag, str(value)]
