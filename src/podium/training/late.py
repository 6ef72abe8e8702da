"""Steps of a GPU whose numbers are read one step late, so that it never waits for the processor, nor the processor for it.

Whether a step is finite is decided on the device: a fused optimiser changes nothing where its `found_inf` is 1, and the
batch-norm statistics are put back. Once more steps are not finite than `on_nan` leaves out, the run has ended: on the device
no later step changes anything, whatever the processor has sent meanwhile. So the weights are those before the step that ended
the run, as if it had been read at once.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from podium.training.loss_scale import LossScale


def reads_late(device: torch.device, optimizer: torch.optim.Optimizer) -> bool:
    """Return whether steps are read late: on CUDA, with an optimiser that takes `found_inf`; the others are read at once."""
    return device.type == "cuda" and bool(getattr(optimizer, "_step_supports_amp_scaling", False))


@dataclass(frozen=True)
class Unread:
    """A step whose numbers are not read yet.

    Args:
        step: its number.
        rate: its learning rate.
        images: (N,), the numbers of its images, on the device.
        numbers: (4,) float64 on the processor: loss, norm of the gradient, whether it is left out or ends the run, and signal.
        sent: is over once the numbers are there.
    """

    step: int
    rate: float
    images: Tensor
    numbers: Tensor
    sent: torch.cuda.Event | None

    def is_there(self) -> bool:
        """Whether the device has finished the step."""
        return self.sent is None or self.sent.query()

    def read(self) -> tuple[float, float, bool, int]:
        """Wait for the numbers and return them."""
        if self.sent is not None:
            self.sent.synchronize()
        loss, norm, wrong, signal = self.numbers.tolist()
        return loss, norm, bool(wrong), int(signal)


class _Statistics:
    """The batch-norm statistics of one type of numbers, kept during a step with one copy for all of them."""

    def __init__(self, buffers: list[Tensor]) -> None:
        self.buffers, self.flat = buffers, [buffer.view(-1) for buffer in buffers]
        self.before = torch.cat(self.flat)
        self.after = torch.empty_like(self.before)
        sizes = [buffer.numel() for buffer in buffers]
        self.parts = [part.view(like.shape) for part, like in zip(self.after.split(sizes), buffers, strict=True)]

    def keep(self) -> None:
        torch.cat(self.flat, out=self.before)

    def put_back(self, where: Tensor) -> None:
        torch.where(where, self.before, torch.cat(self.flat), out=self.after)
        torch._foreach_copy_(self.buffers, self.parts)


class Late:
    """What the steps of a run leave on the device, and those that are not read yet.

    Args:
        net: whose batch-norm statistics a step that is not finite leaves as they were.
        device: of the network.
        left_out: steps that the run has left out so far.
        allowed: how many it may leave out.
    """

    def __init__(self, net: nn.Module, device: torch.device, left_out: int, allowed: int) -> None:
        self.unread: deque[Unread] = deque()
        self.begun = False  # the optimiser has a state: its first step, which makes one, is read at once
        self.loss = float("nan")  # of the last step that was read
        self.signals: list[tuple[int, int]] = []  # (step, signal) of the steps by which a signal came
        self.left_out = torch.full((), left_out, dtype=torch.int64, device=device)
        self.allowed = allowed
        self.ended = torch.zeros((), dtype=torch.bool, device=device)
        self.nothing = torch.zeros((), dtype=torch.bool, device=device)  # whether the step changes nothing
        norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
        buffers = [buffer for norm in norms for buffer in norm.buffers(recurse=False)]
        types = {buffer.dtype for buffer in buffers}
        self.statistics = [_Statistics([b for b in buffers if b.dtype == one]) for one in types]

    def keep(self) -> None:
        """Keep the batch-norm statistics, before the forward pass."""
        for kept in self.statistics:
            kept.keep()

    def decide(self, loss: Tensor, norm: Tensor, signal: Tensor, scale: LossScale | None) -> Tensor:
        """Decide on the device whether a step changes anything.

        Args:
            loss, norm, signal: of the step, () each.
            scale: the factor of the loss; a gradient that only it has made infinite is not left out: the factor falls.

        Returns:
            The step's numbers, as `Unread` has them.
        """
        lossy, steep = ~torch.isfinite(loss), ~torch.isfinite(norm)
        wrong = lossy | steep if scale is None else lossy | (steep & scale.too_small())
        self.left_out += wrong
        self.ended |= self.left_out > self.allowed
        self.nothing = lossy | steep | self.ended
        if scale is not None:
            scale.update(~(lossy | steep), self.ended)
        return torch.stack([loss, norm.to(loss.dtype), wrong.to(loss.dtype), signal.to(loss.dtype)])

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the optimiser take the step, and put the batch-norm statistics back, as `decide` has found."""
        optimizer.found_inf = self.nothing.float()  # type: ignore[attr-defined]
        optimizer.step()
        optimizer.found_inf = None  # type: ignore[attr-defined]
        for kept in self.statistics:
            kept.put_back(self.nothing)

    def add(self, step: int, rate: float, images: Tensor, numbers: Tensor) -> None:
        """Send a step's numbers to the processor, without waiting."""
        sent = None
        if numbers.device.type == "cuda":
            there = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
            numbers = there.copy_(numbers, non_blocking=True)
            sent = torch.cuda.Event()
            sent.record()
        self.unread.append(Unread(step, rate, images, numbers, sent))

    def changed(self, optimizer: torch.optim.Optimizer) -> list[Tensor]:
        """Return all tensors that a step changes, but for the factor of its loss."""
        weights = [p for group in optimizer.param_groups for p in group["params"]]
        state = [value for p in weights for value in optimizer.state.get(p, {}).values() if isinstance(value, Tensor)]
        return [*weights, *state, *(b for one in self.statistics for b in one.buffers), self.left_out, self.ended]

    def received(self, step: int) -> int:
        """Return the signal that all ranks know of after a step, however much of what followed this rank has read."""
        return next((signal for at, signal in self.signals if at < step - 1), 0)
