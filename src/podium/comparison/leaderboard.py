"""The leaderboard: networks ranked by accuracy, with intervals, as a table, a CSV file and a verdict."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from podium import html, tables
from podium.comparison.decide import Outcome, Rules, decide
from podium.comparison.dropped import HeatOnly
from podium.comparison.learning_curve import Curve
from podium.comparison.protocol import Protocol
from podium.comparison.ranking import SCORES
from podium.comparison.rows import Failed, LinearProbeOnly, Row, Trials
from podium.comparison.sizes import one_size
from podium.comparison.tuned import Tuned
from podium.comparison.verdict import verdict
from podium.errors import UsageError
from podium.evaluation.cost import short
from podium.evaluation.metrics import TOP5_FROM
from podium.files import write_atomic, write_text
from podium.runs.folder import RunFolder
from podium.training.transfer.linear_probe import LinearProbe
from podium.training.transfer.source import RANDOM


@dataclass
class Leaderboard:
    """The networks of a comparison, ranked: the best first, after them those that have not learned.

    Args:
        networks: a row for each network that finished.
        failed: those that did not finish.
        untrained: those of which only a linear probe was made.
        dropped: those that were trained in heats and not in full.
        found: what the comparison found; None where no network finished.
        rules: how networks were ranked and recommended.
        report: the page with all of it, where one was written.
        classes: how many there are.
        one_size: what one input size for all would do, where they see images of different sizes.
        runs: the run to take of each network: of its seeds, the best by the score that ranks.
        folds: of the cross-validation that all scores come from; None where there was none.
        names: the row's name of each run, by the path of its folder.
        linear_probe_images: how many training images linear probes were made on.
        curve: accuracy of the recommended network against the number of training images, where it was measured.
        tuned: what tuning found for each network, by the name of its row.
        protocol: what a person decided about the ranking; None of single runs.
    """

    networks: list[Row]
    failed: list[Failed] = field(default_factory=list)
    untrained: list[LinearProbeOnly] = field(default_factory=list)
    dropped: list[HeatOnly] = field(default_factory=list)
    found: Outcome | None = None
    rules: Rules = field(default_factory=Rules)
    report: Path | None = None
    classes: int = 0
    one_size: str = ""
    runs: dict[str, RunFolder] = field(default_factory=dict)
    folds: int | None = None
    names: dict[Path, str] = field(default_factory=dict)
    linear_probe_images: int = 0
    curve: Curve | None = None
    tuned: dict[str, Tuned] = field(default_factory=dict)
    protocol: Protocol | None = None

    @classmethod
    def read(
        cls,
        trials: list[Path],
        failed: dict[str, str] | None = None,
        linear_probes: Mapping[Path, LinearProbe] | None = None,
        untrained: Sequence[LinearProbeOnly] = (),
        rules: Rules | None = None,
        dropped: Sequence[HeatOnly] = (),
        tuned: Mapping[Path, Tuned] | None = None,
    ) -> Leaderboard:
        """Rank finished run folders; runs of one network from one start with several seeds become one row.

        Args:
            trials: run folders, evaluated on the same images.
            failed: network -> why, for those that did not finish.
            linear_probes: run folder -> the linear probe on what the run started from.
            untrained: networks of which only a linear probe was made.
            rules: how networks are ranked and recommended; None: on validation images by top-1.
            dropped: networks that were trained in heats and not in full.
            tuned: run folder -> what tuning found for its network.

        Raises:
            ModelFileError: a run is damaged, or was evaluated on other images than the first.
        """
        results = {path: RunFolder(path).result for path in trials}
        board = cls([], [Failed(model, why) for model, why in (failed or {}).items()], list(untrained), list(dropped))
        board.rules, board.names = rules or Rules(), row_names(results)
        networks: dict[str, Trials] = {}
        tried = [*(found.images for found in (linear_probes or {}).values()), *(row.images for row in untrained)]
        board.linear_probe_images = max(tried, default=0)
        for path, result in results.items():
            name, found = board.names[path], (linear_probes or {}).get(path)
            network = networks.setdefault(name, Trials(name, result.get("start"), found.top1 if found else None))
            network.tuned = (tuned or {}).get(path)
            network.add(RunFolder(path), result)
        if networks:
            board._decide(networks)
        return board

    def _decide(self, networks: dict[str, Trials]) -> None:
        """Rank the networks and choose one."""
        result = next(iter(networks.values())).results[0]
        self.classes, self.folds = len(result["classes"]), result.get("cross_validation", {}).get("folds")
        self.found = decide(list(networks.values()), self.rules)
        self.networks = self.found.rows
        self.runs = {network.model: network.best.folder for network in networks.values()}
        self.tuned = {network.model: network.tuned for network in networks.values() if network.tuned is not None}
        specs = [networks[row.model].spec for row in self.networks]
        self.one_size = one_size([spec for spec in specs if spec is not None])

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows as dictionaries, as the JSON and the CSV file have them; of a network that failed {model, error}."""
        return [*self.ranked, *(row.to_dict() for row in self.others), *(row.to_dict() for row in self.failed)]

    @property
    def others(self) -> list[HeatOnly | LinearProbeOnly]:
        """The networks that were not trained in full, without those that failed."""
        return [*self.dropped, *self.untrained]

    @property
    def ranked(self) -> list[dict[str, Any]]:
        """The rows of the networks that finished."""
        return [row.to_dict() for row in self.networks]

    @property
    def n(self) -> int:
        """How many images the results report."""
        return self.found.n if self.found is not None else 0

    @property
    def split(self) -> str:
        """The images that the results report."""
        return self.found.split if self.found is not None else ""

    @property
    def taken(self) -> Row | None:
        """The row of the network to take; None where no network has learned, or none is within the limits."""
        return next((row for row in self.networks if row.recommended), None)

    @property
    def best(self) -> RunFolder | None:
        """The run to take, of the recommended network; None where no network has learned."""
        return self.runs[self.taken.model] if self.taken is not None else None

    def hand_over(self, run: RunFolder) -> None:
        """Take the run that was trained on all images after a cross-validation as that of the recommended network."""
        self.networks[:] = [replace(row, run=run.path.name) if row.recommended else row for row in self.networks]
        self.runs = {row.model: run if row.recommended else self.runs[row.model] for row in self.networks}

    def to_list(self) -> list[dict[str, Any]]:
        """The rows, for JSON."""
        return self.rows

    def interval(self, row: dict[str, Any]) -> tuple[float, float]:
        """Where the true top-1 of a row lies with 95 %."""
        return row["top1_low"], row["top1_high"]

    def verdict(self) -> str:
        """The verdict in words: which network to take and why, how certain that is, and its accuracy on test images."""
        return " ".join(self.sentences())

    def sentences(self) -> list[str]:
        """The sentences of the verdict, the most important first."""
        return verdict(self)

    def table(self) -> None:
        """Print the table; on a narrow screen without the least important columns (leaderboard.csv has all)."""
        screen = tables.screen()
        endless = screen.options.update(max_width=1000)
        never = self._useless()
        fitted = (self._table((*never, *DISPENSABLE[:n])) for n in range(len(DISPENSABLE) + 1))
        fitting = (table for table in fitted if screen.measure(table, options=endless).maximum <= screen.width)
        screen.print(next(fitting, self._table((*never, *DISPENSABLE))))

    def _useless(self) -> tuple[str, ...]:
        """The columns that say nothing of these networks."""
        starts = [*(row.start for row in self.networks), *(row.start for row in self.others)]
        useless = {
            "top-5 %": self.classes < TOP5_FROM,
            "probe %": not self.linear_probe_images,
            "start": all(start in (None, RANDOM) for start in starts),
            "macro-F1": self.rules.by != "macro-f1",
            "balanced %": self.rules.by != "balanced-accuracy",
            "engine": all(row.engine is None for row in self.networks),
            "eager ms": all(row.engine is None for row in self.networks),
            "val": all(row.ranked_on != "val" for row in self.networks) or self.split == "val",
        }
        return tuple(column for column, is_useless in useless.items() if is_useless)

    def __repr__(self) -> str:
        return f"<Leaderboard of {len(self.networks)} networks on {self.n:,} {self.split} images: {self.verdict()}>"

    def _repr_html_(self) -> str:
        """The verdict and the table, as a notebook shows them."""
        columns = [column for column in SHOWN if column not in self._useless()]
        rows = [[row.model, *(SHOWN[column](row) for column in columns)] for row in self.networks]
        untrained = [[row.model, *(_cells(row).get(column, "") for column in columns)] for row in self.others]
        failed = [[row.model, "failed", *[""] * (len(columns) - 1)] for row in self.failed]
        return html.paragraph(self.verdict()) + html.table(["model", *columns], rows + untrained + failed)

    def _table(self, left_out: Sequence[str]) -> Any:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        engines = any(row.engine is not None for row in self.networks)
        timed = (
            "latency of one image in the fastest engine that keeps the answers" if engines else "latency of one image"
        )
        about = f"of {self.n:,} {self.split} images; {timed}; * on the Pareto front"
        if self.found is not None and "val" not in left_out:
            about = f"val: {SCORES[self.rules.by].name} of {self.found.ranked_n:,} validation images, which rank; the rest {about}"
        about += "; > the one to take" if len(self.networks) > 1 and self.taken is not None else ""
        about += "; (95 % interval) where it is wider than 5 %" if any(row.loose for row in self.networks) else ""
        about += "; ~ on a busy machine" if any(row.busy for row in self.networks) else ""
        about += "; heat N: not trained further after it, which does not mean worse" if self.dropped else ""
        if "probe %" not in left_out:
            about += "; probe: of frozen features, out of fold on training images"
        caption = about if self.networks else None
        shown = Table(
            box=SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold", caption=caption, caption_justify="left"
        )
        columns = [column for column in SHOWN if column not in left_out]
        shown.add_column("model", no_wrap=True)
        for column in columns:
            shown.add_column(column, justify="right", no_wrap=True)
        for row in self.networks:
            name = f"> {row.model}" if row.recommended and len(self.networks) > 1 else row.model
            shown.add_row(name, *(SHOWN[column](row) for column in columns))
        for other in self.others:
            shown.add_row(other.model, *(_cells(other).get(column, "") for column in columns))
        for failed in self.failed:
            shown.add_row(failed.model, "failed")
        return shown

    def save(self, path: str | Path) -> None:
        """Write the table, or a copy of the report.

        Args:
            path: of the file: .csv for the table, .html for the report, which there is after a comparison.

        Raises:
            UsageError: another ending, or there is no report.
        """
        path = Path(path)
        if path.suffix == ".csv":
            self.to_csv(path)
        elif path.suffix == ".html" and self.report is not None:
            write_atomic(path, self.report.read_bytes())
        else:
            raise UsageError(
                f"{path}: a leaderboard is not saved in this format",
                "give a name that ends in .csv, or in .html after a comparison",
            )

    def to_csv(self, path: Path) -> None:
        """Write the table as a CSV file, whole or not at all; text that a spreadsheet would take for a formula is quoted."""
        rows = self.rows
        columns = list(dict.fromkeys(key for row in rows for key in row))
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: safe_cell(value) for key, value in row.items()})
        write_text(path, buffer.getvalue())


