"""Devices: the name of one, what it is here, what it can do, how exactly it computes, and waiting until it has computed.

Torch is imported when a function needs it: the command line reads the name of a device without torch.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from podium.errors import MachineError, UsageError
from podium.platform import processor_name

if TYPE_CHECKING:
    import torch

HELP = "what computes: auto (a GPU where there is one, else the processor), cpu, cuda, cuda:N for one of several GPUs, or mps"
NAMES = re.compile(r"auto|cpu|mps|cuda(:(0|[1-9][0-9]{0,3}))?")  # ASCII digits as torch reads them


def parse_device(name: str) -> str:
    """Return the name of a device as it was given.

    Raises:
        UsageError: no device has such a name.
    """
    if not isinstance(name, str) or NAMES.fullmatch(name) is None:
        raise UsageError(f"device: {name!r}", "give auto, cpu, cuda, cuda:N or mps")
    return name


def pick_device(name: str) -> torch.device:
    """Return the device of this name; another one is never taken in its place.

    A GPU that is named by its number becomes the one that CUDA's functions mean where they are given none. cuBLAS gets the
    workspace with which it computes the same bits each time, unless a person has set another.

    Args:
        name: "cpu", "cuda", "cuda:N", "mps", or "auto" for the best one that is present.

    Raises:
        UsageError: no device has such a name.
        MachineError: the machine has no such device; says what it has.
    """
    import torch

    kind, _, number = parse_device(name).partition(":")
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if kind == "auto":
        kind = next(each for each, there in present.items() if there)
    gpus = torch.cuda.device_count() if present["cuda"] else 0
    if not present[kind] or (number and int(number) >= gpus):
        raise MachineError(
            f"device: there is no {name} here", f"--device auto, or one that is here: {', '.join(present_devices())}"
        )
    if kind == "cuda":  # cuBLAS looks once, at its first product, which may be an evaluation before a training
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if number:
        torch.cuda.set_device(int(number))
    return torch.device(f"{kind}:{number}" if number else kind)


def present_devices() -> list[str]:
    """Return the names of the devices of this machine; each of several GPUs has one with its number."""
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    numbered = [f"cuda:{n}" for n in range(gpus)] if gpus > 1 else ["cuda"] * gpus
    return ["cpu", *numbered, *["mps"] * torch.backends.mps.is_available()]


def device_name(device: torch.device) -> str:
    """Return what a device is, for people: "NVIDIA H200", "Apple M2 (mps)", "AMD EPYC 9B14"."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    processor = processor_name() or "processor"
    return f"{processor} ({device.type})" if device.type == "mps" else processor


def synchronize(device: torch.device) -> None:
    """Wait until a device has computed what it was given; a processor has."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def has_bf16(device: torch.device) -> bool:
    """Return whether steps in bfloat16 are possible without an emulation that is slower than float32.

    A processor computes in bfloat16 what it can and converts the rest, so it always can; a GPU needs hardware for it: NVIDIA's
    of capability 8.0, Apple's under macOS 14.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type != "mps" or torch.backends.mps.is_macos_or_newer(14, 0)


def native_bf16(device: torch.device) -> bool:
    """Return whether the hardware itself multiplies in bfloat16, so that it may be faster than float32."""
    import torch

    if device.type != "cpu":
        return device.type == "cuda" and has_bf16(device)
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "arm_bf16", "sve_bf16"))


def has_fp16(device: torch.device) -> bool:
    """Return whether a GPU multiplies in float16 faster than in float32: NVIDIA's from Volta (capability 7.0) on, and AMD's."""
    import torch

    return device.type == "cuda" and (
        torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (7, 0)
    )


def has_tf32(device: torch.device) -> bool:
    """Return whether a GPU multiplies in TF32: float32 of which 10 bits of the fraction count."""
    import torch

    return device.type == "cuda" and torch.version.hip is None and torch.cuda.get_device_capability(device) >= (8, 0)


