"""How many threads train fastest beside other programs: timed at the start of a run whose threads wait for a processor.

The threads of a step meet after every layer. Where another program holds a processor, all of them wait for the one that
shares it, and a step takes several times as long as with one thread on a free processor. On a quiet machine no thread waits:
all are taken, so that the same command gives the same bits.
"""

from __future__ import annotations

import copy
import os
import statistics
import time

import torch

from podium.evaluation.speed import share_waited
from podium.models.convnet import ConvNet
from podium.platform import seconds_waited
from podium.settings import Settings
from podium.training.autotune.fastest import set_memory_format
from podium.training.autotune.trial import Trial
from podium.training.defaults import default_batch
from podium.training.step import PRECISIONS
from podium.units import parse_duration, to_steps

QUIET = 0.05  # share of their time that threads wait for a processor, up to which all are taken without timing fewer
GAIN = 1.3  # how much faster than all threads fewer must be
WORTH, FEWEST_STEPS = 10.0, 300  # seconds and steps of a run below which timing costs more than it can gain
TRIED_MACS = 1_000_000_000  # multiply-adds of the images of a timed step, about
SECONDS, LEAST = 0.1, 3  # of the steps that look for other programs, and how many they are at least
ROUNDS, SLICE = 3, 0.25  # how often each number of threads is timed, in turn, and for how many seconds
MOST_SECONDS = 5.0  # of timing, after which no other round begins
DECIDED = "OMP_NUM_THREADS", "MKL_NUM_THREADS"  # variables by which a person decides the number


class Steps:
    """Training steps on a copy of a network, in as many threads as torch has.

    Args:
        net: on its device; left as it is.
        s: of the run.
        images: of a step.
    """

    def __init__(self, net: ConvNet, s: Settings, images: int) -> None:
        memory_format = "channels_last" if s.memory_format == "auto" else s.memory_format
        self.trial = Trial(set_memory_format(copy.deepcopy(net), memory_format), s.replace(lr=s.lr or 0.0))
        self.batch, self.amp = self.trial.images(images), PRECISIONS.get(s.amp)

    def mean(self, seconds: float, least: int = 1) -> float:
        """Return the mean seconds of a step, over so many seconds and steps at least."""
        begun, count = time.perf_counter(), 0
        while count < least or time.perf_counter() - begun < seconds:
            self.trial.step(self.batch, self.amp)
            count += 1
        return (time.perf_counter() - begun) / count


def thread_count(net: ConvNet, s: Settings, device: torch.device, macs: int, images: int) -> tuple[int, str | None]:
    """Decide the number of threads of a new run, and compute with so many from now on.

    Args:
        net: on the device, left as it is.
        s: of the run.
        device: that trains.
        macs: multiply-adds of one image.
        images: in training.

    Returns:
        The number, and the reason where it is not all that torch has.
    """
    most = torch.get_num_threads()
    if most == 1 or device.type != "cpu" or os.environ.keys() & set(DECIDED):
        return most, None
    batch = min(images, s.batch_size if isinstance(s.batch_size, int) else default_batch(images))
    tried = min(batch, max(2 * s.accumulate, TRIED_MACS // max(1, macs)))
    value, unit = parse_duration("duration", s.duration)
    steps = FEWEST_STEPS if unit == "s" else to_steps("duration", s.duration, max(1, images // batch))
    if steps < FEWEST_STEPS or (unit == "s" and value < WORTH):
        return most, None
    timed = Steps(net, s, tried)
    timed.mean(0.0)  # the first step prepares
    waited, computed = seconds_waited(), time.process_time()
    step = timed.mean(SECONDS, LEAST)
    share = share_waited(waited, seconds_waited(), time.process_time() - computed)
    if (share is not None and share <= QUIET) or (unit != "s" and step * batch / tried * steps < WORTH):
        return most, None
    found = {count: statistics.median(times) for count, times in in_turn(timed, candidates(most)).items()}
    best = min(found, key=lambda count: found[count])
    if found[most] < GAIN * found[best]:
        best = most
    torch.set_num_threads(best)
    gain = f"{found[most] / found[best]:.1f} times as fast as {most} beside other programs"
    return best, gain if best != most else None


def candidates(most: int) -> list[int]:
    """Return the numbers of threads that are timed: all, all but one, half of them, and one."""
    return sorted({most, most - 1, max(1, most // 2), 1}, reverse=True)


def in_turn(timed: Steps, counts: list[int]) -> dict[int, list[float]]:
    """Time steps in each number of threads in turn, several times, so that what other programs do meets all alike.

    Returns:
        For each number the mean seconds of a step in each round.
    """
    found: dict[int, list[float]] = {count: [] for count in counts}
    begun = time.perf_counter()
    while len(found[counts[0]]) < ROUNDS and time.perf_counter() - begun < MOST_SECONDS:
        for count in counts:
            torch.set_num_threads(count)
            timed.mean(0.0)  # threads start
            found[count].append(timed.mean(SLICE))
    torch.set_num_threads(counts[0])
    return found
