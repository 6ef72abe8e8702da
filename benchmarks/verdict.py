"""How often the verdict's 95 % statements hold: studies drawn at random, whose true accuracies are known.

    python benchmarks/verdict.py pairs     # intervals of one network and of the difference of two
    python benchmarks/verdict.py studies   # networks called worse than the best, the recommendation, the stated accuracy

A network has an image right where its level, the difficulty of the image for all networks, a difficulty of its own, the luck
of its seed, and the luck of that seed with that image add up to more than 0; each is normal, so the true accuracies are known.
With one seed the claim is about the networks as they were trained, so the truth is that of their own seeds.
"""

from __future__ import annotations

import itertools
import json
import math
import multiprocessing
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from record import arguments, record
from scipy.special import ndtr, ndtri

from podium.comparison.best import standings
from podium.comparison.optimism import optimism
from podium.comparison.recommend import WITHIN, recommend
from podium.comparison.statistics import Answers

# Standard deviations of: an image's difficulty, a network's own part of it, a seed's luck, that with an image.
KINDS = {
    "seeds do not matter": (1.0, 0.5, 0.0, 0.6),
    "seeds matter a little": (1.0, 0.5, 0.05, 0.6),
    "seeds matter": (1.0, 0.5, 0.2, 0.6),
    "seeds are good or bad everywhere": (1.0, 0.5, 0.1, 0.05),
}
LEVEL, BETTER = 1.2, 0.3  # about 82 %, and 86 % for the first network where they are unequal


def truth(level: float, *deviations: float) -> float:
    """The accuracy of a network over all that is drawn anew."""
    return 0.5 * (1 + math.erf(level / math.sqrt(2 * sum(d * d for d in deviations))))


def one(
    draw: np.random.Generator, kind: str, networks: int, seeds: int, images: int, better: float
) -> tuple[bool, ...]:
    """Whether the interval of the difference of two networks holds, whether it excludes 0, whether the first's own holds."""
    image, own, seed, luck = KINDS[kind]
    levels = LEVEL + better * (np.arange(networks) == 0)
    lucky = draw.normal(0, seed, (networks, seeds, 1)) if seed else np.zeros((networks, seeds, 1))
    sum_ = (
        levels[:, None, None]
        + draw.normal(0, image, images)
        + draw.normal(0, own, (networks, 1, images))
        + lucky
        + draw.normal(0, luck, (networks, seeds, images))
    )
    answers = Answers(list(sum_ > 0))
    if seeds == 1:
        first, second = (truth(levels[k] + float(lucky[k, 0, 0]), image, own, luck) for k in (0, 1))
    else:
        first, second = (truth(levels[k], image, own, seed, luck) for k in (0, 1))
    apart, (low, high) = answers.difference(0, 1), answers.interval(0)
    return abs(apart.by - (first - second)) <= apart.half, abs(apart.by) > apart.half, low <= first <= high


def measure(studies: int, sizes: list[tuple[int, int, int]], seed: int = 0) -> list[dict[str, Any]]:
    """Shares over so many studies of each kind and size (networks, seeds, images)."""
    rows = []
    for kind, (networks, seeds, images), better in itertools.product(KINDS, sizes, (0.0, BETTER)):
        draw = np.random.default_rng(seed)
        found = np.mean([one(draw, kind, networks, seeds, images, better) for _ in range(studies)], axis=0)
        names = ("difference_holds", "told_apart", "own_interval_holds")
        row = {"kind": kind, "networks": networks, "seeds": seeds, "images": images, "equal": better == 0}
        rows.append(row | {name: round(float(share), 4) for name, share in zip(names, found, strict=True)})
    return rows


# Accuracies below the best of the networks of a study, in points; where two are equal, both are the best.
STUDIES: dict[str, list[float]] = {
    "2 equal": [0.0] * 2,
    "6 equal": [0.0] * 6,
    "20 equal": [0.0] * 20,
    "3 tied of 20": [0.0] * 3 + [3.0] * 17,
    "1 of 6 better by 3 points": [0.0] + [3.0] * 5,
    "6 from 0 to 5 points behind": [0.0, 0.5, 1.0, 2.0, 3.0, 5.0],
    "60 equal": [0.0] * 60,
}
BEST = 0.85
ERRORS = {
    "independent": 0.0,
    "correlated": 0.7,
}  # share of the variance that an image's difficulty has for all networks alike
LUCK = 0.05  # standard deviation of a seed's luck, where a network has several: about 1.2 points of accuracy
DRAWS = 2000  # of the largest distance; the product draws more
CORRECTED = 20  # one study of so many is corrected for its optimism, which takes the longest


