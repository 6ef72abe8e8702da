"""Occlusion: how much the logit of a class falls when a square of the image is covered."""

from __future__ import annotations

import torch
from torch import Tensor

from podium.explain.last_map import as_input, scores, undisturbed
from podium.models.convnet import ConvNet

PARTS = 5  # of the image's side make the side of a window
TOGETHER = 32  # covered images in a batch


def window_of(size: int) -> tuple[int, int]:
    """Side and stride of the windows, in pixels, for an image of side `size`: a fifth of it, and half of that."""
    side = max(1, round(size / PARTS))
    return side, max(1, side // 2)


def occlusion(net: ConvNet, x: Tensor, classes: Tensor | None = None) -> Tensor:
    """Cover each place of an image with the mean colour, and see how far a logit falls.

    Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", section 4.2. A pixel's value is the mean
    over the windows that cover it.

    Args:
        net: the network, which is left as it is.
        x: (N, C, S, S), normalised, in which 0 is the mean colour.
        classes: (N,), whose logits are explained; None: the most probable ones.

    Returns:
        (N, S, S) float32, in the units of the logits; negative where the covered part spoke against the class.
    """
    with undisturbed(net), torch.no_grad():
        x = as_input(net, x)
        whole, chosen = scores(net(x), classes)
        return torch.stack([_of_one(net, *each) for each in zip(x, chosen, whole.float(), strict=True)])


def _of_one(net: ConvNet, image: Tensor, label: Tensor, whole: Tensor) -> Tensor:
    """The map (S, S) of one image (C, S, S), whose logit is `whole`."""
    side, stride = window_of(image.shape[-1])
    starts = range(0, max(1, image.shape[-1] - side + stride), stride)  # the last window reaches the edge, or over it
    places = [(top, left) for top in starts for left in starts]
    fall, count = (torch.zeros(image.shape[-2:], device=image.device) for _ in range(2))
    for first in range(0, len(places), TOGETHER):
        some = places[first : first + TOGETHER]
        batch = image.repeat(len(some), 1, 1, 1)
        for covered, (top, left) in zip(batch, some, strict=True):
            covered[:, top : top + side, left : left + side] = 0
        for logit, (top, left) in zip(net(batch)[:, label].float(), some, strict=True):
            fall[top : top + side, left : left + side] += whole - logit
            count[top : top + side, left : left + side] += 1
    return fall / count
