"""The speed of a network as the board has it: in the engine that it is deployed in, or in eager PyTorch where no other was timed."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from typing import Any

from podium.errors import ModelFileError
from podium.runs.folder import ENGINE_SPEED, SPEED, RunFolder

# Field of a row -> where engines.json of one run has it; without that, where speed.json has what it is the median of, over the
# seeds.
MEASURED = {
    "latency_p50_ms": ("latency_ms", "p50"),
    "latency_p95_ms": ("latency_ms", "p95"),
    "images_per_second": ("images_per_second",),
    "batch": ("batch",),
    "latency_passes": ("n",),
    "batch_passes": ("batches",),
    "threads": ("threads",),
    "occupied": ("occupied",),
    "latency_low_ms": ("latency_ms", "low"),
    "latency_high_ms": ("latency_ms", "high"),
}

NEEDED = {SPEED: ("latency_ms",), ENGINE_SPEED: ("latency_ms", "engine", "dtype", "eager_latency_ms", "size_bytes")}


def speed_fields(runs: Sequence[RunFolder]) -> tuple[dict[str, Any], int | None]:
    """The fields of a row that are of speed.

    Args:
        runs: the folders of one network, one for each seed.

    Returns:
        The fields; and the bytes of the deployed file, None where that is not on record.
    """
    speeds, deployed = (_read(runs, name) for name in (SPEED, ENGINE_SPEED))
    fields: dict[str, Any] = {field: _median(deployed[:1] or speeds, keys) for field, keys in MEASURED.items()}
    if not deployed:
        return fields | {"eager_latency_p50_ms": fields["latency_p50_ms"]}, None
    first = deployed[0]
    engine = first["engine"] if first["dtype"] == "float32" else f"{first['engine']} {first['dtype']}"
    return fields | {"engine": engine, "eager_latency_p50_ms": first["eager_latency_ms"]}, first["size_bytes"]


def _read(runs: Sequence[RunFolder], name: str) -> list[dict[str, Any]]:
    """What the files of a name hold, of the runs that have one."""
    found = []
    for file in (run / name for run in runs):
        try:
            found += [_checked(json.loads(file.read_text(encoding="utf-8")), name)] if file.is_file() else []
        except ValueError as error:
            raise ModelFileError(f"{file}: damaged ({error})", "delete it, and run the same comparison again") from None
    return found


def _checked(content: Any, name: str) -> dict[str, Any]:
    """The content of a file of a name, which must have what rows take from it; else a ValueError says what it lacks."""
    if not isinstance(content, dict):
        raise ValueError("no JSON object")
    if missing := [key for key in NEEDED[name] if key not in content]:
        raise ValueError(f"{missing[0]} is missing")
    if not isinstance(content["latency_ms"], dict):
        raise ValueError("latency_ms is no JSON object")
    return content


def _median(speeds: list[dict[str, Any]], keys: tuple[str, ...]) -> float | None:
    """The median of an entry of a file over the runs that have it; None where none has."""
    values = []
    for entry in speeds:
        value: Any = entry
        for key in keys:
            value = value.get(key) if value is not None else None
        values += [value] if value is not None else []
    return statistics.median(values) if values else None
