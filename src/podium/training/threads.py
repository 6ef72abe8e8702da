"""How torch computes a run: in how many threads, which is part of what decides its bits, and by which kernels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from podium.devices import deterministic_kernels, float32, pick_device
from podium.errors import MachineError, UsageError
from podium.files import shell_word
from podium.platform import inherits_torch, processors
from podium.runs.folder import RunFolder
from podium.runs.forked import warn_if_forked
from podium.settings import Settings
from podium.training.autotune.trial import denormals_flushed
from podium.training.distributed.parallel import Ranks

SAME = "the result is then not comparable to the bit"


def threads_here() -> int:
    """Return how many threads this process can compute with: its share of the cores, or more where OMP_NUM_THREADS says so."""
    if inherits_torch():
        return 1
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, processors() // beside, torch.get_num_threads())


def decide_threads(
    requested: int | None, recorded: int | None, device: str, ranks: Ranks, elastic: bool, folder: RunFolder
) -> int:
    """Return the number of threads that each process of a run computes with.

    Args:
        requested: by a flag or a settings file; None where neither names a number.
        recorded: of a run that goes on; None for a new one.
        device: as in the settings: on a CPU the number of threads decides the bits.
        ranks: that share the run; all get the same number.
        elastic: whether the number may differ from `recorded`.
        folder: of the run.

    Raises:
        UsageError: another number is requested than the run has.
        MachineError: this process cannot have so many threads.
    """
    here = -ranks.largest(-threads_here())
    if recorded is not None and requested not in (None, recorded) and not elastic:
        same = f"go on with --threads {recorded}, or give --elastic: {SAME}"
        raise UsageError(f"threads: the run has {recorded}, not {requested}", same)
    wanted = requested or recorded or -ranks.largest(-torch.get_num_threads())
    if wanted <= here:
        return wanted
    if requested is not None and requested != recorded:
        raise MachineError(f"threads: {requested}, but a process can have {here} here", f"--threads {here}")
    if not elastic and pick_device(device).type == "cpu":
        anyway = f"podium train --resume --elastic -o {shell_word(folder)}"
        raise MachineError(
            f"threads: the run has {recorded}, but a process can have {here} here",
            f"go on where there are as many, or with {anyway}: {SAME}",
        )
    return here


@contextmanager
def computing_with(threads: int | None) -> Iterator[None]:
    """Let torch compute with so many threads within this context, and with as many as before afterwards; None changes nothing."""
    warn_if_forked()
    before = torch.get_num_threads()
    if threads is not None and not inherits_torch():
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def computing_exactly(s: Settings) -> Iterator[None]:
    """Compute within this context as a run's bits need it; it begins before a GPU is used.

    Args:
        s: of the run.
    """
    same = s.deterministic and pick_device(s.device).type == "cuda"
    with denormals_flushed(), deterministic_kernels(same), float32():
        yield
