"""The charts of the pages, as plotly reads them: plain data, drawn by its script in the page."""

from __future__ import annotations

import html
import math
from pathlib import Path
from typing import Any

from podium.comparison.leaderboard import Leaderboard
from podium.comparison.report.label_places import places
from podium.comparison.rows import Row
from podium.evaluation.cost import short
from podium.models.published import ILSVRC
from podium.runs.folder import RunFolder

# Okabe and Ito's colours, which people of all colour vision tell apart; a network keeps its own in every chart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D00", "#7F7F7F")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")
MOST_CELLS = 20  # classes up to which the confusion matrix has all names, counts, and lines between its cells
MOST_LETTERS = 16  # of a class there, so that names leave room for the matrix


def _text(name: str) -> str:
    """Escape a name for a chart: plotly interprets some HTML in its labels."""
    return html.escape(str(name))


def scatter(board: Leaderboard, style: dict[str, tuple[str, str]], key: str, axis: str) -> dict[str, Any]:
    """Accuracy against a cost, with 95 % intervals and the Pareto front.

    Args:
        board: the ranking.
        style: colour and symbol of each network.
        key: the field of a row that is the cost, "latency_p50_ms" or "macs"; rows without it are left out.
        axis: the title of the cost's axis.
    """
    points = sorted(((cost, row) for row in board.networks if (cost := getattr(row, key))), key=lambda point: point[0])
    traces = [_front(points)]
    found = places([(math.log10(cost), row.top1, row.top1_low, row.top1_high, row.model) for cost, row in points])
    traces += [_point(cost, row, style[row.model], place) for (cost, row), place in zip(points, found, strict=True)]
    ends: dict[str, Any] = {}
    if points:  # with room for the names of the first and the last
        decades = [math.log10(cost) for cost, _ in points]
        beside = 0.12 * max(0.5, max(decades) - min(decades))
        ends = {"range": [min(decades) - beside, max(decades) + beside]}
    return {
        "data": traces,
        "layout": {
            "xaxis": {"title": {"text": axis}, "type": "log", **ends},
            "yaxis": {"title": {"text": "top-1 %"}},
            "showlegend": False,
        },
    }


def _front(points: list[tuple[float, Row]]) -> dict[str, Any]:
    """The line through the networks that no cheaper one equals in accuracy."""
    front: list[tuple[float, float]] = []
    for cost, row in sorted(points, key=lambda point: (point[0], -point[1].top1)):
        if not front or row.top1 > front[-1][1]:
            front.append((cost, row.top1))
    return {
        "x": [cost for cost, _ in front],
        "y": [100 * top1 for _, top1 in front],
        "mode": "lines",
        "line": {"color": "#999999", "dash": "dot", "shape": "hv"},
        "name": "Pareto front",
        "hoverinfo": "skip",
    }


def _point(cost: float, row: Row, style: tuple[str, str], place: str) -> dict[str, Any]:
    """A network's mark with its name and its interval."""
    colour, symbol = style
    hover = [
        f"<b>{_text(row.model)}</b>",
        f"top-1 {100 * row.top1:.2f} % (95 %: {100 * row.top1_low:.2f}-{100 * row.top1_high:.2f})",
    ]
    if row.latency_p50_ms is not None:
        hover.append(f"latency {row.latency_p50_ms:.2f} ms, {row.images_per_second:,.0f} images/s")
    hover.append(f"{row.params:,} parameters, {short(row.macs)} multiply-adds")
    return {
        "x": [cost],
        "y": [100 * row.top1],
        "mode": "markers+text",
        "text": [_text(row.model)],
        "textposition": place,
        "cliponaxis": False,
        "marker": {"color": colour, "symbol": symbol, "size": 13},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [100 * (row.top1_high - row.top1)],
            "arrayminus": [100 * (row.top1 - row.top1_low)],
            "thickness": 1,
        },
        "name": _text(row.model),
        "hovertemplate": "<br>".join(hover) + "<extra></extra>",
    }


def curves(
    trained: list[tuple[Path, str]], style: dict[str, tuple[str, str]], key: str, axis: str, log: bool
) -> dict[str, Any]:
    """Learning curves: a line for each run, a column of its log over the seconds of training.

    Args:
        trained: run folders and the networks that they are of.
        style: colour and symbol of each network.
        key: the column of the log.
        axis: its title.
        log: whether the axis is logarithmic.
    """
    traces: list[dict[str, Any]] = []
    named: set[str] = set()
    for trial, model in trained:
        rows = RunFolder(trial).epochs
        scale = 100 if key == "top1" else 1
        traces.append(
            {
                "x": [row["seconds"] for row in rows],
                "y": [scale * row[key] for row in rows],
                "text": [row["epoch"] for row in rows],
                "mode": "lines+markers" if len(rows) < 40 else "lines",
                "line": {"color": style[model][0], "width": 2},
                "name": _text(model),
                "legendgroup": _text(model),
                "showlegend": model not in named,
                "hovertemplate": f"{_text(model)}, epoch %{{text}}: %{{y:.4g}}<extra></extra>",
            }
        )
        named.add(model)
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": "seconds of training"}},
        "yaxis": {"title": {"text": axis}, "type": "log" if log else "linear"},
    }
    return {"data": traces, "layout": layout}