def row_names(results: Mapping[Path, dict[str, Any]]) -> dict[Path, str]:
    """The name of the row that each run belongs to: its network, and where that began from several weights, which.

    Args:
        results: run folder -> what result.json holds.
    """
    starts = {path: (result["model"], result.get("parent") or result.get("start")) for path, result in results.items()}
    several = {model for model, _ in starts.values() if len({pair for pair in starts.values() if pair[0] == model}) > 1}
    names = {path: f"{model} ({short_start(results[path].get('start'))})" for path, (model, _) in starts.items()}
    if len(set(names.values())) < len(set(starts.values())):  # two files of one name
        names = {path: path.name.rpartition("-seed")[0] or path.name for path in results}
    return {path: names[path] if model in several else model for path, (model, _) in starts.items()}


def short_start(start: str | None) -> str:
    """What a network started from, as a narrow table has it: "torchvision:resnet18" of "ImageNet (torchvision:resnet18)"."""
    return "" if start is None else start.partition("(")[2].removesuffix(")") or start


def _cells(row: LinearProbeOnly | HeatOnly) -> dict[str, str]:
    """What is shown of a network that was not trained in full, by the names of the columns."""
    if isinstance(row, HeatOnly):
        return {"start": short_start(row.start), "top-1 %": f"heat {row.heat}"}
    share = "" if row.linear_probe is None else f"{100 * row.linear_probe:.1f}"
    return {"start": short_start(row.start), "probe %": share, "top-1 %": "not trained"}


