"""`podium prune`: make a trained network smaller to a measured target, and fine-tune it with the original as its teacher."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

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
from podium.compression.gate import Terms
from podium.compression.latency import MARGIN, latency
from podium.compression.shrink import NamedProgress, Shrunk, begin, begun, compared, control, epochs_of, saved, trained
from podium.compression.slim import fresh, slim_to
from podium.data.dataset import Dataset
from podium.data.loader import Loader
from podium.data.preprocessing import Preprocessing
from podium.devices import pick_device
from podium.errors import UsageError
from podium.models.convnet import ConvNet
from podium.runs.folder import SETTINGS, RunFolder
from podium.settings import Origin, Settings, moved, read_file
from podium.training.losses import cross_entropy
from podium.training.transfer.source import adapted, read_source

Kind = Literal["speedup", "macs", "latency", "size"]
KINDS: dict[Kind, Callable[[ConvNet], float]] = {"speedup": macs, "macs": macs, "latency": latency, "size": size_bytes}
# Folder of a control -> its name in the table.
CONTROL_TITLES = {"scratch": "from scratch", "slim": "slim, from scratch"}
RANKING_IMAGES, RANKING_BATCH = 1024, 256  # training images that blocks are ranked by


@dataclass(frozen=True)
class Target:
    """The most that the smaller network may cost.

    Args:
        kind: "speedup": multiply-adds are divided by this; "macs": the share of them that is left; "latency": milliseconds
            of one image on this machine; "size": bytes of the weights' file.
        value: of it.
    """

    kind: Kind
    value: float

    def __post_init__(self) -> None:
        possible = {"speedup": self.value > 1, "macs": 0 < self.value < 1}.get(self.kind, self.value > 0)
        if self.kind not in KINDS:
            raise UsageError(f"target: {self.kind!r}", f"one of {', '.join(KINDS)}")
        if not possible or self.value != self.value or self.value == float("inf"):
            wanted = {"speedup": "more than 1", "macs": "a share between 0 and 1"}.get(self.kind, "more than 0")
            raise UsageError(f"{self.kind}: {self.value:g}", f"give {wanted}")

    def limit(self, net: ConvNet) -> float:
        """The target in the unit that is measured.

        Raises:
            UsageError: the network costs no more than that as it is.
        """
        now = KINDS[self.kind](net)
        limit = {"speedup": now / self.value, "macs": now * self.value}.get(self.kind, self.value)
        if now <= limit:
            raise UsageError(f"{self.kind}: the network has {now:.6g} as it is", f"give a target below {limit:.6g}")
        return limit


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
    order = rank_blocks(net, _loss_on(data, preprocessing, next(net.parameters()).device))
    for count in range(1, len(order) + 1):
        small = without(net, order[:count])
        reached = measure(small)
        if reached <= limit * (1 - margin) or (count == len(order) and reached <= limit):
            return small
    raise UsageError(
        f"{target.kind}: {limit:.6g} cannot be reached, without its {len(removable(net))} blocks it has {reached:.6g}",
        "choose an easier target, or leave out --depth",
    )


def _loss_on(data: Dataset, preprocessing: Preprocessing, device: torch.device) -> Callable[[ConvNet], float]:
    images = data.splits["train"]
    chosen = images.select(
        torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:RANKING_IMAGES].numpy()
    )
    batches = list(Loader(chosen, preprocessing, batch_size=RANKING_BATCH, device=device).epoch())
    loss = cross_entropy()

    @torch.inference_mode()
    def measured(net: ConvNet) -> float:
        net.eval()
        return float(sum(loss(net(b.x), b.y) * len(b.y) for b in batches)) / len(chosen)

    return measured


@dataclass(frozen=True)
class Options:
    """How a network is pruned.

    Args:
        target: what may be left.
        depth: take blocks, not channels.
        controls: also train, with fresh weights and the total budget, the same small network and the uniform slim one.
        terms: what it may lose.
    """

    target: Target
    depth: bool = False
    controls: bool = True
    terms: Terms = field(default_factory=Terms)


@public
def prune(
    parent: str | Path,
    data: Dataset,
    out: str | Path,
    settings: Settings,
    how: Options,
    *,
    origin: dict[str, Origin] | None = None,
    progress: NamedProgress = lambda *_: None,
) -> Shrunk:
    """Make a trained network smaller, fine-tune it, and compare it with the original and two controls.

    Args:
        parent: a run, bundle or peer's weights (`transfer.read_source`).
        data: what it was trained on.
        out: the new run folder; what is finished there is not done again.
        settings: of the fine-tuning.
        how: the target, and the other options.
        origin: where each setting came from.
        progress: see `NamedProgress`.

    Raises:
        UsageError: the target cannot be met, or `out` holds something else.
        DataError: the images are too few to show the tolerance.
    """
    source, target, place = read_source(str(parent), "run"), how.target, begun(Path(out))
    whole, preprocessing = adapted(source, settings.replace(model=""), data)
    if set(data.classes) != set(source.bundle.classes):
        raise UsageError(f"{parent}: does not know the classes of {data.name}", "give the data it was trained on")
    how.terms.check(data)
    whole.eval().to(pick_device(settings.device))
    slim = functools.cache(functools.partial(_slim_control, whole.spec))  # found before anything is trained

    def make() -> tuple[ConvNet, Dataset, Preprocessing]:
        small = smaller(whole, target, how.depth, data, preprocessing)
        if how.controls:
            slim(macs(small))
        return small, data, preprocessing

    made = {"by": "depth" if how.depth else "prune", target.kind: target.value, "parent": source.pinned}
    start = begin(place, made, make)
    small = read_source(str(start)).bundle.model
    specs = {"scratch": small.spec, "slim": slim(macs(small))} if how.controls else {}
    s = settings.replace(
        model=whole.spec["model"],
        data=data.source or data.name,
        weights=str(start),
        teacher=source.pinned,
        resize=data.resize,
    )
    run = trained(s, place, data, "pruned", progress, moved(origin or {}, settings, s, "podium prune"))
    notes, others = [], {}
    if how.controls:
        steps, note = _total_steps(run, epochs_of(source.pinned), len(data.splits["train"]))
        notes.append(note)
        for name, title in CONTROL_TITLES.items():
            others[title] = control(name, functools.partial(fresh, specs[name], s.seed), s, steps, run, data, progress)
    original, limit = ("original", whole, preprocessing), target.value if target.kind == "latency" else None
    return saved(compared(run, original, others, data, how.terms, notes, limit), Path(out))


def _slim_control(spec: Mapping[str, Any], most: float) -> dict[str, Any]:
    """The spec of the uniform control: the widest slim variant with at most so many multiply-adds."""
    full = {key: value for key, value in spec.items() if key != "edits"}
    try:
        return slim_to(full, macs, most, "the slim control's multiply-adds")
    except UsageError as error:
        raise UsageError(error.what, "choose an easier target, or leave the controls out: --no-controls") from None


def _total_steps(run: RunFolder, earlier: float, images: int) -> tuple[int, str]:
    """The steps that a control is trained for, as many as the original and the fine-tuning together, and a note that says so.

    Args:
        run: the fine-tuning.
        earlier: epochs that the original was trained for; 0 where that is not on record.
        images: training images.
    """
    result, batch = run.result, read_file(run / SETTINGS)["batch_size"]
    steps = result["steps"] + round(earlier * max(1, images // batch))
    if not earlier:
        return steps, f"controls: {steps} steps, as the fine-tuning; how long the original was trained is not on record"
    together = f"the original's {earlier:g} epochs and the fine-tuning's {result['epochs']:g}"
    return steps, f"controls: {steps} steps, {together}"
