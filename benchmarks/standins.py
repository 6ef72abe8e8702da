"""Does a pretrained start beat random weights, and does the linear probe rank networks as fine-tuning does?

    python benchmarks/standins.py pretrain [NAME ...]    # weights at 64 px on CIFAR-10 and CIFAR-100; goes on where it was stopped
    python benchmarks/standins.py flowers --runs 5       # pretrained against scratch, five seeds, by the paired test over all 500 photos
    python benchmarks/standins.py ranking                # Kendall's tau over eight networks, all 500 photos, three seeds

Official weights of one network only can be read without the internet, so we pretrain stand-ins for the others: on the 70,000
training images of CIFAR-10 and of the part of CIFAR-100 beside the repository, over 110 classes. The runs stay in `--out`, out of
the repository; the file of results has their accuracies. All photos of flowers-500 are seen at 64 px, as the stand-ins were.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from record import ROOT, SHARED, arguments, record
from scipy.stats import kendalltau

import podium
from podium.comparison.statistics import Answers
from podium.data.dataset import Dataset, Split
from podium.data.folds import pooled
from podium.data.images import ArrayImages
from podium.data.sources import load_stored
from podium.runs.folder import RunFolder
from podium.settings import Settings
from podium.training.transfer.linear_probe import linear_probe_of
from podium.training.transfer.source import adapted, read_source

SIZE = 64
FLOWERS = SHARED / "data" / "flowers" / "flowers-500.tar"
WEIGHTS = SHARED / "data" / "weights"
EPOCHS = {
    "resnet18": 6,
    "mobilenet_v1": 5,
    "googlenet": 6,
    "mobilenet_v1_050": 6,
    "mobilenet_v1_025": 4,
}  # of each pretraining
# GoogLeNet has no batch norm: with the rate of the others its loss is infinite in the second epoch.
SLOWER: dict[str, dict[str, float]] = {"googlenet": {"lr": 0.002, "clip": 1.0}}
# Weights that others trained: of ImageNet at 224 px, and of CIFAR-10 at 32 px.
FOREIGN = {
    "mobilenet_v1_075": f"keras:MobileNet_0.75={WEIGHTS / 'mobilenet_7_5_224_tf.h5'}",
    "resnet20": f"akamaster:resnet20={WEIGHTS / 'resnet20-12fca82f.th'}",
    "resnet56": f"akamaster:resnet56={WEIGHTS / 'resnet56-4bfd9763.th'}",
}
FOLDS = 2  # of the cross-validation over the flowers
FLOWER_EPOCHS = 30  # for both ways, twice those of the recipe `finetune`: random weights need as many


def both() -> Dataset:
    """CIFAR-10 and the part of CIFAR-100 as one data set of 110 classes."""
    sets = [podium.load_data(SHARED / "data" / name, val=None) for name in ("cifar10", "cifar100")]
    splits = {}
    for name in ("train", "test"):
        pixels = np.concatenate([data.splits[name].pixels for data in sets])
        labels = [data.splits[name].labels + shift for data, shift in zip(sets, (0, 10), strict=True)]
        splits[name] = Split(np.concatenate(labels), ArrayImages(pixels))
    classes = (*sets[0].classes, *(f"{name} (100)" for name in sets[1].classes))
    values = splits["train"].images.pixels.reshape(-1, 3)[::16].astype(np.float32) / 255
    mean, std = (tuple(float(one) for one in found) for found in (values.mean(0), values.std(0)))
    return Dataset("cifar10-and-100", classes, splits, 3, 32, True, mean, std, source="cifar10-and-100")


def pretrain(out: Path, names: list[str]) -> dict[str, Any]:
    """Train the stand-ins that are not finished, and say how good they are."""
    data, rows = both(), {}
    for name in names or EPOCHS:
        folder = out / name
        started = (folder / "settings.yaml").is_file()
        if not (folder / "result.json").is_file():
            size: dict[str, Any] = {"epochs": EPOCHS[name], "image_size": SIZE, "small": False}
            given = {**size, "optimizer": "muon", "lr": 0.02, "label_smoothing": 0.1, **SLOWER.get(name, {})}
            podium.train(name, data, folder, resume=started, **({} if started else given))
        result = RunFolder(folder).result
        rows[name] = {"epochs": EPOCHS[name], **{key: result[key] for key in ("top1", "loss", "n", "seconds", "seed")}}
        print(json.dumps({name: rows[name]}), flush=True)
    return rows


def halves(out: Path, name: str, way: str, seed: int) -> list[RunFolder]:
    """Train a network on each half of the photos, and return the finished runs; each reports the half that it has not seen."""
    runs = [RunFolder(out / "flowers" / f"{name}-{way}-{seed}-{fold}") for fold in range(1, FOLDS + 1)]
    start: dict[str, Any] = {"recipe": "quick"}
    if way == "pretrained":
        start = {"recipe": "finetune", "weights": weights_of(out, name)}
    for fold, run in enumerate(runs, 1):
        if not (run.path / "result.json").is_file():
            parts = {"folds": FOLDS, "fold": fold, "split_seed": 0}
            podium.train(name, FLOWERS, run.path, seed=seed, image_size=SIZE, epochs=FLOWER_EPOCHS, **parts, **start)
    return runs


def weights_of(out: Path, name: str) -> str:
    """The stand-in of a network, or the weights that others trained."""
    return FOREIGN.get(name, str(out / name))


def answers(runs: list[RunFolder]) -> np.ndarray:
    """Which images the runs of all folds have right, (N,) bool."""
    return np.concatenate([logits.argmax(1) == labels for logits, labels in (run.predictions for run in runs)])


def flowers(out: Path, names: list[str], seeds: int) -> dict[str, Any]:
    """Each stand-in and the same network from random weights: all photos, each seen by a network that learned from the other half."""
    rows: dict[str, Any] = {}
    for name in names or ("resnet18", "mobilenet_v1", "googlenet"):
        runs = {way: [halves(out, name, way, seed) for seed in range(seeds)] for way in ("pretrained", "scratch")}
        right = {way: np.stack([answers(each) for each in found]) for way, found in runs.items()}
        gain = Answers(list(right.values())).difference(0, 1)
        rows[name] = {
            **{way: [float(one) for one in each.mean(1)] for way, each in right.items()},
            **{
                f"seconds_{way}": [round(sum(run.result["seconds"] for run in each), 1) for each in found]
                for way, found in runs.items()
            },
            "photos": right["scratch"].shape[1],
            "gain": gain.by,
            "half_of_95_percent_interval": gain.half,
            "clear": gain.clear,
        }
        print(json.dumps({name: rows[name]}), flush=True)
    return rows


def probe(out: Path, name: str) -> float:
    """The out-of-fold accuracy of a linear classifier on the features of all photos."""
    data = pooled(load_stored(FLOWERS))
    weights = weights_of(out, name)
    s = Settings(model=name, weights=weights, image_size=SIZE)
    net, pixels = adapted(read_source(weights), s, data)
    found = linear_probe_of(net, replace(pixels, image_size=SIZE, resize=data.resize), data, s)
    return found.top1 if found else float("nan")


def ranking(out: Path, seeds: int) -> dict[str, Any]:
    """The linear probe and the fine-tuned accuracy of eight networks, both over all photos: out of fold, and by halves."""
    rows = {}
    for name in (*EPOCHS, *FOREIGN):
        right = [answers(halves(out, name, "pretrained", seed)).mean() for seed in range(seeds)]
        rows[name] = {"linear_probe": probe(out, name), "finetuned": [float(one) for one in right]}
        print(json.dumps({name: rows[name]}), flush=True)
    means = [float(np.mean(row["finetuned"])) for row in rows.values()]
    tau = kendalltau([row["linear_probe"] for row in rows.values()], means)
    return {"networks": rows, "kendall_tau": float(tau.statistic), "p": float(tau.pvalue)}


def main() -> None:
    """Measure one part and keep it beside the others."""
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("part", choices=("pretrain", "flowers", "ranking"))
    parser.add_argument("names", nargs="*", help="networks to pretrain, or of the flowers [all]")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "runs" / "standins", help="folder of the runs [runs/standins]"
    )
    given = parser.parse_args()
    file = ROOT / "benchmarks" / "results" / "standins.json"
    earlier = json.loads(file.read_text()) if file.is_file() else {}
    kept = {part: earlier[part] for part in ("pretrain", "flowers", "ranking") if part in earlier}
    if given.part == "pretrain":
        found = {**kept.get("pretrain", {}), **pretrain(given.out, given.names)}
    elif given.part == "flowers":
        found = {**kept.get("flowers", {}), **flowers(given.out, given.names, given.runs)}
    else:
        found = ranking(given.out, given.runs)
    record("standins", {**kept, given.part: found})


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
