"""`podium prune`: a trained network made smaller to a measured target, fine-tuned under the eyes of the original, with its controls."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from podium.calls import public
from podium.compression.channels import (
    macs,
    prune_channels,
    rank_blocks,
    removable,
    size_bytes,
    smallest_change,
    without,
)
from podium.compression.latency import MARGIN, latency
from podium.compression.shrink import Shrunk, Watch, begin, compared, control, epochs_of, trained
from podium.compression.slim import fresh, slim_to
from podium.data.dataset import Dataset
from podium.data.decode import Preprocessing
from podium.data.loader import Loader
from podium.devices import pick_device
from podium.errors import UsageError
from podium.models.convnet import ConvNet
from podium.runs.folder import SETTINGS
from podium.settings import Origin, Settings, moved, read_file
from podium.training.losses import cross_entropy
from podium.training.transfer.source import adapted, read_source

KINDS = {"speedup": macs, "macs": macs, "latency": latency, "size": size_bytes}
RANKING_IMAGES, RANKING_BATCH = 1024, 256  # training images that blocks are ranked by


@dataclass(frozen=True)
class Target:
    """What the smaller network may cost.

    Args:
        kind: "speedup": multiply-adds are divided by this; "macs": the share of them that is left; "latency": milliseconds
            of one image on this machine; "size": bytes of the weights' file.
        value: of it.
    """

    kind: str
    value: float

    def __post_init__(self) -> None:
        possible = {"speedup": self.value > 1, "macs": 0 < self.value < 1}.get(self.kind, self.value > 0)
        if self.kind not in KINDS:
            raise UsageError(f"target: {self.kind!r}", f"one of {', '.join(KINDS)}")
        if not possible or self.value != self.value or self.value == float("inf"):
            wanted = {"speedup": "more than 1", "macs": "a share between 0 and 1"}.get(self.kind, "more than 0")
            raise UsageError(f"{self.kind}: {self.value:g}", f"give {wanted}")

    def limit(self, net: ConvNet) -> float:
        """In the unit that is measured.

        Raises:
            UsageError: the network costs no more than that as it is.
        """
        now = KINDS[self.kind](net)
        limit = {"speedup": now / self.value, "macs": now * self.value}.get(self.kind, self.value)
        if now <= limit:
            raise UsageError(f"{self.kind}: the network has {now:.6g} as it is", f"ask for less than {limit:.6g}")
        return limit


def read_amount(kind: str, text: str | float) -> float:
    """ "8ms" in milliseconds, "5MB" in bytes, or a number."""
    units = {"latency": {"ms": 1.0, "us": 1e-3, "s": 1e3}, "size": {"kb": 1e3, "mb": 1e6, "gb": 1e9, "b": 1.0}}[kind]
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(text).strip().lower())
    default = {"latency": "ms", "size": "b"}[kind]
    if match is None or (match[2] or default) not in units:
        raise UsageError(f"{kind}: {text!r}", f"write a number and a unit: {'8ms' if kind == 'latency' else '5MB'}")
    return float(match[1]) * units[match[2] or default]


def smaller(net: ConvNet, target: Target, depth: bool, data: Dataset, preprocessing: Preprocessing) -> ConvNet:
    """The largest pruned form of a network that meets the target, as measured; not yet fine-tuned.

    Args:
        depth: take whole residual blocks, the ones that training images miss least, and no channels.

    Raises:
        UsageError: the target cannot be met.
    """
    measure, limit = KINDS[target.kind], target.limit(net)
    margin = MARGIN if target.kind == "latency" else 0.0
    if not depth:
        return smallest_change(lambda ratio: prune_channels(net, ratio), measure, limit, target.kind, margin=margin)
    order = rank_blocks(net, _loss_on(data, preprocessing))
    for count in range(1, len(order) + 1):
        small = without(net, order[:count])
        reached = measure(small)
        if reached <= limit * (1 - margin) or (count == len(order) and reached <= limit):
            return small
    raise UsageError(
        f"{target.kind}: {limit:.6g} cannot be reached, without its {len(removable(net))} blocks it has {reached:.6g}",
        "ask for less, or leave out --depth",
    )


def _loss_on(data: Dataset, preprocessing: Preprocessing) -> Callable[[ConvNet], float]:
    images = data.splits["train"]
    chosen = images.select(
        torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:RANKING_IMAGES].numpy()
    )
    batches = list(Loader(chosen, preprocessing, batch_size=RANKING_BATCH, device=pick_device("auto")).epoch())
    loss = cross_entropy()

    @torch.inference_mode()
    def measured(net: ConvNet) -> float:
        net.eval()
        return float(sum(loss(net(b.x), b.y) * len(b.y) for b in batches)) / len(chosen)

    return measured


@public
def prune(
    parent: str | Path,
    data: Dataset,
    out: str | Path,
    target: Target,
    settings: Settings,
    *,
    depth: bool = False,
    controls: bool = True,
    tolerance: float = 0.005,
    origin: dict[str, Origin] | None = None,
    watch: Watch = lambda *_: None,
) -> Shrunk:
    """Make a trained network smaller, fine-tune it, and compare it with the original and two controls.

    What is finished in `out` is not done again.

    Args:
        parent: a run, bundle or peer's weights (`transfer.read_source`).
        data: what it was trained on.
        out: the new run folder.
        target: what may be left.
        settings: of the fine-tuning.
        depth: take blocks, not channels.
        controls: also train, with fresh weights and the total budget, the same small network and the uniform slim one.
        tolerance: loss of top-1 that is accepted.
        watch: see `Watch`.

    Raises:
        UsageError: the target cannot be met, or `out` holds something else.
    """
    if not 0 <= tolerance < 1:
        raise UsageError(f"tolerance: {tolerance}", "give a fraction from 0 to 1, such as 0.005")
    out, source = Path(out), read_source(str(parent), "run")
    whole, preprocessing = adapted(source, settings.replace(model=""), data)
    if set(data.classes) != set(source.bundle.classes):
        raise UsageError(f"{parent}: does not know the classes of {data.name}", "give the data it was trained on")
    whole.eval().to(pick_device("auto"))
    made = {"by": "depth" if depth else "prune", target.kind: target.value, "parent": source.pinned}

    full = {key: value for key, value in whole.spec.items() if key != "edits"}

    @functools.cache
    def slim(most: float) -> dict[str, Any]:
        """The spec of the uniform control, found before anything is trained."""
        try:
            return slim_to(full, macs, most, "the slim control's multiply-adds")
        except UsageError as error:
            raise UsageError(error.what, "ask for less, or leave the controls out: --no-controls") from None

    def make() -> tuple[ConvNet, Dataset, Preprocessing]:
        small = smaller(whole, target, depth, data, preprocessing)
        if controls:
            slim(macs(small))
        return small, data, preprocessing

    start = begin(out, made, make)
    small = read_source(str(start)).bundle.model
    if controls:
        slim(macs(small))
    s = settings.replace(
        model=whole.spec["model"], data=data.source or data.name, weights=str(start), teacher=source.pinned
    )
    s = s.replace(resize=data.resize)
    run = trained(s, out, data, "pruned", watch, moved(origin or {}, settings, s, "podium prune"))
    notes, others = [], {}
    if controls:
        earlier = epochs_of(source.pinned)
        result, batch = run.result, read_file(run / SETTINGS)["batch_size"]
        steps = result["steps"] + round(earlier * max(1, len(data.splits["train"]) // batch))
        notes.append(
            f"controls: {steps} steps, the original's {earlier:g} epochs and the fine-tuning's {result['epochs']:g}"
            if earlier
            else f"controls: {steps} steps, as the fine-tuning; how long the original was trained is not on record"
        )
        specs = {"scratch": small.spec, "slim": slim(macs(small))}
        for name, title in (("scratch", "from scratch"), ("slim", "slim, from scratch")):
            others[title] = control(name, functools.partial(fresh, specs[name], s.seed), s, steps, run, data, watch)
    original, limit = ("original", whole, preprocessing), target.value if target.kind == "latency" else None
    return compared(run, original, others, data, tolerance, notes, limit)
