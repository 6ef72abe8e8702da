"""Tuning: each network of a comparison is trained several times with other settings, and keeps those of its best trial.

Every trial is a complete run, from warm-up to the lowest learning rate, and its folder is kept. Trials are trained in rounds: the
first trials of all networks, then the second ones. Validation images choose; test images choose nothing. The best trial is the
network's run with the first seed; other seeds are trained with its settings.

What is on disk decides how tuning goes on: settings and scores are those of the runs, and `RECORD` says which trials failed.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.comparison.candidates import Candidate
from podium.comparison.claim import claim
from podium.comparison.optimism import optimism
from podium.comparison.progress import StudyProgress, labelled
from podium.comparison.ranking import RankBy, answers_by, log_likelihood
from podium.comparison.rows import Trials, outputs_of
from podium.comparison.running.side_by_side import Lost
from podium.comparison.suggest import check_optuna, suggest
from podium.comparison.tunable import refuse_idle
from podium.comparison.tuned import Own, Trial, Tuned
from podium.data.dataset import Dataset
from podium.errors import ModelFileError, NumericError, PodiumError, UsageError
from podium.files import copy_file, write_json, write_text
from podium.runs.folder import SETTINGS, RunFolder
from podium.settings import read_file
from podium.tracking.notes import NOTE
from podium.units import duration_in_words, parse_duration

if TYPE_CHECKING:
    from podium.comparison.study import Study

FOLDER = "trials"  # in a comparison's folder: a folder for each round, with a run of each network
OF_ALL = (UsageError, ModelFileError)  # errors that a network has with any settings
RECORD = "trials.json"  # in a comparison's folder: {"tune": names of settings, "failed": {"ROUND/RUN": why}}
FEW = 500  # validation images, below which chance has a large part in which trial is best


@dataclass
class Search:
    """The trials of one network so far.

    Args:
        candidate: the network.
        names: of the settings that are tuned.
        by: the score that ranks.
        timed: whether the first trial measures how many steps fit into a time, and the others take as many.
        trials: in their order.
    """

    candidate: Candidate
    names: tuple[str, ...]
    by: RankBy
    timed: bool
    trials: list[Trial] = field(default_factory=list)

    def next(self) -> Own:
        """The settings of the next trial: those of the recipe for the first, what the sampler suggests for the others."""
        by = f"--tune: trial {len(self.trials) + 1}"
        if not self.trials:
            return Own({}, by)
        first = self.trials[0]
        settings = suggest(first.settings, self.trials)
        duration = {"duration": read_file(first.path / SETTINGS)["duration"]} if self.timed else {}
        return Own({**settings, **duration}, by)

    def add(self, path: Path, own: Own, error: str | None) -> None:
        """Add a trial that has ended.

        Args:
            path: of its run.
            own: the settings that it was to have; a run that has begun has them on record.
            error: why it failed; None where it did not.
        """
        recorded = read_file(path / SETTINGS) if RunFolder(path).started else own.settings
        settings = {name: recorded[name] for name in self.names}
        trial = Trial(len(self.trials) + 1, settings, path, error=error)
        if error is None:
            outputs = outputs_of([_trials(path)], ranking=True)
            answers = answers_by(self.by, outputs.logits, outputs.labels)
            likely = float(log_likelihood(outputs.logits[0][0], outputs.labels).mean())
            trial = replace(trial, value=float(answers.scores.mean()), likelihood=likely)
        self.trials.append(trial)

    def found(self) -> Tuned:
        """What came out, with what the choice among the trials that did not fail flatters."""
        finished = [_trials(trial.path) for trial in self.trials if trial.value is not None]
        outputs = outputs_of(finished, ranking=True)
        answers = answers_by(self.by, outputs.logits, outputs.labels, outputs.groups)
        return Tuned(self.names, tuple(self.trials), self.by, len(outputs.labels), optimism(answers))


@dataclass
class Tuning:
    """The tuning of a comparison's networks.

    Args:
        study: which trains the runs. Its `own` gets the settings of each network, its `failed` the networks without any trial.
        data: its images.
        progress: as `Study.run` takes it.
        say: called with lines for people.
        searches: of the networks that are left.
        failed: ROUND/RUN of each trial that failed -> why.
    """

    study: Study
    data: Dataset
    progress: StudyProgress
    say: Callable[[str], None]
    searches: list[Search] = field(init=False)
    failed: dict[str, str] = field(init=False)
    _said: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        choice, s = self.study.choice, self.study.merged.settings
        self.names, self.count = choice.tune or (), choice.trials_each
        timed = parse_duration("duration", s.duration)[1] == "s" and "batch_size" not in self.names
        self.searches = [Search(c, self.names, choice.rank_by, timed) for c in self.study.candidates]
        self.failed = _record(self.study.out).get("failed", {})

    def run(self) -> tuple[list[Candidate], dict[str, Tuned]]:
        """Train the trials, and give each network the settings and the run of its best one.

        Returns:
            The networks that are left, in the order of the comparison, and by name what came out.
        """
        for line in tuning_lines(self.study, self.data):
            self.say(line)
        self._write()
        for number in range(1, self.count + 1):
            self._round(number)
            for search in self.searches:
                trial = search.trials[-1]
                shown = f"{trial.shown(search.by)} with {trial.words()}"
                self.say(f"{search.candidate.name}, trial {number} of {self.count}: {shown}")
        found = {search.candidate.name: self._settle(search) for search in self.searches}
        tuned = {name: each for name, each in found.items() if each is not None}
        return [c for c in self.study.candidates if c.name in tuned], tuned

    def _round(self, number: int) -> None:
        """Train the trial of this number of each network; one that failed earlier is not repeated."""
        round_ = copy.copy(self.study)
        round_.out, round_.seeds = self.study.out / FOLDER / str(number), 1
        round_.candidates = [search.candidate for search in self.searches]
        round_.own = {search.candidate.name: search.next() for search in self.searches}
        parts = round_.schedule.trials()
        earlier = {part.candidate.name: self._failed_earlier(part.path) for part in parts}
        round_.failed = {name: PodiumError(why) for name, why in earlier.items() if why is not None}
        claim(round_.out, round_.merged, {"*": self.data}, round_.source, round_.choice.rank_on)
        if not all(part.candidate.name in round_.failed or RunFolder(part.path).intact for part in parts):
            round_.train_all(self.data, labelled(self.progress, f"trial {number}"), self._say_once)
        for search, part in zip(list(self.searches), parts, strict=True):
            name, path = part.candidate.name, part.path
            error = round_.failed.get(name)
            if error is not None and number == 1 and (isinstance(error, OF_ALL) or not RunFolder(path).started):
                self.study.failed[name] = error
                self.searches.remove(search)
                continue
            if error is not None and not isinstance(error, Lost):  # such a run goes on at the next start
                self.failed[_key(path)] = error.what
            search.add(path, round_.own[name], error.what if error is not None else None)
        self._write()

    def _failed_earlier(self, path: Path) -> str | None:
        """Why a trial failed earlier; None where it did not, and where a person has deleted its folder to have it repeated."""
        return self.failed.get(_key(path)) if RunFolder(path).started else None

    def _settle(self, search: Search) -> Tuned | None:
        """Give a network what its best trial has; None where none of them finished."""
        name = search.candidate.name
        if all(trial.value is None for trial in search.trials):
            what = f"none of {self.count} trials finished; the first: {search.trials[0].error}"
            self.study.failed[name] = NumericError(
                what, "give a lower --lr to search around, and another folder with -o"
            )
            return None
        tuned = search.found()
        best, first = tuned.best, tuned.trials[0]
        self.study.own[name] = Own(best.settings, f"--tune: {tuned.how}")
        without = f"; {first.shown(search.by)} without tuning"
        self.say(f"{name}: {tuned.how}: {best.shown(search.by)} with {best.words()}{without}")
        self._take(search.candidate, tuned)
        return tuned

    def _take(self, candidate: Candidate, tuned: Tuned) -> None:
        """Make the best trial the network's run with the first seed.

        Raises:
            UsageError: the network has a run with other settings, which fewer or other trials have chosen.
        """
        best, runs = tuned.best, [part.path for part in self.study.schedule.trials() if part.candidate == candidate]
        for path in (path for path in runs if RunFolder(path).started):
            recorded = read_file(path / SETTINGS)
            if {name: recorded[name] for name in tuned.names} != best.settings:
                what = f"{path}: was trained with other settings than {best.words()}, the {tuned.how}"
                fix = "give the same --trials and --rank-by as before to go on with it"
                raise UsageError(what, f"{fix}, or delete {self.study.out / candidate.name}-seed*")
        if RunFolder(runs[0]).started:
            return
        # The settings come last: until they are there, the run has not begun, and is copied again.
        shutil.copytree(best.path, runs[0], ignore=_left_out, copy_function=copy_file, dirs_exist_ok=True)
        text = (best.path / SETTINGS).read_text(encoding="utf-8")
        for name in tuned.names:
            said = rf"\1  # by --tune: {tuned.how}, trial {best.number}"
            text = re.sub(rf"^({name}: [^#\n]*?) *(#.*)?$", said, text, count=1, flags=re.MULTILINE)
        write_text(runs[0] / SETTINGS, text)

    def _write(self) -> None:
        write_json(self.study.out / RECORD, {"tune": list(self.names), "failed": self.failed})

    def _say_once(self, line: str) -> None:
        """Say what every round of training says once."""
        if line not in self._said:
            self._said.add(line)
            self.say(line)


def check_tuning(study: Study, data: Dataset) -> None:
    """Refuse to tune where that cannot be, or where it would change networks that are trained already.

    Args:
        study: a comparison whose networks are decided.
        data: its images.

    Raises:
        UsageError: a setting has no effect, no images can choose, or the folder has networks that were tuned otherwise.
        MachineError: Optuna is not installed.
    """
    names, recorded = study.choice.tune, _record(study.out).get("tune")
    begun = [trial.path for trial in study.schedule.trials() if RunFolder(trial.path).started]
    if recorded is not None and recorded != list(names or ()):
        now = f"not {', '.join(names)}" if names else "and now nothing is tuned"
        what = f"{study.out}: was made with tune {', '.join(recorded)}, {now}"
        raise UsageError(what, f"--tune {','.join(recorded)} goes on with it; or name another folder with -o")
    if names is None:
        return
    if recorded is None and begun and not (study.out / FOLDER).is_dir():
        what = f"{begun[0]}: was trained without tuning"
        raise UsageError(what, "leave --tune out to go on with it, or name another folder with -o")
    check_optuna()
    refuse_idle(names, study.merged.settings)
    if "val" not in data.splits:
        what = f"tune: {', '.join(names)}, but {data.name} has no validation images, which choose settings"
        raise UsageError(what, "hold some out with --val 0.2, or leave it out")


def tuning_lines(study: Study, data: Dataset) -> list[str]:
    """What tuning will do, a line each, for people; none where nothing is tuned."""
    names, count, networks = study.choice.tune, study.choice.trials_each, len(study.candidates)
    if names is None:
        return []
    each, images = f" of each of {networks} networks" * (networks > 1), len(data.splits["val"])
    how = f"of {duration_in_words(study.merged.settings.duration)} each, the first with the values of the recipe"
    few = f"{images:,} validation images are few: chance has a large part in which trial is best"
    lines = [f"tuning {', '.join(names)}: {count} trials{each}, {how}; {images:,} validation images choose"]
    return [*lines, few] if images < FEW else lines


def _key(path: Path) -> str:
    """The name of a trial on record."""
    return f"{path.parent.name}/{path.name}"


def _trials(path: Path) -> Trials:
    """The run of a trial, as what reads the answers of runs takes it."""
    trials = Trials(path.name)
    trials.add(RunFolder(path), RunFolder(path).result)
    return trials


def _left_out(folder: str, names: list[str]) -> list[str]:
    """What of a run is not copied with the rest: its lock, what trackers have of it, and its settings, which come last."""
    return [name for name in names if name in (".lock", NOTE, SETTINGS)]


def _record(out: Path) -> dict[str, Any]:
    """What a comparison's folder says of its tuning; nothing where nothing was tuned.

    Raises:
        ModelFileError: the file is damaged.
    """
    if not (out / RECORD).is_file():
        return {}
    try:
        recorded = json.loads((out / RECORD).read_text(encoding="utf-8"))
        return {"tune": list(map(str, recorded["tune"])), "failed": dict(recorded["failed"])}
    except (ValueError, KeyError, TypeError):
        fix = "delete it: tuning makes it again, and repeats the trials that failed"
        raise ModelFileError(f"{out / RECORD}: damaged", fix) from None
