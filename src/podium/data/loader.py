"""Batches for a network: which images, in which order, and where in the epoch we are."""

from __future__ import annotations

import itertools
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from podium.data import augment as aug
from podium.data.augment import Augment
from podium.data.dataset import Split
from podium.data.decode import Preprocessing
from podium.data.memory import keep_freed_memory
from podium.data.readers import Readers, outcome
from podium.errors import DataError, MachineError, UsageError

RESIDENT_BYTES = 2 << 30  # an in-memory set resized to more than this is resized batch by batch instead
PREFETCH = 3  # batches decoded ahead
TOGETHER = 32  # images at most that a thread decodes before it hands them over: threads that meet less often wait less
MOST_WORKERS = 256  # threads that decode: more than any machine has cores for
HUNG = 120.0  # seconds after which images that have not been decoded count as hung

Read = Callable[
    [list[int]], Iterable[Tensor]
]  # from numbers of images to (1, C, H, W) uint8 each, channels last in memory

Room = TypeVar("Room", Tensor, np.ndarray)  # what holds a batch, and is filled part by part


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
        batch_size: images a batch, of all parts.
        device: where batches are made.
        seed: of order and augmentation.
        augment: for training: shuffled, the incomplete last batch left for other epochs; None: in order, every image once.
        workers: decoding threads; 0 decodes in the caller's.
        part: (which, of how many) equal parts of every batch to give.
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
        part: tuple[int, int] = (0, 1),
    ) -> None:
        keep_freed_memory()
        if len(split) == 0:
            raise DataError("there is no image to load", "check the split with `podium check`")
        if not 0 <= workers <= MOST_WORKERS:
            raise UsageError(
                f"workers: {workers}",
                f"give at least 0 and at most {MOST_WORKERS}; as many as there are cores are enough",
            )
        self.split, self.preprocessing, self.device = split.scaled(preprocessing.white), preprocessing, device
        self.seed, self.augment, self.workers, self.part = seed, augment, workers, part
        self.batch_size = min(batch_size, len(split))
        full, rest = divmod(len(split), self.batch_size)
        self.steps = full if augment is not None else full + (rest > 0)
        self.labels = torch.from_numpy(np.ascontiguousarray(split.labels, dtype=np.int64)).to(device)
        self.padding = aug.padding(augment, preprocessing.image_size)
        self.resident = self._resident()
        self.mapped = self._mapped()
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
            with Readers(max(1, self.workers)) as pool:
                pixels = np.stack(list(pool.map(self._square, range(len(pixels)))))
        return self._padded(torch.tensor(pixels, device=self.device))  # a copy: what was read is not writable

    def _mapped(self) -> Tensor | None:
        """All bytes of a pack, from its memory map; nothing is read here, and nothing is ever written."""
        flat = self.split.images.flat
        if flat is None or self.preprocessing.channels != 3:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch has no tensors that cannot be written
            return torch.from_numpy(flat)

    def _padded(self, pixels: Tensor) -> Tensor:
        p = self.padding
        return F.pad(pixels, (0, 0, p, p, p, p)) if p else pixels

    def _square(self, index: int) -> np.ndarray:
        return self.preprocessing.square(self.split.image(index, self.preprocessing.channels))

    def rows(self, epoch: int, start: int = 0) -> list[Tensor]:
        """Which images each batch of an epoch has; arguments as of `epoch`."""
        if self.augment is None:
            order = torch.arange(len(self.split))
        else:
            generator = torch.Generator().manual_seed(aug.key(self.seed, epoch, "order"))
            order = torch.randperm(len(self.split), generator=generator)
        which, parts = self.part
        batches = [order[n * self.batch_size : (n + 1) * self.batch_size] for n in range(start, self.steps)]
        return [batch.tensor_split(parts)[which] for batch in batches]

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `start` on.

        Args:
            epoch: decides order and augmentation in training.
            start: batches to leave out at the beginning, as after a resume.
        """
        everything = torch.arange(len(self.split), device=self.device)
        size = self.preprocessing.image_size
        drawn = aug.shifts(self.augment, size, self.seed, epoch, everything) if self.augment is not None else None
        crops = self._crops(epoch, everything)
        batches = self.rows(epoch, start)
        if self.resident is not None:
            for rows in batches:
                index = rows.to(self.device)
                yield self._finish(self.resident, index, index, epoch, drawn, crops)
            return
        read: Read = self._fitted
        if self.augment is not None and drawn is not None and crops is not None and self.preprocessing.resize == "crop":
            # cut out of the whole image while it is there; what is padded or stretched is cropped on the device
            mirrored = drawn.mirrored.cpu().numpy() if drawn.mirrored is not None else np.zeros(len(self.split), bool)
            cut = self._cut_from_pack if self.mapped is not None else self._cut
            read = partial(cut, self.augment, crops.cpu().numpy(), mirrored)
            drawn = crops = None
        if self.device.type == "cpu" and drawn is None and crops is None:
            for rows, x in self._ahead(batches, partial(self._empty, torch.float32), partial(self._fill, read)):
                yield Batch(self._augmented(x.permute(0, 3, 1, 2), rows, epoch), self.labels[rows], rows)
            return
        for rows, pixels in self._ahead(batches, partial(self._empty, torch.uint8), partial(self._keep, read)):
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
        if crops is not None and a is not None:
            boxes = aug.crop_boxes(a, crops[:, index], size, size)
            x = aug.crop_and_resize(x, torch.stack(boxes, 1))
        return Batch(self._augmented(x, index, epoch), self.labels[index], index)

    def _augmented(self, x: Tensor, index: Tensor, epoch: int) -> Tensor:
        """What is done to a batch that is normalised."""
        a = self.augment
        if a is not None and a.colour:
            x = aug.colour_noise(x, a.colour, self.std, self.seed, epoch, index, self.preprocessing.channel_order)
        return aug.erase(x, a.erase, self.seed, epoch, index) if a is not None and a.erase else x

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
        x = torch.addcmul(offset, pixels.flatten(2).float(), scale)
        return x.unflatten(2, (width, -1)).permute(0, 3, 1, 2)

    # What the threads do. Each call of torch or numpy has them pass the interpreter's lock on: there are as few as can be.

    def _empty(self, dtype: torch.dtype, rows: Tensor) -> Tensor:
        """Room for a batch, (N, H, W, C)."""
        size = self.preprocessing.image_size
        return torch.empty(len(rows), size, size, self.preprocessing.channels, dtype=dtype)

    @torch.inference_mode()  # the room may come from it: judging happens there
    def _keep(self, read: Read, part: list[int], room: Tensor) -> None:
        """Read images into their room, (n, H, W, C) uint8."""
        for place, pixels in zip(room.permute(0, 3, 1, 2).split(1), read(part), strict=True):
            place.copy_(pixels)

    @torch.inference_mode()
    def _fill(self, read: Read, part: list[int], room: Tensor) -> None:
        """Read images and normalise each, as `normalized` does, into its room, (n, H, W, C) float32, out of the cache."""
        cached = torch.empty(room.shape[1:])
        image, lines = cached.permute(2, 0, 1)[None], cached.flatten(1)
        backwards = self.preprocessing.channel_order == "bgr"
        for place, pixels in zip(room.flatten(2).unbind(), read(part), strict=True):
            image.copy_(pixels.flip(1) if backwards else pixels)
            torch.addcmul(self.offset, lines, self.scale, out=place)

    def _fitted(self, part: list[int]) -> Iterator[Tensor]:
        """Images made square as the preprocessing says: (1, C, H, W) uint8 each, as all that is read."""
        return (as_image(self._square(index)) for index in part)

    def _cut(self, augment: Augment, crops: np.ndarray, mirrored: np.ndarray, part: list[int]) -> Iterator[Tensor]:
        """The drawn crops of images, out of all their pixels, or of a JPEG out of as many as its size asks for."""
        p, times = self.preprocessing, 1

        def shrink(width: int, height: int) -> int:
            nonlocal times
            left, top, right, bottom = aug.crop_boxes(augment, crops[:, index], width, height)
            spare = min(right - left, bottom - top) / p.image_size
            times = next((n for n in (8, 4, 2) if n <= spare), 1)
            shape[:] = width, height
            return times

        for index in part:
            times, shape = 1, [0, 0]
            pixels = self.split.array(index, p.channels, shrink)
            height, width, _ = pixels.shape
            box = aug.crop_boxes(
                augment, crops[:, index], *(shape if shape[0] else (width, height))
            )  # only JPEGs shrink
            left, top, right, bottom = aug.whole_pixels([edge / times for edge in box], width, height).tolist()
            region = as_image(pixels[top:bottom, left:right])
            yield aug.resized(region, p.image_size, p.interpolation, bool(mirrored[index]))

    def _cut_from_pack(
        self, augment: Augment, crops: np.ndarray, mirrored: np.ndarray, part: list[int]
    ) -> Iterator[Tensor]:
        """The same of a pack, where a region is a view of the map."""
        if self.mapped is None:
            return
        p, (start, height, width) = self.preprocessing, self.split.images.places(part)
        box = aug.whole_pixels(aug.crop_boxes(augment, crops[:, part], width, height), width, height)
        for left, top, right, bottom, first, across, flip in np.stack([*box, start, width, mirrored[part]], 1).tolist():
            shape, line = (1, 3, bottom - top, right - left), 3 * across
            region = self.mapped.as_strided(shape, (shape[2] * line, 1, line, 3), first + top * line + 3 * left)
            yield aug.resized(region, p.image_size, p.interpolation, bool(flip))

    def decoded(
        self, batches: Iterable[Tensor], read: Callable[[int], np.ndarray]
    ) -> Iterator[tuple[Tensor, list[np.ndarray]]]:
        """Each batch with what is read of its images, some batches ahead by threads.

        Args:
            batches: (N,) int64 each, which images of the split.
            read: from the number of an image to its pixels.
        """

        def work(part: list[int], room: np.ndarray) -> None:
            for place, index in enumerate(part):
                room[place] = read(index)

        for rows, room in self._ahead(batches, lambda rows: np.empty(len(rows), object), work):
            yield rows, room.tolist()

    def _ahead(
        self, batches: Iterable[Tensor], room: Callable[[Tensor], Room], work: Callable[[list[int], Room], None]
    ) -> Iterator[tuple[Tensor, Room]]:
        """Each batch with its room filled, some batches ahead by threads.

        Args:
            batches: (N,) int64 each, which images of the split.
            room: makes what holds a batch.
            work: reads some images into their part of it.
        """
        if self.workers == 0:
            for rows in batches:
                filled = room(rows)
                with self._decoding(rows):
                    work(rows.tolist(), filled)
                yield rows, filled
            return
        pool = reading_threads(self.workers)
        waiting: deque[tuple[Tensor, Room, list[Future[None]]]] = deque()
        try:
            ahead = iter(batches)
            while True:
                while len(waiting) < PREFETCH and (rows_ahead := next(ahead, None)) is not None:
                    filled, numbers = room(rows_ahead), rows_ahead.tolist()
                    share = min(TOGETHER, -(-len(numbers) // self.workers))
                    parts = [slice(n, n + share) for n in range(0, len(numbers), share)]
                    futures = [pool.submit(work, numbers[part], filled[part]) for part in parts]
                    waiting.append((rows_ahead, filled, futures))
                if not waiting:
                    return
                rows, filled, futures = waiting.popleft()
                with self._decoding(rows):
                    for future in futures:
                        outcome(future, HUNG)
                yield rows, filled
        finally:
            pool.close()

    @contextmanager
    def _decoding(self, rows: Tensor) -> Iterator[None]:
        """Within it a read that never ends, and an end of memory, are said to be the machine's."""
        try:
            yield
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


