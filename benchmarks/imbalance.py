"""CIFAR-10 made unequal, 50 to 1: what weights in the loss and a balanced sampler change in macro-F1 on all test images.

The number of training images falls exponentially from 5,000 of the first class to 100 of the last, as Cui et al. 2019 made
their long-tailed sets. The test images stay as they are, 1,000 of each class. Scores are those of the last epoch.
"""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from record import SHARED, arguments, record

WAYS: dict[str, dict[str, Any]] = {
    "none": {},
    "inverse": {"class_weights": "inverse"},
    "sqrt": {"class_weights": "sqrt"},
    "effective": {"class_weights": "effective"},
    "balanced": {"sampler": "balanced"},
}
RATIO = 50


def unequal() -> Any:
    """CIFAR-10 with fewer and fewer training images from class to class."""
    import podium

    data = podium.load_data(SHARED / "data" / "cifar10")
    train, draw = data.splits["train"], np.random.default_rng(0)
    rows = []
    for label in range(10):
        images = np.flatnonzero(train.labels == label)
        count = round(len(images) * RATIO ** (-label / 9))
        rows.append(draw.permutation(images)[:count])
    splits = {"train": train.select(np.sort(np.concatenate(rows))), "test": data.splits["test"]}
    return replace(data, name="cifar10-unequal", splits=splits)


def main() -> None:
    """Train each way with each seed, and keep the scores."""
    import podium

    parser = arguments(__doc__ or "")
    parser.add_argument("--epochs", type=int, default=20, help="of each run [20]")
    parser.add_argument("--network", default="lenet5_modern", help="[lenet5_modern]")
    options = parser.parse_args()
    data = unequal()
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in range(options.runs):
        for way, settings in WAYS.items():
            with tempfile.TemporaryDirectory() as folder:
                run = podium.train(
                    options.network,
                    data,
                    Path(folder) / "run",
                    epochs=options.epochs,
                    seed=seed,
                    progress=False,
                    **settings,
                )
                result = run.result
            rows.setdefault(way, []).append(
                {key: result[key] for key in ("top1", "macro_f1", "balanced_accuracy", "loss")}
            )
            print(f"seed {seed}  {way:10} macro-F1 {result['macro_f1']:.4f}  top-1 {result['top1']:.4f}", flush=True)
    means = {way: round(statistics.fmean(row["macro_f1"] for row in runs), 4) for way, runs in rows.items()}
    counts = np.bincount(data.splits["train"].labels).tolist()
    record("imbalance", {"training_images": counts, "macro_f1": means, "runs": rows})


if __name__ == "__main__":
    main()
