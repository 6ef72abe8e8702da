"""Images per second at inference: Podium's engines beside torchvision in eager float32 and OpenVINO as a user runs it.

    python benchmarks/infer.py --nets resnet50 --prepare                       # networks, files, agreement: once
    python benchmarks/infer.py --nets resnet50 --peer PYTHON --runs 2          # a network at a time: added to the file

The networks have weights drawn by chance and a linear classifier fitted to photos (`--data`), so that whether an engine keeps the
first class means something. It is asked about the photos it was fitted to: of others a network of chance is sure of none.
"""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import ROOT, SHARED, arguments, record

import podium
from podium.compression.int8 import openvino_int8
from podium.data.preprocessing import Preprocessing
from podium.deployment import engine_speed, engines
from podium.deployment.export import card_of, onnx_bytes, save_ir, squares
from podium.deployment.graph import graph_of
from podium.evaluation.cost import count_net
from podium.platform import cores
from podium.runs.bundle import Bundle

OURS = {
    "resnet50": "resnet50",
    "vgg16": "vgg16",
    "googlenet": "googlenet_tv",
    "xception": "xception",
    "seresnet50": "seresnet50",
}
PEERS = ("resnet50", "vgg16", "googlenet")  # which torchvision has; the others are held to our own eager
BARS = {"resnet50": 3.5, "vgg16": 3.0, "googlenet": 5.5}
PHOTOS = 100
RIDGE = 0.1  # of the regression, a share of the features' number
CALIBRATION = 24  # photos on which int8's ranges are measured
CACHE = ROOT / "build" / "infer"


