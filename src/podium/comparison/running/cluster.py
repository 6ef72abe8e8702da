"""Runs of a comparison on a cluster: each is a task there, one whose process is lost is repeated, and all stop together.

Nothing passes between this process and the tasks but files on storage that all machines see: a task reads the images from a
file that is written here, and how far its run is stands in the log of the run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from pickle import PicklingError
from typing import Any, Protocol, TypeGuard
from urllib.parse import urlsplit

from podium.comparison.running.on_ray import AUTO, CLIENT, LOCAL, RayTasks
from podium.comparison.running.on_slurm import SLURM, SlurmTasks, refuse_without_slurm
from podium.comparison.running.side_by_side import AGAIN, LAST_WORDS, STOPPED, Calls, Ended, Lost, StoppedTogether
from podium.comparison.running.task import Gone, Outcome, Task
from podium.comparison.schedule import Part
from podium.data.dataset import Dataset
from podium.errors import EXTRAS, MachineError, PodiumError, UsageError, closest
from podium.files import shell_word, write_atomic
from podium.platform import processors
from podium.runs.folder import RunFolder
from podium.training.interrupt import stop_signals

POLL = 1.0  # seconds between two looks at the tasks, and at the logs of their runs
TRIES = 4  # processes that one run may have: the first, and three that go on where one was lost
FOLDER = ".cluster"  # in the folder of a comparison, while it trains
PLACES = LOCAL, AUTO, SLURM
PORT, PATIENCE = 10001, 5.0  # of Ray's client server by default, and seconds to wait for its answer

logger = logging.getLogger("podium")


class Tasks(Protocol):
    """What runs tasks: a Ray, or Slurm."""

    def begin(self, task: Task) -> Any:
        """Hand a task over; returns its handle."""

    def ended(self, handles: list[Any], seconds: float) -> Iterator[tuple[Any, Outcome | Gone]]:
        """Wait for tasks, so long at most; yields those that have ended."""

    def cancel(self, handle: Any) -> None:
        """Tell a task to stop, which saves its checkpoint, or not to begin."""

    def close(self) -> None:
        """Give back what was started."""


def refuse_cluster(place: str, jobs: int | None) -> None:
    """Refuse a cluster that cannot be had, before any work.

    Args:
        place: of the cluster, as a person gave it.
        jobs: runs at a time, as a person gave it.

    Raises:
        UsageError: it is no place of a cluster, or the number is not possible.
        MachineError: a package is missing, or nothing answers there.
    """
    if place not in PLACES and not place.startswith(CLIENT):
        hint = closest(place, PLACES) or f"give {', '.join(PLACES)} or {CLIENT}HOST:PORT"
        raise UsageError(f"cluster: {place!r}", hint)
    if jobs is not None and jobs < 1:
        raise UsageError(f"jobs: {jobs}", "give at least 1")
    needed = ("submitit",) if place == SLURM else ("ray", "grpc") if place.startswith(CLIENT) else ("ray",)
    for package in needed:
        if importlib.util.find_spec(package) is None:
            what = f"{package} is not installed, which a cluster needs"
            raise MachineError(what, f'pip install "podium[{EXTRAS[package]}]"')
    if place == SLURM:
        refuse_without_slurm()
    elif place.startswith(CLIENT):
        _refuse_unreachable(place)


def _refuse_unreachable(place: str) -> None:
    """Refuse an address at which nothing listens, for which Ray would wait for half a minute."""
    example = f"give the address of Ray's client server, such as {CLIENT}HOST:{PORT}"
    try:
        parts = urlsplit(place)
        host, port = parts.hostname, parts.port or PORT
    except ValueError as error:
        raise UsageError(f"cluster: {place}: {error}", example) from None
    if host is None:
        raise UsageError(f"cluster: {place}: no name of a machine", example)
    try:
        socket.create_connection((host, port), PATIENCE).close()
    except OSError as error:
        what = f"cluster: {place}: nothing answers at {host}, port {port} ({error.strerror or error})"
        raise MachineError(what, f"{example}, and see there with ray status whether Ray runs") from None


def tasks_of(place: str, jobs: int, threads: int, gpu: bool, folder: Path) -> Tasks:
    """Start a cluster, or connect to one.

    Args:
        place: of the cluster, as a person gave it.
        jobs: runs at a time, at most.
        threads: that compute in each.
        gpu: whether a run may have a GPU.
        folder: of the comparison.
    """
    if place == SLURM:
        return SlurmTasks(folder / FOLDER / SLURM, threads)
    return RayTasks(place, max(1, min(jobs, processors() // threads)), threads, gpu)


@dataclass
class _Running:
    """A run that was handed over.

    Args:
        part: the run.
        tries: processes that it has had, with this one.
        step: of the last epoch that was passed on.
    """

    part: Part
    tries: int
    step: int = 0

    def epochs(self) -> Iterator[tuple[dict[str, Any], int]]:
        """The rows of the run's log for epochs that were not passed on yet, each with the steps of the whole run."""
        rows = RunFolder(self.part.path).rows()
        steps = next((row.get("steps", 0) for row in rows if row["event"] == "start"), 0)
        for row in rows:
            if row["event"] == "epoch" and row["step"] > self.step:
                self.step = row["step"]
                yield row, steps


