"""Batches for a network: which images, in which order, and where in the epoch the run is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from podium.data import augment as aug
from podium.data.ahead import read_ahead
from podium.data.augment import Augment
from podium.data.balanced import balanced_order, times_drawn
from podium.data.cropping import Cropper, channels_first, flat_pixels
from podium.data.dataset import Split
from podium.data.memory import keep_freed_memory
from podium.data.preprocessing import Preprocessing
from podium.data.readers import Readers
from podium.data.upload import all_uploaded, kept_on, sent_ahead, uploaded
from podium.errors import DataError, UsageError
from podium.platform import processors

RESIDENT_BYTES = 2 << 30  # an array that takes more once it is resized is resized batch by batch instead
WORKERS = 2  # threads that decode beside a CPU that trains
MOST_FOR_GPU = 16  # threads that decode for one GPU
MOST_WORKERS = 256  # threads that decode: more than any machine has cores for

Read = Callable[[list[int]], Iterable[Tensor]]  # from image numbers to (1, C, H, W) uint8 each, channels last in memory


@dataclass(frozen=True)
class Batch:
    """Images ready for a network.

    Args:
        x: (N, C, H, W) float32, normalised, channels last in memory.
        y: (N,) int64 labels.
        index: (N,) int64, the numbers of the images in the split.
    """

    x: Tensor
    y: Tensor
    index: Tensor


def usual_workers(device: torch.device) -> int:
    """Return how many threads decode: two beside a CPU that trains, for a GPU this process's share of the cores, at most 16."""
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return WORKERS if device.type == "cpu" else max(WORKERS, min(MOST_FOR_GPU, processors() // beside))


def resident_bytes(split: Split, preprocessing: Preprocessing, padding: int = 0) -> int:
    """Return the bytes that a split takes on the device during a run; 0 where its batches are made one by one.

    Args:
        split: the images.
        preprocessing: their size and channels.
        padding: pixels on each side of an image, as `augment.padding` gives it.
    """
    size, channels = preprocessing.image_size, preprocessing.channels
    if split.pixels is None or len(split) * size * size * channels > RESIDENT_BYTES:
        return 0
    return len(split) * (size + 2 * padding) ** 2 * channels


class Loader:
    """Batches of one split.

    Images in memory are kept on the device as uint8 and indexed there. Files are decoded some batches ahead by threads, which
    run beside the training because Pillow releases the interpreter's lock. The order and every augmentation depend only on
    (seed, epoch, image), so neither the number of workers nor a resume in the middle of an epoch changes a batch.

    Args:
        split: images and labels.
        preprocessing: size, channels and normalisation.
        batch_size: images in a batch, over all parts.
        device: where batches are made.
        seed: decides order and augmentation.
        augment: for training: images are shuffled and the incomplete last batch is dropped; None: in order, every image once.
        workers: decoding threads; 0 decodes in the caller's thread; None: as many as `usual_workers` says.
        balanced: an epoch of training has as many images of each class, see `balanced_order`.
        part: (k, n): of every batch give the k-th of n equal parts.

    Raises:
        DataError: the split is empty.
        UsageError: the number of workers is out of range.
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
        workers: int | None = None,
        balanced: bool = False,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        if device.type == "cpu":  # one heap for all threads: a feed of many threads would wait for it
            keep_freed_memory()
        workers = usual_workers(device) if workers is None else workers
        if len(split) == 0:
            raise DataError("there is no image to load", "check the split with `podium check`")
        if not 0 <= workers <= MOST_WORKERS:
            raise UsageError(
                f"workers: {workers}",
                f"give at least 0 and at most {MOST_WORKERS}; as many as there are cores are enough",
            )
        self.split, self.preprocessing, self.device = split.scaled(preprocessing.white), preprocessing, device
        self.seed, self.augment, self.workers, self.balanced, self.part = seed, augment, workers, balanced, part
        self.batch_size = min(batch_size, len(split))
        full, rest = divmod(len(split), self.batch_size)
        self.steps = full if augment is not None else full + (rest > 0)
        self.labels = torch.from_numpy(np.ascontiguousarray(split.labels, dtype=np.int64)).to(device)
        self.padding = aug.padding(augment, preprocessing.image_size)
        self.resident = self._resident()
        self.beside = self.resident is not None and self.resident.device.type != device.type  # it did not fit there
        self.flat = flat_pixels(self.split, preprocessing.channels)
        self.std = torch.tensor(preprocessing.std, device=device)
        across = preprocessing.image_size, preprocessing.channels  # a row of pixels at once: long loops are fast loops
        self.scale, self.offset = (
            torch.from_numpy(values).to(device).expand(across).flatten() for values in preprocessing.scale_and_offset()
        )

    def __len__(self) -> int:
        return self.steps

    def _resident(self) -> Tensor | None:
        """The whole split as (M, H, W, C) uint8, padded for its crops; None where it is no array or too large.

        It is on the device, or beside it where the device has no room for it.
        """
        size, channels = self.preprocessing.image_size, self.preprocessing.channels
        pixels = self.split.pixels
        if pixels is None or not resident_bytes(self.split, self.preprocessing):
            return None
        if pixels.shape[1:] != (size, size, channels):
            with Readers(max(1, self.workers)) as pool:
                pixels = np.stack(list(pool.map(self._square, range(len(pixels)))))
        # A copy: arrays that were read from files are not writable.
        return kept_on(self.device, self._padded(torch.tensor(pixels)))

    def _padded(self, pixels: Tensor) -> Tensor:
        p = self.padding
        return F.pad(pixels, (0, 0, p, p, p, p)) if p else pixels

    def _square(self, index: int) -> np.ndarray:
        return self.preprocessing.square(self.split.image(index, self.preprocessing.channels))

    def rows(self, epoch: int, start: int = 0) -> list[Tensor]:
        """The draws in each batch of an epoch, image + N * t of the N images; takes the arguments of `epoch`.

        The t-th draw of an image within an epoch is augmented in another way than the first. Without `balanced` t is 0.
        """
        if self.augment is None:
            order = torch.arange(len(self.split))
        else:
            generator = torch.Generator().manual_seed(aug.key(self.seed, epoch, "order"))
            if self.balanced:
                order = balanced_order(self.labels.cpu(), generator)
            else:
                order = torch.randperm(len(self.split), generator=generator)
        which, parts = self.part
        batches = [order[n * self.batch_size : (n + 1) * self.batch_size] for n in range(start, self.steps)]
        return [batch.tensor_split(parts)[which] for batch in batches]

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from number `start` on.

        Args:
            epoch: decides order and augmentation in training.
            start: batches to skip at the beginning, as after a resume.
        """
        draws = times_drawn(self.labels.cpu()) if self.balanced else 1
        everything = torch.arange(len(self.split) * draws, device=self.device)
        size = self.preprocessing.image_size
        drawn = aug.shifts(self.augment, size, self.seed, epoch, everything) if self.augment is not None else None
        crops = self._crops(epoch, everything)
        batches = self.rows(epoch, start)
        indices = all_uploaded(batches, self.device)
        if self.resident is not None:
            for rows, index in zip(batches, indices, strict=True):
                if self.beside:
                    pixels = uploaded(self.resident[rows % len(self.split)], self.device)
                    yield self._finish(pixels, None, index, epoch, drawn, crops)
                else:
                    yield self._finish(self.resident, index % len(self.split), index, epoch, drawn, crops)
            return
        read: Read = self._fitted
        if self.augment is not None and drawn is not None and crops is not None and self.preprocessing.resize == "crop":
            # A crop is cut out of the whole image while that is there; padded or stretched images are cropped on the device.
            mirrored = drawn.mirrored.cpu().numpy() if drawn.mirrored is not None else np.zeros(len(everything), bool)
            read = Cropper(self.split, self.preprocessing, self.augment, crops.cpu().numpy(), mirrored, self.flat).read
            drawn = crops = None
        if self.device.type == "cpu" and drawn is None and crops is None:
            for rows, x in self._ahead(batches, torch.float32, partial(self._fill, read)):
                image = rows % len(self.split)
                yield Batch(self._augmented(x.permute(0, 3, 1, 2), rows, epoch), self.labels[image], image)
            return
        read_batches = self._ahead(batches, torch.uint8, partial(self._keep, read))
        for index, (_, pixels) in zip(indices, sent_ahead(read_batches, self.device), strict=True):
            yield self._finish(self._padded(pixels), None, index, epoch, drawn, crops)

    def _crops(self, epoch: int, index: Tensor) -> Tensor | None:
        if self.augment is None or self.augment.crop not in ("scale", "area"):
            return None
        return aug.crop_draws(self.augment, self.seed, epoch, index)

    def _finish(
        self,
        pixels: Tensor,
        rows: Tensor | None,
        index: Tensor,
        epoch: int,
        drawn: aug.Shifts | None,
        crops: Tensor | None,
    ) -> Batch:
        """Make a batch of `pixels` (M, H, W, C) uint8, padded: augment and normalise them.

        Args:
            pixels: of all images, or of those of the batch.
            rows: (N,), the rows of `pixels` that the batch has; None: all, in order.
            index: (N,), the draws.
        """
        a, size = self.augment, self.preprocessing.image_size
        if drawn is not None and (self.padding or drawn.mirrored is not None):
            every = torch.arange(len(pixels), device=pixels.device) if rows is None else rows
            x = aug.shift_and_flip(pixels, every, size, drawn, index)
        else:
            x = pixels if rows is None else pixels[rows]
        x = self.normalized(x)
        if crops is not None and a is not None:
            boxes = aug.crop_boxes(a, crops[:, index], size, size)
            x = aug.crop_and_resize(x, torch.stack(boxes, 1))
        image = index % len(self.split)
        return Batch(self._augmented(x, index, epoch), self.labels[image], image)

    def _augmented(self, x: Tensor, index: Tensor, epoch: int) -> Tensor:
        """Apply the augmentations that work on normalised images, (N, C, H, W) float32."""
        a = self.augment
        if a is not None and a.colour:
            x = aug.colour_noise(x, a.colour, self.std, self.seed, epoch, index, self.preprocessing.channel_order)
        return aug.erase(x, a.erase, self.seed, epoch, index) if a is not None and a.erase else x

    def normalized(self, pixels: Tensor) -> Tensor:
        """Normalise pixels for the network.

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

    def _ahead(
        self, batches: list[Tensor], dtype: torch.dtype, work: Callable[[list[int], Tensor], None]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Each batch with a tensor (N, H, W, C) that `work` has filled."""
        size, channels = self.preprocessing.image_size, self.preprocessing.channels
        pinned = self.device.type == "cuda"

        def room(rows: Tensor) -> Tensor:
            return torch.empty(len(rows), size, size, channels, dtype=dtype, pin_memory=pinned)

        return read_ahead(batches, room, work, self.workers)

    # What the threads run. Each call of torch or numpy hands the interpreter's lock on, so there are as few as possible.

    @torch.inference_mode()  # evaluation makes the tensors to fill in inference mode
    def _keep(self, read: Read, part: list[int], room: Tensor) -> None:
        """Read images into `room`, (n, H, W, C) uint8."""
        for place, pixels in zip(room.permute(0, 3, 1, 2).split(1), read(part), strict=True):
            place.copy_(pixels)

    @torch.inference_mode()
    def _fill(self, read: Read, part: list[int], room: Tensor) -> None:
        """Read images and normalise each into `room`, (n, H, W, C) float32, while it is in the processor's cache."""
        cached = torch.empty(room.shape[1:])
        image, lines = cached.permute(2, 0, 1)[None], cached.flatten(1)
        backwards = self.preprocessing.channel_order == "bgr"
        for place, pixels in zip(room.flatten(2).unbind(), read(part), strict=True):
            image.copy_(pixels.flip(1) if backwards else pixels)
            torch.addcmul(self.offset, lines, self.scale, out=place)

    def _fitted(self, part: list[int]) -> Iterator[Tensor]:
        """Whole images made square by the preprocessing, (1, C, H, W) uint8 each."""
        return (channels_first(self._square(index % len(self.split))) for index in part)

    def decoded(
        self, batches: Iterable[Tensor], read: Callable[[int], np.ndarray]
    ) -> Iterator[tuple[Tensor, list[np.ndarray]]]:
        """Yield each batch with the result of `read` for each of its images; threads read some batches ahead.

        Args:
            batches: (N,) int64 each, the numbers of the images.
            read: from the number of an image to its pixels.
        """

        def work(part: list[int], room: np.ndarray) -> None:
            for place, index in enumerate(part):
                room[place] = read(index)

        for rows, room in read_ahead(batches, lambda rows: np.empty(len(rows), object), work, self.workers):
            yield rows, room.tolist()
