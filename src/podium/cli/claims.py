"""`podium claims`: what the papers say of networks, as experiments with a verdict."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium import tables
from podium.cli import console, flags
from podium.cli.shared import print_json, same_command_continues

if TYPE_CHECKING:
    from podium.experiments.claim import Claim
    from podium.experiments.plan import Planned

HELP = "decide by experiments what the papers claim of these networks; without a name, list the claims"
EXAMPLE = """podium claims
         podium claims relu dropout --data sets --out runs/claims"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="claims to decide, or all")
    parser.add_argument(
        "--scale",
        choices=["small", "paper"],
        default="small",
        help="small: minutes for each claim on two cores; paper: the paper's own experiment [small]",
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="a folder that holds the data sets by their names: cifar10 [found by name, as other verbs do]",
    )
    parser.add_argument("-o", "--out", metavar="DIR", default="runs/claims", help="raw files and runs [runs/claims]")
    parser.add_argument(
        "--write", metavar="DIR", help="then write the page claims.md with its figures and raw files into this folder"
    )
    flags.add_device(parser)
    parser.add_argument("--plan", action="store_true", help="say what the experiments would take, and train nothing")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from podium.experiments.catalogue import ALL, claims_of
    from podium.experiments.page import check_page, write_page

    a = arguments
    chosen = claims_of(a.names or [ALL])
    if a.plan:
        return _plan(chosen, a)
    if not a.names and a.write is None:
        return _list(chosen, a.json)
    if a.write is not None:
        check_page(Path(a.out), Path(a.write), again=a.names and [each.name for each in chosen])
    if a.names:
        _decide(chosen, a)
    if a.write is not None:
        path = write_page(Path(a.out), Path(a.write))
        if not a.json:
            print(f"written: {path}")
        elif not a.names:
            print_json({"written": str(path)})
    return 0


def _decide(chosen: list[Claim], a: argparse.Namespace) -> None:
    """Decide claims, and print the verdicts of each as soon as it is decided."""
    from podium.experiments.run import decide_all

    def shown(claim: Claim, content: dict[str, Any]) -> None:
        if not a.json:
            print(f"{claim.name}: {claim.title}")
            for each in content["statements"]:
                print(f"  {each['verdict']}: {each['text']}: {_found(each)}", flush=True)

    place = Path(a.data) if a.data is not None else None
    with console.training_bar(quiet=a.json) as bar, same_command_continues(a.command):
        tell = partial(_labelled, bar)
        found = decide_all(chosen, a.scale, Path(a.out), place, device=a.device, tell=tell, done=shown)
    if a.json:
        print_json(found)


def _labelled(bar: Callable[..., None], name: str, *step: Any) -> None:
    """Show a step of a named training on a bar."""
    bar(*step, label=name)


def _found(each: dict[str, Any]) -> str:
    """What was found of a statement, with its interval and what would decide it."""
    from podium.experiments.page import needed
    from podium.experiments.verdict import OPEN

    factor, unit = (100, "points") if each["unit"] == "points" else (1, each["unit"])
    value, low, high = (f"{factor * each[key]:.4g}" for key in ("value", "low", "high"))
    interval = f" ({low} to {high})" if low != high else ""
    more = f"; decided by {needed(each)}" if each["verdict"] == OPEN else ""
    return f"{value} {unit}{interval}{more}"


def _list(chosen: list[Claim], as_json: bool) -> int:
    if as_json:
        print_json(
            [
                {"name": c.name, "title": c.title, "source": c.source, "statements": [s.text for s in c.statements]}
                for c in chosen
            ]
        )
        return 0
    for c in chosen:
        print(f"{c.name}: {c.title}\n  source: {c.source}")
    print("podium claims NAME decides one, podium claims all decides all of them")
    return 0


def _plan(chosen: list[Claim], a: argparse.Namespace) -> int:
    from podium.experiments.plan import plan

    rows: list[Planned] = [row for each in chosen for row in plan(each, a.scale)]
    if a.json:
        print_json([row.to_dict() for row in rows])
        return 0
    columns = ["claim", "arm", "parameters", "multiply-adds", "steps", "runs", "multiply-adds of training"]
    tables.table(f"scale {a.scale}:", columns, [_cells(row) for row in rows], set(columns[2:]))
    known = sum(row.work for row in rows if row.work is not None)
    print(f"{sum(row.runs for row in rows):,} runs, {known:.3g} multiply-adds of training (without pruned networks)")
    return 0


def _cells(row: Planned) -> list[str]:
    from podium.evaluation.cost import short

    numbers = [short(number) if number is not None else "" for number in (row.params, row.macs)]
    return [
        row.claim,
        row.arm,
        *numbers,
        f"{row.steps:,}",
        str(row.runs),
        f"{row.work:.2g}" if row.work is not None else "",
    ]
