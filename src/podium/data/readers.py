"""Threads that read images ahead, and that hold up neither an interruption nor the end of the process."""

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

AHEAD = 64  # pieces of work that `map` hands out before the first is asked for
POLL = 0.5  # seconds after which a wait looks up
PATIENCE = 2.0  # seconds that the work in hand may take to its end when the threads are closed

Result = TypeVar("Result")


def outcome(future: Future[Result], seconds: float = math.inf) -> Result:
    """What comes of a piece of work; the wait is one that a signal ends, whichever thread the system gives it to.

    Raises:
        TimeoutError: nothing, for so many seconds.
    """
    until = time.monotonic() + seconds
    while not future.done() and (left := until - time.monotonic()) > 0:
        wait([future], min(left, POLL))
    return future.result(timeout=0)


class Readers:
    """Threads that work off what they are given, in order.

    A `ThreadPoolExecutor` has all its work done before an interruption goes on, and the interpreter waits for its threads
    at the end, even for one that a read from a dead disk holds for ever. These drop what has not begun, and wait a little.

    Args:
        count: of threads.
        begin: what each does first.
        on_failure: called where one cannot be started, so that none of the others waits for it.

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
            del item, future, work, arguments  # nothing is held while there is nothing to do

    def submit(self, work: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Have a thread call work(*arguments); what comes of it, in time."""
        future: Future[Result] = Future()
        self._queue.put((future, work, arguments))
        return future

    def map(self, work: Callable[..., Result], *columns: Iterable[Any]) -> Iterator[Result]:
        """What work gives of each row of arguments, in order, some ahead."""
        waiting: deque[Future[Result]] = deque()
        for row in zip(*columns, strict=True):
            waiting.append(self.submit(work, *row))
            if len(waiting) >= AHEAD:
                yield outcome(waiting.popleft())
        while waiting:
            yield outcome(waiting.popleft())

    def close(self) -> None:
        """Drop what no thread has begun, and end the threads; those that work on for long are left alone."""
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
