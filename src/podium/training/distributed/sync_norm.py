"""Batch norm over the images of all ranks, on CPUs too: torch's nn.SyncBatchNorm runs on GPUs only.

All ranks have the same number of images of a step, which `training.fitting` checks, so the mean over all images is the mean of
the ranks' means.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn


class SyncBatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d whose statistics in training are those of all ranks. Input (N, C, H, W), N images of this rank."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        if not self.training or self.running_mean is None or self.running_var is None:
            return super().forward(x)
        local = torch.stack(torch.var_mean(x.detach().float(), (0, 2, 3), correction=0)).flatten()
        ranks = [torch.empty_like(local) for _ in range(dist.get_world_size())]
        dist.all_gather(ranks, local)
        variances, means = torch.stack(ranks).unflatten(1, (2, -1)).unbind(1)  # (ranks, C) each
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        count = len(ranks) * x.numel() // x.shape[1]
        with torch.no_grad():
            momentum = self.momentum if self.momentum is not None else 0.1
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * (count / max(1, count - 1)), momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        return _Normalized.apply(x, mean, variance, self.weight, self.bias, self.eps, count)


class OnGPUs(nn.SyncBatchNorm, nn.BatchNorm2d):
    """torch's own, over all ranks of the run, for a layer that was made as nn.BatchNorm2d."""

    process_group = None  # all; nn.BatchNorm2d's __init__ has not set it


class _Normalized(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias, where mean and variance depend on the x of every rank."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, eps: float, count: int
    ) -> Tensor:
        ctx.save_for_backward(x, mean, variance, weight)
        ctx.eps, ctx.count = eps, count
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        # Ioffe and Szegedy 2015, section 3, with both sums over all ranks.
        x, mean, variance, weight = ctx.saved_tensors
        gradient = gradients[0].float()
        scale = (variance + ctx.eps).rsqrt()
        normalized = (x.float() - mean[:, None, None]) * scale[:, None, None]
        own = torch.stack([gradient.sum((0, 2, 3)), (gradient * normalized).sum((0, 2, 3))])  # (2, C)
        total = own.clone()
        dist.all_reduce(total)
        shift, slope = (total / ctx.count)[:, :, None, None].unbind(0)
        into_x = (gradient - shift - normalized * slope) * (weight * scale)[:, None, None]
        # weight and bias get this rank's share: DistributedDataParallel averages them as it does every parameter
        return into_x.to(x.dtype), None, None, own[1].to(weight.dtype), own[0].to(weight.dtype), None, None


def synchronize(net: nn.Module) -> None:
    """Let every nn.BatchNorm2d of a network take its statistics over all ranks, in place; names and weights stay.

    On CUDA they become torch's, whose kernels exchange the statistics by NCCL in one pass.
    """
    for module in net.modules():
        if type(module) is nn.BatchNorm2d:
            on_gpu = module.running_mean is not None and module.running_mean.is_cuda
            module.__class__ = OnGPUs if on_gpu else SyncBatchNorm2d
