"""Losses on logits: cross-entropy, and the loss of a student that imitates a teacher."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from podium.models.convnet import Loss

Criterion = Callable[[Tensor], Loss]  # from a batch's images (N, C, H, W) to the loss of their logits


EFFECTIVE = 0.999  # beta of the effective number of images [Cui et al. 2019, section 3.3]


def class_weights(kind: str, counts: Tensor) -> Tensor | None:
    """Return the weight of each class in the loss, (K,) float32, with mean 1 over the training images; None for "none".

    Args:
        kind: "inverse": 1/n; "sqrt": 1/sqrt(n); "effective": (1 - b) / (1 - b^n) with b = 0.999, after Cui et al. 2019,
            "Class-Balanced Loss Based on Effective Number of Samples", equation 6; or "none".
        counts: (K,) training images n of each class. A class without any weighs 1, since no image has it.
    """
    if kind == "none":
        return None
    n = counts.double().clamp(min=1)
    weight = {"inverse": 1 / n, "sqrt": n.rsqrt(), "effective": (1 - EFFECTIVE) / (1 - EFFECTIVE**n)}[kind]
    weight = weight * counts.sum() / (weight * counts).sum()
    return torch.where(counts > 0, weight, torch.ones_like(weight)).float()


def cross_entropy(label_smoothing: float = 0.0, weight: Tensor | None = None) -> Loss:
    """Return cross-entropy with labels (N,) or soft targets (N, K), in float32 [smoothing: Szegedy et al. 2015, section 7].

    Args:
        label_smoothing: share of the target that is spread over all classes.
        weight: of each class, (K,). The loss is the mean over the images, not over their weights, so that it does not depend
            on how a batch is split over devices or accumulated.
    """
    if weight is None:
        return lambda logits, y: F.cross_entropy(logits.float(), y, label_smoothing=label_smoothing)

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        padded = F.pad(weight, (0, logits.shape[1] - len(weight)), value=1.0)  # LeNet-5 adds a class that no image has
        return F.cross_entropy(logits.float(), y, padded, label_smoothing=label_smoothing, reduction="sum") / len(y)

    return loss


def criterion(
    label_smoothing: float,
    teach: Callable[[Tensor], Tensor] | None,
    alpha: float,
    t: float,
    weight: Tensor | None = None,
) -> Criterion:
    """Return the training criterion: cross-entropy, or with a teacher (1 - a) CE(z, y) + a T² KL(softmax(z'/T), softmax(z/T)).

    The loss with a teacher is that of Hinton et al. 2015, section 2.

    Args:
        label_smoothing: of the cross-entropy.
        teach: from images to the teacher's logits z' (N, K); None without a teacher.
        alpha: a, the teacher's share.
        t: the temperature T; its square keeps the size of the gradients.
        weight: of each class in the cross-entropy, (K,).
    """
    plain = cross_entropy(label_smoothing, weight)
    if teach is None:
        return lambda x: plain

    def imitation(x: Tensor) -> Loss:
        with torch.no_grad():
            target = (teach(x).float() / t).softmax(1)

        def loss(logits: Tensor, y: Tensor) -> Tensor:
            own = (logits[:, : target.shape[1]].float() / t).log_softmax(1)  # LeNet-5 adds a class that no image has
            return (1 - alpha) * plain(logits, y) + alpha * t * t * F.kl_div(own, target, reduction="batchmean")

        return loss

    return imitation
