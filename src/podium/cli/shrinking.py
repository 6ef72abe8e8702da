"""What prune, slim and distill have in common: their flags, and the table of before, after and controls."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium import tables
from podium.cli import console
from podium.cli.settings_flags import add_length, add_settings
from podium.cli.shared import print_json
from podium.errors import DataError, NumericError, PodiumError

if TYPE_CHECKING:
    from podium.compression.gate import Gate
    from podium.compression.shrink import Shrunk


def add_shrinking(parser: argparse.ArgumentParser, controls: bool = True, recipe: str = "quick") -> None:
    """Add the flags that the three verbs share.

    Args:
        parser: the verb's parser.
        controls: whether the verb trains networks to compare with.
        recipe: the verb's usual recipe.
    """
    if controls:
        parser.add_argument(
            "--controls",
            action=argparse.BooleanOptionalAction,
            default=True,
            help="also train the networks that it is compared with, for as long [yes]",
        )
    parser.add_argument(
        "-o", "--out", type=Path, metavar="DIR", help="the new run folder; the same command again goes on with it"
    )
    add_length(parser, recipe)
    start = {"weights", "teacher", "freeze", "unfreeze"}
    add_settings(parser, {"model", "data", "recipe", "duration", "folds", "fold", *start})


def label_first(bar: Callable[..., None]) -> Callable[[str, int, int, dict[str, Any]], None]:
    """A training bar as compression calls it, with the name of the network that trains as its label."""
    return lambda name, step, steps, shown: bar(step, steps, shown, label=name)


def show_shrunk(shrunk: Shrunk, parent: str, json: bool) -> int:
    """Print the table and the decision.

    Args:
        shrunk: the smaller network and what it is compared with.
        parent: the network that it may replace.
        json: print one JSON document instead.

    Returns:
        The exit code: 5 if the network lost too much accuracy, or is slower than its target; 3 if the images are too few to
        tell what it lost, and that was not accepted.
    """
    if json:
        print_json(shrunk.to_dict())
    else:
        _show_rows(shrunk.rows)
        for note in shrunk.notes:
            print(note)
        if shrunk.decision is not None:
            print(shrunk.decision)
        print(f"run: {shrunk.run.path}")
    problems = _problems(shrunk, parent)
    for problem in problems:
        console.error(problem)
    return max((problem.exit_code for problem in problems), default=0)


def too_few(gate: Gate, kept: Path) -> DataError:
    """What to say of a smaller network where the images are too few to tell what it lost.

    Args:
        gate: the decision.
        kept: the folder that has the network.
    """
    more = "give more images and another folder with -o"
    if gate.available > gate.pair.n:
        more = f"evaluate on more images with --limit {min(gate.images_needed or gate.available, gate.available)}"
    what = f"{gate.images}: {gate.conclusion}. {kept} has the network"
    return DataError(what, f"add --accept-unproven to take the network as it is, or {more}")


def _problems(shrunk: Shrunk, parent: str) -> list[PodiumError]:
    """Why the smaller network does not replace its parent: accuracy, latency, or nothing."""
    from podium.compression.latency import advice

    problems: list[PodiumError] = []
    if (decision := shrunk.decision) is not None and decision.left_open:
        problems.append(too_few(decision, shrunk.run.path))
    if decision is not None and decision.outcome == "above":
        lost = f"the smaller network lost more than the tolerance of {100 * decision.tolerance:g} points"
        less = "fine-tune longer (--epochs), remove less of it, or raise --tolerance"
        problems.append(NumericError(f"{lost}: {parent} stays in place", less))
    if (timed := shrunk.latency) is not None and not timed["held"]:
        slow = f"the smaller network takes {timed['pruned_ms']:g} ms an image, not {timed['asked_ms']:g} ms"
        problems.append(NumericError(f"{slow}: {parent} stays in place", advice(timed)))
    return problems


def _show_rows(rows: list[dict[str, Any]]) -> None:
    """Print a row for each network, and one more below it for each engine that runs its exported file."""
    columns = ["network", "top-1 %", "multiply-adds", "parameters", "MB", "engine", "p50 ms", "p95 ms", "images/s"]
    cells = []
    for r in rows:
        accuracy = f"{100 * r['top1']:.2f} ± {100 * r['error']:.2f}"
        size = [f"{r['macs']:,}", f"{r['params']:,}", f"{r['size_bytes'] / 1e6:.2f}"]
        cells.append([r["name"], accuracy, *size, *_speed(r)])
        cells += [["", "", "", "", "", *_speed(engine)] for engine in r["engines"]]
    tables.table("", columns, cells, {c for c in columns[1:] if c != "engine"})


def _speed(r: dict[str, Any]) -> list[str]:
    ms = r["latency_ms"]
    return [f"{r['engine']} {r['dtype']}", f"{ms['p50']:.3f}", f"{ms['p95']:.3f}", f"{r['images_per_second']:,.0f}"]
