"""Checking the groups of a data set: images without one, groups in two splits, and classes that a single group holds."""

from __future__ import annotations

from collections import Counter, defaultdict

from podium.data.check_report import CheckReport
from podium.data.layout import Listing
from podium.data.names import show
from podium.errors import UsageError, closest
from podium.patterns import parse_pattern

Groups = dict[tuple[str, str], str]  # (split in the listing, name below the root) -> group


def groups_of(listing: Listing, group_from: str | None, group_column: str | None) -> Groups:
    """The group of each image, by its split in the listing and its name below the root; empty where no setting names groups.

    Raises:
        UsageError: both settings are given, the expression is none, or there is no such column.
    """
    if group_from is not None and group_column is not None:
        raise UsageError("group_from and group_column are given", "give one of the two")
    places = [(split, file.below) for split, held in listing.files.items() for files in held.values() for file in files]
    if group_from is not None:
        pattern = parse_pattern("group_from", group_from)
        return {(split, below): pattern.find(below) for split, below in places}
    if group_column is None:
        return {}
    known = list(dict.fromkeys(name for columns, _ in listing.cells.values() for name in columns))
    if group_column not in known:
        like = closest(group_column, known) or (f"its columns are {', '.join(known)}" if known else "")
        fix = f"{like}; " * bool(like) + "--group-from 'REGEX' takes the group from the path of each image"
        raise UsageError(f"group_column: there is no column {group_column!r}", fix)
    cells = {place: listing.cells.get(place, ({}, 0)) for place in places}
    return {
        place: columns[group_column][row] if group_column in columns else "" for place, (columns, row) in cells.items()
    }


def add_group_problems(report: CheckReport, listing: Listing, groups: Groups) -> None:
    """Report images without a group, groups that lie in several splits, and classes of one group only.

    Args:
        report: of the check.
        listing: the images.
        groups: as `groups_of` returns them.
    """
    if not groups:
        return
    splits: dict[str, Counter[str]] = defaultdict(Counter)
    classes: dict[str, set[str]] = defaultdict(set)
    entries = ((split, name, file) for split, held in listing.files.items() for name in held for file in held[name])
    for split, name, file in entries:
        group = groups[split, file.below]
        if not group:
            report.add("no-group", file.name, "training stops at an image without a group")
            continue
        splits[group][split or "train"] += 1
        classes[name].add(group)
    for group, counts in splits.items():
        if len(counts) > 1:
            where = ", ".join(f"{split} {count:,}" for split, count in counts.items())
            report.add("group-leak", show(group), f"a group that lies in several splits ({where})")
    for name, held in classes.items():
        if len(held) == 1:
            report.add("few-groups", name, f"all images are of one group ({show(*held)}), so none can be held out")
    sizes = [counts.total() for counts in splits.values()]
    if sizes:
        report.notes.append(f"note: {sum(sizes):,} images in {len(sizes):,} groups of {min(sizes):,} to {max(sizes):,}")
