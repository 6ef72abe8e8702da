"""Wall time of training the six networks of the demonstration one after the other and side by side; comparisons alternate.

The time is that of training alone, from the first run's start to the last run's end: processes that start count, reading the
images, timing the finished networks and the report do not.
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

# A comparison in a process of its own, which prints the seconds of its training.
TIMED = """
import json, sys, time
import podium
from podium.comparison.running.trainer import Trainer

train, took = Trainer.train, []

def timed(self, *arguments):
    begun = time.perf_counter()
    train(self, *arguments)
    took.append(time.perf_counter() - begun)

Trainer.train = timed
epochs, jobs, out, *threads = sys.argv[1:]
more = {"threads": int(threads[0])} if threads else {}
podium.compare(None, "digits", out, epochs=float(epochs), jobs=int(jobs), progress=False, **more)
print(json.dumps(took[0]))
"""


def seconds_of(epochs: float, jobs: int, out: Path, *threads: str) -> float:
    """The seconds of training of one comparison."""
    here = {key: value for key, value in os.environ.items() if key not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    words = [sys.executable, "-c", TIMED, str(epochs), str(jobs), str(out), *threads]
    done = subprocess.run(words, env=here, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def weights(out: Path) -> dict[str, bytes]:
    """The weights of each network."""
    return {path.parent.name: path.read_bytes() for path in sorted(out.glob("*-seed0/model.safetensors"))}


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--epochs", type=float, default=6, help="of each network, as in `make demo` [6]")
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side [2]")
    options = parser.parse_args()
    took: dict[str, list[float]] = {"--jobs 1": [], f"--jobs {options.jobs}": []}
    with tempfile.TemporaryDirectory() as folder:
        for run in range(options.runs):
            for jobs in (1, options.jobs):
                took[f"--jobs {jobs}"].append(seconds_of(options.epochs, jobs, Path(folder) / f"{run}-{jobs}"))
        each = max(1, len(os.sched_getaffinity(0)) // options.jobs)
        seconds_of(options.epochs, 1, Path(folder) / "same", str(each))
        same = weights(Path(folder) / "same") == weights(Path(folder) / f"0-{options.jobs}")
    one, several = (statistics.median(times) for times in took.values())
    figures: dict[str, Any] = {"epochs": options.epochs, "cores": len(os.sched_getaffinity(0)), "seconds": took}
    record("jobs", {**figures, "ratio": round(several / one, 3), f"same_as_jobs_1_of_{each}_threads": same})


if __name__ == "__main__":
    main()
