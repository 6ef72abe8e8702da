"""Seconds of a training step in float32 and bfloat16, in channels last and contiguous: what `podium train` tries by itself.

Steps of noise at small sizes, on copies that are thrown away, by the same function that decides for a run
(`training/autotune/fastest.py`), the fastest of three. The peak memory is that of the network's process.
"""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from record import arguments, record

# name: (network, side in pixels, images a step)
CASES = {
    "resnet20": ("resnet20", 32, 128),
    "resnext50_32x4d": ("resnext50_32x4d", 96, 8),
    "xception": ("xception", 96, 8),
    "mobilenet_v1": ("mobilenet_v1", 96, 16),
    "senet154": ("senet154", 64, 4),
}


def one(name: str, side: int, images: int) -> dict[str, Any]:
    """Milliseconds of each way, and the one that a run would take."""
    import resource

    import torch

    from podium.settings import Settings
    from podium.training.autotune.fastest import FORMATS, GAIN, set_memory_format, step_seconds
    from podium.weights.create import create_model

    net = set_memory_format(create_model(name, num_classes=10), "channels_last")  # in its full form
    net.spec = {**net.spec, "image_size": side}
    settings = Settings(model=name, batch_size=images)
    ways = list(itertools.product(("off", "bf16"), FORMATS))
    spent = {way: 1000 * step_seconds(net, settings, way, images) for way in ways}
    taken = min(ways, key=lambda way: spent[way])
    if spent[ways[0]] < GAIN * spent[taken]:
        taken = ways[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "milliseconds": {" ".join(way): round(value, 2) for way, value in spent.items()},
        "taken": " ".join(taken),
        "peak_memory_mb": round(peak),
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--one", nargs=3, help="one network, as a line of JSON: NETWORK SIDE IMAGES")
    options = parser.parse_args()
    if options.one:
        name, side, images = options.one
        print(json.dumps(one(name, int(side), int(images))))
        return
    figures: dict[str, Any] = {}
    for case, (name, side, images) in CASES.items():
        runs = []
        for _ in range(options.runs):
            words = [sys.executable, __file__, "--one", name, str(side), str(images)]
            said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
            runs.append(json.loads(said.splitlines()[-1]))
        ways = runs[0]["milliseconds"]
        median = {way: statistics.median(run["milliseconds"][way] for run in runs) for way in ways}
        figures[case] = {"image_size": side, "batch_size": images, "median_milliseconds": median, "runs": runs}
    record("precision", figures)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
