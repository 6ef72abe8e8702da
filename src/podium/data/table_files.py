"""Tables as files: CSV and its kin, JSON lines and Parquet, read into columns of cells. Only Parquet needs a package (pyarrow)."""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podium.data.delimited import Record, lines_of, records
from podium.data.encodings import guessed, readable
from podium.data.names import EXTENSIONS, IMAGES, UNREAD, show, suffix
from podium.errors import DataError, MachineError, PodiumError

TEXTS = (".csv", ".tsv", ".txt", ".lst")  # one row a line
JSONS = (".jsonl", ".ndjson", ".json")
PARQUET = ".parquet"
TABLES = (*TEXTS, *JSONS, PARQUET)
NONE = frozenset(("nan", "null", "<na>", "#n/a", "nat"))  # how programs write a missing value as text
WHOLE = re.compile(r"-?\d+\.0+")  # a whole number, as programs write it that keep numbers as fractions
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass
class Table:
    """The columns of a table.

    Args:
        path: the file.
        columns: name -> the cells of all rows: text, or in JSON and Parquet any plain value.
        lines: the number of each row's line, from 1; of Parquet, the row's.
        unit: "line" or "row", for messages.
        names: column -> the names of its classes, where the file has numbers for them (ClassLabel of Hugging Face).
        notes: what a person should know about the file.
        spread: the rows of several lines, also the header.
    """

    path: Path
    columns: dict[str, list[Any]]
    lines: list[int]
    unit: str = "line"
    names: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    spread: list[Record] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.lines)

    def where(self, row: int) -> str:
        """The place of a row for messages, such as "line 3"."""
        return f"{self.unit} {self.lines[row]}"

    def texts(self, column: str) -> list[str]:
        """The cells of a column as text; numbers of classes that have names become these names."""
        names = self.names.get(column)
        cells = self.columns[column]
        if names is not None:
            # -1 is none.
            cells = [c if not isinstance(c, int) else names[c] if 0 <= c < len(names) else None for c in cells]
        texts = [cell_text(cell) for cell in cells]
        whole = all(WHOLE.fullmatch(text) for text in texts if text)
        return [text.partition(".")[0] for text in texts] if whole else texts

    @property
    def all_texts(self) -> dict[str, list[str]]:
        """Every column as text, but those of images and of other bytes."""
        return {name: self.texts(name) for name, cells in self.columns.items() if not any(map(_is_bytes, cells))}


def _is_bytes(cell: Any) -> bool:
    return isinstance(cell, bytes | dict) or (isinstance(cell, list) and any(map(_is_bytes, cell)))


def is_table(path: Path) -> bool:
    """Whether a file is a table by its name."""
    return suffix(path.name) in TABLES and path.is_file()


def plain(name: str) -> str:
    """A column's name without case, spaces, dashes and underscores."""
    return re.sub(r"[\W_]+", "", name).lower()


def cell_text(cell: Any) -> str:
    """A cell as text without spaces around it; empty where there is no value, also where a program wrote that as "NaN"."""
    if cell is None or cell != cell:  # a missing number of pandas is not equal to itself
        return ""
    if isinstance(cell, list | tuple) and len(cell) == 1:
        return cell_text(cell[0])
    text = str(cell).strip()
    return "" if text.lower() in NONE else text


def read_table(path: Path, columns: list[str] | None = None) -> Table:
    """Read a table.

    Args:
        path: of the file.
        columns: of Parquet, the columns to read; None: all.

    Raises:
        DataError: it cannot be read, is damaged, is no table, or has no rows; names the line.
        MachineError: it is Parquet, and pyarrow is not installed.
    """
    ending = suffix(path.name)
    try:
        if ending == PARQUET:
            table = _parquet(path, columns)
        elif ending in JSONS:
            table = _json(path, *_decoded(path))
        else:
            table = _delimited(path, *_decoded(path))
    except OSError as error:
        what = f"{show(path)}: cannot be read ({error.strerror or error})"
        raise DataError(what, "check the file and its permissions") from None
    if not len(table):
        raise DataError(f"{show(path)}: a table without rows", "give a table with a row for each image")
    return table


