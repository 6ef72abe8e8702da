"""Size of the report's page, how long it takes to write, and how long headless Chromium takes to open it.

The runs are made up: networks that are right on 60 to 95 % of the images, so that no training is needed; the images are real. Our
targets are 15 MB and 2 s for 20 networks on 10,000 images, and 10 MB for 1,500 classes. A page is open when its first charts are drawn.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from record import SHARED, arguments, record

from podium.comparison.leaderboard import Leaderboard
from podium.comparison.report.provenance import Commands, Provenance
from podium.comparison.report.report_page import write_report
from podium.data.dataset import Dataset, Split
from podium.data.sources import read
from podium.evaluation.metrics import summarize

NAMES = ("lenet5", "alexnet", "vgg11_bn", "resnet18", "mobilenet_v1", "densenet121", "seresnet18", "xception")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
STUDIES = {  # name -> (data, networks, images, classes; None: those of the data)
    "20 networks on CIFAR-10": ("cifar10", 20, 10_000, None),
    "20 networks on CIFAR-100": ("cifar100", 20, 10_000, None),
    "20 networks on photos": ("flowers", 20, 10_000, None),
    "20 networks of 200 classes": ("cifar100", 20, 10_000, 200),
    "20 networks of 1,500 classes": ("cifar100", 20, 10_000, 1500),
    "6 networks of 1,500 classes": ("flowers", 6, 3_000, 1500),
}


def made_up(folder: Path, data: Dataset, count: int, seed: int = 0) -> list[Path]:
    """Write finished runs of networks whose answers are drawn at random.

    Args:
        folder: of the run folders.
        data: its "test" images are what they are evaluated on.
        count: networks.
        seed: of the draws.
    """
    draw, labels, k = np.random.default_rng(seed), data.splits["test"].labels, len(data.classes)
    paths = []
    for number in range(count):
        model = NAMES[number % len(NAMES)] + (f"_{number // len(NAMES)}" if number >= len(NAMES) else "")
        share = 0.6 + 0.35 * (number + 1) / count
        logits = draw.normal(0, 1, (len(labels), k)).astype(np.float32)
        right = draw.random(len(labels)) < share
        near = np.where(draw.random(len(labels)) < 0.7, (labels + 1) % k, draw.integers(0, k, len(labels)))
        logits[np.arange(len(labels)), np.where(right, labels, near)] += draw.gamma(3.0, 2.0, len(labels))
        cost = {"params": 10_000 * (number + 1) ** 2, "macs": 100_000 * (number + 1) ** 2}
        paths.append(_run(folder / f"{model}-seed0", model, logits, data, cost))
    return paths


def _run(path: Path, model: str, logits: np.ndarray, data: Dataset, cost: dict[str, int]) -> Path:
    labels = data.splits["test"].labels
    path.mkdir(parents=True)
    facts = {
        "model": model,
        "seed": 0,
        "split": "test",
        "seconds": 60.0,
        "steps": 500,
        "epochs": 30.0,
        "weights": "EMA",
    }
    scores = summarize(logits, labels, data.classes)
    result = {**facts, **cost, "size_bytes": 4 * cost["params"], "images_per_second": 900.0, "n": len(labels), **scores}
    (path / "result.json").write_text(json.dumps({**result, "classes": list(data.classes)}))
    epochs = [
        {"event": "epoch", "epoch": e, "seconds": 2.0 * e, "train_loss": 2 / e, "top1": scores["top1"] * (1 - 0.5 / e)}
        for e in range(1, 31)
    ]
    (path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in epochs))
    np.savez(path / "predictions.npz", logits=logits, labels=labels)
    latency = {"p50": 0.2 + cost["macs"] / 4e6, "p95": 0.3 + cost["macs"] / 3e6}
    speed = {"latency_ms": latency, "images_per_second": 1000 / latency["p50"], "batch": 64, "threads": 1}
    (path / "speed.json").write_text(json.dumps(speed))
    return path


def images_of(name: str, images: int, classes: int | None) -> Dataset:
    """A data set with so many test images, which repeat where it has fewer, and so many classes, which are then made up."""
    data = read(SHARED / "data" / name)
    part = next((data.splits[split] for split in ("test", "val") if split in data.splits), data.splits["train"])
    rows = np.arange(images) % len(part)
    labels = part.labels[rows] if classes is None else np.arange(images) % classes
    names = data.classes if classes is None else tuple(f"class {number}" for number in range(classes))
    split = Split(labels, part.images.select(rows))
    return replace(data, name=name, classes=names, splits={"train": split, "test": split})


def opened(page: Path, times: int) -> list[float]:
    """Seconds until headless Chromium has opened a page and drawn its first charts."""
    from playwright.sync_api import sync_playwright

    path, seconds = next(filter(None, map(shutil.which, CHROMIUM))), []
    with sync_playwright() as play, play.chromium.launch(executable_path=path, args=["--no-sandbox"]) as browser:
        for _ in range(times):
            tab = browser.new_page(viewport={"width": 1280, "height": 900})
            start = time.perf_counter()
            tab.goto(page.as_uri())
            tab.wait_for_function("document.querySelectorAll('.main-svg').length >= 4")
            seconds.append(time.perf_counter() - start)
            tab.close()
    return seconds


def measured(name: str, study: Sequence[Any], times: int) -> dict[str, Any]:
    """The figures of one study."""
    data = images_of(study[0], study[2], study[3])
    with tempfile.TemporaryDirectory() as folder:
        paths = made_up(Path(folder), data, study[1])
        board = Leaderboard.read(paths)
        start = time.perf_counter()
        page = write_report(
            Path(folder) / "report.html",
            board,
            paths,
            data,
            Provenance.of(board, Path(folder), paths, "made up", Commands()),
        )
        written = time.perf_counter() - start
        seconds = opened(page, times)
        return {
            "study": name,
            "megabytes": round(page.stat().st_size / 1e6, 2),
            "opened_s": round(statistics.median(seconds), 2),
            "opened_s_all": [round(each, 2) for each in seconds],
            "written_s": round(written, 1),
        }


if __name__ == "__main__":
    parser = arguments(__doc__)
    args = parser.parse_args()
    record(
        "report", {"runs": args.runs, "studies": [measured(name, study, args.runs) for name, study in STUDIES.items()]}
    )
