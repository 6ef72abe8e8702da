"""MobileNet v1 [Howard et al. 2017, arXiv:1704.04861, Table 1]."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from podium.models.convnet import ConvNet, Head
from podium.models.registry import register
from podium.networks.blocks import conv, global_average, he_init

# Table 1: widths of the 1x1 convolutions; the first block of each stage but the first halves the size.
STAGES = ((64,), (128, 128), (256, 256), (512,) * 6, (1024, 1024))
# Section 3.3: the multipliers below 1 that the paper trained; mobilenet_v1_025 has the first.
WIDTHS = (0.25, 0.5, 0.75)


class MobileNet(ConvNet):
    """A 3x3 convolution, thirteen depthwise separable ones, average pooling, one linear layer.

    Weights start by He et al. 2015.

    Args:
        small: for 28-64 px: no stride in the first convolution.
        width: multiplier alpha of all widths [section 3.3].
        six: cut activations off at 6 and pad strides at the end, as Keras does.
        dropout: before the classifier; Keras has 0.001.
        eps: of the batch norms.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        image_size: int = 224,
        small: bool = False,
        *,
        width: float = 1.0,
        six: bool = False,
        dropout: float = 0.0,
        eps: float = 1e-3,
    ) -> None:
        def layer(inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> nn.Sequential:
            named: OrderedDict[str, nn.Module] = OrderedDict()
            if six and stride == 2:
                named["pad"] = nn.ZeroPad2d((0, 1, 0, 1))
            named["conv"] = conv(inputs, outputs, kernel, stride, groups=groups, padding=0 if "pad" in named else None)
            named["bn"] = nn.BatchNorm2d(outputs, eps=eps)
            named["relu"] = nn.ReLU6(inplace=True) if six else nn.ReLU(inplace=True)
            return nn.Sequential(named)

        channels = max(1, int(32 * width))
        stem, stages = layer(in_chans, channels, 3, 1 if small else 2), []
        for number, widths in enumerate(STAGES, 1):
            stage = []
            for index, wide in enumerate(widths):
                stride, outputs = 2 if number > 1 and index == 0 else 1, max(1, int(wide * width))
                block = OrderedDict[str, nn.Module](
                    depthwise=layer(channels, channels, 3, stride, channels), pointwise=layer(channels, outputs, 1, 1)
                )
                stage.append(nn.Sequential(block))
                channels = outputs
            stages.append((f"stage{number}", nn.Sequential(*stage)))
        hidden = nn.Dropout(dropout) if dropout else None
        super().__init__(stem, stages, Head(global_average(), nn.Linear(channels, num_classes), hidden))
        he_init(self)


register(
    MobileNet,
    {"mobilenet_v1": {}} | {f"mobilenet_v1_{100 * width:03.0f}": {"width": width} for width in WIDTHS},
    family="MobileNet",
    year=2017,
    paper="Howard et al. 2017, arXiv:1704.04861",
    input_size=224,
    min_size=32,
    small_min_size=8,
    recipe="mobilenet-2017",
)
