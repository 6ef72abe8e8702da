"""A GPU of its own for each process that trains runs of a comparison."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

VISIBLE = "CUDA_VISIBLE_DEVICES"  # CUDA shows a process only the GPUs that this variable lists


def gpus_for(device: str) -> list[str]:
    """Return the GPUs that runs can have one each of, as CUDA_VISIBLE_DEVICES names them; none where there is one or fewer.

    Args:
        device: as in the settings; one that is named by its number is for all runs.
    """
    count = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    named = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()][:count]
    return (named or [str(number) for number in range(count)]) if count > 1 else []


def freest(gpus: Sequence[str], taken: Sequence[str]) -> str:
    """Return the GPU that the fewest processes have, the first of several."""
    return min(gpus, key=lambda gpu: list(taken).count(gpu))


@contextmanager
def seeing(gpu: str | None, processes: int) -> Iterator[None]:
    """Let the processes that are started within this context see one GPU, and count on their share of the cores to read images.

    Args:
        gpu: as CUDA_VISIBLE_DEVICES names it; None changes nothing.
        processes: that share the cores.
    """
    if gpu is None:
        yield
        return
    changed = {VISIBLE: gpu, "LOCAL_WORLD_SIZE": str(processes)}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