def _decoded(path: Path) -> tuple[str, list[str]]:
    """The text of a file, and a note on its encoding where it is not UTF-8."""
    data = path.read_bytes()
    if data[:4] == b"PK\3\4" or data[:4] == b"\xd0\xcf\x11\xe0":
        raise DataError(f"{show(path)}: a spreadsheet, not a table of text", "save it as CSV")
    codec = next((codec for mark, codec in MARKS if data.startswith(mark)), None)
    try:
        text, notes = data.decode(codec or "utf-8"), list[str]()
    except UnicodeDecodeError:
        if codec is not None:
            raise DataError(f"{show(path)}: damaged text ({codec})", "save it again as UTF-8") from None
        lines, encoding = readable(data.splitlines(keepends=True))
        if not encoding:
            raise DataError(f"{show(path)}: text of an unknown encoding", "save it as UTF-8") from None
        text = "".join(lines)
        said = guessed(re.findall(r"[\w ]+", text), encoding, "save it as UTF-8")
        notes = [f"note: {show(path)} is not UTF-8; it is {said}"]
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(f"{show(path)}, line {line}: a zero byte, so this is no text", "save it as text in UTF-8")
    return text, notes


# --- one row a line


def _delimited(path: Path, text: str, notes: list[str]) -> Table:
    rows = list(records(path, text, suffix(path.name)))
    if not rows:
        raise DataError(f"{show(path)}: an empty file", "give a table with a row for each image")
    header, bare = [cell.strip() for cell in rows[0].cells], _is_bare([row.cells for row in rows])
    names = [f"column {n}" if bare or not cell else cell for n, cell in enumerate(header, 1)]
    if bare:
        notes = [*notes, f"note: {show(path)} has no header; its columns are called column 1, column 2, ..."]
    if len(names) < 2:
        what = f"{show(path)}: one column only ({show(names[0][:40])})"
        raise DataError(what, "give a table with a column of image names and a column of labels")
    _check_names(path, names)
    lines: list[int] = []
    cells: list[list[str]] = []
    for record in rows if bare else rows[1:]:
        line, row = record.line, record.cells
        if len(row) != len(names):
            if len(row) < len(names) or any(cell.strip() for cell in row[len(names) :]):
                what = f"{show(path)}, line {line}: {len(row)} fields, where the first line has {len(names)}"
                raise DataError(what, 'put quotes around a field that holds the delimiter: "a, b"')
            row = row[: len(names)]
        lines.append(line)
        cells.append(row)
    columns = (
        {name: list(column) for name, column in zip(names, zip(*cells, strict=True), strict=True)} if cells else {}
    )
    return Table(path, columns, lines, notes=notes, spread=[record for record in rows if record.parts])


def _is_bare(rows: list[list[str]]) -> bool:
    """Whether a table has no header: its first row names an image, or has a cell that is the label of later rows too."""
    if any(suffix(cell.strip()) in EXTENSIONS or suffix(cell.strip()) in UNREAD for cell in rows[0]):
        return True
    below = [
        set(column)
        for column in zip(*(row[: len(rows[0])] for row in rows[1:] if len(row) >= len(rows[0])), strict=True)
    ]
    pairs = list(zip(rows[0], below, strict=False))
    if any(plain(cell) in IMAGES and cell not in cells for cell, cells in pairs):  # id,0,1 with 0/1 columns
        return False
    return any(cell.strip() and cell in cells for cell, cells in pairs)


