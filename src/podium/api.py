"""What `import podium` offers as functions, and the command line calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from podium import bundle
from podium.bundle import Bundle
from podium.comparison.leaderboard import Leaderboard
from podium.comparison.report import report_run
from podium.comparison.study import MODELS, Study
from podium.compression import quantize as quantizing
from podium.compression.distill import distill as run_distillation
from podium.compression.prune import KINDS as TARGETS
from podium.compression.prune import Target, read_amount
from podium.compression.prune import prune as run_pruning
from podium.compression.shrink import Shrunk
from podium.compression.slim import slim as run_slim
from podium.data.dataset import Dataset
from podium.data.loader import Loader
from podium.data.sources import load_data
from podium.deployment import export as exports
from podium.deployment.runtime import Exported
from podium.errors import DataError, UsageError
from podium.evaluation.crops import known
from podium.evaluation.evaluate import Outputs
from podium.evaluation.evaluate import evaluate as run_network
from podium.evaluation.metrics import summarize
from podium.models import ConvNet
from podium.settings import Origins, Settings, read_file
from podium.training.folder import SETTINGS, RunFolder
from podium.training.loop import Progress
from podium.training.loop import train as run_training
from podium.training.plan import Plan, pick_device
from podium.training.recipes import settings_of
from podium.training.transfer import read_source


def train(
    net: str | ConvNet,
    data: str | Path | Dataset,
    out: str | Path,
    *,
    recipe: str | None = None,
    config: str | Path | None = None,
    resume: bool = False,
    elastic: bool = False,
    progress: Progress | None = None,
    announce: Callable[[Plan], None] | None = None,
    **settings: Any,
) -> RunFolder:
    """Train one network.

    Args:
        net: a name, or a network (its weights are where it starts).
        data: what `load_data` takes, or what it gave.
        out: the run folder.
        recipe: settings to start from; "quick" if None, or what the file names.
        config: a settings file, over the recipe.
        resume: go on with the run in `out`.
        elastic: let it go on in another number of processes.
        settings: fields of `Settings`, and epochs=, steps= or budget= for the duration.

    Returns:
        The finished run: `.result`, `.epochs`, and a bundle that `podium.load` reads.
    """
    own = {"model": net if isinstance(net, str) else net.spec["model"], "data": _name(data), **settings}
    return train_and_report(
        settings_of(recipe, Path(config) if config else None, own),
        out,
        resume=resume,
        elastic=elastic,
        data=data if isinstance(data, Dataset) else None,
        net=None if isinstance(net, str) else net,
        progress=progress,
        announce=announce,
    )


def train_and_report(
    merged: Origins, out: str | Path, *, announce: Callable[[Plan], None] | None = None, **more: Any
) -> RunFolder:
    """Train as `training.loop.train` does, and write the run's `report.html`."""
    plans: list[Plan] = []

    def announced(plan: Plan) -> None:
        plans.append(plan)
        if announce is not None:
            announce(plan)

    run = run_training(merged.settings, out, origin=merged.origin, announce=announced, **more)
    if plans:  # else it was finished before, or another process writes it
        report_run(run, plans[0].data)
    return run


def _name(data: str | Path | Dataset) -> str:
    return data.source if isinstance(data, Dataset) else str(data)


def compare(
    models: Sequence[str] = MODELS,
    data: str | Path | Dataset = "digits",
    out: str | Path = "runs/compare",
    *,
    seeds: int = 1,
    recipe: str = "quick",
    config: str | Path | None = None,
    progress: Callable[..., None] | None = None,
    **settings: Any,
) -> Leaderboard:
    """Train several networks on the same images and rank them; what is finished in `out` is not done again.

    Args:
        models: names.
        data: what `load_data` takes, or what it gave.
        out: gets a run folder a network and seed, `leaderboard.csv` and `report.html`.
        seeds: runs of each network, with seeds 0, 1, ...
        settings: as for `train`; `budget="2m"` holds for each run.
    """
    merged = settings_of(recipe, Path(config) if config else None, {"data": _name(data), **settings})
    study = Study(list(models), merged, Path(out), seeds, data if isinstance(data, Dataset) else None)
    return study.run(progress)


