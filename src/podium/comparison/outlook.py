"""What a comparison will take before it begins: the forecast of one run of each network, times its seeds and folds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from podium.comparison.candidates import Candidate, spec_of
from podium.comparison.heats import HeatsPlan
from podium.comparison.learning_curve import SHARES
from podium.comparison.running.jobs import Jobs, decide_jobs
from podium.comparison.study import Study
from podium.comparison.tuning import check_tuning, tuning_lines
from podium.data.dataset import Dataset
from podium.errors import PodiumError
from podium.models.registry import rebuild
from podium.settings import Settings
from podium.training.autotune.forecast import forecast, format_seconds
from podium.training.prepare import prepare
from podium.training.threads import computing_with


@dataclass(frozen=True)
class Foreseen:
    """What a network will take.

    Args:
        model: its name.
        start: the source of its weights; None: random ones.
        runs: one for each seed and fold.
        seconds_each, seconds: of one run, and of all.
        peak_mb: peak memory of a run, in megabytes.
    """

    model: str
    start: str | None
    runs: int
    seconds_each: float
    seconds: float
    peak_mb: float


@dataclass(frozen=True)
class Untrainable:
    """A network that cannot be trained on these images, and why."""

    model: str
    start: str | None
    error: str


@dataclass(frozen=True)
class Outlook:
    """What a comparison will take.

    Args:
        networks: in the order of the comparison.
        folds, seeds, finetune, learning_curve: as they were given.
        runs: in all.
        seconds: until all is trained; at most so many with `finetune` or heats, since which networks are trained is not known yet.
        seconds_after: of what is trained once the networks are ranked, at most: the best one on all images after folds, or on
            parts of the images for its learning curve; else 0.
        heats: the rounds of training; None where all networks are trained in full at once.
        trials: trainings of each network that tune its settings, in words; none where nothing is tuned.
        jobs: runs that train side by side, each with its share of the cores, which it was timed with.
    """

    networks: tuple[Foreseen | Untrainable, ...]
    folds: int | None
    seeds: int
    finetune: int | None
    learning_curve: bool
    runs: int
    seconds: float
    seconds_after: float
    heats: HeatsPlan | None = None
    trials: tuple[str, ...] = ()
    jobs: int = 1

    def to_dict(self) -> dict[str, Any]:
        """The values by name, for JSON."""
        return {**asdict(self), "networks": [asdict(network) for network in self.networks]}

    def lines(self) -> list[str]:
        """A line for each network and one for the sum, for people."""
        lines = [_line(network) for network in self.networks]
        how = f" in {self.folds} folds, the last of them the recommended network on all images" if self.folds else ""
        how += ", the last of them the best network on parts of the images" if self.learning_curve else ""
        best = "network" if self.finetune == 1 else f"{self.finetune} networks"
        most = f" of the {best} with the best linear probe, at most" if self.finetune else ""
        time = f"{format_seconds(self.seconds)}, and the time to measure their speed"
        lines += self.heats.lines() if self.heats is not None else []
        lines += self.trials
        most += " at most" if self.heats is not None and not most else ""
        how = f", {self.jobs} at a time{how}" if self.jobs > 1 else how
        return [*lines, f"in all {self.runs} run{'s' if self.runs != 1 else ''}{how}{most}: {time}"]


def _line(network: Foreseen | Untrainable) -> str:
    name = network.model if network.start is None else f"{network.model} from {network.start.partition('=')[0]}"
    if isinstance(network, Untrainable):
        return f"{name}: cannot be trained: {network.error}"
    times = f"1 run of {format_seconds(network.seconds)}"
    if network.runs > 1:
        times = f"{network.runs} runs of {format_seconds(network.seconds_each)} each, {format_seconds(network.seconds)}"
    return f"{name}: {times}; peak memory {network.peak_mb:,.0f} MB"


def outlook(study: Study, progress: Callable[[int, int], None] | None = None) -> Outlook:
    """Forecast what a comparison will take on this machine, by some training steps of each network.

    Nothing is written, and no official weights are downloaded: the steps are those of the same network with random weights.

    Args:
        study: the comparison; runs that are finished in its folder are counted as if they were not.
        progress: called with (networks that are counted, then timed, networks in all), as timing takes some seconds for each.

    Raises:
        DataError: the data cannot be read, or a class has too few images for the folds.
        UsageError: settings make no sense together.
    """
    data = study.images()
    study.settle(data, progress)
    s = study.merged.settings
    if study.folds is not None:
        data, s = study.folds.parts[0], s.replace(fold=1)
    check_tuning(study, data)
    runs, finetune = study.seeds * (s.folds or 1), study.choice.finetune
    runs += study.choice.trials_each - 1 if study.choice.tune else 0  # the best of them is the run of the first seed
    jobs = decide_jobs(study.choice.jobs, study.merged, study.candidates, runs * len(study.candidates), data)
    networks: list[Foreseen | Untrainable] = []
    for done, candidate in enumerate(study.candidates, 1):
        networks.append(_foreseen(candidate, s, data, runs, jobs))
        if progress is not None:
            progress(done, len(study.candidates))
    known = sorted((one for one in networks if isinstance(one, Foreseen)), key=lambda one: -one.seconds)
    trained = known[:finetune]
    later, share = _after(study) if trained else (0, 0.0)
    after = round(share * max((one.seconds_each for one in trained), default=0.0), 1)
    count, plan = runs * len(trained), None
    total = side_by_side([one.seconds_each for one in trained for _ in range(runs)], jobs.count)
    if study.choice.heats is not None:
        plan = HeatsPlan.of(study, data, study.candidates[:finetune])
        total, count = plan.of_full * total, plan.runs() + study.seeds * plan.finalists()
    given = s.folds, study.seeds, finetune, study.choice.learning_curve
    tried = tuple(tuning_lines(study, data))
    return Outlook(tuple(networks), *given, count + later, round(total + after, 1), after, plan, tried, jobs.count)


def side_by_side(seconds: list[float], jobs: int) -> float:
    """How long runs take of which so many train at a time: each begins when one before it has ended, the longest first."""
    ends = [0.0] * jobs
    for each in sorted(seconds, reverse=True):
        ends[ends.index(min(ends))] += each
    return max(ends)


def _after(study: Study) -> tuple[int, float]:
    """How many runs of the best network follow the ranking, and how many times as long as one of its runs all of them take."""
    if study.merged.settings.folds is not None:
        return 1, 1.0
    if study.choice.learning_curve:
        parts = SHARES[:-1]
        return study.seeds * len(parts), study.seeds * sum(parts)
    return 0, 0.0


def _foreseen(candidate: Candidate, s: Settings, data: Dataset, runs: int, jobs: Jobs) -> Foreseen | Untrainable:
    """The forecast of one network, in as many threads as its runs will have."""
    s, net = s.replace(model=candidate.model, weights=None), None
    try:
        if candidate.source is not None and (spec := spec_of(candidate, s, data)) is not None:
            net = rebuild(spec)
        elif candidate.source is not None:  # a run or a bundle, which is there
            s = s.replace(weights=candidate.source)
        with computing_with(jobs.threads if jobs.count > 1 else s.threads):
            foreseen = forecast(prepare(s, data, net))
    except PodiumError as error:
        return Untrainable(candidate.model, candidate.source, error.what)
    each, peak = foreseen["seconds"], foreseen["memory_mb"]["peak"]
    return Foreseen(candidate.model, candidate.source, runs, each, round(runs * each, 1), peak)
