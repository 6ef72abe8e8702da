"""`podium distill`: train a small network on a trained one's probabilities, and once more without them for comparison."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from podium.calls import public
from podium.compression.shrink import CONTROLS, NamedProgress, Shrunk, compared, saved, trained
from podium.data.dataset import Dataset
from podium.devices import pick_device
from podium.models.registry import architecture
from podium.settings import Origin, Settings, moved
from podium.training.transfer.source import read_source, reorder


@public
def distill(
    teacher: str | Path,
    student: str,
    data: Dataset,
    out: str | Path,
    settings: Settings,
    *,
    controls: bool = True,
    origin: dict[str, Origin] | None = None,
    progress: NamedProgress = lambda *_: None,
) -> Shrunk:
    """Train a student with a teacher [Hinton et al. 2015], and without one, for as long.

    Args:
        teacher: a run, bundle or peer's weights (`transfer.read_source`).
        student: the name of a network, or a run or bundle whose weights it starts from.
        data: what the teacher was trained on.
        out: the new run folder.
        settings: of the training; `alpha` and `temperature` are of the imitation.
        controls: also train the student alone.
    """
    source, out = read_source(str(teacher), "teacher"), Path(out)
    s = settings.replace(teacher=source.pinned, data=data.source or data.name, resize=data.resize)
    if Path(student).exists():
        start = read_source(student)
        s = s.replace(weights=start.pinned, model=start.bundle.model.spec["model"])
    else:
        s = s.replace(model=architecture(student).name)
    run = trained(s, out, data, "student", progress, moved(origin or {}, settings, s, "podium distill"))
    others = {}
    if controls:
        size = source.bundle.preprocessing.image_size
        alone = s.replace(teacher=None, image_size=s.image_size or size, duration=f"{run.result['steps']}it")
        others["student alone"] = trained(alone, out / CONTROLS / "alone", data, "alone", progress, {})
    made = source.bundle
    reorder(made.model, [made.classes.index(c) for c in data.classes], str(teacher))
    preprocessing = dataclasses.replace(made.preprocessing, resize=data.resize)
    return saved(
        compared(run, ("teacher", made.model.eval().to(pick_device(s.device)), preprocessing), others, data, None, []),
        out,
    )
