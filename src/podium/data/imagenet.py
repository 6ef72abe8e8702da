"""ImageNet as it is downloaded: class folders of WordNet ids, and a flat folder of validation images with their labels in a file.

Two orders of the 1,000 classes are in use. The development kit numbers them from 1 to 1000 (ILSVRC ids: 1 is n02119789, a kit
fox), and its ground truth has these numbers. Frameworks number them from 0 to 999 in the order of sorted WordNet ids (0 is
n01440764, a tench), and Caffe's `val.txt` has those. A label file is read only where its order is known.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from podium.data.image_file import ImageFile
from podium.data.layout import Entries, Left, Listing
from podium.data.names import show
from podium.errors import DataError
from podium.natural import natural

FLAT = re.compile(r"ILSVRC2012_val_(\d{8})\.\w+", re.IGNORECASE)
WORDNET = re.compile(r"n\d{8}")
TRUTH, SOLUTION = "ilsvrc2012_validation_ground_truth.txt", "loc_val_solution.csv"
IDS = "synset_labels.txt"  # how the list of WordNet ids ends that comes with Inception: imagenet_2012_validation_synset_labels.txt
TINY = "val_annotations.txt"
LISTS = ("val.txt", "val_list.txt", "val_map.txt")  # of names and numbers
KIT = "the development kit (ILSVRC2012_devkit_t12, with data/meta.mat and the ground truth), or LOC_val_solution.csv of Kaggle"


def is_imagenet(entries: Entries) -> bool:
    """Whether there are validation images of ImageNet that lie in no class folder."""
    return any(
        isinstance(file, ImageFile) and FLAT.fullmatch(path.name) and not WORDNET.fullmatch(path.parent.name)
        for path, file in entries
    )


def has_labels(entries: Entries) -> bool:
    """Whether a file says what the validation images show."""
    names = [path.name.lower() for path, _ in entries]
    return any(name in (SOLUTION, TRUTH, *LISTS) or name.endswith(IDS) for name in names)


def arrange_imagenet(entries: Entries, root: Path) -> Listing:
    """Sort the images of ImageNet into splits and WordNet ids.

    Args:
        entries: (path below the root, image or reason why it is none).
        root: the folder.

    Returns:
        "train" and "val"; one split "" where the validation images are alone.

    Raises:
        DataError: the labels of the validation images are not there, or the order of their numbers cannot be known.
    """
    listing = Listing()
    flat: list[tuple[int, ImageFile]] = []
    for path, file in sorted(entries, key=lambda entry: natural(str(entry[0]))):
        if isinstance(file, Left):
            if file.kind == "denied":
                listing.denied.append((show(str(path)), file.why))
            continue
        folder, name = path.parent.name, FLAT.fullmatch(path.name)
        if WORDNET.fullmatch(folder):
            split = "val" if name else "train"
            listing.files.setdefault(split, {}).setdefault(folder, []).append(replace(file, below=str(path)))
        elif name:
            flat.append((int(name[1]), replace(file, below=str(path))))
        else:
            listing.strays.append((file.name, "neither in a folder of a WordNet id nor a validation image"))
    labels, note = _labels(entries, root, max(number for number, _ in flat))
    listing.notes.append(note)
    for number, file in flat:
        if number not in labels:
            listing.faults.append((file.name, "no label in that file"))
        else:
            listing.files.setdefault("val", {}).setdefault(labels[number], []).append(file)
    if set(listing.files) == {"val"}:
        listing.files = {"": listing.files["val"]}
    return listing


def tiny_labels(entries: Entries) -> PurePosixPath | None:
    """The file with the labels of Tiny ImageNet's validation images; None where there are no such images."""
    found = next((path for path, _ in entries if path.name == TINY), None)
    flat = (
        path for path, file in entries if isinstance(file, ImageFile) and not any(map(WORDNET.fullmatch, path.parts))
    )
    return found if found is not None and any(found.parent in path.parents for path in flat) else None


