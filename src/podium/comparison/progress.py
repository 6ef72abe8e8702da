"""The progress of a comparison: one function is called while it reads, downloads, computes features, trains and times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from podium.comparison.candidates import Candidate
from podium.comparison.schedule import Part, Schedule
from podium.training.run import StepProgress

StudyProgress = Callable[..., None] | None  # called as `Study.run` says


def while_reading(progress: StudyProgress) -> Callable[[int, int], None] | None:
    """Return what reading calls with (files read, files to read); None where nobody wants to know."""
    if progress is None:
        return None
    return lambda done, count: progress(0, 0, "", 0, done, count, {"reading": True})


def while_counting(progress: StudyProgress) -> Callable[[int, int], None] | None:
    """Return what counting calls with (networks counted, networks to count); None where nobody wants to know."""
    if progress is None:
        return None
    return lambda done, count: progress(0, 0, "", 0, done, count, {"counting": True})


def while_downloading(
    progress: StudyProgress, candidates: Sequence[Candidate]
) -> Callable[[Candidate, int, int | None], None] | None:
    """Return what a download calls with (candidate, bytes that came, bytes in all); None where nobody wants to know."""
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


def while_downloading_one(progress: StepProgress | None) -> Callable[[Candidate, int, int | None], None] | None:
    """The same for a run that has to fetch its weights once more."""
    if progress is None:
        return None
    return lambda candidate, done, count: progress(done, count or 0, {"downloading": str(candidate.source)})


def while_computing(progress: StepProgress) -> Callable[[int, int], None]:
    """Return what the computation of frozen features calls with (images done, images in all)."""
    return lambda done, count: progress(done, count, {"features": True})


def for_run(progress: StudyProgress, number: int, count: int, label: str, seed: int) -> StepProgress:
    """Return what one run calls with (step, steps, what to show).

    Args:
        progress: of the comparison.
        number: of the run, from 0.
        count: runs in all.
        label: the name of the run.
        seed: of the run.
    """
    if progress is None:
        return lambda *_: None
    return lambda step, steps, shown: progress(number, count, label, seed, step, steps, shown)


def labelled(progress: StudyProgress, label: str) -> StudyProgress:
    """Return what the runs of a round call, with the round beside the name of the network."""
    if progress is None:
        return None
    return lambda number, count, name, *rest: progress(number, count, f"{name} {label}", *rest)


class Together:
    """Turns what runs side by side tell into what the comparison's progress is called with.

    Args:
        progress: of the comparison.
        parts: all of its runs.
        schedule: that names them.
    """

    def __init__(self, progress: StudyProgress, parts: Sequence[Part], schedule: Schedule) -> None:
        self.progress, self.parts, self.schedule = progress, list(parts), schedule
        self.steps: dict[Part, tuple[int, int]] = {}

    def hear(self, part: Part, step: int, steps: int, shown: dict[str, Any]) -> None:
        """Pass on what one run tells; with a step, also how far all of them are."""
        if self.progress is None:
            return
        if "loss" in shown and "event" not in shown:
            self.steps[part] = step, steps
            shown = {**shown, "together": self._together()}
        number, label = self.parts.index(part), self.schedule.label(part)
        self.progress(number, len(self.parts), label, part.seed, step, steps, shown)

    def _together(self) -> dict[str, Any]:
        """Steps of all runs that have begun, steps of all runs, about, and the names of those that train now."""
        done, known = (sum(numbers) for numbers in zip(*self.steps.values(), strict=True))
        left = len(self.parts) - len(self.steps)
        running = [self.schedule.label(part) for part, (step, steps) in self.steps.items() if step < steps]
        return {"step": done, "steps": known + left * known // len(self.steps), "runs": running}
