"""Peak memory of `podium compare` on photos at 224 px with the networks it takes by itself, in a process of its own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import ROOT, SHARED, arguments, record

NETWORKS = "mobilenet_v1_050,mobilenet_v1,googlenet_tv,resnet18,resnet50"  # those that photos are compared by


def main() -> None:
    """Measure one comparison and keep it beside those of other networks."""
    from podium.platform import cores
    from podium.settings import read_file

    parser = arguments(__doc__ or "")
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "flowers", help="photos [flowers]")
    parser.add_argument("--models", default=NETWORKS, help=f"networks [{NETWORKS}]")
    parser.add_argument("--length", default="--steps 4", help="of each training [--steps 4]")
    options = parser.parse_args()
    words = ["compare", str(options.data), "-m", options.models, "--scratch", "--image-size", "224"]
    words += options.length.split()
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        subprocess.run([sys.executable, "-m", "podium", *words, "-o", str(Path(folder) / "board")], check=True)
        seconds = time.monotonic() - start
        precisions = {str(read_file(file)["amp"]) for file in Path(folder).glob("board/*/settings.yaml")}
        left = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    unit = 1 if sys.platform == "darwin" else 1024
    peak = unit * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # of the largest child
    row = {
        "networks": options.models,
        "length": options.length,
        "threads": cores(),
        "amp": ", ".join(sorted(precisions)),
    }
    row |= {"peak_gb": round(peak / 1e9, 2), "left_on_disk_gb": round(left / 1e9, 2), "seconds": round(seconds, 1)}
    file = ROOT / "benchmarks" / "results" / "memory.json"
    earlier = json.loads(file.read_text())["comparisons"] if file.is_file() else []
    others = [other for other in earlier if other["networks"] != options.models]
    record("memory", {"comparisons": [*others, row]})


if __name__ == "__main__":
    main()
