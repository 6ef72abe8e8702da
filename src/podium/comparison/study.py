"""A comparison in a folder: each network and seed is a run of its own, and a finished run is not trained again."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from podium.comparison.leaderboard import Leaderboard
from podium.comparison.page import check_packages
from podium.comparison.report import REPORT, write_report
from podium.comparison.rows import LinearProbeOnly
from podium.comparison.sizes import cost_of, different_sizes, one_size
from podium.comparison.starts import (
    MODELS,
    PRETRAINED,
    Candidate,
    Choice,
    Starts,
    candidates_of,
    fetch,
    spec_of,
    start_pretrained,
    with_sources,
)
from podium.data.dataset import Dataset
from podium.data.roles import RECORD, read_record, without_learned
from podium.errors import ModelFileError, NumericError, PodiumError, UsageError
from podium.evaluation.cost import format_cost
from podium.evaluation.speed import allowance, speed
from podium.runs import bundle
from podium.runs.folder import SETTINGS, SPEED, RunFolder
from podium.runs.recommended import REQUEST, TABLE
from podium.settings import Origin, Origins, Settings, moved, read_file, write_file
from podium.training.autotune.forecast import format_seconds
from podium.training.distributed.launch import started_together
from podium.training.idle import refuse_decided
from podium.training.images import data_of, inherited, split_seed
from podium.training.interrupt import Stopped
from podium.training.loop import Callbacks, train
from podium.training.resume import NOT_COMPARED
from podium.training.run import Progress
from podium.units import parse_duration

ITS_OWN = (UsageError, NumericError, ModelFileError)  # errors of one network; any other stops them all


class Study:
    """A comparison in a folder.

    Args:
        models: names of networks, or of the official weights that they start from; None: those that suit the data.
        merged: settings that hold for all, and their origin.
        out: gets a run folder for each network and seed, `leaderboard.csv` and `report.html`.
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
            raise UsageError("models: none given", "name some with -m, such as -m lenet5_modern,resnet20")
        if seeds < 1:
            raise UsageError(f"seeds: {seeds}", "give at least 1")
        if self.choice.finetune is not None and self.choice.finetune < 1:
            raise UsageError(f"finetune: {self.choice.finetune}", "give at least 1")
        if started_together():
            raise UsageError("torchrun: a comparison is one process", "train a network at a time with it: podium train")
        self.candidates = candidates_of(models or [], merged.settings.weights)
        if self.choice.pretrained is False and (named := [c.source for c in self.candidates if c.source is not None]):
            raise UsageError(f"scratch: but {named[0]} is given", "leave one of the two out")
        if (merged.settings.devices or 1) > 1:
            raise UsageError(f"devices: {merged.settings.devices}, but a comparison trains on one", "leave it out")
        self.merged, self.out, self.seeds = absolute(merged), out, seeds
        self.data, self.given = data, data is not None
        self.pretrained = False
        self.report = out / REPORT
        self.failed: dict[str, PodiumError] = {}

    def trials(self) -> list[tuple[Candidate, int, Path]]:
        """(network, seed, folder) of every run; all networks once before any a second time."""
        first = self.merged.settings.seed
        return [
            (c, seed, self.out / f"{c.name}-seed{seed}")
            for seed in range(first, first + self.seeds)
            for c in self.candidates
        ]

    def expected(self) -> str | None:
        """How long the unfinished runs will take, where their duration is a time; else None."""
        value, unit = parse_duration("duration", self.merged.settings.duration)
        waiting = sum(not RunFolder(path).finished for *_, path in self.trials())
        if self.choice.finetune is not None:
            waiting = min(waiting, self.seeds * self.choice.finetune)
        if unit != "s" or not waiting:
            return None
        training, timing = format_seconds(waiting * value), format_seconds(waiting * allowance(value))
        each = f"{waiting} run{'s' if waiting > 1 else ''} of {self.merged.settings.duration}"
        return f"{each}: {training}, and up to {timing} to measure their speed at the end"

    def run(
        self, progress: Callable[..., None] | None = None, announce: Callable[[str], None] | None = None
    ) -> Leaderboard:
        """Train what is unfinished, measure speed, rank, report.

        Args:
            progress: called as progress(number of the run, runs in all, network, seed, step, steps, what to show). While
                image files are read for the first time, steps are files and what to show is {"reading": True}; while official
                weights are downloaded, steps are bytes and what to show is {"downloading": of what}; while frozen features
                are computed, steps are images and what to show is {"features": True}; while speed is measured, steps are
                passes and what to show is {"timing": of what}.
            announce: called before the first run with lines for people: each network's form, size, cost and linear probe.

        Returns:
            The leaderboard; networks that failed are its last rows.
        """
        check_packages()
        say = announce if announce is not None else lambda _: None
        data = self._images(progress)
        starts = self._decide(data, progress, say)
        self._claim(data)
        for line in self._forms(data):
            say(line)
        untrained = self._linear_probes(data, starts, progress, say) if self.pretrained else []
        finished: list[Path] = []
        trials = self.trials()
        for number, (candidate, seed, path) in enumerate(trials):
            try:
                source = None
                if self.pretrained:
                    source = starts.source(candidate.name)
                    if not (starts.is_there(candidate.name) or RunFolder(path).finished):
                        fetch([candidate], _while_downloading(progress, [candidate]))  # it has gone from the cache
                heard = _for_trial(progress, number, len(trials), candidate.name, seed)
                self._train(candidate, seed, path, source, heard)
                finished.append(path)
            except Stopped as stopped:
                stopped.fix = "go on with the same comparison: what is finished is kept"
                raise
            except ITS_OWN as error:
                self.failed[f"{candidate.name} seed {seed}" if self.seeds > 1 else candidate.name] = error
        for number, (candidate, seed, path) in enumerate(trials):  # after all training: nothing else runs beside it
            if path in finished and not (path / SPEED).is_file():
                _time(path, _for_trial(progress, number, len(trials), candidate.name, seed))
        return self._ranked(data, finished, starts, untrained)

    def _ranked(
        self, data: Dataset, finished: list[Path], starts: Starts, untrained: list[LinearProbeOnly]
    ) -> Leaderboard:
        """Rank the finished runs, and write the table and the report."""
        s, failed = self.merged.settings, {name: error.what for name, error in self.failed.items()}
        found = {
            path: starts.linear_probe(c.name) for c, _, path in self.trials() if self.pretrained and path in finished
        }
        linear_probes = {path: each for path, each in found.items() if each is not None}
        board = Leaderboard.read(finished, failed, linear_probes, untrained)
        if finished:
            board.to_csv(self.out / TABLE)
            seeds = f"{self.seeds} seed{'s' if self.seeds > 1 else ''} from {s.seed}"
            training = f"recipe {s.recipe}, {s.duration} each, {seeds}"
            write_report(self.report, board, finished, data, training)
            board.report = self.report
        return board

    def _images(self, progress: Callable[..., None] | None) -> Dataset:
        """The images in their roles, without those that the candidates' own runs and bundles have learned from."""
        s = self.merged.settings.replace(weights=None)
        runs = [candidate.source for candidate in self.candidates if candidate.source is not None]
        if self.data is None:
            self.data = data_of(s, None, _while_reading(progress), starts=runs)
        elif (learned := inherited(s, self.data, runs)) is not None:
            self.data = without_learned(self.data, learned)
        return self.data

    def _decide(self, data: Dataset, progress: Callable[..., None] | None, say: Callable[[str], None]) -> Starts:
        """Decide whether the networks start from pretrained weights, from which, and by which recipe.

        Official weights that are not in the cache are downloaded.

        Returns:
            What the comparison has on record of starts.
        """
        starts, named, begun = Starts.read(self.out), bool(self.candidates), begun_pretrained(self.out)
        pretrained = self.choice.pretrained
        if pretrained is None and any(candidate.source is not None for candidate in self.candidates):
            pretrained = True
        if pretrained is None:
            default = start_pretrained([c.model for c in self.candidates], self.merged.settings, data)
            pretrained = default if begun is None else begun
        if begun not in (None, pretrained):
            what = f"{self.out}: its networks started from {'pretrained' if begun else 'random'} weights"
            raise UsageError(what, "compare others in another folder, with -o")
        self.pretrained = pretrained
        if not named:
            self.candidates = candidates_of(PRETRAINED if pretrained else MODELS)
        if pretrained and self.choice.settings is not None:
            self.merged = absolute(self.choice.settings)
        refuse_decided(self.merged, "compare", data if self.given else None)
        if pretrained:
            if self.merged.settings.small:
                what = "small: True, but pretrained weights are of a network's full form"
                raise UsageError(what, "leave it out, or train from random weights: --scratch")
            self.candidates = with_sources(self.candidates, starts)
            starts.refuse_others(self.candidates)
            missing = [candidate for candidate in self.candidates if candidate.name not in starts]
            fetch(missing, _while_downloading(progress, missing))
        elif self.choice.finetune is not None:
            raise UsageError("finetune: networks with random weights are all trained", "leave it out, or --pretrained")
        if not named and (takes := self.expected()) is not None:
            say(takes)
        return starts

    def _linear_probes(
        self, data: Dataset, starts: Starts, progress: Callable[..., None] | None, say: Callable[[str], None]
    ) -> list[LinearProbeOnly]:
        """Make the linear probes that are not on record, and put the candidates in their order, the best first.

        Returns:
            The candidates that are not trained: beyond the first `finetune`, and not begun earlier.
        """
        s, fit = self.merged.settings, []
        for number, candidate in enumerate(self.candidates):
            try:
                if candidate.name not in starts:
                    heard = _for_trial(progress, number, len(self.candidates), candidate.name, s.seed)
                    starts.enter(candidate, s, data, partial(_features_counted, heard))
                fit.append(candidate)
            except ITS_OWN as error:
                self.failed[candidate.name] = error
        ranked = starts.best_first(fit)
        for candidate in ranked:
            if (found := starts.linear_probe(candidate.name)) is not None:
                say(f"{candidate.name}: linear probe {100 * found.top1:.1f} %, from {starts.label(candidate.name)}")
        first = ranked[: self.choice.finetune]
        self.candidates = [c for c in ranked if c in first or any(self.out.glob(f"{c.name}-seed*/{SETTINGS}"))]
        return [starts.untrained(candidate) for candidate in ranked if candidate not in self.candidates]

    def _forms(self, data: Dataset) -> list[str]:
        """Each network's form, size and cost, a line each, and what one size for all would do."""
        found = (spec_of(candidate, self.merged.settings, data) for candidate in self.candidates)
        specs: list[dict[str, Any]] = []
        for spec in filter(None, found):
            with suppress(UsageError):  # it will be said when it fails
                cost_of(spec)
                specs.append(spec)
        sizes = different_sizes({spec["model"]: spec["image_size"] for spec in specs})
        return [*(format_cost(spec, cost_of(spec)) for spec in specs), *filter(None, (sizes, one_size(specs)))]

    def _train(self, candidate: Candidate, seed: int, path: Path, source: str | None, progress: Progress) -> None:
        s = self.merged.settings
        settings = s.replace(model=candidate.model, seed=seed, weights=source, split_seed=split_seed(s))
        origin = moved(self.merged.origin, s, settings, "podium compare")  # all runs have the same images held out
        if RunFolder(path).started:
            # `_claim` has compared the settings that were given; a run has those that were decided
            origin = {key: origin[key] for key in NOT_COMPARED}
        elif (earlier := self._measured(candidate, s)) is not None:
            settings = settings.replace(duration=str(read_file(earlier / SETTINGS)["duration"]))
            origin["duration"] = Origin(f"by the steps of {earlier.name}")
        train(settings, path, origin=origin, resume=True, data=self.data, callbacks=Callbacks(progress))

    def _measured(self, candidate: Candidate, s: Settings) -> Path | None:
        """The first run of a network that has measured how many steps fit into the time budget; None where there is none."""
        if parse_duration("duration", s.duration)[1] != "s":
            return None
        runs = (path for c, _, path in self.trials() if c.name == candidate.name)
        return next((path for path in runs if RunFolder(path).started), None)

    def _claim(self, data: Dataset) -> None:
        """Write the given settings beside the runs, and refuse to mix runs of other settings or images into this comparison.

        Raises:
            UsageError: names the setting that differs, or the folder that holds something else.
        """
        note, given = self.out / REQUEST, self.merged.settings
        again = "give the same to go on with it, or name another folder with -o"
        if not note.is_file() and self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise UsageError(f"{self.out}: exists already and holds no comparison", "name another folder with -o")
        if note.is_file() and any(self.out.glob(f"*/{SETTINGS}")):
            recorded = Settings(**read_file(note))
            for key in (key for key in given.to_dict() if key not in NOT_COMPARED):
                old, new = getattr(recorded, key), getattr(given, key)
                if old != new:
                    raise UsageError(f"{self.out}: was made with {key} {old!r}, not {new!r}", again)
        for card in self.out.glob(f"*/{bundle.CARD}"):
            try:
                trained_on = json.loads(card.read_text(encoding="utf-8"))["data_sha256"]
            except (ValueError, KeyError, TypeError):
                raise ModelFileError(f"{card}: damaged", f"delete {card.parent} to train it again") from None
            if not data.is_what(trained_on):
                raise UsageError(f"{card.parent}: was trained on other images than {data.name} has now", again)
        for path in self.out.glob(f"*/{RECORD}"):  # of runs that are not finished
            record = read_record(path.parent)
            if record is not None and record.made.get("fingerprint") != data.fingerprint():
                raise UsageError(f"{path.parent}: was begun on other images than {data.name} has now", again)
        self.out.mkdir(parents=True, exist_ok=True)
        write_file(note, given, self.merged.origin)


