"""How the networks of a report were made: commands, versions, seeds, machine and starting weights, without a person's folders."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from podium import __version__
from podium.comparison.answered import card_of
from podium.comparison.leaderboard import Leaderboard, short_start
from podium.errors import ModelFileError
from podium.files import PIN
from podium.platform import memory_of_machine, processor_name, processors
from podium.runs.bundle import CARD
from podium.runs.folder import RESULT, RunFolder
from podium.training.autotune.forecast import format_seconds
from podium.weights.official import official_of

PACKAGES = ("numpy", "pillow", "simplejpeg", "onnxruntime", "openvino")  # beside torch, what figures depend on


@dataclass(frozen=True)
class StartingWeights:
    """What networks started from that did not start from random weights.

    Args:
        network: as the leaderboard names it.
        source: LIBRARY:NAME.TAG of an official file, else the name of a file or run.
        address: where an official file is published; empty of others.
        sha256: of the file that was read, or as far as it is on record; empty where it is not known.
        licence: as the library states it for the file; empty where it states none.
        top1: published accuracy on the validation images of ImageNet, in percent; None where it is not on record.
    """

    network: str
    source: str
    address: str = ""
    sha256: str = ""
    licence: str = ""
    top1: float | None = None

    @classmethod
    def of(cls, network: str, pinned: str) -> Self:
        """Describe weights from their name in a result: "LIBRARY:NAME=FILE@sha256:DIGEST", or a run's with its digest."""
        where, _, digest = pinned.partition(PIN)
        record = official_of(pinned)
        if record is None:
            return cls(network, where, sha256=digest)
        known = record.address, digest or record.sha256, record.licence, record.top1
        return cls(network, record.source, *known)


@dataclass(frozen=True)
class Commands:
    """What made a report.

    Args:
        typed: the command line as a person typed it; None of a call from Python.
        again: the one that makes the same from scratch, in a new folder; None where no command line does.
    """

    typed: str | None = None
    again: str | None = None


@dataclass(frozen=True)
class Provenance:
    """How the networks of a report were made.

    Args:
        training: how they were trained, in words.
        commands: that made them.
        facts: heading -> text: how they were ranked, where that is not the default, seeds, time, machine, versions, date.
        weights: what networks started from, where that is not random weights.
    """

    training: str
    commands: Commands
    facts: Mapping[str, str]
    weights: tuple[StartingWeights, ...]

    @classmethod
    def of(cls, board: Leaderboard, root: Path, trials: Sequence[Path], training: str, commands: Commands) -> Self:
        """Collect how finished runs were made.

        Args:
            board: that ranks them.
            root: the folder that holds all runs, with those of heats, of folds and of shares of the images.
            trials: the folders of what is ranked; with folds, those that hold the runs of the folds.
            training: how they were trained, in words.
            commands: that made them.
        """
        results = {trial: RunFolder(trial).result for trial in trials}
        folders = sorted(path.parent for path in root.glob(f"**/{RESULT}") if (path.parent / CARD).is_file())
        facts = {
            "Training": training,
            "Ranking": board.protocol.words() if board.protocol is not None else "",
            "Seeds": _seeds(list(results.values())),
            "Training time": _time(folders),
            "Machine": _machine(list(results.values())),
            "Versions": _versions(folders),
            "Date": time.strftime("%Y-%m-%d"),
        }
        parents = {board.names[trial]: result.get("parent") for trial, result in results.items()}
        weights = [StartingWeights.of(name, parent) for name, parent in parents.items() if parent]
        weights += [StartingWeights.of(row.model, short_start(row.start)) for row in board.untrained]
        return cls(training, commands, {key: text for key, text in facts.items() if text}, tuple(weights))


def threads_of(results: Sequence[Mapping[str, Any]]) -> int | None:
    """The number of threads that runs computed with; None where it is not the same of all, or not on record."""
    known = {result.get("threads") for result in results}
    return known.pop() if len(known) == 1 else None


def _seeds(results: Sequence[Mapping[str, Any]]) -> str:
    """The seeds of the runs."""
    return ", ".join(map(str, sorted({result["seed"] for result in results})))


def _time(folders: Sequence[Path]) -> str:
    """The time that all runs were trained for; one that is not ranked, and is damaged, is not counted."""
    seconds = []
    for folder in folders:
        with contextlib.suppress(ModelFileError):
            seconds.append(float(RunFolder(folder).result["seconds"]))
    return f"{format_seconds(sum(seconds))} for {len(seconds):,} run{'s' * (len(seconds) != 1)}" if seconds else ""


def _machine(results: Sequence[Mapping[str, Any]]) -> str:
    """The processor of this machine, its memory, and with how many threads the runs computed."""
    threads = sorted({int(result["threads"]) for result in results if result.get("threads")})
    used = f", {' or '.join(map(str, threads))} thread{'s' * (threads != [1])} a run" if threads else ""
    memory = memory_of_machine()
    size = f", {memory / 2**30:.0f} GiB of memory" if memory is not None else ""
    cores = processors()
    return f"{processor_name()}, {cores} core{'s' * (cores != 1)}{size}{used}; {platform.system()}"


def _versions(folders: Sequence[Path]) -> str:
    """The versions that trained the runs, as their cards have them, and those that evaluated and timed them."""
    cards = [card_of(folder) for folder in folders]
    found = {"podium": __version__, "torch": importlib.metadata.version("torch")}
    for name in found:
        trained = sorted({str(card[name]) for card in cards if name in card})
        found[name] = " and ".join(trained) or found[name]
    found["Python"] = platform.python_version()
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(f"{name} {version}" for name, version in found.items())
