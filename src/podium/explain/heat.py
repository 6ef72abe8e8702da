"""The methods that make a heat map, by name: from images to maps between 0 and 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from podium.explain.class_map import class_map, trunk_and_pool
from podium.explain.gradients import grad_cam, integrated_gradients
from podium.explain.last_map import as_input, last_map, pieces
from podium.explain.occlusion import occlusion
from podium.models.convnet import ConvNet

MORE = 64  # pixels that are added to an image to see how many places its map gains; a multiple of every step
CLIPPED = 0.995  # quantile of a map of single pixels that counts as its largest value

Maps = Callable[[ConvNet, Tensor, Tensor], Tensor]  # (network, images (N, C, S, S), classes (N,)) -> maps (N, h, w)


def _by_pixel(net: ConvNet, x: Tensor, classes: Tensor) -> Tensor:
    """Integrated gradients summed over the channels, without their sign; the few largest pixels count alike."""
    size = integrated_gradients(net, x, classes).sum(1).abs()
    most = size.flatten(1).quantile(CLIPPED, dim=1)[:, None, None]
    return _scaled(torch.minimum(size, most))


def _without_gradients(net: ConvNet, x: Tensor, classes: Tensor) -> Tensor:
    """Class maps, scaled as exported files have them."""
    x = as_input(net, x)
    return class_map(net, x, classes.to(x.device)).heat_map.float()


def _scaled(maps: Tensor) -> Tensor:
    """Maps (N, h, w) without what is below 0, each with its largest value at 1; a map without any stays 0."""
    most = maps.amax((1, 2), keepdim=True)
    return torch.where(most > 0, maps.relu() / most.clamp_min(torch.finfo(maps.dtype).tiny), torch.zeros_like(maps))


MAPS: dict[str, Maps] = {
    "grad-cam": lambda net, x, classes: _scaled(grad_cam(net, x, classes)),
    "class-map": _without_gradients,
    "occlusion": lambda net, x, classes: _scaled(occlusion(net, x, classes)),
    "integrated-gradients": _by_pixel,
}


def methods_for(net: ConvNet) -> tuple[str, ...]:
    """The methods by which a network is explained, the usual one first.

    That is Grad-CAM, and the class map where the classifier is not linear: in LeNet-5 of 1998, in which Grad-CAM points to the
    right place in three of four images (benchmarks/pointing.py).
    """
    usual = "grad-cam" if isinstance(net.head.classifier, nn.Linear) else "class-map"
    return (usual, *(name for name in MAPS if name != usual))


@torch.no_grad()
def span_of(net: ConvNet, method: str, size: int) -> float:
    """How much of the image a map covers: its side as a share of the image's, in whose middle it lies.

    Places of a feature map are as far apart as the strides before it say. Seven places, 32 pixels apart, just cover an image of
    224 pixels; six of them, which convolutions without padding leave of 227, cover 0.85 of its side.

    Args:
        net: the network.
        method: a key of `MAPS`.
        size: of the image, in pixels.
    """
    skeleton = net.skeleton().eval()
    if method == "grad-cam":
        place, _ = last_map(skeleton, skeleton.no_images(size))
        trunk = nn.Sequential(*pieces(skeleton)[: place + 1])
    elif method == "class-map":
        trunk, _ = trunk_and_pool(skeleton)
    else:
        return 1.0
    places, more = (trunk(skeleton.no_images(side)).shape[-1] for side in (size, size + MORE))
    return float(places * MORE / (more - places) / size)


def heat_maps(net: ConvNet, x: Tensor, classes: np.ndarray, method: str) -> np.ndarray:
    """Make a heat map of each image for a class.

    Args:
        net: the network, which is left as it is.
        x: (N, C, S, S), normalised.
        classes: (N,), the number of the class that is explained in each image.
        method: a key of `MAPS`.

    Returns:
        (N, h, w) float32 in 0..1 over the square that the network sees. The largest value of each map is 1; it is 0 where
        nothing speaks for the class, and "class-map" has less than 1 where hardly anything does.
    """
    return MAPS[method](net, x, torch.as_tensor(classes)).cpu().numpy()
