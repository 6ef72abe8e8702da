"""Data sets saved as Parquet with the images in them, as Hugging Face's `datasets` writes them; read with pyarrow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from podium.data.columns import IMAGES, NoLabels, choose, labels_of
from podium.data.finder import Finder
from podium.data.image_file import ImageFile
from podium.data.layout import Listing
from podium.data.names import EXTENSIONS, first_split, show, split_named, suffix
from podium.data.reading import Reading
from podium.data.rows import Row, arrange_rows
from podium.data.split_columns import splits_of
from podium.data.table_files import Table, arrow, damaged, plain, read_table
from podium.errors import DataError, UsageError

SHARD = re.compile(r"^(.*?)-?(\d{5})-of-(\d{5})(-[0-9a-f]+)?$")  # train-00000-of-00002-5a1b...
MOST = 4 << 30  # bytes of images that may be held in memory, as of compressed archives
ENDINGS = ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG", ".png"), (b"RIFF", ".webp"), (b"GIF8", ".gif"), (b"BM", ".bmp"))


def image_columns(path: Path) -> list[str]:
    """The columns of a Parquet file that hold the bytes of images.

    Raises:
        DataError: the file is damaged.
        MachineError: pyarrow is not installed.
    """
    parquet = arrow()
    try:
        schema = parquet.read_schema(path)
    except MemoryError:
        raise
    except Exception as error:  # pyarrow raises anything
        raise damaged(path, error) from None
    return [field.name for field in schema if _holds_bytes(field.type)]


def _holds_bytes(kind: Any) -> bool:
    from pyarrow import types

    if types.is_struct(kind):
        inner = {field.name: field.type for field in kind}
        return "bytes" in inner and _holds_bytes(inner["bytes"])
    if types.is_list(kind) or types.is_large_list(kind):
        return _holds_bytes(kind.value_type)
    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)


def list_parquet(files: list[Path], root: Path, reading: Reading) -> Listing:
    """List the images in Parquet files; their bytes are held in memory.

    Args:
        files: of one data set.
        root: the folder that holds them.
        reading: what a person said about the columns.

    Raises:
        DataError: a file is missing or damaged, the files are of several data sets, the images are too large for memory, or no
            column has labels.
        UsageError: a column that was given is not there.
    """
    _complete(files)
    splits = {path: _split_of(path, root) for path in files}
    _refuse_several(splits, root)
    listing_notes: list[str] = []
    rows, unlabelled, held = list[Row](), list[Path](), 0
    for path in sorted(files):
        columns = image_columns(path)
        image = _image_column(path, columns, reading)
        table = read_table(path, None)
        labels, given, cells = [""] * len(table), [""] * len(table), table.all_texts
        try:
            chosen = choose(_without(table, set(columns) - {image}), reading, lambda _: False, image)
            listing_notes += chosen.notes
            labels, given = labels_of(table, chosen), splits_of(table, chosen.splits)
        except NoLabels:  # a contest's test images; what has no labels at all is refused below
            unlabelled.append(path)
            if len(unlabelled) == len(files):
                raise
        for number, file in enumerate(_images(table, image, path, root)):
            held += file.size if isinstance(file, ImageFile) else 0
            if held > MOST:
                what = f"{show(path)}: more than 4 GB of images, which are held in memory"
                raise DataError(what, "write them as files into class folders, and give the folder")
            where = f"{show(path)}, {table.where(number)}"
            name, known = (file.below, file) if isinstance(file, ImageFile) else (file, None)
            split = given[number] or splits[path]
            rows.append(Row(name, labels[number], where, split, known, cells=(cells, number)))
    listing = arrange_rows(rows, Finder(root, [files[0].parent, root]))
    listing.notes = [
        *dict.fromkeys(re.sub(r"^note: [^:]+: ", "note: ", note) for note in listing_notes),
        *listing.notes,
    ]
    return listing


def _image_column(path: Path, columns: list[str], reading: Reading) -> str:
    if reading.image_column in columns:
        return str(reading.image_column)
    if reading.image_column is not None:
        fix = f"its columns of images are {', '.join(map(show, columns))}"
        raise UsageError(f"image_column: {show(path)} has no images in a column {show(reading.image_column)}", fix)
    if len(columns) > 1 and len(usual := [name for name in columns if plain(name) in IMAGES]) == 1:
        return usual[0]
    if len(columns) > 1:
        what = f"{show(path)}: several columns hold images ({', '.join(map(show, columns))})"
        raise DataError(what, f"say which: --image-column {columns[0]}", ("--image-column", columns[0]))
    return columns[0]


def _without(table: Table, others: set[str]) -> Table:
    columns = {name: cells for name, cells in table.columns.items() if name not in others}
    return Table(table.path, columns, table.lines, table.unit, table.names)


def _images(table: Table, column: str, path: Path, root: Path) -> Iterator[ImageFile | str]:
    """Yield the image of each row, or its path where the table holds no bytes of it."""
    mtime, stem = path.stat().st_mtime_ns, path.relative_to(root).with_suffix("").as_posix()
    for number, cell in enumerate(table.columns[column], 1):
        if isinstance(cell, list) and len(cell) > 1:
            what = (
                f"{show(path)}, row {number}: {len(cell)} images in {show(column)}, and Podium classifies single ones"
            )
            raise DataError(what, "write a row for each image")
        cell = cell[0] if isinstance(cell, list) and cell else cell
        content, name = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
        if not content:
            yield name or ""
            continue
        ending = next((ending for start, ending in ENDINGS if content.startswith(start)), "")
        if name and not ending and suffix(name) in EXTENSIONS:
            ending = suffix(name)
        below = f"{stem}/{number:07d}{ending}"
        shown = f"{show(path)}!row {number}" + (f" ({show(name)})" if name else "")
        yield ImageFile(path, shown, 0, len(content), mtime, content, below)


def _split_of(path: Path, root: Path) -> str:
    """The split that a file's name means, or the folder in which it lies."""
    name = SHARD.sub(r"\1", path.stem)
    folders = reversed(path.relative_to(root).parts[:-1])
    return first_split((name, *folders))


