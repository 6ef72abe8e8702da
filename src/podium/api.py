"""What `import podium` offers as functions, and the command line calls."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from podium.calls import public
from podium.comparison.leaderboard import Leaderboard
from podium.comparison.page import check_packages
from podium.comparison.report import REPORT, report_run
from podium.comparison.study import MODELS, Study
from podium.compression import quantize as quantizing
from podium.compression.shrink import Shrunk
from podium.data.dataset import Dataset
from podium.data.loader import Loader
from podium.data.roles import Record, described, read_record, with_roles, without_learned
from podium.data.sampling import stratified
from podium.data.sources import load_stored
from podium.deployment import export as exports
from podium.deployment.runtime import Exported
from podium.errors import DataError, UsageError
from podium.evaluation.crops import parse_crops
from podium.evaluation.evaluate import Outputs
from podium.evaluation.evaluate import evaluate as run_network
from podium.evaluation.metrics import summarize
from podium.models import ConvNet
from podium.runs import bundle
from podium.runs.bundle import Bundle
from podium.runs.folder import RESULT, SETTINGS, RunFolder
from podium.runs.recommended import run_of
from podium.settings import Origins, read_file
from podium.training.distributed.launch import leads
from podium.training.finished import left_as_it_is
from podium.training.idle import refuse_decided
from podium.training.images import evaluated_on, known_to, loaded, source_of
from podium.training.loop import Progress
from podium.training.loop import train as run_training
from podium.training.plan import Plan, pick_device
from podium.training.recipes.named import settings_of


@public
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
    own = {"model": net if isinstance(net, str) else net.spec["model"], "data": source_of(data), **settings}
    merged = settings_of(recipe, Path(config) if config is not None else None, own)
    if elastic and not resume:
        raise UsageError("elastic: True does nothing here: a new run takes the devices it is given", "add resume=True")
    if not resume:
        refuse_decided(merged, "train", loaded(data))
    return train_and_report(
        merged,
        out,
        resume=resume,
        elastic=elastic,
        data=loaded(data),
        net=None if isinstance(net, str) else net,
        progress=progress,
        announce=announce,
    )


def train_and_report(
    merged: Origins, out: str | Path, *, announce: Callable[[Plan], None] | None = None, **more: Any
) -> RunFolder:
    """Train as `training.loop.train` does, and write the run's `report.html`."""
    check_packages()
    plans: list[Plan] = []

    def announced(plan: Plan) -> None:
        plans.append(plan)
        if announce is not None:
            announce(plan)

    before = bool(more.get("resume")) and RunFolder(out).intact
    run = run_training(merged.settings, out, origin=merged.origin, announce=announced, **more)
    if before and leads():
        print(left_as_it_is(run), file=sys.stderr)
    if plans:  # else it was finished before, or another process writes it
        report_run(run, plans[0].data)
    elif leads() and not (run / REPORT).is_file():  # it was killed between its result and its report
        _report_again(run, more.get("data"))
    return run


def _report_again(run: RunFolder, given: Dataset | None) -> None:
    """Write the report of a finished run, which shows images of its own data.

    Raises:
        DataError: they are gone, or others are there.
    """
    model = bundle.load(run.path)
    data, record = given or images_for(run, None, model), read_record(run.path)
    if given is not None and record is not None:
        data = without_learned(data, Record({}, record.earlier, {}))  # as it was trained
    if not data.is_what(str(model.card.get("data_sha256"))):
        what = f"{run / REPORT}: cannot be written again: {data.name} has other images than the run was trained on"
        raise DataError(what, f"put them back; the result is in {run / RESULT}")
    report_run(run, data)


