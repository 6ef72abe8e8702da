"""Markdown of texts that may hold anything: names of classes are shown as they are, and are never taken for markup or HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence

MARKUP = re.compile(r"[\\`*_\[\]<>|~&$]")
ADDRESS = re.compile(r"(?i)(https?|ftp)(:)(?=//)|\b(www)(\.)")  # what GitHub makes a link of by itself
NUMBER = re.compile(r"(?:[-+±]? ?\d[\d.,]*[kMGT]?(?: %)?(?: \([\d.,-]+\))? ?)*")  # one or several, or an empty cell
FIRST = re.compile(r"[#+\-=]|\d+[.)](?=\s|$)")  # what begins a heading or a list at the start of a line


def escape(text: str) -> str:
    """A text on one line in which nothing is markup."""
    line = " ".join(str(text).split())
    line = MARKUP.sub(
        lambda found: "&lt;" if found[0] == "<" else "&amp;" if found[0] == "&" else f"\\{found[0]}", line
    )
    line = ADDRESS.sub(lambda found: f"{found[1] or found[3]}\\{found[2] or found[4]}", line)
    if found := FIRST.match(line):
        line = f"{line[: found.end() - 1]}\\{line[found.end() - 1 :]}"
    return line


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table.

    Args:
        headings: of the columns.
        rows: cells that are Markdown already.
        left: the first columns, which stand at the left; of the others, those with nothing but numbers stand at the right.
    """
    numbers = [all(NUMBER.fullmatch(row[place]) for row in rows) for place in range(len(headings))]
    marks = ["---:" if place >= left and numbers[place] else "---" for place in range(len(headings))]
    lines = [map(escape, headings), marks, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def code(text: str) -> str:
    """A block of code, with a fence that nothing within it ends."""
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}\n"


def bullets(lines: Sequence[str]) -> str:
    """A list of texts, each escaped."""
    return "".join(f"- {escape(line)}\n" for line in lines)
