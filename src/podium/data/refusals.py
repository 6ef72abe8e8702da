"""What keeps listed images from being a data set and what is only noted, each with what to do about it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from podium.data.archives import ARCHIVES
from podium.data.dataset import Split
from podium.data.folders import find_archive
from podium.data.formats import VIDEO, counted, fixes
from podium.data.found import nearest_layout
from podium.data.image_file import ImageFile
from podium.data.layout import OUTSIDE, Listing, not_utf8
from podium.data.names import equal_numbers, look_alike, look_alikes, show
from podium.data.several_labels import combined
from podium.data.unread import COMPANIONS, format_companions
from podium.errors import ImageError

ALIKE = {  # what has the labels -> what to do about classes that one split does not have, and classes that look alike
    "folders": ("rename the folders alike in every split", "put their images into one folder"),
    "rows": ("write the labels alike in every split", "write their labels alike in every row"),
    "names": ("rename the files alike in every split", "rename their files alike"),
}


def problem_of(listing: Listing, path: Path | str, on_bad: str = "error") -> tuple[str, str] | None:
    """Return what prevents a listing from being a data set, and what to do about it; None where nothing does.

    Args:
        listing: the images, and what was found beside them.
        path: of the data, as it was given.
        on_bad: "error", or "skip" to let images pass of formats that cannot be read.
    """
    where = show(path)
    if listing.denied:
        name, why = listing.denied[0]
        more = f", and {len(listing.denied) - 1} more" if len(listing.denied) > 1 else ""
        return f"{where}: {name} cannot be read ({why}){more}", "check its permissions, or move it out of the data"
    if listing.problem is not None:
        return listing.problem
    train = listing.files.get("train", listing.files.get(""))
    every: dict[str, list[ImageFile]] = {}
    for classes in listing.files.values():
        for name, files in classes.items():
            every.setdefault(name, []).extend(files)
    counts = {name: len(files) for name, files in (train if train is not None else every).items()}
    if listing.unread and (on_bad == "error" or not any(counts.values())):
        return _unread_formats(listing, where)
    if not any(counts.values()):
        roots = sum(why == OUTSIDE for _, why in listing.strays)
        packed = [name for name, _ in listing.strays if name.lower().endswith(ARCHIVES)]
        if packed and not roots:
            what = f"{where}: holds no images, but {len(packed)} archives ({', '.join(packed[:5])})"
            fix = "unpack each into a folder of its own name, which is the class if they are classes, and give the folder around them"
            return what, fix
        what = f"{where}: {roots} images, but none in a class folder" if roots else f"{where}: holds no images"
        return what, nearest_layout(Path(path))
    for name, mend in not_utf8(listing).items():
        return f"{where}: the name of class {show(name)} is not UTF-8, which no card or report can hold", mend
    listed = ", ".join(f"{show(name)} {count}" for name, count in list(counts.items())[:20])
    if not all(counts.values()):
        empty = ", ".join(show(name) for name, count in counts.items() if not count)
        return (
            f"{where}: no images of class {empty} (training images: {listed})",
            "add images, or take the folders without images out of the data",
        )
    return _odd_classes(listing, list(counts), where)


def _unread_formats(listing: Listing, where: str) -> tuple[str, str]:
    kinds = [kind for _, kind in listing.unread]
    noun = f"{'file' if VIDEO in kinds else 'image'}{'s' * (len(kinds) > 1)}"
    formats = f"{'formats' if len(kinds) > 1 else 'a format'} that cannot be read here ({counted(kinds)})"
    what = f"{where}: {len(kinds)} {noun} of {formats}: {listing.unread[0][0]}"
    return what, fixes(dict.fromkeys(kinds))


def _odd_classes(listing: Listing, known: list[str], where: str) -> tuple[str, str] | None:
    """Classes without training images, and pairs of classes that differ only in case, spaces or Unicode form."""
    strange = []
    for split in ("val", "test"):
        for name, files in listing.files.get(split, {}).items():
            if files and name not in known:
                like = look_alike(name, known)
                strange.append(f"{split}/{name!r}" + (f" (looks like train/{like!r})" if like else ""))
    if strange:
        what = f"{where}: classes that train does not have: {', '.join(strange[:10])}"
        mend = f"{ALIKE[listing.labels_in][0]} (mind case, spaces at the end, composed letters)"
        return what, f"{mend}; move images without labels out of the data"
    for one, other in look_alikes(listing.classes):
        what = f"{where}: the classes {one!r} and {other!r} differ in case, spaces or Unicode form only"
        return what, f"{ALIKE[listing.labels_in][1]} if they are one class; else give them names that differ more"
    return None


def faulty_rows(listing: Listing, source: str) -> ImageError:
    """The error for rows of a table that cannot be used; verbs that have --on-bad add it to the fix."""
    shown = "; ".join(f"{where}: {why}" for where, why in listing.faults[:3])
    several = f"{len(listing.faults):,} images cannot be used" if len(listing.faults) > 1 else "1 image cannot be used"
    more = f", and {len(listing.faults) - 3:,} more" if len(listing.faults) > 3 else ""
    return ImageError(
        f"{show(source)}: {several} ({shown}{more})", "correct these entries, or take them out of the data"
    )


def notes_on(listing: Listing, splits: dict[str, Split], classes: list[str], source: str) -> list[str]:
    """Return notes on what is left out or looks odd, but does not prevent training.

    Args:
        listing: the images, and what was found beside them.
        splits: the same images by their splits.
        classes: names, in the order of the labels.
        source: of the data, as it was given.
    """
    notes = [*listing.notes, *combined(classes), *equal_numbers(classes)]
    for name, split in splits.items():
        counts = np.bincount(split.labels, minlength=len(classes))
        missing = [c for c, count in zip(classes, counts, strict=True) if count == 0]
        if missing:
            notes.append(f"note: {name} has no images of {', '.join(missing)}")
        single = [c for c, count in zip(classes, counts, strict=True) if count == 1]
        if single and name == "train":
            notes.append(f"note: {', '.join(map(show, single))}: 1 training image only, which is too few to learn from")
    notes += [f"note: {line}" for line in nested(listing, source)]
    if companions := format_companions(listing.strays):
        notes.append(companions)
    if strays := [why for _, why in listing.strays if why not in COMPANIONS]:
        reasons = "; ".join(f"{why} ({count})" for why, count in Counter(strays).items())
        several = f"{len(strays):,} files are not images" if len(strays) > 1 else "1 file is not an image"
        notes.append(
            f"note: {several} of a class and {'are' if len(strays) > 1 else 'is'} left alone (`podium check` lists them): {reasons}"
        )
    return notes


def nested(listing: Listing, source: str) -> list[str]:
    """Return a line for each class that has sub-folders, with how to use the sub-folders as classes."""
    where = Path(source)
    packed = where.is_file() or (where.is_dir() and find_archive(where) is not None)
    lines = []
    for name, (path, subs) in listing.nested.items():
        named = ", ".join(map(show, subs[:10])) + (", ..." if len(subs) > 10 else "")
        give = f"unpack it and give {show(path)}" if packed else f"give {show(where / path)}"
        lines.append(f"class {show(name)} has sub-folders {named}; {give} for those classes")
    return lines
