"""Images a second that photos deliver: decoded, cropped at random to 224 pixels, mirrored, normalised, ready for the network.

The flowers as JPEG files, and packed by `podium pack`. The peer is torchvision's way with the files: a DataLoader with
two workers, RandomResizedCrop, RandomHorizontalFlip, ToTensor, Normalize. Runs alternate; the ratio is that of medians. Also
what it takes one thread to decode a photo, by Pillow and by libjpeg-turbo directly.
"""

from __future__ import annotations

import statistics
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import SHARED, arguments, peer, record

from podium.data.augment import Augment
from podium.data.dataset import Split
from podium.data.decode import decode, decode_pixels
from podium.data.loader import Loader
from podium.data.pack import write_pack
from podium.data.preprocessing import Preprocessing
from podium.data.sources import load_data, read

SIDE, BATCH, WORKERS, SECONDS = 224, 64, 2, 10
AUGMENT = Augment(crop="area", crop_range=(0.08, 1.0), flip=True)


def ours(source: Path) -> float:
    """Images a second of whole epochs, after one that is not counted."""
    data = load_data(source)
    preprocessing = Preprocessing(SIDE, 3, mean=data.mean, std=data.std)
    loader = Loader(
        data.splits["train"],
        preprocessing,
        batch_size=BATCH,
        device=torch.device("cpu"),
        augment=AUGMENT,
        workers=WORKERS,
    )
    epoch = count = 0
    start = time.perf_counter()
    while epoch < 2 or time.perf_counter() - start < SECONDS:
        count += sum(len(batch.y) for batch in loader.epoch(epoch))
        epoch += 1
        if epoch == 1:
            count, start = 0, time.perf_counter()
    return count / (time.perf_counter() - start)


def theirs(python: Path, folder: Path) -> float:
    """Images a second of the peer, after a batch that is not counted."""
    words = ["--data", str(folder / "train"), "--size", str(SIDE), "--batch", str(BATCH), "--workers", str(WORKERS)]
    return peer(python, "peer_train.py", *words, "--seconds", str(SECONDS), "--data-only")["images_per_second"]


def milliseconds(split: Split) -> dict[str, float]:
    """To decode a photo as pixels, in one thread, by either way."""
    photos = [file.read() for file in split.files or ()]
    ways = {
        "Pillow": lambda data: np.asarray(decode(data, "", 3)),
        "simplejpeg": lambda data: decode_pixels(data, "", 3),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(5):
        for name, way in ways.items():
            start = time.perf_counter()
            for data in photos:
                way(data)
            taken[name].append(1000 * (time.perf_counter() - start) / len(photos))
    return {name: round(statistics.median(times), 3) for name, times in taken.items()}


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    rates: dict[str, list[float]] = {"JPEG": [], "packed": [], "peer": []}
    with tempfile.TemporaryDirectory() as temporary:
        photos, packed = Path(temporary) / "photos", Path(temporary) / "packed"
        with tarfile.open(SHARED / "data" / "flowers" / "flowers-500.tar") as archive:
            archive.extractall(photos, filter="data")
        start = time.perf_counter()
        write_pack(read(photos), packed)
        seconds = time.perf_counter() - start
        decoding = milliseconds(read(photos).splits["train"])
        for _ in range(options.runs):
            rates["JPEG"].append(ours(photos))
            if options.peer:
                rates["peer"].append(theirs(options.peer, photos))
            rates["packed"].append(ours(packed))
    figures: dict[str, Any] = {
        "side": SIDE,
        "batch": BATCH,
        "workers": WORKERS,
        "seconds_to_pack": round(seconds, 2),
        "milliseconds_to_decode": decoding,
    }
    for name, measured in rates.items():
        if measured:
            figures[name] = {
                "images_per_second": round(statistics.median(measured)),
                "runs": [round(rate) for rate in measured],
            }
            if rates["peer"] and name != "peer":
                ratio = statistics.median(measured) / statistics.median(rates["peer"])
                figures[name]["times_faster"] = round(ratio, 2)
    record("loader", figures)


if __name__ == "__main__":
    main()
