"""Images per second at inference: Podium's best engine beside torchvision in eager float32 and OpenVINO as a user runs it.

    python benchmarks/infer.py --nets resnet50 --peer PYTHON --seconds 4      # a network at a time: results are added to the file

The networks have weights drawn by chance and a linear classifier fitted to photos (`--data`), so that whether an engine keeps the
first class means something. It is asked about the photos it was fitted to: of others a network of chance is sure of none.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import ROOT, SHARED, arguments, record

import podium
from podium.bundle import Bundle
from podium.compression.int8 import openvino_int8
from podium.data.decode import Preprocessing
from podium.deployment import bench
from podium.deployment.export import card_of, onnx_bytes, save_ir, squares
from podium.deployment.graph import answer, graph_of
from podium.deployment.runtime import cores
from podium.evaluation.cost import count_net

OURS = {
    "resnet50": "resnet50",
    "vgg16": "vgg16",
    "googlenet": "googlenet_tv",
    "xception": "xception",
    "seresnet50": "seresnet50",
}
PEERS = ("resnet50", "vgg16", "googlenet")  # which torchvision has; the others are held to our own eager
BARS = {"resnet50": 3.5, "vgg16": 3.0, "googlenet": 5.5}
PHOTOS = 48


@torch.no_grad()
def prepared(name: str, data: Any) -> tuple[Bundle, np.ndarray]:
    """A network whose classifier knows the photos, and the photos."""
    torch.manual_seed(0)
    net = podium.create_model(name, num_classes=1000).eval()
    side = net.spec["image_size"]
    empty = Bundle(
        net, tuple(map(str, range(1000))), Preprocessing(side, 3, crop_pct=0.875, mean=(0.45,), std=(0.225,)), {}
    )
    photos, _ = squares(data, empty, PHOTOS, "train")
    x = (torch.tensor(photos).permute(0, 3, 1, 2).float() / 255 - 0.45) / 0.225
    for norm in (m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.train()
        norm.momentum = None
    net(x[::4])
    net.eval()
    head = net.head
    features = torch.cat([head.hidden(head.pool(net.forward_features(part))) for part in x.split(10)])
    labels = torch.tensor(
        data.splits["train"].labels[np.linspace(0, len(data.splits["train"]) - 1, len(x)).round().astype(int)]
    )
    mean, scale = features.mean(0), features.std(0) + 1e-6
    f = (features - mean) / scale
    kernel = f @ f.T + 0.1 * f.shape[1] * torch.eye(len(f))
    weights = f.T @ torch.linalg.solve(kernel, 20 * (torch.nn.functional.one_hot(labels, 1000).float() - 0.2))
    head.classifier.weight.copy_((weights / scale[:, None]).T)
    head.classifier.bias.copy_(-(mean / scale) @ weights)
    return empty, photos


def peer_rates(python: Path, net: str, seconds: float) -> dict[str, float]:
    command = [
        python,
        SHARED / "bench" / "peer_infer.py",
        "--net",
        net,
        "--seconds",
        str(seconds),
        "--engines",
        "eager,openvino",
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [json.loads(line) for line in said if line.startswith("{")]
    return {row["what"].rsplit(" ", 1)[1]: row["images_per_second"] for row in rows}


def measured(net: str, options: Any, data: Any) -> dict[str, Any]:
    """The peer, then a network in every engine."""
    bundle, images = prepared(OURS[net], data)
    reference = answer(bundle, images)[0].argmax(1)
    how: dict[str, Any] = {"macs": count_net(bundle.model).macs, "seconds": options.seconds}
    how |= {"threads": cores(), "batches": (1, options.batch)}
    engines = bench.engines_of(options.engines)
    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder) / "float.onnx", Path(folder) / "int8.xml"
        card = card_of(bundle, True)
        whole.write_bytes(onnx_bytes(graph_of(bundle, True), card))
        if not options.no_int8:
            save_ir(openvino_int8(whole.read_bytes(), images[:24]), card | {"dtype": "int8"}, small)
        peer = peer_rates(options.peer, net, options.seconds) if options.peer and net in PEERS else {}
        torch_ones = tuple(e for e in engines if e in ("compiled", *(() if peer else ("eager",))))
        runners = bench.runners(bundle, torch_ones, cores()), bench.file_runners(whole, engines, cores())
        files = bench.file_runners(small, ("openvino",), cores()) if small.is_file() else iter(())
        rows = bench.bench(net, itertools.chain(*runners, files), images, reference, **how)
    one = [row for row in rows if row.get("batch") == 1]
    rate = {(row["engine"], row["dtype"]): row["images_per_second"] for row in one}
    picked = bench.pick([row for row in one if row["dtype"] != "int8"])
    eager = peer.get("eager") or rate["eager", "float32"]
    ratios = {"picked_to_eager": picked["images_per_second"] / eager if picked else None, "asked_for": BARS.get(net)}
    if peer:
        ratios["picked_to_openvino"] = picked["images_per_second"] / peer["openvino"] if picked else None
    if ("openvino", "int8") in rate:
        ratios["int8_to_bfloat16"] = rate["openvino", "int8"] / rate["openvino", "bfloat16"]
    rounded = {key: round(value, 3) if value else value for key, value in ratios.items()}
    return {"peer": peer, "picked": picked, "ratios": rounded, "rows": rows}


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--nets", default=",".join(OURS), help="some of them [all]")
    parser.add_argument("--seconds", type=float, default=4.0, help="of timing each engine and batch [4]")
    parser.add_argument("--batch", type=int, default=16, help="the larger batch [16]")
    parser.add_argument("--engines", default="eager,onnxruntime,openvino", help="or all, with torch.compile")
    parser.add_argument("--no-int8", action="store_true", help="leave int8 out")
    parser.add_argument("--data", default=SHARED / "data" / "flowers" / "flowers-500.tar", help="photos [the flowers]")
    options = parser.parse_args()
    torch.set_num_threads(cores())
    data = podium.load_data(options.data)
    kept = ROOT / "benchmarks" / "results" / "infer.json"
    nets = json.loads(kept.read_text())["nets"] if kept.is_file() else {}
    for net in options.nets.split(","):
        nets[net] = measured(net, options, data)
        print(net, nets[net]["peer"], nets[net]["ratios"])
    record("infer", {"nets": nets})


if __name__ == "__main__":
    main()
