"""Layers of torch that normalise pixels in front of a network: a mean and a deviation among a checkpoint's tensors.

`nn.Sequential(Normalize(mean, std), net)` keeps both as buffers, as does a module that registers them itself. `pixel_means.py`
finds them by their names; here it is decided which of them act on the network's pixels, and what they do to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from podium.weights.front import WHITE, Front
from podium.weights.pixel_means import (
    CHANNELS,
    WIDE,
    Normalizer,
    is_called_a_mean,
    is_statistic,
    may_act_on_pixels,
    says_others,
)
from podium.weights.wrappers import is_averaged, is_of_a_loss, is_of_an_optimiser

_LEAST, _MOST = (
    0.03,
    0.6,
)  # deviations of pixels from 0 to 1; none can be above 0.5, but for a 1 that leaves them as they are
_WHITE_MEAN, _WHITE_STD = 0.7, 0.1  # above the one and below the other they are more likely of accuracies over folds
# Where a checkpoint keeps settings, which name a layer's numbers again.
_SETTINGS = re.compile(r"(?:\w*hyper_?parameters|hparams|args|config|cfg)\.", re.IGNORECASE)
_SMALL = 64  # numbers in a matrix up to which it may be a table of colours, and not a weight of a network
_NUMBER = re.compile(r"((?:.*?\.)?)(\d+)\.")  # of a layer in a sequence, and what is around it
# Means of pixels from 0 to 255 as Detectron, Caffe, VGG, BN-Inception, CenterNet and VGGFace have them: blue first.
_BLUE_FIRST = (
    (103.53, 116.28, 123.675), (104, 116, 124), (102.9801, 115.9465, 122.7717), (103.939, 116.779, 123.68),
    (104, 117, 123), (104.007, 116.669, 122.679), (104, 117, 128), (104.04, 113.985, 119.85), (91.4953, 103.8827, 131.0912),
    (93.594, 104.7624, 129.1863),
)  # fmt: skip
_NEAR = 0.05  # how far a float16 may be from these


def front_of(
    found: Sequence[Normalizer],
    prefix: str,
    others: Sequence[str],
    beside: Mapping[str, Tensor],
    channels: int,
    unread: Sequence[str] = (),
) -> Front | None:
    """Say what the layers in front of one network do to pixels.

    Args:
        found: all of the checkpoint.
        prefix: under which the network's weights stand.
        others: the prefixes of other sets of weights that fit, each of which may have a layer of its own.
        beside: the tensors that are not under the prefix.
        channels: that the network reads.
        unread: names of what is in the file and is no tensor.

    Returns:
        The scale and offset, or the problem; None where nothing in the file bears on pixels.
    """
    own = _acting(found, prefix, others, beside, channels)
    names = tuple(name for each in own for name in each.names)
    copies = tuple(other for other in others if other)
    layers = [_layer_of(name) for name in _in_front(beside, prefix, copies, channels)]
    if layers:
        return _unclear((layers[0], *names), f"the layer {layers[0]!r} may stand in front of the network")
    if not own:
        return next(_doubts(prefix, others, beside, unread), None)
    if len(own) > 1:
        return _unclear(names, f"it has {' and '.join(each.mean for each in own)}, and which of them acts is not known")
    return _read(own[0], names, channels)


def may_act(prefix: str, others: Sequence[str], beside: Mapping[str, Tensor], channels: int) -> set[str]:
    """The names of tensors beside a network because of which `front_of` says that it does not know what is done to pixels."""
    copies = tuple(other for other in others if other)
    small = {name for name, _ in _small(prefix, others, beside)}
    pairs = {
        other
        for name in filter(is_called_a_mean, small)
        for other, value in beside.items()
        if is_statistic(other) and value.shape == beside[name].shape
        if other.rpartition(".")[0] == name.rpartition(".")[0]
    }
    return {*_in_front(beside, prefix, copies, channels), *small, *pairs}


def _in_front(beside: Mapping[str, Tensor], prefix: str, copies: tuple[str, ...], channels: int) -> Iterator[str]:
    """The tensors of layers that may stand in front of the network, by their names."""
    for name, value in beside.items():
        near = prefix.startswith(_around(f"{_layer_of(name)}.")) and not name.startswith(copies)
        if near and _reads_pixels(name, value, channels, prefix):
            yield name


def _doubts(prefix: str, others: Sequence[str], beside: Mapping[str, Tensor], unread: Sequence[str]) -> Iterator[Front]:
    """What may act on the network's pixels and is not read."""
    for name in filter(is_called_a_mean, unread):
        yield _unclear((name,), f"{name} is of a form that is not read")
    for name, why in _small(prefix, others, beside):
        yield _unclear((name,), why)
    if first := _without_weights(prefix, [*others, *beside]):
        yield _unclear(
            (first,), f"{first} holds no weights, stands before the network in a sequence, and may act on pixels"
        )


