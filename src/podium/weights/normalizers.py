"""Layers of torch that normalise pixels in front of a network: a mean and a deviation among a checkpoint's tensors.

`nn.Sequential(Normalize(mean, std), net)` keeps both as buffers, as does a module that registers them itself. `pixel_means.py`
finds them by their names; here it is decided which of them act on the network's pixels, and what they do to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from podium.weights.front import WHITE, Front
from podium.weights.pixel_means import Normalizer
from podium.weights.wrappers import is_averaged, is_of_a_loss, is_of_an_optimiser

_WIDE = 2.0  # a mean or a deviation above it is of pixels from 0 to 255
# ImageNet's means of pixels from 0 to 255 as Detectron, Caffe and VGG have them: blue first.
_BLUE_FIRST = (
    (103.53, 116.28, 123.675), (104, 116, 124), (102.9801, 115.9465, 122.7717), (103.939, 116.779, 123.68),
    (104, 117, 123), (104.007, 116.669, 122.679),
)  # fmt: skip
_NEAR = 0.05  # how far a float16 may be from these


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
    own = _of_copy(found, prefix, others)
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
    return _read(own[0], names)


def _of_copy(found: Sequence[Normalizer], prefix: str, others: Sequence[str]) -> list[Normalizer]:
    """The layers in the modules around one set of weights, without those of the other sets."""
    own = [
        each
        for each in found
        if prefix.startswith((each.layer, _around(each.layer)))
        and not any(_is_beside(each.layer, prefix, other) for other in others)
    ]
    alike = [each for each in own if is_averaged(each.layer) == is_averaged(prefix)]
    return alike or own  # EMA weights have the layer beside them, or share that of the plain weights


def _read(only: Normalizer, names: tuple[str, ...]) -> Front:
    """What one layer does to pixels."""
    if only.doubt:
        return _unclear(names, only.doubt)
    mean, std = (value.double().flatten().tolist() for value in only.values)
    unit = _unit(mean, std)
    if unit is None:
        return _unclear(names, f"{only.mean} and {only.std} do not tell whether pixels end at 1 or at 255")
    count = max(len(mean), len(std))
    means, stds = (values * count if len(values) == 1 else values for values in (mean, std))
    scale, offset = tuple(1 / (unit * s) for s in stds), tuple(-m / s for m, s in zip(means, stds, strict=True))
    return Front(names, scale, offset, "bgr" if _is_blue_first(only.mean, [m * unit for m in mean]) else "rgb")


def _is_blue_first(name: str, mean: Sequence[float]) -> bool:
    """Whether a mean of pixels from 0 to 255 is for blue, green, red: its name says so, or it is a well-known one."""
    known = any(all(abs(a - b) < _NEAR for a, b in zip(mean, row, strict=False)) for row in _BLUE_FIRST)
    return len(mean) == 3 and (known or "bgr" in name.lower())


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
