"""How fast a network answers on this machine."""

from __future__ import annotations

import contextlib
import math
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from podium.models.convnet import ConvNet

BURN_IN, BATCHES, FEWEST = 10, 100, 20  # batches left out, counted, and counted whatever they take

Tick = Callable[[int], None]


def measure(
    net: ConvNet,
    batch: int,
    *,
    batches: int = BATCHES,
    seconds: float | None = None,
    backward: bool = False,
    tick: Tick | None = None,
) -> dict[str, Any]:
    """Time passes of random images at the network's own size, after a burn-in of 10.

    Args:
        batch: images a pass.
        batches: passes that are counted.
        seconds: stop earlier, once they took so long and there are 20 of them.
        backward: time the gradient of all parameters too, as a training step has it.
        tick: called with the number of passes after each, between the timings.

    Returns:
        {batch, threads, dtype, engine, pass, n, latency_ms: {p50, p95, mean, sd}, images_per_second}, the rate from the
        median.
    """
    training, parameter = net.training, next(net.parameters())
    net.train(backward)
    statistics = [(b, b.clone()) for b in net.buffers() if backward]  # which passes in training mode would move
    side = net.spec["image_size"]
    x = torch.randn(batch, net.spec["in_chans"], side, side, device=parameter.device)
    x = x.to(memory_format=torch.channels_last)
    y = torch.arange(batch, device=parameter.device) % net.spec["num_classes"]

    def once() -> None:
        if backward:
            net.zero_grad()
            net.training_loss(x, y, torch.nn.functional.cross_entropy).backward()
        else:
            with torch.inference_mode():
                net(x)
        if x.is_cuda:
            torch.cuda.synchronize()

    figures = timed(once, batch, batches=batches, seconds=seconds, tick=tick)
    net.train(training)
    if backward:
        net.zero_grad()
        for buffer, value in statistics:
            buffer.copy_(value)
    return {
        "engine": "torch",
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
    tick: Tick | None = None,
) -> dict[str, Any]:
    """Time something that is done to a batch, after a burn-in of 10.

    Args:
        once: does it.
        batch: images in it.
        batches, seconds: as of `measure`.
        fewest: times it is done whatever it takes; the burn-in is no longer than half of that.
        tick: as of `measure`.

    Returns:
        {batch, n, latency_ms: {p50, p95, mean, sd}, images_per_second}.
    """
    for _ in range(min(BURN_IN, max(2, fewest // 2))):
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
    figures = {"p50": p50, "p95": p95, "mean": float(spent.mean()), "sd": float(spent.std(correction=1))}
    return {
        "batch": batch,
        "n": len(times),
        "latency_ms": {key: round(value, 4) for key, value in figures.items()},
        "images_per_second": round(1000 * batch / p50, 1),
    }


def speed(net: ConvNet, seconds: float = 1.0, throughput_batch: int = 64) -> dict[str, Any]:
    """Latency of one image and throughput of many, as the comparison lists them."""
    one, many = (measure(net, batch, batches=10**6, seconds=seconds) for batch in (1, throughput_batch))
    return {
        "latency_ms": one["latency_ms"],
        "images_per_second": many["images_per_second"],
        "batch": many["batch"],
        "threads": one["threads"],
        "dtype": one["dtype"],
        "engine": one["engine"],
        "n": one["n"],
    }


def processor() -> str:
    """The processor's name, as the system gives it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
