"""`podium.prune`, `podium.slim` and `podium.distill`: smaller networks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Unpack

from podium.api.settings_fields import DistillFields, SettingsFields
from podium.bars import training_progress
from podium.calls import public
from podium.comparison.report.report_page import report_run
from podium.compression.distill import distill as run_distillation
from podium.compression.gate import Terms
from podium.compression.prune import Kind, Options, Target
from podium.compression.prune import prune as run_pruning
from podium.compression.shrink import NamedProgress, Shrunk
from podium.compression.slim import slim as run_slim
from podium.data.dataset import Dataset
from podium.data.roles import without_learned
from podium.errors import UsageError
from podium.runs.folder import RunFolder
from podium.settings import DEFAULT, Origin, moved
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
    speedup: float | None = None,
    macs: float | None = None,
    latency: str | float | None = None,
    size: str | float | None = None,
    depth: bool = False,
    controls: bool = True,
    tolerance: float = 0.005,
    accept_unproven: bool = False,
    progress: NamedProgress | bool | None = None,
    recipe: str | None = None,
    config: str | Path | None = None,
    **settings: Unpack[SettingsFields],
) -> Shrunk:
    """Make a trained network smaller, as one of four targets says, and fine-tune it with the original as its teacher.

    Args:
        run: a run, a bundle, or LIBRARY:NAME=FILE.
        data: the data set that the network was trained on.
        out: the new run folder; runs/RUN-pruned if None.
        speedup: the factor that the multiply-adds are divided by, more than 1.
        macs: the share of the multiply-adds that is left, between 0 and 1.
        latency: the time of one image on this machine, such as "8ms"; a number is milliseconds.
        size: the size of the weights' file, such as "5MB"; a number is bytes.
        depth: remove whole residual blocks instead of channels.
        controls: also train the networks that the smaller one is compared with.
        tolerance: the accepted loss of top-1 accuracy, as a fraction, which the images must show at 95 %.
        accept_unproven: take the result where the images are too few to tell. Otherwise its folder's name ends in "-unproven".
        progress: a function that is called with (which network, steps done, steps in all, what to show) after each step;
            False for nothing. If None: a bar in a notebook or a terminal.
        recipe: the named settings of the fine-tuning. If None: the recipe that `config` names, else "shrink".
        config: a settings file, whose values replace those of the recipe.
        settings: as for `train`.

    Returns:
        `.run`, `.rows` (before, after, controls) and `.gate`, whose "outcome" is "within", "above" or "unproven".

    Raises:
        UsageError: no target or several are given, or the target cannot be met.
        DataError: the images could not show the tolerance if both networks had the same ones right.
    """
    given = {"data": source_of(data), **settings}
    merged = settings_of(recipe, Path(config) if config is not None else None, given, usual="shrink")
    target = _target({"speedup": speedup, "macs": macs, "latency": latency, "size": size})
    how = Options(target, depth, controls, Terms(tolerance, accept_unproven))
    refuse_decided(merged, "prune", loaded(data))
    parent = os.fspath(run)
    out = out or Path("runs") / f"{Path(parent.partition('=')[0]).name.replace(':', '-')}-pruned"
    s, images = as_parent(merged, parent, loaded(data))
    refuse_resize(merged, "prune", images.resize)
    origin = moved(merged.origin, merged.settings, s, "the run that it starts from")
    with computing_with(_threads_given(origin, s.threads)), training_progress(progress, named=True) as heard:
        shrunk = run_pruning(parent, images, out, s, how, origin=origin, progress=heard)
    report_run(shrunk.run, images)
    return shrunk


def _target(named: dict[Kind, str | float | None]) -> Target:
    """The one target of a pruning.

    Raises:
        UsageError: none or several are given, or its value cannot be meant.
    """
    given = [(key, value) for key, value in named.items() if value is not None]
    if len(given) != 1:
        keys = " and ".join(key for key, _ in given) or "no target"
        raise UsageError(f"{keys} given", "give one of speedup, macs, latency, size")
    kind, value = given[0]
    parse = {"latency": parse_milliseconds, "size": parse_bytes}.get(kind)
    return Target(kind, float(value) if parse is None else parse(kind, value))


def _threads_given(origin: dict[str, Origin], threads: int | None) -> int | None:
    """The number of threads if a person gave it: the smaller network is timed by as many as it is trained by."""
    return threads if origin.get("threads", DEFAULT).given else None


@public
def slim(
    name: str,
    data: str | Path | Dataset,
    out: str | Path,
    *,
    width: float,
    depth: tuple[int, ...] | None = None,
    progress: NamedProgress | bool | None = None,
    recipe: str | None = None,
    config: str | Path | None = None,
    **settings: Unpack[SettingsFields],
) -> RunFolder:
    """Train the uniform smaller variant of a network, from scratch.

    Args:
        name: the name of the full network.
        data: a data set as `load_data` takes or returns it.
        out: the new run folder.
        width: the factor of all channel counts, up to 1.
        depth: the number of blocks of each stage, such as (2, 2, 2, 2); the network's own if None.
        progress: a function that is called with (which network, steps done, steps in all, what to show) after each step;
            False for nothing. If None: a bar in a notebook or a terminal.
        recipe: the named settings to start from. If None: the recipe that `config` names, else "quick".
        config: a settings file, whose values replace those of the recipe.
        settings: as for `train`.

    Returns:
        The finished run.

    Raises:
        UsageError: `width` or `depth` does not suit the network, or a setting is wrong or has no effect.
        DataError: the data cannot be read.
    """
    given = {"data": source_of(data), **settings}
    merged = settings_of(recipe, Path(config) if config is not None else None, given)
    refuse_decided(merged, "slim", loaded(data))
    images = loaded(data) or data_of(merged.settings)
    with training_progress(progress, named=True) as heard:
        run = run_slim(
            name, images, out, merged.settings, width=width, depth=depth, origin=merged.origin, progress=heard
        )
    report_run(run, images)
    return run


@public
def distill(
    teacher: str | Path,
    student: str,
    data: str | Path | Dataset,
    out: str | Path,
    *,
    controls: bool = True,
    progress: NamedProgress | bool | None = None,
    recipe: str | None = None,
    config: str | Path | None = None,
    **settings: Unpack[DistillFields],
) -> Shrunk:
    """Train a student with a trained network's answers beside the labels, and once more without them.

    Args:
        teacher: a run, a bundle, or LIBRARY:NAME=FILE.
        student: the name of a network, or a run or bundle whose weights the student starts from.
        data: the data set that the teacher was trained on.
        out: the new run folder.
        controls: also train the student without the teacher.
        progress: a function that is called with (which network, steps done, steps in all, what to show) after each step;
            False for nothing. If None: a bar in a notebook or a terminal.
        recipe: the named settings to start from. If None: the recipe that `config` names, else "quick".
        config: a settings file, whose values replace those of the recipe.
        settings: as for `train`; alpha=0.9 and temperature=4.0 are of the distillation.

    Returns:
        `.run` and `.rows` (teacher, student, student alone).
    """
    given = {"data": source_of(data), **settings}
    merged = settings_of(recipe, Path(config) if config is not None else None, given)
    refuse_decided(merged, "distill", loaded(data))
    s, images = as_parent(merged, teacher, loaded(data))
    refuse_resize(merged, "distill", images.resize)
    start = student if Path(student).exists() else None  # what the student has learned from does not evaluate it either
    if (learned := inherited(s.replace(teacher=os.fspath(teacher), weights=start), images)) is not None:
        images = without_learned(images, learned)
    origin = moved(merged.origin, merged.settings, s, "the teacher's run")
    with computing_with(_threads_given(origin, s.threads)), training_progress(progress, named=True) as heard:
        shrunk = run_distillation(teacher, student, images, out, s, controls=controls, origin=origin, progress=heard)
    report_run(shrunk.run, images)
    return shrunk
