"""Three whole comparisons, as a person would make them, whose boards and verdicts stand in docs/results.md.

    python benchmarks/studies.py fashion    # eight networks, three seeds, on a fifth of Fashion-MNIST
    python benchmarks/studies.py flowers    # six networks, from pretrained and from random weights, 500 photos in five folds
    python benchmarks/studies.py heats      # the twenty networks with the fewest multiply-adds, in heats, on a part of CIFAR-10

The runs stay in `--out`; the same command goes on where it was stopped. The board is kept as a CSV file in `docs/results`, the
verdict and how long all of it took in `benchmarks/results/studies.json`.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import time
from pathlib import Path

from heats import smallest
from record import ROOT, SHARED, arguments, record

import podium
from podium.comparison.leaderboard import Leaderboard
from podium.data.dataset import Dataset
from podium.runs.recommended import TABLE

DATA = SHARED / "data"
FASHION = [
    "lenet5",
    "lenet5_modern",
    "mobilenet_v1_025",
    "mobilenet_v1_050",
    "mobilenet_v1",
    "plain20",
    "resnet20",
    "resnet32",
]
# Weights of ImageNet at 224 px, and of CIFAR-10 at 32 px; each network sees images of the size that its weights are of.
PRETRAINED = [
    f"keras:MobileNet_0.75={DATA / 'weights' / 'mobilenet_7_5_224_tf.h5'}",
    f"akamaster:resnet20={DATA / 'weights' / 'resnet20-12fca82f.th'}",
    f"akamaster:resnet56={DATA / 'weights' / 'resnet56-4bfd9763.th'}",
]
SCRATCH = ["lenet5_modern", "mobilenet_v1_075", "resnet18"]


def part(data: Dataset, **counts: int) -> Dataset:
    """The first images of some splits; those of the sets beside the repository are in no order of classes."""
    splits = {
        name: split.select(range(min(counts.get(name, len(split)), len(split)))) for name, split in data.splits.items()
    }
    return dataclasses.replace(data, splits=splits)


def fashion(out: Path) -> Leaderboard:
    """Eight networks with three seeds."""
    data = part(podium.load_data(DATA / "fashion-mnist", val=1 / 6), train=12_000)
    return podium.compare(FASHION, data, out, seeds=3, epochs=3, jobs=2, progress=False)


def flowers(out: Path) -> Leaderboard:
    """Three networks from pretrained and three from random weights, in the same five folds, on one board."""
    photos = DATA / "flowers" / "flowers-500.tar"
    podium.compare(PRETRAINED, photos, out / "pretrained", folds=5, progress=False)
    podium.compare(
        SCRATCH, photos, out / "scratch", folds=5, pretrained=False, image_size=96, epochs=15, progress=False
    )
    trials = [path for way in ("pretrained", "scratch") for path in sorted((out / way).glob("*-seed0"))]
    board = Leaderboard.read(trials)
    board.to_csv(out / TABLE)
    return board


def heats(out: Path) -> Leaderboard:
    """Twenty networks in three rounds."""
    data = part(podium.load_data(DATA / "cifar10", val=0.2), train=4_000, val=4_000)
    return podium.compare(smallest(20, data, None), data, out, heats=3, epochs=8, jobs=2, progress=False)


def main() -> None:
    """Make one comparison and keep it beside the others."""
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("study", choices=("fashion", "flowers", "heats"))
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "studies", help="of the runs [runs/studies]")
    options = parser.parse_args()
    file = ROOT / "benchmarks" / "results" / "studies.json"
    earlier = json.loads(file.read_text()) if file.is_file() else {}
    kept = {name: earlier[name] for name in ("fashion", "flowers", "heats") if name in earlier}
    out, begun = options.out / options.study, time.time()
    board = {"fashion": fashion, "flowers": flowers, "heats": heats}[options.study](out)
    shutil.copyfile(out / TABLE, ROOT / "docs" / "results" / f"study-{options.study}.csv")
    found = {
        "verdict": board.sentences(),
        "seconds": round(time.time() - begun),
        "seconds_of_training": round(sum(row.train_seconds * row.seeds for row in board.networks)),
        "networks": [row.model for row in board.networks],
    }
    record("studies", {**kept, options.study: found})


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
