"""The share of the time for which a device computes nothing, by torch's profiler."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

Span = tuple[float, float]  # begin and end


class Watch:
    """What a device does between `start` and `stop`: its kernels on CUDA; torch's operators on the processor.

    Args:
        device: that is watched. torch's profiler knows nothing of what an Apple GPU does.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        cuda = device.type == "cuda"
        self.kind = DeviceType.CUDA if cuda else DeviceType.CPU
        # Without the host's operators: recording them would hold up the launches that the share is to show.
        self.profiler = profile(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU])

    def start(self) -> None:
        """Watch from here on, when all that was begun has ended."""
        self._wait()
        self.profiler.start()

    def stop(self) -> float | None:
        """The idle share from the first to the last thing that the device did; None where nothing was seen."""
        self._wait()
        self.profiler.stop()
        events = (event for event in self.profiler.events() if event.device_type == self.kind)
        return idle_share((event.time_range.start, event.time_range.end) for event in events)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def idle_share(spans: Iterable[Span]) -> float | None:
    """The share of the time from the first begin to the last end that no span covers; spans may overlap."""
    ordered = sorted(spans)
    if not ordered:
        return None
    first = until = ordered[0][0]
    covered = 0.0
    for begin, end in ordered:
        covered += max(0.0, end - max(begin, until))
        until = max(until, end)
    return 1 - covered / (until - first) if until > first else None
