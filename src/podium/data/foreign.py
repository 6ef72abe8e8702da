"""Labels in forms that Podium does not read: recognised, so that an error names the form and says what to do instead.

Each of them would otherwise be told to arrange its images in class folders, or have its folders of masks taken for classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from podium.data.image_file import ImageFile
from podium.data.layout import Entries, Left, Listing
from podium.data.names import show
from podium.errors import DataError

HEAD = 4096  # bytes of a file by which its form is recognised
LOOKED_AT = 20  # files of an ending
BOXES = "export them as COCO or YOLO, whose sets with one category an image are read"
TABLE = "or write a table of two columns, file_name and label, and give that"
PICTURES = [
    "images",
    "image",
    "imgs",
    "img",
    "jpegimages",
    "pictures",
    "photos",
    "rgb",
    "originals",
    "original",
    "inputs",
    "input",
    "leftimg8bit",
    "frames",
]
MASKS = [
    "masks",
    "mask",
    "labels",
    "label",
    "annotations",
    "annotation",
    "segmentation",
    "segmentations",
    "segmentationclass",
    "segmentationobject",
    "groundtruth",
    "gt",
    "gtfine",
    "trimaps",
    "trimap",
    "depth",
    "depths",
    "mattes",
    "alpha",
    "instances",
    "semantic",
]


@dataclass(frozen=True)
class Form:
    """A form of labels.

    Args:
        name: as people call it.
        ending: of the names of its files.
        begins: a regular expression for the first bytes of a file.
        fix: what to do instead.
        beside: whether each file lies beside an image of its name.
    """

    name: str
    ending: str
    begins: str
    fix: str
    beside: bool = False


FORMS = (
    Form("annotations of Pascal VOC", ".xml", r"\s*(<\?xml[^>]*>\s*)?<annotation>", f"{BOXES}, {TABLE}"),
    Form("an export of CVAT for images", ".xml", r"\s*(<\?xml[^>]*>\s*)?<annotations>", f"export it as ImageNet, COCO or YOLO, {TABLE}"),
    Form(
        "text files of YOLO (darknet) beside the images", ".txt", r"(\d+( -?\d*\.?\d+){4,}\s*)+",
        "move the images into a folder images and the texts into a folder labels beside it", beside=True,
    ),
    Form("annotations of LabelMe", ".json", r'(?s)\s*\{.*"shapes"\s*:', f"{BOXES}, {TABLE}"),
    Form("annotations of CreateML", ".json", r'(?s)\s*\[\s*\{\s*"image"\s*:.*"annotations"\s*:', f"{BOXES}, {TABLE}"),
    Form("an export of Label Studio", ".json", r'(?s)\s*\[\s*\{.*"(annotations|predictions|choice)"\s*:', "export it as CSV, and give that table"),
    Form("annotations of the VGG Image Annotator", ".json", r'(?s)\s*\{.*"(regions|_via_settings)"\s*:', f"{BOXES}, {TABLE}"),
    Form("annotations of Datumaro", ".json", r'(?s)\s*\{.*"categories"\s*:.*"items"\s*:', f"export them as ImageNet, COCO or YOLO, {TABLE}"),
    Form("a manifest of SageMaker", ".manifest", r'\s*\{.*"source-ref"\s*:', f"download the images, {TABLE}"),
    Form("a spreadsheet", ".xlsx", r"PK", "save it as CSV, and give that table"),
    Form("a spreadsheet", ".ods", r"PK", "save it as CSV, and give that table"),
    Form("a spreadsheet", ".xls", r"", "save it as CSV, and give that table"),
)  # fmt: skip
TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
MASK_NAME = re.compile(
    r"(.+?)[ _.-]?(?:mask|seg|segmentation|gt|groundtruth|label|labels)(?:[ _-]?\d+)?", re.IGNORECASE
)
ARROW = (".arrow", ".feather")
SAVE_PARQUET = (
    "write each split as Parquet, which is read: datasets.load_from_disk('DATA')['train'].to_parquet('train.parquet')"
)


def foreign_labels(entries: Entries, root: Path) -> DataError | None:
    """The error for a folder whose labels stand in a form that is not read; None where none is found.

    Args:
        entries: what lies below the folder.
        root: the folder.
    """
    paths = [path for path, file in entries if isinstance(file, Left) and file.kind == "other"]
    images = {path.with_suffix("") for path, file in entries if isinstance(file, ImageFile) or file.kind == "unread"}
    for form in FORMS:
        likely = [path for path in paths if path.suffix.lower() == form.ending]
        likely = [path for path in likely if path.with_suffix("") in images or not form.beside][:LOOKED_AT]
        found = next((path for path in likely if re.match(form.begins, _head(root / path))), None)
        if found is not None:
            what = f"{show(root)}: the labels seem to stand in {form.name} ({show(str(found))}), which Podium does not read"
            return DataError(what, form.fix)
    return None


def foreign_file(path: Path) -> DataError | None:
    """The error for a file that has labels in a form that is not read; None where none is recognised."""
    if path.suffix.lower() in ARROW:
        return in_arrow(path, path)
    forms = (form for form in FORMS if form.ending == path.suffix.lower())
    form = next((form for form in forms if re.match(form.begins, _head(path))), None)
    return DataError(f"{show(path)}: {form.name}, which Podium does not read", form.fix) if form is not None else None


def arrow_files(entries: Entries, root: Path) -> DataError | None:
    """The error for a data set that Hugging Face's `datasets` has saved to disk; None for others."""
    found = [path for path, _ in entries if path.suffix.lower() in ARROW]
    return in_arrow(root / found[0], root) if found else None


