"""Flags that have no effect beside what else is given, as data, and their refusal."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podium.cli.shared import READING
from podium.errors import UsageError


@dataclass(frozen=True)
class Dependent:
    """A flag that has an effect only beside certain others.

    Args:
        verb: the verb that has the flag.
        name: the flag's name among the parsed arguments.
        acts: whether the flag has an effect, given all arguments.
        why: why it has none, for the error.
        mend: what helps besides leaving the flag out; empty if nothing does.
    """

    verb: str
    name: str
    acts: Callable[[argparse.Namespace], Any]
    why: str
    mend: str = ""


def _in_engines(a: argparse.Namespace) -> bool:
    """Whether `podium bench` compares engines."""
    from podium.deployment.runtime import is_exported

    return a.engines is not None or any(is_exported(target) for target in a.targets)


_ENGINES = "one engine is timed, by the threads of torch", "add --engines all"
DEPENDENT = (
    Dependent("train", "elastic", lambda a: a.resume, "a new run takes the devices that it is given", "add --resume"),
    Dependent("train", "plan", lambda a: not a.resume, "a run that goes on keeps to its settings"),
    Dependent("train", "dry_run", lambda a: not a.resume, "a run that goes on keeps to its settings.yaml"),
    Dependent("train", "plan", lambda a: not a.dry_run, "--dry-run stops before anything is measured"),
    Dependent("bench", "threads", _in_engines, *_ENGINES),
    Dependent("bench", "data", _in_engines, "the time does not depend on the images", "add --engines all"),
    Dependent("bench", "backward", lambda a: not _in_engines(a), "engines run forward only", "leave out --engines"),
    Dependent(
        "bench", "batches", lambda a: not _in_engines(a), "engines are timed by --seconds", "leave out --engines"
    ),
    Dependent(
        "bench",
        "image_size",
        lambda a: not all(Path(target).exists() for target in a.targets),
        "runs and files have their size",
    ),
    Dependent("pack", "side", lambda a: not a.shards, "shards keep the files as they are", "leave out --shards"),
    Dependent("pack", "shard_size", lambda a: a.shards, "a pack has no shards", "add --shards"),
    *(
        Dependent(verb, name, lambda a: a.data, "it says how other data are read, and none are given", mend)
        for verb, mend in (
            ("export", "add --data DATA"),
            ("bench", "add --data DATA"),
            ("quantize", "give DATA"),
            ("diff", "give DATA"),
        )
        for name in READING
    ),
    Dependent("claims", "write", lambda a: not a.plan, "--plan decides nothing", "leave out --plan"),
    Dependent("quantize", "epochs", lambda a: a.qat, "--no-qat leaves out the fine-tuning", "leave out --no-qat"),
    Dependent(
        "slim", "width", lambda a: a.width != 1 or a.depth, "the network would stay as it is", "give --width 0.5"
    ),
)

_POSITIONAL = {
    "model",
    "data",
    "run_folder",
    "target",
    "parent",
    "student",
    "source",
    "file",
    "name",
    "pattern",
    "first",
    "second",
}


def refuse_idle_flags(arguments: argparse.Namespace) -> None:
    """Refuse flags with an empty value, and flags that have no effect beside what else is given.

    Raises:
        UsageError: names the flag, why it has no effect, and what to do instead.
    """
    for name, value in vars(arguments).items():
        flag = name if name in _POSITIONAL else f"--{name.replace('_', '-')}"
        if value == "" and name != "command":
            raise UsageError(f"{flag}: an empty text", "give a value, or leave it out")
    for each in DEPENDENT:
        value = getattr(arguments, each.name, None)
        if each.verb != arguments.verb or value is None or value is False or each.acts(arguments):
            continue
        flag = f"--{each.name.replace('_', '-')}"
        mend = f"{each.mend}, or leave out {flag}" if each.mend else f"leave out {flag}"
        if each.name == "width":  # leaving it out would leave the verb nothing to do
            mend = each.mend
        raise UsageError(f"{flag} does nothing here: {each.why}", mend)
