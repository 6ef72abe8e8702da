"""Detection data sets of YOLO and COCO, read as classification where every image has objects of exactly one category."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from podium.data.finder import Finder
from podium.data.image_file import ImageFile
from podium.data.layout import Entries, Listing, is_picture
from podium.data.names import first_split, show
from podium.data.rows import Row, arrange_rows, noted_rest
from podium.data.several_labels import several
from podium.errors import DataError

LARGEST = 1 << 30  # bytes of a file of annotations
NOT_LABELS = frozenset({"classes.txt", "labels.txt", "notes.txt", "readme.txt"})


# --- YOLO: images/train/1.jpg with labels/train/1.txt, or train/images/1.jpg with train/labels/1.txt


def is_yolo(entries: Entries) -> bool:
    """Whether text files in folders called labels stand for images in folders called images."""
    names = {path.with_suffix("") for path, file in entries if is_picture(file)}
    return any(_image_of(path) in names for path, _ in entries if _is_label(path))


def _is_label(path: PurePosixPath) -> bool:
    return path.suffix.lower() == ".txt" and "labels" in path.parts[:-1] and path.name.lower() not in NOT_LABELS


def _image_of(label: PurePosixPath) -> PurePosixPath:
    """The image that a label file stands for, without its ending."""
    parts = list(label.with_suffix("").parts)
    last = len(parts) - 1 - parts[::-1].index("labels")
    return PurePosixPath(*parts[:last], "images", *parts[last + 1 :])


def arrange_yolo(entries: Entries, root: Path) -> Listing:
    """Read a detection data set of YOLO as classification.

    Args:
        entries: what lies below the root.
        root: the folder.

    Raises:
        DataError: an image has objects of several categories (multi-label data), or a label file is damaged.
    """
    names = _yolo_names(entries, root)
    labels = {_image_of(path): root / path for path, _ in entries if _is_label(path)}
    pictures = {path: file for path, file in entries if is_picture(file)}
    alone = {path for path in labels.keys() - {path.with_suffix("") for path in pictures} if _has_objects(labels[path])}
    rows = []
    for path in sorted((*pictures, *alone), key=str):
        label, file = labels.get(path if path in alone else path.with_suffix("")), pictures.get(path)
        split = first_split(reversed(path.parts[:-1]))
        found = _yolo_categories(label) if label is not None else {}
        if len(found) > 1:
            line = list(found.values())[1]
            shown = " and ".join(names.get(number, str(number)) for number in list(found)[:2])
            raise several(f"{show(str(label))}, line {line}", f"{path.name} has objects of {shown}")
        category = names.get(number, str(number)) if (number := next(iter(found), None)) is not None else ""
        if isinstance(file, ImageFile):
            rows.append(Row(path.name, category, file.name, split, replace(file, below=str(path))))
        else:  # of a format that is not read, or missing
            rows.append(Row(str(path), category, show(str(label or root / path)), split))
    listing = arrange_rows(rows, Finder(root, [root], entries))
    listing.notes.append("note: read as the objects of YOLO: each image has one category, and its boxes are not used")
    return listing


def _has_objects(path: Path) -> bool:
    """Whether a text file has objects; those without an image may be notes or lists of files."""
    with contextlib.suppress(DataError):
        return bool(_yolo_categories(path))
    return False


def _yolo_categories(path: Path) -> dict[int, int]:
    """Category -> the line on which it stands first."""
    found: dict[int, int] = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            category = int(words[0])
            [float(word) for word in words[1:]]
        except ValueError:
            category = -1
        if category < 0 or len(words) < 5:
            what = f"{show(path)}, line {number}: {line.strip()[:40]!r} is not a category with a box"
            raise DataError(what, "write: 0 0.5 0.5 0.2 0.2 (category, centre and size)")
        found.setdefault(category, number)
    return found


def _yolo_names(entries: Entries, root: Path) -> dict[int, str]:
    """Number -> name of the categories, by data.yaml or classes.txt; empty where there is neither."""
    import yaml

    paths = [path for path, _ in entries]
    for path in sorted((p for p in paths if p.suffix in (".yaml", ".yml")), key=lambda p: len(p.parts)):
        content: Any = None
        with contextlib.suppress(yaml.YAMLError, RecursionError):
            content = yaml.safe_load(_text(root / path))
        names = content.get("names") if isinstance(content, dict) else None
        if isinstance(names, list):
            return {number: str(name) for number, name in enumerate(names)}
        if isinstance(names, dict):
            return {int(number): str(name) for number, name in names.items() if str(number).isdigit()}
    listed = next((path for path in paths if path.name in ("classes.txt", "obj.names")), None)
    lines = _text(root / listed).splitlines() if listed is not None else []
    return {number: line.strip() for number, line in enumerate(lines) if line.strip()}


# --- COCO: annotations/instances_train2017.json, or _annotations.coco.json beside the images


def coco_files(entries: Entries, root: Path) -> list[PurePosixPath]:
    """The files of annotations in the format of COCO; of several kinds, those of instances."""
    likely = [path for path, _ in entries if path.suffix.lower() == ".json"]
    others = [path for path in likely if path.parent.name == "annotations" or len(path.parts) == 1]
    return coco_named(entries) or [path for path in sorted(others) if _seems_coco(root / path)]


def coco_named(entries: Entries) -> list[PurePosixPath]:
    """The files that are annotations in the format of COCO by their names."""
    likely = [path for path, _ in entries if path.suffix.lower() == ".json"]
    return sorted(path for path in likely if path.name.startswith("instances") or "coco" in path.name.lower())


def _seems_coco(path: Path) -> bool:
    with contextlib.suppress(DataError):
        content = _loaded(path)
        return isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys()
    return False


def arrange_coco(files: list[PurePosixPath], entries: Entries, root: Path) -> Listing:
    """Read a detection data set of COCO as classification.

    Args:
        files: of annotations, one for each split, below the root.
        entries: what lies below the root.
        root: the folder.

    Raises:
        DataError: an image has objects of several categories (multi-label data), or a file is damaged.
    """
    rows: list[Row] = []
    kinds = {path: first_split((*reversed(path.parts[:-1]), path.stem)) for path in files}
    if len(files) > 1 and len(set(kinds.values())) < len(files):
        what = f"{show(root)}: several files of annotations ({', '.join(show(str(path)) for path in files[:5])})"
        raise DataError(what, "keep one for each of train, val and test")
    for path in files:
        split = kinds[path] if len(files) > 1 else ""
        rows += _coco_rows(root / path, split)
    bases = [root, *(root / path.parent for path in files), *(root / kind for kind in ("images", "train", "val"))]
    listing = arrange_rows(rows, Finder(root, bases, entries))
    listing.notes.append("note: read as the objects of COCO: each image has one category, and its boxes are not used")
    return noted_rest(listing, entries, ", ".join(show(path.name) for path in files), root)


def _coco_rows(path: Path, split: str) -> Iterator[Row]:
    content = _loaded(path)
    try:
        names = {each["id"]: str(each["name"]) for each in content["categories"]}
        images = {each["id"]: str(each["file_name"]) for each in content["images"]}
        pairs = [(each["image_id"], each["category_id"]) for each in content["annotations"]]
    except (KeyError, TypeError) as error:
        raise DataError(f"{show(path)}: not annotations of COCO ({error})", "export them again") from None
    found: dict[Any, Any] = {}
    for image, category in pairs:
        if category not in names:
            what = f"{show(path)}: an object of category {category}, which its categories do not name"
            raise DataError(what, "export them again")
        if found.setdefault(image, category) != category:
            shown = f"{names[found[image]]} and {names[category]}"
            raise several(show(path), f"{images.get(image, image)} has objects of {shown}")
    for image, name in images.items():
        category = found.get(image)
        label = "" if category is None else names[category]
        yield Row(name, label, f"{show(path)}, image {image}", split)


def _loaded(path: Path) -> Any:
    try:
        return json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{show(path)}: not JSON ({error})", "export it again") from None


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{show(path)}: larger than 1 GB", "keep the annotations without masks")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{show(path)}: cannot be read ({error})", "check the file and its permissions") from None