def arrange_tiny(entries: Entries, root: Path, labels: PurePosixPath) -> Listing:
    """Sort the images of Tiny ImageNet: train/n01443537/images, and val/images with the file val/val_annotations.txt.

    Args:
        entries: (path below the root, image or reason why it is none).
        root: the folder.
        labels: the file of the validation images' names and WordNet ids.

    Raises:
        DataError: a line of that file is none of a name and a WordNet id.
    """
    listing, known = Listing(), dict[str, str]()
    for number, line in enumerate(_lines(root / labels), 1):
        name, label, *_ = [*line.split(), "", ""]
        if not WORDNET.fullmatch(label):
            raise DataError(f"{show(root / labels)}, line {number}: no image with a WordNet id", "download it again")
        known[name] = label
    for path, file in sorted(entries, key=lambda entry: natural(str(entry[0]))):
        if isinstance(file, Left):
            if file.kind == "denied":
                listing.denied.append((show(str(path)), file.why))
            continue
        folder = next(filter(WORDNET.fullmatch, path.parts), None)
        evaluates = labels.parent in path.parents
        wnid = folder or (known.get(path.name) if evaluates else None)
        if wnid is not None:
            split = "val" if evaluates else "train"
            listing.files.setdefault(split, {}).setdefault(wnid, []).append(replace(file, below=str(path)))
        elif evaluates:
            listing.faults.append((file.name, f"no label in {labels.name}"))
        else:
            listing.strays.append((file.name, "neither in a folder of a WordNet id nor a validation image"))
    listing.notes.append(f"note: labels of the validation images are those of {show(root / labels)}")
    if set(listing.files) == {"val"}:
        listing.files = {"": listing.files["val"]}
    return listing


def _labels(entries: Entries, root: Path, most: int) -> tuple[dict[int, str], str]:
    """The WordNet id of each validation image by its number, and a note on where it comes from.

    Args:
        entries: what lies below the root.
        root: the folder.
        most: the largest number of a validation image.
    """
    files = {path.name.lower(): root / path for path, file in reversed(entries) if isinstance(file, Left)}
    if SOLUTION in files:
        return _solution(files[SOLUTION]), f"note: labels of the validation images are those of {show(files[SOLUTION])}"
    if TRUTH in files:
        numbers = _numbers(files[TRUTH])
        if len(numbers) < most:
            what = f"{show(files[TRUTH])}: {len(numbers):,} lines, but there is a validation image {most:,}"
            raise DataError(what, "download it again")
        return _of_kit(files, files[TRUTH], dict(enumerate(numbers, 1)))
    if (ids := next((files[name] for name in sorted(files) if name.endswith(IDS)), None)) is not None:
        lines = _lines(ids)
        odd = next((number for number, line in enumerate(lines, 1) if not WORDNET.fullmatch(line)), None)
        if odd is not None or len(lines) < most:
            why = f", line {odd}: no WordNet id" if odd is not None else f": {len(lines):,} lines for {most:,} images"
            raise DataError(f"{show(ids)}{why}", "download it again")
        return dict(enumerate(lines, 1)), f"note: labels of the validation images are those of {show(ids)}"
    if (listed := next((files[name] for name in LISTS if name in files), None)) is not None:
        return _of_list(files, listed, entries)
    what = f"{show(root)}: the validation images of ImageNet lie in no class folders, and no file has their labels"
    raise DataError(what, f"put beside them {KIT}")


def _of_kit(files: dict[str, Path], truth: Path, numbers: dict[int, int]) -> tuple[dict[int, str], str]:
    """Labels by the numbers of the ground truth, which are ILSVRC ids."""
    low, high = min(numbers.values()), max(numbers.values())
    if low < 1:
        what = f"{show(truth)}: numbers from {low} to {high}, but ILSVRC ids begin at 1: their order cannot be known"
        raise DataError(what, f"put beside the images {KIT}")
    ids, where = _ilsvrc_ids(files, high)
    if ids is None:
        sorted_lists = ", ".join(show(path) for path in where)
        what = f"{show(truth)}: has ILSVRC ids, and nothing beside it says which WordNet ids these are"
        if where:
            what = f"{show(truth)}: has ILSVRC ids, and {sorted_lists} is in the order of WordNet ids, which is another"
        raise DataError(what, "put the development kit's data/meta.mat beside it, or LOC_val_solution.csv of Kaggle")
    unknown = sorted(set(numbers.values()) - ids.keys())
    if unknown:
        raise DataError(
            f"{show(where[0])}: has no class {unknown[0]}, which {show(truth)} names", "download both again"
        )
    note = f"note: the ground truth has ILSVRC ids (1 is {ids.get(1, '?')}); their WordNet ids are those of {show(where[0])}"
    return {number: ids[label] for number, label in numbers.items()}, note


def _ilsvrc_ids(files: dict[str, Path], most: int) -> tuple[dict[int, str] | None, list[Path]]:
    """ILSVRC id -> WordNet id, and the file that says so; None, and the files that have another order, where none does."""
    other: list[Path] = []
    if "meta.mat" in files:
        return _meta(files["meta.mat"]), [files["meta.mat"]]
    for name, path in sorted(files.items()):
        if not name.endswith((".txt", ".csv")) or name == TRUTH:
            continue
        pairs, plain = _pairs(path), _wordnet_lines(path)
        if len(pairs) >= most:
            in_order = [pairs[number] for number in sorted(pairs)]
            if min(pairs) == 1 and in_order != sorted(in_order):
                return pairs, [path]
            other.append(path)
        elif len(plain) >= most:
            if plain != sorted(plain):
                return dict(enumerate(plain, 1)), [path]
            other.append(path)
    return None, other


