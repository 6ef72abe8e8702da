"""Multi-label data: cells that hold several labels of an image are recognised and refused, and labels of several words are not."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from typing import Any

from podium.data.names import show
from podium.data.table_files import Table, cell_text
from podium.errors import DataError

ONE_LABEL = "and Podium trains networks that give each image one class"
SEPARATORS = "|;,/+& \t"  # between labels in a cell, the clearest first
BRACKETS = {"[": "]", "{": "}", "(": ")"}
NUMPY = re.compile(r"""['"]\s+['"]""")  # texts without a comma between, which are one text in Python's notation
KEEP = "keep the images that have one label; if it is one class, write its name without spaces and commas: fire_truck"


def several(where: str, why: str, mend: str = KEEP) -> DataError:
    """The refusal of multi-label data.

    Args:
        where: the file and line where it shows.
        why: what is there.
        mend: what to do.
    """
    return DataError(f"{where}: {why}, so this is multi-label data, {ONE_LABEL}", mend)


def refuse_several(table: Table, column: str) -> None:
    """Refuse a column of which some cells hold several labels, or records in place of labels.

    Raises:
        DataError: names the first such cell.
    """
    cells = [_plain(cell) for cell in table.columns[column]]
    for row, cell in enumerate(cells):
        for record in cell if isinstance(cell, list) else [cell]:
            if isinstance(record, dict):
                keys = ", ".join(map(show, list(record)[:5]))
                what = f"{show(table.path)}, {table.where(row)}: {show(column)} holds records ({keys}), which name no class"
                raise DataError(what, "write the class of each image into a column of its own: file_name,label")
    parts: list[list[str] | None] = [list(map(cell_text, cell)) if isinstance(cell, list) else None for cell in cells]
    if not any(part is not None and len(part) > 1 for part in parts):
        parts = _split_cells(table.texts(column))
    if are_bits(kinds := set(table.texts(column)) - {""}):
        row, label = next((row, text) for row, text in enumerate(table.texts(column)) if text.count("1") > 1)
        why = f"{show(column)} holds rows of zeros and ones ({label} and {len(kinds) - 1} others)"
        raise several(
            f"{show(table.path)}, {table.where(row)}", why, "keep the images that have one label, and write its name"
        )
    first = next((row for row, part in enumerate(parts) if part is not None and len(part) > 1), None)
    if first is not None:
        shown = ", ".join(map(repr, (parts[first] or [])[:5]))
        raise several(f"{show(table.path)}, {table.where(first)}", f"{show(column)} holds several labels ({shown})")


def are_bits(labels: Collection[str]) -> bool:
    """Whether labels are rows of zeros and ones, some with several ones: 0101, 1000, 0010. Numbers such as 100, 101, 110 are not."""
    written = len({len(label) for label in labels}) == 1 and all(re.fullmatch("[01]{3,}", label) for label in labels)
    several_ones, padded = any(label.count("1") > 1 for label in labels), any(label[:1] == "0" for label in labels)
    return written and several_ones and padded and len(labels) > 2


def combined(classes: Collection[str]) -> list[str]:
    """A note on a class whose name is that of two others or more, as cat_dog beside cat and dog; none for other classes.

    It is no error: up_left beside up and left is one class.
    """
    known = set(classes)
    for name in classes:
        for separator in f"_-{SEPARATORS}":
            parts = [part.strip() for part in name.split(separator)]
            if len(set(parts)) == len(parts) > 1 and known.issuperset(parts):
                if_so = "if its images have all of these labels, this is multi-label data"
                return [f"note: {show(name)} is a class beside {' and '.join(map(show, parts))}; {if_so}, {ONE_LABEL}"]
    return []


def _plain(cell: Any) -> Any:
    """A cell as a list or a record, also where it is written as text; other cells as they are."""
    if isinstance(cell, str) and BRACKETS.get(cell.strip()[:1], "") == cell.strip()[-1:] != "":
        text = cell.strip()
        try:
            cell = _written(text[1:-1]) if NUMPY.search(text) else ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            cell = text if text[0] == "(" else _written(text[1:-1])
    if isinstance(cell, dict) and len(cell) == 1 and isinstance(only := next(iter(cell.values())), list):
        cell = only  # {"choices": [...]} of Label Studio
    return list(cell) if isinstance(cell, list | tuple | set | frozenset) else cell


def _written(inside: str) -> list[str]:
    """The labels between brackets that are not in Python's notation: [scab, rust], ['scab' 'rust'], [0 1]."""
    if "," in inside:
        return [part.strip(" '\"") for part in inside.split(",") if part.strip()]
    quoted = [one or other for one, other in re.findall(r"'([^']*)'|\"([^\"]*)\"", inside)]
    numbers = inside.split()
    return quoted or (numbers if all(part.lstrip("-").isdigit() for part in numbers) else [inside])


def _split_cells(texts: list[str]) -> list[list[str] | None]:
    """The labels in each cell where cells hold several, separated by one of `SEPARATORS`; else None for all.

    A separator divides labels where two of its parts are labels by themselves in other cells, or where the cells have far more
    combinations than parts. So "golden retriever" and "Portland, Oregon" stay one label.
    """
    distinct = sorted(set(texts) - {""})
    for separator in SEPARATORS:
        parts = {text: [part.strip() for part in text.split(separator) if part.strip()] for text in distinct}
        compound = [text for text in distinct if len(parts[text]) > 1]
        single = {text for text in distinct if len(parts[text]) == 1}
        alone = [text for text in compound if len(single.intersection(parts[text])) > 1]
        kinds = {part for text in compound for part in parts[text]}
        lengths = {len(parts[text]) for text in distinct}
        many = len(lengths) > 1 and len(distinct) >= (2 if separator in "|;" else 4) * len(kinds)
        if (alone and 2 * len(alone) >= len(compound)) or (compound and many):
            return [parts.get(text) for text in texts]
        if separator == "|" and len(compound) > 1 and len(kinds) < sum(len(parts[text]) for text in compound):
            return [parts.get(text) for text in texts]  # a bar is in no name
    return [None] * len(texts)
