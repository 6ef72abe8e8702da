"""Groups: images that belong together, such as those of one patient, video or burst, and are never on two sides of a split.

Exact copies belong together too. What has to stay on one side is therefore a unit: the images that are tied to each other by
a common group or a common content, directly or through others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from podium.data.dataset import SPLITS, Dataset, Split
from podium.data.identity import content_key
from podium.data.image_columns import SHOWN, example_path, from_paths, from_table, with_column
from podium.data.image_file import ImageFile
from podium.data.names import equal_numbers, show
from podium.errors import DataError, UsageError
from podium.patterns import parse_pattern

MOST_ALIKE = 3  # notes on groups that are one number
GROUP = "(group)"  # the column that names the group of each image; not a name that a table is likely to have


def with_groups(
    data: Dataset, group_from: str | None = None, group_column: str | None = None, strict: bool = True
) -> Dataset:
    """Name the group of each image, in the column `GROUP`.

    Args:
        data: the images.
        group_from: a regular expression that finds the group in an image's path below the root.
        group_column: the name of a column that has it.
        strict: whether an image without a group is an error; else it is counted in a note.

    Returns:
        The same images; the same object where no setting names groups.

    Raises:
        UsageError: both settings are given, the expression is none, or there is no such column.
        DataError: images have no group, or no paths.
    """
    if group_from is None and group_column is None:
        return data
    if group_from is not None and group_column is not None:
        raise UsageError("group_from and group_column are given", "give one of the two")
    setting, value = ("group_from", group_from) if group_from is not None else ("group_column", group_column or "")
    find = from_paths if group_from is not None else from_table
    values = find(data, setting, value)
    without = {name: found == "" for name, found in values.items()}
    count, images = sum(int(rows.sum()) for rows in without.values()), sum(map(len, data.splits.values()))
    if count and strict:
        what = f"{show(data.name)}: {count:,} of {images:,} images have no group by {setting} {value!r}: "
        fix = "change the expression so that it matches all of them" if group_from is not None else "fill in the column"
        raise DataError(what + example_path(data, without), f"{fix}, or move these images out of the data")
    note, alike = (
        _described(values, images),
        equal_numbers(np.unique(np.concatenate(list(values.values()))).tolist(), "groups"),
    )
    if count:
        note = f"note: {count:,} of {images:,} images have no group by {setting} {value!r}: whether the network has learned from their group is not known"
    return replace(
        with_column(data, GROUP, values), notes=(*data.notes, note, *alike[:MOST_ALIKE]), grouping={setting: value}
    )


def folders_are_groups(files: Mapping[str, Mapping[str, Sequence[ImageFile]]], group_from: str) -> bool:
    """Whether sub-folders that several classes have are groups, such as benign/p01 and malignant/p01, and not classes or years.

    Args:
        files: split -> class -> images.
        group_from: the expression that finds the group of an image; it has to find more groups than there are classes.
    """
    pattern = parse_pattern("group_from", group_from)
    found = {pattern.find(file.below) for classes in files.values() for images in classes.values() for file in images}
    return len(found) > len({name for classes in files.values() for name in classes})


def _described(values: dict[str, np.ndarray], images: int) -> str:
    names, sizes = np.unique(np.concatenate(list(values.values())), return_counts=True)
    if len(names) == images:
        return f"note: each of the {images:,} images is a group of its own, so the groups change nothing"
    return f"note: {images:,} images in {len(names):,} groups of {sizes.min():,} to {sizes.max():,}; groups stay on one side"


def group_keys(split: Split) -> np.ndarray | None:
    """A key of each image's group, (N,) uint64; None where images have no groups. An image without a group has key 0."""
    if GROUP not in split.columns:
        return None
    names, which = np.unique(split.columns[GROUP], return_inverse=True)
    keys = [content_key(name.encode(errors="surrogateescape")) if name else 0 for name in names.tolist()]
    return np.array(keys, np.uint64)[which]


