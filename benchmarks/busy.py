"""Images a second of a training while another program holds a core, as a share of its speed on a quiet machine.

The program computes all the time, bound to the first core. Trainings on a quiet and on a busy machine alternate, with as many
threads as there are cores (`--threads N`, what a run took before it measured) and as many as a run takes by itself.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from record import arguments, record

# Says that it runs, and then does nothing but compute.
SPIN = "import os; os.sched_setaffinity(0, {int(os.environ['CORE'])}); print(flush=True)\nwhile True: pass"


@contextmanager
def held(core: int | None) -> Iterator[None]:
    """Hold a core by another program within this context; None: leave the machine quiet."""
    if core is None:
        yield
        return
    command, here = [sys.executable, "-c", SPIN], {**os.environ, "CORE": str(core)}
    with subprocess.Popen(command, env=here, stdout=subprocess.PIPE) as program:
        try:
            if program.stdout is not None:
                program.stdout.readline()
            yield
        finally:
            program.kill()


def trained(model: str, data: str, steps: int, words: list[str]) -> dict[str, Any]:
    """Train as a person would, and return the speed, the threads and the seconds of the whole run."""
    here = {key: value for key, value in os.environ.items() if key not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = ["-m", "podium", "train", model, data, "--batch-size", "128", "--steps", str(steps), "-o", str(run)]
        subprocess.run([sys.executable, *command, *words], env=here, capture_output=True, check=True)
        result = json.loads((run / "result.json").read_text())
    return {key: result[key] for key in ("images_per_second", "threads", "seconds")}


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--model", default="resnet20", help="network [resnet20]")
    parser.add_argument("--data", default="digits", help="data set [digits]")
    parser.add_argument("--steps", type=int, default=300, help="of each run, of 128 images; 300 or more [300]")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    ways = {"all cores": ["--threads", str(len(cores))], "measured": []}
    figures: dict[str, dict[str, list[Any]]] = {way: {"quiet": [], "busy": []} for way in ways}
    for _ in range(options.runs):
        for way, words in ways.items():
            for state, core in (("quiet", None), ("busy", cores[0])):
                with held(core):
                    figures[way][state].append(trained(options.model, options.data, options.steps, words))

    def median(way: str, state: str, key: str = "images_per_second") -> float:
        return statistics.median(one[key] for one in figures[way][state])

    quiet, seconds = median("all cores", "quiet"), median("all cores", "quiet", "seconds")
    ratios = {
        "busy_of_quiet_all_cores": round(median("all cores", "busy") / quiet, 3),
        "busy_of_quiet_measured": round(median("measured", "busy") / quiet, 3),
        "quiet_measured_of_all_cores": round(median("measured", "quiet") / quiet, 3),
        "quiet_seconds_measured_of_all_cores": round(median("measured", "quiet", "seconds") / seconds, 3),
    }
    case = {"model": options.model, "data": options.data, "steps": options.steps, "batch": 128, "cores": len(cores)}
    record("busy", {**case, "ratios": ratios, "runs": figures})


if __name__ == "__main__":
    main()
