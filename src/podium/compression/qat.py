"""Quantisation-aware training: a short fine-tuning with int8's rounding, with the float32 network as its teacher."""

from __future__ import annotations

import copy
from pathlib import Path

from podium.compression.shrink import NamedProgress, begin, trained
from podium.data.dataset import Dataset
from podium.data.preprocessing import Preprocessing
from podium.models.convnet import ConvNet
from podium.runs.bundle import Bundle, load
from podium.settings import moved
from podium.training.images import BALANCE, settings_in, taken_over
from podium.training.recipes.named import settings_of
from podium.training.transfer.source import reorder

RECIPE = "qat"


def fine_tuned(
    bundle: Bundle, data: Dataset, out: Path, epochs: int | None, progress: NamedProgress, device: str = "auto"
) -> Bundle:
    """Fine-tune a network with int8's rounding of weights and activations [Jacob et al. 2018, arXiv:1712.05877].

    A fine-tuning that was stopped is resumed.

    Args:
        bundle: the network in float32, which is also the teacher.
        data: of the same classes.
        out: the run folder, with `start` in it.
        epochs: of the fine-tuning; the recipe's if None.
        progress: called after every step.
        device: as in the settings.

    Raises:
        UsageError: `out` holds the fine-tuning of another network.
    """
    made = {"by": RECIPE, "parent": bundle.card.get("sha256"), "epochs": epochs}

    def make() -> tuple[ConvNet, Dataset, Preprocessing]:
        net = copy.deepcopy(bundle.model)
        reorder(net, [bundle.classes.index(name) for name in data.classes], data.name)
        return net, data, bundle.preprocessing

    start = str(begin(out, made, make))
    given = {"data": data.source or data.name, "epochs": epochs, "resize": data.resize, "device": device}
    merged = settings_of(RECIPE, None, given)
    before = settings_in(bundle.folder)
    own = {key: before[key] for key in BALANCE if key in before}
    own["recall"] = taken_over(before.get("recall"), str(bundle.folder), data)
    s = merged.settings.replace(model=bundle.model.spec["model"], weights=start, teacher=start, **own)
    origin = moved(merged.origin, merged.settings, s, "podium quantize")
    tuned = load(trained(s, out, data, "int8", progress, origin).path)
    reorder(tuned.model, [tuned.classes.index(name) for name in bundle.classes], str(out))
    return Bundle(tuned.model, bundle.classes, tuned.preprocessing, tuned.card)
