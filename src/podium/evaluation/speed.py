"""The latency and throughput of a network on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from podium.devices import device_name, float32, synchronize
from podium.evaluation.cost import count_net
from podium.models.convnet import ConvNet
from podium.platform import cores, processor_seconds, processors

BURN_IN, BATCHES, FEWEST = 10, 100, 20  # batches left out, counted, and counted whatever they take
LEAST = 3  # passes that `speed` counts whatever they take
ENOUGH, ENOUGH_SECONDS = 30, 1.0  # passes and seconds of them, of which `speed` counts the larger number
MANY, MAP_BYTES = 64, 256 << 20  # images of the rate, at most, and bytes of their largest maps
SHORTEST, LONGEST, SHARE = 1.0, 20.0, 0.1  # seconds that `speed` may take, and their share of the training

Tick = Callable[[int], None]


def measure(
    net: ConvNet,
    batch: int,
    *,
    batches: int = BATCHES,
    seconds: float | None = None,
    fewest: int = FEWEST,
    burn_in: int | None = None,
    backward: bool = False,
    tick: Tick | None = None,
) -> dict[str, Any]:
    """Time passes of random images at the network's own size, on its device and in its memory format, after a burn-in of 10.

    Args:
        batch: images a pass.
        batches: passes that are counted.
        seconds: stop earlier, once they took so long and there are `fewest` of them.
        fewest: passes that are counted whatever they take.
        burn_in: passes that are left out; by default 10.
        backward: time the gradient of all parameters too, as a training step has it.
        tick: called with the number of passes after each, between the timings.

    Returns:
        {batch, threads, dtype, engine, device, pass, n, latency_ms: {p50, p95, mean, sd}, images_per_second}, the rate from the
        median.
    """
    training, parameter = net.training, next(net.parameters())
    net.train(backward)
    statistics = [(b, b.clone()) for b in net.buffers() if backward]  # which passes in training mode would move
    side = net.spec["image_size"]
    x = torch.randn(batch, net.spec["in_chans"], side, side, device=parameter.device)
    x = x.to(memory_format=net.memory_format or torch.channels_last)
    y = torch.arange(batch, device=parameter.device) % net.spec["num_classes"]

    def once() -> None:
        if backward:
            net.zero_grad()
            net.training_loss(x, y, torch.nn.functional.cross_entropy).backward()
        else:
            with torch.inference_mode():
                net(x)
        synchronize(x.device)

    with float32():
        figures = timed(once, batch, batches=batches, seconds=seconds, fewest=fewest, burn_in=burn_in, tick=tick)
    net.train(training)
    if backward:
        net.zero_grad()
        for buffer, value in statistics:
            buffer.copy_(value)
    return {
        "engine": "torch",
        "device": device_name(parameter.device),
        "dtype": str(parameter.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "pass": "forward-backward" if backward else "forward",
        **figures,
    }


def fewest_to_train(net: ConvNet) -> int:
    """The smallest batch that a network can be trained on: 1 or 2.

    Batch norm takes its variance over the images and pixels of a channel: of one image with one pixel there is none.

    Args:
        net: on the meta device, so that it costs next to nothing.
    """
    side = net.spec["image_size"]
    x, y = torch.zeros(1, net.spec["in_chans"], side, side, device="meta"), torch.zeros(1, device="meta")
    try:
        net.train().training_loss(x, y.long(), torch.nn.functional.cross_entropy)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        return 2
    return 1


def timed(
    once: Callable[[], object],
    batch: int,
    *,
    batches: int = BATCHES,
    seconds: float | None = None,
    fewest: int = FEWEST,
    burn_in: int | None = None,
    tick: Tick | None = None,
) -> dict[str, Any]:
    """Time a function of a batch, after a burn-in of 10 calls.

    Args:
        once: the function.
        batch: images in the batch.
        batches, seconds: as of `measure`.
        fewest: calls that are timed whatever they take.
        burn_in: calls before those; by default 10, and no more than half of `fewest`.
        tick: as of `measure`.

    Returns:
        {batch, n, latency_ms: {p50, p95, mean, sd}, images_per_second}.
    """
    for _ in range(min(BURN_IN, max(2, fewest // 2)) if burn_in is None else burn_in):
        once()
    times: list[float] = []
    stop = time.perf_counter() + (seconds if seconds is not None else math.inf)
    while len(times) < batches and (len(times) < fewest or time.perf_counter() < stop):
        start = time.perf_counter()
        once()
        times.append(time.perf_counter() - start)
        if tick is not None:
            tick(len(times))
    spent = 1000 * torch.tensor(times, dtype=torch.float64)
    p50, p95 = (float(spent.quantile(q)) for q in (0.5, 0.95))
    sd = float(spent.std(correction=1)) if len(times) > 1 else 0.0
    figures = {"p50": p50, "p95": p95, "mean": float(spent.mean()), "sd": sd}
    return {
        "batch": batch,
        "n": len(times),
        "latency_ms": {key: round(value, 4) for key, value in figures.items()},
        "images_per_second": round(1000 * batch / p50, 1),
    }


class Others:
    """How much of the processors other programs took while something was timed, in one part or in several.

    Threads of this process that wait for each other, as those of engines do, do not count: only what others computed does.
    """

    def __init__(self) -> None:
        self.seconds, self.computed = 0.0, 0.0
        self.all: float | None = 0.0  # seconds of computing by all programs

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count what other programs compute within this context."""
        begun, own, before = time.perf_counter(), time.process_time(), processor_seconds()
        yield
        after = processor_seconds()
        known = self.all is not None and before is not None and after is not None
        self.all = self.all + after - before if known else None  # type: ignore[operator]
        self.computed += time.process_time() - own
        self.seconds += time.perf_counter() - begun

    @property
    def share(self) -> float | None:
        """The share, from 0 to 1, of the processors that this process computes on; None where the system does not say.

        Others take it where they leave fewer processors than this process has threads.
        """
        if self.all is None or self.seconds <= 0 or self.all < self.computed / 2:  # the system does not count
            return None
        wanted = min(cores(), processors())
        lacking = self.all - self.computed - (processors() - wanted) * self.seconds
        return round(min(1.0, max(0.0, lacking / (wanted * self.seconds))), 3)