@torch.no_grad()
def fitted(name: str, data: Any) -> tuple[Bundle, np.ndarray, np.ndarray]:
    """A network whose classifier knows the photos, the photos, and its logits of them in eager float32."""
    torch.manual_seed(0)
    net = podium.create_model(name, num_classes=1000).eval()
    side = net.spec["image_size"]
    names = tuple(map(str, range(1000)))
    bundle = Bundle(net, names, Preprocessing(side, 3, crop_pct=0.875, mean=(0.45,), std=(0.225,)), {})
    photos, _ = squares(data, bundle, PHOTOS, "train")
    x = (torch.tensor(photos).permute(0, 3, 1, 2).float() / 255 - 0.45) / 0.225
    for norm in (m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.train()
        norm.momentum = None
    net(x[::8])
    net.eval()
    head = net.head
    eager = torch.cat([head.hidden(head.pool(net.forward_features(part))) for part in x.split(20)])
    features = eager.double()
    rows = np.linspace(0, len(data.splits["train"]) - 1, len(x)).round().astype(int)
    labels = torch.tensor(data.splits["train"].labels[rows])
    mean, scale = features.mean(0), features.std(0) + 1e-6
    f = (features - mean) / scale
    kernel = f @ f.T + RIDGE * f.shape[1] * torch.eye(len(f))  # ridge regression on the photos
    weights = f.T @ torch.linalg.solve(kernel, 20 * (torch.nn.functional.one_hot(labels, 1000).double() - 0.2))
    head.classifier.weight.copy_((weights / scale[:, None]).T)
    head.classifier.bias.copy_(-(mean / scale) @ weights)
    return bundle, photos, head.classifier(eager).numpy()


def prepare(net: str, data: Any, folder: Path) -> None:
    """Everything that is timed as files, and how far each answers as eager float32 does."""
    folder.mkdir(parents=True, exist_ok=True)
    bundle, photos, logits = fitted(OURS[net], data)
    card, whole = card_of(bundle, True), folder / "float.onnx"
    whole.write_bytes(onnx_bytes(graph_of(bundle, True), card))
    save_ir(
        openvino_int8(whole.read_bytes(), photos[:: PHOTOS // CALIBRATION]),
        card | {"dtype": "int8"},
        folder / "int8.xml",
    )
    best = np.sort(logits, 1)
    facts = {
        "macs": count_net(bundle.model).macs,
        "classes": len(np.unique(logits.argmax(1))),
        "margin": {str(q): round(float(np.quantile(best[:, -1] - best[:, -2], q)), 3) for q in (0, 0.01, 0.5)},
        "agreement": {
            f"{r.engine}, {r.dtype}": engine_speed.agreement(r.call, photos, logits.argmax(1))
            for r in from_files(folder)
        },
    }
    np.save(folder / "photos.npy", photos[:32])
    (folder / "facts.json").write_text(json.dumps(facts, indent=1))
    print(net, json.dumps(facts))


def from_files(folder: Path) -> Iterator[engines.Runner]:
    """The prepared files in their engines."""
    made = itertools.chain(
        engines.file_runners(folder / "float.onnx", ("onnxruntime", "openvino"), cores()),
        engines.file_runners(folder / "int8.xml", ("openvino",), cores()),
    )
    return (runner for runner in made if isinstance(runner, engines.Runner))


def peer_rates(python: Path, net: str, batch: int, seconds: float) -> dict[str, float]:
    script = SHARED / "bench" / "peer_infer.py"
    words = ["--net", net, "--batch", batch, "--seconds", seconds, "--engines", "eager,openvino"]
    said = subprocess.run([python, script, *map(str, words)], capture_output=True, text=True, check=True).stdout
    rows = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return {row["what"].rsplit(" ", 1)[1]: row["images_per_second"] for row in rows}


def measured(net: str, options: Any, folder: Path) -> dict[str, Any]:
    """The peer, then the network in every engine, in turn; medians over the runs."""
    facts, images = json.loads((folder / "facts.json").read_text()), np.load(folder / "photos.npy")
    timing = engine_speed.Timing(options.seconds, batches=(options.batch,))
    runners = list(from_files(folder))
    bundle = Bundle(podium.create_model(OURS[net]).eval(), (), Preprocessing(images.shape[1], 3), {})
    # Of fresh weights: rows to compare, never picked.
    in_torch = ("compiled",) if net in PEERS else ("eager", "compiled")
    runners += [
        runner for runner in engines.runners_of(bundle, in_torch, cores()) if isinstance(runner, engines.Runner)
    ]
    peers, ours = [], []
    for _ in range(options.runs):
        if options.peer and net in PEERS:
            peers.append(peer_rates(options.peer, net, options.batch, options.seconds))
        found = engine_speed.time_engines(net, iter(runners), images, None, facts["macs"], timing)
        ours.append([row for row in found if isinstance(row, engine_speed.EngineRow) and row.batch == options.batch])
    rows: list[engine_speed.EngineRow] = []
    runs: dict[str, list[float]] = {}
    for same in zip(*ours, strict=True):
        row = sorted(same, key=lambda row: row.images_per_second)[(len(same) - 1) // 2]
        key = f"{row.engine}, {row.dtype}"
        runs[key] = [r.images_per_second for r in same]
        rate = round(statistics.median(runs[key]), 1)
        rows.append(replace(row, images_per_second=rate, agreement=facts["agreement"].get(key)))
    peer = {key: round(statistics.median(p[key] for p in peers), 1) for key in (peers[0] if peers else ())}
    picked = engine_speed.pick([row for row in rows if row.dtype != "int8"], None)
    rates = {(row.engine, row.dtype): row.images_per_second for row in rows}
    top, eager = picked.images_per_second if picked else 0.0, peer.get("eager") or rates["eager", "float32"]
    ratios = {"picked_to_eager": round(top / eager, 3), "asked_for": BARS.get(net)}
    if peer:
        ratios["picked_to_peer_openvino"] = round(top / peer["openvino"], 3)
    ratios["int8_to_bfloat16"] = round(rates["openvino", "int8"] / rates["openvino", "bfloat16"], 3)
    return {
        "peer": peer,
        "peer_runs": peers,
        "picked": picked and f"{picked.engine}, {picked.dtype}",
        "ratios": ratios,
        "facts": facts,
        "rows": [{**row.to_dict(), "runs": runs[f"{row.engine}, {row.dtype}"]} for row in rows],
    }


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--nets", default=",".join(OURS), help="some of them [all]")
    parser.add_argument("--prepare", action="store_true", help="make the files that are timed, and time nothing")
    parser.add_argument("--seconds", type=float, default=4.0, help="of timing each engine [4]")
    parser.add_argument("--batch", type=int, default=1, help="images a pass [1]")
    parser.add_argument("--data", default=SHARED / "data" / "flowers" / "flowers-500.tar", help="photos [the flowers]")
    options = parser.parse_args()
    torch.set_num_threads(cores())
    kept = ROOT / "benchmarks" / "results" / "infer.json"
    for net in options.nets.split(","):
        if options.prepare:
            prepare(net, podium.load_data(options.data), CACHE / net)
            continue
        nets = json.loads(kept.read_text())["nets"] if kept.is_file() else {}
        nets.setdefault(net, {})[f"batch {options.batch}"] = measured(net, options, CACHE / net)
        record("infer", {"nets": nets})


if __name__ == "__main__":
    main()
