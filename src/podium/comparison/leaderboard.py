"""Which network wins, why, and how sure that is."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from podium import tables
from podium.comparison.sizes import one_size
from podium.comparison.statistics import Answers
from podium.comparison.statistics import wilson as wilson  # as part of the leaderboard's own names
from podium.comparison.verdict import verdict
from podium.errors import ModelFileError, UsageError
from podium.evaluation.cost import short
from podium.evaluation.metrics import TOP5_FROM
from podium.files import write_atomic, write_text
from podium.runs import bundle
from podium.runs.folder import SETTINGS, SPEED, RunFolder
from podium.settings import read_file

# Column -> the key of result.json that it averages over seeds.
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


@dataclass
class Leaderboard:
    """Rows of networks, the best first, after them those that have not learned; those that failed last.

    Args:
        rows: model, seeds, top1 (mean over seeds), top1_std (None for one seed), top1_low and top1_high (its 95 % interval),
            learned (whether it is better than the most frequent class every time), top5, loss, ece, macro_f1, image_size
            (pixels) and small (its form; None where they are not on record), params, macs, size_mb, latency_p50_ms and
            latency_p95_ms of one image (of latency_passes passes), images_per_second (of batch_passes passes of `batch`
            images), train_seconds, steps, pareto, behind (how far its top1 is below the best), behind_95 (half of that
            distance's 95 % interval), run (the folder of its best run); or model and error.
        n: images each was judged on.
        split: which those are.
        report: the page with all of it, where one was written.
        guess: top-1 of answering the most frequent class every time.
        enough: whether so many images could show that a network has learned.
        over_seeds: whether the intervals are over seeds too: some network has more than one.
        classes: how many there are.
        one_size: what one input size for all would do, where they see images of different sizes.
        runs: the best run of each network: of its seeds, that with the most images right.
    """

    rows: list[dict[str, Any]]
    n: int = 0
    split: str = ""
    report: Path | None = None
    guess: float = 0.0
    enough: bool = True
    over_seeds: bool = False
    classes: int = 0
    one_size: str = ""
    runs: dict[str, RunFolder] = field(default_factory=dict)

    @classmethod
    def read(cls, trials: list[Path], failed: dict[str, str] | None = None) -> Leaderboard:
        """Rank finished run folders; runs of one network with several seeds become one row.

        Args:
            trials: run folders, judged on the same images.
            failed: network -> why, for those that did not finish.

        Raises:
            ModelFileError: a run is damaged, or was judged on other images than the first.
        """
        runs: dict[str, list[dict[str, Any]]] = {}
        folders: dict[str, list[RunFolder]] = {}
        for path in trials:
            folder = RunFolder(path)
            result = folder.result
            result["speed"] = (
                json.loads((path / SPEED).read_text(encoding="utf-8")) if (path / SPEED).is_file() else None
            )
            runs.setdefault(result["model"], []).append(result)
            folders.setdefault(result["model"], []).append(folder)
        rows = [_row(model, results) for model, results in runs.items()]
        board = cls(rows)
        if rows:
            first = next(iter(runs.values()))[0]
            board.n, board.split, board.classes = first["n"], first["split"], len(first["classes"])
            for row in rows:
                places = range(row["seeds"])
                results = runs[row["model"]]
                best = max(places, key=lambda i: (results[i]["top1"], -results[i]["loss"], -i))
                board.runs[row["model"]] = folders[row["model"]][best]
                row["run"] = board.runs[row["model"]].path.name
                row["image_size"], row["small"] = _form(results[best], board.runs[row["model"]])
            board._compare(folders)
            board.one_size = one_size([s for row in board.rows if (s := _spec(board.runs[row["model"]])) is not None])
        board.rows += [{"model": model, "error": why} for model, why in (failed or {}).items()]
        return board

    def _compare(self, folders: dict[str, list[RunFolder]]) -> None:
        """Order the rows, and say of each how far it is behind the best and above guessing."""
        right, labels = _answers(folders)
        answers = Answers([right[row["model"]] for row in self.rows])
        frequent = labels == np.bincount(labels).argmax()
        self.guess, self.over_seeds = float(frequent.mean()), answers.freedom > 0
        self.enough = Answers([np.ones((1, len(labels)), bool)]).above(0, frequent).clear
        for number, row in enumerate(self.rows):
            row["number"] = number
            row["learned"] = answers.above(number, frequent).clear
            row["top1_low"], row["top1_high"] = answers.interval(number)
        self.rows.sort(key=lambda row: (not row["learned"], -row["top1"], row["loss"]))
        numbers = [row.pop("number") for row in self.rows]
        for number, row in zip(numbers, self.rows, strict=True):
            row["pareto"] = row["latency_p50_ms"] is not None and not any(_dominates(other, row) for other in self.rows)
            apart = answers.difference(numbers[0], number)
            row["behind"] = self.rows[0]["top1"] - row["top1"]
            row["behind_95"] = apart.half if row is not self.rows[0] else 0.0

    @property
    def ranked(self) -> list[dict[str, Any]]:
        """The rows with numbers."""
        return [row for row in self.rows if "error" not in row]

    @property
    def best(self) -> RunFolder | None:
        """The run to take: the best of the network that wins; None where nothing has learned."""
        return self.runs[self.ranked[0]["model"]] if self.ranked and self.ranked[0]["learned"] else None

    def to_list(self) -> list[dict[str, Any]]:
        """The rows, for JSON."""
        return self.rows

    def interval(self, row: dict[str, Any]) -> tuple[float, float]:
        """Where the true top-1 of a row lies with 95 %."""
        return row["top1_low"], row["top1_high"]

    def verdict(self) -> str:
        """Who wins, how sure that is, and which network is as good within the noise but faster."""
        return verdict(self)

    def table(self) -> None:
        """Print it; a narrow screen goes without the columns that matter least (leaderboard.csv has all)."""
        screen = tables.screen()
        endless = screen.options.update(max_width=1000)
        never = () if self.classes >= TOP5_FROM else ("top-5 %",)
        fitted = (self._table((*never, *DISPENSABLE[:n])) for n in range(len(DISPENSABLE) + 1))
        fitting = (table for table in fitted if screen.measure(table, options=endless).maximum <= screen.width)
        screen.print(next(fitting, self._table((*never, *DISPENSABLE))))

    def _table(self, left_out: Sequence[str]) -> Any:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        about = f"judged on {self.n:,} {self.split} images; latency of one image; * on the Pareto front"
        caption = about if self.ranked else None
        shown = Table(
            box=SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold", caption=caption, caption_justify="left"
        )
        columns = [column for column in SHOWN if column not in left_out]
        shown.add_column("model", no_wrap=True)
        for column in columns:
            shown.add_column(column, justify="right", no_wrap=True)
        for row in self.rows:
            cells = ["failed"] if "error" in row else [SHOWN[column](row) for column in columns]
            shown.add_row(row["model"], *cells)
        return shown

    def save(self, path: str | Path) -> None:
        """Write the table (.csv), or a copy of the report (.html)."""
        path = Path(path)
        if path.suffix == ".csv":
            self.to_csv(path)
        elif path.suffix == ".html" and self.report is not None:
            write_atomic(path, self.report.read_bytes())
        else:
            raise UsageError(
                f"{path}: nothing to save so", "give a name that ends in .csv, or in .html after a comparison"
            )

    def to_csv(self, path: Path) -> None:
        """Write it whole or not at all; text that a spreadsheet would take for a formula is quoted."""
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, columns, lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            writer.writerow({key: safe_cell(value) for key, value in row.items()})
        write_text(path, buffer.getvalue())


def _row(model: str, results: list[dict[str, Any]]) -> dict[str, Any]:
    first = results[0]
    timed = [result["speed"] for result in results if result["speed"] is not None]

    def median(*keys: str) -> float | None:
        values = []
        for entry in timed:
            for key in keys:
                entry = entry.get(key) if entry is not None else None
            values += [entry] if entry is not None else []
        return statistics.median(values) if values else None

    row: dict[str, Any] = {"model": model, "seeds": len(results)}
    row |= {column: statistics.fmean(result[key] for result in results) for column, key in AVERAGED.items()}
    spread = statistics.stdev(result["top1"] for result in results) if len(results) > 1 else None
    return {
        "model": model,
        "seeds": len(results),
        "top1": row.pop("top1"),
        "top1_std": spread,
        **{key: value for key, value in row.items() if key not in ("model", "seeds")},
        "params": first["params"],
        "macs": first["macs"],
        "size_mb": first["size_bytes"] / 1e6,
        "latency_p50_ms": median("latency_ms", "p50"),
        "latency_p95_ms": median("latency_ms", "p95"),
        "images_per_second": median("images_per_second"),
        "batch": median("batch"),
        "latency_passes": median("n"),
        "batch_passes": median("batches"),
        "threads": median("threads"),
    }


def _answers(folders: dict[str, list[RunFolder]]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Of each network, which images each of its runs has right (S, N), and the images' labels (N,)."""
    right: dict[str, np.ndarray] = {}
    first: tuple[np.ndarray, RunFolder] | None = None
    for model, runs in folders.items():
        rows = []
        for run in runs:
            logits, labels = run.predictions
            first = first or (labels, run)
            if not np.array_equal(labels, first[0]):
                what = f"{run.path}: was judged on other images than {first[1].path}"
                raise ModelFileError(what, f"delete {run.path} to train it again")
            rows.append(logits.argmax(1) == labels)
        right[model] = np.stack(rows)
    if first is None:
        raise UsageError("no runs to compare", "give one run at least")
    return right, first[0]


def _form(result: dict[str, Any], folder: RunFolder) -> tuple[int | None, bool | None]:
    """Input size and form of a run; those of before they stood in the result are in its settings."""
    if "image_size" in result:
        return result["image_size"], result["small"]
    recorded = read_file(folder / SETTINGS) if folder.started else {}
    return recorded.get("image_size"), recorded.get("small")


def _spec(folder: RunFolder) -> dict[str, Any] | None:
    """What rebuilds a run's network; None where it is not there to be read."""
    try:
        return json.loads((folder / bundle.CARD).read_text(encoding="utf-8"))["spec"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _dominates(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether a is at least as accurate and as fast as b, and better in one."""
    if a["latency_p50_ms"] is None:
        return False
    no_worse = a["top1"] >= b["top1"] and a["latency_p50_ms"] <= b["latency_p50_ms"]
    return no_worse and (a["top1"] > b["top1"] or a["latency_p50_ms"] < b["latency_p50_ms"])


def _spread(row: dict[str, Any]) -> str:
    return f" ±{100 * row['top1_std']:.2f}" if row["top1_std"] is not None else ""


def _latency(row: dict[str, Any]) -> str:
    return "" if row["latency_p50_ms"] is None else f"{row['latency_p50_ms']:.2f}{'*' if row['pareto'] else ' '}"


# What is printed of a row, and which columns a narrow screen goes without, the first first.
SHOWN: dict[str, Callable[[dict[str, Any]], str]] = {
    "top-1 %": lambda row: f"{100 * row['top1']:.2f}{_spread(row)}",
    "top-5 %": lambda row: f"{100 * row['top5']:.2f}",
    "loss": lambda row: f"{row['loss']:.3f}",
    "ECE": lambda row: f"{row['ece']:.3f}",
    "params": lambda row: short(row["params"]),
    "px": lambda row: str(row["image_size"] or ""),
    "MMACs": lambda row: f"{row['macs'] / 1e6:,.1f}",
    "p50 ms": _latency,
    "img/s": lambda row: "" if row["images_per_second"] is None else f"{row['images_per_second']:,.0f}",
    "train s": lambda row: f"{row['train_seconds']:.0f}",
}
DISPENSABLE = ("ECE", "loss", "top-5 %", "train s", "MMACs", "img/s", "params", "px")


def safe_cell(value: Any) -> Any:
    """A cell that no spreadsheet runs."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