def channels_last_is_right(device: torch.device) -> bool:
    """Return whether a network in channels last gets right gradients.

    On Apple's GPUs the backward pass of batch norm is wrong for such maps before torch 2.14 (pytorch/pytorch#175189).
    """
    import torch

    return device.type != "mps" or tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 14)


def platform_of(device: torch.device, *, deterministic: bool = True) -> dict[str, str]:
    """Return what decides the bits that a device computes: what it is, its kernels, and the versions of torch, CUDA and cuDNN.

    Args:
        device: that computes.
        deterministic: whether a GPU of NVIDIA computes with deterministic kernels only.

    Returns:
        By name; "kernels" is "deterministic" where the same bits come out each time, and always is on a processor.
    """
    import torch

    same = device.type == "cpu" or (device.type == "cuda" and deterministic)
    found = {
        "device": "cpu" if device.type == "cpu" else device_name(device),
        "kernels": "deterministic" if same else "fastest",
        "torch": torch.__version__,
    }
    if device.type == "cuda":
        found |= {"cuda": str(torch.version.cuda or torch.version.hip), "cudnn": str(torch.backends.cudnn.version())}
    return found


@contextmanager
def float32(tf32: bool = False) -> Iterator[None]:
    """Let GPUs multiply float32 in full within this context, or in TF32; torch itself takes TF32 for convolutions.

    Torch has one setting for all threads of a process. The context that was entered last decides, and torch's own setting
    comes back when the last thread has left, so that no thread of a server computes in what another one has put back.

    Args:
        tf32: of 23 bits of the fraction, only 10 count in products; sums stay in float32.
    """
    this = object()
    with _FLOAT32_LOCK:
        if not _FLOAT32:
            _FLOAT32[None] = _products_in_tf32()
        _FLOAT32[this] = tf32, tf32
        _multiply_in_tf32(tf32, tf32)
    try:
        yield
    finally:
        with _FLOAT32_LOCK:
            del _FLOAT32[this]
            _multiply_in_tf32(*list(_FLOAT32.values())[-1])
            if len(_FLOAT32) == 1:
                _FLOAT32.clear()


_FLOAT32: dict[object, tuple[bool, bool]] = {}  # torch's own setting, then that of each context that was entered
_FLOAT32_LOCK = threading.Lock()


def _products_in_tf32() -> tuple[bool, bool]:
    """Whether torch multiplies matrices in TF32, and whether convolutions; this way of reading never fails."""
    import torch

    matmul: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    return matmul.fp32_precision == "tf32", cudnn.conv.fp32_precision == "tf32"


def _multiply_in_tf32(matrices: bool, convolutions: bool) -> None:
    """Let torch multiply in TF32 or in full; this way of writing sets all that depends on it."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = matrices
    torch.backends.cudnn.allow_tf32 = convolutions


@contextmanager
def deterministic_kernels(wanted: bool) -> Iterator[None]:
    """Let CUDA compute the same bits each time within this context: no kernel whose sums depend on the order of threads.

    `pick_device` has set the workspace of cuBLAS, which must be there before its first product.

    Args:
        wanted: False changes nothing.

    Raises:
        UsageError: an operation has no such kernel.
    """
    import torch

    if not wanted:
        yield
        return
    cudnn, fill = torch.backends.cudnn, cast(Any, torch.utils.deterministic)
    before = torch.get_deterministic_debug_mode()
    flags = cudnn.deterministic, cudnn.benchmark, fill.fill_uninitialized_memory
    torch.set_deterministic_debug_mode("error")  # as use_deterministic_algorithms, without importing torch's compiler
    # torch would also fill memory that nothing has written yet, which costs time and no operation here reads
    cudnn.deterministic, cudnn.benchmark, fill.fill_uninitialized_memory = True, False, False
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error).lower():
            raise
        what = f"deterministic: {str(error).splitlines()[0].split(', ')[0]}"
        raise UsageError(what, "--no-deterministic trains without the promise of the same bits") from error
    finally:
        torch.set_deterministic_debug_mode(before)
        cudnn.deterministic, cudnn.benchmark, fill.fill_uninitialized_memory = flags
