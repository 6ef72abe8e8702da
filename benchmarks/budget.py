"""Seconds that `podium train --budget` takes from start to exit, beside those that were asked for."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import SHARED, arguments, record

CASES = {
    "lenet5_modern digits": ["lenet5_modern", "digits"],
    "resnet20 digits": ["resnet20", "digits"],
    "resnet18 flowers 224 px": ["resnet18", str(SHARED / "data" / "flowers"), "--image-size", "224"],
    "vgg11_bn flowers 224 px": ["vgg11_bn", str(SHARED / "data" / "flowers"), "--image-size", "224"],
}
BUDGETS = 10, 20, 60


def run(words: list[str]) -> tuple[float, int, str]:
    """Seconds from start to exit, the exit code, and what was said last."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "podium", "train", *words, "-o", str(Path(folder) / "run")]
        start = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = [line for line in done.stderr.splitlines() if line.startswith(("error", "warning", "fix"))]
        return time.monotonic() - start, done.returncode, "; ".join(said)


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    fixed = statistics.median(run([*CASES["lenet5_modern digits"], "--steps", "1"])[0] for _ in range(options.runs))
    rows = []
    for name, words in CASES.items():
        for budget in BUDGETS:
            seconds, code, said = run([*words, "--budget", f"{budget}s"])
            over = round((seconds - fixed - budget) / budget, 3)
            rows.append(
                {"case": name, "asked": budget, "taken": round(seconds, 1), "over": over, "exit": code, "said": said}
            )
            print(rows[-1], flush=True)
    record("budget", {"fixed_seconds": round(fixed, 2), "runs": rows})


if __name__ == "__main__":
    main()
