"""Means and deviations of pixels among a checkpoint's tensors, told by the words of their names.

The names are the author's own: `0.mean`, `normalize.mean`, `pixel_mean`, `cifar_mean`, `Mean`, `mu`. Two tensors whose names differ
only in the word for a mean and the word for a deviation are a pair. The other words say what it is of: pixels, something else, or
that is not known.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from podium.weights.wrappers import is_of_an_optimiser

WIDE = 2.0  # a mean or a deviation above it is of pixels from 0 to 255
CHANNELS = (1, 2, 3, 4)  # of images whose statistics people keep
# Words for what is subtracted, and for what is divided by; of the others in a pair it is not known what the layer does with them.
_MEANS = ("mean", "means", "mu", "avg", "shift", "center", "loc", "sub")
_SURE = ("std", "stds", "stdev", "stddev", "stdv", "deviation", "dev", "sd", "sds", "sigma")
_VARIANCES = ("var", "variance")
_DEVIATIONS = (*_SURE, *_VARIANCES, "scale", "div")
_SURE_MEANS = ("mean", "means", "mu", "avg")
_PARTNERS = {
    **dict.fromkeys(_SURE_MEANS, (*_SURE, *_VARIANCES)),
    **dict.fromkeys(("shift", "center", "loc"), ("scale",)),
    "sub": ("div",),
}
# Words beside them that say nothing else than pixels, or name what a checkpoint is wrapped in.
_PIXEL_WORDS = (
    "normalize normalise normalizer normaliser normalized normalization normalisation norm pixel pixels image images img imgs input "
    "inputs rgb bgr channel channels color colour preprocess preprocessing preprocessor preproc transform transforms data new scaling "
    "value values tensor buffer "
    "module model models net network backbone encoder classifier orig mod state dict ema averaged swa shadow teacher momentum student "
    "hyper parameters hyperparameters hparams args config cfg params checkpoint datamodule pretrained default attacker"
)
# Words that say of something else.
_OTHER_WORDS = (
    "running moving grad gradient target targets label labels y acc accuracy auc loss losses time noise size score scores logit logits "
    "feature features latent latents reward rewards metric metrics history log logs best depth weight weights embedding embeddings "
    "tabular table init fold folds output outputs out denormalize denorm unnormalize vgg lpips perceptual criterion epoch epochs price "
    "class classes head age text audio token tokens action actions prior posterior"
)
_OF_PIXELS, _OF_OTHERS = set(_PIXEL_WORDS.split()), set(_OTHER_WORDS.split())
_NORMALISES = {"normalize", "normalise", "normalizer", "normaliser", "normalization", "normalisation", "norm"}
# Words for what acts on pixels, and for the numbers by which it does.
_ON_PIXELS = _NORMALISES | {
    "pixel",
    "pixels",
    "image",
    "images",
    "img",
    "imgs",
    "input",
    "inputs",
    "preprocess",
    "preprocessor",
}
_FACTORS = {*_MEANS, *_DEVIATIONS, "weight", "bias", "gamma", "beta", "factor", "offset", "gain"}
# Of a layer beside its mean and deviation, what does nothing to pixels.
_COUNTERS = {"count", "initialized", "n", "eps", "num_batches_tracked", "steps"}

Kind = Literal["pixels", "unknown", "others"]


@dataclass(frozen=True)
class Normalizer:
    """A mean and a deviation in a checkpoint.

    Args:
        mean, std: their names; `std` is empty where there is none.
        values: the two tensors, or the mean alone.
        sure: whether its name says that it is of pixels.
        doubt: why it is not known what they do to pixels; empty where it is.
    """

    mean: str
    std: str
    values: tuple[Tensor, ...]
    sure: bool = True
    doubt: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Its mean's and its deviation's."""
        return (self.mean, self.std) if self.std else (self.mean,)

    @property
    def layer(self) -> str:
        """The name of the layer with a dot behind it, empty for the outermost module."""
        return self.mean[: self.mean.rfind(".") + 1]

    @property
    def count(self) -> int:
        """The numbers in it."""
        return max(value.numel() for value in self.values)


