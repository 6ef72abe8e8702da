"""Losses on logits: cross-entropy, and the loss of a student that imitates a teacher."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from podium.models.convnet import Loss

Criterion = Callable[[Tensor], Loss]  # from a batch's images (N, C, H, W) to the loss of their logits


def cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """Return cross-entropy with labels (N,) or soft targets (N, K), in float32 [smoothing: Szegedy et al. 2015, section 7].

    Args:
        label_smoothing: share of the target that is spread over all classes.
    """

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(logits.float(), y, label_smoothing=label_smoothing)

    return loss


def criterion(label_smoothing: float, teach: Callable[[Tensor], Tensor] | None, alpha: float, t: float) -> Criterion:
    """Return the training criterion: cross-entropy, or with a teacher (1 - a) CE(z, y) + a T² KL(softmax(z'/T), softmax(z/T)).

    The loss with a teacher is that of Hinton et al. 2015, section 2.

    Args:
        label_smoothing: of the cross-entropy.
        teach: from images to the teacher's logits z' (N, K); None without a teacher.
        alpha: a, the teacher's share.
        t: the temperature T; its square keeps the size of the gradients.
    """
    plain = cross_entropy(label_smoothing)
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
