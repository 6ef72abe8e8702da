"""Images a second in training, whole steps: load, augment, forward, backward, optimiser; against torchvision's way in turn.

The peer is ../shared/bench/peer_train.py: torchvision's models, transforms and DataLoader with two workers, eager float32.
Both train the same network on the same images at the same size and batch, for the same time, in processes of their own.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from itertools import cycle
from pathlib import Path
from typing import Any

from record import SHARED, arguments, peer, record

# name: (data, our network, the peer's name of it, side in pixels, images a step)
CASES = {
    "resnet18 on CIFAR-10": ("cifar10", "resnet18", "resnet18", 32, 128),
    "vgg11 on CIFAR-10": ("cifar10", "vgg11", "vgg11", 32, 128),
    "resnet50 on flowers": ("flowers", "resnet50", "resnet50", 224, 16),
    "alexnet_owt on flowers": ("flowers", "alexnet_owt", "alexnet", 224, 32),
}


def ours(data: str, name: str, side: int, batch: int, seconds: float) -> dict[str, Any]:
    """Steps as `podium train` takes them, after one that is not counted; the networks are in their full forms."""
    import resource

    import torch

    from podium.data.sources import load_data
    from podium.settings import Settings
    from podium.training.distributed.parallel import Objective
    from podium.training.optim import make_optimizer, set_learning_rate
    from podium.training.prepare import prepare
    from podium.training.step import Passes, forward_backward
    from podium.weights.create import create_model

    images = load_data(data)
    net = create_model(name, num_classes=len(images.classes))
    net.spec = {**net.spec, "image_size": side}  # the 224 px network on smaller images, as the peer has it
    crop = "pad" if images.splits["train"].pixels is not None else "area"
    settings = Settings(model=name, data=data, batch_size=batch, lr=0.01, crop=crop, flip=True, weight_decay=0.0)
    plan = prepare(settings, images, net)
    net = plan.net
    optimizer = make_optimizer(net, plan.settings)
    objective = Objective(net, plan.criterion)
    seen, start = 0, 0.0
    for step, batch_ in enumerate(b for epoch in cycle([0]) for b in plan.train.epoch(epoch)):
        set_learning_rate(optimizer, 0.01)
        forward_backward(Passes(net, optimizer, plan.settings, plan.amp), batch_, objective, step)
        optimizer.step()
        if step == 0:
            start = time.perf_counter()
            continue
        seen += len(batch_.y)
        if time.perf_counter() - start > seconds:
            break
    rate = seen / (time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "images_per_second": round(rate, 1),
        "dtype": "bfloat16" if plan.amp else "float32",
        "peak_memory_mb": round(peak),
        "gmacs_per_second": round(3 * plan.cost.macs * rate / 1e9, 1),  # backward costs two forwards
        "threads": torch.get_num_threads(),
    }


def peak_rates() -> dict[str, float]:
    """Multiply-adds a second that a large matrix product reaches here, in G, by dtype."""
    import torch

    rates = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
        times = []
        for _ in range(6):
            start = time.perf_counter()
            a @ b
            times.append(time.perf_counter() - start)
        rates[str(dtype).removeprefix("torch.")] = round(2048**3 / min(times) / 1e9, 1)
    return rates


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--seconds", type=float, default=20, help="of each run [20]")
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument("--one", nargs=5, help="one run of ours, as a line of JSON: DATA NETWORK SIDE BATCH SECONDS")
    options = parser.parse_args()
    if options.one:
        data, name, side, batch, seconds = options.one
        print(json.dumps(ours(data, name, int(side), int(batch), float(seconds))))
        return
    figures: dict[str, Any] = {"peak_gmacs_per_second": peak_rates()}
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(SHARED / "data" / "flowers" / "flowers-500.tar") as archive:
            archive.extractall(folder, filter="data")
        sources = {"cifar10": (SHARED / "data" / "cifar10", "cifar10"), "flowers": (folder, f"{folder}/train")}
        for case, (data, name, theirs, side, batch) in CASES.items():
            if options.only not in case:
                continue
            here, there = sources[data]
            runs, peers = [], []
            for _ in range(options.runs):
                words = ["--one", here, name, side, batch, options.seconds]
                command = [sys.executable, __file__, *map(str, words)]
                said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                runs.append(json.loads(said.splitlines()[-1]))
                if options.peer:
                    words = ["--data", there, "--net", theirs, "--size", side, "--batch", batch]
                    words += ["--seconds", options.seconds]
                    peers.append(peer(options.peer, "peer_train.py", *map(str, words)) | {"data": data})
            middle = statistics.median(run["images_per_second"] for run in runs)
            share = runs[0]["gmacs_per_second"] / figures["peak_gmacs_per_second"][runs[0]["dtype"]]
            figures[case] = {"podium": runs, "median_images_per_second": middle, "share_of_peak": round(share, 3)}
            if peers:
                other = statistics.median(run["images_per_second"] for run in peers)
                figures[case] |= {"peer": peers, "times_faster": round(middle / other, 2)}
    record("train", figures)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
