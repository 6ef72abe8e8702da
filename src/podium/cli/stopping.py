"""Signals that ask a command to stop outside of training: it cleans up and says how to go on; a second one ends it at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from podium.platform import stop_signals
from podium.training.interrupt import StopFlag, exit_code

USUAL = (signal.SIG_DFL, signal.default_int_handler)  # what a signal meets where nobody has decided


@contextmanager
def interrupted_by_signals() -> Iterator[StopFlag]:
    """Raise KeyboardInterrupt within this context at SIGTERM, SIGHUP and SIGUSR1, as Ctrl-C does.

    Training handles these signals itself. The processes of one run that `--devices` starts end as their launcher wants it.

    Yields:
        The flag that notes the signal.
    """
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread() or "LOCAL_RANK" in os.environ:
        yield flag
        return

    def receive(number: int, frame: FrameType | None) -> None:
        if flag.received is not None:  # while it cleans up
            os._exit(exit_code(number))
        flag.received = number
        raise KeyboardInterrupt

    numbers = [number for number in stop_signals() if signal.getsignal(number) in USUAL]
    before = {number: signal.signal(number, receive) for number in numbers}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
