"""The rows of the leaderboard: the numbers of each network, from the run folders of its seeds."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from podium.comparison.rounds import NEAR
from podium.comparison.speeds import speed_fields
from podium.comparison.tuned import Tuned
from podium.errors import ModelFileError
from podium.runs import bundle
from podium.runs.folder import SETTINGS, RunFolder
from podium.settings import read_file

# Field of a row -> the key of result.json that it is the mean of, over the seeds.
AVERAGED = {
    "top1": "top1",
    "top5": "top5",
    "loss": "loss",
    "ece": "ece",
    "macro_f1": "macro_f1",
    "train_seconds": "seconds",
    "train_images_per_second": "images_per_second",
    "steps": "steps",
    "epochs": "epochs",
}
BUSY = 0.1  # share of the processors, taken by other programs, above which a machine was busy


@dataclass(frozen=True)
class Row:
    """A network that finished. The fields are the keys of the JSON and the columns of the CSV file, in this order.

    Args:
        model, seeds: the network's name, and how many runs the numbers are of.
        top1, top5, loss, ece, macro_f1: means over the seeds, as `metrics.summarize` defines them.
        top1_std: standard deviation between the seeds; None for one seed.
        train_seconds, train_images_per_second, steps, epochs: of the training, means over the seeds.
        params, macs, size_mb: parameters, multiply-adds of one image, and megabytes of the deployed file: the exported one
            where another engine than eager PyTorch is the fastest, else that of the weights.
        latency_p50_ms, latency_p95_ms: of one image, over `latency_passes` passes; None where speed was not measured.
        images_per_second: over `batch_passes` passes of `batch` images, with as many threads as `threads`.
        run: the folder of the best run.
        image_size: side of the input in pixels; None where it is not on record.
        small: whether the network has its form for small images; None where it is not on record.
        learned: whether it is better, on the images that rank, than answering the most frequent class every time.
        top1_low, top1_high: 95 % interval of top1.
        pareto: whether no other network is both as accurate and as fast.
        ranked_by, ranked_on, ranked_n: the score that networks are ranked by, on which images, and how many these are.
        score, score_low, score_high: that score, the mean over the seeds, and its 95 % interval.
        behind: how far the score is below the highest.
        behind_at_most: how far it truly is below that of the best network at most, at 95 % for all networks at once.
        worse: whether it is neither the best nor tied with it, at 95 % for all networks at once.
        images_needed: how many images to rank on would show that it is within the distance that a person allows, if it goes on
            as on these; None where none would.
        recommended: whether this is the network to take.
        folds: of the cross-validation that the scores come from; None where one network answered all images.
        start: what its weights were at the start; None where that is not on record.
        linear_probe: out-of-fold accuracy of a linear classifier on its frozen features, on training images; None without one.
        balanced_accuracy: mean recall of the classes; None for runs of Podium 0.1.0.
        occupied: the share of the processors that other programs took while its speed was measured; None where that is not on
            record.
        engine: the fastest engine that keeps the answers, whose times these are; None where only eager PyTorch was timed.
        latency_low_ms, latency_high_ms: 95 % interval of the median latency; None where that is not known.
        eager_latency_p50_ms: of one image in eager PyTorch.
        of_limits: the largest share that it takes of a limit of latency or size: above 1 it is not recommended; None where no
            limits were given.
        tuned: the settings that tuning gave it, and how; None where nothing was tuned.
        flattered: how far the choice of these settings flatters the score that ranks, which is taken off `score`; None where
            nothing was tuned.
    """

    model: str
    seeds: int
    top1: float
    top1_std: float | None
    top5: float
    loss: float
    ece: float
    macro_f1: float
    train_seconds: float
    train_images_per_second: float
    steps: float
    epochs: float
    params: int
    macs: int
    size_mb: float
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    images_per_second: float | None
    batch: float | None
    latency_passes: float | None
    batch_passes: float | None
    threads: float | None
    run: str
    image_size: int | None
    small: bool | None
    learned: bool
    top1_low: float
    top1_high: float
    pareto: bool = False
    ranked_by: str = "top1"
    ranked_on: str = ""
    ranked_n: int = 0
    score: float = 0.0
    score_low: float = 0.0
    score_high: float = 1.0
    behind: float = 0.0
    behind_at_most: float = 0.0
    worse: bool = False
    images_needed: int | None = None
    recommended: bool = False
    folds: int | None = None
    start: str | None = None
    linear_probe: float | None = None
    balanced_accuracy: float | None = None
    occupied: float | None = None
    engine: str | None = None
    latency_low_ms: float | None = None
    latency_high_ms: float | None = None
    eager_latency_p50_ms: float | None = None
    of_limits: float | None = None
    tuned: str | None = None
    flattered: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON and CSV have it."""
        return dataclasses.asdict(self)

    @property
    def busy(self) -> bool:
        """Whether its speed was measured while other programs had the processors, so that it is slower than it would be."""
        return self.occupied is not None and self.occupied > BUSY

    @property
    def loose(self) -> bool:
        """Whether its time was up before its latency was known to 5 %."""
        p50, low, high = self.latency_p50_ms, self.latency_low_ms, self.latency_high_ms
        return None not in (p50, low, high) and max(high - p50, p50 - low) > NEAR * p50  # type: ignore[operator]

    def dominates(self, other: Row) -> bool:
        """Whether this network is at least as accurate and as fast as another, and better in one of them."""
        mine, theirs = self.latency_p50_ms, other.latency_p50_ms
        if mine is None or theirs is None:
            return False
        return self.top1 >= other.top1 and mine <= theirs and (self.top1 > other.top1 or mine < theirs)