def _refuse_several(splits: Mapping[Path, str], root: Path) -> None:
    """Refuse the files of several data sets, as the configurations of one that Hugging Face keeps side by side.

    Args:
        splits: file -> the split of its images.
        root: the folder.

    Raises:
        DataError: two folders each hold files of one split, numbered by themselves, or a folder of that split.
    """
    places: dict[tuple[str, str], set[Path]] = {}
    for path, split in splits.items():
        if match := SHARD.match(path.stem):
            places.setdefault((split, match[1]), set()).add(path.parent)
        elif path.parent != root and split_named(path.parent.name)[0]:
            places.setdefault((split, path.parent.name), set()).add(path.parent.parent)
    for (_, name), folders in places.items():
        if len(folders) > 1:
            one, other, *_ = sorted(folders)
            what = f"{show(root)}: {show(one)} and {show(other)} each hold {name or 'numbered files'}, as two data sets"
            mend = f"give one of them: {show(one)}; if they are one, put their files into one folder, under different names"
            raise DataError(what, mend)


def _complete(files: list[Path]) -> None:
    """Refuse a set of numbered files of which some are missing.

    Raises:
        DataError: names the first that is missing.
    """
    series: dict[tuple[Path, str, int], set[int]] = {}
    for path in files:
        if match := SHARD.match(path.stem):
            series.setdefault((path.parent, match[1], int(match[3])), set()).add(int(match[2]))
    for (folder, name, count), there in series.items():
        missing = sorted(set(range(count)) - there)
        if missing:
            first = f"{name}-{missing[0]:05d}-of-{count:05d}{'.parquet'}"
            what = f"{show(folder)}: {len(missing)} of {count} files of {name or 'the data'} are missing: {show(first)}"
            raise DataError(what, "download them too")
