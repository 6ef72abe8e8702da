"""Fine-tuning a few hundred photos: how the recipe `finetune` was chosen, and what it reaches.

    python benchmarks/pretrained.py search [NAME ...]    # recipes, by two folds of the 400 training photos of flowers-500
    python benchmarks/pretrained.py linear               # linear probes, by their penalty
    python benchmarks/pretrained.py final                # the recipe on flowers-500, three seeds, with the linear probe
    python benchmarks/pretrained.py sizes                # shorter, longer, slower and faster, on 100 to 5,000 images of CIFAR-10

The weights are MobileNet v1's of width 0.75 (Keras applications). `search` and the out-of-fold accuracies of `linear` take no
other photo than the 400; the 100 others only report. `search` sees 128 px, where training takes a third of the time.
`sizes` needs more photos than the flowers have, so it takes training images of CIFAR-10 at 64 px, to learn and to evaluate.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import ROOT, SHARED, arguments, record
from torch import nn

import podium
from podium.data.dataset import Dataset
from podium.data.loader import Loader
from podium.data.sources import load_stored
from podium.models.convnet import ConvNet
from podium.settings import Settings
from podium.training.transfer import linear_probe
from podium.training.transfer.source import adapted, read_source

FLOWERS = SHARED / "data" / "flowers" / "flowers-500.tar"
SOURCE = f"keras:MobileNet_0.75={SHARED / 'data' / 'weights' / 'mobilenet_7_5_224_tf.h5'}"
NETWORK = "mobilenet_v1_075"
FOLDS, SIZE = 2, 128
# What `sizes` tries: what differs from the recipe, by the number of images, of which there are some draws.
NEIGHBOURS: dict[str, dict[str, Any]] = {
    "base": {},
    "5 epochs": {"epochs": 5},
    "30 epochs": {"epochs": 30},
    "lr 3e-4": {"lr": 3e-4},
    "lr 3e-3": {"lr": 3e-3},
}
FEW = {
    "60 epochs": {"epochs": 60},
    "batches of 8": {"batch_size": 8},
    "batches of 8, 30 epochs": {"batch_size": 8, "epochs": 30},
}
TRIED = {100: {**NEIGHBOURS, **FEW}, 700: NEIGHBOURS, 5000: NEIGHBOURS}
DRAWS = {100: 5, 700: 3, 5000: 1}
# What the recipes of the search have in common, and what differs from it in each; "frozen_norms": batch norms keep the
# statistics of ImageNet.
BASE: dict[str, Any] = {
    "recipe": "finetune",
    "epochs": 15,
    "freeze": "features",
    "unfreeze": "10%",
    "lr": 1e-3,
    "layer_decay": 0.75,
    "label_smoothing": 0.0,
    "crop": "pad",
    "crop_padding": 0.125,
}
RECIPES: dict[str, dict[str, Any]] = {
    "base": {},
    "frozen norms": {"frozen_norms": True},
    "no frozen start": {"unfreeze": "0it"},
    "8 epochs": {"epochs": 8},
    "label smoothing": {"label_smoothing": 0.1},
    "area crops": {"crop": "area", "crop_range": (0.35, 1.0)},
    "one rate for all": {"layer_decay": 1.0},
    "lr 2e-3": {"lr": 2e-3},
    "lr 5e-4": {"lr": 5e-4},
    "EMA": {"ema": 0.98},
}


def folds(data: Dataset, seed: int = 0) -> list[Dataset]:
    """The training photos in stratified folds: each data set trains on the others and tests on one."""
    train, draw = data.splits["train"], np.random.default_rng(seed)
    part = np.empty(len(train), int)
    for label in range(len(data.classes)):
        rows = draw.permutation(np.flatnonzero(train.labels == label))
        part[rows] = np.arange(len(rows)) % FOLDS
    return [
        replace(
            data,
            splits={"train": train.select(np.flatnonzero(part != k)), "test": train.select(np.flatnonzero(part == k))},
        )
        for k in range(FOLDS)
    ]


def keep_norms(net_train: Any) -> Any:
    """`ConvNet.train` with all batch norms left in evaluation mode, for the comparison with those that follow the batch."""

    def train(self: ConvNet, mode: bool = True) -> ConvNet:
        net_train(self, mode)
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()
        return self

    return train


def search(names: list[str]) -> list[dict[str, Any]]:
    """Train every recipe on each fold; accuracies on the photos that are left out."""
    parts, rows = folds(load_stored(FLOWERS)), []
    for name in names or RECIPES:
        settings = {**BASE, **RECIPES[name], "image_size": SIZE, "weights": SOURCE}
        usual = ConvNet.train
        if settings.pop("frozen_norms", False):
            ConvNet.train = keep_norms(usual)  # type: ignore[method-assign]
        row: dict[str, Any] = {"name": name, **RECIPES[name], "folds": []}
        try:
            for part in parts:
                with tempfile.TemporaryDirectory() as out:
                    result = podium.train(NETWORK, part, Path(out) / "run", **settings).result
                keys = ("top1", "loss", "n", "steps", "seconds")
                row["folds"].append({key: result[key] for key in keys})
        finally:
            ConvNet.train = usual  # type: ignore[method-assign]
        row["top1"] = sum(each["top1"] * each["n"] for each in row["folds"]) / sum(each["n"] for each in row["folds"])
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def features() -> tuple[Dataset, dict[str, np.ndarray]]:
    """Flowers and their features, split by split."""
    data = load_stored(FLOWERS)
    net, pixels = adapted(read_source(SOURCE), Settings(model=NETWORK, weights=SOURCE), data)
    pixels = replace(pixels, resize=data.resize)
    batches = (Loader(split, pixels, batch_size=32, device=torch.device("cpu")) for split in data.splits.values())
    return data, dict(zip(data.splits, (linear_probe.features_of(net, each) for each in batches), strict=True))


def linear(penalties: tuple[float, ...] = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)) -> list[dict[str, Any]]:
    """Out-of-fold accuracy on the training photos, and accuracy on the others, by the inverse strength of the penalty."""
    data, seen = features()
    train, val = data.splits["train"], data.splits["val"]
    rows = []
    for penalty in penalties:
        right = []
        for seed in range(3):
            part = linear_probe.parts_of(train, seed)
            for k in range(linear_probe.FOLDS):
                fitted = linear_probe.fit(seen["train"][part != k], train.labels[part != k], penalty)
                right.append(fitted.predict(seen["train"][part == k]) == train.labels[part == k])
        fitted = linear_probe.fit(seen["train"], train.labels, penalty)
        top1 = float((fitted.predict(seen["val"]) == val.labels).mean())
        rows.append({"penalty": penalty, "out_of_fold": float(np.concatenate(right).mean()), "top1": top1})
    return rows


def final(runs: int) -> dict[str, Any]:
    """The linear probe and the recipe as they are, on all of flowers-500."""
    probe = next(row for row in linear((linear_probe.PENALTY,)))
    rows = []
    for seed in range(runs):
        with tempfile.TemporaryDirectory() as out:
            run = podium.train(NETWORK, FLOWERS, Path(out) / "run", recipe="finetune", weights=SOURCE, seed=seed)
            rows.append({key: run.result[key] for key in ("seed", "top1", "loss", "ece", "n", "steps", "seconds")})
            print(json.dumps(rows[-1]), flush=True)
    mean = {key: sum(row[key] for row in rows) / len(rows) for key in ("top1", "loss", "seconds")}
    return {"linear_probe": probe, "finetuned": rows, "mean": mean}


def sizes(names: list[str]) -> list[dict[str, Any]]:
    """The recipe and its neighbours by the number of images, each evaluated on the same 4,000 images that train nothing.

    A fifth as many images choose the epoch, as those that a comparison holds out do.
    """
    whole, rows = podium.load_data(SHARED / "data" / "cifar10", val=None), []
    train = whole.splits["train"]
    order = np.random.default_rng(0).permutation(len(train))
    test = train.select(order[-4000:])
    for count, name in ((count, name) for count, tried in TRIED.items() for name in tried if name in (names or tried)):
        row: dict[str, Any] = {"images": count, "name": name, "top1": [], "loss": [], "seconds": []}
        for draw in range(DRAWS[count]):
            drawn = order[draw * count : (draw + 1) * count]
            parts = {"train": train.select(drawn[count // 5 :]), "val": train.select(drawn[: count // 5]), "test": test}
            data = replace(whole, splits=parts)
            with tempfile.TemporaryDirectory() as out:
                given = {"recipe": "finetune", "weights": SOURCE, "image_size": 64, "seed": draw, **TRIED[count][name]}
                result = podium.train(NETWORK, data, Path(out) / "run", **given).result
            for key in ("top1", "loss", "seconds"):
                row[key].append(result[key])
        rows.append({**row, "mean_top1": float(np.mean(row["top1"]))})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    """Measure one part and keep it beside the others."""
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("part", choices=("search", "linear", "final", "sizes"))
    parser.add_argument("names", nargs="*", help="recipes of `search` or of `sizes` [all]")
    given = parser.parse_args()
    file = ROOT / "benchmarks" / "results" / "pretrained.json"
    earlier = json.loads(file.read_text()) if file.is_file() else {}
    kept = {part: earlier[part] for part in ("note", "search", "linear", "final", "sizes") if part in earlier}
    if given.part in ("search", "sizes"):
        fresh = search(given.names) if given.part == "search" else sizes(given.names)
        names = {(row.get("images"), row["name"]) for row in fresh}
        found: Any = [
            *(row for row in kept.get(given.part, []) if (row.get("images"), row["name"]) not in names),
            *fresh,
        ]
    else:
        found = linear() if given.part == "linear" else final(given.runs)
    record("pretrained", {**kept, given.part: found})


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
