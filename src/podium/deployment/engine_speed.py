"""How fast a network is in each engine of this machine, and the fastest engine that keeps its accuracy: `podium bench --engines`."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from podium.deployment.engines import Absent, Call, Runner, runners_of, why
from podium.deployment.graph import answer
from podium.evaluation.cost import count_net
from podium.evaluation.speed import timed
from podium.platform import cores, processor_name
from podium.runs.bundle import Bundle

BATCHES = (1, 8, 32)  # of which the best is reported beside 1
AGREEMENT = 0.995  # share of images whose first class must be eager float32's
SIDES = (256, 512, 1024, 2048)  # of the matrices whose product is this machine's peak
LONG = 0.1  # seconds from which a product is large enough; without instructions for bfloat16 the largest would take a minute


@dataclass(frozen=True)
class EngineRow:
    """How fast a network is in an engine. The fields are the keys of the JSON, in this order.

    Args:
        model, engine, dtype, threads: what was timed, and with how many threads.
        batch, n: images a pass, and passes that were timed.
        latency_ms: {p50, p95, mean, sd} of a pass.
        images_per_second: by the median pass.
        share_of_peak: multiply-adds a second over those of a large matrix product; None where that is not known.
        agreement: share of the images whose first class is eager float32's; None where there is nothing to compare with.
        device: the processor, which all engines compute on.
    """

    model: str
    engine: str
    dtype: str
    threads: int
    batch: int
    n: int
    latency_ms: dict[str, float]
    images_per_second: float
    share_of_peak: float | None
    agreement: float | None
    device: str = field(default_factory=processor_name)

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class MissingRow:
    """An engine that a network was not timed in, and why."""

    model: str
    engine: str
    missing: str

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON has it."""
        return asdict(self)


Rows = list[EngineRow | MissingRow]


@dataclass(frozen=True)
class Timing:
    """How a network is timed in its engines.

    Args:
        seconds: of timing each engine and batch.
        threads: that compute.
        batches: images a pass, of which the fastest is reported beside 1.
        say: called with what is timed next.
    """

    seconds: float = 2.0
    threads: int = field(default_factory=cores)
    batches: tuple[int, ...] = BATCHES
    say: Callable[[str], None] = lambda _: None


@functools.cache
def peak(dtype: str, threads: int) -> float | None:
    """Multiply-adds a second that a large matrix product reaches here; None of a dtype torch has no fast product in.

    Args:
        dtype: "float32" or "bfloat16".
        threads: that compute it, as set by `torch.set_num_threads`.
    """
    if dtype not in ("float32", "bfloat16"):
        return None
    for side in SIDES:
        a = torch.randn(side, side).to(getattr(torch, dtype))
        a @ a
        if (first := _product_seconds(a)) > LONG:
            break
    return side**3 / min(first, *(_product_seconds(a) for _ in range(4)))


def _product_seconds(a: torch.Tensor) -> float:
    start = time.perf_counter()
    a @ a
    return time.perf_counter() - start


def time_engines(
    name: str,
    runners: Iterator[Runner | Absent],
    images: np.ndarray,
    reference: np.ndarray | None,
    macs: int | None,
    timing: Timing,
) -> Rows:
    """Time a network in its engines, at batch 1 and at the best batch.

    Args:
        name: of the network, for the rows.
        runners: from `engines.runners_of` or `engines.file_runners`.
        images: (N, S, S, C) uint8, on which answers are compared.
        reference: the first class of each in eager float32; None: nothing to compare with.
        macs: multiply-adds an image, for the share of peak; None: it is not reported.
        timing: how long and with which batches.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(timing.threads)
    rows: Rows = []
    try:
        for runner in runners:
            if isinstance(runner, Absent):
                rows.append(MissingRow(name, runner.engine, runner.reason))
                continue
            timing.say(f"timing {name} in {runner.engine} {runner.dtype}")
            try:
                rows += _rows(name, runner, images, reference, macs, timing)
            except Exception as error:  # each engine has its own
                rows.append(MissingRow(name, runner.engine, f"{runner.dtype}: {why(runner.engine, error)}"))
    finally:
        torch.set_num_threads(before)
    return rows


def _rows(
    name: str, runner: Runner, images: np.ndarray, reference: np.ndarray | None, macs: int | None, timing: Timing
) -> list[EngineRow]:
    """The rows of one engine and dtype, at batch 1 and at the best batch; arguments as of `time_engines`."""
    agrees = None if reference is None else agreement(runner.call, images, reference)
    figures = []
    for batch in sorted({1, *timing.batches}):
        x = np.ascontiguousarray(np.resize(images, (batch, *images.shape[1:])))
        call = functools.partial(runner.call, x)
        figures.append(timed(call, batch, batches=10**6, seconds=timing.seconds, fewest=5))
    best = max(figures, key=lambda row: row["images_per_second"])
    top = peak(runner.dtype, timing.threads) if macs else None  # after the timings, which it would disturb
    rows = []
    for row in figures[:1] if best is figures[0] else (figures[0], best):
        share = round(macs * row["images_per_second"] / top, 3) if macs and top else None
        rows.append(
            EngineRow(name, runner.engine, runner.dtype, timing.threads, **row, share_of_peak=share, agreement=agrees)
        )
    return rows


def agreement(call: Call, images: np.ndarray, reference: np.ndarray) -> float:
    """Share of images (N, S, S, C) whose first class is the reference's (N,)."""
    got = [call(images[i : i + 16])[0].argmax(1) for i in range(0, len(images), 16)]
    return float((np.concatenate(got) == reference).mean())


def pick(rows: Rows, batch: int | None = 1) -> EngineRow | None:
    """The fastest row whose answers are eager float32's on 99.5 % of the images.

    Args:
        batch: images a pass; None: any.
    """
    kept = [
        row
        for row in rows
        if isinstance(row, EngineRow)
        and row.agreement is not None
        and row.agreement >= AGREEMENT
        and batch in (None, row.batch)
    ]
    return max(kept, key=lambda row: row.images_per_second, default=None)


def time_bundle(name: str, bundle: Bundle, engines: tuple[str, ...], images: np.ndarray, timing: Timing) -> Rows:
    """Time a run, bundle or fresh network in engines of this machine.

    Args:
        name: of the network, for the rows.
        bundle: the network.
        engines: some of `engines.ENGINES`.
        images: (N, S, S, C) uint8, on which answers are compared with those of eager float32.
        timing: how long and with which batches.
    """
    reference = answer(bundle, images)[0].argmax(1)
    macs = count_net(bundle.model).macs
    return time_engines(name, runners_of(bundle, engines, timing.threads), images, reference, macs, timing)
