"""What a person should see of a plan before its run starts."""

from __future__ import annotations

from torch import nn

from podium.models.convnet import ConvNet
from podium.settings import Settings
from podium.training.distributed.parallel import Ranks
from podium.training.plan import Plan
from podium.units import parse_duration


def notes_of(requested: Settings, plan: Plan) -> list[str]:
    """Return what a person should see of a plan before its run starts.

    Args:
        requested: the settings as they were given.
        plan: with those that it decided.
    """
    return [
        *plan.data.notes,
        *_without_effect(requested, plan.settings, len(plan.data.splits["train"])),
        *filter(None, (plan.data.values.note, plan.data.values.flat, plan.data.values.several)),
        *(f"mirroring {plan.decided[key]}" for key in ("flip",) if key in plan.decided),
        *_sharing(plan.settings, plan.train.batch_size, plan.net, plan.ranks),
        *(f"threads: {plan.settings.threads}, {plan.decided[key]}" for key in ("threads",) if key in plan.decided),
    ]


def _without_effect(requested: Settings, s: Settings, images: int) -> list[str]:
    """Return notes on requested settings that change nothing with this network, and on a run without a step."""
    lines = []
    if requested.small and not s.small:
        lines.append(f"note: small does nothing here: {s.model} has one form only")
    if parse_duration("duration", s.duration)[0] == 0:
        lines.append("note: nothing is trained in no time: the network is evaluated as it is")
    if isinstance(s.batch_size, int) and s.batch_size > images:
        lines.append(f"note: batch_size {s.batch_size:,} is more than there are: a step takes all {images:,} images")
    return lines


def _sharing(s: Settings, batch: int, net: ConvNet, ranks: Ranks) -> list[str]:
    """Return notes on how the ranks share a batch, and on what its size does to the learning rate."""
    lines = []
    if ranks.world > 1:
        line = f"{ranks.world} devices, {batch // ranks.world} images of each step on each"
        if any(isinstance(layer, nn.BatchNorm2d) for layer in net.modules()):
            line += f"; batch norm over {'all of them' if s.sync_batch_norm else 'its own; the statistics of rank 0 are saved'}"
        lines.append(line)
    if s.lr_scale != "none":
        lines.append(f"lr {s.lr:g} is for {s.lr_batch} images a step: {s.peak:g} for {batch} ({s.lr_scale})")
    return lines
