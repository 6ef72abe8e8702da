"""The report of a comparison or a run as one page that works offline: table, charts, confusion, mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from podium.comparison.cross_validation import fold_folders
from podium.comparison.leaderboard import Leaderboard
from podium.comparison.ranking import SCORES
from podium.comparison.report import alternatives, charts
from podium.comparison.report.data_facts import DataFacts, samples
from podium.comparison.report.figures import write_figures
from podium.comparison.report.network_sections import of_networks
from podium.comparison.report.page import write_page
from podium.comparison.report.provenance import Commands, Provenance
from podium.comparison.report.repeat import train_again
from podium.comparison.report.report_markdown import MARKDOWN, write_markdown
from podium.comparison.rows import Row
from podium.comparison.slices import SHOWN
from podium.comparison.verdict import SPLITS
from podium.data.dataset import Dataset
from podium.evaluation.cost import short
from podium.evaluation.metrics import (
    TOP5_FROM,
)
from podium.runs.folder import COMPRESSION, SETTINGS, RunFolder
from podium.settings import read_file

REPORT = "report.html"
LATENCY = "latency of one image, ms (median)"

# (field of a row, heading, format, whether more is better; None: neither)
Column = tuple[str, str, Callable[[Any], str], bool | None]
COLUMNS: tuple[Column, ...] = (
    ("top1", "top-1 %", lambda v: f"{100 * v:.2f}", True),
    ("linear_probe", "linear probe %", lambda v: f"{100 * v:.2f}", True),
    ("top5", "top-5 %", lambda v: f"{100 * v:.2f}", True),
    ("macro_f1", "macro F1", lambda v: f"{v:.3f}", True),
    ("balanced_accuracy", "balanced accuracy %", lambda v: f"{100 * v:.2f}", True),
    ("loss", "loss", lambda v: f"{v:.3f}", False),
    ("ece", "ECE", lambda v: f"{v:.3f}", False),
    ("params", "parameters", lambda v: f"{v:,}", False),
    ("macs", "multiply-adds", short, False),
    ("size_mb", "size MB", lambda v: f"{v:.2f}", False),
    ("latency_p50_ms", "latency p50 ms", lambda v: f"{v:.2f}", False),
    ("latency_p95_ms", "p95 ms", lambda v: f"{v:.2f}", False),
    ("engine", "engine", str, None),
    ("eager_latency_p50_ms", "eager PyTorch p50 ms", lambda v: f"{v:.2f}", False),
    ("images_per_second", "images/s", lambda v: f"{v:,.0f}", True),
    ("train_seconds", "training s", lambda v: f"{v:.0f}", False),
    ("steps", "steps", lambda v: f"{v:,.0f}", None),
)


def write_report(
    path: Path,
    board: Leaderboard,
    trials: list[Path],
    data: Dataset,
    made: Provenance,
    shrunk: dict[str, Any] | None = None,
    slice: str | None = None,
    figures: Path | None = None,
) -> Path:
    """Write the page of a comparison, and the same in short as `report.md` beside it.

    Args:
        path: of the page.
        board: the ranking.
        trials: finished run folders; the first of a network stands for it in the details.
        data: what they were evaluated on.
        made: how they were trained.
        shrunk: what a smaller network is compared with, as `compression.json` has it.
        slice: a column, or a regular expression on paths, by whose values the accuracy of each network is shown.
        figures: the folder that gets the charts as SVG and PDF; None: none are drawn.
    """
    results = {trial: {**RunFolder(trial).result, "model": board.names[trial]} for trial in trials}  # as on the board
    style = _styles(board)
    # A row of a cross-validation has a curve for each fold.
    trained = [(run, results[trial]["model"]) for trial in trials for run in [*fold_folders(trial)] or [trial]]
    drawn = _shared_charts(board, trained, style)
    shown = {row.model: next(t for t in trials if results[t]["model"] == row.model) for row in board.networks}
    colours = {name: colour for name, (colour, _) in style.items()}
    networks, own, pictures, heat = of_networks(board, shown, colours, data, slice)
    drawn |= own
    title, (headings, rows), facts = _title(board, data), _table(board), DataFacts.of(data)
    names = {network["id"]: network["row"].model for network in networks}
    written = write_figures(figures, drawn, names) if figures is not None else []
    write_markdown(path.with_name(MARKDOWN), title, board, (headings, rows), facts, made, written)
    return write_page(
        path,
        "report.html.j2",
        drawn,
        title=title,
        verdict=board.sentences(),
        facts=_facts(data, made),
        data=facts,
        samples=samples(data),
        made=made,
        headings=headings,
        rows=rows,
        shrunk=shrunk,
        board=board,
        most_slices=SHOWN,
        networks=networks,
        style=style,
        pictures=pictures,
        heat=heat,
    )


def _styles(board: Leaderboard) -> dict[str, tuple[str, str]]:
    """The colour and the symbol of each network, in all charts."""
    return {
        row.model: (charts.PALETTE[i % len(charts.PALETTE)], charts.SYMBOLS[i % len(charts.SYMBOLS)])
        for i, row in enumerate(board.networks)
    }


def _shared_charts(
    board: Leaderboard, trained: list[tuple[Path, str]], style: dict[str, tuple[str, str]]
) -> dict[str, dict[str, Any]]:
    """The charts of all networks together, by the names of their elements in the page."""
    costs = {"latency": ("latency_p50_ms", LATENCY), "macs": ("macs", "multiply-adds for one image")}
    drawn = {
        name: {**charts.scatter(board, style, key, axis), "alt": alternatives.of_scatter(board, key, axis)}
        for name, (key, axis) in costs.items()
    }
    for name, column, axis in (("curves-loss", "train_loss", "training loss"), ("curves-top1", "top1", "top-1 %")):
        chart = charts.curves(trained, style, column, axis, log=column != "top1")
        drawn[name] = {**chart, "alt": alternatives.of_curves(chart, axis)}
    return drawn


def _title(board: Leaderboard, data: Dataset) -> str:
    """What the report is called."""
    count = len(board.networks) + len(board.others) + len(board.failed)
    return f"{board.networks[0].model if count == 1 else f'{count} networks'} on {data.name}"


def _table(board: Leaderboard) -> tuple[list[tuple[str, str]], list[dict[str, Any]]]:
    """The headings of the table's columns, each (field, text), and its rows."""
    columns = [*_ranking_columns(board), *(column for column in COLUMNS if _is_shown(column, board))]
    return [(key, text) for key, text, _, _ in columns], [_cells(row, board, columns) for row in board.networks]


