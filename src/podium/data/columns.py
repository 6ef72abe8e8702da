"""Which columns of a table hold the images, their classes and their splits: by name and by content, unless a person says so."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from podium.data.names import MORE_SPLIT_NAMES, show, split_named
from podium.data.reading import Reading
from podium.data.table_files import Table, cell_text
from podium.errors import DataError, UsageError, closest

USUAL = {  # names of columns, without spaces, dashes and underscores; the likeliest first
    "images": "filename filenames filepath filepaths file files image images img imagepath imgpath path paths imagename "
    "imgname imagefile imagefilename imageid imgid photo photos picture id name",
    "labels": "label labels class classes classname classlabel labelname category categories categoryname target targets "
    "species breed diagnosis dx y groundtruth gt classid labelid categoryid tags",
    "splits": "split splits subset partition datasplit datasettype trainvaltest traintest usage phase dataset set fold",
}
IMAGES, LABELS, SPLITS = (words.split() for words in USUAL.values())
FLAGS = {  # names of 0/1 columns -> the splits of 0 and 1
    **dict.fromkeys(("isvalid", "isval", "isvalidation", "valid"), ("train", "val")),
    "istest": ("train", "test"),
    **dict.fromkeys(("istrain", "istraining", "istrainingimage"), ("test", "train")),
}
BITS = {"0": 0, "1": 1, "false": 0, "true": 1, "0.0": 0, "1.0": 1, "-1": 0, "-1.0": 0}
TRIED = 100  # rows by which the column of images is found
ONE_LABEL = "and Podium trains networks that give each image one class"


@dataclass(frozen=True)
class Columns:
    """The columns of a table by what they hold.

    Args:
        image: names of image files.
        labels: one column of classes, or several 0/1 columns that are the classes.
        split: splits of the images; None: there is none.
        notes: what was found rather than said, and what is not used.
    """

    image: str
    labels: tuple[str, ...]
    split: str | None
    notes: tuple[str, ...] = ()


class NoLabels(DataError):
    """A table without a column of labels, as that of a contest's test images."""


def choose(table: Table, reading: Reading, found: Callable[[str], bool], image: str | None = None) -> Columns:
    """Decide which columns hold the images, their classes and their splits.

    Args:
        table: the table.
        reading: what a person said.
        found: whether a cell names an image that is there.
        image: the column of images where its content decides.

    Raises:
        UsageError: a column that was given is not there.
        DataError: a column cannot be found, or several could be meant; names them and the flag.
    """
    image = _given(table, "image_column", reading.image_column) or image or _images(table, found)
    split, note = _split_column(table, reading, image)
    if reading.label_column is not None:
        several = [name.strip() for name in reading.label_column.split(",")]
        whole = reading.label_column in table.columns or len(several) == 1
        names = [reading.label_column] if whole else several
        labels = tuple(str(_given(table, "label_column", name)) for name in names)
    else:
        labels = _labels(table, [name for name in table.columns if name not in (image, split)])
    shown = f"images by {show(image)}, classes by {', '.join(map(show, labels[:5]))}{', ...' * (len(labels) > 5)}"
    notes = [f"note: {show(table.path.name)}: {shown}" + (f", splits by {show(split)}" if split else "")]
    return Columns(image, labels, split, (*notes, *note))


def labels_of(table: Table, columns: Columns) -> list[str]:
    """The class of each row; empty where it has none.

    Raises:
        DataError: the labels are of several classes at once (multi-label data).
    """
    if len(columns.labels) > 1:
        return _one_hot(table, columns.labels)
    (column,) = columns.labels
    refuse_several(table, column)
    texts = table.texts(column)
    if (row := next((row for row, text in enumerate(texts) if "\n" in text), None)) is not None:
        what = f"{show(table.path)}, {table.where(row)}: a label of several lines ({show(texts[row][:40])})"
        raise DataError(what, "close the quotes that begin on this line")
    return texts


def splits_of(table: Table, columns: Columns) -> list[str]:
    """The split of each row; all empty where the table has none.

    Raises:
        DataError: a cell names no split.
    """
    if columns.split is None:
        return [""] * len(table)
    texts = table.texts(columns.split)
    read = _split_values(columns.split, set(texts))
    odd = next((row for row, text in enumerate(texts) if text not in read), None)
    if odd is not None:
        where, names = f"{show(table.path)}, {table.where(odd)}", "train, val or test"
        what = f"{where}: {texts[odd]!r} in column {show(columns.split)} is not a split"
        raise DataError(what, f"write {names} there, or name another column with --split-column")
    return [read[text] for text in texts]


