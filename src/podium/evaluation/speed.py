"""How fast a network answers on this machine."""

from __future__ import annotations

import contextlib
import platform
import time
from pathlib import Path
from typing import Any

import torch

from podium.models.convnet import ConvNet

WARMUP, FEWEST = 5, 20


@torch.inference_mode()
def measure(net: ConvNet, batch: int, seconds: float = 1.0) -> dict[str, Any]:
    """Time forward passes of random images at the network's own size, after a warm-up.

    Args:
        batch: images a pass.
        seconds: measured time; at least 20 passes whatever they take.

    Returns:
        {batch, threads, dtype, engine, n, latency_ms: {p50, p95}, images_per_second}, the rate from the median.
    """
    training, parameter = net.training, next(net.parameters())
    net.eval()
    side = net.spec["image_size"]
    x = torch.randn(batch, net.spec["in_chans"], side, side, device=parameter.device)
    x = x.to(memory_format=torch.channels_last)

    def passed() -> float:
        start = time.perf_counter()
        net(x)
        if x.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start

    for _ in range(WARMUP):
        passed()
    times: list[float] = []
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or len(times) < FEWEST:
        times.append(passed())
    net.train(training)
    ranked = torch.tensor(times, dtype=torch.float64)
    p50, p95 = (float(ranked.quantile(q)) for q in (0.5, 0.95))
    return {
        "engine": "torch",
        "dtype": str(parameter.dtype).removeprefix("torch."),
        "batch": batch,
        "threads": torch.get_num_threads(),
        "n": len(times),
        "latency_ms": {"p50": round(1000 * p50, 4), "p95": round(1000 * p95, 4)},
        "images_per_second": round(batch / p50, 1),
    }


def speed(net: ConvNet, seconds: float = 1.0, throughput_batch: int = 64) -> dict[str, Any]:
    """Latency of one image and throughput of many, as the comparison lists them."""
    one, many = measure(net, 1, seconds), measure(net, throughput_batch, seconds)
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
