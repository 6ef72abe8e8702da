"""Batches that threads read some steps ahead of the training."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager, suppress
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from podium.data.readers import Readers, outcome
from podium.errors import STARVED, MachineError

PREFETCH = 3  # batches decoded ahead
TOGETHER = 32  # images at most that a thread decodes before it hands them over: threads that meet less often wait less
HUNG = 120.0  # seconds after which images that have not been decoded count as hung

Room = TypeVar("Room", Tensor, np.ndarray)  # what holds a batch, and is filled part by part


def read_ahead(
    batches: Iterable[Tensor],
    room: Callable[[Tensor], Room],
    work: Callable[[list[int], Room], None],
    workers: int,
) -> Iterator[tuple[Tensor, Room]]:
    """Yield each batch with its room filled; threads work some batches ahead.

    Args:
        batches: (N,) int64 each, the numbers of the images.
        room: makes what holds a batch.
        work: reads some images into their part of the room.
        workers: threads; 0 reads in the caller's own thread.

    Raises:
        MachineError: an image was not read in time, or memory has run out.
    """
    if workers == 0:
        for rows in batches:
            filled = room(rows)
            with _decoding(rows, workers):
                work(rows.tolist(), filled)
            yield rows, filled
        return
    pool = reading_threads(workers)
    waiting: deque[tuple[Tensor, Room, list[Future[None]]]] = deque()
    try:
        ahead = iter(batches)
        while True:
            while len(waiting) < PREFETCH and (rows_ahead := next(ahead, None)) is not None:
                filled, numbers = room(rows_ahead), rows_ahead.tolist()
                share = min(TOGETHER, -(-len(numbers) // workers))
                parts = [slice(n, n + share) for n in range(0, len(numbers), share)]
                futures = [pool.submit(work, numbers[part], filled[part]) for part in parts]
                waiting.append((rows_ahead, filled, futures))
            if not waiting:
                return
            rows, filled, futures = waiting.popleft()
            with _decoding(rows, workers):
                for future in futures:
                    outcome(future, HUNG)
            yield rows, filled
    finally:
        pool.close()


@contextmanager
def _decoding(rows: Tensor, workers: int) -> Iterator[None]:
    """Report a read that never ends, or memory that has run out, as the machine's fault."""
    try:
        yield
    except FutureTimeout:
        raise MachineError(
            f"an image of the batch at {int(rows[0])} was not read within {HUNG:.0f} s",
            "check the disk, then run the same again",
        ) from None
    except MemoryError:
        raise MachineError(
            f"no memory was left to decode the images of the batch at {int(rows[0])} "
            f"(numbers {int(rows.min())} to {int(rows.max())}) with {workers} workers",
            STARVED,
        ) from None


def reading_threads(count: int) -> Readers:
    """Start threads in each of which torch computes with one thread: together they use what the processor has.

    The number of threads that torch uses is set per thread, but a thread takes its first value from the number that was set
    last. So this function waits until every thread has set its own, and then restores the number of the caller.

    Raises:
        MachineError: the system starts no more threads; names a number that it starts.
    """
    here, ready = torch.get_num_threads(), threading.Barrier(count + 1)
    started = itertools.count()

    def begin() -> None:
        next(started)
        torch.set_num_threads(1)
        torch.get_num_threads()  # a thread adopts the number when it first asks for it
        with suppress(threading.BrokenBarrierError):
            ready.wait()

    try:
        pool = Readers(count, begin, on_failure=ready.abort)
        ready.wait()
    except MachineError as error:
        raise MachineError(f"workers: {error.what}", f"--workers {next(started) // 2}, or {error.fix}") from None
    finally:
        ready.abort()  # after an interruption no thread keeps waiting
        torch.set_num_threads(here)
    return pool
