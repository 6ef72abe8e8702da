"""What each network of a comparison costs when deployed: in the fastest engine of this machine that keeps its answers.

After all training, each network is exported and tried in ONNX Runtime, OpenVINO and eager PyTorch. Then all are timed in turn,
each in its engine, by the code of `podium bench`. An engine that fails is a reason in the file, and stops nothing.
"""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from podium.comparison.cross_validation import fold_folders
from podium.comparison.progress import StudyProgress, for_run
from podium.comparison.rounds import Clock, in_turn, interval_of_median, largest_rounds
from podium.comparison.schedule import Part
from podium.data.dataset import Dataset
from podium.deployment.engine_speed import BATCHES, EngineRow, MissingRow, Rows, Timing, pick, time_engines
from podium.deployment.engines import Runner, exported_runners, file_runners, is_here, runners_of, why
from podium.deployment.export import squares
from podium.deployment.graph import answer
from podium.deployment.runtime import FILE_ENGINES
from podium.errors import MachineError, PodiumError
from podium.evaluation.cost import count_net
from podium.evaluation.speed import allowance, many_within, timed
from podium.platform import cores
from podium.runs import bundle
from podium.runs.bundle import Bundle
from podium.runs.folder import ENGINE_SPEED, RESULT, RunFolder
from podium.training.run import StepProgress
from podium.training.threads import computing_with

IMAGES, FEWEST_IMAGES = 256, 64  # on which answers are compared, as far as the time allows, and at least
TRIAL = 0.1  # share of the time that each engine is tried for, and each batch
TOGETHER = 1 << 30  # bytes of the weights of networks that are open at the same time


@dataclass(frozen=True)
class Deployed:
    """A network that is to be timed.

    Args:
        name: of its row.
        seed: of the run.
        kept: the folder that gets the figures.
        folder: the run's folder: with folds that of the first, else the same.
    """

    name: str
    seed: int
    kept: Path
    folder: Path


def time_deployed(trials: Sequence[Part], data: Dataset, progress: StudyProgress = None) -> list[str]:
    """Find the fastest engine of each network that keeps its answers, time all in turn, and keep the figures of each.

    Args:
        trials: what is ranked and finished; one run of each network is timed, and none where the figures of all are there.
        data: on whose validation images, or else test images, answers are compared.
        progress: as `Study.run` takes it.

    Returns:
        Notes: of networks that are timed in eager PyTorch for want of another engine, and why.
    """
    left = untimed(trials)
    without: dict[str, list[str]] = {}
    with computing_with(cores()):
        for group in together(left):
            with tempfile.TemporaryDirectory(prefix="podium-engines-", ignore_cleanup_errors=True) as folder:
                opened: list[Opened] = []
                for network in group:
                    heard = for_run(progress, left.index(network), len(left), network.name, network.seed)
                    try:
                        opened.append(Opened(network, data, Path(folder) / f"{len(opened)}.onnx", heard))
                    except Exception as error:  # of an engine, or of too little memory
                        without.setdefault(_reason(error), []).append(network.name)
                in_turn([each.round for each in opened])
                for reason, name in [(each.only_eager(), each.network.name) for each in opened]:
                    without.setdefault(reason, []).append(name)
                opened.clear()  # an open file cannot be removed on every system
    if left and (lacking := _lacking()):
        return [f'timed in eager PyTorch alone, since {lacking} is not installed: pip install "podium[export]"']
    return [
        f"timed in eager PyTorch alone: {', '.join(names)} ({reason})" for reason, names in without.items() if reason
    ]


def untimed(trials: Sequence[Part]) -> list[Deployed]:
    """The first run of each network that has not been timed since the last run ended, or with folds that of its first fold.

    So all are timed again where a network has come later: times of different days, or machines, are not compared.
    """
    first = {trial.candidate.name: trial for trial in reversed(trials)}
    ended = max((_ended(trial) for trial in trials), default=0)
    files = [(trial.candidate.name, trial.path / ENGINE_SPEED) for trial in trials]
    timed = {name for name, file in files if file.is_file() and file.stat().st_mtime_ns >= ended}
    left = [trial for trial in trials if trial in first.values() and trial.candidate.name not in timed]
    return [
        Deployed(part.candidate.name, part.seed, part.path, next(fold_folders(part.path), part.path)) for part in left
    ]


