"""The comparison as one page that needs no network: table, charts, confusion, mistakes."""

from __future__ import annotations

import base64
import html
import io
import json
from pathlib import Path
from typing import Any

from podium.comparison.leaderboard import Leaderboard, short
from podium.files import write_atomic
from podium.training.folder import RunFolder

# Okabe and Ito's colours, which people of all colour vision tell apart; a network keeps its own in every chart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D00", "#7F7F7F")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")
MOST_CELLS = 20  # classes up to which the confusion matrix has its counts written in

# (key, heading, format, whether more is better; None: neither)
COLUMNS = (
    ("top1", "top-1 %", lambda v: f"{100 * v:.2f}", True),
    ("top5", "top-5 %", lambda v: f"{100 * v:.2f}", True),
    ("macro_f1", "macro F1", lambda v: f"{v:.3f}", True),
    ("loss", "loss", lambda v: f"{v:.3f}", False),
    ("ece", "ECE", lambda v: f"{v:.3f}", False),
    ("params", "parameters", lambda v: f"{v:,}", False),
    ("macs", "multiply-adds", short, False),
    ("size_mb", "size MB", lambda v: f"{v:.2f}", False),
    ("latency_p50_ms", "latency p50 ms", lambda v: f"{v:.2f}", False),
    ("latency_p95_ms", "p95 ms", lambda v: f"{v:.2f}", False),
    ("images_per_second", "images/s", lambda v: f"{v:,.0f}", True),
    ("train_seconds", "training s", lambda v: f"{v:.0f}", False),
    ("steps", "steps", lambda v: f"{v:,.0f}", None),
)


def write_report(
    path: Path,
    board: Leaderboard,
    trials: list[Path],
    worst: dict[Path, list[dict[str, Any]]],
    title: str,
    facts: dict[str, str],
) -> Path:
    """Write report.html.

    Args:
        path: of the page.
        board: the ranking.
        trials: finished run folders; the first of a network stands for it in the details.
        worst: of each folder its mistakes {name, truth, predicted, confidence, image}.
        title: the headline.
        facts: what was compared, on what, with what.
    """
    import jinja2
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("podium", "comparison"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    results = {trial: RunFolder(trial).result for trial in trials}
    style = {row["model"]: (PALETTE[i % len(PALETTE)], SYMBOLS[i % len(SYMBOLS)]) for i, row in enumerate(board.ranked)}
    charts = {
        "latency": _scatter(board, style, "latency_p50_ms", "latency of one image, ms (median)"),
        "macs": _scatter(board, style, "macs", "multiply-adds for one image"),
        "curves-loss": _curves(trials, results, style, "train_loss", "training loss", log=True),
        "curves-top1": _curves(trials, results, style, "top1", "top-1 %", log=False),
    }
    networks: list[dict[str, Any]] = []
    for row in board.ranked:
        trial = next(t for t in trials if results[t]["model"] == row["model"])
        name = f"network-{len(networks)}"
        charts[f"{name}-confusion"] = _confusion(results[trial])
        charts[f"{name}-calibration"] = _calibration(results[trial], style[row["model"]][0])
        mistakes = [
            {**m, "uri": _data_uri(m["image"]), "percent": f"{100 * m['confidence']:.0f}"} for m in worst.get(trial, [])
        ]
        networks.append(
            {"id": name, "row": row, "result": results[trial], "colour": style[row["model"]][0], "mistakes": mistakes}
        )
    page = environment.get_template("report.html.j2").render(
        title=title,
        verdict=board.verdict(),
        facts=facts,
        headings=[(key, text) for key, text, _, _ in COLUMNS],
        rows=[_cells(row, board) for row in board.ranked],
        failed=[row for row in board.rows if "error" in row],
        board=board,
        networks=networks,
        style=style,
        charts=_script_json(charts),
        plotly=get_plotlyjs(),
    )
    write_atomic(path, page.encode())
    return path


def _cells(row: dict[str, Any], board: Leaderboard) -> dict[str, Any]:
    """A row of the table: text to show, number to sort by, whether it is the best of its column."""
    cells = []
    for key, _, form, more in COLUMNS:
        value = row.get(key)
        others = [other[key] for other in board.ranked if other.get(key) is not None]
        best = (
            value is not None
            and more is not None
            and len(others) > 1
            and value == (max(others) if more else min(others))
        )
        text = "" if value is None else form(value)
        if key == "top1" and row["top1_std"] is not None:
            text += f" ± {100 * row['top1_std']:.2f}"
        cells.append({"text": text, "value": "" if value is None else value, "best": best})
    return {"model": row["model"], "pareto": row["pareto"], "seeds": row["seeds"], "cells": cells}


def _script_json(content: Any) -> str:
    """JSON that may stand inside a script element: json.dumps leaves `</script>` as it is."""
    text = json.dumps(content)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e").replace("\u2028", "\\u2028")


def _text(name: str) -> str:
    """A name for a chart: plotly reads some HTML in its labels."""
    return html.escape(str(name))


def _scatter(board: Leaderboard, style: dict[str, tuple[str, str]], key: str, axis: str) -> dict[str, Any]:
    rows = [row for row in board.ranked if row[key]]
    traces: list[dict[str, Any]] = []
    front, best = [], -1.0
    for row in sorted(rows, key=lambda row: (row[key], -row["top1"])):
        if row["top1"] > best:
            front.append(row)
            best = row["top1"]
    traces.append(
        {
            "x": [row[key] for row in front],
            "y": [100 * row["top1"] for row in front],
            "mode": "lines",
            "line": {"color": "#999999", "dash": "dot", "shape": "hv"},
            "name": "Pareto front",
            "hoverinfo": "skip",
        }
    )
    for place, row in enumerate(sorted(rows, key=lambda row: row[key])):
        colour, symbol = style[row["model"]]
        low, high = board.interval(row)
        hover = [
            f"<b>{_text(row['model'])}</b>",
            f"top-1 {100 * row['top1']:.2f} % (95 %: {100 * low:.2f}-{100 * high:.2f})",
        ]
        if row["latency_p50_ms"] is not None:
            hover.append(f"latency {row['latency_p50_ms']:.2f} ms, {row['images_per_second']:,.0f} images/s")
        hover.append(f"{row['params']:,} parameters, {short(row['macs'])} multiply-adds")
        traces.append(
            {
                "x": [row[key]],
                "y": [100 * row["top1"]],
                "mode": "markers+text",
                "text": [_text(row["model"])],
                "textposition": "bottom center" if place % 2 else "top center",
                "cliponaxis": False,
                "marker": {"color": colour, "symbol": symbol, "size": 13},
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [100 * (high - row["top1"])],
                    "arrayminus": [100 * (row["top1"] - low)],
                    "thickness": 1,
                },
                "name": _text(row["model"]),
                "hovertemplate": "<br>".join(hover) + "<extra></extra>",
            }
        )
    return {
        "data": traces,
        "layout": {
            "xaxis": {"title": {"text": axis}, "type": "log"},
            "yaxis": {"title": {"text": "top-1 %"}},
            "showlegend": False,
        },
    }


