"""What the report's page shows of each network: its confusion, confidence, mistakes and classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from podium.comparison.class_recall import recalls_beside
from podium.comparison.leaderboard import Leaderboard
from podium.comparison.report import alternatives, charts
from podium.comparison.report.gallery import Gallery, Shown, fill_cells
from podium.comparison.report.heat_section import heat_section
from podium.comparison.rows import Row
from podium.comparison.slices import slices_of
from podium.data.dataset import Dataset
from podium.evaluation.calibration import risk_coverage
from podium.evaluation.metrics import MOST_CLASSES, MOST_CONFUSED, most_confused
from podium.runs.answers import CONFIDENCE, Rule
from podium.runs.folder import RunFolder
from podium.training.confidence import format_confidence


def of_networks(
    board: Leaderboard, shown: Mapping[str, Path], colours: Mapping[str, str], data: Dataset, slice: str | None
) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """What the page shows of each network.

    Args:
        board: the ranking.
        shown: the run that stands for each network, by its name on the board.
        colours: of the networks.
        data: what they were evaluated on.
        slice: a column, or a regular expression on paths, by whose values accuracy is shown; None for none.

    Returns:
        The sections of the networks (see `_details`), their charts by the names of their elements in the page, the pictures, and the
        heat maps (see `heat_section`).
    """
    networks: list[dict[str, Any]] = []
    drawn: dict[str, Any] = {}
    reference = (board.taken or board.networks[0]).model
    recalls = recalls_beside({name: RunFolder(trial) for name, trial in shown.items()}, reference)
    gallery, answers = Gallery(data), [Shown(RunFolder(trial)) for trial in shown.values()]
    for number, (row, trial) in enumerate(zip(board.networks, shown.values(), strict=True)):
        result, colour = RunFolder(trial).result, colours[row.model]
        details = _details(f"network-{number}", row, result, answers[number], gallery)
        if slice is not None:
            details["slices"] = slices_of(RunFolder(trial), data, slice)
        drawn |= _own_charts(details, trial, answers[number], colour)
        networks.append({**details, "recalls": recalls.get(row.model), "colour": colour})
    fill_cells(answers, gallery)
    cells = {network["id"]: each.to_json() for network, each in zip(networks, answers, strict=True)}
    heat = heat_section(list(shown), answers, data)
    return networks, drawn, {"pictures": gallery.pictures, "classes": data.classes, "cells": cells}, heat


def _own_charts(details: dict[str, Any], trial: Path, shown: Shown, colour: str) -> dict[str, dict[str, Any]]:
    """The charts of one network, by the names of their elements in the page; arguments as of `_details`."""
    result, name = details["result"], details["id"]
    bins = result.get("calibration", [])
    drawn = {
        f"{name}-calibration": {**charts.calibration(result, colour), "alt": alternatives.of_calibration(bins)},
        f"{name}-coverage": _coverage(trial, result, colour),
    }
    if details["whole"]:
        alt = alternatives.of_confusion(shown.labels, shown.guesses, result["classes"])
        drawn[f"{name}-confusion"] = {**charts.confusion(result), "alt": alt}
    return drawn


def _coverage(trial: Path, result: dict[str, Any], colour: str) -> dict[str, Any]:
    """The risk-coverage curve of a run, by its calibrated confidences."""
    logits, labels = RunFolder(trial).predictions
    rule = Rule.of_card(result, result["classes"])
    p = rule.probabilities(logits)
    curve = risk_coverage(p.max(1), p.argmax(1) == labels)
    return {**charts.risk_coverage(curve, rule.threshold or None, colour), "alt": alternatives.of_coverage(curve)}


def _details(name: str, row: Row, result: dict[str, Any], shown: Shown, gallery: Gallery) -> dict[str, Any]:
    """What the page shows of one network below the table.

    Args:
        name: of the network's elements in the page.
        row: of the leaderboard.
        result: of the run that stands for the network.
        shown: its answers.
        gallery: gets the pictures of its mistakes.

    Returns:
        {id, row, result, whole, crowded, confused, confidence, per_class, mistakes, uncertain}; `whole` is whether the page has
        room for the whole confusion matrix, `crowded` whether that has no counts in its cells, "cell" of a pair of classes is its place in that.
    """
    whole = len(result["classes"]) <= MOST_CLASSES
    worst = sorted(result["per_class"], key=lambda c: c["f1"])[:MOST_CONFUSED]
    mistakes, uncertain = shown.mistakes(gallery)
    names = gallery.data.classes
    pairs, numbers = most_confused(shown.labels, shown.guesses, names), {name: i for i, name in enumerate(names)}
    return {
        "id": name,
        "row": row,
        "result": result,
        "whole": whole,
        "crowded": len(result["classes"]) > charts.MOST_CELLS,
        "confused": [{**pair, "cell": f"{numbers[pair['true']]},{numbers[pair['predicted']]}"} for pair in pairs],
        "confidence": format_confidence(result.get(CONFIDENCE)),
        "per_class": result["per_class"] if whole else worst,
        "mistakes": mistakes,
        "uncertain": uncertain,
    }
