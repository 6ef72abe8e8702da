"""Images a second of one run in one process on all cores, and in several that share each batch; runs alternate.

On processors this says what the processes cost, since the cores are the same; GPUs would be added, one a process.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from record import arguments, record


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--model", default="resnet20", help="network, on the digits [resnet20]")
    parser.add_argument("--steps", type=int, default=60, help="of each run, of 128 images [60]")
    parser.add_argument("--devices", type=int, default=2, help="processes [2]")
    options = parser.parse_args()
    several = ["--devices", str(options.devices)]
    ways = {
        "one process": [],
        f"{options.devices} processes": several,
        f"{options.devices} processes, --sync-batch-norm": [*several, "--sync-batch-norm"],
    }
    figures: dict[str, Any] = {way: [] for way in ways}
    here = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    for _ in range(options.runs):
        for way, words in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                run = Path(folder) / "run"
                command = ["-m", "podium", "train", options.model, "digits", "--batch-size", "128", "-o", str(run)]
                command += ["--steps", str(options.steps), *words]
                subprocess.run([sys.executable, *command], env=here, capture_output=True, check=True)
                figures[way].append(json.loads((run / "result.json").read_text())["images_per_second"])
    for way in ways:
        figures[way] = {"images_per_second": figures[way], "median": statistics.median(figures[way])}
    record("devices", {"model": options.model, "data": "digits, 32 px", "batch": 128, **figures})


if __name__ == "__main__":
    main()
