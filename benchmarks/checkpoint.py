"""What checkpoints cost a run that asks for no interval of its own: seconds to save, over seconds until the next is due.

Each network trains on CIFAR-10 at 32 px and saves every ten seconds, so that some saves are timed in half a minute; a save is
whole, with the sync to disk. The share is that of the longest one at the interval that follows it by default.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from record import SHARED, arguments, record

CASES = {"resnet18": 128, "vgg11": 128}  # network: images a step


class Enough(Exception):
    """The saves have been timed."""


def saves(name: str, batch: int, count: int) -> dict[str, Any]:
    """Train by the library, with a clock around `state.save`."""
    import podium
    from podium.runs import checkpoint as state
    from podium.weights.create import create_model

    images = podium.load_data(str(SHARED / "data" / "cifar10"))
    net = create_model(name, num_classes=len(images.classes))
    net.spec = {**net.spec, "image_size": 32}  # the 224 px network on smaller images
    took: list[float] = []
    honest = state.save

    def timed(*words: Any) -> None:
        begun = time.monotonic()
        honest(*words)
        took.append(time.monotonic() - begun)

    def progress(step: int, steps: int, shown: dict[str, Any]) -> None:
        if len(took) > count:
            raise Enough

    state.save = timed
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        try:
            podium.train(
                net, images, out, steps=10**6, batch_size=batch, lr=0.01, checkpoint_every="10s", progress=progress
            )
        except Enough:
            size = (out / state.LAST).stat().st_size
    state.save = honest
    inside = took[1:]  # the first is of the weights that were handed in, before the first step
    interval = state.pause(None, max(inside))
    return {
        "megabytes": round(size / 1e6),
        "seconds_to_save": [round(seconds, 2) for seconds in inside],
        "interval_seconds": round(interval, 1),
        "share_of_time": round(max(inside) / (max(inside) + interval), 4),
    }


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    record("checkpoint", {name: saves(name, batch, options.runs) for name, batch in CASES.items()})


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
