"""What a comparison will take before it begins: the forecast of one run of each network, times its seeds and folds."""

from __future__ import annotations

from typing import Any

from podium.comparison.study import Study
from podium.errors import PodiumError
from podium.training.autotune.forecast import forecast, format_seconds
from podium.training.prepare import prepare
from podium.training.threads import computing_with


def outlook(study: Study) -> dict[str, Any]:
    """Forecast what a comparison will take on this machine, by some training steps of each network; nothing is written.

    Args:
        study: the comparison; runs that are finished in its folder are counted as if they were not.

    Returns:
        networks [{model, runs, seconds_each, seconds, peak_mb; or model and error}], folds, seeds, runs and seconds in all,
        and seconds_after: of the network that is trained once more after the folds, at most; 0 without folds.

    Raises:
        DataError: the data cannot be read, or a class has too few images for the folds.
    """
    s, data = study.merged.settings, study.images()
    if study.folds is not None:
        data, s = study.folds.parts[0], s.replace(fold=1)
    runs = study.seeds * (s.folds or 1)
    networks: list[dict[str, Any]] = []
    for model in study.models:
        try:
            with computing_with(s.threads):
                foreseen = forecast(prepare(s.replace(model=model), data))
        except PodiumError as error:
            networks.append({"model": model, "error": error.what})
            continue
        each = foreseen["seconds"]
        seconds = round(runs * each, 1)
        row = {"model": model, "runs": runs, "seconds_each": each, "seconds": seconds}
        networks.append({**row, "peak_mb": foreseen["memory_mb"]["peak"]})
    known = [row for row in networks if "seconds" in row]
    after = max((row["seconds_each"] for row in known), default=0.0) if s.folds else 0.0
    total = sum(row["seconds"] for row in known) + after
    count = runs * len(known) + bool(s.folds and known)
    sums = {"folds": s.folds, "seeds": study.seeds, "runs": count, "seconds": round(total, 1), "seconds_after": after}
    return {"networks": networks, **sums}


def format_outlook(found: dict[str, Any]) -> list[str]:
    """A line for each network, and one for the sum."""
    lines = []
    for row in found["networks"]:
        if "error" in row:
            lines.append(f"{row['model']}: cannot be trained: {row['error']}")
            continue
        times = f"{row['runs']} run{'s' if row['runs'] > 1 else ''} of {format_seconds(row['seconds_each'])}"
        lines.append(
            f"{row['model']}: {times} each, {format_seconds(row['seconds'])}; peak memory {row['peak_mb']:,.0f} MB"
        )
    how = f" in {found['folds']} folds" if found["folds"] else ""
    last = ", the last of them the recommended network on all images" if found["folds"] else ""
    return [
        *lines,
        f"in all {found['runs']} run{'s' if found['runs'] != 1 else ''}{how}{last}: {format_seconds(found['seconds'])}, and their timing",
    ]
