"""Claims on smaller networks: fewer filters or blocks of a trained network against the small network trained from scratch."""

from __future__ import annotations

from typing import Any

from podium.compression.prune import Target, smaller
from podium.compression.slim import fresh
from podium.data.dataset import Dataset
from podium.data.preprocessing import Preprocessing
from podium.experiments.claim import Arm, Claim, Protocol
from podium.experiments.schedules import NORM_RATES, cifar, small
from podium.experiments.statements import better, not_worse
from podium.models.convnet import ConvNet

HALF = 0.5  # of the multiply-adds
TUNED = (0.01, 0.1)  # rates for what is trained already


def _pruned(depth: bool) -> Any:
    """What takes channels, or whole blocks, from a trained network until half of its multiply-adds are left."""

    def change(net: ConvNet, data: Dataset, seed: int) -> ConvNet:
        seen = Preprocessing(image_size=net.spec["image_size"], channels=data.channels, mean=data.mean, std=data.std)
        return smaller(net, Target("macs", HALF), depth, data, seen)

    return change


def _scratch(net: ConvNet, data: Dataset, seed: int) -> ConvNet:
    """The same small network with fresh weights."""
    return fresh(net.spec, seed)


def _arms(whole: dict[str, Any], first: str, second: str, both: str, rates: tuple[float, ...]) -> tuple[Arm, ...]:
    """The whole network, two smaller ones made from it and tuned, the same two trained from scratch, and the whole one trained as long.

    Args:
        whole: the arguments of the whole network.
        first, second: how long it is trained, and how long what is left of it is trained further.
        both: the sum, for the networks that are trained from scratch.
        rates: learning rates of the further training.
    """
    return (
        Arm("whole", whole, {"duration": first}),
        Arm("whole, as long", whole, {"duration": both}),
        Arm("fewer filters", {}, {"duration": second}, rates, "whole", _pruned(False)),
        Arm("fewer blocks", {}, {"duration": second}, rates, "whole", _pruned(True)),
        Arm("few filters, scratch", settings={"duration": both}, parent="fewer filters", change=_scratch),
        Arm("few blocks, scratch", settings={"duration": both}, parent="fewer blocks", change=_scratch),
    )


SMALL: Protocol = small(
    "pruning",
    *_arms({"model": "resnet18", "small": True, "units": (2, 2, 2), "width": 16}, "5ep", "3ep", "8ep", TUNED),
    rates=NORM_RATES,
    seeds=3,
)
PRUNING = Claim(
    "pruning",
    "A network that is trained large and then made smaller is more accurate than the same small network trained from scratch.",
    "Li et al. 2017, arXiv:1608.08710, section 4; Liu et al. 2019, arXiv:1810.05270, says the opposite",
    (
        better(
            "half of the work, by fewer filters: pruned is more accurate than trained from scratch",
            "fewer filters",
            "few filters, scratch",
        ),
        better(
            "half of the work, by fewer blocks: pruned is more accurate than trained from scratch",
            "fewer blocks",
            "few blocks, scratch",
        ),
        not_worse(
            "with fewer filters the network is as accurate as the whole one that is trained as long, within a point",
            "fewer filters",
            "whole, as long",
        ),
        not_worse(
            "with fewer blocks the network is as accurate as the whole one that is trained as long, within a point",
            "fewer blocks",
            "whole, as long",
        ),
    ),
    SMALL,
    cifar("pruning", "resnet-cifar-2015", *_arms({"model": "resnet56"}, "64000it", "16000it", "80000it", (0.001,))),
    note="Each network from scratch, and the whole one that is trained as long, has as many steps as the whole network and what is left "
    "of it together.",
)
CLAIMS = (PRUNING,)
