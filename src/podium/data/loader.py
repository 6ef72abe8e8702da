"""Batches for a network: which images, in which order, and where in the epoch we are."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from podium.data import augment as aug
from podium.data.augment import Augment
from podium.data.dataset import Split
from podium.data.decode import Preprocessing
from podium.data.memory import keep_freed_memory
from podium.errors import DataError, MachineError

RESIDENT_BYTES = 2 << 30  # an in-memory set resized to more than this is resized batch by batch instead
PREFETCH = 3  # batches decoded ahead
TOGETHER = 8  # images that a thread decodes before it hands them over: threads that meet less often wait less
HUNG = 120.0  # seconds after which images that have not been decoded count as hung


@dataclass(frozen=True)
class Batch:
    """Images ready for a network.

    Args:
        x: (N, C, H, W) float32, normalised, channels last in memory.
        y: (N,) int64 labels.
        index: (N,) int64, which images of the split.
    """

    x: Tensor
    y: Tensor
    index: Tensor


class Loader:
    """Batches of one split.

    Images small enough live on the device as uint8 and are indexed there; files are decoded by threads, which Pillow
    lets run beside the training, some batches ahead. The order and every augmentation depend only on (seed, epoch, image),
    so neither the number of workers nor a resume in mid-epoch changes a batch.

    Args:
        split: images and labels.
        preprocessing: size, channels and normalisation.
        batch_size: images a batch.
        device: where batches are made.
        seed: of order and augmentation.
        augment: for training: shuffled, the incomplete last batch left for other epochs; None: in order, every image once.
        workers: decoding threads; 0 decodes in the caller's.
    """

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        device: torch.device,
        seed: int = 0,
        augment: Augment | None = None,
        workers: int = 2,
    ) -> None:
        keep_freed_memory()
        if len(split) == 0:
            raise DataError("there is no image to load", "check the split with `podium check`")
        self.split, self.preprocessing, self.device = split, preprocessing, device
        self.seed, self.augment, self.workers = seed, augment, workers
        self.batch_size = min(batch_size, len(split))
        full, rest = divmod(len(split), self.batch_size)
        self.steps = full if augment is not None else full + (rest > 0)
        self.labels = torch.from_numpy(np.ascontiguousarray(split.labels, dtype=np.int64)).to(device)
        self.padding = aug.padding(augment, preprocessing.image_size)
        self.resident = self._resident()
        mean = torch.tensor(preprocessing.mean, device=device)
        self.std = torch.tensor(preprocessing.std, device=device)
        across = preprocessing.image_size, preprocessing.channels  # a row of pixels at once: long loops are fast loops
        self.scale, self.offset = ((v.expand(across)).flatten() for v in (1 / (255 * self.std), -mean / self.std))

    def __len__(self) -> int:
        return self.steps

    def _resident(self) -> Tensor | None:
        """The whole split as (M, H, W, C) uint8 on the device, padded for its crops, where it lies in memory and fits."""
        size, channels = self.preprocessing.image_size, self.preprocessing.channels
        pixels = self.split.pixels
        if pixels is None or len(pixels) * size * size * channels > RESIDENT_BYTES:
            return None
        if pixels.shape[1:] != (size, size, channels):
            with ThreadPoolExecutor(max(1, self.workers)) as pool:
                pixels = np.stack(list(pool.map(self._fitted, range(len(pixels)))))
        return self._padded(torch.tensor(pixels, device=self.device))  # a copy: what was read is not writable

    def _padded(self, pixels: Tensor) -> Tensor:
        p = self.padding
        return F.pad(pixels, (0, 0, p, p, p, p)) if p else pixels

    def _fitted(self, index: int) -> np.ndarray:
        return self.preprocessing.square(self.split.image(index, self.preprocessing.channels))

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `start` on.

        Args:
            epoch: decides order and augmentation in training.
            start: batches to leave out at the beginning, as after a resume.
        """
        if self.augment is None:
            order = torch.arange(len(self.split))
        else:
            generator = torch.Generator().manual_seed(aug.key(self.seed, epoch, "order"))
            order = torch.randperm(len(self.split), generator=generator)
        everything = torch.arange(len(self.split), device=self.device)
        size = self.preprocessing.image_size
        drawn = aug.shifts(self.augment, size, self.seed, epoch, everything) if self.augment is not None else None
        crops = self._crops(epoch, everything)
        batches = [order[n * self.batch_size : (n + 1) * self.batch_size] for n in range(start, self.steps)]
        if self.resident is not None:
            for rows in batches:
                index = rows.to(self.device)
                yield self._finish(self.resident, index, index, epoch, drawn, crops)
            return
        read = self._fitted
        if self.augment is not None and drawn is not None and crops is not None and self.preprocessing.resize == "crop":
            # cut out of the whole image while it is there; what is padded or stretched is cropped on the device
            mirrored = drawn.mirrored.cpu().numpy() if drawn.mirrored is not None else None
            read = partial(self._cropped, self.augment, crops.cpu().numpy(), mirrored)
            drawn = crops = None
        for rows, images in self.decoded(batches, read):
            pixels = torch.from_numpy(np.stack(images))
            index, padded = rows.to(self.device), self._padded(pixels.to(self.device))
            yield self._finish(padded, everything[: len(rows)], index, epoch, drawn, crops)

    def _crops(self, epoch: int, index: Tensor) -> Tensor | None:
        if self.augment is None or self.augment.crop not in ("scale", "area"):
            return None
        return aug.crop_draws(self.augment, self.seed, epoch, index)

    def _finish(
        self, pixels: Tensor, rows: Tensor, index: Tensor, epoch: int, drawn: aug.Shifts | None, crops: Tensor | None
    ) -> Batch:
        """Augment and normalise: rows of `pixels` (M, H, W, C) uint8, padded, become a batch."""
        a, size = self.augment, self.preprocessing.image_size
        if drawn is not None and (self.padding or drawn.mirrored is not None):
            x = aug.shift_and_flip(pixels, rows, size, drawn, index)
        else:
            x = pixels[rows] if self.resident is not None else pixels
        x = self.normalized(x)
        if a is not None:
            if crops is not None:
                boxes = aug.crop_boxes(a, crops[:, index], size, size)
                x = aug.crop_and_resize(x, torch.stack(boxes, 1))
            if a.colour:
                order = self.preprocessing.channel_order
                x = aug.colour_noise(x, a.colour, self.std, self.seed, epoch, index, order)
            if a.erase:
                x = aug.erase(x, a.erase, self.seed, epoch, index)
        return Batch(x, self.labels[index], index)

    def normalized(self, pixels: Tensor) -> Tensor:
        """Pixels as the network takes them.

        Args:
            pixels: (N, H, W, C) uint8 in RGB, on the device; any height and width.

        Returns:
            (N, C, H, W) float32 in the network's order of channels, channels last in memory.
        """
        if self.preprocessing.channel_order == "bgr":
            pixels = pixels.flip(3)
        _, _, width, channels = pixels.shape
        scale, offset = self.scale, self.offset
        if width != self.preprocessing.image_size:
            scale, offset = scale[:channels].repeat(width), offset[:channels].repeat(width)
        x = pixels.flatten(2).float().mul_(scale).add_(offset)
        return x.unflatten(2, (width, -1)).permute(0, 3, 1, 2)

    def _cropped(self, augment: Augment, crops: np.ndarray, mirrored: np.ndarray | None, index: int) -> np.ndarray:
        """The drawn crop of an image, out of all its pixels, or of a JPEG out of as many as its size asks for."""
        p, times = self.preprocessing, 1
        box: tuple[float, ...] = ()

        def shrink(width: int, height: int) -> int:
            nonlocal box, times
            box = left, top, right, bottom = aug.crop_boxes(augment, crops[:, index], width, height)
            spare = min(right - left, bottom - top) / p.image_size
            times = next((n for n in (8, 4, 2) if n <= spare), 1)
            return times

        pixels = self.split.array(index, p.channels, shrink)
        if not box:  # only a JPEG is asked
            box = aug.crop_boxes(augment, crops[:, index], pixels.shape[1], pixels.shape[0])
        box = tuple(edge / times for edge in box)
        return aug.cropped(pixels, box, p.image_size, p.interpolation, mirrored is not None and bool(mirrored[index]))

    def decoded(
        self, batches: Iterable[Tensor], read: Callable[[int], np.ndarray]
    ) -> Iterator[tuple[Tensor, list[np.ndarray]]]:
        """Each batch with what is read of its images, some batches ahead by threads.

        Args:
            batches: (N,) int64 each, which images of the split.
            read: from the number of an image to its pixels.
        """
        if self.workers == 0:
            for rows in batches:
                yield rows, [read(int(i)) for i in rows]
            return
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="decode")
        waiting: deque[tuple[Tensor, list[Future[list[np.ndarray]]]]] = deque()
        try:
            ahead = iter(batches)
            while True:
                while len(waiting) < PREFETCH and (following := next(ahead, None)) is not None:
                    some = following.split(TOGETHER)
                    waiting.append(
                        (following, [pool.submit(lambda part: [*map(read, part)], p.tolist()) for p in some])
                    )
                if not waiting:
                    return
                rows, futures = waiting.popleft()
                try:
                    images = [image for future in futures for image in future.result(timeout=HUNG)]
                except FutureTimeout:
                    raise MachineError(
                        f"an image of the batch at {int(rows[0])} was not read within {HUNG:.0f} s",
                        "check the disk, or fewer --workers",
                    ) from None
                except MemoryError:
                    raise MachineError(
                        f"no memory was left to decode the images of the batch at {int(rows[0])} "
                        f"(numbers {int(rows.min())} to {int(rows.max())}) with {self.workers} workers",
                        "take fewer --workers, or a smaller --batch-size; then go on with --resume",
                    ) from None
                yield rows, images
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
