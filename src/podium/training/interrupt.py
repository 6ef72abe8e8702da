"""Ctrl-C and SIGTERM: the step in hand is finished, the state saved, and the run says how to go on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from podium.errors import PodiumError


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
            f"go on with: podium train --resume -o {folder}",
        )
        self.exit_code = 128 + number


class StopFlag:
    """What was received; None so far."""

    received: int | None = None


@contextmanager
def stop_signals() -> Iterator[StopFlag]:
    """Within it Ctrl-C, SIGTERM and SIGUSR1 (sent by SLURM) are noted and not obeyed at once; a second one ends all."""
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def receive(number: int, frame: FrameType | None) -> None:
        if flag.received is not None:
            os._exit(128 + number)
        flag.received = signal.SIGTERM if number == signal.SIGUSR1 else number

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.signal(number, receive) for number in numbers}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
