"""`podium bench --engines`: one network in every engine of this machine, and the fastest that keeps its accuracy."""

from __future__ import annotations

import functools
import importlib.util
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from podium.deployment.export import card_of, onnx_bytes
from podium.deployment.graph import Graph, answer, graph_of
from podium.deployment.runtime import Exported, load_exported
from podium.errors import EXTRAS, UsageError
from podium.evaluation.cost import count_net
from podium.evaluation.speed import timed
from podium.platform import cores
from podium.runs.bundle import Bundle

ENGINES = ("eager", "compiled", "onnxruntime", "openvino")
BATCHES = (1, 8, 32)  # of which the best is reported beside 1
AGREEMENT = 0.995  # share of images whose first class must be eager float32's
CACHE = "TORCHINDUCTOR_CACHE_DIR"  # where torch's compiler keeps what it made
SIDES = (256, 512, 1024, 2048)  # of the matrices whose product is this machine's peak
LONG = 0.1  # seconds from which a product is large enough; without instructions for bfloat16 the largest would take a minute

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


@dataclass(frozen=True)
class EngineRow:
    """How fast a network is in an engine. The fields are the keys of the JSON, in this order.

    Args:
        model, engine, dtype, threads: what was timed, and with how many threads.
        batch, n: images a pass, and passes that were timed.
        latency_ms: {p50, p95, mean, sd} of a pass.
        images_per_second: by the median pass.
        share_of_peak: multiply-adds a second over those of a large matrix product; None where that is not known.
        agreement: share of the images whose first class is eager float32's; None where there is nothing to compare with.
    """

    model: str
    engine: str
    dtype: str
    threads: int
    batch: int
    n: int
    latency_ms: dict[str, float]
    images_per_second: float
    share_of_peak: float | None
    agreement: float | None

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class MissingRow:
    """An engine that a network was not timed in, and why."""

    model: str
    engine: str
    missing: str

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON has it."""
        return asdict(self)


Rows = list[EngineRow | MissingRow]


@dataclass(frozen=True)
class Timing:
    """How a network is timed in its engines.

    Args:
        seconds: of timing each engine and batch.
        threads: that compute.
        batches: images a pass, of which the fastest is reported beside 1.
        say: called with what is timed next.
    """

    seconds: float = 2.0
    threads: int = field(default_factory=cores)
    batches: tuple[int, ...] = BATCHES
    say: Callable[[str], None] = lambda _: None


def engines_of(names: str) -> tuple[str, ...]:
    """Engines by name, or "all" of them.

    Raises:
        UsageError: there is none of that name.
    """
    wanted = ENGINES if names == "all" else tuple(name.strip() for name in names.split(","))
    if unknown := [name for name in wanted if name not in ENGINES]:
        raise UsageError(f"--engines {unknown[0]}", f"all, or some of {', '.join(ENGINES)}")
    return wanted


def runners(bundle: Bundle, engines: tuple[str, ...], threads: int) -> Iterator[Runner | Absent]:
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
    files = [e for e in engines if e in ("onnxruntime", "openvino")]
    if missing := [e for e in files if not is_here(e)]:
        yield from (Absent(e, f'not installed: pip install "podium[{EXTRAS[e]}]"') for e in missing)
        files = [e for e in files if e not in missing]
    if files:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            try:
                path.write_bytes(onnx_bytes(graph_of(bundle, inside=True), card_of(bundle, True)))
            except Exception as error:  # of torch's exporter
                yield from (Absent(engine, f"not exported: {why(engine, error)}") for engine in files)
                return
            yield from file_runners(path, tuple(files), threads)


def is_here(package: str) -> bool:
    """Whether an engine is installed."""
    return importlib.util.find_spec(package) is not None


def file_runners(path: Path, engines: tuple[str, ...], threads: int) -> Iterator[Runner | Absent]:
    """Yield an exported file in each engine that reads it; `Absent` for one that fails."""
    for engine in engines:
        if engine not in ("onnxruntime", "openvino") or (path.suffix == ".xml" and engine != "openvino"):
            continue
        try:
            made = load_exported(path, engine=engine, threads=threads)
            stored = made.card.get("dtype", "float32")
            yield _exported(made, stored)
            if engine == "openvino" and stored == "float32":
                yield _exported(load_exported(path, engine=engine, dtype="bfloat16", threads=threads), "bfloat16")
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


@functools.cache
def peak(dtype: str, threads: int) -> float | None:
    """Multiply-adds a second that a large matrix product reaches here; None of a dtype torch has no fast product in.

    Args:
        dtype: "float32" or "bfloat16".
        threads: that compute it, as set by `torch.set_num_threads`.
    """
    if dtype not in ("float32", "bfloat16"):
        return None
    for side in SIDES:
        a = torch.randn(side, side).to(getattr(torch, dtype))
        a @ a
        if (first := _product_seconds(a)) > LONG:
            break
    return side**3 / min(first, *(_product_seconds(a) for _ in range(4)))


def _product_seconds(a: torch.Tensor) -> float:
    start = time.perf_counter()
    a @ a
    return time.perf_counter() - start


def bench(
    name: str,
    runners: Iterator[Runner | Absent],
    images: np.ndarray,
    reference: np.ndarray | None,
    macs: int | None,
    timing: Timing,
) -> Rows:
    """Time a network in its engines, at batch 1 and at the best batch.

    Args:
        name: of the network, for the rows.
        runners: what the function `runners` or `file_runners` gives.
        images: (N, S, S, C) uint8, on which answers are compared.
        reference: the first class of each in eager float32; None: nothing to compare with.
        macs: multiply-adds an image, for the share of peak; None: it is not reported.
        timing: how long and with which batches.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(timing.threads)
    rows: Rows = []
    try:
        for runner in runners:
            if isinstance(runner, Absent):
                rows.append(MissingRow(name, runner.engine, runner.reason))
                continue
            timing.say(f"timing {name} in {runner.engine} {runner.dtype}")
            try:
                rows += _rows(name, runner, images, reference, macs, timing)
            except Exception as error:  # each engine has its own
                rows.append(MissingRow(name, runner.engine, f"{runner.dtype}: {why(runner.engine, error)}"))
    finally:
        torch.set_num_threads(before)
    return rows


