"""Heats: all networks of a comparison are trained briefly first, and only the better ones are trained on.

This is successive halving [Jamieson and Talwalkar 2016, arXiv:1502.07943] with one difference: every run of a heat is complete.
It has its own schedule from warm-up to the lowest learning rate, because networks in the middle of a cosine are not ranked as
they are at its end. So nothing of a heat is used further: the last round trains the finalists anew, for the length that a
person chose.

How many go on is decided by compute, not by number: the best ones by the score on validation images, as far as a round of all
of them stays within its share. The shares fall in equal ratios to `LAST`, and each heat gets an equal part of `ALL` - `LAST`.
So 20 networks that cost the same go 20, 8, 4 in three rounds.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from podium.comparison.candidates import Candidate
from podium.comparison.claim import claim
from podium.comparison.dropped import HeatOnly
from podium.comparison.progress import StudyProgress, labelled
from podium.comparison.ranking import SCORES, log_likelihood
from podium.comparison.rows import Trials, outputs_of
from podium.comparison.selection import cost_in
from podium.data.dataset import Dataset
from podium.errors import UsageError
from podium.runs.folder import SETTINGS, RunFolder
from podium.runs.recommended import REQUEST
from podium.settings import Origins, Settings, moved
from podium.training.defaults import default_batch
from podium.training.transfer.source import RANDOM
from podium.units import duration_in_words, parse_duration, scaled_duration, to_steps

if TYPE_CHECKING:
    from podium.comparison.study import Study

ALL, LAST = 0.35, 0.2  # of the compute that all networks would take in full: of all rounds, and of the last one
LEAST, LEAST_HEATS = 2, 0.05  # networks that go on at least, and the share of the heats where these two take most of it
FOLDER = "heat-"  # in a comparison's folder, before the number
ROUNDING = 1e-9


@dataclass(frozen=True)
class Heat:
    """A round before the last one.

    Args:
        number: from 1.
        share: how long each network is trained, as a share of the full length.
        duration: the same as a setting.
        going_on: the share of the compute of all networks that those that go on may take in a round.
    """

    number: int
    share: float
    duration: str
    going_on: float


@dataclass(frozen=True)
class HeatsPlan:
    """The rounds of a comparison, and what they cost.

    Args:
        heats: the rounds before the last one.
        duration: of each run of the last round.
        costs: name of a candidate -> its share of what one run of all candidates costs.
        of_full: what all rounds cost at most, as a share of what all networks would cost in full.
        counted: what costs are counted by.
        short: whether the first heat is shorter than an epoch.
    """

    heats: tuple[Heat, ...]
    duration: str
    costs: dict[str, float]
    of_full: float
    counted: str
    short: bool = False

    @classmethod
    def of(cls, study: Study, data: Dataset, candidates: Sequence[Candidate]) -> HeatsPlan:
        """Work out lengths and shares.

        Args:
            study: whose `choice.heats` says how many rounds there are.
            data: its images.
            candidates: those that take part.

        Raises:
            UsageError: there are too few networks, no images to choose by, or nothing would be saved.
        """
        rounds, s = study.choice.heats or 0, study.merged.settings
        if len(candidates) <= LEAST:
            what = (
                f"heats: {rounds}, but of {len(candidates)} network{'s' * (len(candidates) != 1)} none could drop out"
            )
            raise UsageError(what, "leave it out, or name more networks with -m")
        if "val" not in data.splits:
            what = f"heats: {rounds}, but {data.name} has no validation images, which choose who goes on"
            raise UsageError(what, "rank on validation images (--rank-on val), or leave heats out")
        if parse_duration("duration", s.duration)[0] == 0:
            raise UsageError(f"heats: {rounds}, but the full length is {s.duration}", "train longer, or leave it out")
        costs, counted = _costs(candidates, s, data)
        last = max(LAST, sum(sorted(costs.values())[-LEAST:]))
        each = max(LEAST_HEATS, ALL - last) / (rounds - 1)  # of the compute, for every heat
        heats = []
        for number in range(1, rounds):
            share = each / last ** ((number - 1) / (rounds - 1))
            going_on = last ** (number / (rounds - 1))
            heats.append(Heat(number, share, scaled_duration("duration", s.duration, share), going_on))
        of_full = each * (rounds - 1) / study.seeds + last
        if of_full >= 1:
            expensive = " and ".join(sorted(costs, key=lambda name: -costs[name])[:LEAST])
            what = f"heats: {rounds}, but nothing is saved: {expensive} alone take {100 * last:.0f} % of what all take in full"
            raise UsageError(what, "leave it out, or leave out expensive networks with --max-macs")
        short = _shorter_than_an_epoch(heats[0], s, len(data.splits["train"]))
        return cls(tuple(heats), s.duration, costs, of_full, counted, short)

    def lines(self) -> list[str]:
        """The rounds in words, a line each, and what they cost."""
        rounds, names = len(self.heats) + 1, len(self.costs)
        lines = [
            f"heat {heat.number} of {rounds}: {f'{names} networks' if heat.number == 1 else 'those'} for {duration_in_words(heat.duration)} each; "
            f"the best on validation images go on, with at most {100 * heat.going_on:.0f} % of the compute of all"
            for heat in self.heats
        ]
        total = f"in all at most {100 * self.of_full:.0f} % of what {names} networks take in full, counted by {self.counted}"
        lines.append(f"last round: those for {duration_in_words(self.duration)} each, from the start; {total}")
        if self.short:
            lines.append(
                "the first heat is shorter than an epoch, so chance has a large part in it: train longer, or in fewer heats"
            )
        return lines

    def to_dict(self) -> dict[str, Any]:
        """The values by name, for JSON."""
        return asdict(self)

    def runs(self) -> int:
        """How many runs of heats there are at most: where the cheapest networks go on."""
        cheap = sorted(self.costs.values())
        rooms = [1.0, *(heat.going_on for heat in self.heats[:-1])]
        return sum(_fitting(cheap, room) for room in rooms)

    def finalists(self) -> int:
        """How many networks the last round trains at most."""
        return _fitting(sorted(self.costs.values()), self.heats[-1].going_on)


def _fitting(costs: Sequence[float], room: float) -> int:
    """How many of some networks, from the first on, take at most a share of the compute; at least `LEAST` go on."""
    taken, count = 0.0, 0
    for cost in costs:
        taken += cost
        if taken > room * (1 + ROUNDING) and count >= LEAST:
            break
        count += 1
    return count


def _shorter_than_an_epoch(heat: Heat, s: Settings, images: int) -> bool:
    """Whether a heat shows a network some training images not even once; unknown, so False, where it is trained for a time."""
    if parse_duration("duration", heat.duration)[1] == "s":
        return False
    batch = s.batch_size if isinstance(s.batch_size, int) else default_batch(images)
    epoch = max(1, images // batch)
    return to_steps("duration", heat.duration, epoch) < epoch


def _costs(candidates: Sequence[Candidate], s: Settings, data: Dataset) -> tuple[dict[str, float], str]:
    """What each network costs, as a share of all: by its multiply-adds, or equal shares where all are trained for a time."""
    names = [candidate.name for candidate in candidates]
    if parse_duration("duration", s.duration)[1] == "s":
        return dict.fromkeys(names, 1 / len(names)), "time"
    counted = [cost_in(candidate, s, data) for candidate in candidates]
    known = [cost.macs for cost in counted if cost is not None]
    typical = (
        sum(known) / len(known) if known else 1.0
    )  # for a network that cannot be built, which fails in its first heat
    macs = [float(cost.macs) if cost is not None else typical for cost in counted]
    return {name: each / sum(macs) for name, each in zip(names, macs, strict=True)}, "steps x multiply-adds"


def shortened(merged: Origins, share: float, by: str) -> Origins:
    """Return settings of the same schedule for a share of its length.

    Args:
        merged: the settings of a run in full, and their origin.
        share: of the length.
        by: what shortens it, for the origin of the settings that change.
    """
    s = merged.settings
    changed: dict[str, str] = {}
    for name in ("duration", "warmup", "unfreeze", "decay_every"):
        value = getattr(s, name)
        if value is not None and not value.endswith("%"):  # a percentage is of whatever length the run has
            changed[name] = scaled_duration(name, value, share)
    short = s.replace(**changed)
    return Origins(short, moved(merged.origin, s, short, by))


def run_heats(
    study: Study, data: Dataset, progress: StudyProgress, say: Callable[[str], None]
) -> tuple[list[Candidate], list[HeatOnly]]:
    """Train all networks of a comparison briefly, and choose those that are trained in full.

    Args:
        study: which trains the runs; those of a heat lie in a folder of their own and are kept like all others.
        data: its images.
        progress: as `Study.run` takes it.
        say: called with lines for people.

    Returns:
        The networks of the last round, in the order of the comparison, and those that dropped out. A network whose run of the
        last round has begun earlier stays.
    """
    candidates = study.candidates
    dropped: list[HeatOnly] = []
    plan = HeatsPlan.of(study, data, candidates)
    for line in plan.lines():
        say(line)
    left = list(candidates)
    for heat in plan.heats:
        round_, label = copy.copy(study), f"heat {heat.number}"
        round_.out, round_.seeds, round_.candidates = study.out / f"{FOLDER}{heat.number}", 1, left
        round_.merged = shortened(study.merged, heat.share, f"podium compare, {label} of {len(plan.heats) + 1}")
        try:
            claim(round_.out, round_.merged, {"*": data}, study.source, study.choice.rank_on)
        except UsageError as error:
            if not (round_.out / REQUEST).is_file():
                raise
            # `claim` has compared the settings of the comparison; what differs here follows from its networks and its rounds
            what = f"{round_.out}: the networks and the number of heats decide how long a heat is, and here they were others"
            raise UsageError(
                what,
                f"name the same networks and as many heats to go on with it, delete {study.out / FOLDER}* to train the heats anew, or name another folder with -o",
            ) from error
        round_.train_all(data, labelled(progress, label), say)
        ranked, found = _ranked(round_, heat)
        first = _fitting([plan.costs[candidate.name] for candidate in ranked], heat.going_on)
        begun = [c for c in ranked[first:] if any(study.out.glob(f"{c.name}-seed*/{SETTINGS}"))]
        stay = [*ranked[:first], *begun]
        dropped += [found[candidate.name] for candidate in ranked if candidate not in stay]
        left = [candidate for candidate in candidates if candidate in stay]
        say(f"{label}: {', '.join(f'{c.name} {found[c.name].shown}' for c in ranked)}; {len(left)} go on")
    return left, dropped


def _ranked(round_: Study, heat: Heat) -> tuple[list[Candidate], dict[str, HeatOnly]]:
    """Rank the networks of a heat by their score on validation images.

    Returns:
        Those that finished, the best first, and the row of each by its name, as if it dropped out.
    """
    parts = [part for part in round_.schedule.trials() if part.candidate.name not in round_.failed]
    if not parts:
        return [], {}
    trials: list[Trials] = []
    for part in parts:
        trials.append(Trials(part.candidate.name))
        trials[-1].add(RunFolder(part.path), RunFolder(part.path).result)
    outputs, by = outputs_of(trials, ranking=True), round_.choice.rank_by
    values, epochs = {}, {part.candidate.name: float(RunFolder(part.path).result["epochs"]) for part in parts}
    for part, (logits,) in zip(parts, outputs.logits, strict=True):
        score = float(SCORES[by].of(logits, outputs.labels).mean())
        values[part.candidate.name] = score, float(log_likelihood(logits, outputs.labels).mean())
    ranked = sorted((part.candidate for part in parts), key=lambda c: values[c.name], reverse=True)
    rows = {}
    for candidate in ranked:
        start = round_.starts.label(candidate.name) if round_.pretrained else RANDOM
        score = SCORES[by].sign * values[candidate.name][0]
        rows[candidate.name] = HeatOnly(
            candidate.model, start, heat.number, heat.duration, by, score, len(outputs.labels), SCORES[by].format(score),
            epochs=epochs[candidate.name],
        )  # fmt: skip
    return ranked, rows