def _ranking_columns(board: Leaderboard) -> list[Column]:
    """The columns that the order and the verdict follow from: the score that ranks, and the distance to the best."""
    if board.found is None or len(board.networks) == 1:
        return []
    score, images = SCORES[board.rules.by], SPLITS.get(board.found.ranked_on, board.found.ranked_on)
    points = ", points" if score.unit == 100 else ""
    columns: list[Column] = [
        ("behind", f"behind the best{points}", lambda v: score.format_distance(v).removesuffix(" points"), False),
        ("behind_at_most", "at most, at 95 %", lambda v: score.format_distance(v).removesuffix(" points"), False),
    ]
    if board.found.ranked_on != board.found.split or board.rules.by != "top1":
        columns.insert(0, ("score", f"{score.name}, {images} images", score.format, score.sign > 0))
    return columns


def _is_shown(column: Column, board: Leaderboard) -> bool:
    """Whether the table has a column: some network has a value, top-5 says more than top-1, and balanced accuracy ranks."""
    key = column[0]
    known = any(getattr(row, key) is not None for row in board.networks)
    eager = all(row.engine is None for row in board.networks)
    needless = {
        "eager_latency_p50_ms": eager,
        "top5": board.classes < TOP5_FROM,
        "balanced_accuracy": board.rules.by != "balanced-accuracy",
    }
    return known and not needless.get(key, False)


def _cells(row: Row, board: Leaderboard, columns: Sequence[Column]) -> dict[str, Any]:
    """A row of the table: text to show, number to sort by, whether it is the best of its column."""
    cells = []
    for key, _, form, more in columns:
        value = getattr(row, key)
        others = [known for other in board.networks if (known := getattr(other, key)) is not None]
        best = (
            value is not None
            and more is not None
            and len(others) > 1
            and value == (max(others) if more else min(others))
        )
        text = "" if value is None else form(value)
        if key == "top1" and row.top1_std is not None:
            text += f" ± {100 * row.top1_std:.2f}"
        if key == "latency_p50_ms" and row.loose:
            text += f" ({row.latency_low_ms:.2f}-{row.latency_high_ms:.2f})"
        cells.append({"text": text, "value": "" if value is None else value, "best": best})
    small = ", small form" if row.small else ""
    size = f"{row.image_size} px{small}" if row.image_size else ""
    return {
        "model": row.model,
        "size": size,
        "start": row.start,
        "pareto": row.pareto,
        "recommended": row.recommended,
        "worse": row.worse and row.learned,
        "seeds": row.seeds,
        "cells": cells,
    }


def report_run(run: RunFolder, data: Dataset) -> Path:
    """Write the page of a single finished run into its folder, and `report.md` beside it."""
    result = run.result
    training = f"{result['steps']:,} steps ({result['epochs']:g} {'epoch' if result['epochs'] == 1 else 'epochs'}), seed {result['seed']}; {result['weights']}"
    if result.get("devices", 1) > 1:
        training += f"; {result['devices']} devices"
    if not result.get("bit_comparable", True):
        training += "; not bit-comparable with another run: the devices, threads or versions changed during it, or its kernels are not deterministic"
    table = run / COMPRESSION
    shrunk = json.loads(table.read_text(encoding="utf-8")) if table.is_file() else None
    sliced = read_file(run / SETTINGS).get("slice") if run.started else None
    board = Leaderboard.read([run.path])
    commands = Commands(again=train_again(run / SETTINGS) if shrunk is None else None)
    made = Provenance.of(board, run.path, [run.path], training, commands)
    return write_report(run / REPORT, board, [run.path], data, made, shrunk, sliced)


def _facts(data: Dataset, made: Provenance) -> dict[str, str]:
    """The data, the training and the ranking in a line each, and the day."""
    sizes = ", ".join(f"{name} {len(split):,}" for name, split in data.splits.items())
    return {
        "Data": f"{data.name}: {sizes} images, {len(data.classes)} classes",
        **{key: made.facts[key] for key in ("Training", "Ranking", "Date") if key in made.facts},
    }
