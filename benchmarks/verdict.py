"""How often the verdict's 95 % intervals hold, and how often equal networks are told apart: studies drawn at random.

A network has an image right where its level, the difficulty of the image for all networks, a difficulty of its own, the luck
of its seed, and the luck of that seed with that image add up to more than 0; each is normal, so the true accuracies are known.
With one seed the claim is about the networks as they were trained, so the truth is that of their own seeds.
"""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from record import arguments, record

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


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.set_defaults(runs=2000)
    options = parser.parse_args()
    sizes = [(n, s, i) for n, s, i in itertools.product((2, 6), (1, 2, 3), (100, 1000))]
    rows = measure(options.runs, sizes)
    spread = {
        f"{seeds} seed{'s' * (seeds > 1)}": [
            f(r["difference_holds"] for r in rows if r["seeds"] == seeds) for f in (min, max)
        ]
        for seeds in (1, 2, 3)
    }
    record("verdict", {"studies": options.runs, "difference_holds_least_most": spread, "rows": rows})


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
