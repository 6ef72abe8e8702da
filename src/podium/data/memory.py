"""Memory that one batch gives back is kept for the next, until a phase ends."""

from __future__ import annotations

import gc

from podium.platform import keep_freed_memory as keep_freed_memory
from podium.platform import trim_freed_memory


def release_freed_memory() -> None:
    """Give back to the system what malloc holds and nobody uses: at the end of a phase, before one that needs other sizes."""
    gc.collect()
    trim_freed_memory()
