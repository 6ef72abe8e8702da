"""A network in each engine of this machine: eager and compiled PyTorch, ONNX Runtime and OpenVINO."""

from __future__ import annotations

import importlib.util
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from podium.deployment.export import card_of, onnx_bytes
from podium.deployment.graph import Graph, graph_of
from podium.deployment.runtime import FILE_ENGINES, Engine, Exported, load_exported
from podium.errors import EXTRAS, UsageError
from podium.runs.bundle import Bundle

ENGINES = ("eager", "compiled", "onnxruntime", "openvino")
CACHE = "TORCHINDUCTOR_CACHE_DIR"  # where torch's compiler keeps what it made

Call = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # (N, S, S, C) uint8 -> logits, probabilities


@dataclass(frozen=True)
class Runner:
    """A network in an engine.

    Args:
        engine, dtype: as reported; a dtype of int8 is a file's own.
        call: from images to logits and probabilities.
    """

    engine: str
    dtype: str
    call: Call


@dataclass(frozen=True)
class Absent:
    """An engine that is not installed here, or that fails.

    Args:
        engine: its name.
        reason: in a line.
    """

    engine: str
    reason: str


def engines_of(names: str) -> tuple[str, ...]:
    """Engines by name, or "all" of them.

    Raises:
        UsageError: there is none of that name.
    """
    wanted = ENGINES if names == "all" else tuple(name.strip() for name in names.split(","))
    if unknown := [name for name in wanted if name not in ENGINES]:
        raise UsageError(f"--engines {unknown[0]}", f"all, or some of {', '.join(ENGINES)}")
    return wanted


def runners_of(bundle: Bundle, engines: tuple[str, ...], threads: int) -> Iterator[Runner | Absent]:
    """Yield the network in each engine, one at a time; `Absent` for one that this machine lacks, or that fails."""
    plain = Graph(bundle.model.float().eval(), bundle.preprocessing, inside=True)
    if "eager" in engines:
        yield Runner("eager", "float32", _torch(plain))
    if "compiled" in engines:
        with ExitStack() as cache:
            for dtype in (torch.float32, torch.bfloat16):
                try:
                    made = _compiled(graph_of(bundle, inside=True), dtype, cache)
                except Exception as error:
                    yield Absent("compiled", why("compiled", error))
                    break
                yield made
    files = tuple(e for e in engines if e in FILE_ENGINES)
    if files:
        with tempfile.TemporaryDirectory() as folder:
            yield from exported_runners(bundle, Path(folder) / "model.onnx", files, threads)


def exported_runners(bundle: Bundle, path: Path, engines: tuple[str, ...], threads: int) -> Iterator[Runner | Absent]:
    """Export the network, and yield the file in each engine; `Absent` for one that this machine lacks, or that fails.

    Args:
        bundle: the network.
        path: where its ONNX file is written, if some engine is here to read it.
        engines: some of `runtime.FILE_ENGINES`.
        threads: that compute.
    """
    missing = [e for e in engines if not is_here(e)]
    yield from (Absent(e, f'not installed: pip install "podium[{EXTRAS[e]}]"') for e in missing)
    files = tuple(e for e in engines if e not in missing)
    if not files:
        return
    try:
        path.write_bytes(onnx_bytes(graph_of(bundle, inside=True), card_of(bundle, True)))
    except Exception as error:  # of torch's exporter
        yield from (Absent(engine, f"not exported: {why(engine, error)}") for engine in files)
        return
    yield from file_runners(path, files, threads)


def is_here(package: str) -> bool:
    """Whether an engine is installed."""
    return importlib.util.find_spec(package) is not None


def file_runners(path: Path, engines: tuple[str, ...], threads: int) -> Iterator[Runner | Absent]:
    """Yield an exported file in each engine that reads it; `Absent` for one that fails."""
    for engine in engines:
        if engine not in ("onnxruntime", "openvino") or (path.suffix == ".xml" and engine != "openvino"):
            continue
        try:
            made = load_exported(path, engine=cast(Engine, engine), threads=threads)
            stored = made.card.get("dtype", "float32")
            yield _exported(made, stored)
            if engine == "openvino" and stored == "float32":
                yield _exported(load_exported(path, engine="openvino", dtype="bfloat16", threads=threads), "bfloat16")
        except Exception as error:  # each engine has its own
            yield Absent(engine, why(engine, error))


def _exported(made: Exported, dtype: str) -> Runner:
    return Runner(made.engine["engine"], dtype, made.logits_and_probabilities)


def _torch(graph: Callable[[torch.Tensor], Any], dtype: torch.dtype = torch.float32) -> Call:
    @torch.inference_mode()
    def call(squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits, probabilities = graph(torch.from_numpy(squares))
        return logits.float().numpy(), probabilities.float().numpy()

    return call


def _compiled(graph: Graph, dtype: torch.dtype, cache: ExitStack) -> Runner:
    """The network through torch.compile, its weights packed for the kernels; compiled here, and tried.

    Args:
        cache: holds the empty cache that replaces the compiler's own where a second compilation needs it.
    """
    name, (size, channels) = str(dtype).removeprefix("torch."), graph_size(graph)

    def build() -> Call:
        torch._dynamo.reset()
        return _torch(torch.compile(graph, options={"freezing": True}, dynamic=False), dtype)

    call = _Again(build, cache)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call(np.zeros((1, size, size, channels), np.uint8))
    return Runner("compiled", name, call)


class _Again:
    """A compiled network; where it fails it is compiled once more, with an empty cache.

    An interrupted compiler leaves truncated files in its cache and reads them the next time.
    """

    def __init__(self, build: Callable[[], Call], cache: ExitStack) -> None:
        self.build, self.cache, self.call, self.tries = build, cache, build(), 0

    def __call__(self, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        try:
            return self.call(squares)
        except Exception:  # of the compiler's own, or the linker's
            self.tries += 1
            if self.tries > 1:
                raise
        self.cache.enter_context(_empty_cache())
        self.call = self.build()
        return self.call(squares)


@contextmanager
def _empty_cache() -> Iterator[None]:
    """Within it torch's compiler keeps what it makes in a new folder, and takes nothing from the one it has."""
    from torch._inductor.utils import clear_caches

    before = os.environ.get(CACHE)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ[CACHE] = folder
        clear_caches()
        try:
            yield
        finally:
            os.environ.pop(CACHE)
            if before is not None:
                os.environ[CACHE] = before
            clear_caches()


def graph_size(graph: Graph) -> tuple[int, int]:
    """Side and channels of the images that a graph takes."""
    spec: dict[str, Any] = graph.net.spec  # type: ignore[assignment]
    return spec["image_size"], spec["in_chans"]


def why(engine: str, error: Exception) -> str:
    """Why an engine does not run a network, in a line."""
    from torch._inductor.cpp_builder import get_cpp_compiler

    if engine == "compiled":
        try:
            get_cpp_compiler()
        except Exception:
            return "no C++ compiler is here, which torch.compile needs"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}".removesuffix(": ")
