"""What `import podium` offers as functions, and the command line calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from podium import bundle
from podium.bundle import Bundle
from podium.comparison.leaderboard import Leaderboard
from podium.comparison.report import report_run
from podium.comparison.study import MODELS, Study
from podium.data.dataset import Dataset
from podium.data.decode import Preprocessing
from podium.data.loader import Loader
from podium.data.sources import load_data
from podium.errors import DataError, UsageError
from podium.evaluation.crops import known
from podium.evaluation.evaluate import Outputs
from podium.evaluation.evaluate import evaluate as run_network
from podium.evaluation.metrics import summarize
from podium.models import ConvNet
from podium.models import weights as peers
from podium.models.download import official
from podium.models.registry import find_peer
from podium.settings import Origins
from podium.training.folder import RunFolder
from podium.training.loop import Progress
from podium.training.loop import train as run_training
from podium.training.plan import Plan, pick_device
from podium.training.recipes import settings_of

# In which order akamaster/pytorch_resnet_cifar10 has its classes.
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def train(
    net: str | ConvNet,
    data: str | Path | Dataset,
    out: str | Path,
    *,
    recipe: str = "quick",
    config: str | Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    announce: Callable[[Plan], None] | None = None,
    **settings: Any,
) -> RunFolder:
    """Train one network.

    Args:
        net: a name, or a network (its weights are where it starts).
        data: what `load_data` takes, or what it gave.
        out: the run folder.
        recipe: settings to start from.
        config: a settings file, over the recipe.
        resume: go on with the run in `out`.
        settings: fields of `Settings`, and epochs=, steps= or budget= for the duration.

    Returns:
        The finished run: `.result`, `.epochs`, and a bundle that `podium.load` reads.
    """
    own = {"model": net if isinstance(net, str) else net.spec["model"], "data": _name(data), **settings}
    return train_and_report(
        settings_of(recipe, Path(config) if config else None, own),
        out,
        resume=resume,
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
    if plans:  # else it was finished before
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
) -> dict[str, Any]:
    """Judge a run or bundle on a data set, with the run's own preprocessing.

    Args:
        split: "test" where there is one, else "val", else "train", if None.
        limit: only the first so many images.
        crops: 1: the centre; 10: also the corners, all mirrored; 144: at four scales, out of three squares; "dense": the
            whole image and its mirror image, by the network's fully convolutional form. Probabilities are averaged.

    Returns:
        split, crops, and as `metrics.summarize`: top1, top5, loss, ece, n, per_class, ...

    Raises:
        DataError: the data set has classes that the network does not know.
    """
    crops = known(crops)
    model = run if isinstance(run, Bundle) else bundle.load(run)
    p = model.preprocessing
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
    outputs = _in_model_order(run_network(model.model.to(device), loader, crops=crops), data, model)
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
    path = Path(path) if path is not None else official(source)
    net, notes = peers.import_weights(source, path, num_classes=num_classes, in_chans=in_chans)
    net.eval()
    pixels, k = dict(find_peer(source).pixels), net.spec["num_classes"]
    if (channels := net.spec["in_chans"]) != len(pixels["mean"]):
        pixels |= {key: (sum(pixels[key]) / len(pixels[key]),) * channels for key in ("mean", "std")}
    classes = CIFAR10_CLASSES if source.startswith("akamaster:") and k == 10 else tuple(f"class {i}" for i in range(k))
    preprocessing = Preprocessing(net.spec["image_size"], channels, **pixels)
    facts = {"origin": source, "file": path.name, "notes": notes}
    if out is not None:
        folder = Path(out)
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder}: exists already", "name another folder with -o")
        bundle.save(folder, net, classes, preprocessing, facts)
    return Bundle(net, classes, preprocessing, facts)
