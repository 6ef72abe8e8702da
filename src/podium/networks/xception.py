"""Xception [Chollet 2016, arXiv:1610.02357, Fig. 5]."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from podium.models.convnet import ConvNet, Head
from podium.models.modules import Residual
from podium.models.registry import register
from podium.networks.blocks import Padding, chain, conv, global_average, glorot_init, max_pool


def separable(inputs: int, outputs: int, eps: float) -> nn.Sequential:
    """Depthwise 3x3, then 1x1, with nothing between, then batch norm [section 2]."""
    layers = OrderedDict[str, nn.Module](
        depthwise=conv(inputs, inputs, 3, groups=inputs),
        pointwise=conv(inputs, outputs, 1),
        bn=nn.BatchNorm2d(outputs, eps=eps),
    )
    return nn.Sequential(layers)


def separables(inputs: int, *widths: int, eps: float, leading: bool = True) -> OrderedDict[str, nn.Module]:
    """ReLU-separable for each width; the first ReLU leaves its input alone, which the shortcut reads too.

    Args:
        leading: start with a ReLU.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, width in enumerate(widths, 1):
        if number > 1 or leading:
            layers[f"relu{number}"] = nn.ReLU(inplace=number > 1)
        layers[f"sep{number}"] = separable(inputs, width, eps)
        inputs = width
    return layers


class Xception(ConvNet):
    """Entry flow (blocks 1-4), middle flow (5-12), exit flow (13-14): 36 convolutions in 14 modules.

    Weights start by Glorot and Bengio, as Keras has it.

    Args:
        small: for 28-64 px: no stride in the two plain convolutions, which keep the size.
        eps: of the batch norms.
        pool: "same" as in TensorFlow, or "half" padding as in timm's port.
        dropout: before the classifier, as for ImageNet [section 4.4].
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        image_size: int = 299,
        small: bool = False,
        *,
        eps: float = 1e-3,
        pool: Padding = "same",
        dropout: float = 0.5,
    ) -> None:
        def shrinking(inputs: int, first: int, second: int, leading: bool = True) -> Residual:
            layers = separables(inputs, first, second, eps=eps, leading=leading)
            layers["pool"] = max_pool(3, 2, pool)
            projection = nn.Sequential(
                OrderedDict[str, nn.Module](conv=conv(inputs, second, 1, 2), bn=nn.BatchNorm2d(second, eps=eps))
            )
            return Residual(nn.Sequential(layers), projection, act=False)

        def middle() -> Residual:
            return Residual(nn.Sequential(separables(728, 728, 728, 728, eps=eps)), nn.Identity(), act=False)

        stem = chain(in_chans, (32, 3), (64, 3)) if small else chain(in_chans, (32, 3, 2), (64, 3, 1))
        for layer in stem.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eps = eps
        stages: dict[str, nn.Module] = {
            "block2": shrinking(64, 128, 128, leading=False),
            "block3": shrinking(128, 256, 256),
            "block4": shrinking(256, 728, 728),
            **{f"block{number}": middle() for number in range(5, 13)},
            "block13": shrinking(728, 728, 1024),
        }
        last = separables(1024, 1536, 2048, eps=eps, leading=False)
        last["relu3"] = nn.ReLU(inplace=True)
        stages["block14"] = nn.Sequential(last)
        head = Head(global_average(), nn.Linear(2048, num_classes), nn.Dropout(dropout))
        super().__init__(stem, stages.items(), head)
        glorot_init(self)


register(
    Xception,
    {"xception": {}},
    family="Xception",
    year=2016,
    paper="Chollet 2016, arXiv:1610.02357",
    input_size=299,
    min_size=32,
    small_min_size=8,
    recipe="xception-2017",
)
