"""The layers of a network as a tree with their shapes, from which the layer table and the diagram are made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from podium.models.convnet import Auxiliary, ConvNet, Head
from podium.models.modules import Branches, Grid, Residual, SqueezeExcitation

Shape = tuple[int, ...]  # (C, H, W), or (F,) of what is flattened


@dataclass(frozen=True)
class Node:
    """A layer, or a block with the nodes that it is made of.

    Args:
        name: path in the network, as `get_submodule` takes it.
        module: the layer or the block.
        inputs, shape: of the input and of the output.
        children: in order of execution; a layer has none. Those of `Branches` and `Residual` all read the block's input,
            those of any other block read the output of the child before them.
    """

    name: str
    module: nn.Module
    inputs: Shape
    shape: Shape
    children: tuple[Node, ...] = ()


def trace(net: ConvNet) -> list[Node]:
    """The trees of the stem, each stage, the head and the auxiliary classifiers, for one image of the network's input size."""
    skeleton, side = net.skeleton().eval(), net.spec["image_size"]
    with torch.no_grad():
        trunk = [("stem", skeleton.stem)]
        trunk += [(f"stages.{name}", stage) for name, stage in skeleton.stages.named_children()]
        nodes = list(_chain([*trunk, ("head", skeleton.head)], (net.spec["in_chans"], side, side)))
        shapes = {node.name: node.shape for node in nodes}
        extra = [
            _node(f"auxiliary.{name}", head, shapes[f"stages.{name}"]) for name, head in skeleton.auxiliary.items()
        ]
    return nodes + extra


def _chain(steps: list[tuple[str, nn.Module]], inputs: Shape) -> Iterator[Node]:
    """The nodes of modules that run one after the other."""
    for name, module in steps:
        node = _node(name, module, inputs)
        yield node
        inputs = node.shape


def _node(name: str, module: nn.Module, inputs: Shape) -> Node:
    # Not `named_children`, which lists a module only once where it stands in two places.
    steps = [(f"{name}.{key}", child) for key, child in module._modules.items() if child is not None]
    if isinstance(module, Branches):
        sides = tuple(_node(*step, inputs) for step in steps)
        return Node(name, module, inputs, (sum(side.shape[0] for side in sides), *sides[0].shape[1:]), sides)
    if isinstance(module, Residual):
        sides = tuple(_node(*step, inputs) for step in steps)
        return Node(name, module, inputs, sides[0].shape, sides)
    if isinstance(module, SqueezeExcitation):
        return Node(name, module, inputs, inputs, tuple(_chain(steps, (inputs[0], 1, 1))))
    if isinstance(module, Auxiliary):
        parts = {
            "pool": module.pool(*inputs[1:]),
            "conv": module.conv,
            "flatten": nn.Flatten(),
            "hidden": module.hidden,
            "classifier": module.classifier,
        }
        steps = [(f"{name}.{key}", part) for key, part in parts.items()]
    elif isinstance(module, nn.BatchNorm2d):  # on the meta device it takes ten times as long as other layers
        return Node(name, module, inputs, inputs)
    elif not isinstance(module, nn.Sequential | Head):
        device = next((each.device for each in (*module.parameters(), *module.buffers())), torch.device("cpu"))
        made = module(torch.empty(0, *inputs, device=device))  # no images: shapes without computing
        return Node(name, module, inputs, tuple(made.shape[1:]))
    children = tuple(_chain(steps, inputs))
    return Node(name, module, inputs, children[-1].shape if children else inputs, children)


def pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    """A kernel's or stride's (height, width)."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def format_sizes(sizes: tuple[int, ...]) -> str:
    """A shape, or the size of a kernel, as text: 64x56x56."""
    return "x".join(map(str, sizes))


# The papers' terms for layers, by class.
WORDS = {
    "Conv2d": "conv",
    "Linear": "fc",
    "BatchNorm2d": "batch norm",
    "ReLU": "ReLU",
    "ReLU6": "ReLU6",
    "MaxPool2d": "max pool",
    "ZeroPaddedMaxPool2d": "max pool",
    "SamePool": "max pool",
    "AvgPool2d": "avg pool",
    "AdaptiveAvgPool2d": "avg pool",
    "LocalResponseNorm": "LRN",
    "ZeroPadShortcut": "zero padding",
    "ZeroPad2d": "zero padding",
    "Ones": "channel of ones",
    "Branches": "concat",
}


def describe(module: nn.Module) -> str:
    """Describe a layer in a few words, or how a block joins its branches: conv 3x3/2, 64; max pool 3x3/2; concat; add, ReLU."""
    layer: Any = module
    if isinstance(layer, Residual):
        scaled = f"scale by {layer.scale:g}" if layer.scale != 1 else ""
        added = "add" if layer.shortcut is not None else ""
        return ", ".join(filter(None, (scaled, added, "ReLU" if layer.act else "")))
    if isinstance(layer, Grid):
        return "flatten"
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return "global avg pool" if layer.output_size == 1 else f"avg pool to {format_sizes(pair(layer.output_size))}"
    name = type(layer).__name__
    words = WORDS.get(name) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    groups = getattr(layer, "groups", 1)
    if groups > 1 and groups == layer.in_channels:
        words, groups = "depthwise conv", 1
    if hasattr(layer, "kernel_size"):
        words += f" {format_sizes(pair(layer.kernel_size))}"
    stride = pair(getattr(layer, "stride", 1))
    if stride != (1, 1):
        words += f"/{stride[0] if stride[0] == stride[1] else format_sizes(stride)}"
    for width in ("out_channels", "out_features", "outputs"):
        if hasattr(layer, width):
            words += f", {getattr(layer, width)}"
    if groups > 1:
        words += f", {groups} groups"
    return f"{words} {layer.p:g}" if isinstance(layer, nn.Dropout) else words
