"""Dynamic micro-batching: images of several requests go through a network together.

An image waits for others only where others are on their way, and for 2 ms at the most; a lone client waits for nothing. Where
several calls of the engine can run side by side, the images that wait are divided among them: on a CPU two batches of four on
two cores are done sooner than one of eight on one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from podium.data.readers import Readers

WINDOW = 0.002  # seconds
MOST = 8  # images a batch

Call = Callable[[np.ndarray], tuple[np.ndarray, ...]]  # (N, S, S, C) uint8 -> logits, probabilities, perhaps heat maps


@dataclass(frozen=True)
class Outputs:
    """What a network says of one image.

    Args:
        logits, probabilities: (K,) each.
        queue, compute: seconds that the image waited, and that its batch took.
        heat_map: (h, w) in 0..1; None of a network that has none.
    """

    logits: np.ndarray
    probabilities: np.ndarray
    queue: float
    compute: float
    heat_map: np.ndarray | None = None

    @property
    def is_finite(self) -> bool:
        """Whether every number of it is one."""
        there = (each for each in (self.logits, self.probabilities, self.heat_map) if each is not None)
        return all(np.isfinite(each).all() for each in there)


@dataclass(eq=False)
class _Waiting:
    """An image that waits for its batch."""

    square: np.ndarray
    answer: asyncio.Future[Outputs]
    since: float = field(default_factory=time.perf_counter)


class Engine:
    """The calls of engines that may run side by side, for all networks of a process.

    Args:
        calls: how many.
    """

    def __init__(self, calls: int) -> None:
        self.threads, self.free = Readers(calls), calls
        self.slots = asyncio.Semaphore(calls)


class Batcher:
    """The images that wait for one network.

    Args:
        call: the network.
        engine: where it runs.
        coming: how many images are read or decoded just now, so that a batch may wait for them.
        ran: called with (images, seconds) after each batch.
        changed: called when images have come to wait, or wait no longer.
    """

    def __init__(
        self,
        call: Call,
        engine: Engine,
        coming: Callable[[], int],
        ran: Callable[[int, float], None],
        changed: Callable[[], None],
    ) -> None:
        self.call, self.engine, self.coming, self.ran, self.changed = call, engine, coming, ran, changed
        self.waiting: deque[_Waiting] = deque()
        self.arrived = asyncio.Event()
        self.batches: set[asyncio.Task[None]] = set()
        self.loop_task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start to answer; in the event loop."""
        self.loop_task = asyncio.create_task(self._run())

    async def end(self) -> None:
        """Stop; images that still wait, or are in a call that does not end, get no answer."""
        tasks = [*self.batches, *([self.loop_task] if self.loop_task is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def answer(self, squares: Sequence[np.ndarray]) -> list[Outputs]:
        """The network's outputs for images. Where the caller is cancelled, its images leave the queue."""
        loop = asyncio.get_running_loop()
        mine = [_Waiting(square, loop.create_future()) for square in squares]
        self.waiting.extend(mine)
        self.changed()
        self.arrived.set()
        try:
            return list(await asyncio.gather(*(one.answer for one in mine)))
        except BaseException:
            for one in mine:
                one.answer.cancel()
                with contextlib.suppress(ValueError):  # it is in a batch already
                    self.waiting.remove(one)
            self.changed()
            raise

    async def _run(self) -> None:
        while True:
            await self.arrived.wait()
            await self.engine.slots.acquire()
            self.engine.free -= 1
            batch = await self._next()
            if not batch:
                self._release()
                continue
            task = asyncio.create_task(self._answer(batch))
            self.batches.add(task)
            task.add_done_callback(self.batches.discard)

    async def _next(self) -> list[_Waiting]:
        """The images of the next batch; none where all that waited have left."""
        while self.waiting and len(self.waiting) < MOST and self.coming():
            left = self.waiting[0].since + WINDOW - time.perf_counter()
            if left <= 0:
                break
            self.arrived.clear()
            try:
                await asyncio.wait_for(self.arrived.wait(), left)
            except TimeoutError:
                break
        share = -(-len(self.waiting) // (self.engine.free + 1))
        batch = [self.waiting.popleft() for _ in range(min(MOST, share))]
        if not self.waiting:
            self.arrived.clear()
        else:
            self.arrived.set()
        self.changed()
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        """Run one batch, and give each image its outputs, or the error of all."""
        began = time.perf_counter()
        try:
            squares = np.stack([one.square for one in batch])
            found = await asyncio.wrap_future(self.engine.threads.submit(self.call, squares))
            spent = time.perf_counter() - began
            for one, (logits, probabilities, *heat_map) in zip(batch, zip(*found, strict=True), strict=True):
                if not one.answer.done():
                    one.answer.set_result(Outputs(logits, probabilities, began - one.since, spent, *heat_map))
            self.ran(len(batch), spent)
        except Exception as error:
            for one in batch:
                if not one.answer.done():
                    one.answer.set_exception(error)
        finally:
            self._release()

    def _release(self) -> None:
        self.engine.free += 1
        self.engine.slots.release()
