"""Images with labels from a list of rows: each row's file is found, and what is wrong with a row is counted and named."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from podium.data.finder import Finder, Found, Wanted
from podium.data.image_file import ImageFile
from podium.data.layout import Cells, Left, Listing
from podium.data.names import show, split_named
from podium.data.several_labels import several
from podium.natural import natural

MANY = 0.1  # the share of images with several labels from which they are no mistakes


@dataclass(frozen=True)
class Row:
    """One image as a table names it.

    Args:
        name: its path or name.
        label: its class; empty where it has none.
        where: the table and line, for messages.
        split: "train", "val" or "test"; "" where nothing is said.
        file: the image, where it is known without looking for it.
        base: the folder from which its path counts first.
        hint: the split in whose folder it lies, where several images have its name.
        cells: all that the table has on it; None where nothing else is known.
    """

    name: str
    label: str
    where: str
    split: str = ""
    file: ImageFile | None = None
    base: Path | None = None
    hint: str = ""
    cells: Cells | None = None

    @property
    def values(self) -> dict[str, str]:
        """All that the table has on it, by column."""
        columns, number = self.cells or ({}, 0)
        return {name: texts[number] for name, texts in columns.items()}


def arrange_rows(rows: Iterable[Row], finder: Finder) -> Listing:
    """Sort the images of some rows into splits and classes.

    Args:
        rows: of one table or several.
        finder: finds the images.

    Returns:
        The images. Rows that cannot be used are its `faults`: without a label, without an image, or with another label than
        an earlier row about the same image.

    Raises:
        DataError: many images have rows with several labels (multi-label data).
    """
    listing = Listing(labels_in="rows")
    first: dict[tuple[str, str], tuple[Row, ImageFile]] = {}
    labels: dict[str, Row] = {}
    repeated, differing = Counter[str](), 0
    conflicts, unsure = list[tuple[str, str]](), set[str]()
    for row, found in _with_files(_labelled(_in_splits(list(rows), listing), listing), finder):
        if not row.label:
            listing.faults.append((row.where, f"no label for {row.name!r}" if row.name else "neither image nor label"))
        elif isinstance(found, Left):
            listing.unread.append((f"{row.where}: {show(row.name)}", found.why))
            listing.files.setdefault(row.split, {}).setdefault(row.label, [])
        elif isinstance(found, str):
            listing.faults.append((row.where, found))
        else:
            image = os.path.abspath(found.path) if found.content is None else found.below
            other = labels.setdefault(image, row)
            if other.label != row.label:
                conflicts.append((row.where, f"{row.name!r} is {row.label} here and {other.label} in {other.where}"))
                unsure.add(image)
            elif (image, row.split) in first:
                repeated[row.name] += 1
                differing += row.values != first[image, row.split][0].values
            else:
                first[image, row.split] = row, found
    if len(conflicts) > max(1, MANY * len(labels)):
        where, why = conflicts[0]
        raise several(where, f"{why}, and {len(conflicts):,} rows are like it")
    _place(listing, [pair for (image, _), pair in first.items() if image not in unsure], finder)
    listing.faults += conflicts
    if repeated:
        listing.notes.append(
            f"note: {repeated.total():,} rows name an image that an earlier row has with the same label"
        )
    if differing:
        listing.notes.append(
            f"note: {differing:,} of them differ in another column, and the cells of the first row count"
        )
    if finder.by_name is not None:
        name, path = finder.by_name
        listing.notes.append(f"note: images are found by their names: {show(name)} is {show(path)}")
    return listing


def noted_rest(
    listing: Listing, entries: list[tuple[PurePosixPath, ImageFile | Left]], names: str, root: Path
) -> Listing:
    """Note how many images of a folder are in no row.

    Args:
        listing: of the rows.
        entries: what lies below the folder.
        names: of what has the rows, for the note.
        root: the folder.

    Returns:
        The same listing.
    """
    used = {file.path for classes in listing.files.values() for files in classes.values() for file in files}
    rest = sum(isinstance(file, ImageFile) and file.path not in used for _, file in entries)
    if rest:
        several, them = (f"{rest:,} images are", "them") if rest > 1 else ("1 image is", "it")
        listing.notes.append(f"note: {several} left alone in {show(root)}: no row of {names} names {them}")
    return listing


def _with_files(rows: list[Row], finder: Finder) -> Iterator[tuple[Row, Found]]:
    """Yield each row with its image, or why there is none."""
    wanted = [row for row in rows if row.file is None and row.label and row.name]
    known = (row.file for row in rows if row.file is not None)
    found = iter(finder.find([Wanted(row.name, row.split or row.hint, row.base) for row in wanted], known))
    for row in rows:
        yield row, row.file or (next(found) if row.label and row.name else "no image is named")


def _in_splits(rows: list[Row], listing: Listing) -> list[Row]:
    """The rows without those of no split, where there are training images in one: they have no role."""
    outside = [row for row in rows if not row.split]
    if outside and any(row.split == "train" for row in rows):
        several = f"{len(outside):,} images are" if len(outside) > 1 else "1 image is"
        first = f"{show(outside[0].where)}: {show(outside[0].name)}"
        listing.notes.append(f"note: {several} of none of the splits train, val and test, and not read ({first})")
        return [row for row in rows if row.split]
    return rows


def _labelled(rows: list[Row], listing: Listing) -> list[Row]:
    """The rows without those of a split that has no labels at all, as a contest's test images."""
    named = {row.split for row in rows if row.label}
    bare = Counter(row.split for row in rows if row.split not in named and row.split)
    if not bare or not named:
        return rows
    listing.notes += [
        f"note: the {count:,} {split} images have no labels and are not read" for split, count in bare.items()
    ]
    return [row for row in rows if row.split not in bare]