@dataclass
class Cluster:
    """The tasks of a comparison.

    Args:
        tasks: what runs them.
        jobs: how many there are at a time, at most.
        threads: that compute in each.
        folder: of the comparison, on storage that all machines see.
        data: the images, by fold.
        calls: see `Calls`.
        grace: seconds that the current steps and saving may take after a signal.
    """

    tasks: Tasks
    jobs: int
    threads: int
    folder: Path
    data: Mapping[int | None, Dataset]
    calls: Calls
    grace: float
    _running: dict[Any, _Running] = field(default_factory=dict)
    _images: tuple[Path, str] = field(init=False)

    def train(self, parts: list[Part]) -> Ended:
        """Train runs and yield each as it ends.

        Runs in training are told to stop, and save their checkpoints, when the iterator is closed.

        Raises:
            UsageError: the images cannot be written into a file.
            StoppedTogether: a signal came; the checkpoints are saved.
        """
        waiting = list(parts)
        self._images = images, _ = self._write_images()
        try:
            with stop_signals(self.grace + LAST_WORDS) as stop:
                while waiting or self._running:
                    if stop.received:
                        raise StoppedTogether(stop.received, self._stop())
                    yield from self._hand_out(waiting)
                    yield from self._hear()
        finally:
            self._stop()
            images.unlink(missing_ok=True)
            with suppress(OSError):  # the output of Slurm's jobs stays
                images.parent.rmdir()

    def _write_images(self) -> tuple[Path, str]:
        """Write the images for the tasks; returns the file, and its SHA-256."""
        try:
            content = bytes(ForkingPickler.dumps(self.data))
        except (PicklingError, TypeError, AttributeError) as error:
            what = f"cluster: these images cannot be handed to other processes ({error})"
            raise UsageError(what, "give the path of the data, or leave the cluster out") from None
        sha256 = hashlib.sha256(content).hexdigest()
        path = self.folder.absolute() / FOLDER / f"images-{sha256[:16]}"
        path.parent.mkdir(exist_ok=True)
        write_atomic(path, content)
        return path, sha256

    def _parts(self) -> list[Part]:
        return [each.part for each in self._running.values()]

    def _hand_out(self, waiting: list[Part]) -> Ended:
        """Begin as many of the waiting runs as may run at a time; yields those that cannot begin."""
        for part in self.calls.next_of(waiting, self._parts, self.jobs):
            try:
                self._begin(_Running(part, 1))
            except PodiumError as error:
                yield part, error

    def _begin(self, run: _Running) -> None:
        """Hand a run over; what an earlier process has logged of it was passed on."""
        request = self.calls.request(run.part)
        for _ in run.epochs():
            pass
        handle = self.tasks.begin(Task(request, *self._images, self.threads, Path.cwd()))
        self._running[handle] = run

    def _hear(self) -> Ended:
        """Wait for a while, pass on how far the runs are, and repeat those that were lost; yields the runs that have ended."""
        ended = list(self.tasks.ended(list(self._running), POLL))
        for run in self._running.values():
            self._pass_on(run)
        for handle, came in ended:
            run = self._running.pop(handle)
            error = self._error_of(run, came)
            if not isinstance(error, Gone):
                yield run.part, error
            elif error.again and run.tries < TRIES:
                again = f"another one goes on with it ({run.tries} of {TRIES - 1})"
                logger.warning(f"{self.calls.label(run.part)}: {error.why}; {again}")
                self._begin(_Running(run.part, run.tries + 1))
            else:
                times = f", {run.tries} times" if run.tries > 1 else ""
                yield run.part, Lost(f"{shell_word(run.part.path.name)}: {error.why}{times}", AGAIN)

    def _pass_on(self, run: _Running) -> None:
        """Pass on the epochs that a run has logged since the last look."""
        for row, steps in run.epochs():
            step = {"epoch": row["epoch"], "loss": row["train_loss"], "lr": row["lr"]}
            self.calls.progress(run.part, row["step"], steps, step)
            self.calls.progress(run.part, row["step"], steps, row)

    def _error_of(self, run: _Running, came: Outcome | Gone) -> Exception | Gone | None:
        """What has ended a run: an error of its own, or that its process is gone; None where it is finished."""
        if isinstance(came, Gone):
            return came
        self.calls.notes(run.part, came.notes)
        for level, text in came.logged:
            logger.log(level, f"{self.calls.label(run.part)}: {text}")
        error = came.error
        if _stopped(error):  # by the cluster: the time of its job is over
            return Gone(f"its process was {error.what}")
        if isinstance(error, MachineError) and not came.everywhere:
            return Lost(f"{error.what} (on {came.machine})", error.fix)
        return error

    def _stop(self) -> list[str]:
        """Tell all runs to stop, and wait until each has saved its checkpoint; returns what each says of it."""
        said, limit = [], time.monotonic() + self.grace
        with suppress(MachineError):  # the cluster is gone, and with it the tasks
            for handle in self._running:
                self.tasks.cancel(handle)
            while self._running and time.monotonic() < limit:
                for handle, came in self.tasks.ended(list(self._running), POLL):
                    run = self._running.pop(handle)
                    if isinstance(came, Outcome) and _stopped(came.error):
                        said.append(f"{self.calls.label(run.part)} {came.error.what}")
        self._running.clear()
        return said


def _stopped(error: Exception | None) -> TypeGuard[PodiumError]:
    """Whether a run was stopped by a signal, after its checkpoint was saved."""
    return isinstance(error, PodiumError) and error.exit_code in STOPPED