def _check_names(path: Path, names: list[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        what = f"{show(path)}: several columns are called {show(twice[0])}"
        raise DataError(what, "give each column a name of its own")


# --- JSON


def _json(path: Path, text: str, notes: list[str]) -> Table:
    """JSON lines, a list of records, or an object from names to labels."""
    lines: list[int] = []
    records: list[dict[str, Any]] = []
    if suffix(path.name) == ".json":
        whole = _loaded(path, text, 1)
        if isinstance(whole, dict) and {"images", "annotations"} <= whole.keys():
            fix = "give the folder that holds its images; annotations are found there"
            raise DataError(f"{show(path)}: annotations in the format of COCO, not a table", fix)
        if isinstance(whole, dict) and (by_column := _by_column(whole)) is not None:
            whole = by_column
        elif isinstance(whole, dict) and not any(isinstance(value, dict) for value in whole.values()):
            whole = [{"image": name, "label": label} for name, label in whole.items()]
        found: Iterable[tuple[int, Any]] = enumerate(whole if isinstance(whole, list) else [None], 1)
        unit = "row"
    else:
        found, unit = ((number, _loaded(path, line, number)) for number, line in lines_of(text)), "line"
    for number, record in found:
        if not isinstance(record, dict):
            what = f"{show(path)}, {unit} {number}: not an object with a value for each column"
            raise DataError(what, 'write {"file_name": "a.jpg", "label": "cat"}')
        lines.append(number)
        records.append(record)
    names = list(dict.fromkeys(str(name) for record in records for name in record))
    return Table(path, {name: [record.get(name) for record in records] for name in names}, lines, unit, notes=notes)


def _by_column(whole: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The records of a JSON object from columns to their cells, as pandas writes it; None where it is none."""
    columns = {name: dict(enumerate(cells)) if isinstance(cells, list) else cells for name, cells in whole.items()}
    if not any(plain(name) in IMAGES for name in columns) or not all(
        isinstance(cells, dict) for cells in columns.values()
    ):
        return None
    rows = next(iter(columns.values())).keys()
    if any(cells.keys() != rows for cells in columns.values()):
        return None
    return [{name: cells[row] for name, cells in columns.items()} for row in rows]


def _loaded(path: Path, text: str, line: int) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        where = line + getattr(error, "lineno", 1) - 1
        raise DataError(f"{show(path)}, line {where}: not JSON ({error})", "write it anew, as JSON") from None


# --- Parquet


def arrow() -> Any:
    """The module `pyarrow.parquet`.

    Raises:
        MachineError: it is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError:
        what = "pyarrow is not installed, which reads Parquet"
        raise MachineError(what, 'pip install "podium[tables]"') from None
    return pyarrow.parquet


def damaged(path: Path, error: Exception) -> DataError:
    """The error for a Parquet file that pyarrow cannot read."""
    why = (str(error).splitlines() or [type(error).__name__])[0]
    return DataError(f"{show(path)}: not a Parquet file, or a damaged one ({why})", "download it again")


def class_names(schema: Any) -> dict[str, list[str]]:
    """Column -> names of its classes, from the features that Hugging Face's `datasets` writes into a schema."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        kinds = {name: kind for name, kind in features.items() if isinstance(kind, dict)}
        return {
            name: [str(each) for each in kind["names"]]
            for name, kind in kinds.items()
            if kind.get("_type") == "ClassLabel" and isinstance(kind.get("names"), list)
        }
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def _parquet(path: Path, columns: list[str] | None) -> Table:
    parquet = arrow()
    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            _check_names(path, schema.names)
            table = file.read(columns=columns)
        named = (name or f"column {n}" for n, name in enumerate(table.column_names, 1))
        found = {name: _cells(column) for name, column in zip(named, table.columns, strict=True)}
    except (PodiumError, MemoryError):
        raise
    except Exception as error:  # pyarrow raises anything
        if isinstance(error, OSError) and error.strerror:
            raise
        raise damaged(path, error) from None
    known = {name: names for name, names in class_names(schema).items() if name in found}
    return Table(path, found, list(range(1, table.num_rows + 1)), "row", known)


def _cells(column: Any) -> list[Any]:
    """The cells of a column as plain values. Times become text, since Python has none of nanoseconds, nor of the year 10000."""
    from pyarrow import string, types

    cells: list[Any] = (column.cast(string()) if types.is_temporal(column.type) else column).to_pylist()
    return cells
