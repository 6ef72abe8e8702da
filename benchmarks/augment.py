"""Images a second that a training set in memory delivers: drawn, cropped, mirrored, normalised, ready for the network.

The peer is torchvision's way: a DataLoader with two workers, PIL images, RandomCrop, RandomHorizontalFlip, ToTensor,
Normalize.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import arguments, record

from podium.data.augment import Augment
from podium.data.dataset import Split
from podium.data.images import ArrayImages
from podium.data.loader import Loader
from podium.data.preprocessing import Preprocessing

IMAGES, BATCH = 60_000, 128
CASES = {"28x28 grey": (28, 1), "32x32 colour": (32, 3)}
PEER = """
import sys, time, numpy as np, torch, peer_torchvision
from PIL import Image
from torchvision import transforms as T
side, channels = int(sys.argv[1]), int(sys.argv[2])
x = np.random.default_rng(0).integers(0, 256, (60000, side, side, channels), dtype=np.uint8)
make = T.Compose([T.RandomCrop(side, padding=side // 8), T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize((0.5,) * channels, (0.25,) * channels)])
class Images(torch.utils.data.Dataset):
    def __len__(self): return len(x)
    def __getitem__(self, i): return make(Image.fromarray(x[i, ..., 0] if channels == 1 else x[i])), 0
loader = torch.utils.data.DataLoader(Images(), 128, shuffle=True, num_workers=2, persistent_workers=True)
for batch in loader: pass
start = time.perf_counter()
for batch in loader: pass
print(60000 / (time.perf_counter() - start))
"""


def ours(side: int, channels: int, runs: int) -> list[float]:
    """Images a second of some epochs after a first one that is not counted."""
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, side, side, channels), dtype=np.uint8)
    preprocessing = Preprocessing(side, channels, mean=(0.5,) * channels, std=(0.25,) * channels)
    loader = Loader(
        Split(np.zeros(IMAGES, np.int64), ArrayImages(pixels)),
        preprocessing,
        batch_size=BATCH,
        device=torch.device("cpu"),
        augment=Augment(crop="pad", crop_padding=0.125, flip=True),
    )
    rates = []
    for epoch in range(runs + 1):
        start = time.perf_counter()
        count = sum(len(batch.y) for batch in loader.epoch(epoch))
        rates.append(count / (time.perf_counter() - start))
    return rates[1:]


def peers(python: Path, side: int, channels: int) -> float:
    """Images a second of torchvision's DataLoader."""
    command = [python, "-W", "ignore", "-c", PEER, str(side), str(channels)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    figures: dict[str, Any] = {}
    for name, (side, channels) in CASES.items():
        rate = statistics.median(ours(side, channels, options.runs))
        figures[name] = {"images_per_second": round(rate)}
        if options.peer:
            theirs = peers(options.peer, side, channels)
            figures[name] |= {"peer_images_per_second": round(theirs), "times_faster": round(rate / theirs, 1)}
    record("augment", figures)


if __name__ == "__main__":
    main()
