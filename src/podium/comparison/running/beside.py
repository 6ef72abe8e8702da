"""A process that trains runs of a comparison beside others: it takes requests, and tells of progress, notes and the end."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from podium import errors
from podium.data.dataset import Dataset
from podium.errors import PodiumError
from podium.platform import leave_terminal, release_signals, stop_signals
from podium.settings import Origin, Settings
from podium.training.loop import Callbacks, train
from podium.training.plan import Plan

OFTEN = 0.1  # seconds between two messages of progress, at least

PROGRESS, NOTES, LOGGED, ENDED = "progress", "notes", "logged", "ended"  # the kinds of messages


@dataclass(frozen=True)
class Request:
    """What `train` is called with for a run of a comparison.

    Args:
        settings, path, origin: as `train` takes them.
        fold: of a cross-validation, whose images it is trained on; None: all.
    """

    settings: Settings
    path: Path
    origin: dict[str, Origin]
    fold: int | None

    def train(self, data: Mapping[int | None, Dataset], heard: Callbacks) -> None:
        """Train the run, or go on with it.

        Args:
            data: the images, by fold.
            heard: what to call on the way.

        Raises:
            PodiumError: as `train`.
        """
        train(self.settings, self.path, origin=self.origin, resume=True, data=data[self.fold], callbacks=heard)


def work(connection: Connection, threads: int) -> None:
    """Train the runs that the comparison requests, until it requests no more or is gone. It sends the images first, by fold.

    A terminal's Ctrl-C does not reach this process: the comparison hands signals on, once.

    Args:
        connection: to the comparison.
        threads: that compute.
    """
    leave_terminal()
    os.environ["OMP_NUM_THREADS"] = str(threads)  # decided: they are not measured again beside the other processes
    torch.set_num_threads(threads)
    with contextlib.suppress(KeyboardInterrupt, EOFError, OSError):
        for number in stop_signals():
            signal.signal(number, signal.default_int_handler)
        release_signals()  # held while Python started
        told = _Told(connection)
        logger = logging.getLogger("podium")
        logger.addHandler(told)
        logger.setLevel(logging.INFO)
        data = connection.recv()
        while (request := connection.recv()) is not None:
            connection.send((ENDED, error_of(request, data, Callbacks(told.progress, told.notes))))


def error_of(request: Request, data: Mapping[int | None, Dataset], heard: Callbacks) -> Exception | None:
    """Train a run; returns the error that ended it, as any process can build it again, or None.

    Args:
        request: of the run.
        data: the images, by fold.
        heard: what to call on the way.
    """
    try:
        request.train(data, heard)
    except PodiumError as error:
        return sendable(error)
    except Exception as error:  # a fault of Podium's own, or of the system
        kind = type(error) if isinstance(error, OSError | MemoryError) else RuntimeError
        sent = kind(*error.args) if kind is not RuntimeError else RuntimeError(f"{type(error).__name__}: {error}")
        sent.add_note(traceback.format_exc())
        return sent
    return None


def sendable(error: PodiumError) -> PodiumError:
    """Return an error as the nearest of its kinds in `podium.errors`, which any process can build again."""
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
    sent = kind(error.what, error.fix, error.flags, error.data)
    sent.exit_code = error.exit_code
    return sent


def notes_of(plan: Plan) -> list[str]:
    """The notes of a run's plan that are not of its data, which all runs have in common."""
    return [line for line in plan.notes if line not in plan.data.notes]


class _Told(logging.Handler):
    """Tells the comparison what happens in this process; where that is gone, the run stops as at a signal, and saves."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection, self.last = connection, 0.0

    def tell(self, *message: Any) -> None:
        """Send a message."""
        try:
            self.connection.send(message)
        except OSError:
            signal.raise_signal(signal.SIGTERM)

    def progress(self, step: int, steps: int, shown: dict[str, Any]) -> None:
        """Tell of a step, but not more often than a person sees; every epoch and the last step are told."""
        if "event" in shown or step == steps or time.monotonic() - self.last > OFTEN:
            self.last = time.monotonic()
            self.tell(PROGRESS, step, steps, shown)

    def notes(self, plan: Plan) -> None:
        """Tell the notes of the run's plan that are not of its data."""
        self.tell(NOTES, notes_of(plan))

    def emit(self, record: logging.LogRecord) -> None:
        """Tell what the library logs."""
        self.tell(LOGGED, record.levelno, record.getMessage())
