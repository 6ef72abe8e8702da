"""Runs of a comparison side by side, each in a process of its own: handed out, heard, and stopped together.

A run that fails, or whose process is ended from outside, is reported with its reason, and the others go on. Signals that ask
for a stop are handed on to all processes, each of which saves its checkpoint.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import sys
import types
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import ForkingPickler
from pickle import PicklingError
from typing import Any

from podium.comparison.running.beside import ENDED, LOGGED, NOTES, PROGRESS, Request, work
from podium.comparison.running.gpus import freest, seeing
from podium.comparison.schedule import Part
from podium.data.dataset import Dataset
from podium.errors import MachineError, PodiumError
from podium.files import shell_word
from podium.platform import send_signal, signals_held
from podium.training.interrupt import Stopped, exit_code, stop_signals

POLL = 0.2  # seconds between two looks at whether a signal came
LAST_WORDS = 5.0  # seconds that a process may take to end after its run
AGAIN = "run the same again: it goes on from its checkpoint"
STOPPED = exit_code(signal.SIGINT), exit_code(signal.SIGTERM)

logger = logging.getLogger("podium")


class Lost(MachineError):
    """The process of a run was ended from outside: the run fails, and the others go on."""


class StoppedAlone(Lost):
    """A run was stopped by a signal, after its checkpoint was saved."""


class StoppedTogether(Stopped):
    """Several runs were stopped by one signal, after their checkpoints were saved.

    Args:
        number: of the signal.
        said: what each run says of it.
    """

    def __init__(self, number: int, said: list[str]) -> None:
        what = "; ".join(said) or f"stopped by {signal.Signals(number).name} before a step was taken"
        PodiumError.__init__(self, what, "go on with the same comparison: what is finished is kept")
        self.exit_code = exit_code(number)


@dataclass(frozen=True)
class Calls:
    """What is called on the way, each with the run that it is about.

    Args:
        request: returns what a run is trained by; a PodiumError ends the run before it begins.
        may_begin: whether a run can begin beside those that train now.
        skipped: whether a run is not trained any more.
        progress: with step, steps and what to show.
        notes: with the notes of the run's plan that are not of its data.
        label: the name of the run for people.
    """

    request: Callable[[Part], Request]
    may_begin: Callable[[Part, list[Part]], bool]
    skipped: Callable[[Part], bool]
    progress: Callable[[Part, int, int, dict[str, Any]], None]
    notes: Callable[[Part, list[str]], None]
    label: Callable[[Part], str]

    def next_of(self, waiting: list[Part], running: Callable[[], list[Part]], most: int) -> Iterator[Part]:
        """Yield the runs to begin now, each taken out of those that wait, until so many train.

        Args:
            waiting: the runs that have not begun, in their order.
            running: returns those that train now, with what was begun since the last one.
            most: how many may train at a time.
        """
        while len(others := running()) < most:
            part = next((part for part in waiting if self.may_begin(part, others)), None)
            if part is None:
                return
            waiting.remove(part)
            if not self.skipped(part):
                yield part


Ended = Generator[tuple[Part, Exception | None], None, None]  # runs that have ended, each with the error that ended it


@dataclass(eq=False)
class _Process:
    """A process that trains one run after another.

    Args:
        process, connection: to it.
        part: the run that it trains; None between two.
        gpu: that it sees; None: what this process sees.
    """

    process: SpawnProcess
    connection: Connection
    part: Part | None = None
    gpu: str | None = None


@dataclass
class SideBySide:
    """The processes of a comparison.

    Args:
        jobs: how many there are at most.
        threads: that compute in each.
        data: the images, by fold.
        calls: see `Calls`.
        grace: seconds that the current steps and saving may take after a signal.
        gpus: of which each process sees one; none: all see what this process does.
    """

    jobs: int
    threads: int
    data: Mapping[int | None, Dataset]
    calls: Calls
    grace: float
    gpus: Sequence[str] = ()
    processes: list[_Process] = field(default_factory=list)
    _sent: Any = b""

    def start(self, count: int) -> str | None:
        """Start so many processes and hand them the images; returns why that cannot be done, or None."""
        try:
            self._sent = ForkingPickler.dumps(self.data)
            started = [
                self._start() for _ in range(min(count, self.jobs))
            ]  # all import what they need at the same time
        except (PicklingError, TypeError, AttributeError, AssertionError, OSError) as error:
            self._end()
            return f"jobs: 1, since other processes cannot be handed the images ({error})"
        for process in started:
            self._hand_images(process)
        return None

    def train(self, parts: list[Part]) -> Ended:
        """Train runs, so many at a time, and yield each as it ends.

        The processes end with the iterator: close it. Runs in training are then told to stop, and save their checkpoints.

        Raises:
            StoppedTogether: a signal came; the checkpoints are saved.
        """
        waiting = list(parts)
        try:
            with stop_signals(self.grace + LAST_WORDS) as stop:
                while waiting or self._busy():
                    if stop.received:
                        self._stop(stop.received)
                    yield from self._hand_out(waiting)
                    yield from self._hear(POLL)
        finally:
            self._end()

    def _busy(self) -> list[_Process]:
        return [process for process in self.processes if process.part is not None]

    def _parts(self) -> list[Part]:
        return [process.part for process in self.processes if process.part is not None]

    def _hand_out(self, waiting: list[Part]) -> Ended:
        """Begin as many of the waiting runs as there are processes to be had; yields those that cannot begin."""
        for part in self.calls.next_of(waiting, self._parts, self.jobs):
            try:
                request = self.calls.request(part)
            except PodiumError as error:
                yield part, error
                continue
            process = next((process for process in self.processes if process.part is None), None) or self._another()
            process.part = part
            with suppress(OSError):  # it has ended, which `_hear` finds
                process.connection.send(request)

    def _another(self) -> _Process:
        """Start a process in place of one that was lost."""
        process = self._start()
        self._hand_images(process)
        return process

    def _hand_images(self, process: _Process) -> None:
        with suppress(OSError):  # it has ended, which `_hear` finds
            process.connection.send_bytes(self._sent)

    def _start(self) -> _Process:
        """Start a process. Python imports the caller's script in it where it finds one, which would run that again."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, self.threads), daemon=True)
        gpu = freest(self.gpus, [each.gpu for each in self.processes if each.gpu is not None]) if self.gpus else None
        with signals_held(), _without_script(), seeing(gpu, self.jobs):
            process.start()
        theirs.close()
        self.processes.append(_Process(process, ours, gpu=gpu))
        return self.processes[-1]

    def _hear(self, seconds: float) -> Ended:
        """Wait for messages, so long at most, and pass on what they say; yields the runs that have ended."""
        ready = wait([process.connection for process in self.processes], seconds)
        for process in [process for process in self.processes if process.connection in ready]:
            part = process.part
            try:
                kind, *said = process.connection.recv()
            except (EOFError, OSError):
                self.processes.remove(process)
                if part is not None:
                    yield part, _lost(process, part)
                continue
            if part is not None and kind == ENDED:
                process.part = None
                yield part, _outcome(said[0])
            elif part is not None:
                self._pass_on(part, kind, said)

    def _pass_on(self, part: Part, kind: str, said: list[Any]) -> None:
        """Pass on what a process tells of its run."""
        if kind == PROGRESS:
            self.calls.progress(part, *said)
        elif kind == NOTES:
            self.calls.notes(part, said[0])
        elif kind == LOGGED:
            logger.log(said[0], f"{self.calls.label(part)}: {said[1]}")

    def _stop(self, number: int) -> None:
        """Hand a signal on to all processes, wait until each has saved its checkpoint, and say how far its run is.

        Raises:
            StoppedTogether: always.
        """
        said = []
        for process in self._busy():
            send_signal(process.process.pid, number)
        while self._busy():
            for part, error in self._hear(POLL):
                if isinstance(error, StoppedAlone):
                    said.append(f"{self.calls.label(part)} {error.what}")
        raise StoppedTogether(number, said)

    def _end(self) -> None:
        """End all processes; runs in training are told to stop, and save their checkpoints."""
        for process in self.processes:
            if process.part is None:
                with suppress(OSError):
                    process.connection.send(None)
            else:
                process.process.terminate()
        for process in self.processes:
            with suppress(EOFError, OSError):  # read what it still says, which it may be waiting to say
                while process.part is not None and process.connection.poll(self.grace):
                    if process.connection.recv()[0] == ENDED:
                        process.connection.send(None)
                        break
            process.process.join(LAST_WORDS)
            process.process.kill()
            process.connection.close()
        self.processes.clear()


def _outcome(error: Exception | None) -> Exception | None:
    """The error of a run that has ended; a run that was stopped while the others go on is lost."""
    if isinstance(error, PodiumError) and error.exit_code in STOPPED:
        return StoppedAlone(error.what, AGAIN)
    return error


def _lost(process: _Process, part: Part) -> Lost:
    """The error of a run whose process is gone."""
    process.process.join(LAST_WORDS)
    code = process.process.exitcode
    how = f"exit code {code}"
    if code is not None and code < 0:
        how = signal.Signals(-code).name
        how += ", as the system does where memory runs out" if how == "SIGKILL" else ""
    more = f"{AGAIN}; with fewer --jobs each run has more memory"
    return Lost(f"{shell_word(part.path.name)}: its process was ended ({how})", more)


@contextmanager
def _without_script() -> Iterator[None]:
    """Hide the caller's script within this context."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script
