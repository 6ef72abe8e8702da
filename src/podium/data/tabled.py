"""Data sets whose labels stand in tables: one table, one for each split, Kaggle's train.csv, or Hugging Face's metadata files."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from podium.data.check_report import COLUMNS
from podium.data.columns import Columns, NoLabels, choose, labels_of
from podium.data.delimited import CLOSE
from podium.data.finder import Finder
from podium.data.foreign import foreign_file
from podium.data.layout import Entries, Left, Listing
from podium.data.names import LABELS, first_split, show, split_named
from podium.data.parquet_images import image_columns, list_parquet
from podium.data.reading import Reading
from podium.data.rows import Row, arrange_rows, noted_rest
from podium.data.split_columns import splits_of
from podium.data.table_files import PARQUET, TEXTS, Table, is_table, plain, read_table
from podium.errors import DataError, PodiumError, UsageError

# Folders beside the images.
BESIDE = ("labels", "annotations", "csv", "csvs", "meta", "metadata", "tables", "lists", "splits")
METADATA = tuple(f"metadata{ending}" for ending in (".csv", ".jsonl", ".parquet"))  # Hugging Face's ImageFolder
NAMES = re.compile(r"(class|label|categor|species|names).*[.](txt|json|csv|names|ya?ml)$|[.]names$", re.IGNORECASE)
FOUND = (".csv", ".tsv", ".jsonl", ".ndjson", PARQUET)  # endings of tables that are looked for in a folder


@dataclass(frozen=True)
class Source:
    """A table that has labels.

    Args:
        table: the table.
        columns: which columns hold what.
        split: of its images, by the table's own name; "" where it says nothing.
    """

    table: Table
    columns: Columns
    split: str


def list_table(path: Path, reading: Reading) -> Listing:
    """List the images that one table names, or holds.

    Raises:
        DataError: it cannot be read, or has no images or labels.
        UsageError: a column that was given is not there.
    """
    folder = path.parent
    if path.suffix.lower() == PARQUET and image_columns(path):
        return list_parquet([path], folder, reading)
    root = folder.parent if folder.name.lower() in BESIDE else folder
    finder = Finder(root, [folder, root])
    try:
        listing = _arranged([_source(path, reading, finder)], finder)
    except DataError as error:
        raise foreign_file(path) or error from None
    return _with_names_noted(listing, folder.iterdir(), [path])


def tables_in(entries: Entries, root: Path) -> list[Path]:
    """The tables of a folder: those nearest to its top, but not a contest's examples of submissions."""
    found = []
    for path, file in entries:
        stem, ending = path.stem.lower(), path.suffix.lower()
        listed = ending in TEXTS and (bool(split_named(stem)[0]) or "label" in stem)
        other = isinstance(file, Left) and file.kind == "other"
        if other and (ending in FOUND or listed) and "submission" not in stem and is_table(root / path):
            found.append(path)
    depth = min((len(path.parts) for path in found), default=0)
    metadata = [path for path in found if path.name in METADATA]
    return [root / path for path in metadata or [path for path in found if len(path.parts) == depth <= 2]]


def parquet_in(entries: Entries, root: Path) -> list[Path]:
    """The Parquet files of a folder."""
    return [root / path for path, _ in entries if path.suffix.lower() == PARQUET]


def list_parquets(files: list[Path], reading: Reading) -> Listing | None:
    """List the images in the Parquet files of a folder; None where they hold none."""
    holding = [path for path in files if image_columns(path)]
    if not holding:
        return None
    around = [set(path.parents) for path in holding]
    root = max(set.intersection(*around), key=lambda folder: len(folder.parts))
    return list_parquet(holding, root, reading)


def list_tables(files: list[Path], entries: Entries, root: Path, reading: Reading) -> Listing:
    """List the images that the tables of a folder name.

    Args:
        files: the tables, of which some may have no labels.
        entries: what lies below the folder.
        root: the folder.
        reading: what a person said about the columns.

    Raises:
        DataError: none has images and labels, or several could be meant.
        UsageError: a column that was given is not there.
    """
    finder = Finder(root, [root], entries)
    usable, notes = list[Source](), list[str]()
    first: DataError | None = None
    for path in sorted(files, key=lambda path: (_split(path, root) != "train", str(path))):
        try:
            usable.append(_source(path, _same_columns(reading, usable), finder, _split(path, root)))
        except NoLabels as error:
            notes.append(f"note: {show(path.name)} has no labels and is not read")
            first = first or error
        except UsageError as error:
            if not usable:
                raise
            notes.append(f"note: {show(path.name)} is not read: {error.what.partition(': ')[2]}")
        except DataError as error:
            if len(files) == 1 or _split(path, root) == "train":
                raise
            notes.append(f"note: {show(path.name)} is not read: {error.what.removeprefix(f'{show(path)}: ')}")
            first = first or error
    if not usable:
        raise first or DataError(f"{show(root)}: no table has labels", "give a table with a column called label")
    splits = [source.split for source in usable]
    together = all(path.name in METADATA for path in files)
    if len(usable) > 1 and not together and ("train" not in splits or len(set(splits)) < len(splits)):
        names = " and ".join(show(source.table.path.name) for source in usable)
        what = f"{show(root)}: {names} each name images with labels"
        raise DataError(what, f"give one of them: {show(usable[0].table.path)}")
    listing = _arranged(usable, finder)
    listing.notes += notes
    read = [source.table.path for source in usable]
    listing = _with_names_noted(listing, [root / path for path, _ in entries if len(path.parts) < 3], read)
    return noted_rest(listing, entries, ", ".join(show(path.name) for path in read), root)


