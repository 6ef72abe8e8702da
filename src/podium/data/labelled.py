"""Listing a data set of image files wherever its labels stand: in folders, tables, file names or annotations."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from podium.data.annotations import arrange_coco, arrange_yolo, coco_files, coco_named, is_yolo
from podium.data.archives import archive_entries
from podium.data.beside import check_lists, check_tables
from podium.data.file_names import arrange_by_name, propose
from podium.data.folders import find_archive, walk
from podium.data.foreign import arrow_files, foreign_labels, mask_notes, masks_beside, segmentation
from podium.data.image_file import ImageFile
from podium.data.imagenet import KIT, arrange_imagenet, arrange_tiny, has_labels, is_imagenet, tiny_labels
from podium.data.layout import Entries, Left, Listing, arrange
from podium.data.names import show
from podium.data.reading import Reading
from podium.data.rows import noted_rest
from podium.data.table_files import is_table
from podium.data.tabled import list_parquets, list_table, list_tables, parquet_in, tables_in, usual_tables
from podium.data.unread import without_companions
from podium.errors import DataError, PodiumError, UsageError


def list_labelled(path: Path, reading: Reading) -> Listing:
    """List the images of a folder, an archive or a table, with their splits and classes.

    Args:
        path: of the data.
        reading: where a person says that the labels stand.

    Raises:
        DataError: it cannot be read, or its labels cannot be found or are of several classes an image; says what to do.
        UsageError: a column or a pattern was given that does not fit the data.
    """
    if is_table(path):
        if reading.class_from is not None:
            raise UsageError(f"class_from: {show(path)} is a table", "give the folder of the images, or leave it out")
        return list_table(path, reading)
    archive = find_archive(path) if path.is_dir() else path
    entries, notes = archive_entries(archive) if archive is not None else (without_companions(walk(path)), [])
    where = show(archive or path)
    if reading.class_from is not None:
        if reading.columns:
            raise UsageError("class_from: a column was given too", "give one of the two")
        listing = arrange_by_name(entries, reading.class_from, where)
    else:
        listing = _archived(entries, path, where, reading) if archive is not None else _folder(entries, path, reading)
    listing.notes += [*notes, *_hidden(entries)]
    return listing


def _hidden(entries: Entries) -> list[str]:
    """A note on images in hidden folders, of which one may be meant as a class, such as .net."""
    paths = [path for path, file in entries if isinstance(file, Left) and file.kind == "hidden"]
    folders = dict.fromkeys(next(part for part in path.parts if part.startswith(".")) for path in paths)
    named = ", ".join(map(show, list(folders)[:5]))
    return (
        [f"note: {len(paths):,} images in hidden folders are left alone ({named}): rename the folder of a class"]
        if paths
        else []
    )


def _folder(entries: Entries, root: Path, reading: Reading) -> Listing:
    """List a folder by the first layout that fits it."""
    packed, tables = parquet_in(entries, root), tables_in(entries, root)
    if packed and not _pictures(entries) and (listing := list_parquets(packed, reading)) is not None:
        return listing
    if reading.columns:
        if not tables:
            name, value = next(iter(reading.columns.items()))
            raise UsageError(
                f"{name}: {value!r}, but {show(root)} holds no table", "give the table itself, or leave it out"
            )
        return list_tables(tables, entries, root, reading)
    if is_imagenet(entries) and (has_labels(entries) or not tables):
        return arrange_imagenet(entries, root)
    if (listed := tiny_labels(entries)) is not None:
        return arrange_tiny(entries, root, listed)
    if is_yolo(entries):
        return arrange_yolo(entries, root)
    listing, pair = arrange(entries, show(root)), masks_beside(_pictures(entries))
    if pair is None and _has_classes(listing):
        check_tables(listing, _others(entries, tables, root), tables, show(root))
        check_lists(listing, entries, root, show(root))
        listing.notes += mask_notes(listing)
        return listing
    if (annotations := coco_files(entries, root)) and _pictures(entries):
        return arrange_coco(annotations, entries, root)
    if packed and (listing := list_parquets(packed, reading)) is not None:  # the images beside them are previews
        return noted_rest(listing, entries, ", ".join(show(path.name) for path in packed[:5]), root)
    error = foreign_labels(entries, root) or arrow_files(entries, root)
    error = error or (segmentation(pair, show(root)) if pair is not None else None)
    if tables:
        try:
            return list_tables(tables, entries, root, reading)
        except DataError:
            if error is None:
                raise
    if error := error or _named(listing, entries, root):
        raise error
    return listing


def _others(entries: Entries, tables: list[Path], root: Path) -> Iterator[tuple[Path, Listing]]:
    """Yield what else than the folders has labels, and the images by these labels."""
    yield from usual_tables(tables, entries, root)
    if annotations := coco_named(entries):
        with contextlib.suppress(PodiumError):
            yield root / annotations[0], arrange_coco(annotations, entries, root)


def _archived(entries: Entries, path: Path, where: str, reading: Reading) -> Listing:
    """List an archive, whose tables are not read."""
    if reading.columns:
        name, value = next(iter(reading.columns.items()))
        raise UsageError(f"{name}: {value!r}, but {where} is an archive", "unpack it, and give the folder or its table")
    if is_imagenet(entries):
        what = f"{where}: the validation images of ImageNet lie flat, and labels are not read from archives"
        raise DataError(what, f"unpack it, and put beside the images {KIT}")
    listing, pair = arrange(entries, where), masks_beside(_pictures(entries))
    if pair is not None:
        raise segmentation(pair, where)
    if _has_classes(listing):
        check_lists(listing, entries, None, where)
        return listing
    beside = [entry for entry in path.iterdir() if is_table(entry)] if path.is_dir() else []
    inside = [name for name, _ in entries if name.suffix.lower() in (".csv", ".tsv", ".jsonl", ".parquet")]
    if beside or inside:
        what = f"{where}: no class folders, and labels are not read from the table {show((beside or inside)[0].name)} of an archive"
        raise DataError(what, "unpack the archive into a folder with the table, and give that folder")
    if error := _named(listing, entries, path):
        raise error
    return listing


def _pictures(entries: Entries) -> list[PurePosixPath]:
    return [path for path, file in entries if isinstance(file, ImageFile) or file.kind == "unread"]


def _has_classes(listing: Listing) -> bool:
    """Whether folders are classes: without an open question, and at least two of them with images."""
    held = {name for classes in listing.files.values() for name, files in classes.items() if files}
    return listing.problem is None and len(held) > 1


def _named(listing: Listing, entries: Entries, root: Path) -> DataError | None:
    """The error for a flat folder whose file names have the classes, with the pattern that finds them; None elsewhere.

    Args:
        listing: of the folder by its sub-folders, whose problem comes first: a pattern would take images of several splits together.
        entries: what lies below it.
        root: the folder.
    """
    if listing.problem is not None and not listing.flat:
        return None
    paths = _pictures(entries)
    groups = {folder: [path for path in paths if path.parent == folder] for folder in {path.parent for path in paths}}
    for folder, inside in [(PurePosixPath(), paths), *sorted(groups.items(), key=lambda each: -len(each[1]))]:
        if (found := propose(path.relative_to(folder) for path in inside)) is None:
            continue
        pattern, classes = found
        place = root / folder
        shown = ", ".join(map(show, sorted(classes)[:5])) + (", ..." if len(classes) > 5 else "")
        what = f"{show(place)}: no class folders, but the file names seem to have the classes ({shown})"
        fix = f"give {show(place)} with class_from={pattern!r}"
        return DataError(what, fix, flags=("--class-from", pattern), data=str(place))
    return None
