"""A training step as one CUDA graph, for networks whose kernels are over before the processor has sent the next ones.

A graph is the recording of all kernels of a step, which a GPU then runs without the processor. It is taken only where the GPU
has waited for the processor, and only if its first step has the bits of the plain step, to which any failure goes back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import torch
from torch import Tensor

STEPS = 20  # in a row, which the GPU has finished before the processor had sent the next one
SHARE = (
    0.5  # of the time of these steps, which sending them must have taken: else it is the images that the GPU waits for
)

Launch = Callable[[Tensor, Tensor], Tensor]  # sends a step on images and targets; returns its numbers, on the device
Record = Callable[[Callable[[], Tensor]], tuple[Tensor, Callable[[], None]]]

logger = logging.getLogger("podium")


def graphs_are_there(device: torch.device) -> bool:
    """Return whether a device can record its work: CUDA can."""
    return device.type == "cuda"


def cuda_graph(work: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
    """Record some work and return its result, which each run of the recording overwrites, and what runs it."""
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads decode images meanwhile
            result = work()
    except Exception:  # torch leaves its generator in the state of a recording, in which no random number can be drawn
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        generator.graphsafe_set_state(torch.Generator(generator.device).graphsafe_get_state())
        raise
    return result, graph.replay


class StepGraph:
    """The steps of a run, sent one kernel after the other, or as a graph once that pays.

    Args:
        changed: returns all tensors that a step changes.
        record: records a step; by default `cuda_graph`.
    """

    def __init__(self, changed: Callable[[], list[Tensor]], record: Record | None = None) -> None:
        self.changed, self.record = changed, record or cuda_graph
        self.failed = False
        self.forget()

    def forget(self) -> None:
        """Drop the recording: other parts of the network are trained from now on."""
        self.replay: Callable[[], None] | None = None
        self.result = self.x = self.y = torch.empty(0)
        self.see(False)

    def see(self, waited: bool) -> None:
        """Take note of whether the GPU has waited for the processor in a step."""
        if not waited:
            self.waited, self.sending, self.since = 0, 0.0, time.perf_counter()
        self.waited += waited

    @property
    def wanted(self) -> bool:
        """Whether sending the kernels is what the steps take their time for."""
        return self.waited >= STEPS and self.sending > SHARE * (time.perf_counter() - self.since)

    def numbers(self, launch: Launch, seed: Callable[[], None], x: Tensor, y: Tensor) -> Tensor:
        """Take a step and return its numbers, on the device.

        Args:
            launch: sends the step.
            seed: puts the device's generator at the beginning of the step, where it is now.
            x, y: images and targets.
        """
        if self.replay is not None and (x.shape, y.shape) == (self.x.shape, self.y.shape):
            self.x.copy_(x)
            self.y.copy_(y)
            self.replay()
            return self.result
        if self.wanted and not self.failed and self.replay is None:
            return self._try(launch, seed, x, y)
        begun = time.perf_counter()
        found = launch(x, y)
        self.sending += time.perf_counter() - begun
        return found

    def _try(self, launch: Launch, seed: Callable[[], None], x: Tensor, y: Tensor) -> Tensor:
        """Take the plain step, then the same one as a graph, and keep the graph if both end alike."""
        kept = self._plain_beside_copies(launch, seed, x, y)
        if kept is None:
            return launch(x, y)
        (before, plain), after = kept, None
        try:
            after = self._copies()
            self._put(before)
            seed()
            self.x, self.y = x.clone(), y.clone()
            self.result, replay = self.record(lambda: launch(self.x, self.y))
            self._put(before)
            replay()
            pairs = [*zip(self.changed(), after, strict=True), (self.result, plain)]
            if not all(torch.equal(one, other) for one, other in pairs):
                raise ArithmeticError("its first step had other bits")
        except Exception as error:  # torch and CUDA raise anything; the plain step has been taken
            if after is not None:
                self._put(after)
            self._fail(error)
            return plain
        self.replay = replay
        logger.info("the GPU waited for the processor: from now on a step is sent as one CUDA graph")
        return self.result

    def _plain_beside_copies(
        self, launch: Launch, seed: Callable[[], None], x: Tensor, y: Tensor
    ) -> tuple[list[Tensor], Tensor] | None:
        """Copy what a step changes, take the plain step, and return both.

        Returns:
            None where both do not fit into the memory: all is as before the step then, and what was made is freed.
        """
        before = None
        try:
            before = self._copies()
            return before, launch(x, y)
        except torch.OutOfMemoryError as error:
            if before is not None:
                self._put(before)
                seed()
            self._fail(error)
        return None

    def _fail(self, error: Exception) -> None:
        """Send all steps kernel by kernel from now on."""
        self.failed = True
        self.forget()
        why = str(error).partition("\n")[0]
        logger.warning(f"steps are sent kernel by kernel: as a CUDA graph it failed ({why})")

    def _copies(self) -> list[Tensor]:
        return [tensor.clone() for tensor in self.changed()]

    @torch.no_grad()
    def _put(self, values: list[Tensor]) -> None:
        for tensor, value in zip(self.changed(), values, strict=True):
            tensor.copy_(value)