def _ended(trial: Part) -> int:
    """When a run, or the last of its folds, ended, in nanoseconds."""
    return max((run / RESULT).stat().st_mtime_ns for run in [*fold_folders(trial.path)] or [trial.path])


def together(networks: Sequence[Deployed]) -> Iterator[list[Deployed]]:
    """Part networks into groups whose weights fit into memory together, in their order."""
    group: list[Deployed] = []
    size = 0
    for network in networks:
        own = RunFolder(network.folder).result["size_bytes"]
        if group and size + own > TOGETHER:
            yield group
            group, size = [], 0
        group.append(network)
        size += own
    if group:
        yield group


class Opened:
    """A network in the engine that it is deployed in, while it is timed.

    Args:
        network: which one.
        data: on whose images answers are compared.
        path: where its ONNX file is written.
        heard: called with (rounds done, rounds, what is timed).
    """

    def __init__(self, network: Deployed, data: Dataset, path: Path, heard: StepProgress) -> None:
        self.network, self.path, self.heard, self.threads = network, path, heard, cores()
        result = RunFolder(network.folder).result
        self.seconds, self.weights = allowance(result["seconds"]), result["size_bytes"]
        heard(
            0,
            0,
            {"timing": f"ONNX Runtime and OpenVINO where installed, then the fastest for at most {self.seconds:.0f} s"},
        )
        net = bundle.load(network.folder)
        split = next(s for s in ("val", "test", *data.splits) if s in data.splits)
        self.images, _ = squares(data, net, _how_many(net, self.seconds), split)
        reference = answer(net, self.images)[0].argmax(1)
        self.map_bytes = count_net(net.model).map_bytes
        self.rows: Rows = time_engines(
            network.name, self._candidates(net), self.images, reference, None, self._timing()
        )
        self._choose()

    def _candidates(self, net: Bundle) -> Iterator[Any]:
        yield from runners_of(net, ("eager",), self.threads)
        yield from exported_runners(net, self.path, FILE_ENGINES, self.threads)

    def _timing(self) -> Timing:
        count = len(FILE_ENGINES) + 1

        def say(what: str) -> None:
            self.heard(0, count, {"timing": what.partition(" in ")[2]})

        return Timing(self.seconds * TRIAL, self.threads, (1,), say)

    def only_eager(self) -> str:
        """Why no other engine ran the network; nothing where one did."""
        ran = any(isinstance(row, EngineRow) and row.engine != "eager" for row in self.rows)
        return "" if ran else _reasons(self.rows)

    def _choose(self) -> None:
        """Open the fastest engine that keeps the answers and has not failed.

        Raises:
            MachineError: there is none.
        """
        while (row := pick(self.rows)) is not None:
            try:
                call = self._open(row).call
            except Exception as error:
                self._failed(row, error)
                continue
            self.row, self.call = row, call
            self.clock = Clock(functools.partial(call, np.ascontiguousarray(self.images[:1])), self.seconds)
            return
        raise MachineError(f"{self.network.name}: every engine fails: {_reasons(self.rows)}", "run it again")

    def _open(self, row: EngineRow) -> Runner:
        if row.engine == "eager":
            runners = runners_of(bundle.load(self.network.folder), ("eager",), self.threads)
        else:
            runners = file_runners(self.path, (row.engine,), self.threads)
        for runner in runners:
            if isinstance(runner, Runner) and runner.dtype == row.dtype:
                return runner
        raise RuntimeError("it could not be opened again")

    def _failed(self, row: EngineRow, error: Exception) -> None:
        reason = MissingRow(row.model, row.engine, f"{row.dtype}: {why(row.engine, error)}")
        self.rows = [reason if each is row else each for each in self.rows]

    def round(self) -> bool:
        """Time a round of one image; after the last one the throughput too, and keep the figures.

        Returns:
            Whether that was the last.
        """
        done, count = len(self.clock.medians), largest_rounds(self.seconds)
        self.heard(min(done, count), count, {"timing": self.row.engine})
        try:
            self.clock.round()
            if not self.clock.over:
                return False
            figures = self._figures()
        except Exception as error:  # the next engine begins anew
            self._failed(self.row, error)
            try:
                self._choose()
            except MachineError:
                return True  # its row has the speed that was measured before
            return False
        RunFolder(self.network.kept).write_json(ENGINE_SPEED, figures)
        return True

    def _figures(self) -> dict[str, Any]:
        """What the file holds: the engine, its latency with the interval of the median, its throughput, and the other engines."""
        clock, row = self.clock, self.row
        low, high = interval_of_median(clock.medians) or (min(clock.medians), max(clock.medians))
        latency = {"p50": clock.p50, "p95": clock.p95, "low": low, "high": high}
        eager = next((r for r in self.rows if isinstance(r, EngineRow) and r.engine == "eager"), None)
        of_eager = clock.p50 if row is eager else eager.latency_ms["p50"] if eager is not None else None
        return {
            "engine": row.engine,
            "dtype": row.dtype,
            "threads": row.threads,
            "device": row.device,
            "latency_ms": {key: round(value, 6) for key, value in latency.items()},
            "n": len(clock.passes),
            "rounds": len(clock.medians),
            **self._throughput(),
            "eager_latency_ms": round(of_eager, 6) if of_eager is not None else None,
            "size_bytes": self.weights if row is eager else self.path.stat().st_size,
            "agreement": row.agreement,
            "images": len(self.images),
            "occupied": clock.others.share,
            "others": [
                {k: v for k, v in other.to_dict().items() if k != "model"} for other in self.rows if other is not row
            ],
        }

    def _throughput(self) -> dict[str, Any]:
        """The highest rate among some batches: those that memory and time allow."""
        best = {
            "images_per_second": round(1000 / self.clock.p50, 1),
            "batch": 1,
            "batches": len(self.clock.passes),
        }
        most = many_within(self.seconds / 2, self.clock.p50 / 1000, self.map_bytes)
        for batch in (batch for batch in BATCHES if 1 < batch <= most):
            x = np.ascontiguousarray(np.resize(self.images, (batch, *self.images.shape[1:])))
            once = functools.partial(self.call, x)
            found = timed(once, batch, batches=10**6, seconds=TRIAL * self.seconds, fewest=3, burn_in=1)
            if found["images_per_second"] > best["images_per_second"]:
                best = {"images_per_second": found["images_per_second"], "batch": batch, "batches": found["n"]}
        return best


def _lacking() -> str:
    """What is not installed that any other engine than PyTorch needs; nothing where all of it is."""
    missing = [package for package in ("onnx", "onnxscript") if not is_here(package)]
    return " and ".join(missing + ([] if any(map(is_here, FILE_ENGINES)) else ["onnxruntime"]))


def _how_many(net: Bundle, seconds: float) -> int:
    """How many images answers are compared on: those that eager PyTorch answers in the time, within limits."""
    p = net.preprocessing
    blank = np.zeros((1, p.image_size, p.image_size, p.channels), np.uint8)
    answer(net, blank)  # the first pass prepares
    begun = time.perf_counter()
    answer(net, blank)
    return max(FEWEST_IMAGES, min(IMAGES, int(seconds / max(time.perf_counter() - begun, 1e-6))))


def _reason(error: Exception) -> str:
    return error.what if isinstance(error, PodiumError) else why("", error)


def _reasons(rows: Rows) -> str:
    missing = [f"{row.engine}: {row.missing}" for row in rows if isinstance(row, MissingRow)]
    return "; ".join(dict.fromkeys(missing))
