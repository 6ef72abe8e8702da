"""Structured pruning: whole channels, or whole residual blocks, removed from a trained network until it meets a target."""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from podium.errors import MachineError, UsageError
from podium.evaluation.cost import count_net
from podium.models.convnet import ConvNet
from podium.models.edits import difference
from podium.models.modules import Residual, SqueezeExcitation
from podium.models.registry import rebuild
from podium.models.undrawn import meta
from podium.networks.blocks import LocalResponseNorm
from podium.networks.resnet import ZeroPadShortcut

MOST = 0.95  # share of a layer's channels that may go
STEPS = 12  # of a bisection: to a four-thousandth


def unedited(net: ConvNet) -> ConvNet:
    """The network as its name has it, without weights."""
    spec = {key: value for key, value in net.spec.items() if key != "edits"}
    return meta(lambda: rebuild(spec))


def recorded(net: ConvNet) -> ConvNet:
    """Record in a network's spec what was removed, and check that the spec rebuilds the network.

    Raises:
        MachineError: it does not.
    """
    edits = difference(unedited(net), net)
    net.spec = {key: value for key, value in net.spec.items() if key != "edits"} | ({"edits": edits} if edits else {})
    again = meta(lambda: rebuild(net.spec)).state_dict()
    if {k: v.shape for k, v in again.items()} != {k: v.shape for k, v in net.state_dict().items()}:
        raise MachineError(f"the pruned {net.spec['model']} cannot be rebuilt from its card", "report it")
    return net


