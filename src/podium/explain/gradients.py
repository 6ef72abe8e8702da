"""Explanations by gradients: Grad-CAM and integrated gradients."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from podium.explain.last_map import as_input, last_map, logits_from, scores, undisturbed
from podium.models.convnet import ConvNet

STEPS = 50  # of the integral
TOGETHER = 10  # of these in a batch


def grad_cam(net: ConvNet, x: Tensor, classes: Tensor | None = None) -> Tensor:
    """Compute Grad-CAM maps: the sum of feature maps, each weighed by its mean gradient, where it raises the logit of a class.

    Selvaraju et al. 2017, "Grad-CAM", Eq. 1 and 2, on the map that `last_map` finds.

    Args:
        net: the network, which is left as it is.
        x: (N, C, S, S), normalised.
        classes: (N,), whose logits are explained; None: the most probable ones.

    Returns:
        (N, h, w) float32, at least 0, in the units of the logits.
    """
    with undisturbed(net):
        with torch.no_grad():
            place, features = last_map(net, as_input(net, x))
        features.requires_grad_()
        score, _ = scores(_set_apart(net, logits_from(net, place, features)), classes)
        (gradient,) = torch.autograd.grad(score.sum(), features)
        weighed = gradient.mean((2, 3), keepdim=True) * features.detach()
        return weighed.sum(1).relu().float()


def _set_apart(net: ConvNet, logits: Tensor) -> Tensor:
    """The logits (N, K) of which Grad-CAM takes gradients: those of LeNet-5, which are -|hidden - code|², less their mean.

    A distance has no gradient where a certain answer lies, at its code. What tells the classes apart is linear in the hidden
    values: their square is alike in all classes.
    """
    return logits - logits.mean(1, keepdim=True) if hasattr(net.head.classifier, "codes") else logits


def integrated_gradients(net: ConvNet, x: Tensor, classes: Tensor | None = None) -> Tensor:
    """Compute integrated gradients: what each number of an image adds to a logit, along a straight line from the mean colour.

    Sundararajan et al. 2017, "Axiomatic attribution for deep networks", Eq. 1, with the baseline 0 of normalised images, by
    Gauss-Legendre quadrature at 50 points. The numbers of an image sum to its logit less that of the baseline.

    Args:
        net: the network, which is left as it is.
        x: (N, C, S, S), normalised.
        classes: (N,), whose logits are explained; None: the most probable ones.

    Returns:
        (N, C, S, S) float32, in the units of the logits.
    """
    with undisturbed(net):
        x = as_input(net, x)
        with torch.no_grad():
            _, chosen = scores(net(x), classes)
        nodes, weights = np.polynomial.legendre.leggauss(STEPS)
        points = torch.tensor((nodes + 1) / 2, dtype=x.dtype, device=x.device)
        shares = torch.tensor(weights / 2, dtype=x.dtype, device=x.device)
        return torch.stack([_integral(net, one, label, points, shares) for one, label in zip(x, chosen, strict=True)])


def _integral(net: ConvNet, image: Tensor, label: Tensor, points: Tensor, shares: Tensor) -> Tensor:
    """The attributions (C, S, S) of one image; `points` on the line and their `shares`, both (STEPS,)."""
    total = torch.zeros_like(image, dtype=torch.float32)
    for at, share in zip(points.split(TOGETHER), shares.split(TOGETHER), strict=True):
        batch = (at[:, None, None, None] * image).requires_grad_()
        (gradient,) = torch.autograd.grad(net(batch)[:, label].sum(), batch)
        total += (share[:, None, None, None] * gradient).sum(0).float()
    return total * image.float()