# --- images


def _given(table: Table, setting: str, name: str | None) -> str | None:
    """A column that was named, also by its number, from 1."""
    if name is None or name in table.columns:
        return name
    names = list(table.columns)
    if name.isdigit() and 1 <= int(name) <= len(names):
        return names[int(name) - 1]
    like = closest(name, names)
    fix = (f"{like}; " if like else "") + f"its columns are {_listed(names)}"
    raise UsageError(f"{setting}: {show(table.path)} has no column {show(name)}", fix)


def _images(table: Table, found: Callable[[str], bool]) -> str:
    """The column whose cells name images that are there; of several the one with more different cells, or the likelier name."""
    rows = sorted({round(k * (len(table) - 1) / TRIED) for k in range(TRIED + 1)})
    best: tuple[float, int, int] = (0.0, 0, 0)
    column = ""
    for name in table.columns:
        texts = [cell_text(table.columns[name][row]) for row in rows]
        share = sum(bool(text) and found(text) for text in texts) / len(rows)
        word = plain(name)
        rank = -IMAGES.index(word) if word in IMAGES else -len(IMAGES)
        if share and (share, len(set(texts)), rank) > best:
            best, column = (share, len(set(texts)), rank), name
    if not column:
        likely = next((name for wanted in IMAGES for name in table.columns if plain(name) == wanted), None)
        name = likely or next(iter(table.columns))
        cell = cell_text(table.columns[name][0])
        what = f"{show(table.path)}: no column names images that are there ({show(name)} has {cell!r}, for example)"
        fix = "put the images beside the table or below it, or write their paths into it; --image-column NAME says which column"
        raise DataError(what, fix)
    return column


# --- splits


def _split_column(table: Table, reading: Reading, image: str) -> tuple[str | None, tuple[str, ...]]:
    if reading.split_column is not None:
        return _given(table, "split_column", reading.split_column), ()
    labelled = reading.label_column
    notes = list[str]()
    for name in table.columns:
        word = plain(name)
        if name in (image, labelled) or (word not in SPLITS and word not in FLAGS):
            continue
        values = set(table.texts(name))
        if values <= _split_values(name, values).keys():
            return name, tuple(notes)
        example = sorted(values)[0]
        notes.append(f"note: column {show(name)} is not read as splits: {example!r} is neither train, val nor test")
    return None, tuple(notes)


def _split_values(name: str, values: Iterable[str]) -> dict[str, str]:
    """The values of a column that mean splits, and these."""
    word, read = plain(name), {}
    for value in values:
        bit = BITS.get(value.lower())
        split = MORE_SPLIT_NAMES.get(value.lower()) or split_named(value)[0]
        if bit is not None and word in FLAGS:
            split = FLAGS[word][bit]
        if split:
            read[value] = split
    return read


# --- labels


