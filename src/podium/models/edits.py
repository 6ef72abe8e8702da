"""Structural edits: what pruning took from a network, as plain values in its spec, and the network they leave.

`spec["edits"]` is {"layers": {name: {"out": 24, "in": 13, "groups": 1}}, "removed": [name, ...]}: of each layer the sizes that
are not those it was built with, and the blocks that nothing stands for. Rebuilding needs this file and nothing that prunes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from podium.models.convnet import ConvNet

Sizes = dict[str, int]


def sizes(layer: nn.Module) -> Sizes | None:
    """What an edit may change of a layer; None where there is nothing."""
    if isinstance(layer, nn.Conv2d):
        return {"out": layer.out_channels, "in": layer.in_channels, "groups": layer.groups}
    if isinstance(layer, nn.Linear):
        return {"out": layer.out_features, "in": layer.in_features}
    if isinstance(layer, nn.BatchNorm2d):
        return {"out": layer.num_features}
    return None


def difference(whole: ConvNet, small: ConvNet) -> dict[str, Any]:
    """The edits that make `small` out of `whole`, which may be on the meta device."""
    layers: dict[str, Sizes] = {}
    removed: list[str] = []
    for name, layer in whole.named_modules():
        if any(name.startswith(f"{gone}.") for gone in removed):
            continue
        other = small.get_submodule(name)
        if isinstance(other, nn.Identity) and not isinstance(layer, nn.Identity):
            removed.append(name)
            continue
        built, now = sizes(layer), sizes(other)
        if built is not None and now is not None and built != now:
            layers[name] = {key: value for key, value in now.items() if value != built[key]}
    return {key: value for key, value in {"layers": layers, "removed": removed}.items() if value}


@torch.no_grad()
def apply_edits(net: ConvNet, edits: Mapping[str, Any]) -> ConvNet:
    """Take from a network what the edits took; it keeps its first channels, and its spec has the edits.

    Fresh weights are scaled to the layer that is left: their variance goes by fan-in or fan-out [He et al. 2015,
    section 2.2], of which this takes the geometric mean.

    Raises:
        ValueError: an edit of a layer that is not there, or one that does not make it smaller.
    """
    for name in edits.get("removed", ()):
        _find(net, name)
        net.set_submodule(name, nn.Identity())
    for name, asked in edits.get("layers", {}).items():
        if name.startswith("auxiliary.") and not net.auxiliary:
            continue  # what ships has none
        layer = _find(net, name)
        _shrink(name, layer, asked)
    net.spec = {**net.spec, "edits": dict(edits)}
    return net


def _find(net: ConvNet, name: str) -> nn.Module:
    try:
        return net.get_submodule(name)
    except AttributeError:
        raise ValueError(f"edits: {net.spec['model']} has no layer {name!r}") from None


def _shrink(name: str, layer: nn.Module, asked: Sizes) -> None:
    built: Any = sizes(layer)
    if built is None or not all(
        key in built and isinstance(n, int) and 0 < n <= built[key] for key, n in asked.items()
    ):
        raise ValueError(f"edits: {name} cannot become {asked}")
    now = {**built, **asked}
    out = now["out"]
    each: Any = layer
    if isinstance(layer, nn.BatchNorm2d):
        each.num_features = out
        for key in ("weight", "bias"):
            each._parameters[key] = _kept(each._parameters[key], out)
        for key in ("running_mean", "running_var"):
            each._buffers[key] = each._buffers[key][:out].clone()
        return
    groups = now.get("groups", 1)
    if out % groups or now["in"] % groups:
        raise ValueError(f"edits: {name} cannot have {groups} groups of {now['in']} and {out} channels")
    before = each.weight.numel()
    weight = each.weight[:out, : now["in"] // groups].clone(memory_format=torch.contiguous_format)
    each.weight = nn.Parameter(weight * (before / weight.numel()) ** 0.25, each.weight.requires_grad)
    if each.bias is not None:
        each.bias = _kept(each.bias, out)
    if isinstance(layer, nn.Conv2d):
        each.out_channels, each.in_channels, each.groups = out, now["in"], groups
    else:
        each.out_features, each.in_features = out, now["in"]


def _kept(vector: Tensor, out: int) -> nn.Parameter:
    return nn.Parameter(vector[:out].clone(), vector.requires_grad)