def without_normalizers(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[Normalizer]]:
    """Take the means and deviations that may be of pixels out of a checkpoint.

    Args:
        tensors: by their names in the file.

    Returns:
        The other tensors, and the means and deviations.
    """
    found, used = [], set[str]()
    partners: dict[tuple[str, ...], dict[str, str]] = {}
    for name in tensors:
        if key := _key(name, _DEVIATIONS):
            partners.setdefault(key, {})[_word(name, _DEVIATIONS)] = name
    means, roots = [name for name in tensors if _word(name, _MEANS)], _roots(tensors)
    for name in sorted(
        means, key=lambda name: _MEANS.index(_word(name, _MEANS))
    ):  # mean before mu, where both are there
        value, kind, key = tensors[name], kind_of(name, roots), _key(name, _MEANS)
        if key is None or kind == "others" or is_of_an_optimiser(name):
            continue
        std = _partner(name, partners.get(key, {}), tensors)
        pair = (value, tensors[std]) if std else (value,)
        if std in used or (not std and not _is_mean_alone(name, value, kind)):
            continue
        images = kind == "pixels" and std and value.ndim >= 3 and value.shape == tensors[std].shape
        if not (images or all(map(_is_of_channels, pair))):
            continue
        beside = _beside(name, tensors, {name, std})
        found.append(Normalizer(name, std, pair, kind == "pixels", _doubt(name, std, pair, kind, beside)))
        used |= {name, std, *(other for other in beside if tensors[other].numel() <= max(CHANNELS))} - {""}
    return {name: value for name, value in tensors.items() if name not in used}, found


