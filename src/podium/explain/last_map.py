"""The feature map that an explanation reads: one rule for all networks, and the network cut there into two parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from podium.devices import channels_last_is_right, float32
from podium.models.convnet import ConvNet

POOLS = (nn.MaxPool2d, nn.AvgPool2d)
LEAST = 3  # places a side of a map that can say where something is


def pieces(net: ConvNet) -> list[nn.Module]:
    """The stem and the stages of a network in order; a pool that ends one of them is a piece of its own.

    The map before that pool is twice as fine, and explains as well what is pooled from it.
    """
    found: list[nn.Module] = []
    for part in (net.stem, *net.stages.children()):
        layers = list(part.children()) if isinstance(part, nn.Sequential) else []
        if len(layers) > 1 and isinstance(layers[-1], POOLS):
            found += [nn.Sequential(*layers[:-1]), layers[-1]]
        else:
            found.append(part)
    return found


def last_map(net: ConvNet, x: Tensor) -> tuple[int, Tensor]:
    """Compute the feature map that an explanation reads.

    It is the output of the last of `pieces`, pools left out, whose map has at least 3 x 3 places; where none has, that of the
    piece whose map has most. For a network at its canonical size this is its last map, before any pool.

    Args:
        net: the network.
        x: (N, C, S, S), normalised.

    Returns:
        The number of the piece, and its map (N, C', h, w), a copy that no later layer changes in place.
    """
    if net.memory_format is not None:
        x = x.contiguous(memory_format=net.memory_format)
    place, kept, side = 0, x, 0
    for number, piece in enumerate(pieces(net)):
        x = piece(x)
        own = min(x.shape[-2:])
        if not isinstance(piece, POOLS) and (own >= LEAST or own > side):
            place, kept, side = number, x.clone(), own
    return place, kept


def logits_from(net: ConvNet, place: int, features: Tensor) -> Tensor:
    """Logits (N, K) from the map of piece `place`, which is left as it is."""
    x = features.clone()  # the next layer may work in place
    for piece in pieces(net)[place + 1 :]:
        x = piece(x)
    return net.head(x)


@contextmanager
def undisturbed(net: ConvNet) -> Iterator[None]:
    """Put a network into evaluation mode, with gradients and in float32, and leave it as it was found."""
    modes = [(module, module.training) for module in net.modules()]
    device = next(net.parameters()).device.type
    net.eval()
    try:
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device, enabled=False), float32():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def as_input(net: ConvNet, x: Tensor) -> Tensor:
    """Images where the network's weights are, in their precision, as a tensor that can have gradients."""
    weight = next(net.parameters())
    x = x.detach().to(weight.device, weight.dtype).clone()
    return x if channels_last_is_right(x.device) else x.contiguous()


def scores(logits: Tensor, classes: Tensor | None) -> tuple[Tensor, Tensor]:
    """The logits (N,) that are explained, and their classes (N,): those given, or the most probable."""
    chosen = logits.detach().argmax(1) if classes is None else classes.to(logits.device)
    return logits.gather(1, chosen[:, None])[:, 0], chosen
