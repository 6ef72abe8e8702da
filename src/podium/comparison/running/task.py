"""A run of a comparison on a machine of a cluster: images from a file that all machines see, and the outcome as a value."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import torch

from podium import __version__
from podium.comparison.running.beside import Request, error_of, notes_of, sendable
from podium.data.dataset import Dataset
from podium.errors import MachineError
from podium.runs.folder import InUse, RunFolder
from podium.training.loop import Callbacks
from podium.training.plan import Plan

LOCK_LASTS = 120.0  # seconds: a file server gives back the locks of a machine that is gone after 90 by default (NFSv4)
LOOK = 1.0  # seconds between two looks at a lock
SHARED = "put the images and the folder of the comparison (-o) where every machine has them under the same path"
SAME = "install the same Podium and torch on every machine of the cluster"


@dataclass(frozen=True)
class Task:
    """A run for a machine of a cluster.

    Args:
        request: of the run.
        images: absolute path of the file that has the images of all runs, by fold.
        sha256: of that file, in hexadecimal.
        threads: that compute.
        folder: in which the comparison was started: relative paths are below it.
        versions: of Podium and torch there.
    """

    request: Request
    images: Path
    sha256: str
    threads: int
    folder: Path
    versions: tuple[str, str] = (__version__, torch.__version__)


@dataclass
class Outcome:
    """How a run on a cluster has ended.

    Args:
        machine: that trained it.
        error: that ended it; None where it is finished.
        everywhere: whether no run can be trained on this machine, so that the comparison stops.
        notes: of the run's plan.
        logged: level and text of what the library has logged.
    """

    machine: str
    error: Exception | None = None
    everywhere: bool = False
    notes: list[str] = field(default_factory=list)
    logged: list[tuple[int, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Gone:
    """A run whose process has ended without an outcome.

    Args:
        why: in words.
        again: whether another process may go on with it.
    """

    why: str
    again: bool = True


def perform(task: Task) -> Outcome:
    """Train a run, or go on with it, in this process of a cluster; returns how it has ended."""
    outcome = Outcome(socket.gethostname())
    with suppress(OSError):  # then its files are not found either, which is said by name
        os.chdir(task.folder)
    os.environ["OMP_NUM_THREADS"] = str(task.threads)  # decided: they are not measured again beside other processes
    torch.set_num_threads(task.threads)
    kept, logger = _Kept(outcome), logging.getLogger("podium")
    logger.addHandler(kept)
    logger.setLevel(logging.INFO)
    try:
        _refuse_other_versions(task)
        data = images_of(task.images, task.sha256)
        _refuse_missing(data)
        _wait_for_lock(RunFolder(task.request.path))
        outcome.error = error_of(task.request, data, Callbacks(announce=kept.note))
    except InUse as error:
        outcome.error = sendable(error)
    except MachineError as error:
        what = f"{outcome.machine}, a machine of the cluster: {error.what}"
        outcome.error, outcome.everywhere = MachineError(what, error.fix), True
    finally:
        logger.removeHandler(kept)
    return outcome


def _wait_for_lock(folder: RunFolder) -> None:
    """Wait until no other process holds a run's folder: the lock of a machine that is gone lasts for a while.

    Raises:
        InUse: another process still holds it.
    """
    limit = time.monotonic() + LOCK_LASTS
    while folder.path.is_dir():
        try:
            with folder.locked():
                return
        except InUse:
            if time.monotonic() > limit:
                raise
        time.sleep(LOOK)


class _Kept(logging.Handler):
    """Keeps what is logged and noted of a run for its outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what the library logs."""
        self.outcome.logged.append((record.levelno, record.getMessage()))

    def note(self, plan: Plan) -> None:
        """Keep the notes of the run's plan."""
        self.outcome.notes = notes_of(plan)


@functools.lru_cache(maxsize=1)
def images_of(path: Path, sha256: str) -> Mapping[int | None, Dataset]:
    """Read the images that the comparison has written for its tasks.

    Args:
        path: of the file.
        sha256: of its content, so that nothing else is ever read in its place.

    Raises:
        MachineError: this machine does not see the file, or the images that it names.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MachineError(f"{path}: {error.strerror}", SHARED) from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise MachineError(f"{path}: another file than the comparison has written", SHARED)
    try:
        images: Mapping[int | None, Dataset] = ForkingPickler.loads(content)
    except OSError as error:  # a pack, which is mapped from its file
        raise MachineError(f"{error.filename}: {error.strerror}", SHARED) from None
    return images


def _refuse_missing(data: Mapping[int | None, Dataset]) -> None:
    """Refuse images whose files are not on this machine.

    Raises:
        MachineError: names the first.
    """
    splits = [split for part in data.values() for split in part.splits.values()]
    for file in (file for split in splits for file in (split.files or ())[:1]):
        if file.content is None and not file.path.is_file():
            raise MachineError(f"{file.path}: no such file", SHARED)


def _refuse_other_versions(task: Task) -> None:
    """Refuse to train with another Podium or torch than the rest of the comparison.

    Raises:
        MachineError: names both versions.
    """
    for name, there, here in zip(("Podium", "torch"), task.versions, (__version__, torch.__version__), strict=True):
        if there != here:
            raise MachineError(f"{name} {here} is installed, but {there} where the comparison was started", SAME)
