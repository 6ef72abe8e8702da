"""Finds the comparisons and runs below a folder; a folder is listed again only where its own time has changed.

A link is followed where it leads to a comparison or a run that the folder does not have by itself, and nowhere else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from podium.runs.folder import RESULT, SETTINGS
from podium.runs.recommended import REQUEST

DEEPEST = 8  # folders below the board's
MOST_FOLDERS, MOST_RUNS = 20_000, 1000
FRESH = 3.0  # seconds after which a folder's time tells of every later change, on file systems with coarse clocks


class Place(NamedTuple):
    """A comparison or a run that was found.

    Args:
        below: its path below the board's folder.
        study: the path of the comparison that a run lies in, below the board's folder; None: in none.
        is_study: whether it is a comparison.
    """

    below: Path
    study: Path | None
    is_study: bool


class _Listing(NamedTuple):
    time: int
    sure: bool
    itself: tuple[int, int]  # its device and inode, which tell it from others whatever leads to it
    folders: tuple[str, ...]
    links: tuple[str, ...]
    marks: frozenset[str]


@dataclass
class _Walk:
    """One look at the folders.

    Args:
        seen: the folders that were visited.
        known: the same, as the file system names them.
        links: (path, comparison that it lies in, depth) of those that were met.
    """

    seen: set[Path] = field(default_factory=set)
    known: set[tuple[int, int]] = field(default_factory=set)
    links: list[tuple[Path, Path | None, int]] = field(default_factory=list)


@dataclass
class Tree:
    """The folders below one.

    Args:
        root: the folder.
        full: whether there are more folders or runs than are shown.
    """

    root: Path
    full: bool = False
    _listings: dict[Path, _Listing] = field(default_factory=dict)

    def places(self) -> list[Place]:
        """The comparisons and runs, each comparison before its runs."""
        self.full, walk = False, _Walk()
        found = list(self._visit(Path(), None, 0, walk))
        for below, study, depth in walk.links:  # grows where a folder that a link leads to has links
            listing = self._list(below)
            if listing is not None and listing.marks:
                found += self._visit(below, study, depth, walk)
        there = walk.seen | {below for below, _, _ in walk.links}
        self._listings = {path: listing for path, listing in self._listings.items() if path in there}
        runs = [place for place in found if not place.is_study]
        if len(runs) > MOST_RUNS:
            self.full, kept = True, set(runs[:MOST_RUNS])
            found = [place for place in found if place.is_study or place in kept]
        return found

    def _visit(self, below: Path, study: Path | None, depth: int, walk: _Walk) -> Iterator[Place]:
        if len(walk.seen) >= MOST_FOLDERS:
            self.full = True
            return
        listing = self._list(below)
        if listing is None or listing.itself in walk.known:
            return
        walk.seen.add(below)
        walk.known.add(listing.itself)
        if REQUEST in listing.marks and study is None:  # within another it is a round of that: a heat, a trial
            yield Place(below, None, True)
            study = below
        elif SETTINGS in listing.marks or RESULT in listing.marks:  # the latter alone: the pooled answers of folds
            yield Place(below, study, False)
            if SETTINGS in listing.marks:
                return
        if depth < DEEPEST:
            walk.links += [(below / name, study, depth + 1) for name in listing.links]
            for name in listing.folders:
                yield from self._visit(below / name, study, depth + 1, walk)

    def _list(self, below: Path) -> _Listing | None:
        """The folders in a folder, and the files that say what it is; None where it cannot be read."""
        path = self.root / below
        try:
            status = path.stat()
            changed, itself = status.st_mtime_ns, (status.st_dev, status.st_ino)
            known = self._listings.get(below)
            if known is not None and known.sure and known.time == changed:
                return known
            folders, links, marks = [], [], set()
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name in (REQUEST, SETTINGS, RESULT):
                        marks |= {entry.name} if entry.is_file() else set()
                    elif entry.name.startswith("."):
                        continue
                    elif entry.is_symlink():
                        links.append(entry.name)
                    elif entry.is_dir(follow_symlinks=False):
                        folders.append(entry.name)
        except OSError:
            return None
        sure = time.time() - changed / 1e9 > FRESH
        named = tuple(sorted(folders)), tuple(sorted(links))
        self._listings[below] = _Listing(changed, sure, itself, *named, frozenset(marks))
        return self._listings[below]
