"""What a comparison tells of its progress: one function hears of reading, downloads, features, training and timing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from podium.comparison.candidates import Candidate
from podium.training.run import StepProgress

Heard = Callable[..., None] | None  # called as `Study.run` says


def while_reading(progress: Heard) -> Callable[[int, int], None] | None:
    """What is called with (files read, files to read)."""
    if progress is None:
        return None
    return lambda done, count: progress(0, 0, "", 0, done, count, {"reading": True})


def while_downloading(
    progress: Heard, candidates: Sequence[Candidate]
) -> Callable[[Candidate, int, int | None], None] | None:
    """What is called with (candidate, bytes that came, bytes in all)."""
    if progress is None:
        return None
    numbers = {candidate.name: number for number, candidate in enumerate(candidates)}
    return lambda candidate, done, count: progress(
        numbers[candidate.name],
        len(numbers),
        candidate.name,
        0,
        done,
        count or 0,
        {"downloading": str(candidate.source)},
    )


def while_computing(progress: StepProgress) -> Callable[[int, int], None]:
    """What is called with (images done, images in all) while frozen features are computed."""
    return lambda done, count: progress(done, count, {"features": True})


def for_run(progress: Heard, number: int, count: int, label: str, seed: int) -> StepProgress:
    """What one run calls with (step, steps, what to show)."""
    if progress is None:
        return lambda *_: None
    return lambda step, steps, shown: progress(number, count, label, seed, step, steps, shown)
