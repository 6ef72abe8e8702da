"""Named settings, each with its source: the papers' own, and ours. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podium.errors import UsageError, closest
from podium.settings import Origins, merge, read_file


@dataclass(frozen=True)
class Recipe:
    """Settings with a name.

    Args:
        source: paper and section, or why we chose it.
        settings: what differs from the defaults of `Settings`.
        differs: where it cannot be, or is not, what the source did; empty if it is.
    """

    source: str
    settings: dict[str, Any]
    differs: str = ""


_PAPER_SGD = {"optimizer": "sgd", "momentum": 0.9, "nesterov": False, "decay_all": True}

RECIPES: dict[str, Recipe] = {
    "quick": Recipe(
        "ours: one cycle of Adam (Smith 2018, arXiv:1803.09820), which trains every family here, with or without batch norm",
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
        "ours, after He et al. 2019 (Bag of tricks, arXiv:1812.01187) and Wightman et al. 2021 (ResNet strikes back, arXiv:2110.00476)",
        {
            "duration": "60ep",
            "optimizer": "adamw",
            "weight_decay": 0.05,
            "schedule": "cosine",
            "warmup": "5%",
            "clip": 1.0,
            "label_smoothing": 0.1,
            "cutmix": 1.0,
            "mixup": 0.2,
            "ema": 0.998,
            "crop": "pad",
        },
    ),
    "lenet-1998": Recipe(
        "LeCun et al. 1998, section III.B: 20 passes of stochastic gradient, the rate falling from 5e-4 to 1e-5",
        {
            "duration": "20ep",
            "batch_size": 8,
            "optimizer": "sgd",
            "momentum": 0.0,
            "nesterov": False,
            "lr": 2e-3,
            "weight_decay": 0.0,
            "schedule": "step",
            "milestones": (0.1, 0.25, 0.4, 0.6),
            "gamma": 0.4,
        },
        differs="one rate for all weights instead of the diagonal Levenberg-Marquardt step, and 8 images a step instead of 1",
    ),
    "alexnet-2012": Recipe(
        "Krizhevsky et al. 2012, section 5: batch 128, 0.01 divided by 10 three times, 90 epochs; crops and colour of section 4.1",
        {
            **_PAPER_SGD,
            "duration": "90ep",
            "batch_size": 128,
            "lr": 0.01,
            "weight_decay": 5e-4,
            "schedule": "step",
            "milestones": (0.25, 0.5, 0.75),
            "crop": "scale",
            "crop_range": (256 / 224, 256 / 224),
            "colour": 0.1,
        },
        differs="the rate falls at fixed times, not when the validation error stops improving; biases decay as weights do",
    ),
    "vgg-2014": Recipe(
        "Simonyan and Zisserman 2014, section 3.1-3.2: batch 256, 0.01 divided by 10 three times, 74 epochs, scale jitter [256, 512]",
        {
            **_PAPER_SGD,
            "duration": "74ep",
            "batch_size": 256,
            "lr": 0.01,
            "weight_decay": 5e-4,
            "schedule": "step",
            "milestones": (0.25, 0.5, 0.75),
            "crop": "scale",
            "crop_range": (256 / 224, 512 / 224),
            "colour": 0.1,
        },
        differs="the rate falls at fixed times, not when the validation error stops improving",
    ),
    "resnet-2015": Recipe(
        "He et al. 2015, section 3.4: batch 256, 0.1 divided by 10 on plateaus, short side in [256, 480]; 30-epoch steps as in fb.resnet.torch",
        {
            **_PAPER_SGD,
            "duration": "90ep",
            "batch_size": 256,
            "lr": 0.1,
            "weight_decay": 1e-4,
            "schedule": "step",
            "milestones": (1 / 3, 2 / 3),
            "crop": "scale",
            "crop_range": (256 / 224, 480 / 224),
            "colour": 0.1,
        },
        differs="the rate falls at fixed times, as in fb.resnet.torch",
    ),
    "resnet-cifar-2015": Recipe(
        "He et al. 2015, section 4.2: batch 128, 0.1 divided by 10 at 32k and 48k of 64k steps, pad 4 and crop 32, mirror",
        {
            **_PAPER_SGD,
            "duration": "64000it",
            "batch_size": 128,
            "lr": 0.1,
            "weight_decay": 1e-4,
            "schedule": "step",
            "milestones": (0.5, 0.75),
            "crop": "pad",
            "crop_padding": 0.125,
        },
        differs="channel means are subtracted instead of the per-pixel mean",
    ),
}


def recipe(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        UsageError: there is none; the closest are named.
    """
    if name not in RECIPES:
        raise UsageError(
            f"no recipe is called {name!r}", closest(name, list(RECIPES)) or f"one of {', '.join(RECIPES)}"
        )
    return RECIPES[name]


def settings_of(name: str | None, config: Path | None, flags: dict[str, Any]) -> Origins:
    """Settings from a recipe, a file and flags; `epochs`, `steps` and `budget` are other words for `duration`."""
    flags = {key: value for key, value in flags.items() if value is not None}
    for word, unit in (("epochs", "ep"), ("steps", "it"), ("budget", "")):
        if word in flags:
            if "duration" in flags:
                raise UsageError(
                    f"{word} and another length of training are given", "give one of epochs, steps, budget"
                )
            flags["duration"] = f"{flags.pop(word)}{unit}"
    if name is None and config is not None:
        name = read_file(config).get("recipe")
    name = name or "quick"
    return merge(recipe(name).settings, name, config, flags)
