"""Likely label errors that `podium check --labels` finds on Fashion-MNIST, of whose 60,000 training labels 2 % are changed at random.

Recall is the share of the changed labels that it names, precision the share of the named labels that were changed. Labels of
Fashion-MNIST that are wrong or ambiguous in the original count against precision. The goal of ours is a recall of 80 % at a precision
of 50 %.
"""

from __future__ import annotations

import time

import numpy as np
from record import SHARED, arguments, record

from podium.data.check_report import Checked, CheckReport
from podium.data.label_errors import add_label_errors
from podium.data.sources import read

CHANGED = 0.02


def found(seed: int) -> dict[str, float]:
    """Recall, precision and seconds with labels changed by one seed."""
    data = read(SHARED / "data" / "fashion-mnist")
    part, draw, count = data.splits["train"], np.random.default_rng(seed), len(data.classes)
    wrong = draw.random(len(part)) < CHANGED
    labels = np.where(wrong, (part.labels + draw.integers(1, count, len(part))) % count, part.labels)
    report = CheckReport("fashion-mnist", len(part), {name: {"train": 1} for name in data.classes})
    report.checked = [
        Checked(str(row), "train", data.classes[label], part.images, row) for row, label in enumerate(labels.tolist())
    ]
    start, cpu = time.perf_counter(), time.process_time()
    add_label_errors(report)
    named = np.zeros(len(part), bool)
    named[[int(problem.path) for problem in report.problems]] = True
    return {
        "changed": int(wrong.sum()),
        "named": int(named.sum()),
        "recall": round(float((named & wrong).sum() / wrong.sum()), 4),
        "precision": round(float((named & wrong).sum() / named.sum()), 4),
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
    }


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    record(
        "label_errors", {"images": 60_000, "share_changed": CHANGED, "seeds": [found(s) for s in range(options.runs)]}
    )


if __name__ == "__main__":
    main()
