"""What a run says of itself, read from its folder: parameters, metrics with their steps and times, and files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from podium.errors import PodiumError
from podium.runs.bundle import CARD, WEIGHTS
from podium.runs.folder import ENGINE_SPEED, LOG, RESULT, SETTINGS, RunFolder
from podium.settings import read_file

REPORT = "report.html"
FILES = (SETTINGS, LOG, RESULT, CARD, WEIGHTS, REPORT)
BESIDE = ("event", "epoch", "step", "split")  # of an epoch's row: what says which point it is
COSTS = ("params", "macs", "size_bytes", "seconds", "images_per_second", "steps", "epochs")


@dataclass(frozen=True)
class Point:
    """The metrics of an epoch.

    Args:
        step: training steps that were taken.
        milliseconds: since 1970, by the clock of the run: the same whenever the point is sent.
        values: the numbers by name; those of validation images begin with `val_`.
    """

    step: int
    milliseconds: int
    values: dict[str, float]


def parameters(folder: RunFolder) -> dict[str, Any]:
    """The settings of a run that have a value, as its `settings.yaml` has them."""
    return {key: value for key, value in read_file(folder / SETTINGS).items() if value is not None}


def begun(folder: RunFolder) -> int:
    """When a run began, in milliseconds since 1970, as its log says."""
    with suppress(KeyError, ValueError, IndexError):
        return int(1000 * datetime.strptime(folder.rows()[0]["time"], "%Y-%m-%dT%H:%M:%S%z").timestamp())
    return int(1000 * (folder / SETTINGS).stat().st_mtime)


def points(folder: RunFolder) -> list[Point]:
    """The epochs of a run so far."""
    start = begun(folder)
    return [Point(row["step"], start + int(1000 * row["seconds"]), _named(row["split"], row)) for row in folder.epochs]


def _named(split: str, row: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of an epoch's row; scores are named after the images that they are of."""
    own = ("train_loss", "lr", "seconds")
    numbers = {key: value for key, value in row.items() if key not in BESIDE and _is_number(value)}
    return {key if key in own else f"{split}_{key}": float(value) for key, value in numbers.items()}


def final(folder: RunFolder) -> dict[str, float]:
    """The scores and costs of a finished run; those of deployment too, where a comparison has timed it."""
    result = folder.result
    values = {key: result[key] for key in COSTS if key in result}
    scores = ("top1", "top5", "loss", "ece", "macro_f1", "balanced_accuracy")
    values |= {f"{result['split']}_{key}": result[key] for key in scores if key in result}
    with suppress(OSError, ValueError, KeyError, TypeError):
        timed = json.loads((folder / ENGINE_SPEED).read_text(encoding="utf-8"))
        values |= {"deployed_latency_ms": timed["latency_ms"]["p50"], "deployed_size_bytes": timed["size_bytes"]}
        values["deployed_images_per_second"] = timed["images_per_second"]
    return {key: float(value) for key, value in values.items() if _is_number(value)}


def files(folder: RunFolder) -> list[Path]:
    """The files of a finished run that are worth keeping elsewhere: settings, log, result, report and bundle."""
    return [folder / name for name in FILES if (folder / name).is_file()]


def runs_in(out: Path) -> list[RunFolder]:
    """The runs of a folder that have begun: the one that the folder is, or all of a comparison."""
    if (out / SETTINGS).is_file():
        return [RunFolder(out)]
    return [RunFolder(path.parent) for path in sorted(out.rglob(SETTINGS))]


def is_finished(folder: RunFolder) -> bool:
    """Whether a run has its result, and it can be read."""
    try:
        return folder.finished and bool(folder.result)
    except PodiumError:
        return False


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
