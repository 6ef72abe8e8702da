"""Layers of torch that normalise pixels in front of a network: a mean and a deviation among a checkpoint's tensors.

`nn.Sequential(Normalize(mean, std), net)` keeps both as buffers, as does a module that registers them itself. Their names are
the author's own (`0.mean`, `normalize.mean`, `pixel_mean`), so the last part of the name and the shape tell them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from podium.weights.front import WHITE, Front
from podium.weights.wrappers import is_of_a_loss, is_of_an_optimiser

CHANNELS = (1, 3)  # of images whose statistics people keep
_MEAN = re.compile(r"(?:^|.*\.)(?!.*running|.*moving)\w*?mean(?=s?$)", re.IGNORECASE)
# A mean of pixels says so in its name or its layer's, or it stands alone in a numbered layer or in the module around the network.
_OF_PIXELS = re.compile(r"norm|pixel|image|img|input|rgb|data|preproc|transform|new_|shift", re.IGNORECASE)
_DEVIATIONS = ("std", "stdev", "stddev", "sigma")
_WIDE = 2.0  # a mean or a deviation above it is of pixels from 0 to 255


@dataclass(frozen=True)
class Normalizer:
    """A mean and a deviation in a checkpoint.

    Args:
        mean, std: their names; `std` is empty where there is none.
        values: the two tensors, or the mean alone.
    """

    mean: str
    std: str
    values: tuple[Tensor, ...]

    @property
    def layer(self) -> str:
        """The name of the layer with a dot behind it, empty for the outermost module."""
        return self.mean[: self.mean.rfind(".") + 1]


def without_normalizers(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[Normalizer]]:
    """Take the means and deviations of pixels out of a checkpoint.

    Args:
        tensors: by their names in the file.

    Returns:
        The other tensors, and the means and deviations.
    """
    found, used = [], set[str]()
    for name, value in tensors.items():
        match = _MEAN.match(name)
        if (
            match is None
            or not _names_pixels(name)
            or not _is_of_channels(value)
            or is_of_a_loss(name)
            or is_of_an_optimiser(name)
        ):
            continue
        stem, plural = match[0][:-4], name[match.end() :]
        words = [word.upper() if match[0][-4:].isupper() else word for word in _DEVIATIONS]
        partners = [f"{stem}{word}{plural}" for word in words]
        std = next((p for p in partners if p in tensors and _is_of_channels(tensors[p])), "")
        if not std and value.numel() == 1:
            continue  # a single number may be anything's mean
        found.append(Normalizer(name, std, (value, tensors[std]) if std else (value,)))
        used |= {name, std}
    return {name: value for name, value in tensors.items() if name not in used}, found


def _names_pixels(name: str) -> bool:
    """Whether a mean is of pixels by its name: `pixel_mean`, `normalize.mean`, `0.mean`, or `mean` of the outermost modules."""
    layer, _, last = name.rpartition(".")
    around = layer.rpartition(".")[2]
    bare = last.lower() in ("mean", "means") and (not around or around.isdigit() or around in ("module", "model"))
    return bare or bool(_OF_PIXELS.search(last) or (_OF_PIXELS.search(around) and last.lower() in ("mean", "means")))


def _is_of_channels(value: Tensor) -> bool:
    """Whether a tensor has a number a channel, as (C,), (C, 1, 1) or (1, C, 1, 1); C may be 1."""
    return value.is_floating_point() and value.numel() in CHANNELS and value.ndim <= 4


def front_of(
    found: Sequence[Normalizer], prefix: str, others: Sequence[str], beside: Mapping[str, Tensor], channels: int
) -> Front | None:
    """Say what the layers in front of one network do to pixels.

    Args:
        found: all of the checkpoint.
        prefix: under which the network's weights stand.
        others: the prefixes of other sets of weights that fit, each of which may have a layer of its own.
        beside: the tensors that are not under the prefix.
        channels: that the network reads.

    Returns:
        The scale and offset, or the problem; None where nothing in the file bears on pixels.
    """
    own = [
        each
        for each in found
        if prefix.startswith((each.layer, _around(each.layer)))
        and not any(_is_beside(each.layer, prefix, other) for other in others)
    ]
    names = tuple(name for each in own for name in (each.mean, each.std) if name)
    copies = tuple(other for other in others if other)
    layers = [
        _layer_of(name)
        for name, value in beside.items()
        if prefix.startswith(_around(f"{_layer_of(name)}."))
        and not name.startswith(copies)
        and _reads_pixels(name, value, channels)
    ]
    if layers:
        return _unclear((layers[0], *names), f"the layer {layers[0]!r} may stand in front of the network")
    if not own:
        return None
    if len(own) > 1:
        return _unclear(names, f"it has {' and '.join(each.mean for each in own)}, and which of them acts is not known")
    (only,) = own
    if not only.std:
        return _unclear(names, f"{only.mean} has no deviation beside it")
    mean, std = (value.double().flatten().tolist() for value in only.values)
    unit = _unit(mean, std)
    if unit is None:
        return _unclear(names, f"{only.mean} and {only.std} do not tell whether pixels end at 1 or at 255")
    count = max(len(mean), len(std))
    means, stds = (values * count if len(values) == 1 else values for values in (mean, std))
    return Front(names, tuple(1 / (unit * s) for s in stds), tuple(-m / s for m, s in zip(means, stds, strict=True)))


def _unclear(layers: tuple[str, ...], why: str) -> Front:
    return Front(layers, problem=f"what it does to pixels cannot be said as a mean and a standard deviation: {why}")


def _reads_pixels(name: str, value: Tensor, channels: int) -> bool:
    """Whether a tensor is of a batch norm of the image's channels, or of a convolution from them to as many."""
    norm = name.endswith("running_mean") and value.numel() == channels
    conv = value.ndim == 4 and tuple(value.shape[:2]) == (channels, channels)
    return (norm or conv) and not is_of_a_loss(name) and not is_of_an_optimiser(name)


def _layer_of(name: str) -> str:
    return name.rpartition(".")[0] or name


def _unit(mean: Sequence[float], std: Sequence[float]) -> float | None:
    """What pixels are divided by before the layer: 255, or 1 where it takes them as they are; None where that is not known."""
    if not all(value > 0 for value in std) or any(value < 0 for value in mean):
        return None
    if max(mean) <= 1 and max(std) <= _WIDE:
        return WHITE
    whole = max(mean) > _WIDE and min(std) >= 1
    return 1.0 if whole or (max(mean) == 0 and max(std) > _WIDE) else None


def _around(layer: str) -> str:
    """The module in which a layer stands, with a dot behind it."""
    return layer[:-1].rpartition(".")[0] + "." if "." in layer[:-1] else ""


def _is_beside(layer: str, prefix: str, other: str) -> bool:
    """Whether a layer belongs to another set of weights than the one under a prefix."""
    return _shared(layer, other) > _shared(layer, prefix)


def _shared(one: str, other: str) -> int:
    """How many parts of two dotted names are the same from the beginning."""
    count = 0
    for a, b in zip(_parts(one), _parts(other), strict=False):
        if a != b:
            break
        count += 1
    return count


def _parts(name: str) -> Iterator[str]:
    return iter(name.removesuffix(".").split(".") if name else ())
