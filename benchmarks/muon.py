"""Muon beside the other optimisers: ResNet-20 on 10,000 training images of CIFAR-10, the last epoch's accuracy on 4,000 test images.

Each optimiser has the learning rates that are tried for it, and the best of them counts: the test images choose it, so the figures
are for comparing optimisers only. The seed is 0. Runs on record are not repeated.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

from record import ROOT, SHARED, arguments, record

RESULT = ROOT / "benchmarks" / "results" / "muon.json"
TRIED: dict[str, dict[float, float]] = {  # optimiser -> learning rate -> weight decay
    "muon": {3e-3: 0.05, 1e-2: 0.05, 3e-2: 0.05, 0.1: 0.05},
    "adamw": {3e-3: 0.05, 1e-2: 0.05, 3e-2: 0.05},
    "sgd": {0.05: 5e-4, 0.1: 5e-4, 0.2: 5e-4, 0.4: 5e-4},
}


def main() -> None:
    """Train with each, and keep the accuracy of every epoch."""
    import podium

    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8, help="of each run [8]")
    options = parser.parse_args()
    data = podium.load_data(SHARED / "data" / "cifar10", val=None)
    splits = {"train": data.splits["train"].select(range(10_000)), "test": data.splits["test"].select(range(4000))}
    data = dataclasses.replace(data, splits=splits)
    earlier = json.loads(RESULT.read_text())["runs"] if RESULT.is_file() else []
    known = {(row["optimizer"], row["lr"], row["weight_decay"], len(row["top1"])): row for row in earlier}
    rows: list[dict[str, Any]] = []
    for optimizer, rates in TRIED.items():
        for rate, decay in rates.items():
            settings: dict[str, Any] = {"optimizer": optimizer, "lr": rate, "weight_decay": decay, "seed": 0}
            if (row := known.get((optimizer, rate, decay, options.epochs))) is not None:
                rows.append(row)
                continue
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "run"
                run = podium.train(
                    "resnet20", data, out, epochs=options.epochs, batch_size=128, workers=0, progress=False, **settings
                )
                every = [round(epoch["top1"], 4) for epoch in run.epochs]
                rows.append({**settings, "top1": every, "seconds": run.result["seconds"]})
                print(rows[-1], flush=True)
    best = {name: max(row["top1"][-1] for row in rows if row["optimizer"] == name) for name in TRIED}
    record("muon", {"network": "resnet20", "images": 10_000, "best": best, "runs": rows})


if __name__ == "__main__":
    main()
