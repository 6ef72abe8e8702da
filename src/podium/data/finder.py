"""Finding the image file that a table means: by its path, by its name anywhere below the data, or by its name without ending."""

from __future__ import annotations

import os
import unicodedata
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

from podium.data.folders import MISSING, describe, walk
from podium.data.image_file import ImageFile
from podium.data.layout import FOLDER, Entries, Left
from podium.data.names import show, split_named

Found = ImageFile | Left | str  # the image; why it is not read; or why there is none
Parts = tuple[str, ...]
T = TypeVar("T")


@dataclass(frozen=True)
class Wanted:
    """An image as a row of a table names it.

    Args:
        name: a path, absolute or from one of the finder's bases; the end of one; or a name without its ending.
        split: of several files of that name, the one in a folder of this split counts.
        base: a folder from which paths count before the others.
    """

    name: str
    split: str = ""
    base: Path | None = None


@dataclass(frozen=True)
class Match:
    """What was found for a name.

    Args:
        found: the image, or why there is none.
        folder: the folder in which the image lies; empty where there is none.
        path: of an image that was found by its name, below the root; empty where the path itself led to it.
    """

    found: Found
    folder: str = ""
    path: Parts = ()


class Finder:
    """The images below a folder, by the names that tables give them.

    Args:
        root: the folder. It is listed only when a name is no path from one of `bases`.
        bases: the folders from which paths count, the likeliest first.
        entries: what lies below `root`, where it was listed already.
    """

    def __init__(self, root: Path, bases: Iterable[Path], entries: Entries | None = None) -> None:
        self.root, self.bases, self._entries = root, list(dict.fromkeys(bases)), entries
        self.by_name: tuple[str, str] | None = None  # the first name that was no path, and what it stood for

    @cached_property
    def index(self) -> dict[str, list[tuple[Parts, tuple[Parts, ImageFile | Left]]]]:
        """Name, with and without its ending, as `_plain` has it -> the images that are called so, sorted by their folders."""
        index: dict[str, list[tuple[Parts, tuple[Parts, ImageFile | Left]]]] = defaultdict(list)
        for path, file in self._entries if self._entries is not None else walk(self.root):
            if isinstance(file, ImageFile) or file.kind == "unread":
                name, place = _plain(path.name), (_upwards(path.parts[:-1]), (path.parts, file))
                for key in {name, name.rpartition(".")[0] or name}:
                    index[key].append(place)
        for places in index.values():
            places.sort(key=itemgetter(0))
        return dict(index)

    @cached_property
    def folders(self) -> list[tuple[Parts, Parts]]:
        """The folders that hold images, sorted as those of `index`."""
        every = {path[:-1] for places in self.index.values() for _, (path, _) in places}
        return sorted((_upwards(folder), folder) for folder in every)

    def has(self, name: str, base: Path | None = None) -> bool:
        """Whether a name is that of an image, also as a path from `base`."""
        parts = _parts(name)
        return isinstance(self._by_path(parts, name, base).found, ImageFile) or bool(self._by_tail(parts, ""))

    def find(self, wanted: Sequence[Wanted], others: Iterable[ImageFile] = ()) -> list[Found]:
        """Find the images that all names of some tables stand for.

        An image that is found by its name lies in another folder than its path says. It is another image where the folder
        that the path names is there and holds images of other names.

        Args:
            wanted: the names.
            others: images of the tables that are known already.

        Returns:
            The image of each name, or a reason why there is none.
        """
        matches = [self._match(each) for each in wanted]
        used = {match.folder for match in matches} | {os.path.dirname(os.path.abspath(file.path)) for file in others}
        found = list[Found]()
        for each, match in zip(wanted, matches, strict=True):
            if match.path and not used.isdisjoint(self._nearer(each, match.path)):
                found.append(f"no image {each.name!r}")
                continue
            if match.path and self.by_name is None:
                self.by_name = each.name, "/".join(match.path)
            found.append(match.found)
        return found

    def _match(self, wanted: Wanted) -> Match:
        name = wanted.name
        if "://" in name.removeprefix("file://"):
            return Match(f"{name!r} is a web address, and images are not downloaded")
        parts = _parts(name)
        direct = self._by_path(parts, name, wanted.base)
        if isinstance(direct.found, ImageFile):
            return direct
        matches = self._by_tail(parts, wanted.split)
        if len(matches) == 1:
            ((path, file),) = matches
            return Match(file, self._folder(path[:-1]), path)
        if matches:
            shown = " and ".join(sorted(show("/".join(path)) for path, _ in matches)[:2])
            more = f" and {len(matches) - 2} more" if len(matches) > 2 else ""
            return Match(f"{name!r} could be {shown}{more}")
        return direct

    def _by_path(self, parts: Parts, name: str, base: Path | None) -> Match:
        """The file at a path."""
        whole = name.strip().replace("\\", "/")
        bases = [*([base] if base is not None else []), *self.bases] if parts else []
        for path in [Path(whole)] if os.path.isabs(whole) else [folder / Path(*parts) for folder in bases]:
            try:
                found = describe(path)
            except (OSError, ValueError):  # a name that no file can have
                continue
            if found is None or found in (FOLDER, MISSING):
                continue
            if isinstance(found, Left) and found.kind != "unread":
                return Match(f"{name!r}: {found.why}")
            return Match(found, os.path.dirname(os.path.abspath(path)))
        return Match(f"no image {name!r}")

    def _by_tail(self, parts: Parts, split: str) -> list[tuple[Parts, ImageFile | Left]]:
        """The images whose paths end as much like this one as any does."""
        if not parts:
            return []
        _, matches = _closest(self.index.get(_plain(parts[-1]), []), _upwards(parts[:-1]))
        if any(path[-1] == parts[-1] for path, _ in matches):
            matches = [match for match in matches if match[0][-1] == parts[-1]]
        if len(matches) > 1 and split:
            inside = [match for match in matches if any(split_named(part)[0] == split for part in match[0][:-1])]
            return inside or matches
        return matches

    def _nearer(self, wanted: Wanted, path: Parts) -> Iterator[str]:
        """The folders that fit a name better than that of the image at `path`, and do not lie around it."""
        base = wanted.base
        above = base.relative_to(self.root).parts if base is not None and base.is_relative_to(self.root) else ()
        said = _upwards((*above, *_parts(wanted.name)[:-1]))
        most, folders = _closest(self.folders, said) if said else (0, [])
        if most > _shared(_upwards(path[:-1]), said):
            yield from (self._folder(folder) for folder in folders if path[: len(folder)] != folder)

    def _folder(self, below: Parts) -> str:
        return os.path.join(os.path.abspath(self.root), *below)


