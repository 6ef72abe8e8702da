"""What a comparison will take before it begins: the forecast of one run of each network, times its seeds and folds."""

from __future__ import annotations

from typing import Any

from podium.comparison.candidates import Candidate, spec_of
from podium.comparison.learning_curve import SHARES
from podium.comparison.study import Study
from podium.data.dataset import Dataset
from podium.errors import PodiumError
from podium.models.registry import rebuild
from podium.settings import Settings
from podium.training.autotune.forecast import forecast, format_seconds
from podium.training.prepare import prepare
from podium.training.threads import computing_with


def outlook(study: Study) -> dict[str, Any]:
    """Forecast what a comparison will take on this machine, by some training steps of each network.

    Nothing is written, and no official weights are downloaded: the steps are those of the same network with random weights.

    Args:
        study: the comparison; runs that are finished in its folder are counted as if they were not.

    Returns:
        networks [{model, start, runs, seconds_each, seconds, peak_mb; or model, start and error}], folds, seeds, finetune,
        learning_curve, runs and seconds in all, and seconds_after: of what is trained once the networks are ranked, at most:
        the best one on all images after folds, or on parts of the images for its learning curve; else 0. The start is the
        source of the weights, None for random ones. With finetune, which networks are trained is not known yet, and the
        seconds in all are at most so many.

    Raises:
        DataError: the data cannot be read, or a class has too few images for the folds.
        UsageError: settings make no sense together.
    """
    data = study.images()
    study.settle(data)
    s = study.merged.settings
    if study.folds is not None:
        data, s = study.folds.parts[0], s.replace(fold=1)
    runs, finetune = study.seeds * (s.folds or 1), study.choice.finetune
    networks = [_foreseen(candidate, s, data, runs) for candidate in study.candidates]
    known = sorted((row for row in networks if "seconds" in row), key=lambda row: -row["seconds"])
    trained = known[:finetune]
    later, share = _after(study) if trained else (0, 0.0)
    after = round(share * max((row["seconds_each"] for row in trained), default=0.0), 1)
    total = sum(row["seconds"] for row in trained) + after
    choices = {"finetune": finetune, "learning_curve": study.choice.learning_curve}
    sums = {"folds": s.folds, "seeds": study.seeds, **choices, "runs": runs * len(trained) + later}
    return {"networks": networks, **sums, "seconds": round(total, 1), "seconds_after": after}


def _after(study: Study) -> tuple[int, float]:
    """How many runs of the best network follow the ranking, and how many times as long as one of its runs all of them take."""
    if study.merged.settings.folds is not None:
        return 1, 1.0
    if study.choice.learning_curve:
        parts = SHARES[:-1]
        return study.seeds * len(parts), study.seeds * sum(parts)
    return 0, 0.0


def _foreseen(candidate: Candidate, s: Settings, data: Dataset, runs: int) -> dict[str, Any]:
    """The forecast of one network."""
    row: dict[str, Any] = {"model": candidate.model, "start": candidate.source}
    s, net = s.replace(model=candidate.model, weights=None), None
    try:
        if candidate.source is not None and (spec := spec_of(candidate, s, data)) is not None:
            net = rebuild(spec)
        elif candidate.source is not None:  # a run or a bundle, which is there
            s = s.replace(weights=candidate.source)
        with computing_with(s.threads):
            foreseen = forecast(prepare(s, data, net))
    except PodiumError as error:
        return {**row, "error": error.what}
    each = foreseen["seconds"]
    times = {"runs": runs, "seconds_each": each, "seconds": round(runs * each, 1)}
    return {**row, **times, "peak_mb": foreseen["memory_mb"]["peak"]}


def format_outlook(found: dict[str, Any]) -> list[str]:
    """A line for each network, and one for the sum."""
    lines = []
    for row in found["networks"]:
        name = row["model"] if row["start"] is None else f"{row['model']} from {row['start'].partition('=')[0]}"
        if "error" in row:
            lines.append(f"{name}: cannot be trained: {row['error']}")
            continue
        times = f"{row['runs']} run{'s' if row['runs'] > 1 else ''} of {format_seconds(row['seconds_each'])}"
        lines.append(f"{name}: {times} each, {format_seconds(row['seconds'])}; peak memory {row['peak_mb']:,.0f} MB")
    runs, folds = found["runs"], found["folds"]
    how = f" in {folds} folds, the last of them the recommended network on all images" if folds else ""
    how += ", the last of them the best network on parts of the images" if found["learning_curve"] else ""
    count = found["finetune"]
    best = "network" if count == 1 else f"{count} networks"
    most = f" of the {best} with the best linear probe, at most" if count else ""
    time = f"{format_seconds(found['seconds'])}, and their timing"
    return [*lines, f"in all {runs} run{'s' if runs != 1 else ''}{how}{most}: {time}"]
