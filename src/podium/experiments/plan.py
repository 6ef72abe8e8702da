"""What claims will take, before anything is trained: networks, images, runs and multiply-adds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from podium.evaluation.cost import count
from podium.experiments.claim import Arm, Claim, Protocol, Scale
from podium.experiments.experiment import settings_for
from podium.experiments.measure import build_skeleton
from podium.units import to_steps

# Training images, classes, channels and side of the sets; photos are seen at the network's own size.
SETS = {
    "mnist": (60_000, 10, 1, 28),
    "fashion-mnist": (60_000, 10, 1, 28),
    "cifar10": (50_000, 10, 3, 32),
    "cifar100": (50_000, 100, 3, 32),
    "imagenet": (1_281_167, 1000, 3, None),
}
BATCH = 128  # where the settings leave it open


@dataclass(frozen=True)
class Planned:
    """What an arm will take.

    Args:
        claim, arm: their names.
        params, macs: of the network; None of one that is made from a trained one.
        steps: of each run.
        runs: trainings, those that try learning rates included.
        work: multiply-adds of all training, three times those of the forward passes; None where the network is not known.
    """

    claim: str
    arm: str
    params: int | None
    macs: int | None
    steps: int
    runs: int
    work: int | None

    def to_dict(self) -> dict[str, Any]:
        """The values by name, for JSON."""
        return asdict(self)


def plan(claim: Claim, scale: Scale) -> list[Planned]:
    """What each arm of a claim will take; empty where nothing is trained. No data are read.

    Args:
        claim: whose protocol it is.
        scale: of the experiment.
    """
    protocol = claim.protocol(scale)
    return [] if protocol is None else [_planned(claim, protocol, arm) for arm in protocol.arms]


def _planned(claim: Claim, protocol: Protocol, arm: Arm) -> Planned:
    there, classes, channels, stored = SETS[protocol.data]
    settings = settings_for(protocol, arm, protocol.rates_of(arm)[0], 0)
    images = protocol.train or there - protocol.val
    batch = settings.batch_size if isinstance(settings.batch_size, int) else BATCH
    steps = to_steps("duration", settings.duration, max(1, images // batch))
    rates = len(protocol.rates_of(arm))
    runs = rates + protocol.seeds - 1
    if arm.change is not None:
        return Planned(claim.name, arm.name, None, None, steps, runs, None)
    size = {} if stored is None else {"image_size": round((protocol.side or stored) * protocol.crop_pct)}
    cost = count(build_skeleton({"num_classes": classes, "in_chans": channels, **size, **arm.model}).spec)
    return Planned(claim.name, arm.name, cost.params, cost.macs, steps, runs, 3 * cost.macs * steps * batch * runs)