# The confusion matrix by day and by night: from the page's own colour at 0 to blue at 1. What is written in a cell has one
# colour, which is readable on all of them.
LIGHT = {"colorscale": [[0, "#f6f7f9"], [0.05, "#cfe4f3"], [1, "#5fb0e0"]], "textfont": {"color": "#1c2024"}}
DARK = {"colorscale": [[0, "#1a1c1f"], [0.05, "#173549"], [1, "#0068a3"]], "textfont": {"color": "#edeef0"}}


def confusion(result: dict[str, Any]) -> dict[str, Any]:
    """The confusion matrix as shares of each true class, with counts in the cells where there is room.

    Args:
        result: a result.json whose matrix was kept.
    """
    names = [_text(name) for name in result["classes"]]
    trace = {
        "type": "heatmap",
        "customdata": result[
            "confusion"
        ],  # the page computes the shares, and writes what is not 0: this is most of the chart
        "texttemplate": "%{text}" if len(names) <= MOST_CELLS else "",
        "x": names,
        "y": names,
        "zmin": 0,
        "zmax": 1,
        **LIGHT,
        "meta": {"dark": DARK},  # what the page puts in its place at night
        "showscale": False,
        "xgap": int(len(names) <= MOST_CELLS),  # of many classes a cell is not much wider than a line
        "ygap": int(len(names) <= MOST_CELLS),
        "hovertemplate": "true %{y}, predicted %{x}: %{customdata} (%{z:.1%})<extra></extra>",
    }
    named = result["classes"][:: math.ceil(len(names) / MOST_CELLS)]
    ticks = {"tickvals": [_text(name) for name in named], "ticktext": [_text(_cut(name)) for name in named]}
    axis = {"type": "category", "automargin": True, **ticks, **({"tickfont": {"size": 10}} if len(names) > 10 else {})}
    return {
        "data": [trace],
        "layout": {
            "xaxis": {"title": {"text": "predicted"}, **axis},
            "yaxis": {"title": {"text": "true", "standoff": 12}, "autorange": "reversed", **axis},
        },
    }


def _cut(name: str) -> str:
    """A name that leaves room for the matrix."""
    return name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}…"


def calibration(result: dict[str, Any], colour: str) -> dict[str, Any]:
    """Accuracy against confidence, beside the line of perfect calibration; the area of a mark is the number of its images."""
    bins = result.get("calibration", [])
    most = max((b["n"] for b in bins), default=1)
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
        "text": [b["n"] for b in bins],
        "mode": "lines+markers",
        "line": {"color": colour, "width": 1},
        "marker": {
            "size": [round(3 + 12 * math.sqrt(b["n"] / most), 1) for b in bins],
            "opacity": 1,
            "line": {"width": 0},
        },
        "cliponaxis": False,
        "showlegend": False,
        "hovertemplate": "confidence %{x:.2f}, right %{y:.2f}, %{text} images<extra></extra>",
    }
    return {
        "data": [ideal, points],
        "layout": {
            "xaxis": {"title": {"text": "confidence"}, "range": [0, 1.02]},
            "yaxis": {"title": {"text": "accuracy"}, "range": [0, 1.02]},
        },
    }


def risk_coverage(curve: list[dict[str, float]], threshold: float | None, colour: str) -> dict[str, Any]:
    """The share of wrong answers among those that are kept, against the share of images that is answered.

    Args:
        curve: of `calibration.risk_coverage`.
        threshold: the confidence below which the network answers "unknown"; None where it has none.
        colour: of the network.
    """
    line = {
        "x": [point["coverage"] for point in curve],
        "y": [100 * point["risk"] for point in curve],
        "text": [f"{100 * point['confidence']:.1f} %" for point in curve],
        "mode": "lines",
        "line": {"color": colour, "shape": "hv"},
        "showlegend": False,
        "hovertemplate": "answered %{x:.1%}, wrong %{y:.2f} %, from a confidence of %{text}<extra></extra>",
    }
    kept = [point for point in curve if threshold is not None and point["confidence"] >= threshold][-1:]
    mark = {
        "x": [point["coverage"] for point in kept],
        "y": [100 * point["risk"] for point in kept],
        "mode": "markers",
        "marker": {"color": colour, "size": 11, "symbol": "diamond"},
        "showlegend": False,
        "hovertemplate": "the threshold: answered %{x:.1%}, wrong %{y:.2f} %<extra></extra>",
    }
    return {
        "data": [line, mark],
        "layout": {
            "xaxis": {"title": {"text": "share of images answered"}, "range": [0, 1.02], "tickformat": ".0%"},
            "yaxis": {"title": {"text": "wrong among them, %"}, "rangemode": "tozero"},
        },
    }