def evaluate(
    run: str | Path | Bundle,
    data: str | Path | Dataset,
    *,
    split: str | None = None,
    limit: int | None = None,
    workers: int = 2,
    crops: int | str = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Judge a run or bundle on a data set, with the run's own preprocessing.

    Args:
        split: "test" where there is one, else "val", else "train", if None.
        limit: only the first so many images.
        crops: 1: the centre; 10: also the corners, all mirrored; 144: at four scales, out of three squares; "dense": the
            whole image and its mirror image, by the network's fully convolutional form. Probabilities are averaged.
        progress: called with (images done, images in all) after each batch.

    Returns:
        split, crops, and as `metrics.summarize`: top1, top5, loss, ece, n, per_class, ...

    Raises:
        DataError: the data set has classes that the network does not know.
    """
    crops = known(crops)
    model = run if isinstance(run, Bundle) else bundle.load(run)
    p = model.preprocessing
    p.check_channels()
    if not isinstance(data, Dataset):
        data = load_data(data, resize=p.resize, channels=p.channels)
    name = split or next(s for s in ("test", "val", "train") if s in data.splits)
    if name not in data.splits:
        raise UsageError(f"split: {data.name} has no {name!r}", f"it has {', '.join(data.splits)}")
    unknown = [c for c in data.classes if c not in model.classes]
    if unknown:
        what = f"{data.name} has classes the network was not trained on: {', '.join(unknown[:5])}"
        raise DataError(what, f"it knows {', '.join(model.classes[:10])}")
    images = data.splits[name]
    if limit is not None:
        if limit < 1:
            raise UsageError(f"limit: {limit}", "give at least 1")
        images = images.select(range(min(limit, len(images))))
    device = pick_device("auto")
    loader = Loader(images, p, batch_size=250, device=device, workers=workers)
    answers = run_network(model.model.to(device), loader, progress, crops)
    outputs = _in_model_order(answers, data, model)
    return {"split": name, "crops": crops, **summarize(outputs.logits, outputs.labels, model.classes)}


def _in_model_order(outputs: Outputs, data: Dataset, model: Bundle) -> Outputs:
    """Labels by name: the data set may know fewer classes, or in another order."""
    import numpy as np

    order = np.array([model.classes.index(c) for c in data.classes])
    return Outputs(outputs.logits, order[outputs.labels])


def import_weights(
    source: str,
    path: str | Path | None = None,
    out: str | Path | None = None,
    *,
    num_classes: int | None = None,
    in_chans: int | None = None,
) -> Bundle:
    """A peer's checkpoint as a bundle.

    Args:
        source: "torchvision:resnet50", "timm:inception_v4", "keras:Xception", "akamaster:resnet20" and the like.
        path: the downloaded file; None: the official one, fetched by its name (torchvision's only).
        out: also write the bundle there.
        num_classes: with a fresh head of this size.
        in_chans: with the first convolution adapted to this many channels.
    """
    made = bundle.from_peer(source, Path(path) if path is not None else None, num_classes, in_chans)
    if out is not None:
        folder = Path(out)
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder}: exists already", "name another folder with -o")
        bundle.save(folder, made.model, made.classes, made.preprocessing, made.card)
    return made


def prune(
    run: str | os.PathLike[str],
    data: str | Path | Dataset,
    out: str | Path | None = None,
    *,
    recipe: str = "shrink",
    **more: Any,
) -> Shrunk:
    """Make a trained network smaller and fine-tune it with the original as its teacher.

    Args:
        run: a run, a bundle, or LIBRARY:NAME=FILE.
        data: what it was trained on.
        out: the new run folder; runs/RUN-pruned if None.
        recipe: of the fine-tuning.
        more: one of speedup=2.0, macs=0.5, latency="8ms", size="5MB"; depth=True takes blocks; controls=False leaves out the
            control runs; tolerance=0.005; settings as for `train`.

    Returns:
        `.run`, `.rows` (before, after, controls) and `.gate`.
    """
    own = {key: more.pop(key) for key in (*TARGETS, "depth", "controls", "tolerance", "watch") if key in more}
    merged = settings_of(recipe, None, {"data": _name(data), **more})
    parent = os.fspath(run)
    out = out or Path("runs") / f"{Path(parent.partition('=')[0]).name.replace(':', '-')}-pruned"
    return prune_with(merged, parent, out, data if isinstance(data, Dataset) else None, **own)


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
    target = Target(kind, read_amount(kind, value) if kind in ("latency", "size") else float(value))
    s, data = _as_parent(merged, run, data)
    shrunk = run_pruning(run, data, out, target, s, origin=merged.origin, **more)
    report_run(shrunk.run, data)
    return shrunk


def slim(
    name: str,
    data: str | Path | Dataset,
    out: str | Path,
    *,
    width: float,
    depth: tuple[int, ...] | None = None,
    recipe: str = "quick",
    **settings: Any,
) -> RunFolder:
    """Train the uniform smaller variant of a network, from scratch.

    Args:
        name: of the full network.
        width: factor of all channel counts, up to 1.
        depth: blocks of each stage, such as (2, 2, 2, 2); as they are if None.
        settings: as for `train`.
    """
    merged = settings_of(recipe, None, {"data": _name(data), **settings})
    return slim_with(merged, name, out, data if isinstance(data, Dataset) else None, width=width, depth=depth)


def slim_with(merged: Origins, name: str, out: str | Path, data: Dataset | None = None, **more: Any) -> RunFolder:
    """As `slim`, with settings that are merged already."""
    s = merged.settings
    data = data or load_data(s.data, val=s.val, seed=s.seed, resize=s.resize, on_bad=s.on_bad, channels=s.channels)
    run = run_slim(name, data, out, s, origin=merged.origin, **more)
    report_run(run, data)
    return run


def distill(
    teacher: str | Path,
    student: str,
    data: str | Path | Dataset,
    out: str | Path,
    *,
    recipe: str = "quick",
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
    merged = settings_of(recipe, None, {"data": _name(data), **more})
    return distill_with(merged, os.fspath(teacher), student, out, data if isinstance(data, Dataset) else None, **own)


def distill_with(
    merged: Origins, teacher: str | Path, student: str, out: str | Path, data: Dataset | None = None, **more: Any
) -> Shrunk:
    """As `distill`, with settings that are merged already."""
    s, data = _as_parent(merged, teacher, data)
    shrunk = run_distillation(teacher, student, data, out, s, origin=merged.origin, **more)
    report_run(shrunk.run, data)
    return shrunk


def _as_parent(merged: Origins, run: str | Path, data: Dataset | None) -> tuple[Settings, Dataset]:
    """The data as a trained network had them: its way to a square, its channels, its images held out."""
    s, p = merged.settings, read_source(str(run), "run").bundle.preprocessing
    if Path(run, SETTINGS).is_file():
        before = read_file(Path(run, SETTINGS))
        s = s.replace(**{key: before[key] for key in ("val", "seed") if merged.origin[key] != "flag"})
    if data is None:
        channels = s.channels or p.channels
        data = load_data(s.data, val=s.val, seed=s.seed, resize=p.resize, on_bad=s.on_bad, channels=channels)
        if Path(s.data).exists():
            data.source = str(Path(s.data).resolve())
    return s, data


def export(
    run: str | Path | RunFolder | Shrunk | Bundle,
    out: str | Path,
    *,
    data: str | Path | Dataset | None = None,
    format: str | None = None,
    preprocessing: str = "inside",
) -> exports.Parity:
    """Write a run as one file that answers as the run does; `podium.load` reads it, without torch if it is ONNX or OpenVINO.

    Args:
        run: a run folder or bundle.
        out: `.onnx`, `.xml` (OpenVINO, with a `.bin` beside it) or `.pt2` (torch.export).
        data: images that the file is held to; the run's own if None.
        format: "onnx", "openvino" or "torch", if the name does not say it.
        preprocessing: "inside" the graph (uint8 in), or "beside" it, in the card (normalised float32 in).

    Returns:
        How far the file's answers are from the run's on 64 images.

    Raises:
        NumericError: too far (1e-4); no file is left.
    """
    model = run if isinstance(run, Bundle) else bundle.load(_path(run))
    return exports.export(model, out, images_for(run, data, model), format=format, preprocessing=preprocessing)


def _path(run: str | Path | RunFolder | Shrunk) -> Path:
    run = run.run if isinstance(run, Shrunk) else run
    return run.path if isinstance(run, RunFolder) else Path(run)


def images_for(
    run: str | Path | RunFolder | Shrunk | Bundle, data: str | Path | Dataset | None, model: Bundle | Exported
) -> Dataset:
    """The data set that is named, or the one that a run was trained on, split as it was.

    Raises:
        UsageError: none is named, and the run does not say.
        DataError: it is not there, or has none of the network's classes.
    """
    p = model.preprocessing
    p.check_channels()
    if data is None:
        settings = None if isinstance(run, Bundle) else _path(run) / SETTINGS
        if settings is None or not settings.is_file():
            raise UsageError("no data: a bundle does not say which images it was made for", "give some with --data")
        s = {"val": None, "seed": 0, **read_file(settings)}
        data = load_data(
            s["data"], val=s["val"], seed=s["seed"], resize=p.resize, on_bad=s["on_bad"], channels=p.channels
        )
    elif not isinstance(data, Dataset):
        data = load_data(data, resize=p.resize, channels=p.channels)
    if not set(data.classes) & set(model.classes):
        what = f"{data.name} has none of the network's classes"
        raise DataError(what, f"it knows {', '.join(model.classes[:10])}")
    return data


def quantize(
    run: str | Path | RunFolder | Shrunk | Bundle, data: str | Path | Dataset | None, out: str | Path, **how: Any
) -> quantizing.Quantized:
    """A run in 8-bit integers, as a new folder that `podium.load` reads; arguments as of `compression.quantize.quantize`.

    Args:
        run: a run folder or bundle.
        data: its training images measure the ranges, its validation images judge; the run's own if None.
        out: a new folder.
        how: engine=, tolerance=, limit=, seconds=, qat=, epochs=, say=, watch=.

    Raises:
        NumericError: it knows fewer of the validation images than `tolerance` allows; nothing is left.
    """
    model = run if isinstance(run, Bundle) else bundle.load(_path(run))
    return quantizing.quantize(model, images_for(run, data, model), out, **how)
