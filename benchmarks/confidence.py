"""How far confidences can be trusted: calibration on CIFAR-10, and digits told apart from clothes that no training image showed.

Calibration: the trained checkpoints of ../shared/data/weights answer the 10,000 test images of CIFAR-10. A temperature is fitted on
one half of them and measured on the other, and the same with the halves changed over: 15 bins of equal mass.

Unknown images: lenet5_modern is trained on MNIST, and scores that say "I know this" are compared on MNIST's test images and
Fashion-MNIST's: the share of pairs of a digit and a garment in which the digit scores higher (AUROC).
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import SHARED, arguments, record
from scipy.stats import rankdata

import podium
from podium.data.loader import Loader
from podium.evaluation.calibration import calibration_error, fit_temperature
from podium.evaluation.evaluate import evaluate
from podium.runs.answers import Rule
from podium.runs.bundle import Bundle, from_peer

CHECKPOINTS = {"resnet20": "resnet20-12fca82f.th", "resnet56": "resnet56-4bfd9763.th"}
OURS = 0.02, 0.95  # our targets: calibration error at most, AUROC at least


def logits_of(model: Bundle, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The logits and labels of a data set's test images."""
    images = podium.load_data(SHARED / "data" / name).splits["test"]
    outputs = evaluate(model.model, Loader(images, model.preprocessing, batch_size=250, device=torch.device("cpu")))
    return outputs.logits, outputs.labels


def error(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """The calibration error with a temperature."""
    p = Rule(temperature).probabilities(logits)
    return calibration_error(p.max(1), p.argmax(1) == labels)


def calibration(name: str, file: str) -> list[dict[str, Any]]:
    """Fit on one half of the test images and measure on the other, both times."""
    logits, labels = logits_of(from_peer(f"akamaster:{name}", SHARED / "data" / "weights" / file), "cifar10")
    rows = []
    for fitted in (0, 1):  # every second image
        temperature = fit_temperature(logits[fitted::2], labels[fitted::2])
        other = logits[1 - fitted :: 2], labels[1 - fitted :: 2]
        rows.append(
            {
                "model": name,
                "fitted_on": f"{len(labels[fitted::2])} test images, every second from {fitted}",
                "calibration_temperature": temperature,
                "top1": float((other[0].argmax(1) == other[1]).mean()),
                "before": error(*other, 1.0),
                "after": error(*other, temperature or 1.0),
            }
        )
    return rows


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """The share of pairs in which the known image scores higher; ties count half."""
    ranks = rankdata(np.concatenate([known, unknown]))[: len(known)]
    return float((ranks.sum() - len(known) * (len(known) + 1) / 2) / (len(known) * len(unknown)))


def scores(logits: np.ndarray, temperature: float) -> dict[str, np.ndarray]:
    """What may tell known images from unknown ones, the higher the better known."""
    wide = logits.astype(np.float64)
    p, calibrated = Rule().probabilities(wide), Rule(temperature).probabilities(wide)
    top = np.sort(calibrated, 1)
    return {
        "largest probability": p.max(1),
        "largest calibrated probability": calibrated.max(1),
        "margin of the two largest": top[:, -1] - top[:, -2],
        "negative entropy": (calibrated * np.log(np.maximum(calibrated, 1e-300))).sum(1),
        "largest logit": wide.max(1),
        "negative energy": np.logaddexp.reduce(wide, axis=1),
    }


def unknown(seed: int) -> dict[str, Any]:
    """Train on MNIST with validation images, and compare the scores."""
    with tempfile.TemporaryDirectory() as folder:
        run = podium.train(
            "lenet5_modern", SHARED / "data" / "mnist", Path(folder) / "run", epochs=2, seed=seed, val=0.1
        )
        model, result = podium.load(run.path), run.result
    fitted = result["confidence"]
    temperature = fitted["calibration_temperature"] or 1.0
    digits, clothes = (logits_of(model, name)[0] for name in ("mnist", "fashion-mnist"))
    known, other = scores(digits, temperature), scores(clothes, temperature)
    rule = Rule.of_card(model.card, model.classes)
    answered = [float((rule.answers(rule.probabilities(each)) >= 0).mean()) for each in (digits, clothes)]
    return {
        "seed": seed,
        "top1": result["top1"],
        "calibration_temperature": fitted["calibration_temperature"],
        "threshold": fitted["threshold"],
        "answered": {"mnist": answered[0], "fashion-mnist": answered[1]},
        "auroc": {name: auroc(known[name], other[name]) for name in known},
    }


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    rows = [row for name, file in CHECKPOINTS.items() for row in calibration(name, file)]
    runs = [unknown(seed) for seed in range(options.runs)]
    names = runs[0]["auroc"]
    mean = {name: statistics.fmean(run["auroc"][name] for run in runs) for name in names}
    record("confidence", {"targets": OURS, "calibration": rows, "unknown": runs, "mean_auroc": mean})


if __name__ == "__main__":
    main()