def _place(listing: Listing, found: list[tuple[Row, ImageFile]], finder: Finder) -> None:
    """Put images into the listing, in natural order, by their splits and classes."""
    below = _below([file for _, file in found], finder.root)
    splits = _path_splits(below) if not any(row.split for row, _ in found) else [row.split for row, _ in found]
    if any(splits) and not any(row.split for row, _ in found):
        listing.notes.append("note: the splits are the folders in which the images lie")
    named = sorted(zip(below, splits, found, strict=True), key=lambda each: natural(each[0]))
    for name, split, (row, file) in named:
        listing.files.setdefault(split, {}).setdefault(row.label, []).append(replace(file, below=name))
        if row.cells is not None:
            listing.cells[split, name] = row.cells


def _below(files: list[ImageFile], root: Path) -> list[str]:
    """The names of images below the data, or below the folder that holds all of them, where that lies elsewhere.

    They are the same wherever the data lie, and whether the table has absolute or relative paths.
    """
    paths = [file.below or os.path.abspath(file.path) for file in files]
    place = os.path.abspath(root)
    outside = [path for path in paths if os.path.isabs(path) and not path.startswith(place.rstrip(os.sep) + os.sep)]
    if outside:
        place = os.path.commonpath([os.path.dirname(path) for path in paths if os.path.isabs(path)])
    start = place.rstrip(os.sep) + os.sep
    return [path.removeprefix(start).replace(os.sep, "/") if os.path.isabs(path) else path for path in paths]


def _path_splits(below: list[str]) -> list[str]:
    """The split of each image by the folder in which it lies, where every image lies in one and there are several."""
    splits = [next((kind for part in name.split("/")[:-1] if (kind := _kind(part))), "") for name in below]
    several_kinds = len(set(splits)) > 1 and "train" in splits and all(splits)
    return splits if several_kinds else [""] * len(below)


def _kind(folder: str) -> str:
    kind, alone = split_named(folder)
    return kind if alone else ""
