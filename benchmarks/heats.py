"""Heats: whether what the verdict says of finalists holds, and whether the best of a full study is among them.

    python benchmarks/heats.py verdict   # studies drawn at random: finalists called worse, bounds that fail
    python benchmarks/heats.py study     # the networks with the fewest multiply-adds on a part of CIFAR-10

`verdict`: in a heat and in the last round a network has an image right where its level, the difficulty of the image for all
networks, a difficulty of its own, which it has in both, and the luck of the run with that image add up to more than 0. So the
images that choose the finalists favour them again when the verdict is computed on the same images.

`study`: one full study with seed 0, and heats with other seeds. The last round is not trained: who is in it is the question.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from record import SHARED, arguments, record
from scipy.special import ndtri

from podium.comparison.best import standings
from podium.comparison.candidates import Candidate, Choice
from podium.comparison.heats import FOLDER, HeatsPlan, run_heats
from podium.comparison.selection import cost_in
from podium.comparison.statistics import Answers
from podium.comparison.study import Study
from podium.data.dataset import Dataset
from podium.models import list_models
from podium.runs.folder import RunFolder
from podium.settings import Origins, Settings
from podium.training.recipes.named import settings_of

# True accuracies in full of the networks of a study, in points below the best; a heat's are lower for all alike.
BEHIND = {
    "20 equal": [0.0] * 20,
    "3 tied of 20": [0.0] * 3 + [3.0] * 17,
    "from 0 to 9.5 points": [0.5 * k for k in range(20)],
}
BEST, IN_HEATS = 0.85, 0.15
FINALISTS = {
    2: (4,),
    3: (8, 4),
    4: (11, 6, 4),
}  # of 20 networks that cost the same: rounds -> how many go on after each heat
CHOSEN = ("in heats, on the same images", "in heats, on other images", "by lot")
SHARED_ERRORS = {
    "independent": 0.0,
    "correlated": 0.7,
}  # share of the variance that is an image's difficulty for all networks
DRAWS = 2000


def one(
    draw: np.random.Generator, behind: list[float], share: float, kept: float, rounds: int, images: int, chosen: str
) -> dict[str, float]:
    """Draw a study in heats, and say which statements about its finalists hold.

    Args:
        draw: a generator of random numbers.
        behind: of the networks.
        share: of the variance, that all networks have in common.
        kept: share of the rest that a network has in every run; what is left is the luck of the run with the image.
        rounds: of training.
        images: that rank.
        chosen: how the finalists are, one of `CHOSEN`.
    """  # fmt: skip
    true, count = BEST - np.array(behind) / 100, len(behind)

    def fixed() -> np.ndarray:
        image = math.sqrt(share) * draw.standard_normal(images, dtype=np.float32)
        return image + math.sqrt(kept * (1 - share)) * draw.standard_normal((count, images), dtype=np.float32)

    def run(difficulty: np.ndarray, lower: float) -> np.ndarray:
        luck = math.sqrt((1 - kept) * (1 - share)) * draw.standard_normal((count, images), dtype=np.float32)
        return ndtri(true - lower)[:, None] + difficulty + luck > 0

    own = fixed()
    heats_on = own if chosen == CHOSEN[0] else fixed()
    left = np.arange(count)
    for number, going_on in enumerate(FINALISTS[rounds]):
        scores = run(heats_on, IN_HEATS / (number + 1)).mean(1)[left] if chosen != CHOSEN[2] else draw.random(len(left))
        left = left[np.argsort(-scores, kind="stable")[:going_on]]
    found = standings(Answers(list(run(own, 0.0)[left][:, None])), draws=DRAWS)
    best = true[left].max()
    return {
        "a_best_finalist_called_worse": float(any(found[k].worse for k, net in enumerate(left) if true[net] == best)),
        "a_best_of_all_called_worse": float(any(found[k].worse for k, net in enumerate(left) if true[net] == true.max())),
        "a_bound_fails": float(any(found[k].at_most < best - true[net] - 1e-12 for k, net in enumerate(left))),
        "worse_found": float(np.mean([found[k].worse for k, net in enumerate(left) if true[net] < best] or [math.nan])),
        "best_of_all_is_finalist": float(true[left].max() == true.max()),
    }  # fmt: skip


def measure(studies: int) -> list[dict[str, Any]]:
    """Shares over so many studies of each kind."""
    rows = []
    cells = itertools.product(BEHIND, SHARED_ERRORS, (0.5, 0.9), (2, 3), (100, 1000), CHOSEN)
    for networks, errors, kept, rounds, images, chosen in cells:
        tied = networks == "20 equal"
        if chosen != CHOSEN[0] and (not tied or errors != "independent" or (kept, rounds) != (0.9, 2)):
            continue  # one cell is enough to see what other images, or chance, would do
        if (kept, rounds) not in (((0.5, 2), (0.9, 2), (0.9, 3)) if tied else ((0.9, 3),)):
            continue
        draw = np.random.default_rng(0)
        found = [
            one(draw, BEHIND[networks], SHARED_ERRORS[errors], kept, rounds, images, chosen) for _ in range(studies)
        ]
        kind = {
            "networks": networks,
            "errors": errors,
            "kept": kept,
            "rounds": rounds,
            "images": images,
            "chosen": chosen,
        }
        values = {key: np.array([each[key] for each in found]) for key in found[0]}
        rows.append(
            kind | {key: round(float(np.nanmean(v)), 4) if np.isfinite(v).any() else None for key, v in values.items()}
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def part(images: int) -> Dataset:
    """The first training images of CIFAR-10, and of its validation and test images the first 2,000 at most."""
    from podium import load_data

    data = load_data(SHARED / "data" / "cifar10", val=0.2, seed=0)
    most = {"train": images, "val": min(images, 2000), "test": min(images, 2000)}
    splits = {name: split.select(range(min(most[name], len(split)))) for name, split in data.splits.items()}
    return dataclasses.replace(data, splits=splits)


def smallest(count: int, data: Dataset, size: int | None) -> list[str]:
    """The networks with the fewest multiply-adds; of those that are the same but for names and heads only the first."""
    candidates = [Candidate(name) for name in list_models() if not name.startswith("article_")]
    costs = {
        c.model: cost.macs for c in candidates if (cost := cost_in(c, Settings(image_size=size), data)) is not None
    }
    return sorted(costs, key=lambda name: costs[name])[:count]


def prepared(names: list[str], merged: Origins, out: Path, data: Dataset, heats: int) -> Study:
    """A comparison in heats whose networks and images are settled."""
    study = Study(names, merged, out, 1, data, Choice(pretrained=False, heats=heats))
    study.data = study.images()
    study.settle(study.data)
    return study


def spent(folders: list[Path]) -> float:
    """Steps x multiply-adds of finished runs."""
    return sum(RunFolder(path).result["steps"] * RunFolder(path).result["macs"] for path in folders)


def study(options: Any) -> dict[str, Any]:
    """Train one full study, and heats with other seeds."""
    data, out = part(options.images), options.out or Path(tempfile.mkdtemp())
    names = options.models or smallest(options.networks, data, options.image_size)
    size = {"image_size": options.image_size} if options.image_size else {}
    given = {"data": data.source, "duration": f"{options.epochs:g}ep", "workers": 0, **size}
    merged = settings_of("quick", None, {**given, "seed": 0})
    board = Study(names, merged, out / "full", 1, data, Choice(pretrained=False)).run(announce=print)
    best, every = board.networks[0].model, spent(sorted((out / "full").glob("*-seed0")))
    ranks = {row.model: round(row.score, 4) for row in board.networks}
    repetitions = []
    for seed, rounds in itertools.product(range(1, options.runs + 1), options.heats):
        merged = settings_of("quick", None, {**given, "seed": seed})
        folder = out / f"heats{rounds}-{seed}"
        again = prepared(names, merged, folder, data, rounds)
        finalists, _ = run_heats(again, again.data or data, None, print)
        last = spent([out / "full" / f"{c.name}-seed0" for c in finalists])
        share = (spent(sorted(folder.glob(f"{FOLDER}*/*-seed*"))) + last) / every
        models = [candidate.model for candidate in finalists]
        repetitions.append(
            {
                "seed": seed,
                "rounds": rounds,
                "finalists": models,
                "best_is_in": best in models,
                "compute": round(share, 4),
            }
        )
        print(json.dumps(repetitions[-1]), flush=True)
    settings = {"images": options.images, "epochs": options.epochs, "image_size": options.image_size}
    return {**settings, "full": ranks, "best": best, "repetitions": repetitions}


def plans() -> dict[str, list[str]]:
    """The plan of 20 networks that cost the same, for two to four rounds."""
    same = SimpleNamespace(splits={"train": (), "val": ()}, name="")
    merged = Origins(Settings(duration="20m"), {})  # of a time, so that each costs the same
    return {
        f"{rounds} rounds": HeatsPlan.of(
            SimpleNamespace(choice=Choice(heats=rounds), merged=merged, seeds=1),
            same,
            [Candidate(str(k)) for k in range(20)],
        ).lines()  # type: ignore[arg-type]
        for rounds in (2, 3, 4)
    }


def main() -> None:
    """Measure one part and keep it beside the other."""
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("part", choices=("verdict", "study"))
    parser.add_argument("--images", type=int, default=2000, help="training images [2000]")
    parser.add_argument("--epochs", type=float, default=10, help="of a run in full [10]")
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--models", nargs="+", help="networks, in place of the smallest")
    parser.add_argument("--image-size", type=int, default=None)
    parser.add_argument("--heats", type=int, nargs="+", default=[3], help="rounds [3]")
    parser.add_argument("--out", type=Path, help="keeps the runs; the same command goes on [a temporary folder]")
    parser.set_defaults(runs=None)
    options = parser.parse_args()
    file = Path(__file__).parent / "results" / "heats.json"
    kept = json.loads(file.read_text()) if file.is_file() else {}
    kept = {name: kept[name] for name in ("plans", "verdict", "study") if name in kept}
    if options.part == "verdict":
        studies = options.runs or 2000
        found: dict[str, Any] = {"studies": studies, "rows": measure(studies)}
    else:
        options.runs = options.runs or 10
        found = study(options)
    record("heats", {**kept, "plans": plans(), options.part: found})


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
