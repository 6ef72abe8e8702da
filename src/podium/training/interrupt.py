"""Ctrl-C, SIGTERM, SIGHUP and SIGUSR1: the current step is finished, a checkpoint is saved, and the run says how to go on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from podium import platform
from podium.errors import PodiumError
from podium.files import shell_word


class Stopped(PodiumError):
    """A run was stopped by a signal, after a checkpoint was saved.

    Args:
        number: of the signal.
        step: steps taken.
        total: steps of the whole run.
        folder: of the run.
    """

    def __init__(self, number: int, step: int, total: int, folder: Path) -> None:
        super().__init__(
            f"stopped by {signal.Signals(number).name} after step {step} of {total}; the checkpoint is saved",
            f"go on with: podium train --resume -o {shell_word(folder)}",
        )
        self.exit_code = exit_code(number)


def exit_code(number: int) -> int:
    """Return the exit code of a run that a signal has stopped.

    SIGUSR1, an early warning from a scheduler, and SIGHUP, from a terminal that is lost, count as SIGTERM.
    """
    early = {getattr(signal, name, None) for name in ("SIGUSR1", "SIGHUP")}
    return 128 + (signal.SIGTERM if number in early else number)


class StopFlag:
    """The number of the signal that was received; None where none was."""

    received: int | None = None


@contextmanager
def stop_signals(grace: float) -> Iterator[StopFlag]:
    """Note Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 within this context instead of stopping at once; a second signal ends the process.

    A SIGHUP that is ignored stays ignored, as `nohup` wants it.

    Args:
        grace: seconds that the current work may take after a signal; then the process ends with what is on disk.

    Yields:
        The flag that notes the signal.
    """
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def give_up(number: int, why: str) -> None:
        text = f"error: stopped by {signal.Signals(number).name} {why}, without saving\nfix: --resume goes on from the checkpoint before\n"
        os.write(2, text.encode())
        os._exit(exit_code(number))

    timers: list[threading.Timer] = []

    def receive(number: int, frame: FrameType | None) -> None:
        if flag.received is not None:
            give_up(number, "at once, by a second signal")
        flag.received = number
        timers.append(threading.Timer(grace, give_up, (number, f"after {grace:g} s of grace")))
        timers[0].daemon = True
        with suppress(RuntimeError):  # no thread can be started, so nothing ends the grace
            timers[0].start()

    before = {number: signal.signal(number, receive) for number in platform.stop_signals()}
    try:
        yield flag
    finally:
        for timer in timers:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
