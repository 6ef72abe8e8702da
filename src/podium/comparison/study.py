"""A comparison in a folder: each network and seed is a run of its own, and a finished run is not trained again."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from podium.comparison.leaderboard import Leaderboard
from podium.comparison.page import check_packages
from podium.comparison.report import REPORT, write_report
from podium.comparison.sizes import cost_of, different_sizes, one_size
from podium.data.dataset import Dataset
from podium.data.roles import RECORD, read_record, without_learned
from podium.errors import ModelFileError, NumericError, PodiumError, UsageError
from podium.evaluation.cost import format_cost
from podium.evaluation.speed import allowance, speed
from podium.models import architecture
from podium.runs import bundle
from podium.runs.folder import SETTINGS, SPEED, RunFolder
from podium.runs.recommended import REQUEST, TABLE
from podium.settings import Origins, Settings, moved, read_file, write_file
from podium.training.autotune.forecast import format_seconds
from podium.training.distributed.launch import started_together
from podium.training.idle import refuse_decided
from podium.training.images import data_of, inherited, split_seed
from podium.training.interrupt import Stopped
from podium.training.loop import Callbacks, train
from podium.training.prepare import form_for
from podium.training.resume import NOT_COMPARED
from podium.training.run import Progress
from podium.units import parse_duration

MODELS = ("lenet5", "lenet5_modern", "alexnet", "vgg11_bn", "plain20", "resnet20")


class Study:
    """A comparison in a folder.

    Args:
        models: names of networks.
        merged: settings that hold for all, and their origin.
        out: gets a run folder for each network and seed, `leaderboard.csv` and `report.html`.
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
        self.report = out / REPORT
        self.failed: dict[str, PodiumError] = {}

    def trials(self) -> list[tuple[str, int, Path]]:
        """(network, seed, folder) of every run; all networks once before any a second time."""
        first = self.merged.settings.seed
        return [
            (m, seed, self.out / f"{m}-seed{seed}") for seed in range(first, first + self.seeds) for m in self.models
        ]

    def expected(self) -> str | None:
        """How long the unfinished runs will take, where their duration is a time; else None."""
        value, unit = parse_duration("duration", self.merged.settings.duration)
        waiting = sum(not RunFolder(path).finished for *_, path in self.trials())
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
                image files are read for the first time, steps are files and what to show is {"reading": True}; while speed is
                measured, steps are passes and what to show is {"timing": of what}.
            announce: called before the first run with lines for people: each network's form, size and cost.

        Returns:
            The leaderboard; networks that failed are its last rows.
        """
        s = self.merged.settings
        check_packages()
        if self.data is None:
            self.data = data_of(s, None, _while_reading(progress))
        elif (learned := inherited(s, self.data)) is not None:
            self.data = without_learned(self.data, learned)
        self._claim(self.data)
        if announce is not None:
            for line in self._forms(self.data):
                announce(line)
        finished: list[Path] = []
        trials = self.trials()
        for number, (model, seed, path) in enumerate(trials):
            try:
                self._train(model, seed, path, _for_trial(progress, number, len(trials), model, seed))
                finished.append(path)
            except Stopped as stopped:
                stopped.fix = "go on with the same comparison: what is finished is kept"
                raise
            except (UsageError, NumericError, ModelFileError) as error:  # its own; anything else stops them all
                self.failed[f"{model} seed {seed}" if self.seeds > 1 else model] = error
        for number, (model, seed, path) in enumerate(trials):  # after all training: nothing else runs beside it
            if path in finished and not (path / SPEED).is_file():
                _time(path, _for_trial(progress, number, len(trials), model, seed))
        board = Leaderboard.read(finished, {name: error.what for name, error in self.failed.items()})
        if finished:
            board.to_csv(self.out / TABLE)
            seeds = f"{self.seeds} seed{'s' if self.seeds > 1 else ''} from {s.seed}"
            training = f"recipe {s.recipe}, {s.duration} each, {seeds}"
            write_report(self.report, board, finished, self.data, training)
            board.report = self.report
        return board

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

    def _train(self, model: str, seed: int, path: Path, progress: Progress) -> None:
        s = self.merged.settings
        settings = s.replace(model=model, seed=seed, split_seed=split_seed(s))  # all runs have the same images held out
        origin = moved(self.merged.origin, s, settings, "podium compare")
        if RunFolder(
            path
        ).started:  # `_claim` has compared the settings that were given; a run has those that were decided
            origin = {key: origin[key] for key in NOT_COMPARED}
        train(settings, path, origin=origin, resume=True, data=self.data, callbacks=Callbacks(progress))

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
