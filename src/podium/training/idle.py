"""Settings that have no effect in a run, as data: when each acts, and how to make it act. Imports nothing heavy."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from podium.data.reading import NAMES
from podium.errors import UsageError
from podium.settings import DEFAULT, FIELDS, FLAG, Origins, Settings
from podium.training.distributed.launch import started_together
from podium.training.recipes.named import RECIPES

if TYPE_CHECKING:
    from podium.data.dataset import Dataset


@dataclass(frozen=True)
class Use:
    """When a setting has an effect.

    Args:
        acts: from the settings of a run to whether it has one.
        why: why it has none, with the names of other settings in {}.
        mend: the flag that gives it one; None where it can only be left out.
    """

    acts: Callable[[Settings], Any]
    why: str
    mend: str | None = None


_TEACHER = "the run has no teacher", "--teacher RUN"
_SCHEDULE = "the schedule is {schedule}"
USES: tuple[tuple[str, Use], ...] = (
    ("test", Use(lambda s: not s.test or s.folds is None, "with folds every image tests once")),
    ("fold", Use(lambda s: s.folds, "the images are in no folds", "--folds 5")),
    ("unfreeze", Use(lambda s: s.freeze, "nothing is frozen", "--freeze features")),
    ("alpha", Use(lambda s: s.teacher, *_TEACHER)),
    ("temperature", Use(lambda s: s.teacher, *_TEACHER)),
    ("temperature", Use(lambda s: s.alpha > 0, "alpha is 0", "--alpha 0.9")),
    ("label_smoothing", Use(lambda s: not s.teacher or s.alpha < 1, "alpha is 1: labels have no share", "--alpha 0.9")),
    ("class_weights", Use(lambda s: not s.teacher or s.alpha < 1, "alpha is 1: labels have no share", "--alpha 0.9")),
    (
        "class_weights",
        Use(
            lambda s: s.class_weights == "none" or s.sampler == "shuffle",
            "the sampler is balanced",
            "--sampler shuffle",
        ),
    ),
    ("crop_padding", Use(lambda s: s.crop == "pad", "crop is {crop}", "--crop pad")),
    ("crop_range", Use(lambda s: s.crop in ("scale", "area"), "crop is {crop}", "--crop area")),
    ("momentum", Use(lambda s: s.optimizer in ("sgd", "rmsprop"), "{optimizer} has none", "--optimizer sgd")),
    ("nesterov", Use(lambda s: not s.nesterov or s.optimizer == "sgd", "{optimizer} has none", "--optimizer sgd")),
    ("nesterov", Use(lambda s: not s.nesterov or s.momentum > 0, "momentum is 0", "--momentum 0.9")),
    ("eps", Use(lambda s: s.optimizer != "sgd", "sgd has none", "--optimizer adamw")),
    ("decay_all", Use(lambda s: not s.decay_all or s.weight_decay > 0, "weight_decay is 0", "--weight-decay 0.0005")),
    ("layer_decay", Use(lambda s: s.freeze != "features" or s.unfreeze, "all stages are frozen", "--unfreeze 20%")),
    ("lr_batch", Use(lambda s: s.lr_scale != "none", "lr does not follow the batch size", "--lr-scale linear")),
    ("milestones", Use(lambda s: s.schedule == "step", _SCHEDULE, "--schedule step")),
    ("gamma", Use(lambda s: s.schedule in ("step", "exponential"), _SCHEDULE, "--schedule step")),
    ("decay_every", Use(lambda s: s.schedule == "exponential", _SCHEDULE, "--schedule exponential")),
    (
        "deterministic",
        Use(
            lambda s: s.deterministic or s.device not in ("cpu", "mps"),
            "only NVIDIA's GPUs have a choice of kernels",
            "--device cuda",
        ),
    ),
    (
        "sync_batch_norm",
        Use(
            lambda s: not s.sync_batch_norm or (s.devices or 1) > 1 or started_together(),
            "the run has one device",
            "--devices 2",
        ),
    ),
)


# Settings that say how a data set is read, with what they are where nothing is said; one that is loaded has been read already.
READ: dict[str, Any] = {
    **{
        name: FIELDS[name].default
        for name in ("val", "test", "split_seed", "group_from", "group_column", "on_bad", "max_pixels")
    },
    **dict.fromkeys(NAMES),
}
LOADED = "the data set is loaded already: give it to load_data"
IN_PARENT = dict.fromkeys(("group_from", "group_column", "folds", "fold"))  # settings that a parent's split decides
# For each operation the settings that it decides itself, with their values, and why they cannot be set.
DECIDED: dict[str, tuple[dict[str, Any], str]] = {
    "train": ({}, ""),
    "compare": ({"model": "", "fold": None}, "a comparison is given its networks and its data"),
    "prune": (
        {"model": "", "weights": "the run's", "teacher": "the run", **IN_PARENT},
        "pruning keeps to the run that it starts from",
    ),
    "slim": ({"model": "", "weights": None}, "a slim network has fresh weights"),
    "distill": (
        {"model": "", "teacher": "the teacher", **IN_PARENT},
        "teacher and student are named already, and see the same",
    ),
}


def refuse_decided(merged: Origins, operation: str, loaded: Dataset | None = None) -> None:
    """Refuse a flag or keyword that has no effect in a run, and log a note for a line of a settings file that has none.

    Values of a recipe or a default are never refused. A file may be the settings of another run, so what it repeats of the
    recipe and the defaults is not noted.

    Args:
        merged: the settings and their origins.
        operation: one of `DECIDED`.
        loaded: the data set, where it was loaded already and the settings do not say how it is read.

    Raises:
        UsageError: names the setting, why it has no effect, and the mend.
    """
    decided, why = DECIDED[operation]
    read = {} if loaded is None else {**READ, "resize": loaded.resize, "channels": loaded.channels}
    s = merged.settings
    whole = s.replace(**{key: value for key, value in decided.items() if value})
    reasons = dict.fromkeys(read, LOADED) | dict.fromkeys(decided, why)
    for key, value in (read | decided).items():
        if getattr(s, key) != value:
            _refuse(merged, key, reasons[key])
    for key, use in USES:
        if not use.acts(whole):
            _refuse(merged, key, use.why.format(**vars(whole)), use.mend)


# Settings that act on some data only: whether a value acts on these, and why it does not.
WITH_DATA: dict[str, tuple[Callable[[Any, Dataset], bool], str]] = {
    "max_pixels": (lambda _, data: _has_files(data), "the images are pixels already"),
    "on_bad": (lambda _, data: _has_files(data), "the images are pixels already"),
    "workers": (lambda _, data: not _in_memory(data), "the images are in memory"),
    "resize": (lambda _, data: not (_in_memory(data) and _square(data)), "the images are square"),
    "val": (
        lambda share, data: not share or (data.held_out or {}).get("share") == share,
        "the split of an earlier run is kept",
    ),
    "test": (
        lambda share, data: not share or (data.held_out or {}).get("test") == share,
        "the split of an earlier run is kept",
    ),
    "split_seed": (
        lambda seed, data: (data.held_out or {}).get("seed") == seed,
        "the data have a split of their own, or keep that of an earlier run",
    ),
}


def idle_with(merged: Origins, data: Dataset) -> list[str]:
    """Return a note for each setting that a person gave and that does nothing with these data.

    Args:
        merged: the settings and their origins.
        data: the images in their roles.
    """
    lines = []
    for key, (acts, why) in WITH_DATA.items():
        value, source = getattr(merged.settings, key), merged.origin.get(key, DEFAULT)
        if source.given and value != FIELDS[key].default and not acts(value, data):
            lines.append(f"note: {key}: {value!r} does nothing here: {why}")
    return lines


def _has_files(data: Dataset) -> bool:
    return any(split.files is not None for split in data.splits.values())


def _in_memory(data: Dataset) -> bool:
    return all(split.pixels is not None for split in data.splits.values())


def _square(data: Dataset) -> bool:
    shapes = [split.pixels.shape for split in data.splits.values() if split.pixels is not None]
    return all(shape[1] == shape[2] for shape in shapes)


def refuse_resize(merged: Origins, operation: str, resize: str) -> None:
    """Refuse or note a `resize` other than the one that a trained network has, as `refuse_decided` does."""
    if merged.settings.resize != resize:
        _refuse(merged, "resize", DECIDED[operation][1])


def _refuse(merged: Origins, key: str, why: str, mend: str | None = None) -> None:
    s, value, source = merged.settings, getattr(merged.settings, key), merged.origin[key]
    if not source.given or value is None:
        return
    what = f"{key}: {value!r} does nothing here: {why}"
    if source == FLAG:
        leave = f"leave out --{'no-' * (value is False)}{key.replace('_', '-')}"
        raise UsageError(what, f"{leave}, or add {mend}" if mend else leave)
    if value != RECIPES[s.recipe].settings.get(key, FIELDS[key].default):
        logging.getLogger("podium").info(f"{source}: {what}")
