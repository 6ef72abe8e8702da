"""What of a folder or archive is an image and cannot be read here, decided by content, and what only accompanies an image.

An image that would be missing without a word makes every number about a data set wrong. So whatever is an image, or could
be meant as one, either is read or is counted by its format and stops the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

from podium.data.formats import ENDINGS, FORMATS, HEAD, RAW, VIDEO, recognised, unread_kind
from podium.data.image_file import ImageFile
from podium.data.layout import Entries, Left, Listing
from podium.data.names import EXTENSIONS, UNREAD, suffix

LOOKED_AT = (
    20_000  # files whose first bytes are read, evenly apart, besides those whose names promise an unreadable format
)
NO_IMAGE = Left("other", "not an image by its name")
# Endings of files that lie beside images; other files are recognised by their content.
BESIDE = frozenset(
    (".txt", ".json", ".csv", ".tsv", ".xml", ".xmp", ".aae", ".html", ".htm", ".md", ".yaml", ".yml", ".log", ".ini", ".db", ".pdf", ".py", ".ipynb", ".doc", ".docx", ".xls", ".xlsx", ".npy", ".npz", ".mat", ".pkl", ".parquet", ".pt", ".pth", ".h5", ".onnx", ".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".cls", ".lnk", ".url", ".bak", ".tmp", ".thm")
)  # fmt: skip
# What accompanies an image of the same name, by its format or by its ending: the reason why it is left alone.
WITH_IMAGE = {
    RAW: "the camera's raw file of an image beside it",
    VIDEO: "the video of a Live Photo, whose image is beside it",
    ".aae": "the edits of an image beside it",
    ".xmp": "the edits of an image beside it",
}
COMPANIONS = frozenset(WITH_IMAGE.values())


def kind_of_file(name: str, head: Callable[[], bytes]) -> Left | None:
    """The reason why a file is not read as an image; None for an image, whether or not its reader is installed.

    Args:
        name: its last part decides, where its ending is known.
        head: reads the first bytes, where it is not.
    """
    ending = ".nii" if name.lower().endswith(".nii.gz") else suffix(name)
    if ending in EXTENSIONS:
        return None
    if ending in UNREAD:
        return Left("unread", UNREAD[ending])
    kind = recognised(head()) if ending not in BESIDE else ""
    if not kind or kind == "SVG":  # much text is SVG by its beginning
        return NO_IMAGE
    return None if FORMATS[kind].has_reader else Left("unread", kind)


def without_companions(
    entries: Iterable[tuple[PurePosixPath, ImageFile | Left]],
) -> Entries:
    """Mark what accompanies an image of the same name: the video of a Live Photo, the camera's raw file, and lists of edits."""
    entries = list(entries)
    if not any(_as_companion(path, file) for path, file in entries):
        return entries
    images = {
        (path.parent, name.lower())
        for path, file in entries
        if isinstance(file, ImageFile)
        for name in (path.stem, path.name)
    }

    def marked(path: PurePosixPath, file: ImageFile | Left) -> ImageFile | Left:
        why = _as_companion(path, file)
        names = (path.stem.lower(), path.name.lower())  # IMG_1.MOV beside IMG_1.HEIC, IMG_1.MP beside IMG_1.MP.jpg
        return Left("other", why) if why and any((path.parent, name) in images for name in names) else file

    return [(path, marked(path, file)) for path, file in entries]


def _as_companion(path: PurePosixPath, file: ImageFile | Left) -> str:
    """The reason why a file is left alone if an image of its name is beside it; empty where that would be none."""
    if not isinstance(file, Left) or file.kind not in ("unread", "other"):
        return ""
    return WITH_IMAGE.get(file.why if file.kind == "unread" else suffix(path.name), "")


def format_companions(strays: Iterable[tuple[str, str]]) -> str:
    """A note on the files that only accompany an image, which nobody has to move; empty where there are none.

    Args:
        strays: (name, reason) of files that are left alone.
    """
    counts = Counter(why for _, why in strays if why in COMPANIONS)
    if not counts:
        return ""
    several = f"{counts.total():,} files accompany" if counts.total() > 1 else "1 file accompanies"
    reasons = "; ".join(f"{why} ({count:,})" for why, count in counts.items())
    return f"note: {several} an image and {'are' if counts.total() > 1 else 'is'} left alone: {reasons}"


def without_unread(listing: Listing) -> Listing:
    """Take out of a listing what cannot be read here, whatever its name says: formats without a reader, or without an installed one.

    Of more than `LOOKED_AT` files a part is looked at; decoding names the others when it meets them.

    Args:
        listing: its images; those that are taken out are added to its `unread`.
    """
    files = [
        (split, name, file) for split, classes in listing.files.items() for name in classes for file in classes[name]
    ]
    step = max(1, -(-len(files) // LOOKED_AT))
    gone: dict[tuple[str, str], list[ImageFile]] = {}
    for number, (split, name, file) in enumerate(files):
        said = ENDINGS.get(suffix(file.name), "")
        promised = said in FORMATS and not FORMATS[said].is_read_here
        if number % step and not promised:
            continue
        head = file.head(HEAD)
        if kind := unread_kind(head) if head else (said if promised else ""):
            listing.unread.append((file.name, kind))
            gone.setdefault((split, name), []).append(file)
    for (split, name), without in gone.items():
        left = set(map(id, without))
        listing.files[split][name] = [file for file in listing.files[split][name] if id(file) not in left]
    return listing
