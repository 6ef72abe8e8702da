"""Finding the image file that a table means: by its path, by its name anywhere below the data, or by its name without ending."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from podium.data.folders import MISSING, describe, walk
from podium.data.image_file import ImageFile
from podium.data.layout import FOLDER, Entries, Left
from podium.data.names import show, split_named

Found = ImageFile | Left | str  # the image; why it is not read; or why there is none


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
    def index(self) -> dict[str, list[tuple[tuple[str, ...], ImageFile | Left]]]:
        """Name, with and without its ending, as `_plain` has it -> the images that are called so, with their path's parts."""
        index: dict[str, list[tuple[tuple[str, ...], ImageFile | Left]]] = defaultdict(list)
        for path, file in self._entries if self._entries is not None else walk(self.root):
            if isinstance(file, ImageFile) or file.kind == "unread":
                name = _plain(path.name)
                for key in {name, name.rpartition(".")[0] or name}:
                    index[key].append((path.parts, file))
        return dict(index)

    @cached_property
    def folders(self) -> dict[str, set[tuple[str, ...]]]:
        """The last part of each folder that holds images, as `_plain` has it -> these folders."""
        folders: dict[str, set[tuple[str, ...]]] = defaultdict(set)
        for path in {path[:-1] for found in self.index.values() for path, _ in found if len(path) > 1}:
            folders[_plain(path[-1])].add(path)
        return dict(folders)

    def has(self, name: str, base: Path | None = None) -> bool:
        """Whether a name is that of an image, also as a path from `base`."""
        return isinstance(self._by_path(_parts(name), name, base), ImageFile) or bool(self._by_tail(_parts(name), ""))

    def find(self, name: str, split: str = "", base: Path | None = None) -> Found:
        """Find the image that a name stands for.

        Args:
            name: a path, absolute or from one of the bases; the end of one; or a name without its ending.
            split: of several files of that name, the one in a folder of this split counts.
            base: a folder from which paths count before the others.

        Returns:
            The image, or a reason why there is none.
        """
        if "://" in name.removeprefix("file://"):
            return f"{name!r} is a web address, and images are not downloaded"
        parts = _parts(name)
        direct = self._by_path(parts, name, base)
        if isinstance(direct, ImageFile):
            return direct
        matches = self._by_tail(parts, split)
        if len(matches) == 1:
            ((path, file),) = matches
            if self.by_name is None:
                self.by_name = name, "/".join(path)
            return file
        if matches:
            shown = " and ".join(sorted(show("/".join(path)) for path, _ in matches)[:2])
            more = f" and {len(matches) - 2} more" if len(matches) > 2 else ""
            return f"{name!r} could be {shown}{more}"
        return f"no image {name!r}" if direct is None else direct

    def _by_path(self, parts: tuple[str, ...], name: str, base: Path | None) -> Found | None:
        """The file at a path; None where there is none."""
        if not parts:
            return None
        whole = name.strip().replace("\\", "/")
        bases = [*([base] if base is not None else []), *self.bases]
        for path in [Path(whole)] if os.path.isabs(whole) else [folder / Path(*parts) for folder in bases]:
            try:
                found = describe(path)
            except (OSError, ValueError):  # a name that no file can have
                continue
            if found is None or found in (FOLDER, MISSING):
                continue
            return found if not isinstance(found, Left) or found.kind == "unread" else f"{name!r}: {found.why}"
        return None

    def _by_tail(self, parts: tuple[str, ...], split: str) -> list[tuple[tuple[str, ...], ImageFile | Left]]:
        """The images whose paths end as much like this one as any does.

        There are none where a folder fits better than those of these images: the image that is meant is missing in it.
        """
        if not parts:
            return []
        matches = self.index.get(_plain(parts[-1]), [])
        if any(path[-1] == parts[-1] for path, _ in matches):
            matches = [match for match in matches if match[0][-1] == parts[-1]]
        most = max((_shared(path, parts) for path, _ in matches), default=0)
        near = self.folders.get(_plain(parts[-2]), ()) if matches and len(parts) > 1 else ()
        if any(_shared((*folder, ""), parts) > most for folder in near):
            return []
        matches = [match for match in matches if _shared(match[0], parts) == most]
        if len(matches) > 1 and split:
            inside = [match for match in matches if any(split_named(part)[0] == split for part in match[0][:-1])]
            return inside or matches
        return matches


def _plain(name: str) -> str:
    """A name in lower case, with composed letters: macOS writes an umlaut as two characters, and tables as one."""
    return unicodedata.normalize("NFC", name).lower()


def _parts(name: str) -> tuple[str, ...]:
    """The parts of a path as any system writes it, without drive and root."""
    plain = name.strip().replace("\\", "/").removeprefix("file://")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    return tuple(parts[1:] if parts and len(parts[0]) == 2 and parts[0][1] == ":" else parts)


def _shared(path: tuple[str, ...], parts: tuple[str, ...]) -> int:
    """How many folders before the name are the same in both."""
    count = 0
    for one, other in zip(reversed(path[:-1]), reversed(parts[:-1]), strict=False):
        if _plain(one) != _plain(other):
            break
        count += 1
    return count
