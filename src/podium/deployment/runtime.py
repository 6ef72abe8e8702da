"""Run an exported file by ONNX Runtime or OpenVINO: from the bytes of an image to probabilities. Needs no torch."""

from __future__ import annotations

import importlib.util
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from podium.calls import public
from podium.data.names import show
from podium.data.preprocessing import Preprocessing
from podium.deployment.described import HEAT_MAP, described, files_of, span_read
from podium.deployment.sessions import DTYPES, Call, first_line, in_onnxruntime, in_openvino
from podium.errors import ModelFileError, UsageError
from podium.platform import cores, trim_freed_memory
from podium.runs.predictor import Explained, Predictor

Engine = Literal["onnxruntime", "openvino"]
FILE_ENGINES: tuple[str, ...] = get_args(Engine)
CLASS_MAP = "class-map"  # the method by which a file with heat maps explains its answers
MODEL, MODEL_IR = "model.onnx", "model.xml"  # in a folder that `podium quantize` made


@dataclass(frozen=True)
class Source:
    """How an exported file is opened, the first time and again.

    Args:
        path: of the file.
        engine, dtype, threads: as `load_exported` takes them.
        digest: the SHA-256 that the file carries; None takes whatever is there.
    """

    path: Path
    engine: Engine
    dtype: str
    threads: int
    digest: str | None = None


@dataclass(frozen=True, repr=False)
class Exported(Predictor):
    """An exported file that is loaded, with its classes and preprocessing. Any number of threads may use it.

    Pickled, for a worker process, it is its path and digest. The worker opens the file when it first predicts.

    Args:
        call: from the graph's input to logits and probabilities (N, K), and to heat maps (N, h, w) where it has them, float32.
        classes: in the order of the logits.
        preprocessing: from an image file to the square that the graph takes.
        card: the metadata in the file.
        engine: what runs it, in which dtype, with how many threads.
        source: how it was opened.
    """

    call: Call
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    card: dict[str, Any]
    engine: dict[str, Any]
    source: Source

    def __reduce__(self) -> tuple[Callable[..., Exported], tuple[Any, ...]]:
        again = Reopened(self.source)
        return Exported, (again, self.classes, self.preprocessing, self.card, self.engine, self.source)

    @property
    def has_heat_maps(self) -> bool:
        """Whether the file gives a heat map of its answer."""
        return HEAT_MAP in self.card

    @property
    def methods(self) -> tuple[str, ...]:  # noqa: D102
        return (CLASS_MAP,) if self.has_heat_maps else ()

    def explained(self, images: Any, label: str | None = None, method: str | None = None) -> Explained:  # noqa: D102
        if not self.has_heat_maps:
            what = f"explain: {show(self.source.path)} gives no heat maps"
            raise UsageError(what, "write it with `podium export --heatmap`, or explain the run that it was made from")
        if label is not None:
            what = f"class: {label}, but an exported file has the heat map of its answer only"
            raise UsageError(what, "leave the class out, or explain the run that the file was made from")
        return super().explained(images, None, method)

    def heat(self, squares: np.ndarray, classes: np.ndarray, method: str) -> np.ndarray:  # noqa: D102
        return self.outputs_of(squares)[2]

    def span(self, method: str) -> float:  # noqa: D102
        return span_read(self.card)

    def outputs(self, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # noqa: D102
        logits, probabilities, *_ = self.outputs_of(squares)
        return logits, probabilities

    def outputs_of(self, squares: np.ndarray) -> tuple[np.ndarray, ...]:
        """All that the file gives: logits and probabilities (N, K), and heat maps (N, h, w) where it has them.

        Args:
            squares: (N, S, S, C) uint8, in RGB, as `Preprocessing.square` makes them.
        """
        if self.card["preprocessing_inside"]:
            return self.call(np.ascontiguousarray(squares))
        p = self.preprocessing
        pixels = squares if p.channel_order == "rgb" else squares[..., ::-1]
        scale, offset = p.scale_and_offset()
        x = pixels.astype(np.float32) * scale + offset
        return self.call(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


class Reopened:
    """The graph of an exported file in a process that got it from another, opened at the first call.

    Args:
        source: how it was opened there.
    """

    def __init__(self, source: Source) -> None:
        self.source, self.lock = source, threading.Lock()
        self.call: Call | None = None

    def __reduce__(self) -> tuple[type[Reopened], tuple[Source]]:
        return Reopened, (self.source,)

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, ...]:  # noqa: D102
        with self.lock:
            if self.call is None:
                self.call = _opened(self.source).call
        return self.call(x)


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


def engine_here(path: Path) -> Engine | None:
    """The engine that runs an exported file by itself: ONNX Runtime for `.onnx` where it is installed; None if there is none here."""
    ours: tuple[Engine, ...] = ("openvino",) if path.suffix.lower() == ".xml" else ("onnxruntime", "openvino")
    return next((engine for engine in ours if importlib.util.find_spec(engine) is not None), None)


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
    engine = engine or engine_here(path) or ("openvino" if kind == ".xml" else "onnxruntime")
    if engine not in FILE_ENGINES or (kind == ".xml" and engine != "openvino"):
        raise UsageError(f"engine: {engine!r} for {name}", f"one of {', '.join(FILE_ENGINES)}; .xml is OpenVINO's")
    if dtype not in DTYPES or (dtype != "float32" and engine != "openvino"):
        raise UsageError(f"dtype: {dtype!r} with {engine}", "float32; or bfloat16, with openvino")
    return _opened(Source(path, engine, dtype, threads or cores()))


def _opened(source: Source) -> Exported:
    """Open a file.

    Raises:
        ModelFileError: it cannot be read, or is not the one of the digest.
    """
    path, name = source.path, show(source.path)
    before = _state(path)
    found = described(path)
    if source.digest not in (None, found.digest):
        what = f"{name}: changed since it was loaded (sha256 {found.digest[:12]}, it was {str(source.digest)[:12]})"
        raise ModelFileError(what, "load it again, and hand that to the workers")
    if source.engine == "openvino":
        call = in_openvino(name, path, source.dtype, source.threads)
    else:
        call = in_onnxruntime(name, path, source.threads)
    if _state(path) != before:
        raise ModelFileError(f"{name}: changed while it was read", "load it again")
    dtype = source.dtype if source.dtype != "float32" else found.card.get("dtype", source.dtype)
    engine = {"engine": source.engine, "dtype": dtype, "threads": source.threads}
    p, again = found.preprocessing, replace(source, path=path.absolute(), digest=found.digest)
    made = Exported(call, found.classes, p, found.card, engine, again)
    blank = np.zeros((1, p.image_size, p.image_size, p.channels), np.uint8)
    try:
        shape = made.outputs(blank)[1].shape
    except Exception as error:  # each engine has its own
        what = f"{name}: {source.engine} cannot run it on a black image ({first_line(error)})"
        raise ModelFileError(what, "export it again") from None
    if shape != (1, len(found.classes)):
        raise ModelFileError(f"{name}: gives {shape}, and has {len(found.classes)} classes", "export it again")
    trim_freed_memory()  # of what preparing the network freed, glibc keeps twice the size of the network
    return made


def _state(path: Path) -> list[tuple[int, ...]]:
    """What changes when a file, or the weights beside it, are written."""
    files = [p for p in files_of(path) if p.is_file()]
    return [(f.st_dev, f.st_ino, f.st_size, f.st_mtime_ns) for f in map(os.stat, files)]