def units(split: Split) -> np.ndarray:
    """Which images have to stay on one side, (N,) int64: of each image the number of the first image of its unit."""
    _, content = np.unique(split.contents(), return_inverse=True)
    groups = group_keys(split)
    part = content
    if groups is not None and len(groups):
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        _, group = np.unique(groups, return_inverse=True)
        alone = np.flatnonzero(groups == 0)  # an image without a group is one of its own
        group[alone] = group.max() + 1 + np.arange(len(alone))
        first = int(content.max()) + 1  # contents and groups are the nodes of a graph, and images its edges
        nodes = first + int(group.max()) + 1
        graph = coo_matrix((np.ones(len(group), bool), (content, first + group)), shape=(nodes, nodes))
        part = connected_components(graph, directed=False)[1][content]
    _, firsts, which = np.unique(part, return_index=True, return_inverse=True)
    return firsts[which].astype(np.int64)


def draw_units(labels: np.ndarray, unit: np.ndarray, share: float, seed: int | Sequence[int]) -> np.ndarray:
    """Choose whole units so that about this share of each class is chosen, and no class is chosen completely.

    Units are visited in a random order. One is taken if it brings the shares of the classes closer to the wanted one. Of
    a class that then has no image chosen, the unit that fits best is taken too.

    Args:
        labels: (N,) the class of each image.
        unit: (N,) as `units` returns them.
        share: of the images of each class.
        seed: decides the order.

    Returns:
        (N,) bool. A class of a single unit has no image chosen.
    """
    present, column = np.unique(labels, return_inverse=True)
    numbers, row = np.unique(unit, return_inverse=True)
    counts = np.zeros((len(numbers), len(present)))
    np.add.at(counts, (row, column), 1)
    total = counts.sum(0)
    chosen, taken = np.zeros(len(numbers), bool), np.zeros(len(present))

    def distance(having: np.ndarray) -> float:
        return float((((having - share * total) / total) ** 2).sum())

    def leaves_some(number: int) -> bool:
        return bool((taken + counts[number] < total).all())

    for number in np.random.Generator(np.random.PCG64(seed)).permutation(len(numbers)).tolist():
        if leaves_some(number) and distance(taken + counts[number]) < distance(taken):
            chosen[number], taken = True, taken + counts[number]
    for label in range(len(present)):
        fitting = [n for n in np.flatnonzero((counts[:, label] > 0) & ~chosen).tolist() if leaves_some(n)]
        if taken[label] == 0 and fitting:
            number = min(fitting, key=lambda n: distance(taken + counts[n]))
            chosen[number], taken = True, taken + counts[number]
    return chosen[row]


def refuse_divided(data: Dataset) -> None:
    """Refuse splits that share a group.

    Raises:
        DataError: names the groups and the splits in which they lie.
    """
    names = [name for name in SPLITS if name in data.splits and GROUP in data.splits[name].columns]
    found: dict[str, dict[str, int]] = {}
    for name in names:
        for group, count in zip(*np.unique(data.splits[name].columns[GROUP], return_counts=True), strict=True):
            if group:
                found.setdefault(str(group), {})[name] = int(count)
    divided = {group: places for group, places in found.items() if len(places) > 1}
    if not divided:
        return
    listed = [
        f"{show(group)} ({', '.join(f'{name} {count:,}' for name, count in places.items())})"
        for group, places in list(divided.items())[:SHOWN]
    ]
    more = f" and {len(divided) - SHOWN:,} more" if len(divided) > SHOWN else ""
    setting = next(iter(data.grouping or {"group_from": ""})).replace("_", "-")
    what = (
        f"{show(data.name)}: {len(divided):,} of {len(found):,} groups lie in several splits: {', '.join(listed)}{more}"
    )
    fix = f"move each group into one split, or put all images together for Podium to split; without --{setting} they are taken as they are"
    raise DataError(what, fix)
