"""The head among the tensors of a checkpoint: the one linear layer of fitting width, whatever it is called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from podium.weights.doubt import is_of_training

HEAD, BIAS = "head.classifier.weight", "head.classifier.bias"  # our names
BODY = ("stem.", "stages.")  # how names of ours begin, of layers before the head
# Parts of a weight by their names in the file, and the call that joins them.
_JOINS = {
    r"(.+)\.parametrizations\.weight\..+": 'torch.nn.utils.parametrize.remove_parametrizations({layer}, "weight")',
    r"(.+)\.weight_u": "torch.nn.utils.remove_spectral_norm({layer})",
    r"(.+)\.weight_g": "torch.nn.utils.remove_weight_norm({layer})",
}
NO_BIAS = (
    "has no bias: zeros take its place, as a linear layer without one has them; a cosine or ArcFace head, which norms features "
    "and weights, looks the same in a file and answers otherwise: compare answers before use"
)


def with_head(
    named: dict[str, Tensor], theirs: Sequence[str], own: Mapping[str, Tensor], around: Sequence[Mapping[str, Tensor]]
) -> tuple[dict[str, Tensor], list[str], list[Tensor]]:
    """Find the head where no rule of the peer does: `fc.1` of a Sequential, `head.fc`, a Dense layer after a nested model.

    Args:
        named: tensors by our names.
        theirs: the names of the same tensors in the file, in the same order.
        own: the network's tensors, of which only names and shapes count.
        around: tensors beside these by their names in the file, the nearest first.

    Returns:
        The tensors with the head under our names, lines on what was guessed, and the weights of all such layers where there are several.
    """
    width = own[HEAD].shape[1]
    if HEAD in named:
        if BIAS in named or BIAS not in own or not may_be_head(named[HEAD], width):
            return named, [], []
        return named | {BIAS: _zeros(named[HEAD])}, [f"the head {NO_BIAS}"], []
    inside = {their: our for our, their in zip(named, theirs, strict=True) if our not in own}
    places = [{their: named[our] for their, our in inside.items()}, *around]
    for number, place in enumerate(places):
        weights = (name for name, value in place.items() if name.endswith(".weight") and may_be_head(value, width))
        layers = [name.removesuffix(".weight") for name in weights]
        layers = [layer for layer in layers if not is_of_training(layer)] or layers
        if len(layers) > 1:
            return named, [], [place[f"{layer}.weight"] for layer in layers]
        if layers:
            (layer,) = layers
            more = place.keys() - {f"{layer}.weight", f"{layer}.bias"}
            if more and not number:
                return named, [], []
            weight, bias = place[f"{layer}.weight"], place.get(f"{layer}.bias")
            notes = [f"the head is {layer}, for {len(weight)} classes"]
            if bias is None:
                notes.append(f"the head {layer} {NO_BIAS}")
                bias = _zeros(weight)
            used = () if number else (inside[f"{layer}.weight"], inside.get(f"{layer}.bias", ""))
            rest = {key: value for key, value in named.items() if key not in used}
            return rest | {HEAD: weight.flatten(1), BIAS: bias}, notes, []
    return named, [], []


def may_be_head(value: Tensor, width: int) -> bool:
    """Whether a tensor is the weight (classes, width) of a linear layer, or of a convolution of 1 x 1 in its place."""
    linear = value.ndim == 2 or (value.ndim == 4 and value.shape[2:] == (1, 1))
    return linear and value.shape[0] > 1 and value.shape[1] == width


def _zeros(weight: Tensor) -> Tensor:
    return torch.zeros(len(weight), dtype=weight.dtype)


def without_head(
    named: dict[str, Tensor], own: Mapping[str, Tensor], theirs: Mapping[str, str]
) -> tuple[dict[str, Tensor], list[str]]:
    """Leave out a head that does not fit the network, such as one of two layers, where a fresh one takes its place.

    Args:
        named: tensors by our names.
        own: the network's tensors, of which only names and shapes count.
        theirs: from our names to those in the file.

    Returns:
        The other tensors, and the names in the file of the layers that were left out.
    """
    odd = {k: v for k, v in named.items() if not _fits(k, v, own) and not k.startswith((*BODY, "auxiliary."))}
    if not odd or any(value.ndim > 2 for value in odd.values()):  # a convolution is of no head
        return named, []
    layers = list(dict.fromkeys(_layers(theirs.get(name, name) for name in odd)))
    return {key: value for key, value in named.items() if key not in odd}, layers


def _fits(key: str, value: Tensor, own: Mapping[str, Tensor]) -> bool:
    return key in own and own[key].shape == value.shape


def _layers(names: Iterable[str]) -> Iterator[str]:
    return (name.rpartition(".")[0] or name for name in names)


def in_parts(names: Iterable[str]) -> tuple[str, str] | None:
    """What keeps a layer's weight in several parts, and what joins them, in words; None where nothing does.

    Args:
        names: of the tensors in the file.
    """
    for name in names:
        for pattern, call in _JOINS.items():
            if found := re.fullmatch(pattern, name):
                layer = found[1]
                what = f"{layer}.weight is kept in parts ({name}), as weight_norm and spectral_norm leave it"
                return (
                    what,
                    f"call {call.format(layer=f'net.{layer}')} in its own program, save net.state_dict() again, and give that",
                )
    return None
