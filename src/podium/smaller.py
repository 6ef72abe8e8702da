"""What `import podium` offers for smaller networks, and the command line calls: prune, slim and distill."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from podium.calls import from_keywords, public
from podium.comparison.report import report_run
from podium.compression.distill import distill as run_distillation
from podium.compression.prune import KINDS as TARGETS
from podium.compression.prune import Options, Target
from podium.compression.prune import prune as run_pruning
from podium.compression.shrink import Shrunk
from podium.compression.slim import slim as run_slim
from podium.data.dataset import Dataset
from podium.data.roles import without_learned
from podium.errors import UsageError
from podium.runs.folder import RunFolder
from podium.settings import DEFAULT, Origins, moved
from podium.training.idle import refuse_decided, refuse_resize
from podium.training.images import as_parent, data_of, inherited, loaded, source_of
from podium.training.recipes.named import settings_of
from podium.training.threads import computing_with
from podium.units import parse_bytes, parse_milliseconds


@public
def prune(
    run: str | os.PathLike[str],
    data: str | Path | Dataset,
    out: str | Path | None = None,
    *,
    recipe: str | None = None,
    **more: Any,
) -> Shrunk:
    """Make a trained network smaller and fine-tune it with the original as its teacher.

    Args:
        run: a run, a bundle, or LIBRARY:NAME=FILE.
        data: what it was trained on.
        out: the new run folder; runs/RUN-pruned if None.
        recipe: of the fine-tuning; "shrink" if None.
        more: one of speedup=2.0, macs=0.5, latency="8ms", size="5MB"; depth=True takes blocks; controls=False leaves out the
            control runs; tolerance=0.005; settings as for `train`.

    Returns:
        `.run`, `.rows` (before, after, controls) and `.gate`.
    """
    own = {key: more.pop(key) for key in (*TARGETS, "depth", "controls", "tolerance", "watch") if key in more}
    merged = settings_of(recipe, None, {"data": source_of(data), **more}, usual="shrink")
    parent = os.fspath(run)
    out = out or Path("runs") / f"{Path(parent.partition('=')[0]).name.replace(':', '-')}-pruned"
    return prune_with(merged, parent, out, loaded(data), **own)


@public
def prune_with(
    merged: Origins,
    run: str | Path,
    out: str | Path,
    data: Dataset | None = None,
    *,
    speedup: float | None = None,
    macs: float | None = None,
    latency: str | float | None = None,
    size: str | float | None = None,
    **more: Any,
) -> Shrunk:
    """As `prune`, with settings that are merged already."""
    asked = {"speedup": speedup, "macs": macs, "latency": latency, "size": size}
    given = [(key, value) for key, value in asked.items() if value is not None]
    if len(given) != 1:
        named = " and ".join(key for key, _ in given) or "no target"
        raise UsageError(f"{named} given", "give one of speedup, macs, latency, size")
    kind, value = given[0]
    parse = {"latency": parse_milliseconds, "size": parse_bytes}.get(kind)
    target = Target(kind, float(value) if parse is None else parse(kind, value))
    watch = {"watch": more.pop("watch")} if "watch" in more else {}
    how = from_keywords(Options, "prune", {"target": target, **more})
    refuse_decided(merged, "prune")
    s, data = as_parent(merged, run, data)
    refuse_resize(merged, "prune", data.resize)
    origin = moved(merged.origin, merged.settings, s, "the run that it starts from")
    with computing_with(s.threads if origin.get("threads", DEFAULT).asked else None):  # timed as it is trained
        shrunk = run_pruning(run, data, out, s, how, origin=origin, **watch)
    report_run(shrunk.run, data)
    return shrunk


@public
def slim(
    name: str,
    data: str | Path | Dataset,
    out: str | Path,
    *,
    width: float,
    depth: tuple[int, ...] | None = None,
    recipe: str | None = None,
    **settings: Any,
) -> RunFolder:
    """Train the uniform smaller variant of a network, from scratch.

    Args:
        name: of the full network.
        width: factor of all channel counts, up to 1.
        depth: blocks of each stage, such as (2, 2, 2, 2); as they are if None.
        settings: as for `train`.
    """
    merged = settings_of(recipe, None, {"data": source_of(data), **settings})
    return slim_with(merged, name, out, loaded(data), width=width, depth=depth)


def slim_with(merged: Origins, name: str, out: str | Path, data: Dataset | None = None, **more: Any) -> RunFolder:
    """As `slim`, with settings that are merged already."""
    s = merged.settings
    refuse_decided(merged, "slim")
    data = data or data_of(s)
    run = run_slim(name, data, out, s, origin=merged.origin, **more)
    report_run(run, data)
    return run


@public
def distill(
    teacher: str | Path,
    student: str,
    data: str | Path | Dataset,
    out: str | Path,
    *,
    recipe: str | None = None,
    **more: Any,
) -> Shrunk:
    """Train a student with a trained network's answers beside the labels, and once more without them.

    Args:
        teacher: a run, a bundle, or LIBRARY:NAME=FILE.
        student: the name of a network, or a run or bundle to start from.
        data: what the teacher was trained on.
        more: alpha=0.9 and temperature=4.0; controls=False leaves out the student alone; settings as for `train`.
    """
    own = {key: more.pop(key) for key in ("controls", "watch") if key in more}
    merged = settings_of(recipe, None, {"data": source_of(data), **more})
    return distill_with(merged, os.fspath(teacher), student, out, loaded(data), **own)


def distill_with(
    merged: Origins, teacher: str | Path, student: str, out: str | Path, data: Dataset | None = None, **more: Any
) -> Shrunk:
    """As `distill`, with settings that are merged already."""
    refuse_decided(merged, "distill")
    s, data = as_parent(merged, teacher, data)
    refuse_resize(merged, "distill", data.resize)
    start = student if Path(student).exists() else None  # what a student has learned from judges nobody either
    if (learned := inherited(s.replace(teacher=os.fspath(teacher), weights=start), data)) is not None:
        data = without_learned(data, learned)
    origin = moved(merged.origin, merged.settings, s, "the teacher's run")
    with computing_with(s.threads if origin.get("threads", DEFAULT).asked else None):  # timed as it is trained
        shrunk = run_distillation(teacher, student, data, out, s, origin=origin, **more)
    report_run(shrunk.run, data)
    return shrunk
