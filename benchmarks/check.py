"""Images a second that `podium check` inspects: flower photos of at most 500 pixels, and the same enlarged to 12 megapixels.

Without label errors, with near duplicates; the page is not written. CPU time is given too, because it depends less on what else runs on
the machine. Our goal is over 1,000 photos of at most 500 pixels a second.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tarfile
import tempfile
import time
from pathlib import Path

from PIL import Image
from record import SHARED, arguments, record

from podium.api.check import check

COPIES, LARGE = 4, 24  # copies of the small photos, each changed by one byte of a comment; number of large ones
SIDES = 4000, 3000


def small(photos: Path, out: Path) -> None:
    """Write each photo several times, with different bytes and the same pixels."""
    for path in sorted(photos.rglob("*.jpg")):
        content = path.read_bytes()
        for copy in range(COPIES):
            place = out / path.parent.name / f"{copy}-{path.name}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content[:2] + b"\xff\xfe\0\4" + b"%02d" % copy + content[2:])


def large(photos: Path, out: Path) -> None:
    """Write some photos with 12 megapixels, as a camera saves them."""
    for number, path in enumerate(sorted(photos.rglob("*.jpg"))[:: 500 // LARGE][:LARGE]):
        place = out / str(number % 2) / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).resize(SIDES, Image.Resampling.BICUBIC).save(place, quality=92)


def rate(folder: Path, runs: int) -> dict[str, float | list[float]]:
    """Images a second, the median of some runs, and CPU milliseconds an image."""
    rates, cpu = [], []
    for _ in range(runs):
        start, used = time.perf_counter(), time.process_time()
        images = check(folder).images
        rates.append(images / (time.perf_counter() - start))
        cpu.append(1000 * (time.process_time() - used) / images)
    return {
        "images": images,
        "images_per_second": round(statistics.median(rates), 1),
        "runs": [round(one, 1) for one in rates],
        "cpu_milliseconds_per_image": round(min(cpu), 3),
    }


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        photos, folder = Path(temporary) / "photos", Path(temporary) / "small"
        with tarfile.open(SHARED / "data" / "flowers" / "flowers-500.tar") as archive:
            archive.extractall(photos, filter="data")
        small(photos, folder)
        check(folder)  # not counted
        figures = {"at_most_500_pixels": rate(folder, options.runs)}
        shutil.rmtree(folder)
        large(photos, folder)
        figures["12_megapixels"] = rate(folder, options.runs)
    record("check", {**figures, "cores": os.cpu_count(), "load_of_the_machine": round(os.getloadavg()[0], 1)})


if __name__ == "__main__":
    main()
