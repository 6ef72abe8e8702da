"""Print tables on standard output, no wider than the screen where that is possible. rich is imported when one is shown."""

from __future__ import annotations

from typing import Any

LEAST = 6  # letters of a text that a table has room for, however narrow the screen


def table(title: str, columns: list[str], rows: list[list[str]], right: set[str] | None = None) -> None:
    """Print a table; `right` names the columns of numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    shown = Table(header_style="bold", box=SIMPLE_HEAD)
    for place, column in enumerate(columns):
        number = column in (right or ())
        widest = max(len(text) for text in (column, *(row[place] for row in rows)))
        least = widest if number else min(widest, LEAST)
        shown.add_column(
            column, justify="right" if number else "left", no_wrap=number, overflow="fold", min_width=least
        )
    for row in rows:
        shown.add_row(*row)
    if title:
        print(title)
    out = screen()
    wide = out.measure(shown, options=out.options.update(max_width=1000))
    if wide.minimum > out.width:  # a terminal breaks lines that are too long; cut, they would lose names
        out.width = wide.maximum
    out.print(shown)


def screen() -> Any:
    """A rich console on standard output, which prints names without markup and, without a terminal, cuts nothing."""
    from rich.console import Console

    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = 1000
    return console