def _curves(
    trials: list[Path], results: dict[Path, Any], style: dict[str, tuple[str, str]], key: str, axis: str, log: bool
) -> dict[str, Any]:
    traces: list[dict[str, Any]] = []
    named: set[str] = set()
    for trial in trials:
        rows, model = RunFolder(trial).epochs, results[trial]["model"]
        scale = 100 if key == "top1" else 1
        traces.append(
            {
                "x": [row["seconds"] for row in rows],
                "y": [scale * row[key] for row in rows],
                "text": [f"epoch {row['epoch']}" for row in rows],
                "mode": "lines+markers" if len(rows) < 40 else "lines",
                "line": {"color": style[model][0], "width": 2},
                "name": _text(model),
                "legendgroup": _text(model),
                "showlegend": model not in named,
                "hovertemplate": f"{_text(model)}, %{{text}}: %{{y:.4g}}<extra></extra>",
            }
        )
        named.add(model)
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": "seconds of training"}},
        "yaxis": {"title": {"text": axis}, "type": "log" if log else "linear"},
    }
    return {"data": traces, "layout": layout}


def _confusion(result: dict[str, Any]) -> dict[str, Any]:
    counts, names = result["confusion"], [_text(name) for name in result["classes"]]
    shares = [[c / max(1, sum(row)) for c in row] for row in counts]
    written = len(names) <= MOST_CELLS
    trace = {
        "type": "heatmap",
        "z": shares,
        "text": [[str(c) if c else "" for c in row] for row in counts],
        "customdata": counts,
        "texttemplate": "%{text}" if written else "",
        "x": names,
        "y": names,
        "colorscale": [[0, "rgba(0,114,178,0)"], [0.05, "rgba(0,114,178,0.25)"], [1, "rgba(0,114,178,1)"]],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "hovertemplate": "true %{y}, predicted %{x}: %{customdata} (%{z:.1%})<extra></extra>",
    }
    axis = {"type": "category", "automargin": True}
    return {
        "data": [trace],
        "layout": {
            "xaxis": {"title": {"text": "predicted"}, **axis},
            "yaxis": {"title": {"text": "true"}, "autorange": "reversed", **axis},
        },
    }


def _calibration(result: dict[str, Any], colour: str) -> dict[str, Any]:
    bins = result.get("calibration", [])
    ideal = {
        "x": [0, 1],
        "y": [0, 1],
        "mode": "lines",
        "line": {"color": "#999999", "dash": "dot"},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    points = {
        "x": [b["confidence"] for b in bins],
        "y": [b["accuracy"] for b in bins],
        "text": [f"{b['n']} images" for b in bins],
        "mode": "lines+markers",
        "line": {"color": colour},
        "showlegend": False,
        "hovertemplate": "confidence %{x:.2f}, right %{y:.2f}, %{text}<extra></extra>",
    }
    return {
        "data": [ideal, points],
        "layout": {
            "xaxis": {"title": {"text": "confidence"}, "range": [0, 1.02]},
            "yaxis": {"title": {"text": "accuracy"}, "range": [0, 1.02]},
        },
    }


def _data_uri(image: Any) -> str:
    """A picture as PNG inside the page, with nothing of the file's own metadata."""
    buffer = io.BytesIO()
    image.copy().save(buffer, "PNG", pnginfo=None, exif=b"")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
