"""Ctrl-C, SIGTERM, SIGHUP and SIGUSR1: the step in hand is finished, the state saved, and the run says how to go on."""

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
    """A run that was asked to stop, and did with its state saved.

    Args:
        number: of the signal.
        step, total: how far it came.
        folder: of the run.
    """

    def __init__(self, number: int, step: int, total: int, folder: Path) -> None:
        super().__init__(
            f"stopped by {signal.Signals(number).name} after step {step} of {total}; the state is saved",
            f"go on with: podium train --resume -o {shell_word(folder)}",
        )
        self.exit_code = exit_code(number)


def exit_code(number: int) -> int:
    """What a run ends with after a signal: SIGUSR1 is a scheduler's SIGTERM that comes early, SIGHUP a terminal's that is lost."""
    early = {getattr(signal, name, None) for name in ("SIGUSR1", "SIGHUP")}
    return 128 + (signal.SIGTERM if number in early else number)


class StopFlag:
    """What was received; None so far."""

    received: int | None = None


@contextmanager
def stop_signals(grace: float) -> Iterator[StopFlag]:
    """Within it Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 are noted and not obeyed at once; a second one ends all.

    A SIGHUP that is ignored stays so: that is what `nohup` is for.

    Args:
        grace: seconds that the work in hand may take after a signal; then the process ends with what is on disk.
    """
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def give_up(number: int, why: str) -> None:
        told = f"error: stopped by {signal.Signals(number).name} {why}, without saving\nfix: --resume goes on from the checkpoint before\n"
        os.write(2, told.encode())
        os._exit(exit_code(number))

    timers: list[threading.Timer] = []

    def receive(number: int, frame: FrameType | None) -> None:
        if flag.received is not None:
            give_up(number, "at once, by a second signal")
        flag.received = number
        timers.append(threading.Timer(grace, give_up, (number, f"after {grace:g} s of grace")))
        timers[0].daemon = True
        with suppress(RuntimeError):  # no thread can be started: the grace has no end then
            timers[0].start()

    before = {number: signal.signal(number, receive) for number in platform.stop_signals()}
    try:
        yield flag
    finally:
        for timer in timers:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
