"""int8's rounding on the way forward, as if it were not there on the way back [Jacob et al. 2018, arXiv:1712.05877, section 3].

Every convolution and linear layer rounds its weights to int8, a scale for each filter and zero in the middle, and its input to
uint8, one scale and one zero for all of it. Its output, or that of the batch norm behind it, is rounded where no rectifier
follows, before which an engine does not round. A batch norm that is folded into a convolution later multiplies a whole filter, and
its scale with it, so the weights are rounded as the folded ones will be.

Of ranges nothing is kept: those of activations are the batch's own, where the paper has a moving average. What ships has ranges
that are measured again, and a step stays a function of weights and images alone.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TINY = torch.finfo(torch.float32).tiny  # the scale where all is zero


def int8_weights(w: Tensor) -> Tensor:
    """Weights (K, ...) on the nearest of 255 steps from -max to max of each of the K filters."""
    w = w.float()
    scale = (w.detach().abs().flatten(1).amax(1) / 127).clamp(min=TINY)
    return torch.fake_quantize_per_channel_affine(w, scale, torch.zeros_like(scale, dtype=torch.int32), 0, -127, 127)


def uint8_activations(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """Activations on the nearest of 256 steps of a range, of which zero is one; what is outside goes to its end.

    Args:
        x: any shape.
        low, high: the range; that of `x` if None.
    """
    x = x.float()
    if low is None or high is None:
        low, high = x.detach().aminmax()
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = ((high - low) / 255).clamp(min=TINY)
    zero = (-low / scale).round().to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, 255)


class FakeConv2d(nn.Conv2d):
    """A convolution of rounded numbers."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self._conv_forward(uint8_activations(x), int8_weights(self.weight), self.bias)


class FakeLinear(nn.Linear):
    """A linear layer of rounded numbers."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return F.linear(uint8_activations(x), int8_weights(self.weight), self.bias)


ROUNDED: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: FakeConv2d, nn.Linear: FakeLinear}
EXACT = {rounded: exact for exact, rounded in ROUNDED.items()}


def fake_int8(net: nn.Module) -> None:
    """Let a network's layers round, in place: the same modules and weights, of another class.

    What follows a layer is taken from the order in which modules are declared.
    """
    leaves = [m for m in net.modules() if not any(m.children()) and not isinstance(m, nn.Identity | nn.Dropout)]
    for layer, after in itertools.pairwise([*leaves, None]):
        layers = nn.Conv2d | nn.Linear | nn.BatchNorm2d
        if isinstance(layer, layers) and not isinstance(after, nn.BatchNorm2d | nn.ReLU):
            layer.register_forward_hook(_round_output)
    _become(net, ROUNDED)


def exact(net: nn.Module) -> None:
    """Take the rounding away again."""
    for layer in net.modules():
        for key in [key for key, hook in layer._forward_hooks.items() if hook is _round_output]:
            del layer._forward_hooks[key]
    _become(net, EXACT)


def _round_output(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return uint8_activations(output)


def _become(net: nn.Module, classes: dict[type[nn.Module], type[nn.Module]]) -> None:
    for layer in net.modules():
        layer.__class__ = classes.get(type(layer), type(layer))
