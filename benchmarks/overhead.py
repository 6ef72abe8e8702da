"""Milliseconds that an epoch of an in-memory set costs beside its steps and the judging of its images.

A set of one batch, so that an epoch is one step: the order of its images, making the batches, scores, the log, the TensorBoard
events. Compared to the bare step and the bare evaluation of the same network in the same process. Checkpoints are
left out: they are saved by time, not by epochs, and cost at most 3 % (docs/reliability.md).
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from record import arguments, record

EPOCHS, IMAGES = 300, 128


def one() -> dict[str, float]:
    """Milliseconds of an epoch, of its step and of its judging, and what is left."""
    import numpy as np
    import torch

    import podium
    from podium.data.dataset import Dataset, Split
    from podium.data.images import ArrayImages
    from podium.settings import Settings
    from podium.training.distributed.parallel import Objective
    from podium.training.optim import make_optimizer, set_learning_rate
    from podium.training.prepare import prepare
    from podium.training.recipes.named import settings_of
    from podium.training.step import Passes, forward_backward

    draw = np.random.default_rng(0)
    splits = {
        name: Split(np.arange(IMAGES) % 10, ArrayImages(draw.integers(0, 256, (IMAGES, 28, 28, 1), np.uint8)))
        for name in ("train", "test")
    }
    data = Dataset("noise", tuple("0123456789"), splits, 1, 28, False, (0.5,), (0.3,))
    asked = {"model": "lenet5_modern", "epochs": EPOCHS, "batch_size": IMAGES, "checkpoint_every": "1h"}
    with tempfile.TemporaryDirectory() as folder:
        run = podium.train(
            "lenet5_modern", data, Path(folder) / "run", **{k: v for k, v in asked.items() if k != "model"}
        )
        rows = run.epochs
    epoch = (rows[-1]["seconds"] - rows[19]["seconds"]) / (len(rows) - 20)

    settings: Settings = settings_of(None, None, asked).settings
    plan = prepare(settings, data)
    optimizer = make_optimizer(plan.net, plan.settings)
    steps, judged = [], []
    batch = next(plan.train.epoch(0))
    objective = Objective(plan.net, plan.criterion)
    for n in range(EPOCHS):
        begun = time.perf_counter()
        set_learning_rate(optimizer, 0.001)
        forward_backward(Passes(plan.net, optimizer, plan.settings, plan.amp), batch, objective, n)
        optimizer.step()
        steps.append(time.perf_counter() - begun)
        plan.net.eval()
        begun = time.perf_counter()
        with torch.inference_mode():
            plan.net(batch.x)
        judged.append(time.perf_counter() - begun)
    parts = {"epoch": epoch, "step": statistics.mean(steps[20:]), "judging": statistics.mean(judged[20:])}
    parts["overhead"] = parts["epoch"] - parts["step"] - parts["judging"]
    return {name: round(1000 * seconds, 3) for name, seconds in parts.items()}


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    runs = [one() for _ in range(options.runs)]
    figures: dict[str, Any] = {"milliseconds": runs, "epochs": EPOCHS, "images": IMAGES}
    record("overhead", {**figures, "median_overhead": statistics.median(run["overhead"] for run in runs)})


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
