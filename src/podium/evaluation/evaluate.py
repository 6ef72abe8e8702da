"""Evaluate a network on a split. Training, `podium eval`, comparisons and exports all call this one function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from podium.data.loader import Loader
from podium.devices import float32
from podium.errors import no_answer
from podium.evaluation.cost import Cost
from podium.evaluation.crops import averaged, parse_crops, views
from podium.evaluation.metrics import top_k
from podium.models.convnet import ConvNet

LARGEST_MAPS = 512 << 20  # bytes that the largest feature maps of an evaluation batch may take


def evaluation_batch(cost: Cost) -> int:
    """Return how many images to evaluate at a time: many for small networks, fewer where a network's maps fill memory."""
    wanted = max(16, min(500, 5_000_000_000 // max(1, cost.macs)))
    return max(1, min(wanted, LARGEST_MAPS // max(1, cost.map_bytes)))


@dataclass(frozen=True)
class Outputs:
    """The logits of a network on a split, in the split's order.

    Args:
        logits: (N, K) float32.
        labels: (N,) int64.
    """

    logits: np.ndarray
    labels: np.ndarray

    @property
    def brief(self) -> dict[str, float]:
        """top1, top5 (of at most K classes) and the mean cross-entropy."""
        logits, labels = torch.from_numpy(self.logits), torch.from_numpy(self.labels)
        return {
            "top1": top_k(self.logits, self.labels, 1),
            "top5": top_k(self.logits, self.labels, 5),
            "loss": float(torch.nn.functional.cross_entropy(logits, labels)),
        }


@torch.inference_mode()
def evaluate(
    net: ConvNet,
    loader: Loader,
    progress: Callable[[int, int], None] | None = None,
    crops: int | str = 1,
    mirrored: bool = True,
) -> Outputs:
    """Compute the logits of every image of a split, in the split's order, in float32 and evaluation mode.

    Args:
        net: left in the mode it was in.
        loader: made without augmentation.
        progress: called with (images done, images in all) after each batch.
        crops: 1; or 10, 144 or "dense" (`evaluation.crops`): an image's probabilities are averaged over its views, and its
            logits are the logarithm of that.
        mirrored: whether the views are also seen mirrored.

    Raises:
        UsageError: crops is none of these.
        NumericError: a logit is not finite; names the image.
    """
    crops = parse_crops(crops)
    training = net.training
    net.eval()
    called = net.to_dense().eval() if crops == "dense" else net
    logits, labels, done = [], [], 0
    for batch in loader.epoch() if crops == 1 else views(loader, crops, mirrored):
        with float32():
            scores = called(batch.x).float()
        scores = (scores if crops == 1 else averaged(scores, len(batch.y))).cpu()
        if not torch.isfinite(scores).all():
            wrong = int((~torch.isfinite(scores)).any(1).nonzero()[0])
            net.train(training)
            raise no_answer(loader.split.name_of(int(batch.index[wrong])))
        logits.append(scores)
        labels.append(batch.y.cpu())
        done += len(batch.y)
        if progress is not None:
            progress(done, len(loader.split))
    net.train(training)
    return Outputs(torch.cat(logits).numpy(), torch.cat(labels).numpy())
