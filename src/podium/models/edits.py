"""Structural edits: what pruning removed from a network, as plain values in its spec, and how they are applied again.

`spec["edits"]` is {"layers": {name: {"out": 24, "in": 13, "groups": 1}}, "removed": [name, ...]}. "layers" has the sizes of
each layer that differ from those it was built with, "removed" the blocks that an identity has replaced. Rebuilding a pruned
network needs this file, and none of the code that prunes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from podium.models.convnet import ConvNet

Sizes = dict[str, int]


def sizes(layer: nn.Module) -> Sizes | None:
    """The sizes of a layer that an edit may change; None for layers that edits do not change."""
    if isinstance(layer, nn.Conv2d):
        return {"out": layer.out_channels, "in": layer.in_channels, "groups": layer.groups}
    if isinstance(layer, nn.Linear):
        return {"out": layer.out_features, "in": layer.in_features}
    if isinstance(layer, nn.BatchNorm2d):
        return {"out": layer.num_features}
    return None


def difference(whole: ConvNet, small: ConvNet) -> dict[str, Any]:
    """The edits that turn `whole` into `small`; both may be on the meta device."""
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
    """Apply structural edits to a network in place; each layer keeps its first channels, and the spec records the edits.

    Fresh weights are scaled for the smaller layer. Their variance depends on fan-in or fan-out [He et al. 2015, section
    2.2]; the scale is the geometric mean of both.

    Raises:
        ValueError: an edit names a layer that does not exist, or does not make its layer smaller.
    """
    for name in edits.get("removed", ()):
        _find(net, name)
        net.set_submodule(name, nn.Identity())
    for name, wanted in edits.get("layers", {}).items():
        if name.startswith("auxiliary.") and not net.auxiliary:
            continue  # a bundle has no auxiliary classifiers
        layer = _find(net, name)
        _shrink(name, layer, wanted)
    net.spec = {**net.spec, "edits": dict(edits)}
    return net


def _find(net: ConvNet, name: str) -> nn.Module:
    try:
        return net.get_submodule(name)
    except AttributeError:
        raise ValueError(f"edits: {net.spec['model']} has no layer {name!r}") from None


def _shrink(name: str, layer: nn.Module, wanted: Sizes) -> None:
    """Cut a layer down to its first channels."""
    built: Any = sizes(layer)
    if built is None or not all(
        key in built and isinstance(n, int) and 0 < n <= built[key] for key, n in wanted.items()
    ):
        raise ValueError(f"edits: {name} cannot become {wanted}")
    now = {**built, **wanted}
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
