"""The device that a setting names: a CPU, an NVIDIA GPU ("cuda") or an Apple GPU ("mps")."""

from __future__ import annotations

import torch

from podium.errors import MachineError, UsageError


def pick_device(name: str) -> torch.device:
    """Return the device of this name; another one is never taken in its place.

    Args:
        name: "cpu", "cuda", "mps", or "auto" for the best one that is present.

    Raises:
        UsageError: no kind of device has this name.
        MachineError: the machine has no such device.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in present.items() if there))
    if name not in present:
        raise UsageError(f"device: {name!r}", "one of auto, cpu, cuda, mps")
    if not present[name]:
        raise MachineError(f"device: there is no {name} here", "--device auto takes what is there")
    return torch.device(name)
