"""An exported graph in ONNX Runtime or OpenVINO, as a function that any number of threads may call. Needs no torch."""

from __future__ import annotations

import functools
import importlib
import threading
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from podium.data.names import is_text
from podium.errors import EXTRAS, MachineError, ModelFileError
from podium.platform import after_fork

DTYPES = {"float32": "f32", "bfloat16": "bf16"}  # in which OpenVINO may compute what is float32 in the file

Call = Callable[
    [np.ndarray], tuple[np.ndarray, ...]
]  # input -> logits, probabilities, and heat maps where the file has them


def in_onnxruntime(name: str, path: Path, threads: int) -> Call:
    """Open a file in ONNX Runtime, whose session runs in several threads at once.

    Args:
        name: of the file, for messages.
        path: of the file; the session would hold its bytes as long as it lives, so it reads them itself.
        threads: that compute.

    Raises:
        ModelFileError: ONNX Runtime refuses it.
        MachineError: ONNX Runtime is not installed.
    """
    ort = _import("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # it would keep the weights twice, as read and as packed, and is no faster
    try:
        file = str(path) if is_text(str(path)) else path.read_bytes()
        session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        source, outputs = session.get_inputs()[0].name, [output.name for output in session.get_outputs()]
    except Exception as error:  # ONNX Runtime has a class of its own for each kind
        raise ModelFileError(f"{name}: ONNX Runtime refuses it ({first_line(error)})", "export it again") from None
    _open.add(session)

    def call(x: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(session.run(outputs, {source: x}))

    return call


_open: weakref.WeakSet[Any] = weakref.WeakSet()  # the sessions of ONNX Runtime in this process
_inherited: list[Any] = []
_threads_lost = threading.Event()  # set in a fork of a process that had OpenVINO: its threads are not here


@after_fork
def _keep_inherited() -> None:
    """Keep the sessions that a forked process got from its parent: closing one would wait for ever for threads that are not here."""
    _inherited.extend(_open)
    if _core.cache_info().currsize:
        _threads_lost.set()


def in_openvino(name: str, path: Path, dtype: str, threads: int) -> Call:
    """Open a file in OpenVINO, with a request for each of the calls that run at once.

    Args:
        name: of the file, for messages.
        path: of the file.
        dtype: a key of `DTYPES`.
        threads: that compute.

    Raises:
        ModelFileError: OpenVINO refuses it.
        MachineError: OpenVINO is not installed.
    """
    core = _core(_import("openvino"))
    try:
        model = core.read_model(path)
        config = {
            "INFERENCE_PRECISION_HINT": DTYPES[dtype],
            # A fork was seen to hang in its first answer, twice in several hundred; one thread waits for no other.
            "INFERENCE_NUM_THREADS": 1 if _threads_lost.is_set() else threads,
            "PERFORMANCE_HINT": "LATENCY",
        }
        compiled = core.compile_model(model, "CPU", config)
    except Exception as error:
        raise ModelFileError(f"{name}: OpenVINO refuses it ({first_line(error)})", "export it again") from None
    idle: deque[Any] = (
        deque()
    )  # a request holds the tensors of one call: two threads that share one get each other's answers

    def call(x: np.ndarray) -> tuple[np.ndarray, ...]:
        try:
            request = idle.pop()
        except IndexError:
            request = compiled.create_infer_request()
        request.infer([x], share_inputs=True)
        found = tuple(tensor.data.copy() for tensor in request.output_tensors)
        idle.append(request)
        return found

    return call


@functools.cache
def _core(ov: Any) -> Any:
    """OpenVINO's Core, the same one as long as this process lives.

    On processors with AMX each Core gives the thread a stack for signals. When two end in the order in which they were made, the
    one that is left to the thread is freed memory, and the next Ctrl-C a segmentation fault (OpenVINO 2026.4).
    """
    core = ov.Core()
    core.set_property({"ENABLE_MMAP": False})  # a file written over would end the process
    return core


def _import(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        fix = f'pip install "podium[{EXTRAS[package]}]"'
        raise MachineError(f"{package} is not installed, which runs exported files", fix) from None


def first_line(error: Exception) -> str:
    """What an engine says first of what is wrong."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