def allowance(trained: float) -> float:
    """Seconds that measuring speed may take after `trained` seconds of training: a tenth of them, from 1 s to 20 s."""
    return min(LONGEST, max(SHORTEST, SHARE * trained))


def speed(net: ConvNet, seconds: float = 2.0, tick: Callable[[str, int, int], None] | None = None) -> dict[str, Any]:
    """Measure the latency of one image and the throughput of many, as the comparison lists them, within a given time.

    The time of a first pass decides how many passes are timed (a second of them, or 30, where the time allows it). It also
    decides the batch of the throughput: a power of two up to 64, limited by memory and by 10 passes in half of the time.

    Args:
        seconds: to spend. At least 3 passes of one image are timed, after 4 that are not, however long they take.
        tick: called as tick(what is timed, passes done, passes in all) after each pass, between the timings.

    Returns:
        {latency_ms: {p50, p95, mean, sd}, n, images_per_second, batch, batches, occupied, threads, dtype, engine, device}: `n` is the
        number of passes of one image, `batches` of those of `batch` images that the rate is the median of, and `occupied` is
        the share of the processors that other programs took.
    """
    begun, others = time.perf_counter(), Others()
    measure(net, 1, batches=1, fewest=1, burn_in=1)  # the first pass prepares

    def passes(batch: int, left: float) -> dict[str, Any]:
        one = measure(net, batch, batches=1, fewest=1, burn_in=0)["latency_ms"]["mean"] / 1000
        count = passes_within(left - one, one)
        say = None if tick is None else lambda done: tick("1 image" if batch == 1 else f"{batch} images", done, count)
        burn_in = min(BURN_IN, max(1, count // 10))
        return measure(net, batch, batches=count, seconds=left, fewest=LEAST, burn_in=burn_in, tick=say)

    with others.counted():
        single = passes(1, seconds / 2)
        batch = many_within(seconds / 2, single["latency_ms"]["p50"] / 1000, count_net(net).map_bytes)
        many = single if batch == 1 else passes(batch, seconds - (time.perf_counter() - begun))
    return {
        "latency_ms": single["latency_ms"],
        "n": single["n"],
        "images_per_second": many["images_per_second"],
        "batch": many["batch"],
        "batches": many["n"],
        "occupied": others.share,
        **{key: single[key] for key in ("threads", "dtype", "engine", "device")},
    }


def share_waited(before: float | None, after: float | None, computed: float) -> float | None:
    """The share of their time that threads waited for a processor, which others had: a quiet machine has next to none.

    Args:
        before, after: seconds waited so far, from `platform.seconds_waited`.
        computed: seconds of processor time between the two.

    Returns:
        From 0 to 1; None where the system does not say.
    """
    if before is None or after is None:
        return None
    waited = max(0.0, after - before)  # a thread that has ended takes its seconds with it
    return round(waited / max(waited + computed, 1e-9), 3)


def passes_within(left: float, one: float) -> int:
    """The number of passes that are timed: enough of them, or fewer where they do not fit into the time.

    Args:
        left: seconds that there are; a tenth of them is kept free.
        one: seconds of a pass.
    """
    enough = max(ENOUGH, math.ceil(ENOUGH_SECONDS / max(one, 1e-6)))
    return max(LEAST, min(enough, int(left / (1.1 * max(one, 1e-6)))))


def many_within(left: float, one: float, map_bytes: int) -> int:
    """The batch of the throughput: the largest power of two of which 10 passes fit into the time, and the maps into memory.

    Args:
        left: seconds that there are.
        one: seconds of a pass of one image.
        map_bytes: of one image, see `cost.Cost`.
    """
    most = min(MANY, left / (10 * max(one, 1e-6)), MAP_BYTES / max(1, map_bytes))
    return 1 << (max(1, int(most)).bit_length() - 1)
