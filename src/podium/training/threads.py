"""With how many threads torch computes: a part of what decides a run's bits, so a resume takes the number that the run has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from podium.devices import pick_device
from podium.errors import MachineError, UsageError
from podium.files import shell_word
from podium.runs.folder import RunFolder
from podium.training.distributed.parallel import Ranks

SAME = "the result is then not comparable to the bit"


def threads_here() -> int:
    """As many as this process can compute with: its share of the cores, or more where OMP_NUM_THREADS says so."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, cores // beside, torch.get_num_threads())


def decide_threads(
    asked: int | None, recorded: int | None, device: str, ranks: Ranks, elastic: bool, folder: RunFolder
) -> int:
    """The number of threads that each process of a run computes with.

    Args:
        asked: by a flag or a settings file; None where nobody did.
        recorded: of a run that goes on; None for a new one.
        device: as in the settings: on a CPU the number decides the bits.
        ranks: that share the run; all get the same number.
        elastic: whether it may differ from `recorded`.
        folder: of the run.

    Raises:
        UsageError: another number is asked for than the run has.
        MachineError: there are fewer here.
    """
    here = -ranks.largest(-threads_here())
    if recorded is not None and asked not in (None, recorded) and not elastic:
        same = f"go on with --threads {recorded}, or give --elastic: {SAME}"
        raise UsageError(f"threads: the run has {recorded}, not {asked}", same)
    wanted = asked or recorded or -ranks.largest(-torch.get_num_threads())
    if wanted <= here:
        return wanted
    if asked is not None and asked != recorded:
        raise MachineError(f"threads: {asked}, but a process can have {here} here", f"--threads {here}")
    if not elastic and pick_device(device).type == "cpu":
        anyway = f"podium train --resume --elastic -o {shell_word(folder)}"
        raise MachineError(
            f"threads: the run has {recorded}, but a process can have {here} here",
            f"go on where there are as many, or with {anyway}: {SAME}",
        )
    return here


@contextmanager
def computing_with(threads: int | None) -> Iterator[None]:
    """Within it torch computes with so many threads, if a number is given; afterwards as before, whatever was set within."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
