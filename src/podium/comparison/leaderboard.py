"""Which network wins, why, and how sure that is."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podium import console
from podium.errors import UsageError
from podium.evaluation.metrics import paired
from podium.files import write_atomic, write_text
from podium.training.folder import SPEED, RunFolder

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

# Student's t for 95 % with 1, 2, ... 9 degrees of freedom: the last serves for more, where it is a little wide.
T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


@dataclass
class Leaderboard:
    """Rows of networks, the best first; those that failed last.

    Args:
        rows: model, seeds, top1 (mean over seeds), top1_std (None for one seed), top5, loss, ece, macro_f1, params, macs, size_mb,
            latency_p50_ms and latency_p95_ms of one image, images_per_second, train_seconds, steps, pareto, behind (how far
            its top1 is below the best), behind_95 (half of that distance's 95 % interval); or model and error.
        n: images each was judged on.
        split: which those are.
        report: the page with all of it, where one was written.
        guess: top-1 of answering the most frequent class every time.
    """

    rows: list[dict[str, Any]]
    n: int = 0
    split: str = ""
    report: Path | None = None
    guess: float = 0.0

    @classmethod
    def read(cls, trials: list[Path], failed: dict[str, str] | None = None) -> Leaderboard:
        """Rank finished run folders; runs of one network with several seeds become one row.

        Args:
            trials: run folders.
            failed: network -> why, for those that did not finish.
        """
        runs: dict[str, list[dict[str, Any]]] = {}
        folders: dict[str, RunFolder] = {}
        for path in trials:
            result = RunFolder(path).result
            speed = path / SPEED
            result["speed"] = json.loads(speed.read_text(encoding="utf-8")) if speed.is_file() else None
            runs.setdefault(result["model"], []).append(result)
            folders.setdefault(result["model"], RunFolder(path))
        rows = [_row(model, results) for model, results in runs.items()]
        rows.sort(key=lambda row: (-row["top1"], row["loss"]))
        for row in rows:
            row["pareto"] = row["latency_p50_ms"] is not None and not any(_dominates(other, row) for other in rows)
        one = next(iter(runs.values()), [{}])[0]
        counts = [sum(row) for row in one.get("confusion", [])]
        board = cls(rows, one.get("n", 0), one.get("split", ""), guess=max(counts) / sum(counts) if counts else 0.0)
        for row in rows:
            row["behind"] = rows[0]["top1"] - row["top1"]
            row["behind_95"] = board._uncertain(row, folders) if row is not rows[0] else 0.0
        rows += [{"model": model, "error": why} for model, why in (failed or {}).items()]
        return board

    @property
    def ranked(self) -> list[dict[str, Any]]:
        """The rows with numbers."""
        return [row for row in self.rows if "error" not in row]

    def to_list(self) -> list[dict[str, Any]]:
        """The rows, for JSON."""
        return self.rows

    def interval(self, row: dict[str, Any]) -> tuple[float, float]:
        """Where the true top-1 lies with 95 %: from the spread over seeds (Student 1908), else from the images (Wilson 1927)."""
        if row["top1_std"] is not None:
            half = self._half(row)
            return max(0.0, row["top1"] - half), min(1.0, row["top1"] + half)
        return wilson(row["top1"], self.n)

    def _half(self, row: dict[str, Any]) -> float:
        """Half of that interval."""
        if row["top1_std"] is not None:
            return T95[min(row["seeds"], len(T95) + 1) - 2] * row["top1_std"] / math.sqrt(row["seeds"])
        low, high = wilson(row["top1"], self.n)
        return (high - low) / 2

    def _uncertain(self, row: dict[str, Any], folders: dict[str, RunFolder]) -> float:
        """Half of the 95 % interval of how far a network is behind the best.

        Of two single runs only the images count that one of them alone has right [McNemar 1947], and one more, for where
        they are few [after Agresti and Min 2005]: this tells networks apart whose own intervals overlap. Over seeds the two
        errors add as independent ones do.
        """
        best = self.rows[0]
        if best["seeds"] == row["seeds"] == 1:
            (ours, labels), (theirs, _) = (folders[each["model"]].predictions for each in (best, row))
            pair = paired(ours, theirs, labels)
            return 1.96 * math.sqrt(pair["lost"] + pair["won"] + 1) / pair["n"]
        return math.hypot(self._half(best), self._half(row))

    def verdict(self) -> str:
        """Who wins, how sure that is, and which network is as good within the noise but faster."""
        if not self.ranked:
            return "No network finished."
        best, *others = self.ranked
        low, high = self.interval(best)
        how = f"{best['seeds']} seeds" if best["top1_std"] is not None else f"{self.n:,} {self.split} images"
        does = "wins with" if len(self.rows) > 1 else "reaches"
        text = f"{best['model']} {does} {100 * best['top1']:.2f} % top-1 (95 % interval {100 * low:.2f}-{100 * high:.2f} %, from {how})."
        equal = [row for row in others if row["behind"] <= row["behind_95"]]
        if equal:
            named = ", ".join(f"{row['model']} ({_apart(row)} behind)" for row in equal)
            text += f" Within the noise of that: {named}; more {'seeds or ' if best['seeds'] < 5 else ''}images would tell them apart."
            timed = [row for row in equal if row["latency_p50_ms"] and best["latency_p50_ms"]]
            fastest = min(timed, key=lambda row: row["latency_p50_ms"], default=None)
            if fastest and fastest["latency_p50_ms"] < best["latency_p50_ms"] / 1.1:
                text += f" {fastest['model']} answers {best['latency_p50_ms'] / fastest['latency_p50_ms']:.1f}x faster."
        elif others:
            text += f" The next, {others[0]['model']}, has {100 * others[0]['top1']:.2f} %: clearly less, by {_apart(others[0])}."
        if blind := [row["model"] for row in self.ranked if self.interval(row)[0] <= self.guess]:
            named, guess = ", ".join(blind), f"{100 * self.guess:.1f} %"
            text += f" Not learned: {named}; no better than the most frequent class every time ({guess}). Train longer, or with a lower lr."
        return text

    def table(self) -> None:
        """Print it; a narrow screen goes without the columns that matter least (leaderboard.csv has all)."""
        screen = console.screen()
        endless = screen.options.update(max_width=1000)
        tables = (self._table(DISPENSABLE[:n]) for n in range(len(DISPENSABLE) + 1))
        fitting = (table for table in tables if screen.measure(table, options=endless).maximum <= screen.width)
        screen.print(next(fitting, self._table(DISPENSABLE)))

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
                entry = entry[key]
            values.append(entry)
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
        "threads": median("threads"),
    }


def _dominates(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether a is at least as accurate and as fast as b, and better in one."""
    if a["latency_p50_ms"] is None:
        return False
    no_worse = a["top1"] >= b["top1"] and a["latency_p50_ms"] <= b["latency_p50_ms"]
    return no_worse and (a["top1"] > b["top1"] or a["latency_p50_ms"] < b["latency_p50_ms"])


def wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """The interval for a share seen in n draws [Wilson 1927]."""
    if n == 0:
        return 0.0, 1.0
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return centre - half, centre + half


def short(number: float) -> str:
    """61706 as 61.7k."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{letter}"
    return f"{number:.0f}"


def _apart(row: dict[str, Any]) -> str:
    return f"{100 * row['behind']:.2f} ± {100 * row['behind_95']:.2f} points"


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
    "MMACs": lambda row: f"{row['macs'] / 1e6:,.1f}",
    "p50 ms": _latency,
    "img/s": lambda row: "" if row["images_per_second"] is None else f"{row['images_per_second']:,.0f}",
    "train s": lambda row: f"{row['train_seconds']:.0f}",
}
DISPENSABLE = ("ECE", "loss", "top-5 %", "train s", "MMACs", "img/s", "params")


def safe_cell(value: Any) -> Any:
    """A cell that no spreadsheet runs."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
