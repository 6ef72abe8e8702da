"""A comparison in a folder: each network, seed and fold is a run of its own, and a finished run is not trained again."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from podium.comparison.cross_validation import Folds, complete, final_folder, fold_folder, pool, write_accuracy
from podium.comparison.leaderboard import Leaderboard
from podium.comparison.page import check_packages
from podium.comparison.report import REPORT, write_report
from podium.comparison.sizes import cost_of, different_sizes, one_size
from podium.comparison.slices import slices_of
from podium.data.dataset import Dataset
from podium.data.image_columns import with_slices
from podium.data.roles import RECORD, read_record, without_learned
from podium.errors import ModelFileError, NumericError, PodiumError, UsageError
from podium.evaluation.cost import format_cost
from podium.evaluation.speed import allowance, speed
from podium.models import architecture
from podium.runs import bundle
from podium.runs.folder import SETTINGS, SPEED, RunFolder
from podium.runs.recommended import REQUEST, TABLE
from podium.settings import Origin, Origins, Settings, moved, read_file, write_file
from podium.training.autotune.forecast import format_seconds
from podium.training.distributed.launch import started_together
from podium.training.idle import refuse_decided
from podium.training.images import data_of, inherited, split_seed, stored_of
from podium.training.interrupt import Stopped
from podium.training.loop import Callbacks, train
from podium.training.prepare import form_for
from podium.training.resume import NOT_COMPARED
from podium.training.run import Progress
from podium.units import parse_duration

MODELS = ("lenet5", "lenet5_modern", "alexnet", "vgg11_bn", "plain20", "resnet20")


class Part(NamedTuple):
    """A run of a comparison.

    Args:
        model, seed: the network, and the seed of its training.
        fold: of a cross-validation, from 1; None without one, and of the run that is handed over.
        path: of its run folder.
    """

    model: str
    seed: int
    fold: int | None
    path: Path


class Study:
    """A comparison in a folder.

    Args:
        models: names of networks.
        merged: settings that hold for all, and their origin.
        out: gets a run folder for each network and seed, `leaderboard.csv` and `report.html`. With `folds` in the settings,
            the folder of a network and seed holds a run folder for each fold, and the network that ranks first gets one more.
        seeds: runs of each network.
        data: ready-made, instead of what the settings name.
    """

    def __init__(self, models: list[str], merged: Origins, out: Path, seeds: int, data: Dataset | None = None) -> None:
        if not models:
            raise UsageError("models: none given", "give the names of some, such as lenet5_modern and resnet20")
        if seeds < 1:
            raise UsageError(f"seeds: {seeds}", "give at least 1")
        if started_together():
            raise UsageError("torchrun: a comparison is one process", "train a network at a time with it: podium train")
        for name in models:
            architecture(name)
        refuse_decided(merged, "compare", data)
        if (merged.settings.devices or 1) > 1:
            raise UsageError(f"devices: {merged.settings.devices}, but a comparison trains on one", "leave it out")
        if Path(merged.settings.data).exists():
            here = str(Path(merged.settings.data).resolve())
            merged = Origins(merged.settings.replace(data=here), merged.origin)
        self.models, self.merged, self.out = list(dict.fromkeys(models)), merged, out
        self.seeds, self.data = seeds, data
        self.folds: Folds | None = None
        self.report = out / REPORT
        self.failed: dict[str, PodiumError] = {}
        self.slices: dict[str, dict[str, Any]] = {}

    def trials(self) -> list[tuple[str, int, Path]]:
        """(network, seed, folder) of every run; all networks once before any a second time."""
        first = self.merged.settings.seed
        return [
            (m, seed, self.out / f"{m}-seed{seed}") for seed in range(first, first + self.seeds) for m in self.models
        ]

    def parts(self) -> list[Part]:
        """Every run; with folds, the first fold of every network before any second one."""
        count = self.merged.settings.folds
        if count is None:
            return [Part(model, seed, None, path) for model, seed, path in self.trials()]
        first = self.merged.settings.seed
        return [
            Part(model, seed, number, fold_folder(path, number))
            for own in range(first, first + self.seeds)
            for number in range(1, count + 1)
            for model, seed, path in self.trials()
            if seed == own
        ]

    def expected(self) -> str | None:
        """How many runs are left, and how long they will take where their duration is a time; None where neither is to say."""
        s = self.merged.settings
        value, unit = parse_duration("duration", s.duration)
        waiting = sum(not RunFolder(part.path).finished for part in self.parts())
        last = s.folds is not None and not any(RunFolder(final_folder(self.out, m)).finished for m in self.models)
        count = waiting + last
        if not count or (unit != "s" and s.folds is None):
            return None
        each = f"{count} run{'s' if count > 1 else ''} of {s.duration}"
        if s.folds is not None:
            each += f", of {len(self.models) * self.seeds} x {s.folds} folds"
            each += " and the recommended network once more on all images" if last else ""
        if unit != "s":
            return each
        timed = sum(not (path / SPEED).is_file() for *_, path in self.trials())
        training, timing = format_seconds(count * value), format_seconds(timed * allowance(value))
        return f"{each}: {training}, and up to {timing} to measure their speed at the end"

    def run(
        self, progress: Callable[..., None] | None = None, announce: Callable[[str], None] | None = None
    ) -> Leaderboard:
        """Train what is unfinished, measure speed, rank, report.

        Args:
            progress: called as progress(number of the run, runs in all, network, seed, step, steps, what to show). While
                image files are read for the first time, steps are files and what to show is {"reading": True}; while speed is
                measured, steps are passes and what to show is {"timing": of what}.
            announce: called before the first run with lines for people: what is left out of the data, and each network's
                form, size and cost.

        Returns:
            The leaderboard; networks that failed are its last rows.
        """
        check_packages()
        self.data = self.images(progress)
        self._claim(self.data)
        if announce is not None:
            for line in (*self.data.notes, *self._forms(self.data)):
                announce(line)
        self._train_all(progress)
        finished = [path for model, seed, path in self.trials() if self._finished(model, seed, path)]
        for number, (model, seed, path) in enumerate(self.trials()):  # after all training: nothing else runs beside it
            if path in finished and not (path / SPEED).is_file():
                _time(path, self._timed(path), _for_trial(progress, number, len(self.trials()), model, seed))
        board = Leaderboard.read(finished, {name: error.what for name, error in self.failed.items()})
        if self.folds is not None and board.best is not None:
            self._hand_over(board, progress)
        if finished:
            board.to_csv(self.out / TABLE)
            sliced = self.merged.settings.slice
            write_report(self.report, board, finished, self.data, self._training(), slice=sliced)
            board.report = self.report
            self.slices = self._sliced(board, finished)
        return board

    def images(self, progress: Callable[..., None] | None = None) -> Dataset:
        """Read the images, and return those that the report shows; those of each fold are kept in `folds`."""
        s, data = self.merged.settings, self.data
        if s.folds is not None:
            data = stored_of(s, _while_reading(progress)) if data is None else data
            self.folds = Folds.of(data, s, inherited(s, data))
            data = self.folds.shown
        elif data is None:
            data = data_of(s, None, _while_reading(progress))
        elif (learned := inherited(s, data)) is not None:
            data = without_learned(data, learned)
        if s.slice is not None:
            with_slices(data, s.slice)  # refuses what it cannot find, before training
        return data

    def _train_all(self, progress: Callable[..., None] | None) -> None:
        """Train every run that is not finished; a network that fails is not trained on its other folds."""
        parts = self.parts()
        for number, part in enumerate(parts):
            name = self._name(part.model, part.seed)
            label = part.model if part.fold is None else f"{part.model} fold {part.fold}/{self.merged.settings.folds}"
            if name not in self.failed:
                self._attempt(part, name, _for_trial(progress, number, len(parts), label, part.seed))

    def _attempt(self, part: Part, name: str, progress: Progress) -> bool:
        """Train a run; an error of its own is kept under its name, and anything else stops the comparison."""
        try:
            self._train(part, progress)
        except Stopped as stopped:
            stopped.fix = "go on with the same comparison: what is finished is kept"
            raise
        except (UsageError, NumericError, ModelFileError) as error:
            self.failed[name] = error
            return False
        return True

    def _finished(self, model: str, seed: int, path: Path) -> bool:
        """Whether a network and seed are to be ranked; the answers of its folds are pooled first."""
        if self._name(model, seed) in self.failed:
            return False
        if self.merged.settings.folds is not None:
            if not complete(path, self.merged.settings.folds):
                return False
            pool(path)
        return True

    def _sliced(self, board: Leaderboard, finished: list[Path]) -> dict[str, dict[str, Any]]:
        """Network -> its accuracy for each value of the column that the settings name; empty where they name none."""
        wanted, data = self.merged.settings.slice, self.data
        if wanted is None or data is None:
            return {}
        runs = {path: RunFolder(path) for path in reversed(finished)}  # the first of a network stands for it
        by_model = {run.result["model"]: run for run in runs.values()}
        return {row.model: slices_of(by_model[row.model], data, wanted) for row in board.networks}

    def _timed(self, path: Path) -> Path:
        """The run folder whose network is timed for a row."""
        return path if self.folds is None else fold_folder(path, 1)

    def _hand_over(self, board: Leaderboard, progress: Callable[..., None] | None) -> None:
        """Train the network that ranks first on all images, and write its cross-validated accuracy into its card."""
        model, seed = board.networks[0].model, self.merged.settings.seed
        part = Part(model, seed, None, final_folder(self.out, model))
        if self._attempt(part, f"{model} on all images", _for_trial(progress, 0, 1, f"{model} on all images", seed)):
            run = RunFolder(part.path)
            board.hand_over(run)
            write_accuracy(run, board)

    def _name(self, model: str, seed: int) -> str:
        return f"{model} seed {seed}" if self.seeds > 1 else model

    def _training(self) -> str:
        """How the networks were trained, in words."""
        s = self.merged.settings
        seeds = f"{self.seeds} seed{'s' if self.seeds > 1 else ''} from {s.seed}"
        folds = f", {s.folds} folds; the network that ranks first once more on all images" if s.folds else ""
        return f"recipe {s.recipe}, {s.duration} each, {seeds}{folds}"

    def _forms(self, data: Dataset) -> list[str]:
        """Each network's form, size and cost, a line each, and what one size for all would do."""
        specs: list[dict[str, Any]] = []
        for model in self.models if self.merged.settings.weights is None else ():  # given weights have their form
            size, small = form_for(self.merged.settings.replace(model=model), data)
            small = small and architecture(model).small_min_size is not None
            spec: dict[str, Any] = {"model": model, "num_classes": len(data.classes), "in_chans": data.channels}
            spec |= {"image_size": size, "small": small}
            with suppress(UsageError):  # it will be said when it fails
                cost_of(spec)
                specs.append(spec)
        sizes = different_sizes({spec["model"]: spec["image_size"] for spec in specs})
        return [*(format_cost(spec, cost_of(spec)) for spec in specs), *filter(None, (sizes, one_size(specs)))]

    def _train(self, part: Part, progress: Progress) -> None:
        s, path = self.merged.settings, part.path
        # All runs have the same images held out, or the same folds.
        settings = s.replace(model=part.model, seed=part.seed, split_seed=split_seed(s), fold=part.fold)
        origin = moved(self.merged.origin, s, settings, "podium compare")
        timed = parse_duration("duration", s.duration)[1] == "s"
        if self.folds is not None and timed and (first := self._first_of(part)) is not None:
            settings = settings.replace(duration=read_file(first / SETTINGS)["duration"])
            origin = {**origin, "duration": Origin(f"by the steps of {first.parent.name}/{first.name}")}
        if RunFolder(
            path
        ).started:  # `_claim` has compared the settings that were given; a run has those that were decided
            origin = {key: origin[key] for key in NOT_COMPARED}
        data = self.data
        if self.folds is not None:
            data = self.folds.whole if part.fold is None else self.folds.parts[part.fold - 1]
        train(settings, path, origin=origin, resume=True, data=data, callbacks=Callbacks(progress))

    def _first_of(self, part: Part) -> Path | None:
        """The folder of another run of the same network that began before: a time is measured once for all of its folds."""
        others = (path for model, *_, path in self.parts() if model == part.model and path != part.path)
        return next((path for path in others if RunFolder(path).started), None)

    def _claim(self, data: Dataset) -> None:
        """Write the given settings beside the runs, and refuse to mix runs of other settings or images into this comparison.

        Raises:
            UsageError: names the setting that differs, or the folder that holds something else.
        """
        note, given = self.out / REQUEST, self.merged.settings
        again = "give the same to go on with it, or name another folder with -o"
        if not note.is_file() and self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise UsageError(f"{self.out}: exists already and holds no comparison", "name another folder with -o")
        if note.is_file() and any(self.out.glob(f"**/{SETTINGS}")):
            recorded = Settings(**read_file(note))
            for key in (key for key in given.to_dict() if key not in NOT_COMPARED):
                old, new = getattr(recorded, key), getattr(given, key)
                if old != new:
                    raise UsageError(f"{self.out}: was made with {key} {old!r}, not {new!r}", again)
        for pattern, images in self._places(data).items():
            self._refuse_others(pattern, images, again)
        self.out.mkdir(parents=True, exist_ok=True)
        write_file(note, given, self.merged.origin)

    def _places(self, data: Dataset) -> dict[str, Dataset]:
        """The images that the runs in the comparison's folder were trained on, by the pattern of their folders."""
        if self.folds is None:
            return {"*": data}
        numbered = enumerate(self.folds.parts, 1)
        return {**{str(fold_folder(Path("*"), n)): part for n, part in numbered}, "*-final": self.folds.whole}

    def _refuse_others(self, pattern: str, data: Dataset, again: str) -> None:
        """Refuse runs that were trained on other images.

        Args:
            pattern: of their folders.
            data: the images now.
            again: how to mend it.
        """
        for card in self.out.glob(f"{pattern}/{bundle.CARD}"):
            try:
                trained_on = json.loads(card.read_text(encoding="utf-8"))["data_sha256"]
            except (ValueError, KeyError, TypeError):
                raise ModelFileError(f"{card}: damaged", f"delete {card.parent} to train it again") from None
            if not data.is_what(trained_on):
                raise UsageError(f"{card.parent}: was trained on other images than {data.name} has now", again)
        for path in self.out.glob(f"{pattern}/{RECORD}"):  # of runs that are not finished
            record = read_record(path.parent)
            if record is not None and record.made.get("fingerprint") != data.fingerprint():
                raise UsageError(f"{path.parent}: was begun on other images than {data.name} has now", again)


def _while_reading(progress: Callable[..., None] | None) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, count: progress(0, 0, "", 0, done, count, {"reading": True})


def _time(path: Path, timed: Path, progress: Progress) -> None:
    """Measure the speed of a finished run and keep it.

    Args:
        path: the folder that keeps it.
        timed: the run's folder.
        progress: called with (passes done, passes, what is measured).
    """
    seconds = allowance(RunFolder(timed).result["seconds"])
    progress(0, 0, {"timing": f"at most {seconds:.0f} s"})
    measured = speed(
        bundle.load(timed).model, seconds, lambda what, done, count: progress(done, count, {"timing": what})
    )
    RunFolder(path).write_json(SPEED, measured)


def _for_trial(progress: Callable[..., None] | None, number: int, count: int, model: str, seed: int) -> Progress:
    if progress is None:
        return lambda *_: None
    return lambda step, steps, shown: progress(number, count, model, seed, step, steps, shown)
