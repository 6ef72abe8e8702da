"""The rows of a text with a delimiter (CSV and its kin), and of a list with spaces. A quote that does not close is an error."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from podium.data.names import show
from podium.errors import DataError

DELIMITERS = ",\t;|"
SAMPLED = 200  # rows from which the delimiter is found
SEPARATOR = re.compile(r"sep=(.)\s*", re.IGNORECASE)  # the first line by which Excel is told the delimiter
COMMENTS = re.compile(r"(#[^\n]*\n)+")
CLOSE = 'close the quote where its cell ends; inside of quotes, write a quote twice: "a 5"" disk"'


@dataclass(frozen=True)
class Record:
    """One row.

    Args:
        line: the number of the line on which it begins, from 1.
        cells: its fields.
        parts: of a row of several lines, what each line would be as a row of its own; else nothing.
    """

    line: int
    cells: list[str]
    parts: tuple[list[str], ...] = ()


def records(path: Path, text: str, ending: str) -> Iterator[Record]:
    """Yield each row that is not empty.

    Args:
        path: of the file, for messages.
        text: of the file.
        ending: of its name, such as ".csv".

    Raises:
        DataError: a quote does not close; names the line.
    """
    comments = _comments(text, ending)
    skipped, text = comments.count("\n"), text[len(comments) :]
    opening, _, rest = text.partition("\n")
    if said := SEPARATOR.fullmatch(opening):
        delimiter, text, skipped = said[1], rest, skipped + 1
    else:
        delimiter = _delimiter(text, ending)
    if delimiter == " ":  # a list of paths, which may hold spaces, and labels
        for number, line in lines_of(text):
            yield Record(skipped + number, line.rsplit(None, 1))
        return
    try:
        for record in _rows(text, delimiter, skipped + 1):
            if any(cell.strip() for cell in record.cells):
                yield record
    except OpenQuote as error:
        what = f"{show(path)}, line {error.line}: a quote opens in this line and does not close"
        raise DataError(what, CLOSE) from None
    except csv.Error as error:
        raise DataError(f"{show(path)}: {error}", "write the table anew, as CSV") from None


def _comments(text: str, ending: str) -> str:
    """The lines at the start that begin with # and have another number of fields than the line below them."""
    found = COMMENTS.match(text)
    if found is None or not (rest := text[found.end() :]):
        return ""
    delimiter = _delimiter(rest, ending)
    counts = {line.count(delimiter) for line in found[0].splitlines()}
    return "" if rest.partition("\n")[0].count(delimiter) in counts else found[0]


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """Yield the number, from 1, and the text of each line that is not empty. What Unicode calls a line's end, texts may hold."""
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if line.strip():
            yield number, line.strip()


class OpenQuote(Exception):
    """A quote that does not close, or that closes amid the text of a later line."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


def _rows(text: str, delimiter: str, first: int = 1) -> Iterator[Record]:
    """Yield the rows of a text whose first line has the number `first`. Between tabs, a quote that does not close is text."""
    lines = list(io.StringIO(text, newline=""))
    at = 0
    while at < len(lines):
        number, taken, quoting = first + at, 1, csv.QUOTE_MINIMAL
        if '"' in lines[at] and len(_parsed([lines[at], "x"], delimiter)) == 1:  # open at the end of the line
            taken = _extent(lines, at, delimiter)
            if not taken:
                if delimiter != "\t":
                    raise OpenQuote(number)
                taken, quoting = 1, csv.QUOTE_NONE
        several = lines[at : at + taken]
        parts = [line.strip().split(delimiter) for line in several] if taken > 1 else []
        at += taken
        for cells in _parsed(several, delimiter, quoting):
            yield Record(number, cells, tuple([part.strip(' "') for part in each] for each in parts))


def _parsed(lines: list[str], delimiter: str, quoting: int = csv.QUOTE_MINIMAL) -> list[list[str]]:
    return list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True, quoting=quoting))  # type: ignore[arg-type]


def _extent(lines: list[str], at: int, delimiter: str) -> int:
    """The number of lines of a row whose quotes close before a delimiter or the end of a line; 0 where one does not."""
    rest = (lines[number] for number in range(at, len(lines)))
    reader = csv.reader(rest, delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        next(reader)
    except csv.Error:
        return 0
    return reader.line_num


def _delimiter(text: str, ending: str) -> str:
    """The delimiter by which the first rows have the same number of fields, the most where several have."""
    best, found = (0.0, 1), ""
    for delimiter in DELIMITERS:
        rows: list[list[str]] = []
        try:
            for record in islice(_rows(text, delimiter), SAMPLED):
                rows += [record.cells] if record.cells else []
        except (OpenQuote, csv.Error):
            rows.append([])
        width = len(rows[0]) if rows else 0
        share = sum(len(row) == width for row in rows) / max(1, len(rows))
        if width > 1 and (share, width) > best:
            best, found = (share, width), delimiter
    if found and (best[0] == 1 or ending not in (".txt", ".lst")):
        return found
    return " " if ending in (".txt", ".lst") else found or ","
