"""Checking the images of a data set before training: every problem is listed, and only an empty set is an error."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from podium.data.check_groups import Groups, add_group_problems, groups_of
from podium.data.check_report import Checked, CheckReport
from podium.data.dataset import Dataset
from podium.data.depth import look_at
from podium.data.formats import VIDEO, fixes
from podium.data.found import describe_folder, nearest_layout
from podium.data.groups import GROUP, with_groups
from podium.data.images import FileImages, Progress
from podium.data.inspection import Inspected, inspect_array, inspect_file
from podium.data.layout import LAYOUT, OUTSIDE, Listing, not_utf8
from podium.data.looks import Look, add_outliers, look
from podium.data.names import equal_numbers, look_alike, look_alikes, show
from podium.data.near_duplicates import near_pairs, stacked
from podium.data.opening import MAX_PIXELS
from podium.data.readers import Readers
from podium.data.reading import Reading
from podium.data.refusals import nested
from podium.data.several_labels import combined
from podium.data.sources import listed, read_stored
from podium.data.unread import COMPANIONS, format_companions
from podium.errors import DataError

IMBALANCE = 10  # the largest class over the smallest from which imbalance is reported


def check_images(
    source: str | Path,
    progress: Progress | None,
    max_pixels: int,
    reading: Reading,
    group_from: str | None = None,
    group_column: str | None = None,
) -> CheckReport:
    """Decode every image of a data set (in a pack, verify its checksum), and compare it with all others.

    Args:
        source, progress, max_pixels: as for `podium.check`.
        reading: where a person says that the labels stand.
        group_from, group_column: as for `podium.check`.

    Raises:
        DataError: there is nothing to check.
    """
    report, data = CheckReport(str(source)), read_stored(source, reading)
    if data is not None and max_pixels != MAX_PIXELS:
        report.notes.append(f"max_pixels: {max_pixels} does nothing here: the images are pixels already")
    if data is not None:
        images, inspected = _stored(report, with_groups(data, group_from, group_column))
    else:
        listing = listed(source, reading)
        images, inspected = _files(report, listing, groups_of(listing, group_from, group_column), max_pixels)
    _inspect(report, images, inspected, progress)
    report.sort()
    return report


def _stored(report: CheckReport, data: Dataset) -> tuple[list[Checked], Iterator[Inspected]]:
    """Count images that are pixels already, as arrays or in a pack; they are inspected while the result is iterated over."""
    images = [
        Checked(f"{split} image {index}", split, data.classes[label], part.images, index, group)
        for split, part in data.splits.items()
        for index, (label, group) in enumerate(
            zip(part.labels.tolist(), part.columns.get(GROUP, [""] * len(part)), strict=True)
        )
    ]
    _count(report, [(image.split, image.label) for image in images], list(data.classes), list(data.splits))

    def inspect(image: Checked) -> Inspected:
        return inspect_array(image.images, image.row, data.channels, image.path)

    return images, _ahead(inspect, images)


def _files(
    report: CheckReport, listing: Listing, groups: Groups, max_pixels: int
) -> tuple[list[Checked], Iterator[Inspected]]:
    """Count image files; they are inspected while the result is iterated over.

    Args:
        report: of the check.
        listing: what there is.
        groups: of the images.
        max_pixels: the largest size that is opened.
    """
    if len(set(groups.values())) > len(listing.classes):  # sub-folders that classes share are groups, as for training
        listing.nested = {}
        listing.problem = None if listing.alike else listing.problem
    report.formats = dict(Counter(kind for _, kind in listing.unread))
    _layout(report, listing)
    for name, mend in not_utf8(listing).items():
        report.add("not-utf-8", show(name), f"the name of a class, which no card or report can hold; {mend}")
    entries = [
        (split or "train", name, file, groups.get((split, file.below), ""))
        for split, classes in listing.files.items()
        for name, held in classes.items()
        for file in held
    ]
    if not entries and not report.problems:
        raise DataError(f"{show(report.source)}: holds no images", LAYOUT)
    add_group_problems(report, listing, groups)
    splits = list(dict.fromkeys(split or "train" for split in listing.files))
    if entries:
        _count(report, [(split, name) for split, name, *_ in entries], listing.classes, splits)
    files = [file for _, _, file, _ in entries]
    depth = look_at([file for split, _, file, _ in entries if split == "train"], max_pixels)
    report.notes += filter(None, (depth.note, depth.flat))
    every = FileImages(files, depth.white, max_pixels=max_pixels)
    images = [
        Checked(file.name, split, name, every, row, group) for row, (split, name, file, group) in enumerate(entries)
    ]
    return images, _ahead(lambda image: inspect_file(files[image.row], depth.white, max_pixels), images)


def _ahead(inspect: Callable[[Checked], Inspected], images: list[Checked]) -> Iterator[Inspected]:
    """Inspect images in order, in two threads."""
    with Readers(2) as pool:
        yield from pool.map(inspect, images)


def _inspect(
    report: CheckReport, images: list[Checked], inspected: Iterator[Inspected], progress: Progress | None
) -> None:
    """Report what is wrong with each image, and compare the images with one another."""
    stored, several = list[tuple[Checked, bytes]](), 0
    # Copies are reported already, so the first is looked at.
    seen, looks, digests = list[Checked](), list[Look](), set[bytes]()
    small = list[tuple[Checked, bytes]]()
    for done, (image, found) in enumerate(zip(images, inspected, strict=True), 1):
        if found.problem is not None:
            report.problems.append(found.problem)
        if found.digest is not None:
            stored.append((image, found.digest))
        if found.format:
            report.formats[found.format] = report.formats.get(found.format, 0) + 1
        several += found.frames > 1
        if found.decoded:
            report.checked.append(image)
            if found.digest is not None and found.digest not in digests:
                digests.add(found.digest)
                if found.grey is not None:
                    seen.append(image)
                    looks.append(look(found.grey, found.size))
                elif found.pixels is not None:
                    small.append((image, found.pixels))
        if progress is not None:
            progress(done, len(images))
    report.formats = dict(Counter(report.formats).most_common())
    if several:
        report.notes.append(f"note: {several} files hold several images, pages or frames: the first is used")
    _repeats(report, stored)
    add_outliers(report, [image.path for image in seen], looks)
    if not seen and report.checked:
        report.notes.append(
            "near duplicates, blur and brightness are not looked for in images smaller than 32 pixels (64 in grey), only equal pixels"
        )
    alike = _same_pixels(report, small) + _near_duplicates(report, seen, [one.hashes for one in looks])
    if alike and len(report.classes) and all(set(counts) == {"train"} for counts in report.classes.values()):
        report.notes.append(
            f"{alike:,} images look like another one; where validation images are held out of them, such pairs may be divided"
        )


def _same_pixels(report: CheckReport, images: list[tuple[Checked, bytes]]) -> int:
    """Report small images whose pixels another file has too, such as a PNG that was saved again as BMP; return how many."""
    first: dict[bytes, Checked] = {}
    pairs = [(image, other) for image, pixels in images if (other := first.setdefault(pixels, image)) is not image]
    for image, other in pairs:
        _add_alike(report, image, other, f"has the same pixels as {other.path}")
    return len(pairs)


def _near_duplicates(report: CheckReport, images: list[Checked], hashes: list[np.ndarray | None]) -> int:
    """Report images that look like another one, and return how many do."""
    found, rows = stacked(hashes)
    images = [images[row] for row in rows]
    split, label = (
        np.unique([getattr(image, key) for image in images], return_inverse=True)[1] for key in ("split", "label")
    )
    pairs = near_pairs(found, lambda one, other: 2 * (split[one] != split[other]) + (label[one] != label[other]))
    for pair in pairs:
        image, other = images[pair.image], images[pair.other]
        what = f"{'the mirror image of' if pair.mirrored else 'looks the same as'} {other.path}"
        _add_alike(report, image, other, what, pair.mirrored)
    return len(pairs)


def _add_alike(report: CheckReport, image: Checked, other: Checked, what: str, mirrored: bool = False) -> None:
    """Report two images that look alike; those in two splits or two classes are the harmful ones."""
    differ = image.label != other.label
    what += f", which is {other.label!r}, not {image.label!r}" if differ else ""
    if image.split != other.split:
        report.add("near-leak", image.path, f"{what}: in {image.split} and in {other.split}", other.path)
    elif differ and not mirrored:  # mirrored, another class may be right, as for left and right hands
        report.add("near-conflict", image.path, what, other.path)
    else:
        report.add("near-duplicate", image.path, what, other.path)


def _layout(report: CheckReport, listing: Listing) -> None:
    """Report what is left out, and what may be meant differently."""
    report.notes += [*listing.notes, *combined(listing.classes), *equal_numbers(listing.classes)]
    for name, why in listing.denied:
        report.add("denied", _below(report.source, name), f"cannot be read ({why}); check its permissions")
    for name, why in listing.faults:
        report.add("row", name, why)
    if listing.problem is not None:
        report.add("layout", report.source, "; ".join(listing.problem))
    for kind, names in _by_format(listing).items():
        shown = ", ".join(_below(report.source, name) for name in names[:5]) + (", ..." if len(names) > 5 else "")
        report.add(
            "unread-format", report.source, f"{len(names)} {kind}, which cannot be read here: {shown}; {fixes([kind])}"
        )
    for line in nested(listing, report.source):
        report.add("nested-class", report.source, line)
    classes = any(held for classes in listing.files.values() for held in classes.values())
    folder, outside = Path(report.source), sum(why == OUTSIDE for _, why in listing.strays)
    # Images in folders that cannot be read here lie as they should: their format alone is the problem.
    unread = {Path(_below(report.source, name)).parent for name, kind in listing.unread if kind != VIDEO}
    arranged = bool(unread) and folder not in unread and not outside
    if not classes and listing.problem is None and (listing.strays or listing.unread) and not arranged:
        lies = describe_folder(folder)
        what = f"{outside} images, but none in a class folder" if outside else "holds no images"
        report.add("layout", report.source, f"{what}{f' ({lies})' if lies else ''}; {nearest_layout(folder)}")
        return
    if companions := format_companions(listing.strays):
        report.notes.append(companions)
    for name, why in listing.strays:
        if why == OUTSIDE:
            report.add("root-image", name, why)
        elif why not in COMPANIONS:
            report.add("ignored", _below(report.source, name), f"{why}; left alone")


def _by_format(listing: Listing) -> dict[str, list[str]]:
    formats: dict[str, list[str]] = {}
    for name, kind in listing.unread:
        formats.setdefault(kind, []).append(name)
    return formats


def _below(source: str, name: str) -> str:
    """The path of an entry as a person would type it, from its name below the data; inside of archives the name itself."""
    path = Path(source) / name
    return show(path) if Path(source).is_dir() and os.path.lexists(path) else name


def _count(report: CheckReport, pairs: list[tuple[str, str]], classes: list[str], splits: list[str]) -> None:
    """Count the images of each class and split, and report empty, missing and extra classes and imbalance."""
    report.images = len(pairs)
    report.classes = {name: dict.fromkeys(splits, 0) for name in classes}
    for split, name in pairs:
        report.classes[name][split] += 1
    for name, counts in report.classes.items():
        if not any(counts.values()):
            report.add("empty-class", name, "no images in any split")
        elif "train" in counts and counts["train"] == 0:
            like = look_alike(name, [other for other in classes if report.classes[other].get("train")])
            where = ", ".join(split for split, count in counts.items() if count)
            report.add("extra-class", name, f"in {where} but not in train" + (f"; looks like {like!r}" if like else ""))
        else:
            for split, count in counts.items():
                if count == 0:
                    report.add("missing-class", name, f"no images in {split}")
    sizes = {name: counts["train"] for name, counts in report.classes.items() if counts.get("train")}
    if sizes and max(sizes.values()) > IMBALANCE * min(sizes.values()):
        most, least = max(sizes, key=lambda k: sizes[k]), min(sizes, key=lambda k: sizes[k])
        report.add("imbalance", least, f"{sizes[least]} training images, {most} has {sizes[most]}")
    for one, other in look_alikes([name for name, counts in report.classes.items() if counts.get("train", 1)]):
        report.add("look-alike", other, f"differs from {one!r} in case, spaces or Unicode form only")
    for name, size in sizes.items() if len(classes) > 1 else ():
        if size < 2:
            report.add("few-images", name, "1 training image, of which none can be held out to evaluate on")
    hidden = {problem.kind for problem in report.problems} & {"denied", "unread-format"}  # a class of such files alone
    if len(classes) == 1 and not hidden:
        report.add("empty-class", classes[0], "the only class; a classifier needs two")


def _repeats(report: CheckReport, entries: list[tuple[Checked, bytes]]) -> None:
    """Report content that occurs twice: in one split, in two, or with two labels."""
    first: dict[bytes, Checked] = {}
    repeated: set[bytes] = set()
    for image, digest in entries:
        other = first.setdefault(digest, image)
        if other is image:
            continue
        repeated.add(digest)
        path, same = image.path, f"same content as {other.path}"
        if image.label != other.label:
            report.add("conflicting-label", path, f"{same}, which is {other.label!r}, not {image.label!r}", other.path)
        if image.split != other.split:
            report.add("leak", path, f"{same}: in {image.split} and in {other.split}", other.path)
        elif image.label == other.label:
            report.add("duplicate", path, same, other.path)
    report.repeated = (len(repeated), len(entries) - len(first))
