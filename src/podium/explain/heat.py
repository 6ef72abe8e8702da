"""The methods that make a heat map, by name: from images to maps between 0 and 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from podium.explain.class_map import class_map
from podium.explain.gradients import grad_cam, integrated_gradients
from podium.explain.occlusion import occlusion
from podium.models.convnet import ConvNet

CLIPPED = 0.995  # quantile of a map of single pixels that counts as its largest value

Maps = Callable[[ConvNet, Tensor, Tensor], Tensor]  # (network, images (N, C, S, S), classes (N,)) -> maps (N, h, w)


def _by_pixel(net: ConvNet, x: Tensor, classes: Tensor) -> Tensor:
    """Integrated gradients summed over the channels, without their sign; the few largest pixels count alike."""
    size = integrated_gradients(net, x, classes).sum(1).abs()
    most = size.flatten(1).quantile(CLIPPED, dim=1)[:, None, None]
    return torch.minimum(size, most)


MAPS: dict[str, Maps] = {
    "grad-cam": grad_cam,
    "class-map": lambda net, x, classes: class_map(net, x, classes).heat_map,
    "occlusion": lambda net, x, classes: occlusion(net, x, classes).relu(),
    "integrated-gradients": _by_pixel,
}


def heat_maps(net: ConvNet, x: Tensor, classes: np.ndarray, method: str) -> np.ndarray:
    """Make a heat map of each image for a class.

    Args:
        net: the network, which is left as it is.
        x: (N, C, S, S), normalised.
        classes: (N,), the number of the class that is explained in each image.
        method: a key of `MAPS`.

    Returns:
        (N, h, w) float32 in 0..1 over the square that the network sees; the largest value of each map is 1, or the map is 0
        everywhere because nothing speaks for the class.
    """
    maps = MAPS[method](net, x, torch.as_tensor(classes))
    most = maps.amax((1, 2), keepdim=True)
    scaled = torch.where(most > 0, maps / most.clamp_min(torch.finfo(maps.dtype).tiny), torch.zeros_like(maps))
    return scaled.cpu().numpy()