def _small(prefix: str, others: Sequence[str], beside: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    """The small tensors around a network that may act on pixels, by their names, and why."""
    for name, value in beside.items():
        near = prefix.startswith((_around(f"{name}."), _around(_around(f"{name}."))))
        strange = is_of_a_loss(name) or is_of_an_optimiser(name) or name.startswith(tuple(filter(None, others)))
        if not near or strange or value.numel() > _SMALL or not value.is_floating_point():
            continue
        if is_called_a_mean(name):
            yield name, f"{name} has {value.numel()} numbers"
        elif value.numel() in CHANNELS and value.dtype != torch.float64 and may_act_on_pixels(name):
            yield name, f"{name} may act on pixels"


def _without_weights(prefix: str, others: Sequence[str]) -> str:
    """The first place of a sequence in which the network stands behind what has no weights; empty where there is none.

    `nn.Sequential(Normalize(mean, std), net)` has names that begin with "1." where the numbers are no buffers. In a dictionary of
    networks by numbers, such as those of folds, another one stands beside it.
    """
    for found in re.finditer(r"(?:^|\.)(\d+)\.", prefix):
        around = prefix[: found.start(1)]
        if int(found[1]) > 0 and not any(re.match(rf"{re.escape(around)}\d+\.", name) for name in others):
            return f"{around}0"
    return ""


def _acting(
    found: Sequence[Normalizer], prefix: str, others: Sequence[str], beside: Mapping[str, Tensor], channels: int
) -> list[Normalizer]:
    """The means and deviations that act on the pixels of one set of weights, or may."""
    own = [
        each
        for each in found
        if (each.sure or each.count == channels)  # one number of something may be anything's
        and not any(_is_beside(each.layer, prefix, other) for other in others)
        and not _is_of_another(each.layer, prefix, beside)
        and (is_of_a_loss(prefix) or not is_of_a_loss(each.layer))
    ]
    near = [each for each in own if prefix.startswith((each.layer, _around(each.layer)))]
    own = near or [each for each in own if not says_others(_apart(each.layer, prefix))]  # preprocess.1 beside net
    alike = [each for each in own if is_averaged(each.layer) == is_averaged(prefix)]
    if is_averaged(prefix):
        alike = alike or own  # EMA weights have the layer beside them, or share that of the plain weights
    return [each for each in alike if not any(_repeats(each, other) for other in alike)]


def _is_of_another(layer: str, prefix: str, beside: Mapping[str, Tensor]) -> bool:
    """Whether a module beside the network holds weights of its own, so that its mean is of what it reads itself."""
    if not layer or prefix.startswith(layer):
        return False
    return any(name.startswith(layer) and value.ndim > 1 and value.numel() > _SMALL for name, value in beside.items())


def _apart(layer: str, prefix: str) -> str:
    """The modules of a layer that are not around the network, without the layer itself."""
    return ".".join(list(_parts(layer))[_shared(layer, prefix) : -1])


def _repeats(one: Normalizer, other: Normalizer) -> bool:
    """Whether a setting on record says what another one says too."""
    same = len(one.values) == len(other.values) and all(
        a.numel() == b.numel() and torch.allclose(a.double().flatten(), b.double().flatten(), rtol=1e-4, atol=1e-6)
        for a, b in zip(one.values, other.values, strict=True)
    )
    return same and bool(_SETTINGS.match(one.layer)) and (not _SETTINGS.match(other.layer) or one.layer > other.layer)


def _read(only: Normalizer, names: tuple[str, ...], channels: int) -> Front:
    """What one layer does to pixels."""
    if only.doubt:
        return _unclear(names, only.doubt)
    if only.count == 1 < channels and only.values[0].dtype == torch.float64:  # no buffer, but a number on record
        return _unclear(names, f"{only.mean} and {only.std} are single numbers, which may be of something else")
    mean, std = (value.double().flatten().tolist() for value in only.values)
    unit = _unit(mean, std)
    if unit is None:
        return _unclear(names, f"{only.mean} and {only.std} do not tell whether pixels end at 1 or at 255")
    if unit == WHITE and min(std) < _LEAST:
        return _unclear(names, f"{only.std} has {min(std):.3g}, which is too little for a deviation of pixels")
    if unit == WHITE and min(mean) > _WHITE_MEAN and max(std) < _WHITE_STD:
        return _unclear(names, f"{only.mean} and {only.std} are those of nearly white images, or of accuracies")
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


def _reads_pixels(name: str, value: Tensor, channels: int, prefix: str) -> bool:
    """Whether a tensor beside a network is of a layer in front of it.

    That is any layer that comes before it in a numbered sequence, and a norm of the image's channels or a convolution that gives
    as many from as many or from one, wherever it stands.
    """
    if is_of_a_loss(name) or is_of_an_optimiser(name):
        return False
    place, own = _NUMBER.match(name), _NUMBER.match(prefix)
    if place and own and place[1] == own[1] and int(place[2]) < int(own[2]):
        return True
    norm = name.endswith("running_mean") and value.numel() == channels
    each = value.ndim == 1 or value.shape[-3:] == (channels, 1, 1)  # a number a channel
    scale = name.endswith((".weight", ".gamma")) and value.numel() == channels > 1 and each
    conv = value.ndim == 4 and value.shape[0] == channels and value.shape[1] in (1, channels)
    return norm or scale or conv


def _layer_of(name: str) -> str:
    return name.rpartition(".")[0] or name


def _unit(mean: Sequence[float], std: Sequence[float]) -> float | None:
    """What pixels are divided by before the layer: 255, or 1 where it takes them as they are; None where that is not known."""
    if not all(value > 0 for value in std) or any(value < 0 for value in mean):
        return None
    if max(mean) <= 1 and (max(std) <= _MOST or all(value == 1 for value in std)):
        return WHITE
    whole = WIDE < max(mean) <= WHITE and (min(std) == max(std) == 1 or min(std) >= _LEAST * WHITE)
    return 1.0 if whole or (max(mean) == 0 and max(std) > WIDE) else None


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
