"""The heat map of a class without gradients, as a torch module that can be exported: what each place of the last map adds to a logit.

Where the head is an average pool and one linear layer, this is the class activation map of Zhou et al. 2016, "Learning deep
features for discriminative localization", Eq. 2: the class's row of the linear layer weighs the channels of the last map. Fully
connected heads have no such row. There each value of the last hidden layer counts as much as it adds to the logit, and is followed
back to the channels through the layers before it, which are taken for linear and, where a pool is between, averaged over the
places. These are one small matrix, so that no large layer is read a second time.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from podium.errors import UsageError
from podium.explain.last_map import as_input, pieces, undisturbed
from podium.models.convnet import ConvNet, Head

FAINT = 0.1  # of the largest evidence against the class: evidence for it that is smaller is not scaled up to 1


class Mapped(NamedTuple):
    """What `ClassMap` computes.

    Args:
        logits: (N, K).
        heat_map: (N, h, w) float32 in 0..1. The largest value is 1, or less where hardly anything speaks for the class.
    """

    logits: Tensor
    heat_map: Tensor


class ClassMap(nn.Module):
    """A network that gives a heat map beside its logits; it shares the network's weights.

    Args:
        net: in evaluation mode.

    Raises:
        UsageError: the last map of the network is a single place at its input size.
    """

    mixed: Tensor | None

    def __init__(self, net: ConvNet) -> None:
        super().__init__()
        sides = map_sides(net)
        if max(sides) == 1:
            name, size = net.spec["model"], net.spec["image_size"]
            what = f"{name} at {size} px has no heat map: its last feature map is a single place"
            raise UsageError(
                what, "train it on larger images, explain the run by grad-cam, or export without a heat map"
            )
        self.trunk, self.pool = trunk_and_pool(net)
        self.head = net.head
        self.register_buffer("mixed", mixed_layers(net.head, reads_places(net, sides)), persistent=False)

    def forward(self, x: Tensor, classes: Tensor | None = None) -> Mapped:
        """Compute logits and heat maps.

        Args:
            x: (N, C, S, S), normalised.
            classes: (N,), whose heat maps are wanted; None: those of the largest logits.
        """
        features = self.trunk(x)
        hidden = self.head.hidden(self.head.pool(self.pool(features)))
        logits = self.head.classifier(hidden)
        weights = self._weights(hidden, logits.argmax(1) if classes is None else classes)
        places = features.flatten(2)  # (N, C, h * w)
        evidence = (weights.unflatten(1, (places.shape[1], -1)) * places).sum(1)
        least = FAINT * evidence.abs().amax(1, keepdim=True)
        scale = torch.maximum(evidence.amax(1, keepdim=True), least).clamp_min(torch.finfo(evidence.dtype).tiny)
        return Mapped(logits, (evidence.relu() / scale).unflatten(1, features.shape[2:]).float())

    def _weights(self, hidden: Tensor, classes: Tensor) -> Tensor:
        """How much each channel of the last map adds to the logit of each image's class (N, C), or that by place (N, C * h * w).

        Args:
            hidden: (N, D), what the classifier reads.
            classes: (N,).
        """
        codes = getattr(self.head.classifier, "codes", None)
        if (
            codes is not None
        ):  # of LeNet-5, whose logit -|hidden - code|² is 2 code · hidden and what all classes have alike
            slope = 1 - (hidden / 1.7159).square()  # of its tanh, up to a factor
            return (codes[classes] * slope) @ self.mixed
        row: Tensor = self.head.classifier.weight[classes]  # type: ignore[index]
        return row if self.mixed is None else (row * hidden) @ self.mixed


def class_map(net: ConvNet, x: Tensor, classes: Tensor | None = None) -> Mapped:
    """Compute logits and heat maps of images without gradients, by `ClassMap`.

    Args:
        net: the network, which is left as it is.
        x: (N, C, S, S), normalised.
        classes: (N,), whose heat maps are wanted; None: those of the largest logits.

    Raises:
        UsageError: the last map of the network is a single place at its input size.
    """
    with undisturbed(net), torch.no_grad():
        x = as_input(net, x)
        return ClassMap(net)(x, None if classes is None else classes.to(x.device))


def trunk_and_pool(net: ConvNet) -> tuple[nn.Sequential, nn.Module]:
    """A network's layers up to its last map, and what lies between this map and the head.

    The last map is that before the pool that ends the last stage, where one does, as in VGG: a pool changes no mean gradient, as
    it passes each gradient on to places that it read.
    """
    *trunk, last = pieces(net)
    if isinstance(last, nn.MaxPool2d | nn.AvgPool2d):
        return nn.Sequential(*trunk), last
    return nn.Sequential(*trunk, last), nn.Identity()


def map_sides(net: ConvNet, size: int | None = None) -> tuple[int, int]:
    """Height and width of a network's last map; a single place cannot show where something is.

    Args:
        net: the network.
        size: of the image, in pixels; the network's own if None.
    """
    skeleton, side = net.skeleton().eval(), size or net.spec["image_size"]
    with torch.no_grad():
        height, width = trunk_and_pool(skeleton)[0](skeleton.no_images(side)).shape[2:]
    return height, width


@torch.no_grad()
def mixed_layers(head: Head, by_place: bool) -> Tensor | None:
    """The hidden layers of a head as one matrix, without their activations; None of a head that has none.

    Args:
        head: whose first hidden layer reads several places of each channel.
        by_place: give each place of the last map its own weight (D, C * h * w), else their mean (D, C).
    """
    weights = [
        layer.weight.cpu().double() for layer in head.hidden.modules() if isinstance(layer, nn.Linear | nn.Conv2d)
    ]
    if not weights:
        return None
    first, *rest = weights
    side = getattr(head.pool, "side", 1)  # of the grid that a linear layer reads; a convolution has its own
    product = first.flatten(2) if first.ndim > 2 else first.unflatten(1, (-1, side**2))
    product = product.flatten(1) if by_place else product.mean(2)
    for weight in rest:
        product = weight @ product
    return product.float().to(next(head.parameters()).device)


def reads_places(net: ConvNet, sides: tuple[int, int]) -> bool:
    """Whether the hidden layers read the last map itself, of these sides, as LeNet's do: no pool is between."""
    _, pool = trunk_and_pool(net)
    grid = getattr(net.head.pool, "side", None) or getattr(net.head.pool, "output_size", None)
    return isinstance(pool, nn.Identity) and sides == (grid, grid)
