"""Training steps on a copy of a network, and the memory they take: how a run's time and memory are known beforehand."""

from __future__ import annotations

import contextlib
import copy
import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from podium.data.loader import Batch
from podium.models.convnet import ConvNet
from podium.platform import address_limit, peak_memory, trim_freed_memory
from podium.settings import Settings
from podium.training.distributed.parallel import ALONE, Ranks
from podium.training.losses import Criterion, cross_entropy
from podium.training.optim import make_optimizer, set_learning_rate
from podium.training.step import forward_backward


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

    def images(self, count: int) -> Batch:
        """Return a batch of noise, (count, C, H, W)."""
        spec = self.net.spec
        shape = count, spec["in_chans"], spec["image_size"], spec["image_size"]
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
        index = torch.arange(count)
        return Batch(*(t.to(self.device) for t in (x, index % spec["num_classes"], index)))

    def step(self, batch: Batch, amp: bool) -> float:
        """Take a step at a learning rate of 0, and return its seconds."""
        begun = time.perf_counter()
        if self.objective is None:
            self.objective = self.ranks.objective(self.net, self.criterion, batch.x)
        forward_backward(self.net, self.optimizer, batch, self.objective, self.settings, 0, amp, self.ranks)
        self.optimizer.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begun

    def saved_bytes(self, batch: Batch, amp: bool) -> int:
        """Return the bytes that autograd saves for backward in the largest part of a step: the same number every time."""
        kept: dict[int, Tensor] = {}  # holds the tensors, so that no address is used twice
        own = {p.untyped_storage().data_ptr() for p in (*self.net.parameters(), *self.net.buffers())}

        def keep(tensor: Tensor) -> Tensor:
            address = tensor.untyped_storage().data_ptr()
            if address not in own:
                kept[address] = tensor
            return tensor

        part = len(batch.x.tensor_split(self.settings.accumulate)[0])
        self.net.train()
        with (
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
            torch.autocast(self.device.type, torch.bfloat16, enabled=amp),
        ):
            self.net.training_loss(batch.x[:part], batch.y[:part], self.criterion(batch.x[:part]))
        return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def container_left(own: Path, root: Path) -> list[int]:
    """Return the bytes that each control group around this process leaves it; cached pages of files count as free.

    Args:
        own: the file /proc/self/cgroup of version 1 or 2, with a line "number:controllers:path" for each hierarchy.
        root: where the control groups are mounted.
    """
    left: list[int] = []
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return left
    for controllers, path in (line.split(":", 2)[1:] for line in lines if line.count(":") >= 2):
        if controllers not in ("", "memory"):
            continue
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        group = root / controllers / path.strip("/")
        for folder in (group, *group.parents):
            with contextlib.suppress(OSError, ValueError, IndexError):  # absent, as within a container, or "max"
                limit, used = (int((folder / name).read_text()) for name in names)
                rows = dict(row.split() for row in (folder / "memory.stat").read_text().splitlines())
                left.append(limit - used + int(rows.get("inactive_file", 0)))
            if folder == root / controllers:
                break
    return left


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


def out_of_memory(error: BaseException) -> bool:
    """Return whether this is an error that torch, its kernels or Python raise when memory runs out."""
    said = ("can't allocate memory", "not enough memory", "bad_alloc", "out of memory", "could not create a memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in said)
    )


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
    status = Path("/proc/self/status")
    if not status.is_file():
        most = peak_memory() or 0
        return most, most
    if reset:
        trim_freed_memory()  # what was freed is not in use
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    now, peak = (1024 * int(lines[key].split()[0]) for key in ("VmRSS", "VmHWM"))
    return now, peak


def memory_left(device: torch.device) -> int:
    """Return the bytes that this process may still take: of a GPU, or of the machine, its container and its address space."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    left = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        left.append(1024 * int(fields["MemAvailable"].split()[0]))
    left += container_left(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    if (limit := address_limit()) is not None:
        with contextlib.suppress(OSError, ValueError):
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            left.append(limit - pages * os.sysconf("SC_PAGE_SIZE"))
    return max(0, min(left))
