"""Layers of Keras and their weights in PyTorch's layouts and names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from podium.errors import ModelFileError

Weights = dict[str, np.ndarray]

# Keras's names of weights, and PyTorch's.
TORCH = {
    "kernel": "weight", "depthwise_kernel": "weight", "pointwise_kernel": "weight", "bias": "bias",
    "gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var",
}  # fmt: skip

# The classes whose weights are read, as Keras spells them in automatic names of layers.
_CLASSES = ["conv1d", "conv2d", "conv3d", "conv2d_transpose", "depthwise_conv2d", "separable_conv2d", "dense"]
CLASSES_BY_NAME = {name: name for name in [*_CLASSES, "batch_normalization"]} | {
    "convolution2d": "conv2d", "separableconvolution2d": "separable_conv2d",
    "batchnormalization": "batch_normalization", "batch_normalization_v1": "batch_normalization",
}  # fmt: skip


class KerasLayer(NamedTuple):
    """A layer's name in the file, and its weights as float32 in Keras's layout, such as (H, W, in, out).

    The weights are called kernel, bias, gamma, beta, moving_mean, moving_variance, depthwise_kernel, pointwise_kernel.
    """

    name: str
    weights: Weights


def to_torch(layers: Sequence[KerasLayer], flattened: Mapping[str, tuple[int, int]] | None = None) -> dict[str, Tensor]:
    """The weights in PyTorch's layouts, as "LAYER.weight", "LAYER.bias", "LAYER.running_mean", "LAYER.running_var".

    A separable convolution is "LAYER.depthwise.weight" and "LAYER.pointwise.weight". A batch norm without gamma or beta
    gets ones or zeros. Layers with automatic names are counted from 0 in the order in which they were made: the `conv2d_94`
    and `conv2d_95` of the second model in a session become `conv2d_0` and `conv2d_1`, as those of the first model.

    Args:
        layers: what `read_keras` gives.
        flattened: by the name of a dense layer in the result, the height and width of the maps that it reads flattened.
            Keras flattens channels last, PyTorch channels first.

    Raises:
        ModelFileError: a dense layer that cannot have seen maps of that size.
    """
    names = _counted([layer.name for layer in layers])
    state = {}
    for layer in layers:
        name = names[layer.name]
        maps = (flattened or {}).get(name)
        weights = layer.weights | {"kernel": _channels_first(layer, *maps)} if maps else layer.weights
        for key, array in _torch_layout(weights):
            state[f"{name}.{key}"] = torch.from_numpy(np.ascontiguousarray(array))
    return state


def _torch_layout(weights: Weights) -> Iterator[tuple[str, np.ndarray]]:
    """One layer's arrays in PyTorch's layouts, by PyTorch's names."""
    if "moving_mean" in weights:
        mean = weights["moving_mean"]
        weights = {"gamma": np.ones_like(mean), "beta": np.zeros_like(mean)} | weights
    for leaf, array in weights.items():
        key = TORCH[leaf]
        if "pointwise_kernel" in weights:
            key = f"depthwise.{key}" if leaf == "depthwise_kernel" else f"pointwise.{key}"
        if leaf == "depthwise_kernel":  # (H, W, C, M) -> (C·M, 1, H, W)
            array = np.moveaxis(array, (-2, -1), (0, 1)).reshape(-1, 1, *array.shape[:-2])
        elif leaf.endswith("kernel"):  # (H, W, in, out) -> (out, in, H, W), and (in, out) -> (out, in)
            array = np.moveaxis(array, (-1, -2), (0, 1))
        yield key, array


def _channels_first(layer: KerasLayer, height: int, width: int) -> np.ndarray:
    """A dense kernel (H·W·C, out) with its inputs reordered to C·H·W."""
    kernel = layer.weights.get("kernel", np.empty(0))
    if kernel.ndim != 2 or kernel.shape[0] % (height * width):
        raise ModelFileError(
            f"the layer {layer.name!r}, of shape {kernel.shape}, has not seen maps of {height} x {width}",
            "name the architecture that the file is of",
        )
    maps = kernel.reshape(height, width, -1, kernel.shape[1])
    return maps.transpose(2, 0, 1, 3).reshape(kernel.shape)


def _counted(names: Sequence[str]) -> dict[str, str]:
    """The new name of every layer: automatic names are numbered again from 0 within their class, others stay.

    Their numbers follow the order of creation, which is the same in every session; the order in the file is not.
    """
    counted = {name: name for name in names}
    seen: Counter[str] = Counter()
    for name in sorted(names, key=lambda name: auto_name(name)[1]):
        kind, _ = auto_name(name)
        if kind:
            counted[name] = f"{kind}_{seen[kind]}"
            seen[kind] += 1
    return counted


def auto_name(name: str) -> tuple[str, int]:
    """The class and the number in an automatic name of Keras; an empty class for other names."""
    match = re.fullmatch(r"(.+?)(?:_(\d{1,9}))?", name)
    return (CLASSES_BY_NAME.get(match[1], ""), int(match[2] or 0)) if match else ("", 0)


def kind_of(entry: Mapping[str, Any]) -> str:
    """The class of a configured layer, as in automatic names; empty for classes whose weights are not read here."""
    return CLASSES_BY_NAME.get(snake(entry["class_name"]), "")


def snake(name: str) -> str:
    """The name of a class as Keras spells it in paths: conv2d for Conv2D."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
