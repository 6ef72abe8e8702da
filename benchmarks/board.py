"""How long headless Chromium takes to open a board, and what the board costs while runs train.

The runs are made up: a comparison of 60 runs of 100 epochs, of which a few still train. Our targets are 1 s until all curves and the
leaderboard are drawn, and 150 MB of memory for the board.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from record import arguments, record

from podium.board.live import Live
from podium.comparison.rows import Row
from podium.runs.folder import LOG, RESULT, SETTINGS, SPEED, RunFolder
from podium.runs.recommended import REQUEST, STUDY_NOTE, TABLE

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
STUDIES = {
    "60 runs of 100 epochs": (60, 100),
    "20 runs of 1,000 epochs": (20, 1000),
    "200 runs of 30 epochs": (200, 30),
}
TRAINS = 4  # runs that have not ended


def made_up(study: Path, runs: int, epochs: int) -> list[Path]:
    """Write the folder of a comparison of networks that learned as formulas say.

    Args:
        study: the folder.
        runs, epochs: how many.
    """
    study.mkdir(parents=True)
    (study / REQUEST).write_text("data: photos  # flag\nrecipe: quick  # default\nduration: 100ep  # flag\n")
    folders, table = [], []
    columns = [field.name for field in fields(Row)]
    for number in range(runs):
        folder = study / f"network_{number}-seed0"
        folder.mkdir()
        (folder / SETTINGS).write_text(
            "".join(f"setting_{n}: {n}  # default\n" for n in range(80)) + f"model: network_{number}\n"
        )
        done = number >= TRAINS
        top1 = 0.6 + 0.35 * number / runs
        rows: list[dict[str, Any]] = [{"event": "start", "steps": 100 * epochs, "model": f"network_{number}"}]
        for e in range(1, (epochs if done else epochs // 2) + 1):
            row = {
                "epoch": e,
                "step": 100 * e,
                "lr": 0.1 / e,
                "train_loss": 2 / e**0.5,
                "split": "val",
                "top1": top1 * (1 - 0.5 / e),
            }
            rows.append({"event": "epoch", **row, "top5": 0.99, "loss": 2.2 / e**0.5 + 0.1, "seconds": 12.5 * e})
        (folder / LOG).write_text("".join(json.dumps(row) + "\n" for row in rows))
        if done:
            scores = {
                "top1": top1,
                "top5": 0.99,
                "loss": 0.4,
                "ece": 0.02,
                "macro_f1": top1,
                "n": 2000,
                "seconds": 12.5 * epochs,
            }
            per_class = {"classes": [f"class {n}" for n in range(100)], "confusion": [[7] * 100] * 100}
            (folder / RESULT).write_text(
                json.dumps({"model": f"network_{number}", "split": "test", **scores, **per_class})
            )
            (folder / SPEED).write_text(json.dumps({"latency_ms": {"p50": 1.0, "p95": 2.0}}))
            known = {
                **scores,
                "model": f"network_{number}",
                "run": folder.name,
                "score": top1,
                "params": 10_000 * number,
                "macs": 1e6,
            }
            table.append(",".join(str(known.get(name, "")) for name in columns))
        folders.append(folder)
    (study / TABLE).write_text("\n".join([",".join(columns), *table]) + "\n")
    note = {
        "runs": [folder.name for folder in folders],
        "verdict": ["Take network_59: it ranks first, and none is cheaper."],
    }
    (study / STUDY_NOTE).write_text(json.dumps(note))
    return folders


def opened(address: str, curves: int, times: int) -> list[float]:
    """Seconds until headless Chromium has opened the board and drawn all curves and the leaderboard."""
    from playwright.sync_api import sync_playwright

    path, seconds = next(filter(None, map(shutil.which, CHROMIUM))), []
    with sync_playwright() as play, play.chromium.launch(executable_path=path, args=["--no-sandbox"]) as browser:
        for _ in range(times):
            tab = browser.new_page(viewport={"width": 1280, "height": 900})
            start = time.perf_counter()
            tab.goto(address)
            drawn = "n => document.querySelectorAll('.chart polyline').length >= n && document.querySelector('table[data-name=leaderboard]')"
            tab.wait_for_function(drawn, arg=curves)
            seconds.append(time.perf_counter() - start)
            tab.close()
    return seconds


def memory_of(process: int) -> float | None:
    """The megabytes that a process has in use, as Linux counts them."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return round(int(line.split()[1]) / 1024, 1)
    return None


def looks(study: Path, folder: Path, times: int) -> dict[str, float]:
    """Milliseconds of the first look at a folder, of one where nothing has changed, and of one where an epoch has ended."""
    live = Live(study)
    spent: dict[str, list[float]] = {"idle": [], "an epoch": []}
    start = time.perf_counter()
    live.refresh()
    first = time.perf_counter() - start
    run, mark = RunFolder(folder), live.mark
    for number in range(times):
        for what in spent:
            if what == "an epoch":
                run.log({"event": "epoch", "epoch": 1000 + number, "step": 1, "loss": 1.0, "top1": 0.5, "seconds": 1.0})
            start = time.perf_counter()
            live.refresh()
            mark = live.since(mark)["mark"]
            spent[what].append(time.perf_counter() - start)
    return {
        "first": round(1000 * first, 1),
        **{what: round(1000 * statistics.median(each), 2) for what, each in spent.items()},
    }


def measured(name: str, size: Sequence[int], times: int) -> dict[str, Any]:
    """The figures of one comparison."""
    runs, epochs = size
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study"
        folders = made_up(study, runs, epochs)
        words = [sys.executable, "-m", "podium", "board", folder, "--port", "0", "--json"]
        start = time.perf_counter()
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
            address = json.loads(process.stdout.readline())["url"] if process.stdout is not None else ""
            started = time.perf_counter() - start
            try:
                seconds = opened(address, 3 * runs, times)
                megabytes = memory_of(process.pid)
            finally:
                process.terminate()
        live = Live(study)
        live.refresh()
        return {
            "study": name,
            "opened_s": round(statistics.median(seconds), 2),
            "opened_s_all": [round(each, 2) for each in seconds],
            "board_started_s": round(started, 2),
            "board_megabytes": megabytes,
            "told_kb": round(len(json.dumps(live.since(""))) / 1000),
            "look_ms": looks(study, folders[0], times),
        }


if __name__ == "__main__":
    parser = arguments(__doc__)
    args = parser.parse_args()
    record("board", {"runs": args.runs, "studies": [measured(name, size, args.runs) for name, size in STUDIES.items()]})