def as_image(pixels: np.ndarray) -> Tensor:
    """(H, W, C) uint8, copied, as (1, C, H, W), channels last in memory."""
    # With a stride of the batch that says so, which decides whether torch takes its fast kernel.
    return torch.from_numpy(np.array(pixels[None], order="C")).permute(0, 3, 1, 2)


def reading_threads(count: int) -> Readers:
    """Threads in each of which torch works alone: beside each other they are as many as the processor has to give.

    How many threads torch takes belongs to the thread that asks, but it is also what later ones start with; so this waits
    until all have asked, and then says again what holds here.

    Raises:
        MachineError: the system starts no more threads; names a number that it does.
    """
    here, ready = torch.get_num_threads(), threading.Barrier(count + 1)
    started = itertools.count()

    def begin() -> None:
        next(started)
        torch.set_num_threads(1)
        torch.get_num_threads()  # a thread takes the number when it is asked first
        with suppress(threading.BrokenBarrierError):
            ready.wait()

    try:
        pool = Readers(count, begin, on_failure=ready.abort)
        ready.wait()
    except MachineError as error:
        raise MachineError(f"workers: {error.what}", f"--workers {next(started) // 2}, or {error.fix}") from None
    finally:
        ready.abort()  # nobody waits on after an interruption
        torch.set_num_threads(here)
    return pool