def in_arrow(path: Path, root: Path) -> DataError:
    """The error for a file of Arrow, in which `save_to_disk` writes data sets."""
    what = f"{show(root)}: a data set as Hugging Face's save_to_disk writes it ({show(path.name)}), which is not read"
    return DataError(what, SAVE_PARQUET)


def masks_beside(paths: Iterable[PurePosixPath]) -> tuple[str, str] | None:
    """The names of a folder of pictures and one of their masks that lie beside each other; None where there are none.

    Args:
        paths: of the images below the data.
    """
    pictures: dict[tuple[str, ...], str] = {}
    masks: dict[tuple[str, ...], str] = {}
    for path in paths:
        for depth, part in enumerate(path.parts[:-1]):
            word, above = re.sub(r"[\W_]+", "", part).lower(), path.parts[:depth]
            if word in PICTURES:
                pictures.setdefault(above, part)
            elif word in MASKS:
                masks.setdefault(above, part)
    return next(((pictures[above], masks[above]) for above in pictures if above in masks), None)


def mask_notes(listing: Listing) -> list[str]:
    """A note on images in class folders that are named like masks of others, as benign (1)_mask.png beside benign (1).png."""
    found: list[str] = []
    for classes in listing.files.values():
        for files in classes.values():
            names = {PurePosixPath(file.below).stem: file for file in files}
            masks = ((stem, MASK_NAME.fullmatch(stem)) for stem in names)
            found += [names[stem].below for stem, match in masks if match is not None and match[1] in names]
    if not found:
        return []
    return [
        f"note: {len(found):,} images are named like masks of others ({show(found[0])}); if they are, move them out"
    ]


def segmentation(pair: tuple[str, str], where: str) -> DataError:
    """The error for folders of pictures and masks, which would be taken for classes."""
    picture, mask = map(show, pair)
    what = f"{where}: {picture} and {mask} look like pictures and their masks or labels, which are no classes"
    fix = f"move {mask} out of the data, and put the pictures into class folders; if these are classes, rename the folders"
    return DataError(what, fix)


def table_above(folder: Path) -> Path | None:
    """The one table beside a folder of images, whose labels it may have; None where there is none, or several."""
    try:
        beside = [entry for entry in folder.absolute().parent.iterdir() if entry.suffix.lower() in TABLES]
    except OSError:
        return None
    return beside[0] if len(beside) == 1 and beside[0].is_file() else None


def _head(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(HEAD).decode(errors="replace").removeprefix("\ufeff")
    except OSError:
        return ""