def challenge(rows: list[dict[str, Any]], titles: dict[str, str], colours: dict[int, str]) -> dict[str, Any]:
    """The results of these papers' networks in the ILSVRC.

    Args:
        rows: of `lineage.networks`.
        titles: what the networks of a paper are called.
        colours: by year.
    """
    known = {row["name"]: row for row in rows}
    entered = [(result, known[result.network]) for result in ILSVRC if result.network in known]
    trace = {
        "type": "bar",
        "x": [f"{titles[row['paper']]}<br>{result.year}, {result.rank}" for result, row in entered],
        "y": [result.top5 for result, _ in entered],
        "marker": {"color": [colours[row["year"]] for _, row in entered]},
        "text": [f"<b>{result.top5:g} %</b><br>{row['depth']} layers" for result, row in entered],
        "textposition": "outside",
        "cliponaxis": False,
        "customdata": [f"{result.team}, {result.rank} in {result.year}<br>{result.entry}" for result, _ in entered],
        "hovertemplate": "%{customdata}<extra></extra>",
        "meta": {"said": ["x", "text", "customdata"]},
    }
    layout = {
        "xaxis": {"type": "category"},
        "yaxis": {"title": {"text": "top-5 error, % of the test images"}, "rangemode": "tozero"},
        "showlegend": False,
        "bargap": 0.45,
    }
    return {"data": [trace] if entered else [], "layout": layout}


# How a mark says by what protocol an error was taken: the protocol's first word.
PROTOCOLS = {"one": "circle", "10": "square", "dense,": "diamond"}
# Where a name stands that would lie on another above its mark.
PLACES = {
    "alexnet": "bottom center",
    "densenet121": "bottom center",
    "wide_resnet50_2": "top right",
    "resnetv2_152": "middle left",
    "inception_v4": "bottom center",
}


def errors(rows: list[dict[str, Any]], labels: dict[str, str], colours: dict[int, str]) -> dict[str, Any]:
    """Top-5 error on ImageNet against multiply-adds; the area of a mark is the number of parameters.

    Args:
        rows: of `lineage.networks`.
        labels: what stands beside the marks of some networks.
        colours: by year.
    """
    traces = []
    shown = [row for row in rows if row["top5_error"] is not None]
    for year, colour in colours.items():
        own = [row for row in shown if row["year"] == year]
        hover = [
            f"<b>{_text(row['name'])}</b><br>top-5 error {100 * row['top5_error']:.3g} %, {_text(row['protocol'])}<br>"
            f"{row['params']:,} parameters, {short(row['macs'])} multiply-adds"
            for row in own
        ]
        traces.append(
            {
                "x": [row["macs"] for row in own],
                "y": [100 * row["top5_error"] for row in own],
                "mode": "markers+text",
                "text": [_text(labels.get(row["name"], "")) for row in own],
                "textposition": [PLACES.get(row["name"], "top center") for row in own],
                "cliponaxis": False,
                "marker": {
                    "color": colour,
                    "opacity": [0.8 if row["name"] in labels else 0.3 for row in own],
                    "size": [4 * math.sqrt(row["params"] / 1e6) for row in own],
                    "symbol": [PROTOCOLS[row["protocol"].split()[0]] for row in own],
                },
                "name": str(year),
                "customdata": hover,
                "hovertemplate": "%{customdata}<extra></extra>",
                "meta": {"said": ["text", "customdata"]},
            }
        )
    layout = {
        "xaxis": {
            "title": {"text": "multiply-adds for one image"},
            "type": "log",
            "tickvals": [g * 1e9 for g in (0.5, 1, 2, 5, 10, 20)],
            "ticktext": ["0.5 G", "1 G", "2 G", "5 G", "10 G", "20 G"],
        },
        "yaxis": {"title": {"text": "top-5 error, %"}, "type": "log", "tickvals": [4, 5, 6, 8, 10, 15, 20]},
        "legend": {"orientation": "h", "y": 1.06},
    }
    return {"data": [trace for trace in traces if trace["x"]], "layout": layout}
