"""Networks whose weights are not drawn: on the meta device, to be counted, or to be filled with weights that are there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from podium.models.convnet import ConvNet


class _Undrawn(TorchFunctionMode):
    """Leaves parameters as they lie in memory: what the layers and the network's own initialisation write there is passed over."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        written = args[0] if args else (kwargs or {}).get("tensor")
        if isinstance(written, nn.Parameter) and _writes(func):
            return written
        return func(*args, **(kwargs or {}))


def _writes(func: Any) -> bool:
    """Whether a function of torch is one that changes its tensor's values, as `normal_` does."""
    name = func.__name__
    return name.endswith("_") and not name.endswith("__") and func is not Tensor.requires_grad_


def undrawn(build: Callable[[], ConvNet]) -> ConvNet:
    """Build a network that is filled with weights next; VGG-16's 138 million numbers take a second to draw.

    Args:
        build: makes the network.

    Returns:
        The network. Its buffers are those of a new one, its parameters are whatever was in memory. torch's random numbers are
        those that would come next without it.
    """
    with _Undrawn():
        return build()


def meta(build: Callable[[], ConvNet]) -> ConvNet:
    """Build a network on the meta device, without memory for weights, to count parameters and measure shapes."""
    with _Undrawn(), torch.device("meta"):
        return build()
