"""Claims on cost that need no training: GoogLeNet's parameters, and the forward time of ResNet-V2-152."""

from __future__ import annotations

from typing import Any

from podium.experiments.claim import Claim
from podium.experiments.measure import cost_of, forward_times, ratio
from podium.experiments.statements import between

TIMED = {"ResNet-V2-152": "resnetv2_152_slim", "VGG-16": "vgg16", "VGG-19": "vgg19", "Inception v3": "inception_v3"}


def _parameters() -> dict[str, Any]:
    found = {name: cost_of({"model": model})[0] for name, model in (("AlexNet", "alexnet"), ("GoogLeNet", "googlenet"))}
    return {
        "parameters of GoogLeNet, millions": found["GoogLeNet"] / 1e6,
        "parameters of AlexNet, millions": found["AlexNet"] / 1e6,
        "parameters, AlexNet over GoogLeNet": found["AlexNet"] / found["GoogLeNet"],
    }


GOOGLENET = Claim(
    "googlenet-parameters",
    "GoogLeNet has a twelfth of AlexNet's parameters: 5 million.",
    "Szegedy et al. 2014, arXiv:1409.4842, section 1; the articles S000 and S001",
    (
        between(
            "AlexNet has 12 times as many parameters as GoogLeNet, within 5 %",
            "parameters, AlexNet over GoogLeNet",
            11.4,
            12.6,
            unit="times",
        ),
        between(
            "GoogLeNet has 5 million parameters, within half a million",
            "parameters of GoogLeNet, millions",
            4.5,
            5.5,
            unit="million",
        ),
    ),
    measure=_parameters,
    note="The layers of the paper's own Table 1 add up to 7.0 million.",
)


def _times() -> dict[str, Any]:
    times = forward_times({name: {"model": model} for name, model in TIMED.items()})
    first, *others = TIMED
    return {f"time, {first} over {other}": ratio(times[first], times[other]) for other in others}


FORWARD_TIME = Claim(
    "forward-time",
    "A forward pass of ResNet-V2-152 takes about half more time than one of VGG or Inception v3.",
    "The article S002",
    tuple(
        between(
            f"ResNet-V2-152 takes 1.25 to 1.75 times as long as {other}",
            f"time, ResNet-V2-152 over {other}",
            1.25,
            1.75,
            unit="times",
        )
        for other in list(TIMED)[1:]
    ),
    measure=_times,
    note="One image, in PyTorch on the processor of this machine, each network at its own size; the networks take turns. The article "
    "timed TensorFlow on a graphics card. Each interval is of one measurement, and two measurements can differ by more: a second one on "
    "the same kind of processor gave 1.19 times VGG-16 ([raw](results/forward-time-again.json)), and by it that statement does not hold.",
)
CLAIMS = (GOOGLENET, FORWARD_TIME)