def absolute(merged: Origins) -> Origins:
    """The same settings with the whole path of data that lie in a file or folder."""
    if not Path(merged.settings.data).exists():
        return merged
    return Origins(merged.settings.replace(data=str(Path(merged.settings.data).resolve())), merged.origin)


def begun_pretrained(folder: Path) -> bool | None:
    """Whether the runs of a comparison started from pretrained weights; None where none has begun."""
    for path in sorted(folder.glob(f"*/{SETTINGS}")):
        return read_file(path).get("weights") is not None
    return None


def _while_downloading(
    progress: Callable[..., None] | None, candidates: list[Candidate]
) -> Callable[[Candidate, int, int | None], None] | None:
    if progress is None:
        return None
    return lambda candidate, done, count: progress(
        candidates.index(candidate),
        len(candidates),
        candidate.name,
        0,
        done,
        count or 0,
        {"downloading": str(candidate.source)},
    )


def _features_counted(progress: Progress, done: int, count: int) -> None:
    progress(done, count, {"features": True})


def _while_reading(progress: Callable[..., None] | None) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, count: progress(0, 0, "", 0, done, count, {"reading": True})


def _time(path: Path, progress: Progress) -> None:
    """Measure the speed of a finished run and keep it."""
    run = RunFolder(path)
    seconds = allowance(run.result["seconds"])
    progress(0, 0, {"timing": f"at most {seconds:.0f} s"})
    run.write_json(
        SPEED,
        speed(bundle.load(path).model, seconds, lambda what, done, count: progress(done, count, {"timing": what})),
    )


def _for_trial(progress: Callable[..., None] | None, number: int, count: int, model: str, seed: int) -> Progress:
    if progress is None:
        return lambda *_: None
    return lambda step, steps, shown: progress(number, count, model, seed, step, steps, shown)
