"""Many networks on the same images: each network and seed is a run of its own that is done once."""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from podium import bundle
from podium.comparison.leaderboard import Leaderboard
from podium.comparison.report import write_report
from podium.data.dataset import Dataset
from podium.data.sources import load_data
from podium.errors import PodiumError, UsageError
from podium.evaluation.metrics import worst_mistakes
from podium.evaluation.speed import speed
from podium.models import architecture
from podium.settings import Origins, Settings, read_file
from podium.training.folder import PREDICTIONS, SETTINGS, SPEED, RunFolder
from podium.training.interrupt import Stopped
from podium.training.loop import Progress, train

MODELS = ("lenet5", "lenet5_modern", "alexnet", "vgg11_bn", "plain20", "resnet20")
WORST = 12  # mistakes shown for each network
# What makes two runs of a study the same run; where it differs from what is asked, the run in the folder is another's.
DECIDES = tuple(
    key for key in Settings().to_dict() if key not in ("workers", "device", "checkpoint_every", "amp", "small", "flip")
)


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
            raise UsageError("models: none given", "name some with -m, such as -m lenet5_modern,resnet20")
        if seeds < 1:
            raise UsageError(f"seeds: {seeds}", "give at least 1")
        for name in models:
            architecture(name)
        self.models, self.merged, self.out, self.seeds, self.data = (
            list(dict.fromkeys(models)),
            merged,
            out,
            seeds,
            data,
        )
        self.report = out / "report.html"

    def trials(self) -> list[tuple[str, int, Path]]:
        """(network, seed, folder) of every run; all networks once before any a second time."""
        first = self.merged.settings.seed
        return [
            (m, seed, self.out / f"{m}-seed{seed}") for seed in range(first, first + self.seeds) for m in self.models
        ]

    def run(self, progress: Callable[..., None] | None = None) -> Leaderboard:
        """Train what is unfinished, measure speed, rank, report.

        Args:
            progress: called as progress(number of the run, runs in all, network, seed, step, steps, what to show).

        Returns:
            The leaderboard; networks that failed are its last rows.
        """
        s = self.merged.settings
        if self.data is None:
            self.data = load_data(s.data, val=s.val, seed=s.seed, resize=s.resize, on_bad=s.on_bad, channels=s.channels)
        self.out.mkdir(parents=True, exist_ok=True)
        failed: dict[str, str] = {}
        finished: list[Path] = []
        trials = self.trials()
        for number, (model, seed, path) in enumerate(trials):
            try:
                self._train(model, seed, path, _for_trial(progress, number, len(trials), model, seed))
                finished.append(path)
            except (Stopped, KeyboardInterrupt):
                raise
            except PodiumError as error:
                failed[model] = error.what
        for path in finished:  # after all training, so that nothing else runs beside it
            if not (path / SPEED).is_file():
                RunFolder(path).write_json(SPEED, speed(bundle.load(path).model))
        board = Leaderboard.read(finished, failed)
        if finished:
            board.to_csv(self.out / "leaderboard.csv")
            write_report(
                self.report, board, finished, {p: self._worst(p) for p in finished}, self._title(), self._facts()
            )
        return board

    def _train(self, model: str, seed: int, path: Path, progress: Progress) -> None:
        settings = self.merged.settings.replace(model=model, seed=seed)
        folder = RunFolder(path)
        if folder.started:
            self._same(folder, settings)
            if folder.finished:
                return
        origin = {**self.merged.origin, "model": "default", "seed": "default"}
        quiet = dict.fromkeys(origin, "default")  # compared above, where a budget is known to be one
        train(
            settings, path, origin=quiet if folder.started else origin, resume=True, data=self.data, progress=progress
        )

    def _same(self, folder: RunFolder, settings: Settings) -> None:
        """Refuse to mix runs of other settings into this comparison."""
        recorded = Settings(**read_file(folder / SETTINGS))
        text = (folder / SETTINGS).read_text(encoding="utf-8")
        asked = f"# {settings.duration} from"
        for key in DECIDES:
            old, new = getattr(recorded, key), getattr(settings, key)
            if key == "data":
                new = str(Path(new).resolve()) if Path(new).exists() else new
            if key in ("image_size", "channels") and new is None:
                continue
            if key == "duration":
                old, new = (asked in text), True
            if old != new:
                what = f"{folder.path}: was made with another {key}"
                raise UsageError(what, "give the same settings to go on with it, or another folder with -o")

    def _worst(self, path: Path) -> list[dict[str, Any]]:
        """The most confident mistakes of a run, with their pictures."""
        with np.load(path / PREDICTIONS) as arrays:
            logits, labels = arrays["logits"], arrays["labels"]
        data = self.data
        if data is None:
            return []
        split = data.splits[RunFolder(path).result["split"]]
        probability = torch.from_numpy(logits).softmax(1)
        rows = []
        for index in worst_mistakes(logits, labels, WORST):
            guess = int(logits[index].argmax())
            image = split.image(index, data.channels)
            image.thumbnail((160, 160))
            rows.append(
                {
                    "index": int(index),
                    "truth": data.classes[labels[index]],
                    "predicted": data.classes[guess],
                    "confidence": float(probability[index, guess]),
                    "image": image,
                }
            )
        return rows

    def _title(self) -> str:
        return f"{len(self.models)} networks on {self.data.name if self.data else self.merged.settings.data}"

    def _facts(self) -> dict[str, str]:
        s, data = self.merged.settings, self.data
        sizes = ", ".join(f"{name} {len(split):,}" for name, split in data.splits.items()) if data else ""
        return {
            "Data": f"{data.name if data else s.data}: {sizes} images, {len(data.classes) if data else '?'} classes",
            "Training": f"recipe {s.recipe}, {s.duration} each, {self.seeds} seed{'s' if self.seeds > 1 else ''} from {s.seed}",
            "Machine": f"{processor()}, {torch.get_num_threads()} threads",
            "Versions": f"torch {torch.__version__}, Python {platform.python_version()}",
            "Date": time.strftime("%Y-%m-%d"),
        }


def _for_trial(progress: Callable[..., None] | None, number: int, count: int, model: str, seed: int) -> Progress:
    if progress is None:
        return lambda *_: None
    return lambda step, steps, shown: progress(number, count, model, seed, step, steps, shown)


def processor() -> str:
    """The processor's name, as the system gives it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
