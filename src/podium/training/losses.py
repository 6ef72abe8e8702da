"""Losses on logits."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from podium.models.convnet import Loss


def cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """Cross-entropy with labels (N,) or soft targets (N, K), in float32 [smoothing: Szegedy et al. 2015, section 7]."""

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(logits.float(), y, label_smoothing=label_smoothing)

    return loss
