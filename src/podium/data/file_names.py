"""Flat folders with the class in the name of each file, such as cat.0.jpg: read by a regular expression, or one is proposed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePosixPath

from podium.data.image_file import ImageFile
from podium.data.layout import Entries, Left, Listing
from podium.data.names import show, split_named
from podium.errors import DataError
from podium.natural import natural
from podium.patterns import parse_pattern

# What is tried on flat folders, the strictest first: each has to find a class in every name, and several names in each class.
# A class begins with a letter, and what follows or precedes it is a number or a code with a digit.
PATTERNS = (
    r"\b(n\d{8})_\d+\.\w+$",  # n01440764_18.JPEG
    r"\b([^\W\d][^/]*?)[._ -]*\d+\.\w+$",  # cat.0.jpg, american_bulldog_12.jpg
    r"\b([^\W\d][^/]*?) *\(\d+\)\.\w+$",  # rose (3).png
    r"\b\d+[._ -]+([^\W\d][^/]*?)[._ -]+\d+\.\w+$",  # 42_daisy_7.png
    r"\b\d+[._ -]+([^\W\d][^/]*?)\.\w+$",  # 42_daisy.png
    r"\b([^\W\d][^/]*?)[._ -]+(?=\w*\d)\w+\.\w+$",  # daisy_4f3a.jpg
    r"\b(?=[^/]*\d)\w+[._-]([^\W\d_]+)\.\w+$",  # 4f3a-daisy.jpg
    r"(?:label|class)[._=-]?(\w+?)(?=[._-]|\.\w+$)",  # img_3_label_7.png
    r"\b(\d)[._-]\d+\.\w+$",  # 7_00042.png
    r"\b\d+[._-](\d)\.\w+$",  # 00042_7.png
)
LEAST = 2.0  # images a class that a proposed pattern must find
GENERIC = "img image images photo photos pic picture dsc dscn dscf pxl frame scan screenshot test sample"


def arrange_by_name(found: Entries, pattern: str, where: str) -> Listing:
    """Sort images into classes by a regular expression on their paths below the data.

    Args:
        found: (path below the root, image or reason why it is none).
        pattern: with a group named class, or the first group.
        where: the name of the data in messages.

    Raises:
        UsageError: the pattern is not a regular expression, or has no group.
        DataError: it finds no class in some paths, or one lies beside the folders of splits; says how many.
    """
    expression, listing = parse_pattern("class_from", pattern, "class"), Listing(labels_in="names")
    images = [(path, file) for path, file in found if isinstance(file, ImageFile) or file.kind == "unread"]
    splits = _splits([path for path, _ in images], where)
    missed = []
    for path, file in sorted(images, key=lambda each: natural(str(each[0]))):
        label = expression.find(str(path)).strip()
        if not label:
            missed.append(show(str(path)))
            continue
        classes = listing.files.setdefault(splits.get(path.parts[0], ""), {})
        if isinstance(file, ImageFile):
            classes.setdefault(label, []).append(replace(file, below=str(path)))
        else:
            classes.setdefault(label, [])
            listing.unread.append((show(str(path)), file.why))
    if missed:
        shown = ", ".join(missed[:3]) + (", ..." if len(missed) > 3 else "")
        what = f"{where}: {pattern!r} finds no class in {len(missed):,} of {len(images):,} images ({shown})"
        raise DataError(what, "change the pattern, or move these images out of the data")
    for path, file in found:
        if isinstance(file, Left) and file.kind == "denied":
            listing.denied.append((show(str(path)), file.why))
        elif isinstance(file, Left) and file.kind == "other":
            listing.strays.append((show(str(path)), file.why))
    return listing


def propose(paths: Iterable[PurePosixPath]) -> tuple[str, list[str]] | None:
    """Find a pattern that finds a class in the name of every image.

    Args:
        paths: of the images below the data.

    Returns:
        The pattern, and the classes that it finds, the most frequent first; None where no pattern fits.
    """
    names = [str(path) for path in paths]
    for pattern in PATTERNS:
        found = [match[1] for name in names if (match := re.search(pattern, name))]
        counts = Counter(found)
        if len(found) == len(names) and 1 < len(counts) <= len(names) / LEAST and not counts.keys() & _generic(counts):
            return pattern, [label for label, _ in counts.most_common()]
    return None


def _generic(labels: Iterable[str]) -> set[str]:
    """The labels among these that are names which cameras and programs give, such as img."""
    return {label for label in labels if label.lower() in GENERIC.split()}


def _splits(paths: list[PurePosixPath], where: str) -> dict[str, str]:
    """Folder -> split, where images lie in folders of splits, one of which is train.

    Raises:
        DataError: there are several splits, and an image lies in none.
    """
    tops = {path.parts[0] if len(path.parts) > 1 else "": path for path in reversed(paths)}
    kinds = {top: kind for top, (kind, alone) in ((top, split_named(top)) for top in tops) if kind and alone}
    if "train" not in kinds.values():
        return {}
    outside = [path for top, path in tops.items() if top not in kinds]
    if outside and len(set(kinds.values())) > 1:
        what = f"{where}: {show(str(outside[0]))} lies in none of the splits {', '.join(map(show, sorted(kinds)))}"
        raise DataError(what, "move it into one of them, or out of the data, with all that lie beside it")
    return {} if outside else kinds
