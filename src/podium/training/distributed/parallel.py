"""The processes ("ranks") that train one network together, and all that they say to each other; a process alone says nothing.

Every rank takes its part of each batch and the same decisions from the same numbers. Rank 0 writes and speaks for all.
Gradients go by NCCL between GPUs and by gloo between CPUs; a loss, a signal or a score is on the CPU and goes by gloo.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from podium.data.dataset import Split
from podium.errors import MachineError, UsageError
from podium.files import no_shared_memory
from podium.models.convnet import ConvNet
from podium.training.distributed.launch import GONE, LAUNCHED, started_together
from podium.training.losses import Criterion

LOST = re.compile(r"gloo|nccl|connection (was )?(closed|reset|refused)|broken pipe|store", re.IGNORECASE)


class RankLost(MachineError):
    """A rank that stops because another one is gone; which one, and why, is said by that one or by what started them."""

    def __init__(self, rank: int) -> None:
        super().__init__(f"rank {rank}: another process of the run is gone", "go on from the last checkpoint: --resume")
        if LAUNCHED in os.environ:
            self.silent, self.exit_code = True, GONE


class Objective(nn.Module):
    """The loss to train on as a module's forward, which is what DistributedDataParallel watches.

    Args:
        net: the network.
        criterion: from images to the loss of its logits.
    """

    def __init__(self, net: ConvNet, criterion: Criterion) -> None:
        super().__init__()
        self.net, self.criterion = net, criterion

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # noqa: D102
        return self.net.training_loss(x, y, self.criterion(x))


@dataclass(frozen=True)
class Ranks:
    """One of the processes of a run, and its word to the others.

    Args:
        rank: which one, from 0.
        world: how many there are.
    """

    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def share(self, split: Split) -> Split:
        """This rank's images of a split that is judged: the parts in order of rank are the split, every image once."""
        if self.world == 1:
            return split
        if len(split) < self.world:
            raise UsageError(f"devices: {self.world} cannot share {len(split)} images", f"--devices {len(split)}")
        return split.select(np.array_split(np.arange(len(split)), self.world)[self.rank])

    def joined(self, part: np.ndarray) -> np.ndarray:
        """The parts of all ranks, one after the other in order of rank; on every rank.

        Args:
            part: (N, ...), any N.
        """
        if self.world == 1:
            return part
        counts = torch.zeros(self.world, dtype=torch.int64)
        counts[self.rank] = len(part)
        dist.all_reduce(counts)
        own = torch.from_numpy(np.ascontiguousarray(part))
        parts = [own if r == self.rank else own.new_empty((int(n), *own.shape[1:])) for r, n in enumerate(counts)]
        for rank, tensor in enumerate(parts):
            dist.broadcast(tensor, rank)
        return torch.cat(parts).numpy()

    def mean(self, value: float) -> float:
        """The mean over the ranks, the same on all; not finite if one of them is not."""
        return self._agreed(value, dist.ReduceOp.SUM) / self.world

    def largest(self, value: int) -> int:
        """The largest over the ranks."""
        return int(self._agreed(value, dist.ReduceOp.MAX))

    def first(self, value: int) -> int:
        """What rank 0 has."""
        return int(self._agreed(value if self.leads else 0, dist.ReduceOp.SUM))

    def wait(self) -> None:
        """Until all ranks are here."""
        self.largest(0)

    @contextmanager
    def rank_0_before(self) -> Iterator[None]:
        """What rank 0 does before the others do it."""
        if not self.leads:
            self.wait()
        yield
        if self.leads:
            self.wait()

    def _agreed(self, value: float, how: dist.ReduceOp.RedOpType) -> float:
        if self.world == 1:
            return value
        number = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(number, how)
        return number.item()

    def same_buffers(self, net: ConvNet) -> None:
        """Give all ranks the batch-norm statistics of rank 0, which are those that ship, before a network is judged."""
        if self.world > 1:
            for buffer in net.buffers():
                dist.broadcast(buffer, 0)

    def objective(self, net: ConvNet, criterion: Criterion, images: Tensor) -> nn.Module:
        """(x, y) to the loss of this rank's part of a batch; going backward every rank gets the mean gradient of all.

        Args:
            net: with what is trained of it; another one is needed when parts of it thaw.
            criterion: from images to the loss of its logits.
            images: two at least, or features, such as it will get.
        """
        objective = Objective(net, criterion)
        if self.world == 1:
            return objective
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # 2.13 renames what 2.10 needs
            shared = DistributedDataParallel(objective, broadcast_buffers=False, gradient_as_bucket_view=True)
        # After its first pass it sums gradients in the order in which they came, in other rounding where there are three
        # ranks or more. So a pass for nothing comes first, lest the first step after a resume differ.
        net.eval()
        shared(images[:2], torch.zeros(2, dtype=torch.int64, device=images.device)).backward()
        net.zero_grad()
        return shared

    @staticmethod
    def gradients_shared(objective: nn.Module, now: bool) -> AbstractContextManager[None]:
        """Within it going backward gives the mean gradient of all ranks, of this and the parts before; or adds to its own."""
        return nullcontext() if now or not isinstance(objective, DistributedDataParallel) else objective.no_sync()


ALONE = Ranks()


@contextmanager
def ranks_here(device: str) -> Iterator[Ranks]:
    """The ranks that torchrun, or `podium train --devices`, has started, with a connection between them; else one alone.

    Args:
        device: as in the settings; with GPUs each rank of a machine takes its own.

    Raises:
        MachineError: there are fewer GPUs than ranks, or a rank was lost on the way.
    """
    if not started_together():
        yield ALONE
        return
    ranks = Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    gpus = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    if gpus:
        local = int(os.environ.get("LOCAL_RANK", ranks.rank))
        if local >= gpus:
            raise MachineError(
                f"devices: rank {ranks.rank} is number {local + 1} on a machine of {gpus} GPUs", "start fewer"
            )
        torch.cuda.set_device(local)
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo")
        yield ranks
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # of a message, or of a gradient going backward
        if (shared := no_shared_memory(error)) is not None:
            raise shared from None
        if LOST.search(str(error)) is None:
            raise
        raise RankLost(ranks.rank) from error
    dist.destroy_process_group()
