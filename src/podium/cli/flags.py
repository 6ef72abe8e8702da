"""Numbers that flags take, and flags that act only beside others, as data. Imports nothing heavy."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podium.errors import UsageError

MOST = 10**9  # of any count
PIXELS = 16384  # of a side


def whole(label: str, least: int, most: int = MOST) -> Callable[[str], int]:
    """What reads a whole number from `least` to `most`; `label` names it in errors."""

    def read(text: str) -> int:
        value = int(text)
        if value < least:
            raise UsageError(f"{label} {value}", f"give at least {least}")
        if value > most:
            raise UsageError(f"{label} {value}", f"give at most {most}")
        return value

    read.__name__ = "int"  # argparse names it in its errors
    return read


def real(label: str, fits: Callable[[float], bool], wanted: str) -> Callable[[str], float]:
    """What reads a number that fits; `wanted` says which do."""

    def read(text: str) -> float:
        value = float(text)
        if not math.isfinite(value) or not fits(value):
            raise UsageError(f"{label} {value:g}", f"give {wanted}")
        return value

    read.__name__ = "float"
    return read


image_size = whole("image_size:", 1, PIXELS)
side = whole("side:", 1, PIXELS)
classes = whole("num_classes:", 2)
channels = whole("in_chans:", 1, 1000)
limit, top = whole("limit:", 1), whole("top:", 1)
workers = whole("workers:", 0, 256)
seed = whole("split_seed:", 0)
seeds = whole("seeds:", 1, 10_000)
restarts = whole("max_restarts:", 0)
epochs, steps, tuning = whole("epochs:", 0), whole("steps:", 0), whole("epochs:", 1)
threads, batch, batches = whole("--threads", 1, 4096), whole("--batch", 1), whole("--batches", 2)
seconds = real("--seconds", lambda x: 0 < x < 3600, "more than 0 and less than 3600")
tolerance = real("tolerance:", lambda x: 0 <= x < 1, "a fraction from 0 to 1, such as 0.005")
speedup = real("speedup:", lambda x: x > 1, "more than 1")
share = real("macs:", lambda x: 0 < x < 1, "a share between 0 and 1")
width = real("width:", lambda x: 0 < x <= 1, "more than 0, up to 1")


@dataclass(frozen=True)
class Beside:
    """A flag that acts only beside others.

    Args:
        verb, name: which.
        acts: whether it does.
        why: why it does not.
        mend: the mend besides leaving it out; empty: there is none.
    """

    verb: str
    name: str
    acts: Callable[[argparse.Namespace], Any]
    why: str
    mend: str = ""


def _in_engines(a: argparse.Namespace) -> bool:
    from podium.deployment.runtime import is_exported

    return a.engines is not None or any(is_exported(target) for target in a.targets)


_ENGINES = "one engine is timed, by the threads of torch", "add --engines all"
BESIDE = (
    Beside("train", "elastic", lambda a: a.resume, "a new run takes the devices that it is given", "add --resume"),
    Beside("train", "plan", lambda a: not a.resume, "a run that goes on keeps to its settings"),
    Beside("train", "dry_run", lambda a: not a.resume, "a run that goes on keeps to its settings.yaml"),
    Beside("train", "plan", lambda a: not a.dry_run, "--dry-run stops before anything is measured"),
    Beside("bench", "threads", _in_engines, *_ENGINES),
    Beside("bench", "data", _in_engines, "the time does not depend on the images", "add --engines all"),
    Beside("bench", "backward", lambda a: not _in_engines(a), "engines run forward only", "leave out --engines"),
    Beside("bench", "batches", lambda a: not _in_engines(a), "engines are timed by --seconds", "leave out --engines"),
    Beside(
        "bench",
        "image_size",
        lambda a: not all(Path(target).exists() for target in a.targets),
        "runs and files have their size",
    ),
    Beside("pack", "side", lambda a: not a.shards, "shards keep the files as they are", "leave out --shards"),
    Beside("pack", "shard_size", lambda a: a.shards, "a pack has no shards", "add --shards"),
    Beside("quantize", "epochs", lambda a: a.qat, "--no-qat leaves out the fine-tuning", "leave out --no-qat"),
    Beside("slim", "width", lambda a: a.width != 1 or a.depth, "the network would stay as it is", "give --width 0.5"),
)


def refuse_alone(arguments: argparse.Namespace) -> None:
    """Refuse flags without a value, and those that do nothing beside what else is given.

    Raises:
        UsageError: names the flag, why it does nothing, and the mend.
    """
    for name, value in vars(arguments).items():
        flag = name if name in _POSITIONAL else f"--{name.replace('_', '-')}"
        if value == "" and name != "command":
            raise UsageError(f"{flag}: an empty text", "give a value, or leave it out")
    for each in BESIDE:
        value = getattr(arguments, each.name, None)
        if each.verb != arguments.verb or value is None or value is False or each.acts(arguments):
            continue
        flag = f"--{each.name.replace('_', '-')}"
        mend = f"{each.mend}, or leave out {flag}" if each.mend else f"leave out {flag}"
        if each.name == "width":  # it stands for the verb's whole work
            mend = each.mend
        raise UsageError(f"{flag} does nothing here: {each.why}", mend)


_POSITIONAL = {"model", "data", "run_folder", "target", "parent", "student", "source", "file", "name", "pattern"}