def _plain(name: str) -> str:
    """A name in lower case, with composed letters: macOS writes an umlaut as two characters, and tables as one."""
    return unicodedata.normalize("NFC", name).lower()


def _parts(name: str) -> Parts:
    """The parts of a path as any system writes it, without drive and root."""
    plain = name.strip().replace("\\", "/").removeprefix("file://")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    return tuple(parts[1:] if parts and len(parts[0]) == 2 and parts[0][1] == ":" else parts)


def _upwards(folders: Parts) -> Parts:
    """The names of folders from the innermost one upwards, as `_plain` has them."""
    return tuple(_plain(folder) for folder in reversed(folders))


def _shared(one: Parts, other: Parts) -> int:
    """How many names at the beginning are the same in both."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _closest(places: list[tuple[Parts, T]], said: Parts) -> tuple[int, list[T]]:
    """How many names of folders the likest of some sorted places share with `said`, and all places that share so many."""
    at = bisect_left(places, said, key=itemgetter(0))
    most = max((_shared(folders, said) for folders, _ in places[max(at - 1, 0) : at + 1]), default=0)
    first = bisect_left(places, said[:most], key=lambda place: place[0][:most])
    last = bisect_right(places, said[:most], key=lambda place: place[0][:most])
    return most, [place for _, place in places[first:last]]
