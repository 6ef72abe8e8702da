"""Seconds of a whole `podium train lenet5_modern MNIST`: imports, reading, training, a test after every epoch, saving.

The peer's clock (DataLoader, Adam, batch 64) stops at the first test of at least 99.0 % and leaves imports out; ours
covers the process from start to exit, and the accuracy is that of the last epoch.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from record import SHARED, arguments, peer, record


def ours(seed: int) -> dict[str, Any]:
    """One training in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        words = [
            "train",
            "lenet5_modern",
            SHARED / "data" / "mnist",
            "--epochs",
            "2",
            "--lr",
            "0.006",
            "--seed",
            seed,
            "-o",
            out,
        ]
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "podium", *map(str, words)], check=True, capture_output=True)
        seconds = time.perf_counter() - start
        result = json.loads((out / "result.json").read_text())
    return {"seed": seed, "seconds": round(seconds, 2), "training_seconds": result["seconds"], "top1": result["top1"]}


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    runs, peers = [], []
    for seed in range(options.runs):
        runs.append(ours(seed))
        if options.peer:
            peers.append(peer(options.peer, "peer_mnist.py", "--seed", str(seed)))
    figures: dict[str, Any] = {"podium": runs, "median_seconds": statistics.median(run["seconds"] for run in runs)}
    if peers:
        ratios = [theirs["seconds"] / mine["seconds"] for theirs, mine in zip(peers, runs, strict=True)]
        figures |= {"peer": peers, "times_faster": round(statistics.median(ratios), 2)}
    record("mnist", figures)


if __name__ == "__main__":
    main()
