"""The runs of a learning curve: the best network trained on a quarter and a half of the images, as it was on all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from podium.comparison.learning_curve import SHARES, Curve, fit, nested_shares
from podium.comparison.progress import StudyProgress, for_run
from podium.data.dataset import Dataset
from podium.runs.folder import SETTINGS, RunFolder
from podium.settings import FIELDS, Origin, Settings, read_file
from podium.training.interrupt import Stopped
from podium.training.loop import Callbacks, train
from podium.training.run import StepProgress
from podium.units import parse_duration

CURVE = "learning-curve"  # folder of these runs


def measure(model: str, runs: list[Path], data: Dataset, out: Path, progress: StudyProgress) -> Curve:
    """Train a network on shares of the training images, and fit the curve; what is finished is not trained again.

    Args:
        model: its name on the leaderboard.
        runs: its finished runs on all images, one for each seed.
        data: that these were trained on.
        out: gets a run folder for each share and seed.
        progress: as `Study.run` calls it.
    """
    train_split = data.splits["train"]
    rows = nested_shares(train_split.labels, train_split.contents())
    right = []
    for number, (share, chosen) in enumerate(zip(SHARES, rows, strict=True)):
        part = replace(data, splits={**data.splits, "train": train_split.select(chosen)})
        answered = []
        for run in map(RunFolder, runs):
            if share < 1:
                seed = int(run.result["seed"])
                label = f"{model} on {100 * share:.0f} % of the images"
                heard = for_run(progress, number, len(SHARES) - 1, label, seed)
                folder = out / f"{run.path.name}-{100 * share:.0f}"
                run = _train(run, folder, part, len(chosen) / len(train_split), heard)
            logits, labels = run.predictions
            answered.append(logits.argmax(1) == labels)
        right.append(np.mean(answered, axis=0))
    return fit(model, [len(chosen) for chosen in rows], right, RunFolder(runs[0]).groups)


def _train(whole: RunFolder, folder: Path, data: Dataset, share: float, progress: StepProgress) -> RunFolder:
    """Train as a run was trained, on a share of its images, for as many epochs."""
    settings = Settings(**read_file(whole / SETTINGS))
    steps, _ = parse_duration("duration", settings.duration)
    settings = settings.replace(duration=f"{max(1, round(steps * share))}it")
    by = Origin(f"by podium compare --learning-curve, as of {whole.path.name}")
    try:
        return train(
            settings,
            folder,
            origin={} if RunFolder(folder).started else dict.fromkeys(FIELDS, by),
            resume=True,
            data=data,
            callbacks=Callbacks(progress),
        )
    except Stopped as stopped:
        stopped.fix = "go on with the same comparison: what is finished is kept"
        raise
