"""The largest batch that fits into memory, found by taking steps of it on a copy of the network."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch

from podium.data.memory import out_of_memory
from podium.models.convnet import ConvNet
from podium.settings import Settings
from podium.training.autotune.trial import Trial, memory_in_use, memory_left

SHARE = 0.8  # of the memory that is left, which a step may take
RESERVE = 256_000_000  # bytes that are left for images decoded ahead, evaluation and checkpoints
SAMPLE = 8  # images of the first trial
OVER_SAVED = 1.5  # a step's memory over what autograd saves for backward, about: where the search begins


def largest_power(step: Callable[[int], int | None], room: int, guess: int, most: int) -> int | None:
    """Return the largest power of two of images whose step fits into memory.

    Args:
        step: takes a step of so many images and returns the bytes it needed; None where memory ran out.
        room: bytes that a step may take.
        guess: where to begin: a step that is far too large is slow, or ends the process.
        most: images at most.

    Returns:
        At least 2, or None where a step of 2 does not fit.
    """
    batch = 1 << (max(2, min(guess, most)).bit_length() - 1)
    while (used := step(batch)) is None or used > room:
        batch //= 2
        if batch < 2:
            return None
    while 2 * batch <= most and 2 * used <= room:
        twice = step(2 * batch)
        if twice is None or twice > room:
            break
        batch, used = 2 * batch, twice
    return batch


def largest_batch(net: ConvNet, s: Settings, most: int, amp: torch.dtype | None, later: int = 0) -> int | None:
    """Return the largest power of two of images whose step fits into the memory that is left.

    Args:
        net: on its device; left as it is.
        s: of the run, whose accumulation and checkpointing count.
        most: images at most.
        amp: what autocast computes in; None: float32.
        later: bytes that are free now and will not be when the run steps, as those of images that are uploaded afterwards.

    Returns:
        None where not even 2 images for each accumulated part fit.
    """
    device = next(net.parameters()).device
    gc.collect()
    before, _ = memory_in_use(device, reset=True)
    room = max(0, int(SHARE * (memory_left(device) - later)) - RESERVE)
    s = s.replace(lr=s.lr or 0.0)  # the rate is decided later and does not matter here
    least = 2 * s.accumulate

    def attempt(batch: int) -> int | None:
        memory_in_use(device, reset=True)
        try:
            trial = Trial(net, s)
            trial.step(trial.images(max(batch, least)), amp)
        except Exception as error:
            if not out_of_memory(error):
                raise
            return None
        return memory_in_use(device)[1] - before

    saved = _saved_per_image(net, s, max(least, min(SAMPLE, most)), amp)
    if saved is None:
        saved = float(room)
    # Of the copy: itself, its gradient and two values an optimiser keeps.
    weights = 4 * sum(p.nbytes for p in net.parameters())
    found = largest_power(attempt, room, int((room - weights) / (OVER_SAVED * max(1.0, saved))), most)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return found if found is None or found >= least else None


def _saved_per_image(net: ConvNet, s: Settings, count: int, amp: torch.dtype | None) -> float | None:
    """Return the bytes that autograd saves for backward for each of so many images; None where memory ran out.

    A function of its own, so that the copy of the network is freed when it ends, however it ends.
    """
    try:
        trial = Trial(net, s)
        return trial.saved_bytes(trial.images(count), amp) / count
    except Exception as error:
        if not out_of_memory(error):
            raise
        return None
