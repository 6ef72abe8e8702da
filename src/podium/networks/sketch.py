"""Small networks that are written as one line of layers, for experiments that change a single thing.

`3x3:32 bn relu max2/2; 3x3:64 bn relu -> average` is a network of two stages: `;` ends a stage, `->` begins the head.

| written | layer |
| --- | --- |
| `3x3:32`, `1x7:32`, `3x3/2:32`, `3x3:32g4` | convolution to 32 maps; of stride 2; in 4 groups. It keeps the size at stride 1 |
| `11x11/4v:96`, `max3/2v` | the same without padding, and only where the whole window fits |
| `dw3x3`, `dw3x3/2` | depthwise convolution, a filter for each map |
| `max3/2`, `avg2/2` | pooling: side of the window and stride; the last window may reach over the edge. It keeps the size at stride 1 |
| `bn`, `lrn`, `relu`, `tanh`, `sigmoid`, `drop0.5` | batch norm, local response normalisation, activations, dropout |
| `[1x1:8 | 3x3:8 relu]` | branches side by side, joined along the maps |
| `aux` | an auxiliary classifier that reads what comes out of the stage |
| `-> average` or `-> flat fc128 relu drop0.5` | the head: global average pooling, or all values of the map, then layers |
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from podium.errors import UsageError
from podium.models.convnet import Auxiliary, ConvNet, Head
from podium.models.modules import Branches, Grid
from podium.models.registry import register
from podium.networks.blocks import LocalResponseNorm, conv, global_average

DEFAULT = "3x3:16 bn relu max2/2; 3x3:32 bn relu -> average"
AUXILIARY_SIDE, AUXILIARY_WIDTH = 2, 32  # of the grid and the hidden maps of an auxiliary classifier
SIGMOID_GAIN = 4.0
CONVOLUTION = re.compile(r"(\d+)x(\d+)(?:/(\d+))?(v?):(\d+)(?:g(\d+))?")
DEPTHWISE = re.compile(r"dw(\d+)x\1(?:/(\d+))?")
POOL = re.compile(r"(max|avg)(\d+)/(\d+)(v?)")
NUMBER = re.compile(r"(drop|fc)([\d.]+)")
PLAIN: dict[str, Callable[[int], nn.Module]] = {
    "bn": nn.BatchNorm2d,
    "lrn": lambda _: LocalResponseNorm(),
    "relu": lambda _: nn.ReLU(inplace=True),
    "tanh": lambda _: nn.Tanh(),
    "sigmoid": lambda _: nn.Sigmoid(),
}


@dataclass
class _Written:
    """What has been built of a line so far.

    Args:
        channels, side: of the map that the next layer reads; within a head behind `flat` or `average` the channels are features.
        auxiliary: whether an auxiliary classifier stands at the end of the stage that was built last.
    """

    channels: int
    side: int
    auxiliary: bool = field(default=False)

    def layers(self, words: list[str]) -> nn.Sequential:
        """Build the layers of a stage, of a branch, or of a head behind its pooling; takes the words from the list."""
        built: list[nn.Module] = []
        self.auxiliary = False
        while words and words[0] not in ("|", "]"):
            word = words.pop(0)
            if word == "[":
                built.append(self._branches(words))
            elif word == "aux":
                self.auxiliary = True
            else:
                built.append(self._layer(word))
        return nn.Sequential(*built)

    def _layer(self, word: str) -> nn.Module:
        if word in PLAIN:
            return PLAIN[word](self.channels)
        if found := CONVOLUTION.fullmatch(word):
            high, wide, stride, outputs, groups = (int(part or 1) for part in found.group(1, 2, 3, 5, 6))
            padding = 0 if found[4] else None
            layer = conv(self.channels, outputs, (high, wide), stride, padding=padding, groups=groups, bias=True)
            self.channels, self.side = (
                outputs,
                (self.side - high) // stride + 1 if found[4] else -(-self.side // stride),
            )
            return layer
        if found := DEPTHWISE.fullmatch(word):
            kernel, stride = (int(part or 1) for part in found.groups())
            self.side = -(-self.side // stride)
            return conv(self.channels, self.channels, kernel, stride, groups=self.channels)
        if found := POOL.fullmatch(word):
            kernel, stride = int(found[2]), int(found[3])
            padding, whole = kernel // 2 if stride == 1 else 0, bool(found[4])
            span = self.side + 2 * padding - kernel
            self.side = (span // stride if whole else -(-span // stride)) + 1
            pool = nn.MaxPool2d if found[1] == "max" else nn.AvgPool2d
            return pool(kernel, stride, padding, ceil_mode=not whole)
        if found := NUMBER.fullmatch(word):
            if found[1] == "drop":
                return nn.Dropout(float(found[2]))
            linear = nn.Linear(self.channels, int(found[2]))
            self.channels = linear.out_features
            return linear
        raise UsageError(f"layers: {word!r}", "write layers as `3x3:32 bn relu max2/2; 3x3:64 relu -> average`")

    def _branches(self, words: list[str]) -> Branches:
        """The branches up to the bracket that closes them; each reads the same map."""
        inputs, side, outputs = self.channels, self.side, 0
        branches: dict[str, nn.Module] = {}
        ended = "|"
        while ended == "|":
            own = _Written(inputs, side)
            branches[f"branch{len(branches) + 1}"] = own.layers(words)
            outputs += own.channels
            self.side = own.side
            ended = words.pop(0) if words else "no bracket"
        if ended != "]":
            raise UsageError("layers: a [ without its ]", "close the branches: [1x1:8 | 3x3:8]")
        self.channels = outputs
        return Branches(**branches)


class Sketch(ConvNet):
    """A network that is written as a line of layers; see the top of this file.

    Weights start by He et al. 2015 (fan-in) where the line has rectifiers, else by Glorot and Bengio 2010, four times as large where it
    has sigmoids, whose slope at zero is a quarter of tanh's; classifiers at N(0, 0.01²).

    Args:
        layers: the line.
        aux: build the auxiliary classifiers, each with 0.3 of the loss [Szegedy et al. 2014, section 5].
    """

    def __init__(
        self, num_classes: int = 10, in_chans: int = 3, image_size: int = 32, *, layers: str = DEFAULT, aux: bool = True
    ) -> None:
        body, arrow, top = layers.partition("->")
        if not arrow:
            raise UsageError(f"layers: {layers!r} has no head", "end it with `-> average` or `-> flat fc64 relu`")
        written, stages, heads = _Written(in_chans, image_size), [], {}
        for number, part in enumerate(body.split(";"), 1):
            words = _words(part)
            stages.append((f"stage{number}", written.layers(words)))
            if words:
                raise UsageError(f"layers: {words[0]!r} without a [", "open the branches: [1x1:8 | 3x3:8]")
            if written.auxiliary and aux:
                heads[f"stage{number}"] = _auxiliary(written.channels, num_classes)
        kind, *words = _words(top) or [""]
        if kind not in ("average", "flat"):
            raise UsageError(f"layers: a head that begins with {kind!r}", "begin it with average or flat")
        pool = global_average() if kind == "average" else Grid(written.side)
        written.channels *= written.side**2 if kind == "flat" else 1
        hidden = written.layers(words)
        super().__init__(nn.Identity(), stages, Head(pool, nn.Linear(written.channels, num_classes), hidden), heads)
        self._start("relu" in layers, SIGMOID_GAIN if "sigmoid" in layers else 1.0)

    def _start(self, rectified: bool, gain: float) -> None:
        """Give the weights their first values; `gain` is a factor of those by Glorot and Bengio."""
        classifiers = [self.head.classifier, *(head.classifier for head in self.auxiliary.values())]
        for layer in self.modules():
            if not isinstance(layer, nn.Conv2d | nn.Linear):
                continue
            if layer in classifiers:
                nn.init.normal_(layer.weight, std=0.01)
            elif rectified:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.xavier_uniform_(layer.weight, gain)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _words(text: str) -> list[str]:
    """The words of a part of a line; brackets and bars stand alone."""
    return re.sub(r"([\[\]|])", r" \1 ", text).split()


def _auxiliary(inputs: int, num_classes: int) -> Auxiliary:
    """An auxiliary classifier on a map of so many channels."""
    reduce = nn.Sequential(nn.Conv2d(inputs, AUXILIARY_WIDTH, 1), nn.ReLU(inplace=True))
    return Auxiliary(AUXILIARY_SIDE, reduce, nn.Linear(AUXILIARY_WIDTH * AUXILIARY_SIDE**2, num_classes))


register(
    Sketch,
    {"sketch": {}},
    family="Sketch",
    year=0,
    paper="",
    input_size=32,
    min_size=4,
    num_classes=10,
    listed=False,
)
