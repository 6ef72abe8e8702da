"""What every benchmark shares: the data beside the repository, a peer run in turn with ours, and the file a result is kept in."""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser with the flags every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--runs", type=int, default=3, help="how often each figure is taken; the median is quoted [3]")
    parser.add_argument(
        "--peer", type=Path, metavar="PYTHON", help="of ../shared/bench/setup_peers.sh, to run the peer in turn"
    )
    return parser


def peer(python: Path, script: str, *words: str) -> dict[str, Any]:
    """Run one of ../shared/bench and read the line of JSON it prints."""
    command = [python, SHARED / "bench" / script, *words]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def whole_training(*words: Any) -> dict[str, Any]:
    """Run `podium train` in a process of its own, and return its seconds from start to exit, and the last epoch's accuracy."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        start = time.perf_counter()
        command = [sys.executable, "-m", "podium", "train", *map(str, words), "-o", str(out)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        result = json.loads((out / "result.json").read_text())
    names = ("seed", "epochs", "steps", "batch_size", "precision", "top1")
    return {
        "seconds": round(seconds, 2),
        "training_seconds": result["seconds"],
        **{each: result[each] for each in names},
    }


def record(name: str, figures: dict[str, Any]) -> None:
    """Print the figures and keep them in `benchmarks/results`, with the command and the machine."""
    import torch

    from podium.platform import processor_name

    script = Path(sys.argv[0]).name  # of one script, several files may come
    content = {
        "command": re.sub(r"(?<=--peer )\S+", "PYTHON", " ".join(["python", f"benchmarks/{script}", *sys.argv[1:]])),
        "date": time.strftime("%Y-%m-%d"),
        "machine": {"processor": processor_name(), "threads": torch.get_num_threads()},
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        **figures,
    }
    text = json.dumps(content, indent=1)
    folder = ROOT / "benchmarks" / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(text + "\n")
    print(text)
