"""A time budget as a number of steps: what is measured before the first step, and what is left for it to pay."""

from __future__ import annotations

import time

from podium.settings import duration, to_steps
from podium.training.forecast import measured, spoken
from podium.training.plan import Plan

SAMPLE = 0.05  # share of a budget that may go into timing steps
SPARE = 0.03  # share of what is left that nothing is planned for: steps are not all alike
WRITING = 300e6  # bytes a second that a checkpoint and a bundle are written, synced and hashed with


def steps_of(plan: Plan, begun: float) -> tuple[int, str | None]:
    """The length of a run in steps; a time budget is measured into steps on a copy that is thrown away.

    The budget pays for all from `begun` on: reading the data, trials, timing, training, every evaluation, and writing.

    Args:
        begun: when the run began, of `time.monotonic`.

    Returns:
        Steps, and what to say beforehand where the budget is too short for an epoch.
    """
    s, per_epoch = plan.settings, len(plan.train)
    value, unit = duration("duration", s.duration)
    if unit != "s":
        return to_steps("duration", s.duration, per_epoch), None
    step, judging = measured(plan, SAMPLE * value)
    ending = _ending(plan, judging)
    left = (1 - SPARE) * (value - (time.monotonic() - begun) - ending)
    steps = plan.ranks.first(fitting(left, step, judging, per_epoch))
    if steps >= per_epoch:
        return steps, None
    least = value - left + per_epoch * step + judging
    return steps, (
        f"budget {s.duration}: no whole epoch of {s.model} fits; {per_epoch} steps of {spoken(step)} take at least {spoken(least)} "
        f"with all around them. {steps} {'step is' if steps == 1 else 'steps are'} taken"
    )


def fitting(left: float, step: float, judging: float, per_epoch: int) -> int:
    """The most steps, at least 1, that fit with an evaluation after every epoch and after the last step.

    Args:
        left, step, judging: seconds there are, of a step, and of an evaluation.
        per_epoch: steps of an epoch.
    """
    epochs = max(0, int(left / (per_epoch * step + judging)))
    rest = left - epochs * (per_epoch * step + judging)
    more = max(0, int((rest - judging) / step))  # of an epoch that is not whole, which is evaluated too
    return max(1, epochs * per_epoch + min(more, per_epoch - 1))


def _ending(plan: Plan, judging: float) -> float:
    """Seconds after the last step's evaluation: that of what ships, where it is another, and writing it down."""
    again = plan.selects or plan.settings.qat
    judged = judging * len(plan.loaders[plan.judge]) / len(plan.loaders[plan.monitor]) if again else 0.0
    weights = sum(t.nbytes for t in plan.net.state_dict().values())
    copies = 1 + {"sgd": 1, "rmsprop": 2, "adam": 2, "adamw": 2}[plan.settings.optimizer] + (plan.settings.ema > 0)
    bundles = 2 if plan.selects else 1
    return judged + (copies + bundles) * weights / WRITING
