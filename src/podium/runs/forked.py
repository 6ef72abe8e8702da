"""Torch in a forked process: it computes there in one thread.

OpenMP's threads do not live on in a process that is forked, and what they would share with this one waits for them for ever.
"""

from __future__ import annotations

import logging
import os

import torch

from podium.platform import inherits_torch

logger = logging.getLogger("podium")
_told = 0  # the process that was told


def one_thread_if_forked() -> bool:
    """Let torch compute in one thread from here on, if this process was forked from one that had loaded torch.

    Returns:
        Whether it was.
    """
    if inherits_torch():
        torch.set_num_threads(1)
    return inherits_torch()


def warn_if_forked() -> None:
    """Say once that training has one thread here, and how it gets all of them."""
    global _told
    if one_thread_if_forked() and _told != os.getpid():
        _told = os.getpid()
        logger.warning(
            "this process was forked from one that had loaded torch, so it computes in one thread; "
            'it gets all if it is started by multiprocessing.get_context("spawn")'
        )
