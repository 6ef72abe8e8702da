"""Run an exported file by ONNX Runtime or OpenVINO: from the bytes of an image to probabilities. Needs no torch."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from podium.calls import public
from podium.data.names import is_text, show
from podium.data.preprocessing import Preprocessing
from podium.deployment.sealed import FIX, read_ir, read_onnx
from podium.errors import EXTRAS, MachineError, ModelFileError, UsageError
from podium.platform import cores, trim_freed_memory
from podium.runs.answers import Rule
from podium.runs.predictor import Predictor

Engine = Literal["onnxruntime", "openvino"]
FILE_ENGINES: tuple[str, ...] = get_args(Engine)
DTYPES = {"float32": "f32", "bfloat16": "bf16"}  # in which OpenVINO may compute what is float32 in the file
MODEL, MODEL_IR = "model.onnx", "model.xml"  # in a folder that `podium quantize` made

Call = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # input -> logits, probabilities


@dataclass(frozen=True, repr=False)
class Exported(Predictor):
    """An exported file that is loaded, with its classes and preprocessing.

    Args:
        call: from the graph's input to logits and probabilities (N, K), float32.
        classes: in the order of the logits.
        preprocessing: from an image file to the square that the graph takes.
        card: the metadata in the file.
        engine: what runs it, in which dtype, with how many threads.
    """

    call: Call
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    card: dict[str, Any]
    engine: dict[str, Any]

    def logits_and_probabilities(self, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # noqa: D102
        if self.card["preprocessing_inside"]:
            return self.call(np.ascontiguousarray(squares))
        p = self.preprocessing
        pixels = squares if p.channel_order == "rgb" else squares[..., ::-1]
        scale, offset = p.scale_and_offset()
        x = pixels.astype(np.float32) * scale + offset
        return self.call(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def is_exported(path: str | Path) -> bool:
    """Whether a path names an exported file, or the folder of one.

    A folder is what its card says: that of a run or bundle names the digest of its weights, that of `podium quantize` the
    digest of each file. An exported file beside a run leaves it a run.
    """
    path = Path(path)
    if not path.is_dir():
        return path.suffix.lower() in (".onnx", ".xml", ".pt2")
    if not any((path / name).is_file() for name in (MODEL, MODEL_IR)):
        return False
    try:
        digests = json.loads((path / "card.json").read_bytes())["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return not any((path / name).is_file() for name in ("model.safetensors", "settings.yaml"))
    return isinstance(digests, dict)


def file_of(path: Path) -> Path:
    """The exported file that a path names: itself, or the one in the folder."""
    if path.exists() and not path.is_file() and not path.is_dir():  # reading a pipe could take for ever
        raise ModelFileError(f"{show(path)}: a pipe or a device, not a file", "give the file itself")
    if not path.is_dir():
        return path
    return path / (MODEL if (path / MODEL).is_file() else MODEL_IR)


@public
def load_exported(
    path: str | Path, *, engine: Engine | None = None, dtype: str = "float32", threads: int | None = None
) -> Exported:
    """Read an exported file.

    Args:
        path: `.onnx`, or `.xml` with its `.bin` beside it, or a folder with one.
        engine: "onnxruntime" or "openvino", which reads `.onnx` too; by itself ONNX Runtime for `.onnx` where it is installed.
        dtype: "float32", or "bfloat16" (OpenVINO's): in which a float32 file is computed.
        threads: that compute; the processors of this process if None.

    Raises:
        ModelFileError: missing, damaged, changed, not Podium's, or with weights outside itself.
        MachineError: the engine is not installed; says how to.
    """
    path = file_of(Path(path))
    name, kind = show(path), path.suffix.lower()
    if kind == ".pt2":
        raise ModelFileError(
            f"{name}: a program of torch, which torch opens by pickle", "load the run, or export it as .onnx"
        )
    engine = engine or ("openvino" if kind == ".xml" or not _there("onnxruntime") else "onnxruntime")
    if engine not in FILE_ENGINES or (kind == ".xml" and engine != "openvino"):
        raise UsageError(f"engine: {engine!r} for {name}", f"one of {', '.join(FILE_ENGINES)}; .xml is OpenVINO's")
    if dtype not in DTYPES or (dtype != "float32" and engine != "openvino"):
        raise UsageError(f"dtype: {dtype!r} with {engine}", "float32; or bfloat16, with openvino")
    before = _state(path)
    content = _read(path)
    weights = _read(path.with_suffix(".bin")) if kind == ".xml" else b""
    card = read_ir(name, content, weights) if kind == ".xml" else read_onnx(name, content)
    try:
        classes, preprocessing = tuple(card["classes"]), Preprocessing.from_dict(card["preprocessing"])
        inside = card["preprocessing_inside"]
        if not all(isinstance(c, str) for c in classes) or not isinstance(inside, bool):
            raise ValueError("classes that are no names")
        Rule.of_card(card, classes)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{name}: not a card of Podium ({type(error).__name__}: {error})"
        raise ModelFileError(what, FIX) from None
    threads = threads or cores()
    del content, weights  # the engines read the file themselves: they would keep these bytes
    call = _openvino(name, path, dtype, threads) if engine == "openvino" else _onnx(name, path, threads)
    if _state(path) != before:
        raise ModelFileError(f"{name}: changed while it was read", "load it again")
    made = Exported(
        call, classes, preprocessing, card, {"engine": engine, "dtype": card.get("dtype", dtype), "threads": threads}
    )
    blank = np.zeros((1, preprocessing.image_size, preprocessing.image_size, preprocessing.channels), np.uint8)
    shape = made.logits_and_probabilities(blank)[1].shape
    if shape != (1, len(classes)):
        raise ModelFileError(f"{name}: gives {shape}, and has {len(classes)} classes", "export it again")
    trim_freed_memory()  # of what preparing the network freed, glibc keeps twice the size of the network
    return made


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{show(path)}: cannot be read ({error.strerror})", "check the path") from None


def _state(path: Path) -> list[tuple[int, ...]]:
    """What changes when a file, or the weights beside it, are written."""
    files = [p for p in (path, path.with_suffix(".bin")) if p.is_file()]
    return [(f.st_dev, f.st_ino, f.st_size, f.st_mtime_ns) for f in map(os.stat, files)]


def _there(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _import(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        fix = f'pip install "podium[{EXTRAS[package]}]"'
        raise MachineError(f"{package} is not installed, which runs exported files", fix) from None


def _onnx(name: str, path: Path, threads: int) -> Call:
    """The graph in ONNX Runtime, whose session would hold the bytes of a file as long as it lives."""
    ort = _import("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # it would keep the weights twice, as read and as packed, and is no faster
    try:
        file = str(path) if is_text(str(path)) else path.read_bytes()
        session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        inputs, outputs = session.get_inputs(), [output.name for output in session.get_outputs()]
        if len(inputs) != 1 or outputs != ["logits", "probabilities"]:
            raise ValueError(f"it gives {', '.join(outputs)}")
    except Exception as error:  # ONNX Runtime has a class of its own for each kind
        raise ModelFileError(f"{name}: ONNX Runtime refuses it ({_first_line(error)})", "export it again") from None
    source = inputs[0].name

    def call(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits, probabilities = session.run(outputs, {source: x})
        return logits, probabilities

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


def _openvino(name: str, path: Path, dtype: str, threads: int) -> Call:
    core = _core(_import("openvino"))
    try:
        model = core.read_model(path)
        config = {
            "INFERENCE_PRECISION_HINT": DTYPES[dtype],
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
        }
        request = core.compile_model(model, "CPU", config).create_infer_request()
    except Exception as error:
        raise ModelFileError(f"{name}: OpenVINO refuses it ({_first_line(error)})", "export it again") from None

    def call(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        request.infer([x], share_inputs=True)
        logits, probabilities = (request.get_output_tensor(i).data.copy() for i in (0, 1))
        return logits, probabilities

    return call


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
