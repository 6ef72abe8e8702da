"""Threads that read images ahead, and that delay neither an interruption nor the end of the process."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Self, TypeVar

from podium.errors import MachineError

AHEAD = 64  # calls that `map` submits before it waits for the first
POLL = 0.5  # seconds after which a wait lets signals be handled
PATIENCE = 2.0  # seconds that running calls may take to finish when the threads are closed

Result = TypeVar("Result")


def outcome(future: Future[Result], seconds: float = math.inf) -> Result:
    """Wait for the result of a call, so that a signal can end the wait whichever thread the system delivers it to.

    Raises:
        TimeoutError: there was no result within `seconds`.
    """
    until = time.monotonic() + seconds
    while not future.done() and (left := until - time.monotonic()) > 0:
        wait([future], min(left, POLL))
    return future.result(timeout=0)


class Readers:
    """Threads that run calls in the order in which they are submitted.

    A `ThreadPoolExecutor` finishes all its calls before an interruption proceeds, and the interpreter waits for its threads at
    the end, even for one that hangs in a read from a dead disk. These threads drop calls that have not begun, and are waited
    for briefly.

    Args:
        count: the number of threads.
        begin: called first in each thread.
        on_failure: called where a thread cannot be started, so that the others do not wait for it.

    Raises:
        MachineError: the system starts no more threads.
    """

    def __init__(
        self,
        count: int,
        begin: Callable[[], object] = lambda: None,
        on_failure: Callable[[], object] = lambda: None,
    ) -> None:
        self._queue: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None] = SimpleQueue()
        self._begin = begin
        self._threads: list[Thread] = []
        for number in range(count):
            thread = Thread(target=self._run, name=f"read-{number}", daemon=True)
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:
                on_failure()
                self.close()
                what = f"only {number} of {count} threads to read with could be started ({error})"
                raise MachineError(what, "end other programs, or raise the limit on threads (ulimit -u)") from None
            self._threads.append(thread)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        self._begin()
        while (item := self._queue.get()) is not None:
            future, work, arguments = item
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work(*arguments))
                except BaseException as error:
                    future.set_exception(error)
            del item, future, work, arguments  # an idle thread keeps no image in memory

    def submit(self, work: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Have a thread call work(*arguments), and return the future of its result."""
        future: Future[Result] = Future()
        self._queue.put((future, work, arguments))
        return future

    def map(self, work: Callable[..., Result], *columns: Iterable[Any]) -> Iterator[Result]:
        """Yield the result of `work` for each row of arguments, in order; threads work some rows ahead."""
        waiting: deque[Future[Result]] = deque()
        for row in zip(*columns, strict=True):
            waiting.append(self.submit(work, *row))
            if len(waiting) >= AHEAD:
                yield outcome(waiting.popleft())
        while waiting:
            yield outcome(waiting.popleft())

    def close(self) -> None:
        """Drop the calls that have not begun, and end the threads; one that does not finish soon is abandoned."""
        while True:
            try:
                item = self._queue.get_nowait()
            except Empty:
                break
            if item is not None:
                item[0].cancel()
        for _ in self._threads:
            self._queue.put(None)
        until = time.monotonic() + PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