@dataclass(frozen=True)
class Failed:
    """A network that did not finish, and why."""

    model: str
    error: str

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON and CSV have it."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class LinearProbeOnly:
    """A network that was not trained: only a linear classifier on its frozen features was.

    Args:
        model: its name.
        start: what its weights are.
        linear_probe: out-of-fold accuracy, on training images: not to be compared with `top1`, which is of other images. None
            where there are too few for one.
        images: how many training images that is of.
    """

    model: str
    start: str
    linear_probe: float | None
    images: int

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON and CSV have it."""
        return {"model": self.model, "start": self.start, "linear_probe": self.linear_probe, "trained": False}


@dataclass(frozen=True)
class Trial:
    """A finished run and what its result.json holds."""

    folder: RunFolder
    result: dict[str, Any]


class Trials:
    """The finished runs of one network from one start, one for each seed.

    Args:
        model: its name, with its start where another row has the same network.
        start: what its weights were at the start; None where that is not on record.
        linear_probe: as in `Row`.
    """

    def __init__(self, model: str, start: str | None = None, linear_probe: float | None = None) -> None:
        self.model, self.start, self.linear_probe = model, start, linear_probe
        self.tuned: Tuned | None = None
        self.runs: list[Trial] = []
        self._chosen = 0

    @property
    def flattered(self) -> float:
        """How far the choice of its settings flatters the score that ranks."""
        return self.tuned.flatters if self.tuned is not None else 0.0

    def add(self, folder: RunFolder, result: dict[str, Any]) -> None:
        """Add a finished run and its result."""
        self.runs.append(Trial(folder, result))

    @property
    def results(self) -> list[dict[str, Any]]:
        """What result.json holds of each run."""
        return [run.result for run in self.runs]

    @property
    def best(self) -> Trial:
        """The run to take: the first until `choose` has looked at their answers."""
        return self.runs[self._chosen]

    def choose(self, scores: np.ndarray, likelihoods: np.ndarray) -> None:
        """Take the run with the best score; of equal ones the one that finds the labels likelier, else the first.

        Args:
            scores: (S,) of the runs, on the images that rank; more is better.
            likelihoods: (S,) mean log-likelihood of the labels on these.
        """
        self._chosen = max(range(len(self.runs)), key=lambda run: (scores[run], likelihoods[run], -run))

    @property
    def spec(self) -> dict[str, Any] | None:
        """What rebuilds the network of the best run; None where its card cannot be read."""
        try:
            return json.loads((self.best.folder / bundle.CARD).read_text(encoding="utf-8"))["spec"]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def row(self, interval: tuple[float, float]) -> Row:
        """The network's row, before it is compared with the others.

        Args:
            interval: of its accuracy on the images that its result reports.
        """
        results, best = self.results, self.best
        first, top1 = results[0], [result["top1"] for result in results]
        image_size, small = _form(best)
        low, high = interval
        means: dict[str, Any] = {field: statistics.fmean(r[key] for r in results) for field, key in AVERAGED.items()}
        timed, size = speed_fields([run.folder for run in self.runs])
        return Row(
            model=self.model,
            seeds=len(results),
            top1_std=statistics.stdev(top1) if len(top1) > 1 else None,
            params=first["params"],
            macs=first["macs"],
            size_mb=(size or first["size_bytes"]) / 1e6,
            run=best.folder.path.name,
            image_size=image_size,
            small=small,
            learned=True,
            start=self.start,
            linear_probe=self.linear_probe,
            tuned=f"{self.tuned.best.words()}: {self.tuned.how}" if self.tuned is not None else None,
            flattered=self.tuned.flatters if self.tuned is not None else None,
            top1_low=low,
            top1_high=high,
            folds=first.get("cross_validation", {}).get("folds"),
            balanced_accuracy=_mean_of(results, "balanced_accuracy"),
            **means,
            **timed,
        )


def _mean_of(results: list[dict[str, Any]], key: str) -> float | None:
    """The mean of a number over runs; None where a run of an older version has none."""
    values = [result[key] for result in results if key in result]
    return statistics.fmean(values) if len(values) == len(results) else None


@dataclass(frozen=True)
class Outputs:
    """The logits of all runs of a comparison on the same images.

    Args:
        split: which images these are.
        logits: of each network, of each of its runs (N, K).
        labels: (N,).
        groups: (N,) which group each image belongs to; None where images have no groups.
    """

    split: str
    logits: list[list[np.ndarray]]
    labels: np.ndarray
    groups: np.ndarray | None


def outputs_of(networks: Sequence[Trials], ranking: bool) -> Outputs:
    """Read what the runs of a comparison answer to the images that rank them, or to those that their results report.

    Args:
        networks: whose runs were evaluated on the same images.
        ranking: the validation images; of runs that have no outputs for any, the images that their results report.

    Raises:
        ModelFileError: a run was evaluated on other images than the first.
    """
    runs = [run for network in networks for run in network.runs]
    first = runs[0].folder
    validated = ranking and first.validation is not None
    labels = (first.validation or first.predictions)[1] if validated else first.predictions[1]
    logits: list[list[np.ndarray]] = []
    for network in networks:
        rows = []
        for run in network.runs:
            found = run.folder.validation if validated else run.folder.predictions
            if found is None or not np.array_equal(found[1], labels):
                what = f"{run.folder.path}: was evaluated on other images than {first.path}"
                raise ModelFileError(what, f"delete {run.folder.path} to train it again")
            rows.append(found[0][:, : len(run.result["classes"])])
        logits.append(rows)
    groups = first.validation_groups if validated else first.groups
    return Outputs("val" if validated else runs[0].result["split"], logits, labels, groups)


def _form(run: Trial) -> tuple[int | None, bool | None]:
    """Input size and form of a run; older results lack them, and the run's settings have them."""
    if "image_size" in run.result:
        return run.result["image_size"], run.result["small"]
    recorded = read_file(run.folder / SETTINGS) if run.folder.started else {}
    return recorded.get("image_size"), recorded.get("small")
