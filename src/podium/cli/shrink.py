"""Verbs that make a smaller run: prune, slim, distill. Heavy imports happen inside, so that `--help` costs nothing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium import tables
from podium.cli import console
from podium.cli.shared import going_on, print_json, settings_flags
from podium.errors import NumericError, UsageError

if TYPE_CHECKING:
    from podium.compression.shrink import Shrunk
    from podium.settings import Origins


def prune(arguments: argparse.Namespace) -> int:
    """podium prune."""
    from podium import smaller

    a = arguments
    with console.training_bar(quiet=a.json) as bar, going_on(a.command):
        shrunk = smaller.prune_with(
            _settings(a, "shrink"),
            a.parent,
            a.out or Path("runs") / f"{Path(a.parent.partition('=')[0]).name.replace(':', '-')}-pruned",
            speedup=a.speedup,
            macs=a.macs,
            latency=a.latency,
            size=a.size,
            depth=a.depth,
            controls=a.controls,
            tolerance=a.tolerance,
            watch=_watch(bar),
        )
    return _tell(a, shrunk, a.parent)


def slim(arguments: argparse.Namespace) -> int:
    """podium slim."""
    from podium import smaller

    a = arguments
    try:
        depth = tuple(int(part) for part in a.depth.split(",")) if a.depth else None
    except ValueError:
        raise UsageError(f"--depth {a.depth}", "give a number a stage: 2,2,2,2") from None
    out = a.out or Path("runs") / f"{a.model}-slim-{Path(a.data).stem or 'data'}"
    with console.training_bar(quiet=a.json) as bar, going_on(a.command):
        run = smaller.slim_with(_settings(a, "quick"), a.model, out, width=a.width, depth=depth, watch=_watch(bar))
    r = run.result
    if a.json:
        keys = ("top1", "top5", "loss", "split", "steps", "params", "macs", "size_bytes", "seconds")
        print_json({"run": str(run.path), **{key: r[key] for key in keys}})
    else:
        print(
            f"{r['split']} top-1 {100 * r['top1']:.2f} %, {r['params']:,} parameters, {r['macs']:,} multiply-adds: {run.path}"
        )
    return 0


def distill(arguments: argparse.Namespace) -> int:
    """podium distill."""
    from podium import smaller

    a = arguments
    out = a.out or Path("runs") / f"{Path(a.student).name}-distilled-{Path(a.data).stem or 'data'}"
    with console.training_bar(quiet=a.json) as bar, going_on(a.command):
        shrunk = smaller.distill_with(
            _settings(a, "quick"), a.parent, a.student, out, controls=a.controls, watch=_watch(bar)
        )
    return _tell(a, shrunk, a.parent)


def _settings(a: argparse.Namespace, recipe: str) -> Origins:
    from podium.training.recipes.named import settings_of

    given = {"data": a.data, **settings_flags(a)}
    return settings_of(a.recipe, a.config, given, recipe)


def _watch(bar: Any) -> Any:
    return lambda name, step, steps, shown: bar(step, steps, shown, label=name)


def _tell(a: argparse.Namespace, shrunk: Shrunk, parent: str) -> int:
    """The table and the decision; a network that lost too much, or is slower than asked for, is an error with exit code 5."""
    from podium.compression.latency import advice

    gate = shrunk.decision
    if a.json:
        print_json(shrunk.to_dict())
    else:
        table(shrunk.rows)
        for note in shrunk.notes:
            print(note)
        if gate is not None:
            print(gate)
        print(f"run: {shrunk.run.path}")
    problems = []
    if gate is not None and not gate.passed:
        lost = f"the smaller network lost more than the tolerance of {100 * gate.tolerance:g} points"
        less = "fine-tune longer (--epochs), ask for less, or raise --tolerance"
        problems.append(NumericError(f"{lost}: {parent} stays in place", less))
    if (timed := shrunk.latency) is not None and not timed["held"]:
        slow = f"the smaller network takes {timed['pruned_ms']:g} ms an image, not {timed['asked_ms']:g} ms"
        problems.append(NumericError(f"{slow}: {parent} stays in place", advice(timed)))
    for problem in problems:
        console.error(problem)
    return NumericError.exit_code if problems else 0


def table(rows: list[dict[str, Any]]) -> None:
    """Before, after and controls, a row each, and one more for each engine that runs them exported."""
    columns = ["network", "top-1 %", "multiply-adds", "parameters", "MB", "engine", "p50 ms", "p95 ms", "images/s"]
    cells = []
    for r in rows:
        cells.append(
            [
                r["name"],
                f"{100 * r['top1']:.2f} ± {100 * r['error']:.2f}",
                f"{r['macs']:,}",
                f"{r['params']:,}",
                f"{r['size_bytes'] / 1e6:.2f}",
                *_speed(r),
            ]
        )
        cells += [["", "", "", "", "", *_speed(e)] for e in r["engines"]]
    tables.table("", columns, cells, {c for c in columns[1:] if c != "engine"})


def _speed(r: dict[str, Any]) -> list[str]:
    ms = r["latency_ms"]
    return [f"{r['engine']} {r['dtype']}", f"{ms['p50']:.3f}", f"{ms['p95']:.3f}", f"{r['images_per_second']:,.0f}"]
