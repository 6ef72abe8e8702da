"""Checking a data set before training: everything that is wrong with it is listed, and only an empty set is an error."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack

from PIL import Image, UnidentifiedImageError

from podium.calls import public
from podium.data.dataset import Dataset
from podium.data.decode import JPEGS, decode
from podium.data.depth import ANY
from podium.data.formats import FORMATS, HEAD, PILLOW, READ, fixes, recognised
from podium.data.image_file import ImageFile
from podium.data.layout import LAYOUT, OUTSIDE, Listing, not_utf8
from podium.data.metadata import blocks, orientation, without_metadata
from podium.data.names import EXTENSIONS, look_alike, look_alikes, show, suffix
from podium.data.opening import MAX_PIXELS, frames, opened
from podium.data.readers import Readers
from podium.data.reading import ReadingFields, from_keywords
from podium.data.sources import listed, nested, read_stored
from podium.errors import DataError

IMBALANCE = 10  # the largest class over the smallest from which imbalance is reported


@dataclass(frozen=True)
class Problem:
    """One problem of a data set.

    Args:
        kind: unreadable, truncated, zero-byte, too-large, metadata, duplicate, leak, conflicting-label, empty-class,
            missing-class, extra-class, few-images, look-alike, nested-class, imbalance, extension-lies, unread-format,
            denied, layout, row, ignored, root-image, not-utf-8.
        path: the file or class.
        detail: the problem in words.
    """

    kind: str
    path: str
    detail: str


@dataclass
class CheckReport:
    """The result of a check.

    Args:
        source: the data set that was checked.
        images: the number of images.
        classes: class -> split -> number of images.
        problems: in the order in which they were found.
        formats: format -> number of files, by their content.
        repeated: the number of images that occur more than once, and the number of their copies beside the first.
        notes: facts that are worth knowing and are no problems.
    """

    source: str
    images: int = 0
    classes: dict[str, dict[str, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    formats: dict[str, int] = field(default_factory=dict)
    repeated: tuple[int, int] = (0, 0)
    notes: list[str] = field(default_factory=list)

    def add(self, kind: str, path: str, detail: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(kind, path, detail))

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        problems = [{"kind": p.kind, "path": p.path, "detail": p.detail} for p in self.problems]
        repeated = dict(zip(("images", "copies"), self.repeated, strict=True))
        return {
            "source": self.source,
            "images": self.images,
            "classes": self.classes,
            "formats": self.formats,
            "problems": problems,
            "repeated": repeated,
            "notes": self.notes,
        }


@public
def check(
    source: str | Path,
    progress: Callable[[int, int], None] | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    **reading: Unpack[ReadingFields],
) -> CheckReport:
    """Check every image of a data set: decode it (in a pack, verify its checksum), and compare its content with all others.

    Args:
        source: as for `load_data`.
        progress: called with (images checked, images in all).
        max_pixels: the largest width times height of an image that is opened; a larger one is a problem.
        reading: image_column=, label_column=, split_column= and class_from=, as for `load_data`.

    Returns:
        The problems and the counts.

    Raises:
        DataError: there is nothing to check.
    """
    report, how = CheckReport(str(source)), from_keywords("check", reading, ["source", "progress"])
    data = read_stored(source, how)
    if data is not None:
        _stored(report, data, progress)
        return report
    listing = listed(source, how)
    _layout(report, listing)
    for name, mend in not_utf8(listing).items():
        report.add("not-utf-8", show(name), f"the name of a class, which no card or report can hold; {mend}")
    files = [
        (split or "train", name, file)
        for split, classes in listing.files.items()
        for name, held in classes.items()
        for file in held
    ]
    if not files and not report.problems:
        raise DataError(f"{show(str(source))}: holds no images", LAYOUT)
    splits = list(dict.fromkeys(split or "train" for split in listing.files))
    if files:
        _count(report, [(split, name) for split, name, _ in files], listing.classes, splits)
    entries: list[tuple[str, str, str, bytes]] = []
    several, formats = 0, Counter[str](kind for _, kind in listing.unread)
    with Readers(2) as pool:
        found = pool.map(_inspect, (f for _, _, f in files), [max_pixels] * len(files))
        for done, ((split, name, file), seen) in enumerate(zip(files, found, strict=True), 1):
            if seen.problem is not None:
                report.problems.append(seen.problem)
            if seen.digest is not None:
                entries.append((file.name, split, name, seen.digest))
            formats[seen.format or "unknown"] += 1
            several += seen.frames > 1
            if progress is not None:
                progress(done, len(files))
    report.formats = dict(formats.most_common())
    if several:
        report.notes.append(f"note: {several} files hold several images, pages or frames: the first is used")
    _repeats(report, entries)
    return report


def _stored(report: CheckReport, data: Dataset, progress: Callable[[int, int], None] | None) -> None:
    """Check images that are pixels already, as arrays or in a pack."""
    entries = []
    images = [(split, part, index) for split, part in data.splits.items() for index in range(len(part))]
    names = [data.classes[int(part.labels[index])] for _, part, index in images]
    for done, ((split, part, index), name) in enumerate(zip(images, names, strict=True), 1):
        where = f"{split} image {index}"
        try:
            content = hashlib.sha256(part.array(index, data.channels).tobytes()).digest()
            entries.append((where, split, name, content))
        except DataError as error:
            report.add("unreadable", where, error.what)
        if progress is not None:
            progress(done, len(images))
    splits = [split for split, _, _ in images]
    _count(report, list(zip(splits, names, strict=True)), list(data.classes), list(data.splits))
    _repeats(report, entries)


@dataclass(frozen=True)
class _Seen:
    """What one file showed: its problem, the SHA-256 of its content, its format, the number of images in it."""

    problem: Problem | None
    digest: bytes | None = None
    format: str = ""
    frames: int = 1


def _inspect(file: ImageFile, max_pixels: int) -> _Seen:
    try:
        content = file.read()
    except DataError as error:
        return _Seen(Problem("unreadable", file.name, error.what))
    if not content:
        return _Seen(Problem("zero-byte", file.name, "an empty file"))
    digest, kind = hashlib.sha256(content).digest(), recognised(content[:HEAD])
    try:
        decode(content, file.name, 3, white=ANY, max_pixels=max_pixels)
    except DataError as error:
        what = error.what.removeprefix(f"{file.name}: ")
        fault = (
            "truncated"
            if what.startswith("truncated")
            else "too-large"
            if "million that are opened" in what
            else "unreadable"
        )
        return _Seen(Problem(fault, file.name, what), digest, kind)
    count = 1
    with contextlib.suppress(Exception):  # metadata that other programs refuse, which `decode` passes over
        count = frames(opened(content, file.name, max_pixels)) if kind not in ("JPEG", "BMP", "Netpbm") else 1
    return _Seen(_oddity(content, file, kind), digest, kind, count)


def _oddity(content: bytes, file: ImageFile, kind: str) -> Problem | None:
    """What is odd in a file that is read all the same."""
    ending = suffix((file.below or file.path.name).rsplit("/", 1)[-1])
    if kind in FORMATS and ending in EXTENSIONS and ending not in FORMATS[kind].endings:
        return Problem("extension-lies", file.name, f"its content is {kind}; it is read by content")
    if fault := damaged_metadata(content):
        return Problem("metadata", file.name, f"{fault}; its pixels are read")
    return None


def damaged_metadata(data: bytes) -> str:
    """What other programs will refuse in the metadata of an image that Podium decodes; empty where there is nothing.

    Args:
        data: the bytes of an image file.
    """
    if without_metadata(data) is None:
        return ""
    try:
        image = Image.open(io.BytesIO(data), formats=PILLOW)
        if image.format not in JPEGS:
            image.load()  # a PNG may have metadata behind its pixels
        exif = image.getexif()
        if orientation(data) > 1:
            exif.tobytes()  # as Pillow's `exif_transpose` calls it
    except MemoryError:
        raise
    except Exception as error:  # metadata consists of offsets, counts and types, all of which may be wrong
        if "MAX_TEXT" not in str(error):  # Pillow's limit; long text is no fault
            kind = "EXIF" if blocks(data)[0] else "text or a colour profile"
            # Pillow's "cannot identify image file" names the buffer in memory, which says nothing to a person.
            why = "" if isinstance(error, UnidentifiedImageError) else f": {error}"
            return f"its {kind} cannot be parsed ({' '.join(f'{type(error).__name__}{why}'.split())})"
    return ""


def _layout(report: CheckReport, listing: Listing) -> None:
    """Report what is left out, and what may be meant differently."""
    report.notes += listing.notes
    for name, why in listing.denied:
        report.add("denied", name, f"cannot be read ({why}); check its permissions")
    for name, why in listing.faults:
        report.add("row", name, why)
    if listing.problem is not None:
        report.add("layout", report.source, "; ".join(listing.problem))
    for kind, names in _by_format(listing).items():
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        report.add(
            "unread-format", report.source, f"{len(names)} {kind}, which cannot be read here: {shown}; {fixes([kind])}"
        )
    for line in nested(listing, report.source):
        report.add("nested-class", report.source, line)
    for name, why in listing.strays:
        outside = why == OUTSIDE
        report.add(
            "root-image" if outside else "ignored",
            name,
            why if outside else f"{why}; left alone (images are {', '.join(each.name for each in READ)})",
        )


def _by_format(listing: Listing) -> dict[str, list[str]]:
    formats: dict[str, list[str]] = {}
    for name, kind in listing.unread:
        formats.setdefault(kind, []).append(name)
    return formats


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
    if len(classes) == 1:
        report.add("empty-class", classes[0], "the only class; a classifier needs two")


def _repeats(report: CheckReport, entries: list[tuple[str, str, str, bytes]]) -> None:
    """Report content that occurs twice: in one split, in two, or with two labels."""
    first: dict[bytes, tuple[str, str, str]] = {}
    repeated: set[bytes] = set()
    for path, split, name, digest in entries:
        if digest not in first:
            first[digest] = (path, split, name)
            continue
        repeated.add(digest)
        other, other_split, other_name = first[digest]
        if name != other_name:
            report.add("conflicting-label", path, f"same content as {other}, which is {other_name!r}, not {name!r}")
        if split != other_split:
            report.add("leak", path, f"same content as {other}: in {split} and in {other_split}")
        elif name == other_name:
            report.add("duplicate", path, f"same content as {other}")
    report.repeated = (len(repeated), len(entries) - len(first))
