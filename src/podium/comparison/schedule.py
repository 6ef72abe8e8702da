"""The runs of a comparison: a run for each network, seed and fold, in which order, and in which folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from podium.comparison.candidates import Candidate, Choice
from podium.comparison.cross_validation import final_folder, fold_folder
from podium.comparison.learning_curve import SHARES
from podium.comparison.tuned import listed
from podium.evaluation.speed import allowance
from podium.runs.folder import SPEED, RunFolder
from podium.settings import Settings
from podium.training.autotune.forecast import format_seconds
from podium.units import duration_in_words, parse_duration


class Part(NamedTuple):
    """A run of a comparison, or with folds what the runs of a network and seed are pooled into.

    Args:
        candidate, seed: the network with what it starts from, and the seed of its training.
        fold: of a cross-validation, from 1; None without one, of what is pooled, and of the run that is handed over.
        path: of its folder.
    """

    candidate: Candidate
    seed: int
    fold: int | None
    path: Path


@dataclass(frozen=True)
class Schedule:
    """What a comparison trains.

    Args:
        out: its folder.
        settings: that hold for all runs.
        seeds: runs of each network; with folds, of each network and fold.
        candidates: the networks, in the order in which they are trained.
    """

    out: Path
    settings: Settings
    seeds: int
    candidates: list[Candidate]

    def trials(self) -> list[Part]:
        """List what is ranked, every network with every seed: each network once before any of them a second time."""
        first = self.settings.seed
        return [
            Part(candidate, seed, None, self.out / f"{candidate.name}-seed{seed}")
            for seed in range(first, first + self.seeds)
            for candidate in self.candidates
        ]

    def parts(self) -> list[Part]:
        """List what is trained: the trials; with folds, for each seed the first fold of every network before the second of any."""
        if self.settings.folds is None:
            return self.trials()
        first = self.settings.seed
        return [
            trial._replace(fold=number, path=fold_folder(trial.path, number))
            for seed in range(first, first + self.seeds)
            for number in range(1, self.settings.folds + 1)
            for trial in self.trials()
            if trial.seed == seed
        ]

    def final(self, candidate: Candidate) -> Part:
        """The run that is handed over after a cross-validation, on all images."""
        return Part(candidate, self.settings.seed, None, final_folder(self.out, candidate.name))

    def name(self, part: Part) -> str:
        """The name of a run's network and seed in errors."""
        return f"{part.candidate.name} seed {part.seed}" if self.seeds > 1 else part.candidate.name

    def words(self, choice: Choice) -> str:
        """How the networks are trained, in words.

        Args:
            choice: has the heats and the trials before these runs.
        """
        heats = choice.heats
        s, seeds = self.settings, f"{self.seeds} seed{'s' if self.seeds > 1 else ''} from {self.settings.seed}"
        folds = f", {s.folds} folds; the recommended network once more on all images" if s.folds else ""
        after = f", after {heats - 1} heat{'s' if heats > 2 else ''} of all networks" if heats else ""
        if choice.tune is not None:
            after += f", with the {listed(choice.tune)} of the best of {choice.trials_each} trials"
        return f"recipe {s.recipe}, {duration_in_words(s.duration)} each, {seeds}{folds}{after}"

    def label(self, part: Part) -> str:
        """The label of a run beside its progress bar."""
        name = part.candidate.name
        return name if part.fold is None else f"{name} fold {part.fold}/{self.settings.folds}"

    def measured(self, part: Part) -> Path | None:
        """The run that has measured how many steps a network takes in a time budget, where another has begun before this one.

        A budget is measured once for each network, so that its seeds and folds take the same number of steps.
        """
        if parse_duration("duration", self.settings.duration)[1] != "s":
            return None
        same = (other.path for other in self.parts() if other.candidate.name == part.candidate.name)
        return next((path for path in same if path != part.path and RunFolder(path).started), None)

    def may_begin(self, part: Part, running: list[Part]) -> bool:
        """Whether a run can begin beside others: under a time budget the first run of a network measures its steps for all."""
        if parse_duration("duration", self.settings.duration)[1] != "s" or RunFolder(part.path).started:
            return True
        same = any(other.candidate.name == part.candidate.name for other in running)
        return not same or self.measured(part) is not None

    def expected(self, most: int | None = None, curve: bool = False, jobs: int | None = None) -> str | None:
        """How many runs are left, and how long they will take where their duration is a time; None where neither is to say.

        Args:
            most: the most networks that are trained; None: all.
            curve: whether the best network is trained on parts of the images too.
            jobs: runs that train side by side, where a person gave a number.
        """
        s = self.settings
        value, unit = parse_duration("duration", s.duration)
        waiting = sum(not RunFolder(part.path).finished for part in self.parts())
        waiting = waiting if most is None else min(waiting, self.seeds * most)
        last = s.folds is not None and not any(RunFolder(self.final(c).path).finished for c in self.candidates)
        count = waiting + last
        if not count or (unit != "s" and s.folds is None):
            return None
        each = f"{count} run{'s' if count > 1 else ''} of {duration_in_words(s.duration)}"
        if s.folds is not None:
            each += f", of {len(self.candidates) * self.seeds} x {s.folds} folds"
            each += " and the recommended network once more on all images" if last else ""
        if unit != "s":
            return each
        untimed = sum(not (trial.path / SPEED).is_file() for trial in self.trials())
        timed = untimed if most is None else min(untimed, self.seeds * most)
        rounds = -(-(count - last) // (jobs or 1)) + last
        training, timing = format_seconds(rounds * value), format_seconds(timed * allowance(value))
        more = format_seconds(self.seeds * sum(SHARES[:-1]) * value)
        after = f"; the learning curve of the best network takes {more} more" if curve else ""
        return f"{each}: {training}, and up to {timing} to measure their speed at the end, in PyTorch and in the fastest engine alike{after}"
