"""Building blocks that several papers share."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from podium.models.modules import Branches

Side = int | tuple[int, int]
Padding = Literal["same", "ceil", "half", "valid"]  # of a max pool


def conv(
    inputs: int,
    outputs: int,
    kernel: Side,
    stride: int = 1,
    *,
    padding: Side | None = None,
    groups: int = 1,
    bias: bool = False,
) -> nn.Conv2d:
    """A convolution that keeps the size at stride 1 by default, and has no bias by default, as a batch norm would undo it."""
    if padding is None:
        padding = kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=bias)


def conv_norm(
    inputs: int,
    outputs: int,
    kernel: Side,
    stride: int = 1,
    *,
    padding: Side | None = None,
    eps: float = 1e-3,
    act: bool = True,
    bias: bool = False,
) -> nn.Sequential:
    """conv-BN-ReLU, as the Inceptions have it.

    Args:
        padding: keeps the size at stride 1 by default; 0 is what TensorFlow calls VALID.
        eps: of the batch norm; 1e-3 in TensorFlow's networks.
        act: end with the ReLU.
        bias: give the convolution a bias.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv"] = conv(inputs, outputs, kernel, stride, padding=padding, bias=bias)
    layers["bn"] = nn.BatchNorm2d(outputs, eps=eps)
    if act:
        layers["relu"] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)


Layer = tuple[int, Side] | tuple[int, Side, int]


def chain(inputs: int, *layers: Layer) -> nn.Sequential:
    """conv-BN-ReLU layers in a row.

    Args:
        layers: (outputs, kernel) keeps the size; (outputs, kernel, stride) has no padding, as TensorFlow's VALID.
    """
    built: list[nn.Module] = []
    for outputs, kernel, *stride in layers:
        built.append(conv_norm(inputs, outputs, kernel, *stride, padding=0 if stride else None))
        inputs = outputs
    return nn.Sequential(*built)


def fork(inputs: int, outputs: int) -> Branches:
    """1x3 and 3x1 side by side [Szegedy et al. 2015, Fig. 7]."""
    return Branches(a=conv_norm(inputs, outputs, (1, 3)), b=conv_norm(inputs, outputs, (3, 1)))


def average_branch(inputs: int, outputs: int, count_padding: bool = False) -> nn.Sequential:
    """Average 3x3, then 1x1: the pool branch of an Inception module.

    Args:
        count_padding: count the zeros around a map in the average, as torchvision does and TensorFlow does not.
    """
    pool = nn.AvgPool2d(3, 1, padding=1, count_include_pad=count_padding)
    return nn.Sequential(pool, conv_norm(inputs, outputs, 1))


def inception_stem(in_chans: int, small: bool) -> nn.Sequential:
    """The stem of Inception v3, and of Inception-ResNet v2 as it was released: 192 maps of an eighth of the image's side.

    Args:
        small: halve the side only once.
    """
    if small:
        return nn.Sequential(
            *chain(in_chans, (32, 3), (32, 3), (64, 3)), nn.MaxPool2d(3, 2, padding=1), *chain(64, (80, 1), (192, 3))
        )
    return nn.Sequential(
        *chain(in_chans, (32, 3, 2), (32, 3, 1), (64, 3)),
        nn.MaxPool2d(3, 2),
        *chain(64, (80, 1), (192, 3, 1)),
        nn.MaxPool2d(3, 2),
    )


class SamePool(nn.MaxPool2d):
    """TensorFlow's SAME max pooling: the output is ceil(size / stride) wide, and where the padding is odd, the end has more."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        before_after = []
        for size in (x.shape[-1], x.shape[-2]):
            total = max(0, (-(-size // self.stride) - 1) * self.stride + self.kernel_size - size)  # type: ignore[operator]
            before_after += [total // 2, total - total // 2]
        if any(before_after):
            x = F.pad(x, before_after, value=float("-inf"))
        return super().forward(x)


class LocalResponseNorm(nn.Module):
    """b = a / (k + alpha * sum of a² over `size` neighbouring maps)^beta [Krizhevsky et al. 2012, section 3.3].

    `alpha` multiplies the plain sum, as in the paper and TensorFlow; Caffe and torch divide it by `size`. torch's own
    layer goes through a 3-d average pool; a sum of shifted slices needs a fraction of its memory traffic.

    Args:
        size: number of maps n, odd.
        alpha, beta, k: the paper's constants.
    """

    def __init__(self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        half, channels = self.size // 2, x.shape[1]
        wide = x.float() if x.dtype is torch.float16 else x  # the square of 256 is more than float16 can hold
        square = F.pad(wide.square(), (0, 0, 0, 0, half, half))  # (N, C + size - 1, H, W)
        total = square[:, :channels].clone()
        for shift in range(1, self.size):
            total += square[:, shift : shift + channels]
        return x * (self.k + self.alpha * total).pow(-self.beta)

    def extra_repr(self) -> str:  # noqa: D102
        return f"size={self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


def max_pool(kernel: int, stride: int, padding: Padding) -> nn.Module:
    """Max pooling with one of four rules for the padding.

    Args:
        padding: "same" as in TensorFlow; "ceil" as in Caffe, which pads only after the last pixel, as far as the kernel
            needs; "half" for half the kernel on every side; "valid" for none.
    """
    if padding == "same":
        return SamePool(kernel, stride)
    return nn.MaxPool2d(kernel, stride, padding=kernel // 2 if padding == "half" else 0, ceil_mode=padding == "ceil")


def global_average() -> nn.Sequential:
    """Global average pooling, (N, C, H, W) -> (N, C) [Lin et al. 2013, section 3.2]."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def fully_connected(sizes: tuple[int, ...], dropout: float) -> nn.Sequential:
    """Linear-ReLU-dropout for each pair of neighbouring sizes: the hidden layers of AlexNet and VGG.

    Their weights are not initialised, which the network does: torch's own initialisation of a hundred million numbers
    takes half a second.

    Args:
        sizes: features from the first layer's input to the last layer's output.
        dropout: probability.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        linear = nn.utils.skip_init(nn.Linear, inputs, outputs, device=torch.get_default_device())
        layers += [linear, nn.ReLU(inplace=True), nn.Dropout(dropout)]
    return nn.Sequential(*layers)


def he_init(net: nn.Module) -> None:
    """He et al. 2015 (arXiv:1502.01852), fan-out, for convolutions; norms start as the identity, linear layers at N(0, 0.01²)."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)


@torch.no_grad()
def truncated_normal_init(net: nn.Module, std: float) -> None:
    """N(0, std²) cut off at two standard deviations, as TensorFlow's slim starts its networks; biases 0.

    Numbers are drawn through the inverse of the distribution; torch's own function draws whole tensors again until every
    number fits.
    """
    inside = math.erf(2 / math.sqrt(2))
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.uniform_(-inside, inside).erfinv_().mul_(std * math.sqrt(2))
            if layer.bias is not None:
                layer.bias.zero_()


@torch.no_grad()
def glorot_init(net: nn.Module) -> None:
    """Glorot and Bengio 2010: uniform with variance 2 / (fan-in + fan-out), biases 0."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                layer.bias.zero_()
