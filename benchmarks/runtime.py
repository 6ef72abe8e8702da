"""What running an exported file costs before its first answer: seconds of import, memory, seconds to an answer; no torch in the process."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from record import arguments, record

CHILD = """
import json, resource, sys, time
start = time.perf_counter()
from podium.deployment.load import load
import {engine}
imported = time.perf_counter() - start
model = load(sys.argv[1], engine="{engine}")
model.predict(sys.argv[2])
answered = time.perf_counter() - start
peak = next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM")) / 1024
now = next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmRSS")) / 1024
print(json.dumps({{"import_s": imported, "first_answer_s": answered, "rss_mb": now, "peak_rss_mb": peak, "torch": "torch" in sys.modules}}))
"""


def once(engine: str, model: Path, image: Path) -> dict[str, Any]:
    words = [sys.executable, "-c", CHILD.format(engine=engine), model, image]
    return json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    import numpy as np
    from PIL import Image

    import podium
    from podium.data.preprocessing import Preprocessing
    from podium.deployment.export import card_of, onnx_bytes
    from podium.deployment.graph import graph_of
    from podium.runs.bundle import Bundle

    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "photo.jpg"
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (375, 500, 3), np.uint8)).save(image)
        for name, form in (("resnet20", {"num_classes": 10}), ("resnet50", {})):
            net = podium.create_model(name, **form).eval()
            classes = tuple(map(str, range(net.spec["num_classes"])))
            b = Bundle(net, classes, Preprocessing(net.spec["image_size"], 3), {})
            path = Path(folder) / f"{name}.onnx"
            path.write_bytes(onnx_bytes(graph_of(b, True), card_of(b, True)))
            for engine in ("onnxruntime", "openvino"):
                runs = [once(engine, path, image) for _ in range(max(3, options.runs))]
                middle = {key: round(statistics.median(r[key] for r in runs), 3) for key in runs[0] if key != "torch"}
                figures[f"{name}, {engine}"] = {
                    "model_mb": round(path.stat().st_size / 1e6, 1),
                    **middle,
                    "torch": runs[0]["torch"],
                }
    record("runtime", {"figures": figures})


if __name__ == "__main__":
    main()