def _rows(
    name: str, runner: Runner, images: np.ndarray, reference: np.ndarray | None, macs: int | None, timing: Timing
) -> list[EngineRow]:
    """The rows of one engine and dtype, at batch 1 and at the best batch; arguments as of `bench`."""
    agrees = None if reference is None else agreement(runner.call, images, reference)
    figures = []
    for batch in sorted({1, *timing.batches}):
        x = np.ascontiguousarray(np.resize(images, (batch, *images.shape[1:])))
        call = functools.partial(runner.call, x)
        figures.append(timed(call, batch, batches=10**6, seconds=timing.seconds, fewest=5))
    best = max(figures, key=lambda row: row["images_per_second"])
    top = peak(runner.dtype, timing.threads) if macs else None  # after the timings, which it would disturb
    rows = []
    for row in figures[:1] if best is figures[0] else (figures[0], best):
        share = round(macs * row["images_per_second"] / top, 3) if macs and top else None
        rows.append(
            EngineRow(name, runner.engine, runner.dtype, timing.threads, **row, share_of_peak=share, agreement=agrees)
        )
    return rows


def agreement(call: Call, images: np.ndarray, reference: np.ndarray) -> float:
    """Share of images (N, S, S, C) whose first class is the reference's (N,)."""
    got = [call(images[i : i + 16])[0].argmax(1) for i in range(0, len(images), 16)]
    return float((np.concatenate(got) == reference).mean())


def pick(rows: Rows, batch: int | None = 1) -> EngineRow | None:
    """The fastest row whose answers are eager float32's on 99.5 % of the images.

    Args:
        batch: images a pass; None: any.
    """
    kept = [
        row
        for row in rows
        if isinstance(row, EngineRow)
        and row.agreement is not None
        and row.agreement >= AGREEMENT
        and batch in (None, row.batch)
    ]
    return max(kept, key=lambda row: row.images_per_second, default=None)


def bench_bundle(name: str, bundle: Bundle, engines: tuple[str, ...], images: np.ndarray, timing: Timing) -> Rows:
    """Every engine's rows of a run, bundle or fresh network; see `bench`."""
    reference = answer(bundle, images)[0].argmax(1)
    macs = count_net(bundle.model).macs
    return bench(name, runners(bundle, engines, timing.threads), images, reference, macs, timing)
