"""Trains the runs of a comparison: one after the other in this process, side by side in processes of their own, or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from podium.comparison.candidates import fetch
from podium.comparison.in_progress import add_to_note
from podium.comparison.progress import StudyProgress, Together, for_run, while_downloading_one
from podium.comparison.running.beside import Request
from podium.comparison.running.cluster import Cluster, tasks_of
from podium.comparison.running.jobs import ONE_JOB, Jobs, decide_jobs, jobs_on_cluster, longest_first
from podium.comparison.running.side_by_side import Calls, Ended, Lost, SideBySide
from podium.comparison.schedule import Part, Schedule
from podium.comparison.starts import Starts
from podium.comparison.tuned import Own
from podium.data.dataset import Dataset
from podium.data.memory import out_of_memory
from podium.errors import MachineError, ModelFileError, NumericError, PodiumError, UsageError
from podium.runs.folder import SETTINGS, RunFolder
from podium.runs.recommended import read_study_note
from podium.settings import Origin, Origins, moved, read_file
from podium.training.images import split_seed
from podium.training.interrupt import Stopped
from podium.training.loop import Callbacks
from podium.training.plan import Plan
from podium.training.resume import NOT_COMPARED
from podium.training.run import StepProgress
from podium.units import parse_duration

ITS_OWN = (UsageError, NumericError, ModelFileError)  # errors of one network; any other stops them all


@dataclass
class Trainer:
    """What trains runs of a comparison.

    Args:
        schedule: that names the runs.
        merged: settings that hold for all, and their origin.
        images: that runs are trained on, by fold.
        starts: the weights that networks start from; None: random ones.
        shares: of the images that are held out, where the comparison has decided them: settings of all runs.
        failed: gets the error of a run under its name.
        notes: gets the notes of the runs' plans.
        say: called with each of the notes.
        jobs: how the runs are trained.
        own: settings that a network has for itself, by its name.
        cluster: the place of a cluster that trains them; None: this machine does.
    """

    schedule: Schedule
    merged: Origins
    images: Mapping[int | None, Dataset]
    starts: Starts | None
    shares: Mapping[str, Any]
    failed: dict[str, PodiumError]
    notes: list[str]
    say: Callable[[str], None]
    jobs: Jobs = ONE_JOB
    own: Mapping[str, Own] = field(default_factory=dict)
    cluster: str | None = None

    def train(self, parts: list[Part], data: Dataset, jobs: int | None, progress: StudyProgress) -> None:
        """Train every run that is not finished; a network that fails is not trained on its other folds.

        Args:
            parts: the runs.
            data: the images, of which the runs have their parts.
            jobs: as `decide_jobs` takes it.
            progress: of the comparison.
        """
        schedule, waiting = self.schedule, [part for part in parts if not RunFolder(part.path).finished]
        if self.cluster is not None:
            self.jobs = jobs_on_cluster(self.cluster, jobs, self.merged, len(parts))
        else:
            self.jobs = decide_jobs(jobs, self.merged, schedule.candidates, len(parts), data)
        if self.jobs.note is not None:
            self.say(self.jobs.note)
        if waiting and self.cluster is not None:
            self._train_on_cluster(
                self.cluster, longest_first(waiting, self.merged.settings, data), self._calls(parts, progress)
            )
        elif waiting and self.jobs.count > 1:
            self._train_side_by_side(longest_first(waiting, self.merged.settings, data), self._calls(parts, progress))
        for number, part in enumerate(parts):  # of those that are finished, what they have lost is made again
            if (name := schedule.name(part)) not in self.failed:
                self.attempt(part, name, for_run(progress, number, len(parts), schedule.label(part), part.seed))

    def _calls(self, parts: list[Part], progress: StudyProgress) -> Calls:
        """What is called while runs train elsewhere."""
        schedule = self.schedule
        return Calls(
            request=self.request,
            may_begin=schedule.may_begin,
            skipped=lambda part: schedule.name(part) in self.failed,
            progress=Together(progress, parts, schedule).hear,
            notes=lambda part, lines: self._note(lines, part.candidate.name),
            label=schedule.label,
        )

    @property
    def _grace(self) -> float:
        return parse_duration("grace", self.merged.settings.grace)[0]

    def _train_side_by_side(self, waiting: list[Part], calls: Calls) -> None:
        """Train runs in processes of their own; none where no process can have the images."""
        together = SideBySide(self.jobs.count, self.jobs.threads, self.images, calls, self._grace, self.jobs.gpus)
        if (why := together.start(len(waiting))) is not None:
            self.jobs = ONE_JOB
            self.say(why)
            return
        self._enter(together.train(waiting))

    def _train_on_cluster(self, place: str, waiting: list[Part], calls: Calls) -> None:
        """Train runs as tasks of a cluster."""
        jobs, out = self.jobs, self.schedule.out
        gpu = self.merged.settings.device != "cpu"
        with closing(tasks_of(place, min(jobs.count, len(waiting)), jobs.threads, gpu, out)) as tasks:
            self._enter(Cluster(tasks, jobs.count, jobs.threads, out, self.images, calls, self._grace).train(waiting))

    def _enter(self, training: Ended) -> None:
        """Train, and keep the errors of the runs that fail; any other error stops the comparison."""
        with closing(training) as ended:
            for part, error in ended:
                if error is None:
                    continue
                if (own := error_of_its_own(error)) is None:
                    raise error
                self._fail(part, self.schedule.name(part), own)

    def attempt(self, part: Part, name: str, progress: StepProgress) -> bool:
        """Train a run; an error of its own is kept under its name, and anything else stops the comparison."""

        def announce(plan: Plan) -> None:
            self._note([line for line in plan.notes if line not in plan.data.notes], part.candidate.name)

        try:
            self.request(part, progress).train(self.images, Callbacks(progress, announce))
        except Stopped as stopped:
            stopped.fix = "go on with the same comparison: what is finished is kept"
            raise
        except Exception as error:
            if (own := error_of_its_own(error)) is None:
                raise
            self._fail(part, name, own)
            return False
        return True

    def _fail(self, part: Part, name: str, error: PodiumError) -> None:
        """Keep the error of a run, and tell it to those who read along: the run, and others of its name, may get no folder."""
        self.failed[name] = error
        out = self.schedule.out
        same = [part, *(each for each in self.schedule.parts() if self.schedule.name(each) == name)]
        known = read_study_note(out).get("failed", {})
        add_to_note(out, failed={**known, **{each.path.relative_to(out).as_posix(): error.what for each in same}})

    def _note(self, lines: list[str], name: str) -> None:
        """Keep the notes of a run's plan, and say each of them once."""
        for line in lines:
            note = f"{name}: {line}" if line.startswith(("weights:", "threads:")) else line
            if note not in self.notes:
                self.notes.append(note)
                self.say(note)

    def request(self, part: Part, progress: StepProgress | None = None) -> Request:
        """Decide what a run is trained by, and fetch its weights where they have gone from the cache."""
        s, path, candidate = self.merged.settings, part.path, part.candidate
        source = None
        if self.starts is not None:
            source = self.starts.source(candidate.name)
            if not (self.starts.is_there(candidate.name) or RunFolder(path).finished):
                fetch([candidate], while_downloading_one(progress))
        # All runs have the same images held out, or the same folds.
        decided = {"seed": part.seed, "split_seed": split_seed(s), "fold": part.fold, "weights": source}
        settings = s.replace(model=candidate.model, **decided, **self.shares)
        origin = moved(self.merged.origin, s, settings, "podium compare")
        if (own := self.own.get(candidate.name)) is not None:
            settings = settings.replace(**own.settings)
            origin |= dict.fromkeys(own.settings, Origin(f"by {own.by}"))
        if RunFolder(path).started:
            # `claim` has compared the settings that were given; a run has those that were decided
            return Request(settings, path, {key: origin[key] for key in NOT_COMPARED}, part.fold)
        if (earlier := self.schedule.measured(part)) is not None:
            settings = settings.replace(duration=str(read_file(earlier / SETTINGS)["duration"]))
            origin["duration"] = Origin(f"by the steps of {earlier.relative_to(self.schedule.out).as_posix()}")
        if self.jobs.origin and settings.threads is None:
            origin["threads"] = Origin(self.jobs.origin)
        return Request(settings, path, origin, part.fold)


def error_of_its_own(error: Exception) -> PodiumError | None:
    """The error of one network, which the others survive; None of any other error.

    Args:
        error: that ended a run.
    """
    if isinstance(error, (*ITS_OWN, Lost)):
        return error
    if out_of_memory(error):
        return MachineError("memory ran out in training", "give a smaller --batch-size, or a smaller --image-size")
    return None
