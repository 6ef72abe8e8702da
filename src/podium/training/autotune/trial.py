"""Training steps on a copy of a network, and the memory they take: how a run's time and memory are known beforehand."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from podium.data.loader import Batch
from podium.devices import float32, synchronize
from podium.errors import MachineError
from podium.models.convnet import ConvNet
from podium.platform import memory_left_here, memory_of_process
from podium.settings import Settings
from podium.training.distributed.parallel import ALONE, Ranks
from podium.training.loss_scale import LossScale
from podium.training.losses import Criterion, cross_entropy
from podium.training.optim import make_optimizer, set_learning_rate
from podium.training.step import Passes, forward_backward


class Trial:
    """A copy of a network with an optimiser of its own, to take steps that change nothing.

    Args:
        net: on its device, in its memory format; left as it is.
        settings: of the run.
        criterion: from images to the loss of their logits; by default cross-entropy.
        ranks: that take its steps together; by default this process alone.
    """

    def __init__(
        self, net: ConvNet, settings: Settings, criterion: Criterion | None = None, ranks: Ranks = ALONE
    ) -> None:
        self.net, self.settings, self.ranks = copy.deepcopy(net), settings, ranks
        self.device = next(net.parameters()).device
        self.optimizer = make_optimizer(self.net, settings)
        set_learning_rate(self.optimizer, 0.0)
        loss = cross_entropy(settings.label_smoothing)
        self.criterion: Criterion = criterion or (lambda x: loss)
        self.objective: nn.Module | None = None
        self.scale = LossScale(self.device)

    def images(self, count: int) -> Batch:
        """Return a batch of noise, (count, C, H, W)."""
        spec = self.net.spec
        shape = count, spec["in_chans"], spec["image_size"], spec["image_size"]
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
        index = torch.arange(count)
        return Batch(*(t.to(self.device) for t in (x, index % spec["num_classes"], index)))

    def step(self, batch: Batch, amp: torch.dtype | None) -> float:
        """Take a step at a learning rate of 0, and return its seconds."""
        begun = time.perf_counter()
        if self.objective is None:
            self.objective = self.ranks.objective(self.net, self.criterion, batch.x)
        scale = self.scale if amp is torch.float16 else None
        passes = Passes(self.net, self.optimizer, self.settings, amp, self.ranks, scale)
        with float32(self.settings.amp == "tf32"):
            forward_backward(passes, batch, self.objective, 0)
            self.optimizer.step()
        synchronize(self.device)
        return time.perf_counter() - begun

    def saved_bytes(self, batch: Batch, amp: torch.dtype | None) -> int:
        """Return the bytes that autograd saves for backward in the largest part of a step: the same number every time."""
        kept: dict[int, Tensor] = {}  # holds the tensors, so that no address is used twice
        own = {p.untyped_storage().data_ptr() for p in (*self.net.parameters(), *self.net.buffers())}

        def keep(tensor: Tensor) -> Tensor:
            address, bare = tensor.untyped_storage().data_ptr(), tensor.detach()
            if address not in own:
                kept[address] = bare
            return bare  # with its graph the tensor would be a circle that no garbage collector sees, and stay for good

        part = len(batch.x.tensor_split(self.settings.accumulate)[0])
        self.net.train()
        with (
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
            torch.autocast(self.device.type, amp or torch.bfloat16, enabled=amp is not None),
        ):
            self.net.training_loss(batch.x[:part], batch.y[:part], self.criterion(batch.x[:part]))
        return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@contextlib.contextmanager
def denormals_flushed() -> Iterator[None]:
    """Round numbers below 1e-38 to zero within this context, where the processor can.

    The momenta of dead weights decay into such numbers, and a processor takes several times as long for them. The mode is
    that of this thread and of those it starts.
    """
    tiny = torch.full((1,), 1, dtype=torch.int32).view(torch.float32)
    before = not (tiny * 1.0).view(torch.int32).any()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def memory_in_use(device: torch.device, *, reset: bool = False) -> tuple[int, int]:
    """Return the bytes in use now, and at their peak since the last reset, of a GPU or of this process.

    Args:
        device: that the network is on.
        reset: count the peak from here on, where the system allows it.
    """
    if device.type == "cuda":
        if reset:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device), torch.cuda.max_memory_allocated(device)
    if device.type == "mps":  # what Metal holds for this process: it keeps freed memory, so that is also the peak
        if reset:
            torch.mps.empty_cache()
        return torch.mps.current_allocated_memory(), torch.mps.driver_allocated_memory()
    return memory_of_process(reset)


def memory_left(device: torch.device) -> int:
    """Return the bytes that this process may still take: of a GPU, or of the machine, its container and its address space.

    Raises:
        MachineError: the system does not say it.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":  # more than Metal recommends is slow, as the system then moves memory to the disk
        return max(0, torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    if (left := memory_left_here()) is None:
        raise MachineError(
            "batch_size: auto needs the memory that is left, which this system does not say", "give --batch-size N"
        )
    return left
