"""Which columns of a table hold the images and their classes: by name and by content, unless a person says so."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from podium.data.names import IMAGES, LABELS, show
from podium.data.reading import Reading
from podium.data.several_labels import refuse_several, several
from podium.data.split_columns import BITS, find_splits
from podium.data.table_files import Table, cell_text, plain
from podium.errors import DataError, UsageError, closest
from podium.files import shell_word

NAMES_OF_FILES = IMAGES[: IMAGES.index("picture")]  # of columns that are meant to name images, unlike "id" and "name"
PIXELS = 49  # numbers from which they are the pixels of an image, as of 7 x 7
TRIED = 100  # rows by which the column of images is found


@dataclass(frozen=True)
class Columns:
    """The columns of a table by what they hold.

    Args:
        image: names of image files.
        labels: one column of classes, or several 0/1 columns that are the classes.
        splits: one column of the splits' names, or the 0/1 columns of the splits; empty: there is none.
        notes: what was found rather than said, and what is not used.
    """

    image: str
    labels: tuple[str, ...]
    splits: tuple[str, ...]
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
    splits, unread = _named(table, "split_column", reading.split_column), dict[str, str]()
    labels = _named(table, "label_column", reading.label_column)
    if not splits:
        splits, unread = find_splits(table, {image, *labels})
    if not labels:
        labels = _labels(table, [name for name in table.columns if name not in (image, *splits)])
    shown = f"images by {show(image)}, classes by {', '.join(map(show, labels[:5]))}{', ...' * (len(labels) > 5)}"
    shown += f", splits by {', '.join(map(show, splits))}" if splits else ""
    notes = [note for name, note in unread.items() if name not in labels]
    return Columns(image, labels, splits, (f"note: {show(table.path.name)}: {shown}", *notes))


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
    if (
        row := next((row for row, text in enumerate(texts) if text[:1] == '"' and text.count('"') == 1), None)
    ) is not None:
        what = f"{show(table.path)}, {table.where(row)}: a label with one quote ({show(texts[row][:40])})"
        raise DataError(what, "take the quote out, or close it")
    return texts


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


def _named(table: Table, setting: str, value: str | None) -> tuple[str, ...]:
    """The columns that were named, one or several with commas between; empty where nothing was said."""
    if value is None:
        return ()
    names = [value] if value in table.columns else [name.strip() for name in value.split(",")]
    return tuple(str(_given(table, setting, name)) for name in names)


def _images(table: Table, found: Callable[[str], bool]) -> str:
    """The column whose cells name images that are there; of several the one with more different cells, or the likelier name."""
    rows = sorted({round(k * (len(table) - 1) / TRIED) for k in range(TRIED + 1)})
    found_as: dict[str, tuple[float, int, int]] = {}
    cells: dict[str, list[str]] = {}
    for name in table.columns:
        every = table.texts(name)
        texts = [every[row] for row in rows]
        share = sum(bool(text) and found(text) for text in texts) / len(rows)
        word = plain(name)
        rank = -IMAGES.index(word) if word in IMAGES else -len(IMAGES)
        if share:
            found_as[name], cells[name] = (share, len(set(texts)), rank), texts
    if not found_as:
        _refuse_pixels(table)
        likely = next((name for wanted in IMAGES for name in table.columns if plain(name) == wanted), None)
        name = likely or next(iter(table.columns))
        cell = reprlib.repr(cell_text(table.columns[name][0]))
        what = f"{show(table.path)}: no column names images that are there ({show(name)} has {cell}, for example)"
        fix = "put the images beside the table or below it, or write their paths into it; --image-column NAME says which column"
        raise DataError(what, fix)
    column = max(found_as, key=lambda name: found_as[name])
    # Numbers from 0 name images that are called by numbers, whether or not they are meant to, as those of an index.
    equal = [name for name in found_as if found_as[name][:2] == found_as[column][:2] and cells[name] != cells[column]]
    if equal and plain(column) not in NAMES_OF_FILES and all(text.isdigit() for text in cells[column]):
        what = f"{show(table.path)}: {_listed([column, *equal])} could each name the images"
        others = ", ".join(map(shell_word, equal[:4]))
        raise DataError(what, f"say which: --image-column {shell_word(column)} (or {others})")
    return column


def _refuse_pixels(table: Table) -> None:
    """Refuse a table that has the pixels of images as numbers, in many columns or in the cells of one.

    Raises:
        DataError: it has.
    """
    numbered = [name for name in table.columns if re.fullmatch(r"(pixel|px|p)?_?\d+(x\d+)?", name.lower())]
    inside = [name for name, cells in table.columns.items() if _is_pixels(cells[0])]
    if len(numbered) >= PIXELS or inside:
        where = show(inside[0]) if inside else f"{show(numbered[0])} to {show(numbered[-1])}"
        what = f"{show(table.path)}: has the pixels of images as numbers ({where}), and no names of image files"
        raise DataError(what, "save each row as a PNG file in a folder of its class, or all of them as IDX files")


def _is_pixels(cell: Any) -> bool:
    """Whether a cell holds many numbers, as a list, in rows, or as text with spaces or commas between them."""
    while isinstance(cell, list) and cell and isinstance(cell[0], list):
        cell = [value for row in cell for value in row]
    values = (
        cell if isinstance(cell, list) else re.split(r"[\s,]+", str(cell).strip("[] ")) if isinstance(cell, str) else []
    )
    return len(values) >= PIXELS and all(re.fullmatch(r"-?\d+(\.\d+)?", str(value)) for value in values)


# --- labels


def _labels(table: Table, names: Sequence[str]) -> tuple[str, ...]:
    """The column of classes, or the 0/1 columns of the classes."""
    known = [name for name in names if name in table.names]
    if len(known) != 1:
        known = [name for wanted in LABELS for name in names if plain(name) == wanted]
    known = known or [name for name in names if re.search("label|class|categor", plain(name))]
    if known and all(_measures(table, name) and len(set(table.texts(name))) > len(table) // 2 for name in known):
        what = f"{show(table.path)}: {_listed(known)} {'holds' if len(known) == 1 else 'hold'} numbers with fractions, one for nearly each image, and no classes"
        raise NoLabels(
            what, "Podium classifies and predicts no numbers; name a column of classes with --label-column NAME"
        )
    if known:
        return (_same(table, known),)
    bits = [name for name in names if {text.lower() for text in table.texts(name)} <= BITS.keys() | {""}]
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
    headed = not all(re.fullmatch(r"column \d+", name) for name in names)
    if headed and len({re.sub(r"\d+", "", plain(name)) for name in names}) == 1:
        mend = f"keep the images that have one label, and one column of labels; to take one of these: --label-column {shell_word(names[0])}"
        return several(show(table.path), f"{_listed(names)} each hold labels", mend)
    what = f"{show(table.path)}: {_listed(names)} could each be the classes"
    others = f" (or {', '.join(map(shell_word, names[1:5]))})" if names[1:] else ""
    return DataError(what, f"say which: --label-column {shell_word(names[0])}{others}")


def _measures(table: Table, name: str) -> bool:
    """Whether a column holds numbers with fractions, which are no classes."""
    return any(re.fullmatch(r"[-+]?\d*\.\d+([eE][-+]?\d+)?", text) for text in table.texts(name))


def _looks_one_hot(table: Table, names: Sequence[str]) -> bool:
    """Whether 0/1 columns are classes: most rows have one at least, and each is set somewhere, unless all rows have just one."""
    bits = [[BITS.get(text.lower(), 0) for text in table.texts(name)] for name in names]
    ones = [sum(row) for row in zip(*bits, strict=True)]
    if all(count == 1 for count in ones):  # a column of a class without images, as UNK of ISIC 2019
        return sum(map(any, bits)) > 1
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
                mend = "keep the rows that have one; if some of these columns are no classes, name those that are, with commas between: --label-column NAMES"
                raise several(f"{show(table.path)}, {table.where(row)}", f"has both {labels[row]} and {name}", mend)
            labels[row] = name if bit else labels[row]
    return labels


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    return ", ".join(map(show, every[:12])) + (f" and {len(every) - 12} more" if len(every) > 12 else "")