@public
def compare(
    models: Sequence[str] = MODELS,
    data: str | Path | Dataset = "digits",
    out: str | Path = "runs/compare",
    *,
    seeds: int = 1,
    recipe: str | None = None,
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
        recipe: settings to start from; "quick" if None, or what the file names.
        config: a settings file, over the recipe.
        settings: as for `train`; `budget="2m"` holds for each run.

    Returns:
        The leaderboard: `.rows`, `.verdict()`, and `.best`, the run to take; None where nothing has learned.
    """
    merged = settings_of(recipe, Path(config) if config is not None else None, {"data": source_of(data), **settings})
    study = Study(list(models), merged, Path(out), seeds, loaded(data))
    return study.run(progress)


@public
def evaluate(
    run: str | Path | Bundle,
    data: str | Path | Dataset,
    *,
    split: str | None = None,
    limit: int | None = None,
    workers: int = 2,
    crops: Any = 1,
    split_seed: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Evaluate a run or bundle on a data set, with the run's own preprocessing.

    Images that it was trained on, by content, are never among its validation or test images. Of a folder without splits it
    takes what the run has held out of it, and all of a folder that it has not seen.

    Args:
        split: "test" where there is one, else "val", if None; "train" are the images it was trained on.
        limit: only so many images, of all classes in proportion; the same each time.
        crops: 1: the centre; 10: also the corners, all mirrored; 144: at four scales, out of three squares; "dense": the
            whole image and its mirror image, by the network's fully convolutional form. Probabilities are averaged.
            Without the mirrored views where the run was trained without mirroring.
        split_seed: of the split of a run of Podium 0.1.0 whose own split cannot be recognised.
        progress: called with (images done, images in all) after each batch; before that, with (files read, files to read).

    Returns:
        split, crops, mirrored (of several crops: whether half of the views were), notes (what was left out, in words), and as
        `metrics.summarize`: top1, top5, loss, ece, n, per_class, ...

    Raises:
        DataError: the data set has classes that the network does not know, or no image that it was not trained on.
    """
    crops = parse_crops(crops)
    model = run if isinstance(run, Bundle) else bundle.load(run)
    p = model.preprocessing
    p.check_channels()
    data = evaluated_on(model, data, split_seed, progress)
    name = split or next((s for s in ("test", "val") if s in data.splits), None)
    if name is None:
        what = f"{data.name}: the network was trained on all {len(data.splits['train']):,} images"
        raise DataError(what, "give images that it has not seen, or say --split train")
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
        images = images.select(stratified(images.labels, limit))
    device = pick_device("auto")
    loader = Loader(images, p, batch_size=250, device=device, workers=workers)
    mirrored = _mirrored(model)
    answers = run_network(model.model.to(device), loader, progress, crops, mirrored)
    outputs = _in_model_order(answers, data, model)
    scores = summarize(outputs.logits, outputs.labels, model.classes)
    more = {} if crops == 1 else {"mirrored": mirrored}
    return {"split": name, "crops": crops, **more, "notes": list(data.notes), **scores}


def _mirrored(model: Bundle) -> bool:
    """Whether several views include mirrored ones: as in the run's training; yes where that is not on record."""
    flip = model.card.get("flip")
    if flip is None and model.folder is not None and (model.folder / SETTINGS).is_file():
        flip = read_file(model.folder / SETTINGS).get("flip")
    return flip is not False


def _in_model_order(outputs: Outputs, data: Dataset, model: Bundle) -> Outputs:
    """Labels by name: the data set may know fewer classes, or in another order."""
    import numpy as np

    order = np.array([model.classes.index(c) for c in data.classes])
    return Outputs(outputs.logits, order[outputs.labels])


@public
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


@public
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
    return run_of(run.path if isinstance(run, RunFolder) else run)


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
    recorded: dict[str, Any] = {"val": None, "seed": 0, "split_seed": None, "on_bad": "error"}
    if data is None:
        settings = None if isinstance(run, Bundle) else _path(run) / SETTINGS
        if settings is None or not settings.is_file():
            raise UsageError("no data: a bundle does not say which images it was made for", "give some with --data")
        recorded |= read_file(settings)
        data = recorded["data"]
    record = None
    if not isinstance(data, Dataset):
        stored = load_stored(data, resize=p.resize, channels=p.channels, on_bad=recorded["on_bad"])
        record = known_to(model, stored) if isinstance(model, Bundle) else None
        seed = recorded["seed"] if recorded["split_seed"] is None else recorded["split_seed"]
        data = described(with_roles(stored, recorded["val"], seed, record))
    elif isinstance(model, Bundle) and (record := known_to(model, data)) is not None:
        data = without_learned(data, record)
    if not set(data.classes) & set(model.classes):
        what = f"{data.name} has none of the network's classes"
        raise DataError(what, f"it knows {', '.join(model.classes[:10])}")
    return data


@public
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
