"""What is known of each image beside its class, as columns of text: from a table, or from its path by a regular expression."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from podium.data.dataset import Dataset, Split
from podium.data.layout import Cells
from podium.data.names import show
from podium.errors import DataError, UsageError, closest
from podium.patterns import parse_pattern

SHOWN = 5  # names in a message


def paths_below(split: Split) -> list[str] | None:
    """The path of each image below the data set's root, with "/" between folders; None where images have no files."""
    if split.files is None:
        return None
    return [file.below or file.path.name for file in split.files]


def from_paths(data: Dataset, setting: str, text: str) -> dict[str, np.ndarray]:
    """What a regular expression finds in the paths of the images.

    Args:
        data: the images.
        setting: that has the expression, for messages.
        text: the expression; its one named group, or else its first group, is what it finds.

    Returns:
        Split -> (N,) text; "" where it does not match.

    Raises:
        UsageError: the text is no such expression.
        DataError: the images have no paths.
    """
    pattern, values = parse_pattern(setting, text), {}
    for name, split in data.splits.items():
        paths = paths_below(split)
        if paths is None:
            what = f"{show(data.name)}: its images have no paths in which {setting} could find anything"
            fix = f"leave out --{setting.replace('_', '-')}, or give the folder or table that the images came from"
            raise DataError(what, fix)
        values[name] = np.array([pattern.find(path) for path in paths], dtype=np.str_)
    return values


def from_table(data: Dataset, setting: str, column: str) -> dict[str, np.ndarray]:
    """The values of a column of each split.

    Args:
        data: the images.
        setting: that names the column, for messages.
        column: its name.

    Returns:
        Split -> (N,) text; "" where a cell is empty.

    Raises:
        UsageError: there is no such column.
    """
    known = list(dict.fromkeys(name for split in data.splits.values() for name in split.columns))
    if column not in known:
        by_path = {"group_column": "--group-from 'REGEX'", "slice": "--slice 'REGEX'"}.get(
            setting, "a regular expression"
        )
        like = closest(column, known) or (f"it has {', '.join(known)}" if known else "")
        fix = f"{like}; " * bool(like) + f"{by_path} takes the value from the path of each image"
        raise UsageError(f"{setting}: {show(data.name)} has no column {column!r}", fix)
    empty = {name: np.full(len(split), "", dtype=np.str_) for name, split in data.splits.items()}
    return {name: np.array(split.columns.get(column, empty[name]), np.str_) for name, split in data.splits.items()}


def cells_of(rows: Iterable[Cells | None]) -> dict[str, np.ndarray]:
    """The columns of images that stand in tables.

    Args:
        rows: what the table has on each image; None where there is nothing.

    Returns:
        Column -> (N,) text; "" where the table of an image has no such column. The cells are shared with the table: the text
        of a long column takes no memory twice.
    """
    found = list(rows)
    names = dict.fromkeys(name for columns in {id(row[0]): row[0] for row in found if row}.values() for name in columns)
    return {
        name: np.array([row[0][name][row[1]] if row and name in row[0] else "" for row in found], dtype=object)
        for name in names
    }


def with_column(data: Dataset, column: str, values: dict[str, np.ndarray]) -> Dataset:
    """The same images with one column more.

    Args:
        data: the images.
        column: the name of the column.
        values: split -> (N,) text.
    """
    splits = {
        name: replace(split, columns={**split.columns, column: values[name]}) for name, split in data.splits.items()
    }
    return replace(data, splits=splits)


def with_slices(data: Dataset, wanted: str) -> tuple[Dataset, str]:
    """The images with the column whose values slice them, and the name of that column.

    Args:
        data: the images.
        wanted: the name of a column, or a regular expression with a group, which takes the value from the path.

    Raises:
        UsageError: it is neither.
        DataError: it is an expression that matches no image, or the images have no paths.
    """
    if any(wanted in split.columns for split in data.splits.values()) or "(" not in wanted:
        return with_column(data, wanted, from_table(data, "slice", wanted)), wanted
    values = from_paths(data, "slice", wanted)
    if not any((found != "").any() for found in values.values()):
        raise DataError(
            f"slice: {wanted!r} matches the path of no image, such as {example_path(data)}", "change the expression"
        )
    name = parse_pattern("slice", wanted).name or wanted
    return with_column(data, name, values), name


def example_path(data: Dataset, rows: dict[str, np.ndarray] | None = None) -> str:
    """The paths of some images, for a message.

    Args:
        data: the images.
        rows: split -> (N,) bool, those of which paths are wanted; None: any.
    """
    found: list[str] = []
    for name, split in data.splits.items():
        chosen = range(len(split)) if rows is None else np.flatnonzero(rows[name]).tolist()
        paths = paths_below(split)
        found += [show(paths[row]) if paths is not None else split.name_of(row) for row in chosen[:SHOWN]]
    return ", ".join(found[: 1 if rows is None else SHOWN])
