"""What stands beside class folders and says more than they do: a table, or lists of the images of each split.

Images of a test split must not be trained on. Where class folders have no splits and a file beside them has, it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from podium.data.image_file import ImageFile
from podium.data.layout import Entries, Left, Listing
from podium.data.names import EXTENSIONS, show, split_named, suffix
from podium.data.tabled import contradict
from podium.errors import DataError

ENDINGS = (".txt", ".lst", ".csv", ".tsv", ".json", ".jsonl", ".mat")
SPLIT = re.compile(r"(?<![a-z])splits?(?![a-z])")  # in the name of a list of several splits
LARGEST = 1 << 26  # bytes of a list that is looked at
HOLD_OUT = "to have images held out by Podium, move {} out of the data"


def check_tables(folders: Listing, others: Iterable[tuple[Path, Listing]], tables: list[Path], where: str) -> None:
    """Refuse a file that divides the images of class folders into other classes or splits; note one that agrees.

    Args:
        folders: the images by their folders; takes the notes.
        others: (file, the images by its labels).
        tables: the files among these that can be given in place of the folder.
        where: the name of the data in messages.

    Raises:
        DataError: a file has other labels than the folders, or splits where these have none or others.
    """
    for path, other in others:
        give = f"give {show(path)}" if path in tables else "put all images into one folder"
        if contradict(folders, other):
            what = f"{where}: {show(path.name)} has other labels than the folders of the images"
            raise DataError(what, f"move {show(path)} out of the data, or {give} for its labels")
        kinds = sorted(split for split, classes in other.files.items() if split and any(classes.values()))
        if len(kinds) > 1 and _differ(folders, other):
            what = (
                f"{where}: {show(path.name)} has splits ({', '.join(kinds)}) that the folders of the images do not have"
            )
            raise DataError(what, f"{give} for its splits; {HOLD_OUT.format(show(path))}")
        if path in tables:
            known = (
                "has the labels of the folders"
                if _shared(folders, other)
                else "names images outside of the class folders"
            )
            folders.notes.append(f"note: {show(path.name)} {known} and is not read; give {show(path)} for its columns")


def _shared(folders: Listing, other: Listing) -> bool:
    """Whether a table names an image of the class folders."""
    known, named = (
        {file.path for held in listing.files.values() for files in held.values() for file in files}
        for listing in (folders, other)
    )
    return not known.isdisjoint(named)


def _differ(folders: Listing, other: Listing) -> bool:
    """Whether an image has another split by its folder than by a table."""
    splits = {file.path: split for split, held in folders.files.items() for files in held.values() for file in files}
    named = ((file.path, split) for split, held in other.files.items() for files in held.values() for file in files)
    return any(path in splits and splits[path] != split for path, split in named)


def check_lists(folders: Listing, entries: Entries, root: Path | None, where: str) -> None:
    """Refuse lists of the images of each split beside class folders without splits, as train.txt of Food-101.

    Args:
        folders: the images by their folders.
        entries: what lies below the data.
        root: the folder; None for an archive, whose lists are known by their names only.
        where: the name of the data in messages.

    Raises:
        DataError: there is a list.
    """
    if any(split and any(classes.values()) for split, classes in folders.files.items()):
        return
    lists = [path for path, file in entries if isinstance(file, Left) and file.kind == "other" and _is_named_so(path)]
    found = list(_naming_some(lists, entries, root)) if root is not None else lists
    kinds = {split_named(path.stem)[0] for path in found}
    if not found or (root is None and len(kinds) < 2 and "" not in kinds):
        return
    names = ", ".join(show(str(path)) for path in found[:4])
    what = f"{where}: the folders of the images have no splits, but {names} seem{'s' if len(found) == 1 else ''} to have them"
    mend = "arrange the images by them as DATA/train/CLASS/image.jpg and DATA/test/CLASS/image.jpg, or write a table of paths, labels and splits, and give it"
    raise DataError(what, f"{'unpack it; ' if root is None else ''}{mend}; {HOLD_OUT.format(names)}")


def _is_named_so(path: PurePosixPath) -> bool:
    """Whether a file may be a list by its name."""
    stem = path.stem.lower()
    return suffix(path.name) in ENDINGS and (bool(split_named(path.stem)[0]) or bool(SPLIT.search(stem)))


def _naming_some(lists: list[PurePosixPath], entries: Entries, root: Path) -> Iterator[PurePosixPath]:
    """Yield the files that name some of the images, and not all; or that have a line for each of them."""
    images = [path for path, file in entries if isinstance(file, ImageFile)]
    by_name: dict[str, set[PurePosixPath]] = {}
    for path in images:
        short = path.with_suffix("")
        for key in (short.name, "/".join(short.parts[-2:])):
            by_name.setdefault(key, set()).add(path)
    for path in lists:
        if suffix(path.name) == ".mat":
            yield path
            continue
        try:
            if (root / path).stat().st_size > LARGEST:
                continue
            lines = [line for line in (root / path).read_text("utf-8", "replace").splitlines() if line.strip()]
        except OSError:
            continue
        named = [word for line in lines for word in _keys(line) if word in by_name and not word.isdigit()]
        held = set[PurePosixPath]().union(*(by_name[word] for word in named))
        of_several = not split_named(path.stem)[0]
        by_number = of_several and len(lines) in (len(images), len(images) + 1)
        if by_number or (held and 2 * len(named) >= len(lines) and (of_several or len(held) < len(images))):
            yield path


def _keys(line: str) -> Iterator[str]:
    """What may be a path in a line, as the last two of its parts without the ending of an image."""
    for word in {line.strip(), line.strip().rpartition(" ")[0], *re.split(r"[\s,;:\"'\[\]{}]+", line)}:
        parts = word.replace("\\", "/").split("/")[-2:]
        ending = suffix(parts[-1])
        yield "/".join(parts)[: -len(ending) if ending in EXTENSIONS else None]
