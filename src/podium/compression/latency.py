"""The clock of `podium prune --latency`: what one image takes, where the search looks for a network, and whether the target was held."""

from __future__ import annotations

import math
import statistics
from typing import Any

from podium.evaluation.speed import measure
from podium.models.convnet import ConvNet

SECONDS = 0.2  # of one timing
ROUNDS = 5  # timings of each network, of which the median counts
MARGIN = 0.1  # share of the target that the search keeps free: two timings of one network differ by about so much


def clock(net: ConvNet) -> float:
    """Milliseconds of one image on this machine, once measured. All that is said of latency here comes from it."""
    return float(measure(net, 1, batches=10**6, seconds=SECONDS)["latency_ms"]["p50"])


def alternating(*nets: ConvNet) -> list[list[float]]:
    """Milliseconds of one image, in rounds: each network once, then each once more, so that a slow spell meets all of them.

    Returns:
        For each network its `ROUNDS` timings.
    """
    rounds = [[clock(net) for net in nets] for _ in range(ROUNDS)]
    return [list(times) for times in zip(*rounds, strict=True)]


def latency(net: ConvNet) -> float:
    """Milliseconds of one image on this machine, the median of several timings."""
    return statistics.median(*alternating(net))


def held(asked: float, original: ConvNet, pruned: ConvNet) -> dict[str, Any]:
    """Measure again whether a network keeps to its latency, beside the one that it was made from.

    Args:
        asked: milliseconds of one image.
        original, pruned: on the device that they are to be timed on.

    Returns:
        {asked_ms, original_ms, pruned_ms, rounds: {original, pruned}, held}: medians, and the timings of each round.
    """
    before, after = alternating(original, pruned)
    slow, fast = statistics.median(before), statistics.median(after)
    return {
        "asked_ms": asked,
        "original_ms": slow,
        "pruned_ms": fast,
        "rounds": {"original": before, "pruned": after},
        "held": fast <= asked,
    }


def format_outcome(outcome: dict[str, Any]) -> str:
    """The outcome of `held` as a line for people."""
    o, times = outcome, outcome["rounds"]["pruned"]
    change = f"{o['original_ms']:g} ms -> {o['pruned_ms']:g} ms an image"
    spread = f"medians of {len(times)} alternating rounds, {min(times):g} to {max(times):g} ms"
    return f"latency: {change} ({spread}); asked for {o['asked_ms']:g} ms: {'held' if o['held'] else 'not held'}"


def mend(outcome: dict[str, Any]) -> str:
    """What to do about a latency that was not held."""
    again = "run the same command on a quieter machine: it trains nothing again, and measures"
    enough = math.ceil(100 * outcome["pruned_ms"] / (1 - MARGIN)) / 100
    if enough >= outcome["original_ms"]:  # the original would do
        return again
    return f"{again}; or ask for a larger target, in another folder: --latency {enough:g}ms -o DIR"