def _of_list(files: dict[str, Path], listed: Path, entries: Entries) -> tuple[dict[int, str], str]:
    """Labels by Caffe's list of names and numbers, which count sorted WordNet ids from 0."""
    found: dict[int, str] = {}
    for number, line in enumerate(_lines(listed), 1):
        name, _, label = line.rpartition(" ")
        match = FLAT.fullmatch(name.strip().rsplit("/", 1)[-1])
        if match is None or not (label.isdigit() or WORDNET.fullmatch(label)):
            raise DataError(
                f"{show(listed)}, line {number}: {line!r} is no validation image with its label",
                f"put beside them {KIT}",
            )
        found[int(match[1])] = label
    if all(WORDNET.fullmatch(label) for label in found.values()):
        return found, f"note: labels of the validation images are those of {show(listed)}"
    numbers = {number: int(label) for number, label in found.items()}
    low, high = min(numbers.values()), max(numbers.values())
    folders = sorted({part for path, _ in entries for part in path.parts if WORDNET.fullmatch(part)})
    lists = [lines for name, path in files.items() if name.endswith(".txt") and (lines := _wordnet_lines(path))]
    orders = [order for order in (*lists, folders) if order == sorted(order) and len(order) > high]
    if low > 0 or not orders:
        what = f"{show(listed)}: numbers from {low} to {high}, and nothing says which WordNet ids these are"
        raise DataError(what, f"put beside it synset_words.txt for numbers from 0 to 999, or {KIT}")
    note = f"note: {show(listed)} counts sorted WordNet ids from 0 (0 is {orders[0][0]})"
    return {number: orders[0][label] for number, label in numbers.items()}, note


def _solution(path: Path) -> dict[int, str]:
    """Labels by Kaggle's LOC_val_solution.csv, whose cells are a WordNet id and a box, or several of them."""
    labels = {}
    for number, row in enumerate(csv.DictReader(_lines(path)), 2):
        match = FLAT.fullmatch(f"{row.get('ImageId')}.JPEG")
        label = (row.get("PredictionString") or "").split(" ")[0]
        if match is None or not WORDNET.fullmatch(label):
            raise DataError(f"{show(path)}, line {number}: no validation image with a WordNet id", "download it again")
        labels[int(match[1])] = label
    return labels


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{show(path)}: cannot be read ({error})", "download it again") from None


def _numbers(path: Path) -> list[int]:
    lines = _lines(path)
    odd = next((number for number, line in enumerate(lines, 1) if not line.isdigit()), None)
    if odd is not None or not lines:
        raise DataError(f"{show(path)}, line {odd or 1}: not a number", "download it again")
    return [int(line) for line in lines]


def _pairs(path: Path) -> dict[int, str]:
    """Number -> WordNet id of a file whose lines have both, as map_clsloc.txt ("n02119789 1 kit_fox"); else empty."""
    pairs: dict[int, str] = {}
    for line in _first_words(path):
        ids = [word for word in line if WORDNET.fullmatch(word)]
        numbers = [word for word in line if word.isdigit()]
        if len(ids) != 1 or len(numbers) != 1:
            return {}
        pairs[int(numbers[0])] = ids[0]
    return pairs


def _wordnet_lines(path: Path) -> list[str]:
    """The WordNet ids with which all lines of a file begin, as synset_words.txt; else empty."""
    ids = [line[0] for line in _first_words(path)]
    return ids if ids and all(map(WORDNET.fullmatch, ids)) and len(set(ids)) == len(ids) else []


def _first_words(path: Path) -> Iterator[list[str]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for line in file:
                if words := re.split(r"[\s,]+", line.strip())[:2]:
                    if not any(map(WORDNET.fullmatch, words)):
                        return
                    yield words
    except (OSError, UnicodeDecodeError):
        return


def _meta(path: Path) -> dict[int, str]:
    """ILSVRC id -> WordNet id, by the development kit's meta.mat."""
    from scipy.io import loadmat

    try:
        synsets = loadmat(path, squeeze_me=True)["synsets"]
        return {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets}
    except MemoryError:
        raise
    except Exception as error:  # a damaged file makes scipy raise anything
        what = f"{show(path)}: cannot be read ({type(error).__name__}: {error})"
        raise DataError(what, "download the development kit again") from None