def _spread(row: Row) -> str:
    return f" ±{100 * row.top1_std:.2f}" if row.top1_std is not None else ""


def _latency(row: Row) -> str:
    if row.latency_p50_ms is None:
        return ""
    interval = f" ({row.latency_low_ms:.2f}-{row.latency_high_ms:.2f})" if row.loose else ""
    return f"{'~' if row.busy else ''}{row.latency_p50_ms:.2f}{interval}{'*' if row.pareto else ' '}"


# What is printed of a row, and which columns a narrow screen goes without, the first first.
SHOWN: dict[str, Callable[[Row], str]] = {
    "start": lambda row: short_start(row.start),
    "probe %": lambda row: "" if row.linear_probe is None else f"{100 * row.linear_probe:.1f}",
    "macro-F1": lambda row: f"{row.macro_f1:.3f}",
    "balanced %": lambda row: "" if row.balanced_accuracy is None else f"{100 * row.balanced_accuracy:.2f}",
    "val": lambda row: SCORES[row.ranked_by].format(row.score).removesuffix(" %"),
    "top-1 %": lambda row: f"{100 * row.top1:.2f}{_spread(row)}",
    "top-5 %": lambda row: f"{100 * row.top5:.2f}",
    "loss": lambda row: f"{row.loss:.3f}",
    "ECE": lambda row: f"{row.ece:.3f}",
    "params": lambda row: short(row.params),
    "px": lambda row: str(row.image_size or ""),
    "MMACs": lambda row: f"{row.macs / 1e6:,.1f}",
    "p50 ms": _latency,
    "engine": lambda row: row.engine or "",
    "eager ms": lambda row: "" if row.eager_latency_p50_ms is None else f"{row.eager_latency_p50_ms:.2f}",
    "img/s": lambda row: "" if row.images_per_second is None else f"{row.images_per_second:,.0f}",
    "train s": lambda row: f"{row.train_seconds:.0f}",
}
DISPENSABLE = (
    "ECE", "loss", "top-5 %", "train s", "MMACs", "eager ms", "img/s", "params", "px", "engine", "start", "val",
)  # fmt: skip


def safe_cell(value: Any) -> Any:
    """A cell's value, with a quote before text that a spreadsheet would run as a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
