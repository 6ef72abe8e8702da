"""The recipes by name: our own here, those of papers and articles from the files beside. Imports nothing heavy."""

from __future__ import annotations

import math
import numbers
from pathlib import Path
from typing import Any

from podium.calls import number_of
from podium.errors import UsageError, closest
from podium.settings import DEFAULT, FLAG, Origin, Origins, merge, read_file
from podium.training.recipes.articles import ARTICLES
from podium.training.recipes.papers import PAPERS, Recipe
from podium.units import parse_duration

OURS: dict[str, Recipe] = {
    "quick": Recipe(
        "ours: one cycle of AdamW (Smith 2018, arXiv:1803.09820), which trains every family here, with or without batch norm",
        {
            "duration": "10ep",
            "optimizer": "adamw",
            "weight_decay": 0.01,
            "schedule": "one-cycle",
            "warmup": "25%",
            "clip": 1.0,
            "crop": "pad",
            "crop_padding": 0.04,
        },
    ),
    "modern": Recipe(
        "ours, after He et al. 2019 (Bag of tricks, arXiv:1812.01187): Nesterov momentum, a warm-up and a cosine, label "
        "smoothing, and EMA. No mixup: the small networks here underfit with it",
        {
            "duration": "60ep",
            "optimizer": "sgd",
            "weight_decay": 1e-3,
            "schedule": "cosine",
            "warmup": "5%",
            "clip": 5.0,
            "label_smoothing": 0.1,
            "ema": 0.998,
            "crop": "pad",
        },
    ),
    "finetune": Recipe(
        "ours, for --weights, after Howard and Ruder 2018 (arXiv:1801.06146, section 3.3): the head first, then one part after the "
        "other from the last to the first, each at a lower learning rate than the one after it",
        {
            "duration": "15ep",
            "freeze": "features",
            "unfreeze": "10%",
            "optimizer": "adamw",
            "lr": 1e-3,
            "weight_decay": 0.01,
            "layer_decay": 0.75,
            "schedule": "cosine",
            "warmup": "5%",
            "clip": 1.0,
            "crop": "pad",
            "crop_padding": 0.125,
        },
    ),
    "features": Recipe(
        "ours, for --weights: a linear probe on frozen features, computed once without augmentation (Donahue et al. 2013, "
        "arXiv:1310.1531)",
        {
            "duration": "30ep",
            "freeze": "features",
            "optimizer": "adamw",
            "lr": 3e-3,
            "weight_decay": 1e-3,
            "schedule": "cosine",
            "crop": "none",
            "flip": False,
        },
    ),
    "shrink": Recipe(
        "ours, for pruned networks: Nesterov momentum and a cosine, with a teacher (Hinton et al. 2015, arXiv:1503.02531)",
        {
            "duration": "20ep",
            "optimizer": "sgd",
            "weight_decay": 5e-4,
            "schedule": "cosine",
            "warmup": "5%",
            "clip": 5.0,
            "crop": "pad",
        },
    ),
    "qat": Recipe(
        "ours, for --weights that lose accuracy as int8: a few epochs of AdamW at a low rate under int8 rounding (Jacob et al. 2018, "
        "arXiv:1712.05877, section 3)",
        {
            "duration": "5ep",
            "qat": True,
            "optimizer": "adamw",
            "lr": 1e-3,
            "weight_decay": 0.0,
            "schedule": "cosine",
            "warmup": "5%",
            "clip": 1.0,
            "crop": "pad",
            "crop_padding": 0.04,
            "amp": "off",
        },
    ),
}
RECIPES = {**OURS, **PAPERS, **ARTICLES}


def recipe(name: str) -> Recipe:
    """Return the recipe of this name.

    Raises:
        UsageError: there is none; names the closest ones.
    """
    if name not in RECIPES:
        raise UsageError(
            f"no recipe is called {name!r}", closest(name, list(RECIPES)) or f"one of {', '.join(RECIPES)}"
        )
    return RECIPES[name]


def settings_of(name: str | None, config: Path | None, flags: dict[str, Any], usual: str = "quick") -> Origins:
    """Merge settings from a recipe, a file and flags.

    Args:
        name: of the recipe; None: the one that the file names, or else `usual`.
        config: a settings file.
        flags: values by setting, None for those that were not given; `epochs`, `steps` and `budget` stand for `duration`.
        usual: the default recipe of the operation.
    """
    flags = length_of({key: value for key, value in flags.items() if value is not None})
    named = FLAG if name is not None else DEFAULT
    if name is None and config is not None and "recipe" in (kept := read_file(config)):
        name, named = kept["recipe"], Origin.file(config)
    name = usual if name is None else name
    return merge(recipe(name).settings, name, config, flags, named)


def length_of(flags: dict[str, Any]) -> dict[str, Any]:
    """Return flags in which `duration` stands for `epochs`, `steps` or `budget`.

    Raises:
        UsageError: more than one of them is given, or its value is no duration.
    """
    words = [word for word in ("epochs", "steps", "budget", "duration") if word in flags]
    if len(words) > 1:
        raise UsageError(f"{words[0]} and another length of training are given", "give one of epochs, steps, budget")
    if not words or words == ["duration"]:
        return flags
    value = flags[words[0]]
    if (
        isinstance(value, str)
        and words[0] != "budget"
        and (number := number_of(value, words[0] == "steps")) is not None
    ):
        raise UsageError(f"{words[0]}: {value!r} is a text", f"give the number: {number}")
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if words[0] == "budget":
        parse_duration("budget", text := str(value))
    elif words[0] == "steps":
        if not whole or value < 0:
            raise UsageError(f"steps: {value!r}", "give a whole number, at least 1")
        text = f"{int(value)}it"
    else:
        number = whole or isinstance(value, float)
        if not number or not math.isfinite(value) or value < 0:
            raise UsageError(f"epochs: {value!r}", "give a number, at least 1")
        text = f"{value:.6f}".rstrip("0").rstrip(".") + "ep"
    return {key: value for key, value in flags.items() if key != words[0]} | {"duration": text}