def _partner(mean: str, there: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """The deviation that belongs to a mean, among those of the same layer by their words; empty where there is none."""
    for word in _PARTNERS[_word(mean, _MEANS)]:
        name = there.get(word, "")
        # A sigma of one number beside a mean of three is one of noise.
        if name and (word != "sigma" or tensors[name].numel() == tensors[mean].numel()):
            return name
    return ""


def _is_mean_alone(name: str, value: Tensor, kind: Kind) -> bool:
    """Whether a mean without a deviation is likely of pixels: of several numbers, or of a layer that normalises."""
    several = value.numel() > 1 or bool(_NORMALISES & {*_words(_layer(name))})
    return kind == "pixels" and _word(name, _MEANS) in _SURE_MEANS and several


def _roots(tensors: Mapping[str, Tensor]) -> set[str]:
    """The names, with a dot behind them, of what holds a network that reads images; they say nothing of a mean beside its layers."""
    found = set[str]()
    for name, value in tensors.items():
        if value.ndim == 4 and value.shape[1] in CHANNELS and value.shape[0] > max(CHANNELS):
            parts = name.split(".")[:-2]  # without the layer's own name
            found |= {"".join(f"{part}." for part in parts[:count]) for count in range(1, len(parts) + 1)}
    return found


def kind_of(name: str, roots: Collection[str] = ()) -> Kind:
    """What a mean or a deviation is of: by its own name, and where that says nothing more by that of its layer.

    Args:
        name: of the tensor.
        roots: names, with a dot behind them, that say nothing.
    """
    layer, _, last = name.rpartition(".")
    words = _said(last) or (set() if f"{layer}." in roots else _said(_layer(name)))
    return "others" if words & _OF_OTHERS else "pixels" if words <= _OF_PIXELS else "unknown"


def may_act_on_pixels(name: str) -> bool:
    """Whether a name says that a small tensor does something to pixels: `normalize.scale`, `input_scale`, `pixel_std`."""
    words = {word for word in _words(f"{_layer(name)} {name.rpartition('.')[2]}") if not word.isdigit()}
    return bool(words & _ON_PIXELS) and words <= _OF_PIXELS | _FACTORS


def is_called_a_mean(name: str) -> bool:
    """Whether a name is no more than "mean" or "normalize", or says besides that it is of pixels."""
    return (
        bool(({"mean", "means"} | _NORMALISES - {"norm"}) & {*_words(name.rpartition(".")[2])})
        and kind_of(name) == "pixels"
    )


def says_others(layers: str) -> bool:
    """Whether names of modules say that what is in them is not of pixels."""
    return bool(_said(layers) & _OF_OTHERS)


def _said(name: str) -> set[str]:
    return {word for word in _words(name) if not word.isdigit()} - {*_MEANS, *_DEVIATIONS}


def _layer(name: str) -> str:
    """The last name of a layer that is no number and nothing that wrappers put in."""
    parts = [part for part in name.split(".")[:-1] if not part.isdigit() and part not in ("module", "_orig_mod")]
    return parts[-1] if parts else ""


def is_statistic(name: str) -> bool:
    """Whether a name is one that a mean or a deviation of pixels may have."""
    return kind_of(name) != "others" and is_called_a_statistic(name)


def is_called_a_statistic(name: str) -> bool:
    """Whether a name is that of a mean or a deviation, of whatever it is."""
    return any(word in (*_MEANS, *_DEVIATIONS) for word in _words(name.rpartition(".")[2]))


def _words(name: str) -> list[str]:
    """The words of a name in small letters: `net.meanBuffer` has net, mean and buffer."""
    name = re.sub(r"std_?dev", "std", name, flags=re.IGNORECASE)
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def _word(name: str, of: tuple[str, ...]) -> str:
    """The last word of a tensor's own name that is one of some; empty where there is none."""
    return next((word for word in reversed(_words(name.rpartition(".")[2])) if word in of), "")


def _key(name: str, of: tuple[str, ...]) -> tuple[str, ...] | None:
    """What a mean and its deviation have in common: their layer, and the other words. None where none of the words is there."""
    layer, _, last = name.rpartition(".")
    word, words = _word(name, of), _words(last)
    if not word:
        return None
    place = len(words) - 1 - words[::-1].index(word)
    return (layer, *words[:place], "", *words[place + 1 :])


def _beside(name: str, tensors: Mapping[str, Tensor], own: set[str]) -> list[str]:
    """The other tensors of a layer that holds a mean; none of the outermost module, which holds the network."""
    layer = name[: name.rfind(".") + 1]
    inside = [other for other in tensors if other.startswith(layer) and other not in own]
    small = all("." not in other[len(layer) :] and tensors[other].numel() <= max(CHANNELS) for other in inside)
    return inside if layer and small else []


def _doubt(mean: str, std: str, values: tuple[Tensor, ...], kind: Kind, beside: list[str]) -> str:
    """Why it is not known what a mean and a deviation do to pixels; empty where it is."""
    subtracted, divided = _word(mean, _MEANS), _word(std, _DEVIATIONS)
    if not std:
        return f"{mean} has no deviation beside it"
    if any(value.numel() > max(CHANNELS) for value in values):
        return f"{mean} has a number for each pixel"
    if more := [other for other in beside if other.rpartition(".")[2].lower() not in _COUNTERS]:
        return f"{more[0]} stands beside {mean}"
    if divided in _VARIANCES:
        return f"{std} is a variance, to which a layer may add a small number"
    if subtracted not in _SURE_MEANS or divided not in _SURE:
        return f"{mean} may be taken off and {std} divided by, or the one added and the other multiplied with"
    if subtracted == "mu" and all(value.numel() == 1 for value in values):
        return f"{mean} and {std} are single numbers, which may be of something else"
    if kind == "unknown":
        return f"{mean} and {std} may be of pixels or of something else"
    return ""


def _is_of_channels(value: Tensor) -> bool:
    """Whether a tensor has a number a channel, as (C,), (C, 1, 1) or (1, C, 1, 1); C may be 1."""
    numbers = value.dtype != torch.bool and not value.is_complex()
    return numbers and value.numel() in CHANNELS and value.ndim <= 4
