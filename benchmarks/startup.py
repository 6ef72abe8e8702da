"""Seconds from the start to the exit of processes that a person waits for, less those of a bare interpreter's start."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from record import arguments, record

COMMANDS = {
    "python -c 'import podium'": ["-c", "import podium"],
    "podium --help": ["-m", "podium", "--help"],
    "podium train --help": ["-m", "podium", "train", "--help"],
    "podium recipes": ["-m", "podium", "recipes"],
}


def seconds(words: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    runs = max(5, options.runs)
    bare = statistics.median(seconds(["-c", "pass"]) for _ in range(runs))
    figures = {"bare interpreter": round(bare, 3)}
    for name, words in COMMANDS.items():
        seconds(words)
        figures[name] = round(statistics.median(seconds(words) for _ in range(runs)), 3)
    record("startup", {"seconds": figures})


if __name__ == "__main__":
    main()
