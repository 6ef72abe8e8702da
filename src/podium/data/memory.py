"""The memory that training takes: whether it ran out, and what one batch gives back and the next one needs again."""

from __future__ import annotations

import gc
import re

import torch

from podium.platform import keep_freed_memory as keep_freed_memory
from podium.platform import trim_freed_memory

# What torch and the libraries below it say. cuBLAS and cuDNN take memory of their own, and a GPU that is full often fails there:
# cuBLAS cannot even be started, and cuDNN finds no algorithm ("engine") whose workspace fits.
_RAN_OUT = re.compile(
    r"can't allocate memory|not enough memory|bad_alloc|out of memory|could not create a memory|unable to find an engine"
    r"|CUBLAS_STATUS_ALLOC_FAILED|CUBLAS_STATUS_NOT_INITIALIZED.*cublasCreate|CUSOLVER_STATUS_ALLOC_FAILED"
    r"|CUDNN_STATUS_ALLOC_FAILED|CUDNN_STATUS_INTERNAL_ERROR_\w*ALLOCATION_FAILED",
    re.IGNORECASE | re.DOTALL,
)


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that the memory of a device, or of this machine, ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and _RAN_OUT.search(str(error)) is not None


def release_freed_memory() -> None:
    """Give back to the system what malloc holds and nobody uses: at the end of a phase, before one that needs other sizes."""
    gc.collect()
    trim_freed_memory()