def rounding(net: ConvNet) -> tuple[int, int]:
    """The step that channel counts stay multiples of, and the width below which layers are left whole.

    Kernels are fastest at multiples of 8. Networks that are mostly narrower than 64 channels keep even numbers instead. A
    group of a grouped convolution keeps at least two steps.
    """
    convs = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    wide = statistics.median(layer.out_channels for layer in convs) >= 64
    groups = [layer.in_channels // layer.groups for layer in convs if 1 < layer.groups < layer.in_channels]
    step = 8 if wide else 2
    while step > 1 and min(groups, default=16) < 2 * step:
        step //= 2
    return step, 32 if wide else 4


def prune_channels(net: ConvNet, ratio: float, uniform: bool = False) -> ConvNet:
    """A copy of a network without its least important channels.

    Channels that meet in a sum, a concatenation or a gate go together [Fang et al. 2023, arXiv:2301.12900]; their importance is the
    norm of all weights that go with them. The classifiers' outputs stay.

    Args:
        net: left as it is; may be frozen. On the meta device all its channels are of one importance: uniform only.
        ratio: share of the channels that goes, below 1. Costs fall by about its square.
        uniform: every layer loses the same share; else the layers of like structure compete.

    Returns:
        The smaller network, in evaluation mode, its spec with what was taken.

    Raises:
        UsageError: the ratio is not between 0 and 1, or the network has layers that pruning does not know.
    """
    if not 0 <= ratio < 1:
        raise UsageError(
            f"ratio {ratio}: a network without channels answers nothing", "give at least 0 and less than 1"
        )
    _refuse_unknown_layers(net)
    place = "meta" if next(net.parameters()).is_meta else "cpu"  # on a GPU other operations might stand in the graph
    # torch-pruning takes nothing of frozen weights, and does not say so.
    small = copy.deepcopy(net).to(place).eval().requires_grad_(True)
    side = net.spec["image_size"]
    x = torch.zeros(2, net.spec["in_chans"], side, side, device=place)
    step, narrow = rounding(small)
    # Local response normalisation keeps its channels, by slices that torch-pruning would take for a shuffle.
    norms = {name: layer for name, layer in small.named_modules() if isinstance(layer, LocalResponseNorm)}
    for name in norms:
        small.set_submodule(name, nn.Identity())
    for scope in _scopes(_groups(small, x, _kept_whole(small, narrow)), uniform):
        ranked = torch.cat([group.importance for group in scope]).sort().values
        cut = ranked[min(len(ranked) - 1, int(ratio * len(ranked)))]
        for group in scope:
            count = int(ratio * len(group.importance)) if uniform else int((group.importance < cut).sum())
            group.take(count, step, uniform)
    for name, norm in norms.items():
        small.set_submodule(name, norm)
    for mine, theirs in zip(small.parameters(), net.parameters(), strict=True):
        mine.requires_grad_(theirs.requires_grad)
        mine.grad = None
    with torch.no_grad():
        if small(x).shape != (2, net.spec["num_classes"]):
            raise MachineError(f"pruning changed the classes of {net.spec['model']}", "report it")
    return recorded(small)


def _refuse_unknown_layers(net: ConvNet) -> None:
    """Raise a UsageError where a layer has weights whose channels pruning cannot take."""
    for name, layer in net.named_modules():
        own = list(layer.named_parameters(recurse=False)) + list(layer.named_buffers(recurse=False))
        if own and not isinstance(layer, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            raise UsageError(
                f"{net.spec['model']}: {name} is a {type(layer).__name__}, whose channels cannot be taken",
                "prune another network",
            )


def _kept_whole(net: ConvNet, narrow: int) -> list[nn.Module]:
    """The layers that keep all outputs: classifiers, narrow layers, and those whose channels are fixed or nearly free."""
    keep: list[Any] = [part.classifier for part in (net.head, *net.auxiliary.values())]
    keep += _fixed(net)
    keep += [layer for layer in net.modules() if isinstance(layer, nn.Conv2d) and layer.out_channels < narrow]
    keep += [gate.fc1 for gate in net.modules() if isinstance(gate, SqueezeExcitation)]  # cost next to nothing
    return keep


def _groups(net: ConvNet, x: Tensor, keep: list[nn.Module]) -> list[_Group]:
    """The groups of channels that go together, as torch-pruning finds them.

    Args:
        net: in evaluation mode, its weights not frozen.
        x: images to follow through it.
        keep: layers that lose no outputs.
    """
    try:
        import torch_pruning as tp
    except ImportError:
        raise UsageError("pruning needs torch-pruning", "pip install 'podium[prune]'") from None
    with torch.enable_grad():
        graph = tp.DependencyGraph().build_dependency(net, x, forward_fn=_all_logits)
    importance = None if x.is_meta else tp.importance.GroupMagnitudeImportance(p=2)
    found = graph.get_all_groups(ignored_layers=keep, root_module_types=[nn.Conv2d, nn.Linear])
    return [_Group(graph, group, importance) for group in found]


def _scopes(groups: list[_Group], uniform: bool) -> list[list[_Group]]:
    """The groups that compete with each other: those of like structure, or each by itself where all lose the same share."""
    scopes: dict[Any, list[_Group]] = {}
    for number, group in enumerate(groups):
        scopes.setdefault(number if uniform else group.kind, []).append(group)
    return list(scopes.values())


class _Group:
    """Channels that go together: those a layer makes, and all that reads them.

    Args:
        graph, group: of torch-pruning.
        measure: its importance of each channel; None: all are alike.
    """

    def __init__(self, graph: Any, group: Any, measure: Any) -> None:
        self.graph, self.layer, self.handler = graph, group[0].dep.target.module, group[0].dep.handler
        layers = [dep.target.module for dep, _ in group if isinstance(dep.target.module, nn.Conv2d)]
        # Every group of a grouped convolution loses the same channels; a depthwise one goes as its input goes.
        self.parts = max([m.groups for m in layers if 1 < m.groups < m.out_channels], default=1)
        channels = measure(group).detach().cpu() if measure else torch.zeros(len(group[0].idxs))
        self.importance: Tensor = channels.view(self.parts, -1).mean(0)
        self.kind = tuple((type(dep.target.module), getattr(dep.handler, "__name__", "")) for dep, _ in group)
        # The layers whose outputs are concatenated into these channels, each by the numbers of its own.
        own: set[tuple[int, ...]] = set()
        for item in group.items if self.parts == 1 else ():
            made = isinstance(item.dep.target.module, nn.Conv2d) and "out" in item.dep.handler.__name__
            if made and len(item.root_idxs) < len(self.importance):
                own.add(tuple(item.root_idxs))
        self.makers = [torch.tensor(channels) for channels in sorted(own)]

    def take(self, count: int, step: int, evenly: bool) -> None:
        """Take about so many channels of each part, so that a multiple of `step` is left, and some of every layer.

        Args:
            evenly: of every layer the same share, not the least important of all.
        """
        width = len(self.importance)
        left = max(width - count, math.ceil((1 - MOST) * width))
        score, kept = self.importance.clone(), torch.zeros(width, dtype=torch.bool)
        for channels in self.makers:
            ranks = self.importance[channels].argsort(stable=True).argsort()
            kept[channels] |= ranks >= math.floor(MOST * len(channels))
            if evenly:
                score[channels] = ranks.to(score.dtype) / len(channels)
        left = max(left - left % step, int(kept.sum()), step)
        if left >= width:
            return
        score[kept] = math.inf
        gone = score.argsort(stable=True)[: width - left]
        everywhere = torch.cat([gone + part * width for part in range(self.parts)])
        self.graph.get_pruning_group(self.layer, self.handler, everywhere.tolist()).prune()


def _all_logits(net: ConvNet, x: Tensor) -> list[Tensor]:
    """The outputs that torch-pruning follows: the logits, and those of auxiliary classifiers, whose inputs are pruned too."""
    auxiliary: list[Tensor] = []
    for name, out in net.walk(x):
        if name in net.auxiliary:
            auxiliary.append(net.auxiliary[name](out))
    return [net.head(out), *auxiliary]


def _fixed(net: ConvNet) -> list[nn.Module]:
    """The layers that feed a sum with a zero-padded shortcut, which fixes the channels that meet [He et al. 2015, option A]."""
    if not any(isinstance(m, ZeroPadShortcut) for m in net.modules()):
        return []
    streams = [net.stem, *(unit.residual for unit in net.modules() if isinstance(unit, Residual))]
    out: list[nn.Module] = []
    for stream in streams:
        out.append([m for m in stream.modules() if isinstance(m, nn.Conv2d)][-1])
    return out


def removable(net: ConvNet) -> list[str]:
    """The residual blocks whose shortcut is the identity, so that the network still fits together without one."""
    return [
        name
        for name, unit in net.named_modules()
        if isinstance(unit, Residual) and isinstance(unit.shortcut, nn.Identity)
    ]


def without(net: ConvNet, blocks: list[str]) -> ConvNet:
    """A copy of a network without some of its blocks."""
    small = copy.deepcopy(net)
    for name in blocks:
        small.set_submodule(name, nn.Identity())
    return recorded(small)


def rank_blocks(net: ConvNet, loss: Callable[[ConvNet], float]) -> list[str]:
    """The removable blocks, the one whose removal raises the loss least first.

    Args:
        loss: of a network without one, on some training images.
    """
    names = removable(net)
    if not names:
        raise UsageError(f"{net.spec['model']} has no residual block to take", "leave out --depth")
    harm = {name: loss(without(net, [name])) for name in names}
    return sorted(names, key=lambda name: harm[name])


def smallest_change(
    make: Callable[[float], ConvNet],
    measure: Callable[[ConvNet], float],
    target: float,
    what: str,
    steps: int = STEPS,
    margin: float = 0.0,
) -> ConvNet:
    """The largest of the networks `make(r)`, r in [0, 1), that measures at most `target`, by bisection on what is measured.

    Args:
        margin: share of the target that is kept free, where one of the networks allows it.

    Raises:
        UsageError: the target is that of the network as it is, or smaller than any of them.
    """
    low, high = 0.0, MOST
    least = make(high)
    reached = measure(least)
    if reached > target:
        raise UsageError(
            f"{what}: {target:.6g} cannot be reached, the smallest that is left has {reached:.6g}",
            "choose an easier target, or prune another network",
        )
    best, aim = least, target * (1 - margin)
    for _ in range(steps):
        middle = (low + high) / 2
        candidate = make(middle)
        if measure(candidate) <= aim:
            best, high = candidate, middle
        else:
            low = middle
    return best


def macs(net: ConvNet) -> float:
    """Multiply-adds, as `podium info` counts them."""
    return float(count_net(net).macs)


def size_bytes(net: ConvNet) -> float:
    """Bytes of `model.safetensors`."""
    from safetensors.torch import save as serialize

    return float(len(serialize({k: v.cpu().contiguous() for k, v in net.strip().state_dict().items()})))