def _labels(table: Table, names: Sequence[str]) -> tuple[str, ...]:
    """The column of classes, or the 0/1 columns of the classes."""
    known = [name for name in names if name in table.names]
    if len(known) != 1:
        known = [name for wanted in LABELS for name in names if plain(name) == wanted]
    known = known or [name for name in names if re.search("label|class|categor", plain(name))]
    if known:
        return (_same(table, known),)
    bits = [name for name in names if set(table.texts(name)) <= BITS.keys() | {""}]
    if len(bits) > 1 and _looks_one_hot(table, bits):
        return tuple(bits)
    most = max(2, len(table) // 2)
    likely = [name for name in names if 2 <= len(set(table.texts(name))) <= most and not _measures(table, name)]
    likely = likely or [name for name in names if any(isinstance(cell, list) for cell in table.columns[name])]
    if len(likely) == 1:
        return (likely[0],)
    if not likely:
        what = f"{show(table.path)}: no column of labels among {_listed(table.columns)}"
        raise NoLabels(what, "add a column called label, or name yours with --label-column NAME")
    raise _several_columns(table, likely)


def _same(table: Table, known: list[str]) -> str:
    """The one of several columns named like labels: words rather than numbers where both have the same classes."""
    texts = {name: table.texts(name) for name in known}
    if not any(any(texts[name]) for name in known):
        raise NoLabels(f"{show(table.path)}: column {show(known[0])} is empty", "give a table with labels")
    for name in known[1:]:
        pairs = set(zip(texts[known[0]], texts[name], strict=True))
        if not len(pairs) == len(set(texts[known[0]])) == len(set(texts[name])):
            raise _several_columns(table, known)
    return next((name for name in known if not all(text.isdigit() for text in texts[name])), known[0])


def _several_columns(table: Table, names: list[str]) -> DataError:
    what = f"{show(table.path)}: {_listed(names)} could each be the classes"
    others = f" (or {', '.join(map(show, names[1:5]))})" if names[1:] else ""
    return DataError(what, f"say which: --label-column {show(names[0])}{others}")


def _measures(table: Table, name: str) -> bool:
    """Whether a column holds numbers with fractions, which are no classes."""
    return any(re.fullmatch(r"[-+]?\d*\.\d+([eE][-+]?\d+)?", text) for text in table.texts(name))


def _looks_one_hot(table: Table, names: Sequence[str]) -> bool:
    """Whether 0/1 columns are classes: each is set somewhere, and most rows have one at least."""
    bits = [[BITS.get(text.lower(), 0) for text in table.texts(name)] for name in names]
    ones = [sum(row) for row in zip(*bits, strict=True)]
    return all(map(any, bits)) and sum(count >= 1 for count in ones) >= 0.5 * len(ones)


def _one_hot(table: Table, names: Sequence[str]) -> list[str]:
    """The class of each row by its 0/1 columns.

    Raises:
        DataError: a cell is neither, or a row has several classes.
    """
    labels = [""] * len(table)
    for name in names:
        for row, text in enumerate(table.texts(name)):
            bit = BITS.get(text.lower(), 0 if not text else None)
            if bit is None:
                what = f"{show(table.path)}, {table.where(row)}: {text!r} in column {show(name)} is neither 0 nor 1"
                raise DataError(what, "write 0 or 1, or name a column of classes with --label-column")
            if bit and labels[row]:
                raise several(f"{show(table.path)}, {table.where(row)}", f"has both {labels[row]} and {name}")
            labels[row] = name if bit else labels[row]
    return labels


# --- several labels an image


def several(where: str, why: str) -> DataError:
    """The refusal of multi-label data.

    Args:
        where: the file and line where it shows.
        why: what is there.
    """
    fix = (
        "keep the images that have one label; if it is one class, write its name without spaces and commas: fire_truck"
    )
    return DataError(f"{where}: {why}, so this is multi-label data, {ONE_LABEL}", fix)


def refuse_several(table: Table, column: str) -> None:
    """Refuse a column of which some cells hold several labels.

    Raises:
        DataError: names the first such cell.
    """
    cells = table.columns[column]
    parts = [_list_of(cell) for cell in cells]
    if not any(part is not None and len(part) > 1 for part in parts):
        parts = _split_cells([cell_text(cell) for cell in cells])
    row = next((row for row, part in enumerate(parts) if part is not None and len(part) > 1), None)
    if row is not None:
        shown = ", ".join(map(repr, (parts[row] or [])[:5]))
        raise several(f"{show(table.path)}, {table.where(row)}", f"{show(column)} holds several labels ({shown})")


def _list_of(cell: Any) -> list[str] | None:
    """The labels of a cell that is a list, also one written as text; None for other cells."""
    if isinstance(cell, str) and cell.strip()[:1] == "[" and cell.strip()[-1:] == "]":
        try:
            cell = ast.literal_eval(cell.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return None
    return [cell_text(each) for each in cell] if isinstance(cell, list | tuple) else None


def _split_cells(texts: list[str]) -> list[list[str] | None]:
    """The labels in each cell where cells hold several, separated by |, a semicolon, a comma or a space; else None for all.

    A separator divides labels where two of its parts are labels by themselves in other cells, or where the cells have far more
    combinations than parts. So "golden retriever" and "Portland, Oregon" stay one label.
    """
    distinct = sorted(set(texts) - {""})
    for separator in "|;, ":
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


def plain(name: str) -> str:
    """A column's name without case, spaces, dashes and underscores."""
    return re.sub(r"[\W_]+", "", name).lower()


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    return ", ".join(map(show, every[:12])) + (f" and {len(every) - 12} more" if len(every) > 12 else "")
