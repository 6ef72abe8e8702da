"""Follows the folders of runs while they are trained, in a thread, and sends what is new; no training waits for it or fails by it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from podium.tracking.mlflow_runs import MLflow, without_passwords
from podium.tracking.notes import TRACKERS, read_note, write_note
from podium.tracking.tensorboard import TensorBoard

OFTEN, AGAIN = 3.0, 60.0  # seconds between two looks at the folders, and after a failure
LAST, LONGEST = (
    20.0,
    600.0,
)  # seconds that a command waits for the last of it: one that was stopped, and one that has ended
STOPPED = (130, 143)  # exit codes of an error that is a request to stop
SHOWN = 200  # characters of an error's own words

logger = logging.getLogger("podium")


class Tracker(Protocol):
    """What runs are sent to."""

    name: str

    @property
    def place(self) -> str:
        """What it is and where, in words."""

    def send(self) -> None:
        """Send what is new of all runs; may raise anything."""

    def end(self, status: str) -> None:
        """Close what is open; `status` is "FINISHED", "FAILED" or "KILLED"."""


class Following:
    """Sends what the runs in a folder write, from `begin` on.

    Args:
        out: the folder of a run or of a comparison.
        names: of the trackers; none: those that were named when the folder was begun.
        comparison: whether it is a comparison's.
        again: the command that sends what is missing at the end.
    """

    def __init__(self, out: Path, names: Sequence[str], comparison: bool, again: str) -> None:
        self.out, self.comparison, self.again = out, comparison, again
        self.names = tuple(names) or tuple(name for name in read_note(out).get("log_to", ()) if name in TRACKERS)
        made: dict[str, Callable[[], Tracker]] = {
            "mlflow": lambda: MLflow(out, comparison),
            "tensorboard": lambda: TensorBoard(out),
        }
        self.trackers = [made[name]() for name in self.names]
        self._over, self._status = threading.Event(), "FINISHED"
        self._failed: set[str] = set()  # trackers whose last attempt failed
        self._warned: set[str] = set()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Begin to follow: the folder holds what this command trains."""
        if self.trackers and self._thread is None:
            write_note(self.out, read_note(self.out) | {"log_to": list(self.names)})
            self._thread = threading.Thread(target=self._follow, name="podium-tracking", daemon=True)
            self._thread.start()

    def end(self, status: str) -> None:
        """Send the last of it, and wait for that: some seconds only where the command was stopped or nothing answers."""
        self._status = status
        self._over.set()
        if self._thread is None:
            return
        self._thread.join(OFTEN)
        if self._thread.is_alive():
            logger.info(f"sending the last of it to {' and '.join(tracker.place for tracker in self.trackers)}")
            self._thread.join(LONGEST if status == "FINISHED" and not self._failed else LAST)
        for tracker in self.trackers:
            if tracker.name in self._failed or self._thread.is_alive():
                logger.info(f"not all is in {tracker.place}. To send the rest: {self.again}")

    def _follow(self) -> None:
        """Look at the folders again and again, and a last time at the end."""
        while not self._over.wait(AGAIN if self._failed else OFTEN):
            for tracker in self.trackers:
                self._send(tracker)
        for tracker in self.trackers:
            self._send(tracker, last=True)

    def _send(self, tracker: Tracker, last: bool = False) -> None:
        """Send what is new to a tracker; the first time that this fails, a warning says why.

        Args:
            tracker: what it is sent to.
            last: close what is open, too.
        """
        try:
            tracker.send()
            if last:
                tracker.end(self._status)
        except Exception as error:  # of a network, a server, a store: no training ends by it
            self._failed.add(tracker.name)
            if tracker.name not in self._warned:
                self._warned.add(tracker.name)
                reason = without_passwords(" ".join(f"{type(error).__name__}: {error}".split()))[:SHOWN]
                on = "" if self._over.is_set() else " The training goes on, and sends it when it can."
                what = f"{tracker.place} has not taken what was sent ({reason}).{on}"
                logger.warning(f"{what} To send it later: {self.again}")
        else:
            self._failed.discard(tracker.name)


@contextmanager
def following(out: Path, names: Sequence[str], again: str, *, comparison: bool = False) -> Iterator[Following]:
    """Follow the runs of a folder within this context, once `begin` was called.

    Args:
        out, names, again, comparison: as `Following` takes them.
    """
    follower = Following(out, names, comparison, again)
    try:
        yield follower
    except BaseException as error:
        stopped = not isinstance(error, Exception) or getattr(error, "exit_code", None) in STOPPED
        follower.end("KILLED" if stopped else "FAILED")
        raise
    follower.end("FINISHED")
