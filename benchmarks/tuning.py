"""Tuning: whether what the verdict says holds where each network has the settings of its best trial on the images that rank.

    python benchmarks/tuning.py

Six networks are equally good, with whichever of their settings. Each has the best of 20 trials. A trial has an image right
where its level, the difficulty of the image for all networks, a difficulty of its own for the network, and one of its own for the
trial add up to more than 0. Networks whose trials answer differently gain more by the choice than one whose trials answer
alike; this is compared with the score as it is, and with what `podium.comparison.optimism` takes off.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from record import arguments, record
from scipy.special import ndtri

from podium.comparison import optimism as bbc
from podium.comparison.best import standings
from podium.comparison.statistics import Answers

NETWORKS, TRIALS, TRUE, DRAWS = 6, 20, 0.85, 2000
# Share of the difficulty that is the trial's own, for each network.
KINDS = {
    "trials of all answer differently": [0.5] * NETWORKS,
    "trials of one answer alike": [0.0] + [0.5] * (NETWORKS - 1),
    "trials of five answer alike": [0.0] * (NETWORKS - 1) + [0.5],
}
SPREAD = {"equal trials": 0.0, "trials up to 10 points apart": 0.1}
SHARED_ERRORS = 0.5  # share of the rest that is the image's difficulty for all networks


def one(draw: np.random.Generator, own: list[float], spread: float, images: int) -> dict[str, float]:
    """Draw a study, and say what the verdict finds with and without what the choice of trials flatters.

    Args:
        draw: a generator of random numbers.
        own: of each network, the share of the difficulty that is the trial's own.
        spread: how far the trials of a network are apart in accuracy; its best ones are as good as those of the others.
        images: that tune and rank.
    """
    image = math.sqrt(SHARED_ERRORS) * draw.standard_normal(images, dtype=np.float32)
    network = math.sqrt(1 - SHARED_ERRORS) * draw.standard_normal((NETWORKS, images), dtype=np.float32)
    level = ndtri(TRUE - spread * np.linspace(0, 1, TRIALS) ** 2)[:, None]
    taken, flattered, true = [], [], []
    for share, difficulty in zip(own, network, strict=True):
        luck = math.sqrt(share) * draw.standard_normal((TRIALS, images), dtype=np.float32)
        right = level + math.sqrt(1 - share) * (image + difficulty) + luck > 0
        best = int(right.mean(1).argmax())
        taken.append(right[best][None])
        flattered.append(bbc.optimism(Answers([trial[None] for trial in right])))
        true.append(TRUE - spread * (best / (TRIALS - 1)) ** 2)
    answers, found = Answers(taken), {}
    for name, used in (("as it is", answers), ("less what the choice flatters", answers.lowered(flattered))):
        verdict = standings(used, draws=DRAWS)
        found[f"a best network called worse, {name}"] = float(
            any(each.worse for each, level in zip(verdict, true, strict=True) if level == max(true))
        )
        found[f"score above the truth, points, {name}"] = 100 * float((used.scores.mean(1) - true).mean())
    return found


def main() -> None:
    """Draw studies of each kind."""
    parser = arguments(str(__doc__).splitlines()[0])
    parser.set_defaults(runs=1000)
    options, rows = parser.parse_args(), []
    bbc.RESAMPLES = 200  # of 1,000, for the time it takes
    for kind, spread, images in itertools.product(KINDS, SPREAD, (100, 1000)):
        if SPREAD[spread] and kind != "trials of one answer alike":
            continue  # the choice flatters less where few trials compete
        draw = np.random.default_rng(0)
        found: list[dict[str, Any]] = [one(draw, KINDS[kind], SPREAD[spread], images) for _ in range(options.runs)]
        means = {key: round(float(np.mean([each[key] for each in found])), 4) for key in found[0]}
        rows.append({"trials": kind, "spread": spread, "images": images, **means})
        print(json.dumps(rows[-1]), flush=True)
    record("tuning", {"studies": options.runs, "rows": rows})


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