def usual_tables(files: list[Path], entries: Entries, root: Path) -> Iterator[tuple[Path, Listing]]:
    """Yield each table whose columns have usual names, with the images that it lists; other tables are passed over.

    Args:
        files: the tables.
        entries: what lies below the root.
        root: the folder.
    """
    for path in files:
        finder = Finder(root, [path.parent, root], entries)
        with contextlib.suppress(PodiumError):  # it is no table of these images
            source = _source(path, Reading(), finder)
            if len(source.columns.labels) > 1 or plain(source.columns.labels[0]) in LABELS:
                yield path, _arranged([source], finder)


def contradict(folders: Listing, other: Listing) -> bool:
    """Whether other labels divide the images of class folders into other classes.

    Args:
        folders: the images by their folders.
        other: images by other labels; it has no say where it names fewer than half of the images in the folders.
    """
    classes = {file.path: name for held in folders.files.values() for name, files in held.items() for file in files}
    named = [(file.path, name) for held in other.files.values() for name, files in held.items() for file in files]
    pairs = {(classes[path], name) for path, name in named if path in classes}
    one, two = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
    return 2 * len(named) >= len(classes) and not len(pairs) == len(one) == len(two)


def _with_names_noted(listing: Listing, files: Iterable[Path], tables: Iterable[Path]) -> Listing:
    """Note a file beside the tables that seems to have the names of classes that are numbers; returns the same listing.

    Args:
        listing: of the tables.
        files: what lies beside them.
        tables: those that were read.
    """
    if listing.classes and all(name.isdigit() for name in listing.classes):
        beside = sorted(path for path in files if NAMES.search(path.name) and path not in set(tables))
        if beside:
            note = f"note: the classes are numbers; {show(beside[0].name)} may have their names, and is not read: write names into the table to have them"
            listing.notes.append(note)
    return listing


def _split(path: Path, root: Path) -> str:
    """The split that a table's name means, or else the folder in which it lies, as train/_classes.csv of Roboflow."""
    return first_split((path.stem, *reversed(path.relative_to(root).parts[:-1])))


def _source(path: Path, reading: Reading, finder: Finder, split: str = "") -> Source:
    table = read_table(path)
    if tuple(table.columns) == COLUMNS:
        raise DataError(
            f"{show(path)}: a list that `podium check` wrote, not a table of labels", "give the data that it is about"
        )
    base = path.parent
    image = "file_name" if path.name in METADATA and "file_name" in table.columns else None
    found = _finds(finder, base)
    columns = choose(table, reading, found, image)
    _refuse_swallowed(table, columns.image, found)
    return Source(table, columns, split)


def _refuse_swallowed(table: Table, image: str, found: Callable[[str], bool]) -> None:
    """Refuse a row of several lines of which more than one names an image: a quote that does not close holds the others."""
    place = list(table.columns).index(image)
    for record in table.spread:
        lines = sum(len(part) > place and found(part[place]) for part in record.parts)
        if lines > found(record.cells[place].strip()):
            what = f"{show(table.path)}, line {record.line}: a quote opens in this line, and holds the {len(record.parts) - 1} lines below it"
            raise DataError(what, CLOSE)


def _finds(finder: Finder, base: Path) -> Callable[[str], bool]:
    return lambda name: finder.has(name, base)


def _same_columns(reading: Reading, usable: list[Source]) -> Reading:
    """What was said about the columns, and of images and labels what the first table has where nothing was said."""
    if not usable:
        return reading
    first = usable[0].columns
    image, label = reading.image_column or first.image, reading.label_column or ",".join(first.labels)
    return replace(reading, image_column=image, label_column=label)


def _arranged(sources: Iterable[Source], finder: Finder) -> Listing:
    notes, rows = list[str](), list[Row]()
    for source in sources:
        table, columns = source.table, source.columns
        labels, names = labels_of(table, columns), table.texts(columns.image)
        splits = splits_of(table, columns.splits, source.split)
        cells = table.all_texts
        for row, (name, label, split) in enumerate(zip(names, labels, splits, strict=True)):
            where = f"{show(table.path.name)}, {table.where(row)}"
            rows.append(
                Row(
                    name,
                    label,
                    where,
                    split or source.split,
                    base=table.path.parent,
                    hint=split_named(table.path.stem)[0],
                    cells=(cells, row),
                )
            )
        notes += [*table.notes, *columns.notes]
    listing = arrange_rows(rows, finder)
    listing.notes = [*notes, *listing.notes]
    return listing
