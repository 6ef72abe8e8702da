"""Seconds of a whole `podium train lenet5_modern MNIST`: imports, reading, training, a test after every epoch, saving.

The peer's clock (DataLoader, Adam, batch 64) stops at the first test of at least 99.0 % and leaves imports out; ours
covers the process from start to exit, and the accuracy is that of the last epoch. The length, batch and learning rate were
chosen with 6,000 of the training images held out (`--val 0.1`), by the mean of four other seeds.
"""

from __future__ import annotations

import statistics
from typing import Any

from record import SHARED, arguments, peer, record, whole_training

PROTOCOL = ("--steps", 469, "--batch-size", 192, "--lr", 0.01)


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    runs, peers = [], []
    for seed in range(options.runs):
        runs.append(whole_training("lenet5_modern", SHARED / "data" / "mnist", *PROTOCOL, "--seed", seed))
        if options.peer:
            peers.append(peer(options.peer, "peer_mnist.py", "--seed", str(seed)))
    figures: dict[str, Any] = {"podium": runs, "median_seconds": statistics.median(run["seconds"] for run in runs)}
    if peers:
        ratios = [theirs["seconds"] / mine["seconds"] for theirs, mine in zip(peers, runs, strict=True)]
        figures |= {"peer": peers, "times_faster": round(statistics.median(ratios), 2)}
    record("mnist", figures)


if __name__ == "__main__":
    main()
