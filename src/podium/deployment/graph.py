"""The module that is exported: from an image to probabilities, with batch norms folded into convolutions."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from podium.data.preprocessing import Preprocessing
from podium.explain.class_map import ClassMap
from podium.runs.bundle import Bundle


class Graph(nn.Module):
    """An image to logits and probabilities, both (N, K) float32, and to a heat map (N, h, w) where it has one.

    Args:
        net: in evaluation mode; a `ConvNet` where it has a heat map.
        preprocessing: whose normalisation and order of channels it does itself.
        inside: takes (N, S, S, C) uint8 in RGB; else (N, C, S, S) float32, normalised.
        temperature: what the logits are divided by before their softmax; the logits that it returns stay as they are.
        heat_map: give the heat map of the class with the largest logit too.
    """

    scale: Tensor
    offset: Tensor

    def __init__(
        self,
        net: nn.Module,
        preprocessing: Preprocessing,
        inside: bool,
        temperature: float = 1.0,
        heat_map: bool = False,
    ) -> None:
        super().__init__()
        p = preprocessing
        self.temperature = temperature
        self.inside, self.flip, self.heat_map = inside, p.channel_order == "bgr", heat_map
        self.net = ClassMap(net) if heat_map else net  # type: ignore[arg-type]
        for name, values in zip(("scale", "offset"), p.scale_and_offset(), strict=True):
            self.register_buffer(name, torch.from_numpy(values).reshape(1, -1, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:  # noqa: D102
        x = image
        if self.inside:
            x = image.permute(0, 3, 1, 2).float()
            x = (x.flip(1) if self.flip else x) * self.scale + self.offset
        logits, *heat_map = self.net(x) if self.heat_map else (self.net(x),)
        calibrated = logits if self.temperature == 1 else logits / self.temperature
        return logits, calibrated.softmax(1), *heat_map

    def example(self, size: int, channels: int, batch: int = 2) -> Tensor:
        """A black image to trace with, of that side; 2 of them, since 1 would be taken for a constant."""
        if self.inside:
            return torch.zeros(batch, size, size, channels, dtype=torch.uint8)
        return torch.zeros(batch, channels, size, size)


def folded(net: nn.Module) -> nn.Module:
    """A copy in which every batch norm that follows a convolution is a part of its weights.

    A norm that stands before its convolution, as in ResNet v2 and DenseNet, stays: a rectifier is between them.
    """
    net = copy.deepcopy(net).eval()
    for row in [m for m in net.modules() if type(m).forward is nn.Sequential.forward]:
        for (name, layer), (after, norm) in itertools.pairwise(list(row.named_children())):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                fused = fuse_conv_bn_eval(layer.double(), norm.double())  # float64: the product is rounded once
                row._modules[name], row._modules[after] = fused.float(), nn.Identity()
    return net


def graph_of(bundle: Bundle, inside: bool, heat_map: bool = False) -> Graph:
    """What is exported of a bundle: auxiliary classifiers left out, batch norms folded.

    Raises:
        UsageError: a heat map is wanted of a network whose last map is a single place.
    """
    net = copy.deepcopy(bundle.model).cpu().strip()
    graph = Graph(folded(net).float(), bundle.preprocessing, inside, bundle.rule.temperature, heat_map)
    return graph.eval().requires_grad_(False)


@torch.inference_mode()
def answer(bundle: Bundle, squares: np.ndarray, heat_map: bool = False) -> tuple[np.ndarray, ...]:
    """Logits and probabilities (N, K) as the bundle computes them in float32 on the CPU; exports are compared with these.

    Args:
        squares: (N, S, S, C) uint8 in RGB.
        heat_map: give the heat maps (N, h, w) too.
    """
    net = bundle.model.cpu().float().eval()
    plain = Graph(net, bundle.preprocessing, True, bundle.rule.temperature, heat_map)
    parts = [plain(torch.tensor(squares[i : i + 16])) for i in range(0, len(squares), 16)]
    return tuple(torch.cat(part).numpy() for part in zip(*parts, strict=True))
