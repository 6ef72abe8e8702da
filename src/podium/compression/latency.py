"""`podium prune --latency`: the latency of one image, as the search and the final check measure it."""

from __future__ import annotations

import copy
import math
import statistics
from typing import Any

from podium.evaluation.speed import measure
from podium.models.convnet import ConvNet

SECONDS = 0.2  # of one timing
ROUNDS = 5  # timings of each network, of which the median counts
MARGIN = 0.1  # share of the target that the search keeps free: two timings of one network differ by about so much


def clock(net: ConvNet) -> float:
    """Milliseconds of one image on this machine, measured once; every latency of this file comes from it."""
    return float(measure(net, 1, batches=10**6, seconds=SECONDS)["latency_ms"]["p50"])


def on_processor(net: ConvNet) -> ConvNet:
    """The network itself where the processor computes it, else a copy there: what is timed is what exported files run on."""
    return net if next(net.parameters()).device.type == "cpu" else copy.deepcopy(net).cpu()


def alternating(*nets: ConvNet) -> list[list[float]]:
    """Milliseconds of one image, in rounds: each network once, then each once more, so that a slow spell meets all of them.

    Returns:
        For each network its `ROUNDS` timings.
    """
    rounds = [[clock(net) for net in nets] for _ in range(ROUNDS)]
    return [list(times) for times in zip(*rounds, strict=True)]


def latency(net: ConvNet) -> float:
    """Milliseconds of one image on this machine, the median of several timings."""
    return statistics.median(*alternating(on_processor(net)))


def held(target: float, original: ConvNet, pruned: ConvNet) -> dict[str, Any]:
    """Measure again whether a network meets its target latency, beside the one that it was made from.

    Args:
        target: milliseconds of one image.
        original, pruned: on the processor.

    Returns:
        {asked_ms, original_ms, pruned_ms, rounds: {original, pruned}, held}: medians, and the timings of each round.
    """
    before, after = alternating(original, pruned)
    slow, fast = statistics.median(before), statistics.median(after)
    return {
        "asked_ms": target,
        "original_ms": slow,
        "pruned_ms": fast,
        "rounds": {"original": before, "pruned": after},
        "held": fast <= target,
    }


def format_outcome(outcome: dict[str, Any]) -> str:
    """The outcome of `held` as a line for people."""
    o, times = outcome, outcome["rounds"]["pruned"]
    change = f"{o['original_ms']:g} ms -> {o['pruned_ms']:g} ms an image"
    spread = f"medians of {len(times)} alternating rounds, {min(times):g} to {max(times):g} ms"
    return f"latency: {change} ({spread}); target {o['asked_ms']:g} ms: {'held' if o['held'] else 'not held'}"


def advice(outcome: dict[str, Any]) -> str:
    """What a person can do about a latency that was not held."""
    again = "run the same command on a quieter machine: it trains nothing again, and measures"
    enough = math.ceil(100 * outcome["pruned_ms"] / (1 - MARGIN)) / 100
    if enough >= outcome["original_ms"]:  # the original would do
        return again
    return f"{again}; or give a larger target and another folder: --latency {enough:g}ms -o DIR"