def study(
    draw: np.random.Generator, behind: list[float], errors: str, seeds: int, images: int, corrected: bool
) -> dict[str, float]:
    """Draw a study and say which statements hold; networks cost the less the worse they are.

    Args:
        draw: a generator of random numbers.
        behind: how far each network is below the best, in points.
        errors: one of `ERRORS`.
        seeds: runs of each network. A single one is taken as it is: its luck is part of the network.
        images: that rank, and as many that report.
        corrected: whether the highest score is corrected for its optimism too.
    """
    share, true = ERRORS[errors], BEST - np.array(behind) / 100
    lucky = draw.normal(0, LUCK, (len(true), seeds, 1)) if seeds > 1 else np.zeros((len(true), 1, 1))
    level = ndtri(true)[:, None, None] * math.sqrt(1 + (LUCK**2 if seeds > 1 else 0)) + lucky
    answers = Answers(list(level + _errors(draw, share, len(true), seeds, images) > 0))
    found = standings(answers, WITHIN, DRAWS)
    rows = [
        SimpleNamespace(learned=True, latency_p50_ms=float(len(true) - k), macs=1, params=1, images_needed=None,
                        behind=one.behind, behind_at_most=one.at_most, number=k)
        for k, one in sorted(enumerate(found), key=lambda pair: pair[1].behind)
    ]  # fmt: skip
    taken = recommend(rows, WITHIN)
    chosen = taken.row.number if taken is not None else 0
    run = int(answers.right[chosen].mean(1).argmax())
    own = float(ndtr(level[chosen, run, 0]))  # of the run that is taken
    reported = level[chosen, run] + _errors(draw, share, 1, 1, images)[0, 0] > 0
    highest = answers.scores.mean(1).max()
    first = int(answers.scores.mean(1).argmax())
    best = [k for k, distance in enumerate(behind) if distance == 0]
    return {
        "a_best_called_worse": float(any(found[k].worse for k in best)),
        "worse_found": float(np.mean([found[k].worse for k in range(len(true)) if k not in best] or [0.0])),
        "a_bound_fails": float(any(one.at_most < true.max() - true[k] for k, one in enumerate(found))),
        "taken_is_further_than_allowed": float(not taken.best and true.max() - true[chosen] > WITHIN + 1e-9)
        if taken
        else 0.0,
        "taken_is_cheaper_than_first": float(taken is not None and not taken.best),
        "stated_less_true": 100 * (float(reported.mean()) - own),
        "highest_less_true": 100 * (highest - true[first]),
        "after_correction": 100 * (highest - optimism(answers) - true[first]) if corrected else math.nan,
    }


def _errors(draw: np.random.Generator, share: float, networks: int, seeds: int, images: int) -> np.ndarray:
    """What is not of a network's level, with variance 1, (networks, seeds, images)."""
    image = math.sqrt(share) * draw.standard_normal(images, dtype=np.float32)
    own = math.sqrt(0.6 * (1 - share)) * draw.standard_normal((networks, 1, images), dtype=np.float32)
    return (
        image + own + math.sqrt(0.4 * (1 - share)) * draw.standard_normal((networks, seeds, images), dtype=np.float32)
    )


def measure_studies(
    studies: int,
    sizes: list[tuple[int, int]],
    names: Sequence[str] = tuple(STUDIES),
    in_order: Callable[..., Iterable[dict[str, Any]]] = map,
) -> list[dict[str, Any]]:
    """Shares and means over so many studies of each kind, with each number of seeds and images.

    Each cell has random numbers of its own, so that `in_order` may be the `imap` of several processes.
    """
    rows = []
    for row in in_order(_cell, itertools.product([studies], names, ERRORS, sizes)):
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def _cell(cell: tuple[int, str, str, tuple[int, int]]) -> dict[str, Any]:
    """One row of `measure_studies`: the studies of one kind, with one number of seeds and images."""
    studies, name, errors, (seeds, images) = cell
    draw = np.random.default_rng(0)
    found = [study(draw, STUDIES[name], errors, seeds, images, n % CORRECTED == 0) for n in range(studies)]
    means = {key: round(float(np.nanmean([one[key] for one in found])), 4) for key in found[0]}
    return {"networks": name, "errors": errors, "seeds": seeds, "images": images, **means}


def main() -> None:
    """Measure one part and keep it beside the other."""
    parser = arguments(str(__doc__).splitlines()[0])
    parser.set_defaults(runs=2000)
    parser.add_argument("part", choices=("pairs", "studies"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 3], help="of the studies [1 3]")
    parser.add_argument("--images", type=int, nargs="+", default=[100, 1000, 10_000], help="[100 1000 10000]")
    parser.add_argument("--networks", nargs="+", default=list(STUDIES), choices=STUDIES, help="of the studies [all]")
    parser.add_argument("--processes", type=int, help="[one a core]")
    options = parser.parse_args()
    file = Path(__file__).parent / "results" / "verdict.json"
    kept = json.loads(file.read_text()) if file.is_file() else {}
    if options.part == "pairs":
        sizes = list(itertools.product((2, 6), (1, 2, 3), (100, 1000)))
        found: dict[str, Any] = {"studies": options.runs, "rows": measure(options.runs, sizes)}
    else:
        sizes = list(itertools.product(options.seeds, options.images))
        with multiprocessing.get_context("spawn").Pool(options.processes) as processes:
            rows = measure_studies(options.runs, sizes, options.networks, processes.imap)
        for row in kept.get("studies", {}).get("rows", []):  # those of other kinds are kept
            if (row["seeds"], row["images"]) not in sizes or row["networks"] not in options.networks:
                rows.append(row)
        kinds = list(STUDIES)
        found = {"studies": options.runs, "rows": sorted(rows, key=lambda row: kinds.index(row["networks"]))}
    record("verdict", {**{part: kept[part] for part in ("pairs", "studies") if part in kept}, options.part: found})


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
