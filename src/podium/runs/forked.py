"""Torch in a forked process: it computes there in one thread.

OpenMP's threads do not live on in a process that is forked, and what they would share with this one waits for them for ever.
"""

from __future__ import annotations

import os

import torch

_threads_of = os.getpid()  # the process that torch's threads are in, or that has one thread


def one_thread_if_forked() -> None:
    """Let torch compute in one thread from here on, if this process was forked from one that had loaded Podium's bundles."""
    global _threads_of
    if os.getpid() != _threads_of:
        torch.set_num_threads(1)
        _threads_of = os.getpid()
