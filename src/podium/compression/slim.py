"""The uniform smaller variant of any network: every layer narrower by one factor, fewer blocks a stage; weights fresh."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from podium.calls import public
from podium.compression.channels import MOST, prune_channels, smallest_change
from podium.compression.shrink import NamedProgress, begin, trained
from podium.data import augment as aug
from podium.data.dataset import Dataset
from podium.data.preprocessing import Preprocessing
from podium.errors import UsageError
from podium.models.convnet import ConvNet
from podium.models.registry import architecture, rebuild
from podium.models.undrawn import meta
from podium.runs.folder import RunFolder
from podium.settings import Origin, Settings, moved
from podium.training.prepare import prepare
from podium.training.threads import computing_with

WIDTHS = ("width", "group_width", "stem_width")  # what families call the channels they start with
DEPTHS = ("units", "layers")  # and the blocks of each stage


def slim_spec(spec: Mapping[str, Any], width: float, depth: tuple[int, ...] | None = None) -> dict[str, Any]:
    """The spec of a narrower, shallower network; no weights are made for it.

    Families with arguments for width and depth, such as ResNets and MobileNets, are built with these. In others every layer
    loses the same share of its channels. Every layer keeps at least one channel.

    Args:
        spec: of the full network; channels that were pruned from it are ignored.
        width: factor of the channels, up to 1.
        depth: blocks of each stage; as it is if None.

    Raises:
        UsageError: the width is not in (0, 1], or the family has another number of stages or none.
    """
    if not 0 < width <= 1:
        raise UsageError(f"width: {width}", "give more than 0, up to 1")
    spec = {key: value for key, value in spec.items() if key != "edits"}
    known = architecture(spec["model"])
    has = known.own | dict(known.arguments) | dict(spec)
    changed: dict[str, Any] = {}
    if depth is not None:
        key = next((key for key in DEPTHS if key in known.own), None)
        if key is None:
            raise UsageError(f"depth: {spec['model']} has no blocks to choose", "leave it out")
        if len(depth) != len(has[key]) or min(depth) < 1:
            raise UsageError(f"depth: {list(depth)}", f"give one number a stage, as {spec['model']} has {has[key]}")
        changed[key] = depth
    own = [key for key in WIDTHS if key in known.own and has[key] is not None]
    for key in own:
        whole = has[key]
        factor = isinstance(known.own[key], float)  # a multiplier of all widths, or a number of channels
        changed[key] = whole * width if factor else max(1, round(whole * width))
    small = {**spec, **changed}
    if not own and width < 1:
        small = prune_channels(meta(lambda: rebuild(small)), 1 - width, uniform=True).spec
    return small


def slim_network(spec: Mapping[str, Any], width: float, depth: tuple[int, ...] | None, seed: int) -> ConvNet:
    """A narrower, shallower network with fresh weights; see `slim_spec`.

    Args:
        spec, width, depth: as `slim_spec` takes them.
        seed: of the weights.
    """
    return fresh(slim_spec(spec, width, depth), seed)


def fresh(spec: Mapping[str, Any], seed: int) -> ConvNet:
    """The network of a spec, with weights that are a function of the seed."""
    torch.manual_seed(aug.key(seed, "weights"))
    return rebuild(spec)


def slim_to(spec: Mapping[str, Any], measure: Callable[[ConvNet], float], target: float, what: str) -> dict[str, Any]:
    """The spec of the widest uniform variant that measures at most `target`; no weights are made for it.

    Args:
        measure: of a network on the meta device.

    Raises:
        UsageError: none is so small.
    """

    def narrower(ratio: float) -> ConvNet:
        small = slim_spec(spec, 1 - min(ratio, MOST))
        return meta(lambda: rebuild(small))

    return smallest_change(narrower, measure, target, what).spec


@public
def slim(
    name: str,
    data: Dataset,
    out: str | Path,
    settings: Settings,
    *,
    width: float,
    depth: tuple[int, ...] | None = None,
    origin: dict[str, Origin] | None = None,
    progress: NamedProgress = lambda *_: None,
) -> RunFolder:
    """Train the uniform smaller variant of a network, as `podium train` would.

    Args:
        name: of the full network.
        data, out, settings: as of a training.
        width, depth: see `slim_network`.
    """
    if width == 1 and depth is None:
        raise UsageError("width: 1 does nothing here: the network would stay as it is", "give --width 0.5, or --depth")
    out = Path(out)
    s = settings.replace(model=name, data=data.source or data.name, resize=data.resize)
    made = {"by": "slim", "width": width, "depth": list(depth) if depth else None, "seed": s.seed}

    def make() -> tuple[ConvNet, Dataset, Preprocessing]:
        with computing_with(s.threads):
            plan = prepare(s, data)
        return slim_network(plan.net.spec, width, depth, s.seed), data, plan.preprocessing

    s = s.replace(weights=str(begin(out, made, make)))
    return trained(s, out, data, "slim", progress, moved(origin or {}, settings, s, "podium slim"))
