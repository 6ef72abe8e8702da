"""What a heat map costs an exported file: its latency and its size beside those of the same network without one, call by call in turn."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from record import arguments, record

from podium import create_model
from podium.data.preprocessing import Preprocessing
from podium.deployment.export import card_of, onnx_bytes
from podium.deployment.graph import graph_of
from podium.deployment.runtime import FILE_ENGINES, Exported, load_exported
from podium.runs.bundle import Bundle

NETS = {
    "lenet5_modern": {"image_size": 28},
    "resnet20": {},
    "mobilenet_v1": {},
    "alexnet": {},
    "resnet50": {},
    "densenet121": {},
    "vgg16": {},
}
BATCHES = (1, 8)


def exported(name: str, folder: Path) -> list[Path]:
    """Write the files of a network of random weights: without and with a heat map."""
    net = create_model(name, **NETS[name]).eval()
    classes = tuple(map(str, range(net.spec["num_classes"])))
    bundle = Bundle(net, classes, Preprocessing(net.spec["image_size"], net.spec["in_chans"]), {})
    paths = []
    for heat_map in (False, True):
        path = folder / f"{name}-{heat_map}.onnx"
        path.write_bytes(onnx_bytes(graph_of(bundle, True, heat_map), card_of(bundle, True, heat_map)))
        paths.append(path)
    return paths


def timed(models: list[Exported], batch: int, seconds: float) -> dict[str, Any]:
    """Median milliseconds of a call of each, and the quartiles over pairs of calls, in alternating order, of their ratio.

    The ratio of processor time is that of the whole process: it stays right on a busy machine, where threads of the engine do
    not wait for each other.
    """
    p = models[0].preprocessing
    squares = np.zeros((batch, p.image_size, p.image_size, p.channels), np.uint8)
    wall, processor = np.zeros((0, 2)), np.zeros((0, 2))
    until = time.perf_counter() + seconds
    while len(wall) < 10 or time.perf_counter() < until:
        pair = np.zeros((2, 2))
        for which in (0, 1) if len(wall) % 2 else (1, 0):
            start = time.perf_counter(), time.process_time()
            models[which].outputs_of(squares)
            pair[:, which] = time.perf_counter() - start[0], time.process_time() - start[1]
        wall, processor = np.vstack([wall, pair[0]]), np.vstack([processor, pair[1]])
    without, with_map = 1000 * np.median(wall, 0)
    return {
        "pairs": len(wall),
        "without_ms": round(float(without), 3),
        "with_ms": round(float(with_map), 3),
        "ratio_quartiles": quartiles(wall),
        "processor_ratio_quartiles": quartiles(processor),
    }


def quartiles(pairs: np.ndarray) -> list[float]:
    """Of the second over the first time of each pair (N, 2)."""
    return [round(float(q), 4) for q in np.quantile(pairs[:, 1] / pairs[:, 0], (0.25, 0.5, 0.75))]


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--nets", default=",".join(NETS), help="of this file's list [all]")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each network, engine and batch [10]")
    parser.add_argument("--threads", type=int, default=2, help="of the engine [2]")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    for name in options.nets.split(","):
        with tempfile.TemporaryDirectory() as folder:
            paths = exported(name, Path(folder))
            without, with_map = (path.stat().st_size for path in paths)
            rows: dict[str, Any] = {"bytes_without": without, "bytes_with": with_map}
            for engine in FILE_ENGINES:
                models = [load_exported(path, engine=engine, threads=options.threads) for path in paths]
                rows[engine] = {str(batch): timed(models, batch, options.seconds) for batch in BATCHES}
            figures[name] = rows
    record("heat_map", {"threads": options.threads, "figures": figures})


if __name__ == "__main__":
    main()
