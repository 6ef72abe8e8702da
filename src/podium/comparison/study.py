"""A comparison in a folder: each network, seed and fold is a run of its own, and a finished run is not trained again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from podium.comparison.candidates import MODELS, PRETRAINED, Choice, candidates_of, fetch, start_pretrained
from podium.comparison.claim import absolute, begun_pretrained, claim
from podium.comparison.cross_validation import Folds, complete, complete_card, fold_folder, pool
from podium.comparison.deployed import time_deployed
from podium.comparison.dropped import HeatOnly
from podium.comparison.heats import HeatsPlan, run_heats
from podium.comparison.images import Images, places
from podium.comparison.in_progress import add_to_note, in_progress
from podium.comparison.leaderboard import Leaderboard
from podium.comparison.learning_runs import CURVE, measure
from podium.comparison.progress import (
    StudyProgress,
    for_run,
    while_computing,
    while_counting,
    while_downloading,
    while_reading,
)
from podium.comparison.protocol import Protocol
from podium.comparison.report.figures import check_figures
from podium.comparison.report.page import check_packages
from podium.comparison.report.provenance import Commands, Provenance, threads_of
from podium.comparison.report.repeat import compare_again
from podium.comparison.report.report_page import REPORT, write_report
from podium.comparison.rows import LinearProbeOnly
from podium.comparison.running.cluster import refuse_cluster
from podium.comparison.running.jobs import refuse_jobs
from podium.comparison.running.trainer import ITS_OWN, Trainer
from podium.comparison.schedule import Part, Schedule
from podium.comparison.selection import selected
from podium.comparison.sizes import forms
from podium.comparison.slices import Slices, slices_of
from podium.comparison.starts import Starts
from podium.comparison.tuned import Own, Tuned
from podium.comparison.tuning import Tuning, check_tuning
from podium.data.dataset import Dataset
from podium.data.image_columns import with_slices
from podium.errors import NumericError, PodiumError, UsageError
from podium.evaluation.speed import allowance, speed
from podium.runs.folder import SETTINGS, SPEED, RunFolder
from podium.runs.recommended import TABLE
from podium.settings import Origins
from podium.tracking.following import following
from podium.training.confidence import check_recall
from podium.training.distributed.launch import started_together
from podium.training.finished import trained_network
from podium.training.idle import refuse_decided
from podium.training.run import StepProgress

NO_LINEAR_PROBE = "no linear probes are made: in a cross-validation every image evaluates networks, so none is left to choose which are trained"


class Study:
    """A comparison in a folder.

    Args:
        models: as `candidates_of` takes them; None: those that suit the data.
        merged: settings that hold for all, and their origin.
        out: gets a run folder for each network and seed, `leaderboard.csv` and `report.html`. With `folds` in the settings,
            the folder of a network and seed holds a run folder for each fold, and the recommended network gets one more.
        seeds: runs of each network.
        data: ready-made, instead of what the settings name.
        choice: how the networks start.
    """

    def __init__(
        self,
        models: list[str] | None,
        merged: Origins,
        out: Path,
        seeds: int,
        data: Dataset | None = None,
        choice: Choice | None = None,
    ) -> None:
        self.choice = choice or Choice()
        if models is not None and not models:
            raise UsageError("models: none given", "give the names of some with -m, such as lenet5_modern and resnet20")
        if seeds < 1:
            raise UsageError(f"seeds: {seeds}", "give at least 1")
        self.choice.refuse(merged.settings)
        if self.choice.cluster is None:
            refuse_jobs(self.choice.jobs, merged)
        else:
            refuse_cluster(self.choice.cluster, self.choice.jobs)
        if started_together():
            raise UsageError("torchrun: a comparison is one process", "train a network at a time with it: podium train")
        candidates = candidates_of(models or [], merged.settings.weights)
        if self.choice.pretrained is False and (named := [c.source for c in candidates if c.source is not None]):
            raise UsageError(f"scratch: but {named[0]} is given", "leave one of the two out")
        if (merged.settings.devices or 1) > 1:
            raise UsageError(f"devices: {merged.settings.devices}, but a comparison trains on one", "leave it out")
        self.merged, self.out, self.seeds = absolute(merged), out, seeds
        self.candidates, self.data, self.given = candidates, data, data is not None
        self.compared = candidates  # of which some may drop out before they are trained in full
        self.pretrained, self.starts = False, Starts.read(out)
        self.folds: Folds | None = None
        self.shares: dict[str, float] = {}  # of images to hold out, that this comparison has decided
        self.report = out / REPORT
        self.failed: dict[str, PodiumError] = {}
        self.notes: list[str] = []  # networks that are left out, and of the runs' plans: mirroring, white, weights
        self.slices: dict[str, Slices] = {}
        self.dropped: list[HeatOnly] = []
        self.own: dict[str, Own] = {}  # settings that a network has for itself
        self.tuned: dict[str, Tuned] = {}

    @property
    def schedule(self) -> Schedule:
        """The runs, as far as the networks are decided."""
        return Schedule(self.out, self.merged.settings, self.seeds, self.candidates)

    def run(self, progress: StudyProgress = None, announce: Callable[[str], None] | None = None) -> Leaderboard:
        """Train what is unfinished, measure speed, rank, report.

        Args:
            progress: called as progress(number of the run, runs in all, network, seed, step, steps, what to show). While
                image files are read for the first time, steps are files and what to show is {"reading": True}; while the
                multiply-adds of networks are counted, steps are networks and what to show is {"counting": True}; while official
                weights are downloaded, steps are bytes and what to show is {"downloading": of what}; while frozen features
                are computed, steps are images and what to show is {"features": True}; while speed is measured, steps are
                passes and what to show is {"timing": of what}.
            announce: called before the first run with lines for people: what it will take, what is left out of the data, and
                each network's form, size, cost and linear probe.

        Returns:
            The leaderboard; networks that failed are its last rows.
        """
        check_packages()
        if self.choice.figures is not None:
            check_figures(self.choice.figures)
        say = announce if announce is not None else lambda _: None
        self.data = data = self.images(progress)
        self.settle(data, while_counting(progress))
        check_tuning(self, data)
        self._fetch(progress)
        if self.choice.heats is not None:  # refused before anything is written
            HeatsPlan.of(self, data, self.candidates[: self.choice.finetune])
        claim(self.out, self.merged, places(data, self.folds), self.source, self.choice.rank_on)
        follow = following(self.out, self.choice.log_to, "run the same comparison again", comparison=True)
        with in_progress(self.out, self.choice, self.seeds, self.merged.settings.folds), follow as follower:
            follower.begin()
            return self._compared(data, progress, say)

    def _compared(self, data: Dataset, progress: StudyProgress, say: Callable[[str], None]) -> Leaderboard:
        """Train what is unfinished, measure speed, rank and report, once the networks and their images are settled."""
        s, choice = self.merged.settings, self.choice
        rounds = choice.heats is not None or choice.tune is not None
        takes = None if rounds else self.schedule.expected(choice.finetune, choice.learning_curve, choice.jobs)
        for line in filter(None, (takes, *data.notes, *forms(self.candidates, s, data))):
            say(line)
        untrained = self._enter(data, progress, say) if self.pretrained else []
        if self.choice.heats is not None:
            self.candidates, self.dropped = run_heats(self, data, progress, say)
        if self.choice.tune is not None:
            self.candidates, self.tuned = Tuning(self, data, progress, say).run()
        self.train_all(data, progress, say)
        trials = self.schedule.trials()
        finished = [trial for trial in trials if self._finished(trial)]
        for number, trial in enumerate(trials):  # after all training: nothing else runs beside it
            if trial in finished and not (trial.path / SPEED).is_file():
                timed = trial.path if self.folds is None else fold_folder(trial.path, 1)
                _time(trial.path, timed, for_run(progress, number, len(trials), trial.candidate.name, trial.seed))
        for note in time_deployed(finished, data, progress):
            self.notes.append(note)
            say(note)
        return self._ranked(data, finished, untrained, progress)

    def images(self, progress: StudyProgress = None) -> Dataset:
        """Read the images, and return those that the report shows; those of each fold are kept in `folds`.

        What the runs and bundles that the networks start from have learned from does not evaluate them.
        """
        s = self.merged.settings.replace(weights=None)
        runs = [candidate.source for candidate in self.candidates if candidate.source is not None]
        self.source = images = Images.read(s, self.data, runs, while_reading(progress))
        if s.folds is not None:
            self.folds = images.folds()
            data = self.folds.shown
        else:
            data, self.shares = images.in_roles(self.choice.rank_on)
        if s.slice is not None:
            with_slices(data, s.slice)  # refuses what it cannot find, before training
        return data

    def settle(self, data: Dataset, counted: Callable[[int, int], None] | None = None) -> None:
        """Decide which networks are compared, whether they start from pretrained weights, from which, and by which recipe.

        Args:
            data: the images.
            counted: called with (networks whose multiply-adds are counted, networks in all).

        Raises:
            UsageError: a setting has no effect, no weights are known of a network, or earlier runs started from others.
        """
        begun, pretrained = begun_pretrained(self.out), self.choice.pretrained
        if pretrained is None and any(candidate.source is not None for candidate in self.candidates):
            pretrained = True
        if pretrained is None:
            default = start_pretrained([c.model for c in self.candidates], self.merged.settings, data)
            pretrained = default if begun is None else begun
        if begun not in (None, pretrained):
            what = f"{self.out}: its networks started from {'pretrained' if begun else 'random'} weights"
            raise UsageError(what, "compare others in another folder, with -o")
        self.pretrained = pretrained
        self.candidates = self.candidates or candidates_of(PRETRAINED if pretrained else MODELS)
        if pretrained and self.choice.settings is not None:
            self.merged = absolute(self.choice.settings)
        refuse_decided(self.merged, "compare", data if self.given else None)
        check_recall(self.merged.settings.recall, data.classes)
        if not pretrained and self.choice.finetune is not None:
            raise UsageError("finetune: networks with random weights are all trained", "leave it out, or --pretrained")
        if pretrained and self.merged.settings.small:
            what = "small: True, but pretrained weights are of a network's full form"
            raise UsageError(what, "leave it out, or train from random weights: --scratch")
        recorded, settings = self.starts.sources if pretrained else None, self.merged.settings
        self.candidates, self.notes = selected(self.candidates, settings, data, self.choice, recorded, counted)
        self.compared = self.candidates
        if pretrained:
            self.starts.refuse_others(self.candidates)

    def _fetch(self, progress: StudyProgress) -> None:
        """Download the official weights that are not in the cache, of networks that are not on record."""
        if self.pretrained:
            missing = [candidate for candidate in self.candidates if candidate.name not in self.starts]
            fetch(missing, while_downloading(progress, missing))

    def _enter(self, data: Dataset, progress: StudyProgress, say: Callable[[str], None]) -> list[LinearProbeOnly]:
        """Put on record what each network starts from, with its linear probe, and train the best of it first.

        Returns:
            The networks that are not trained: beyond the first `finetune`, and not begun earlier.
        """
        s, starts, fit = self.merged.settings, self.starts, []
        measured = self.folds is None
        if not measured:
            say(NO_LINEAR_PROBE)
        for number, candidate in enumerate(self.candidates):
            try:
                if candidate.name not in starts:
                    heard = for_run(progress, number, len(self.candidates), candidate.name, s.seed)
                    if (why := starts.enter(candidate, s, data, measured, while_computing(heard))) is not None:
                        say(why)
                fit.append(candidate)
            except ITS_OWN as error:
                given = not candidate.downloaded and not isinstance(error, NumericError)
                if given:  # a wrong path or network, which a person would hear of only after all other training
                    raise
                self.failed[candidate.name] = error
        ranked = starts.best_first(fit)
        for candidate in ranked:
            if (found := starts.linear_probe(candidate.name)) is not None:
                say(f"{candidate.name}: linear probe {100 * found.top1:.1f} %, from {starts.label(candidate.name)}")
        first = ranked[: self.choice.finetune]
        self.candidates = [c for c in ranked if c in first or any(self.out.glob(f"{c.name}-seed*/{SETTINGS}"))]
        return [starts.untrained(candidate) for candidate in ranked if candidate not in self.candidates]

    def train_all(self, data: Dataset, progress: StudyProgress, say: Callable[[str], None]) -> None:
        """Train every run that is not finished."""
        add_to_note(self.out, runs=[part.path.relative_to(self.out).as_posix() for part in self.schedule.parts()])
        self._trainer(say).train(self.schedule.parts(), data, self.choice.jobs, progress)

    def _trainer(self, say: Callable[[str], None] = lambda _: None) -> Trainer:
        """What trains the runs; errors of runs and notes of their plans are kept here."""
        images: dict[int | None, Dataset] = {None: self.data} if self.data is not None else {}
        if self.folds is not None:
            images = {None: self.folds.whole, **dict(enumerate(self.folds.parts, 1))}
        starts = self.starts if self.pretrained else None
        heard = self.failed, self.notes, say
        given = self.schedule, self.merged, images, starts, self.shares
        return Trainer(*given, *heard, own=self.own, cluster=self.choice.cluster)

    def _finished(self, trial: Part) -> bool:
        """Whether a network and seed are to be ranked; the answers of its folds are pooled first."""
        if self.schedule.name(trial) in self.failed:
            return False
        if (folds := self.merged.settings.folds) is not None:
            if not complete(trial.path, folds):
                return False
            pool(trial.path)
        return True

    def _ranked(
        self, data: Dataset, finished: list[Part], untrained: list[LinearProbeOnly], progress: StudyProgress
    ) -> Leaderboard:
        """Rank what is finished, train what is handed over after folds, and write the table and the report."""
        s, paths = self.merged.settings, [trial.path for trial in finished]
        found = {trial.path: self.starts.linear_probe(trial.candidate.name) for trial in finished if self.pretrained}
        known = {path: each for path, each in found.items() if each is not None}
        failed = {name: error.what for name, error in self.failed.items()}
        tuned = {trial.path: self.tuned[trial.candidate.name] for trial in finished if self.tuned}
        board = Leaderboard.read(paths, failed, known, untrained, self.choice.rules, self.dropped, tuned)
        taken = board.taken.model if board.taken is not None else None
        if self.choice.learning_curve and taken is not None:
            runs_of_it = [path for path in paths if board.names[path] == taken]
            board.curve = measure(taken, runs_of_it, data, self.out / CURVE, progress)
        elif self.choice.learning_curve:
            logging.getLogger("podium").info("no learning curve is trained: no network is recommended")
        if self.folds is not None and taken is not None:
            first = next(trial for trial in finished if board.names[trial.path] == taken)
            self._hand_over(board, first, data, progress)
        if finished:
            board.protocol = Protocol.of(self.choice, self.seeds, s.folds)
            board.protocol.write(self.out)
            board.to_csv(self.out / TABLE)
            made, figures = self._made(board, paths), self.choice.figures
            write_report(self.report, board, paths, data, made, slice=s.slice, figures=figures)
            board.report = self.report
            add_to_note(self.out, verdict=board.sentences())
        if finished and s.slice is not None:
            runs = {board.names[path]: RunFolder(path) for path in reversed(paths)}  # the first of a row stands for it
            self.slices = {row.model: slices_of(runs[row.model], data, s.slice) for row in board.networks}
        return board

    def _made(self, board: Leaderboard, paths: list[Path]) -> Provenance:
        """How the finished runs were made."""
        choice, threads = self.choice, threads_of([RunFolder(path).result for path in paths])
        again = compare_again(self.compared, self.merged.settings, choice, self.seeds, self.pretrained, threads)
        commands = Commands(choice.command, None if self.given else again)  # images from Python have no command line
        return Provenance.of(board, self.out, paths, self.schedule.words(choice), commands)

    def _hand_over(self, board: Leaderboard, trial: Part, data: Dataset, progress: StudyProgress) -> None:
        """Train the recommended network on all images, and write what its folds say of it into its card."""
        part, label = self.schedule.final(trial.candidate), f"{trial.candidate.name} on all images"
        if self._trainer().attempt(part, label, for_run(progress, 0, 1, label, part.seed)):
            run = RunFolder(part.path)
            board.hand_over(run)
            complete_card(run, board, RunFolder(trial.path), data, self.merged.settings.recall)


def _time(path: Path, timed: Path, progress: StepProgress) -> None:
    """Measure the speed of a finished run and keep it.

    Args:
        path: the folder that keeps it.
        timed: the run's folder.
        progress: called with (passes done, passes, what is measured).
    """
    seconds = allowance(RunFolder(timed).result["seconds"])
    progress(0, 0, {"timing": f"PyTorch, at most {seconds:.0f} s"})
    measured = speed(
        trained_network(RunFolder(timed)), seconds, lambda what, done, count: progress(done, count, {"timing": what})
    )
    RunFolder(path).write_json(SPEED, measured)
