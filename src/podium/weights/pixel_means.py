"""Means and deviations of pixels among a checkpoint's tensors, told by their names and shapes.

The names are the author's own: `0.mean`, `normalize.mean`, `pixel_mean`, `mean_rgb`, `Mean`, `mu`. A mean of pixels says that it
is one in its name or its layer's, or it stands alone in a numbered layer or in the module around the network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from podium.weights.wrappers import is_of_a_loss, is_of_an_optimiser

CHANNELS = (1, 3)  # of images whose statistics people keep
# The word for what is subtracted, and those for what is divided by.
_DEVIATIONS = ("std", "stdev", "stddev", "std_dev", "deviation", "sigma")
_VARIANCES = ("var", "variance")
_PARTNERS = {
    "mean": (*_DEVIATIONS, *_VARIANCES),
    "mu": (*_DEVIATIONS, *_VARIANCES),
    "shift": ("scale",),
}
_WORDS = "|".join(
    sorted({*_PARTNERS, *(word for words in _PARTNERS.values() for word in words)}, key=len, reverse=True)
)
_NAME = re.compile(rf"(\w*?)({_WORDS})(s?(?:_(?:rgb|bgr|pixels?|images?|values?|tensor)?)?)", re.IGNORECASE)
_OF_PIXELS = re.compile(r"norm|pixel|image|img|input|rgb|bgr|data|preproc|transform|new_|shift|scaling", re.IGNORECASE)
_OUTER = re.compile(r"|\d+|module|model|hyper_?parameters|hparams|config|cfg", re.IGNORECASE)


@dataclass(frozen=True)
class Normalizer:
    """A mean and a deviation in a checkpoint.

    Args:
        mean, std: their names; `std` is empty where there is none.
        values: the two tensors, or the mean alone.
        doubt: why it is not known what they do to pixels; empty where it is.
    """

    mean: str
    std: str
    values: tuple[Tensor, ...]
    doubt: str = ""

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
    spelled = {name.lower(): name for name in tensors}  # Mean belongs to Std, and MEAN to STD
    found, used = [], set[str]()
    for name, value in tensors.items():
        if not (is_statistic(name) and _is_of_channels(value)):
            continue
        layer, _, last = name.rpartition(".")
        before, word, after = _parts(last)
        around = f"{layer}." if layer else ""
        partners = [spelled.get(f"{around}{before}{other}{after}".lower(), "") for other in _PARTNERS.get(word, ())]
        std = next((partner for partner in partners if partner and _is_of_channels(tensors[partner])), "")
        if word not in _PARTNERS or (not std and (value.numel() == 1 or word == "shift")):
            continue  # a single number may be anything's mean
        values = (value, tensors[std]) if std else (value,)
        found.append(Normalizer(name, std, values, _doubt(name, std, values)))
        used |= {name, std}
    return {name: value for name, value in tensors.items() if name not in used}, found


def is_statistic(name: str) -> bool:
    """Whether a name is that of a mean or a deviation of pixels: `pixel_mean`, `normalize.std`, `0.mean`, or `mean` alone."""
    layer, _, last = name.rpartition(".")
    before, word, after = _parts(last)
    if not word or "running" in before or "moving" in before or is_of_a_loss(name) or is_of_an_optimiser(name):
        return False
    around = layer.rpartition(".")[2]
    bare = not before and bool(_OUTER.fullmatch(around) or _OF_PIXELS.search(around))
    return bare or bool(_OF_PIXELS.search(before) or _OF_PIXELS.search(after))


def _parts(last: str) -> tuple[str, str, str]:
    """What is before the word for a mean or a deviation, the word, and what is after it; the word is empty where there is none."""
    match = _NAME.fullmatch(last)
    if match is None or (match[2].lower() not in ("mean", "std") and match[1] and not match[1].endswith("_")):
        return last, "", ""
    return match[1].lower(), match[2].lower(), match[3].lower()


def _doubt(mean: str, std: str, values: tuple[Tensor, ...]) -> str:
    """Why it is not known what a mean and a deviation do to pixels; empty where it is."""
    (before, word, after), (_, other, _) = (_parts(name.rpartition(".")[2]) for name in (mean, std))
    if not std:
        return f"{mean} has no deviation beside it"
    if other in _VARIANCES:
        return f"{std} is a variance, to which a layer may add a small number"
    if word == "shift":
        return f"{mean} may be taken off and {std} divided by, or the one added and the other multiplied with"
    if word == "mu" and not (before or after) and all(value.numel() == 1 for value in values):
        return f"{mean} and {std} are single numbers, which may be of something else"
    return ""


def _is_of_channels(value: Tensor) -> bool:
    """Whether a tensor has a number a channel, as (C,), (C, 1, 1) or (1, C, 1, 1); C may be 1."""
    numbers = value.dtype != torch.bool and not value.is_complex()
    return numbers and value.numel() in CHANNELS and value.ndim <= 4
