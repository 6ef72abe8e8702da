"""The processes ("ranks") that train one network together, and their communication; a single process has none.

Every rank takes its part of each batch, and all make the same decisions from the same numbers. Only rank 0 writes and prints.
Gradients, losses and signals of a step go by NCCL between GPUs and by gloo between CPUs; scores are on the CPU and go by gloo.
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
from podium.training.distributed.launch import GONE, LAUNCHED, refuse_to_share, started_together
from podium.training.losses import Criterion

# What NCCL says where another process is gone; anything else that it says is an error of its own.
GONE_AWAY = re.compile(
    r"ncclRemoteError|remote process exited|connection (was )?(closed|reset|refused)|broken pipe|timeout|timed out|abort",
    re.IGNORECASE,
)
PLACE = re.compile(r"(\[Rank \d+\] )?NCCL error in: \S+,")  # the line of torch's source that found it
SHOWN = 400  # characters of a message
LOST = re.compile(r"gloo|nccl|connection (was )?(closed|reset|refused)|broken pipe|store", re.IGNORECASE)


def nccls_own(message: str) -> str | None:
    """Return an error of NCCL for people; None where it is of something else, or where NCCL only found another rank gone."""
    if "nccl" not in message.lower() or GONE_AWAY.search(message) is not None:
        return None
    lines = " ".join(PLACE.sub("NCCL", message).split())
    return lines if len(lines) <= SHOWN else f"{lines[:SHOWN]}..."


class RankLost(MachineError):
    """This rank stops because another one is gone, which itself, or what started it, says why."""

    def __init__(self, rank: int) -> None:
        super().__init__(f"rank {rank}: another process of the run is gone", "go on from the last checkpoint: --resume")
        if LAUNCHED in os.environ:
            self.silent, self.exit_code = True, GONE


class Objective(nn.Module):
    """The training loss as the forward of a module, as DistributedDataParallel needs it.

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
    """One of the processes that share a run, and its communication with the others.

    Args:
        rank: number of this process, from 0.
        world: number of processes.
    """

    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def share(self, split: Split) -> Split:
        """Return this rank's images of a split that is evaluated: in order of rank the parts are the split, each image once.

        Raises:
            UsageError: there are fewer images than ranks.
        """
        if self.world == 1:
            return split
        if len(split) < self.world:
            raise UsageError(f"devices: {self.world} cannot share {len(split)} images", f"--devices {len(split)}")
        return split.select(np.array_split(np.arange(len(split)), self.world)[self.rank])

    def joined(self, part: np.ndarray) -> np.ndarray:
        """Return the arrays of all ranks, concatenated in order of rank; every rank gets the same.

        Args:
            part: of this rank, (N, ...) with any N.
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
        """Return the mean over the ranks, the same on all; not finite if one value is not."""
        return self._together(value, dist.ReduceOp.SUM) / self.world

    def agreed(self, loss: Tensor, signal: int) -> tuple[Tensor, Tensor]:
        """Return the mean loss and the largest signal over the ranks, () each, where the loss is: between GPUs by NCCL.

        Args:
            loss: of this rank, ().
            signal: the number of a signal that this rank has received, or 0.
        """
        own = torch.stack([loss, torch.full_like(loss, signal)])
        if self.world == 1:
            return own[0], own[1]
        rows = own.new_empty(2 * self.world)
        dist.all_gather_into_tensor(rows, own)
        losses, signals = rows.view(self.world, 2).unbind(1)
        return losses.mean(), signals.max()

    def largest(self, value: int) -> int:
        """Return the largest value over the ranks."""
        return int(self._together(value, dist.ReduceOp.MAX))

    def first(self, value: int) -> int:
        """Return the value of rank 0."""
        return int(self._together(value if self.leads else 0, dist.ReduceOp.SUM))

    def wait(self) -> None:
        """Wait until all ranks have come here."""
        self.largest(0)

    @contextmanager
    def rank_0_before(self) -> Iterator[None]:
        """Let rank 0 run the body of this context before the others run it."""
        if not self.leads:
            self.wait()
        yield
        if self.leads:
            self.wait()

    def _together(self, value: float, how: dist.ReduceOp.RedOpType) -> float:
        if self.world == 1:
            return value
        number = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(number, how)
        return number.item()

    def same_buffers(self, net: ConvNet) -> None:
        """Give all ranks the batch-norm statistics of rank 0, which are the saved ones, before a network is evaluated."""
        if self.world > 1:
            for buffer in net.buffers():
                dist.broadcast(buffer, 0)

    def objective(self, net: ConvNet, criterion: Criterion, images: Tensor) -> nn.Module:
        """Return a module from (x, y) to the loss of this rank's part of a batch; backward averages gradients over the ranks.

        Args:
            net: whose frozen parts stay the same; when some thaw, another module is needed.
            criterion: from images to the loss of their logits.
            images: at least two images, or features, of the kind that the steps will have.
        """
        objective = Objective(net, criterion)
        if self.world == 1:
            return objective
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # 2.13 renames what 2.10 needs
            shared = DistributedDataParallel(objective, broadcast_buffers=False, gradient_as_bucket_view=True)
        # From its second backward pass on it sums gradients in the order in which they came, which rounds differently with
        # three ranks or more. This pass is the first, so that the first step after a resume rounds like any other.
        net.eval()
        shared(images[:2], torch.zeros(2, dtype=torch.int64, device=images.device)).backward()
        net.zero_grad()
        return shared

    @staticmethod
    def gradients_shared(objective: nn.Module, now: bool) -> AbstractContextManager[None]:
        """Choose what backward does within this context.

        Args:
            objective: as `objective` returned it.
            now: average the gradients over the ranks, those of earlier parts included; else only add to this rank's own.
        """
        return nullcontext() if now or not isinstance(objective, DistributedDataParallel) else objective.no_sync()


ALONE = Ranks()


@contextmanager
def ranks_here(device: str) -> Iterator[Ranks]:
    """Connect the ranks that torchrun, or `podium train --devices`, has started; a single process is alone.

    Args:
        device: as in the settings; each rank takes a GPU of its own where there are GPUs.

    Yields:
        This rank.

    Raises:
        MachineError: there are fewer GPUs than ranks, or a rank was lost.
    """
    if not started_together():
        yield ALONE
        return
    ranks = Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    refuse_to_share(device, ranks.world)
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
    except RuntimeError as error:  # of the communication, in a call or in the backward pass
        if (shared := no_shared_memory(error)) is not None:
            raise shared from None
        if (said := nccls_own(str(error))) is not None:
            raise MachineError(
                said, "NCCL_DEBUG=INFO in the environment says more; --device cpu does without it"
            ) from error
        if LOST.search(str(error)) is None:
            raise
        raise RankLost(ranks.rank) from error
    dist.destroy_process_group()
