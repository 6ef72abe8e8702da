"""Rounding to int8 in the forward pass, which the backward pass ignores [Jacob et al. 2018, arXiv:1712.05877, section 3].

Every convolution and linear layer rounds its weights to int8, symmetrically with one scale a filter, and its input to uint8
with one scale and one zero point. Its output, or that of a following batch norm, is rounded unless a ReLU or a ReLU6 follows:
engines do not round before a rectifier. Folding a batch norm into a convolution multiplies a whole filter and its scale alike, so weights are
rounded as the folded ones will be.

No ranges are kept. The range of an activation is that of its batch, where the paper has a moving average: a step then depends
on weights and images alone, and quantisation measures the ranges again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from podium.models.modules import Branches, Residual, SqueezeExcitation

TINY = torch.finfo(torch.float32).tiny  # the scale where all is zero


def int8_weights(w: Tensor) -> Tensor:
    """Round weights (K, ...) to 255 steps from -max to max of each of the K filters."""
    w = w.float()
    scale = (w.detach().abs().flatten(1).amax(1) / 127).clamp(min=TINY)
    if not has_rounding(w.device):
        return rounded(w, scale.view(-1, *[1] * (w.ndim - 1)), None, -127, 127)
    # A zero point of float32: torch would read integers, to see whether they are in the range.
    return torch.fake_quantize_per_channel_affine(w, scale, torch.zeros_like(scale), 0, -127, 127)


def uint8_activations(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """Round activations to 256 steps of a range that include zero; values outside are clipped to the range.

    Args:
        x: of any shape.
        low, high: ends of the range; by default the least and the largest value of `x`.
    """
    x = x.float()
    if low is None or high is None:
        low, high = x.detach().aminmax()
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = ((high - low) / 255).clamp(min=TINY)
    zero = (-low / scale).round().to(torch.int32)
    if not has_rounding(x.device):
        return rounded(x, scale, zero, 0, 255)
    return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, 255)


def has_rounding(device: torch.device) -> bool:
    """Whether torch has its operations for fake quantisation on a device: not on Apple's GPUs."""
    return device.type != "mps"


def rounded(x: Tensor, scale: Tensor, zero: Tensor | None, low: int, high: int) -> Tensor:
    """What torch's operations for fake quantisation give, in value and gradient, by operations that every device has.

    Args:
        x: float32, of any shape.
        scale: of a step, broadcast over x.
        zero: the whole number that stands for 0; None: 0.
        low, high: the whole numbers that there are.
    """
    inverse, shift = 1 / scale, 0 if zero is None else zero
    steps = (x.detach() * inverse).round() + shift
    inside = (steps >= low) & (steps <= high)
    return _Straight.apply(x, (steps.clamp(low, high) - shift) * scale, inside)


class _Straight(torch.autograd.Function):
    """The rounded values forward; backward the gradient where the value was within the range [Jacob et al. 2018]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, inside: Tensor) -> Tensor:
        ctx.save_for_backward(inside)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None, None


class FakeConv2d(nn.Conv2d):
    """A convolution whose weights and input are rounded."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self._conv_forward(uint8_activations(x), int8_weights(self.weight), self.bias)


class FakeLinear(nn.Linear):
    """A linear layer whose weights and input are rounded."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return F.linear(uint8_activations(x), int8_weights(self.weight), self.bias)


ROUNDED: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: FakeConv2d, nn.Linear: FakeLinear}
NOT_BEFORE = nn.BatchNorm2d | nn.ReLU | nn.ReLU6
EXACT = {rounded: exact for exact, rounded in ROUNDED.items()}


def fake_int8(net: nn.Module) -> None:
    """Let a network's layers round, in place: modules, names and weights stay, the classes of the layers change."""
    layers = nn.Conv2d | nn.Linear | nn.BatchNorm2d
    pairs = itertools.pairwise([*_in_order(net), None])
    ends = [layer for layer, after in pairs if isinstance(layer, layers) and not isinstance(after, NOT_BEFORE)]
    for layer in dict.fromkeys(ends):
        layer.register_forward_hook(_round_output)
    _become(net, ROUNDED)


def _in_order(module: nn.Module) -> Iterator[nn.Module | None]:
    """The layers of a network in order of execution, each as often as it is used; None where branches part, meet or end."""
    children = [child for child in module._modules.values() if child is not None]
    apart = isinstance(module, Branches | Residual | nn.ModuleDict)
    if isinstance(module, SqueezeExcitation):  # its layers are a chain, which begins with a mean and ends in a product
        yield None
    if not children and not isinstance(module, nn.Identity | nn.Dropout):
        yield module
    for child in children:
        if apart:
            yield None
        yield from _in_order(child)
    if apart or isinstance(module, SqueezeExcitation):
        yield None


def exact(net: nn.Module) -> None:
    """Undo `fake_int8`, in place."""
    for layer in net.modules():
        for key in [key for key, hook in layer._forward_hooks.items() if hook is _round_output]:
            del layer._forward_hooks[key]
    _become(net, EXACT)


def _round_output(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return uint8_activations(output)


def _become(net: nn.Module, classes: dict[type[nn.Module], type[nn.Module]]) -> None:
    for layer in net.modules():
        layer.__class__ = classes.get(type(layer), type(layer))
