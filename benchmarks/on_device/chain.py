"""From training to a file: a run is evaluated, made smaller, rounded and exported on the device; and a group of one process."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist

import podium
from on_device.check import Check, Here, images
from podium.compression.qat import fine_tuned
from podium.models.registry import build_model


def chain(here: Here) -> Iterator[Check]:
    """Train, evaluate, prune, round to int8 and export a network; the exported file has to answer as the run does."""
    data, device = images(256 if here.dry else 2048, 32), str(here.device)
    settings: dict[str, Any] = {"device": device, "workers": 0, "seed": 0}
    run = podium.train("resnet20", data, here.folder / "chain", epochs=6, lr=0.05, progress=False, **settings)
    yield Check("trained", run.result["top1"] > 0.5, f"top-1 {run.result['top1']:.2%} (above 50 %)")
    again = podium.evaluate(run, data, workers=0)
    apart = abs(again["top1"] - run.result["top1"])
    yield Check("evaluated as it was trained", apart < 0.01, f"{again['top1']:.2%}")
    podium.prune(
        run, data, here.folder / "pruned", speedup=1.5, controls=False, tolerance=0.9, accept_unproven=True, epochs=1,
        progress=False, **settings,
    )  # fmt: skip
    small, whole = (
        sum(p.numel() for p in podium.load(path).model.parameters()) for path in (here.folder / "pruned", run)
    )
    yield Check("pruned", small < whole, f"{small:,} of {whole:,} parameters")
    parity = podium.export(run, here.folder / "run.onnx", data=data)
    yield Check("exported", parity.holds, str(parity))
    tuned = fine_tuned(podium.load(run.path), data, here.folder / "qat", 1, lambda *_: None, device)
    top1 = podium.evaluate(tuned, data, workers=0)["top1"]
    yield Check("trained with int8's rounding", top1 > 0.5, f"top-1 {top1:.2%} (above 50 %)")
    small8 = podium.quantize(
        run, data, here.folder / "int8", tolerance=0.9, accept_unproven=True, qat=False, progress=False
    )
    top1 = min(row["top1"] for row in small8.rows)
    yield Check("rounded to int8", top1 > 0.5, f"top-1 {top1:.2%} (above 50 %)")


def group(here: Here) -> Iterator[Check]:
    """A group of one process: NCCL on CUDA, gloo on the processor, with one step of DistributedDataParallel."""
    if here.device.type == "mps":
        yield Check("a group", None, "not tried: neither NCCL nor gloo carries tensors of Apple's GPUs")
        return
    backend = "nccl" if here.device.type == "cuda" else "gloo"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group(backend, rank=0, world_size=1)
    try:
        number = torch.ones(3, device=here.device)
        dist.all_reduce(number)
        yield Check(f"{backend}, a sum over one", bool((number == 1).all()), str(number.tolist()))
        net = build_model("resnet20").to(here.device)
        wrapped = torch.nn.parallel.DistributedDataParallel(net)
        loss = wrapped(torch.randn(4, 3, 32, 32, device=here.device)).square().mean()
        loss.backward()
        yield Check(f"{backend}, a step", bool(torch.isfinite(loss)), f"loss {loss.item():.4g}")
    finally:
        dist.destroy_process_group()
