"""Reading a data set by its name or path: a named set, a folder, an archive, a table, a pack or shards."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np

from podium import imagenet
from podium.calls import public
from podium.data import arrays
from podium.data.archives import ARCHIVES, is_archive
from podium.data.dataset import SPLITS, Dataset, Split
from podium.data.decode import decode
from podium.data.depth import ANY
from podium.data.foreign import foreign_file
from podium.data.groups import folders_are_groups, with_groups
from podium.data.image_columns import cells_of
from podium.data.image_file import SPECIAL, ImageFile
from podium.data.images import ArrayImages, FileImages, Progress
from podium.data.labelled import list_labelled
from podium.data.layout import LAYOUT, Listing
from podium.data.names import hidden, show
from podium.data.opening import MAX_PIXELS, check_max_pixels
from podium.data.pack import is_pack, read_pack
from podium.data.preprocessing import RESIZES, Resize
from podium.data.readers import Readers
from podium.data.reading import FOUND, Reading, ReadingFields, from_keywords
from podium.data.refusals import faulty_rows, notes_on, problem_of
from podium.data.roles import described, with_roles
from podium.data.shards import is_shards, list_shards
from podium.data.table_files import TABLES, is_table
from podium.data.unread import without_unread
from podium.errors import DataError, UsageError, closest

NAMED = {
    "mnist": "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte",
    "fashion-mnist": "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte",
    "cifar10": "data_batch_1 ... data_batch_5, test_batch, batches.meta",
    "cifar100": "train, test, meta",
}
FROM = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "fashion-mnist": "https://github.com/zalandoresearch/fashion-mnist",
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar.html",
    "cifar100": "https://www.cs.toronto.edu/~kriz/cifar.html",
}
PHOTO_SIZE, PHOTO_CROP = 224, 0.875
LIKE = 0.7  # how alike two names are, from 0 to 1, for one to be suggested
TOLERATED = 0.01  # the largest share of unreadable images that on_bad="skip" leaves out; one image is always tolerated


@public
def load_data(
    source: str | Path,
    *,
    val: float | None = None,
    test: float | None = None,
    seed: int = 0,
    resize: Resize = "crop",
    on_bad: Literal["error", "skip"] = "error",
    channels: int | None = None,
    max_pixels: int = MAX_PIXELS,
    group_from: str | None = None,
    group_column: str | None = None,
    progress: Progress | None = None,
    **reading: Unpack[ReadingFields],
) -> Dataset:
    """Read a data set, and hold out validation images where it has none.

    Args:
        source: "digits"; "mnist", "fashion-mnist", "cifar10" or "cifar100", searched for here and in $PODIUM_DATA; a folder or
            archive of class folders, with or without train, val and test; a table of image paths and labels, or a folder that
            holds one; a folder of IDX files or of CIFAR's batches; a pack; shards, in a folder or at a URL that fsspec knows.
        val: the fraction of the training images to hold out, stratified; None: a fifth where the set has no other images to
            evaluate on, else none.
        test: the fraction of the training images to hold out before those, stratified, to report on once after all choices;
            None: none.
        seed: decides which images are held out.
        resize: how an image becomes square: "crop", "pad" or "stretch".
        on_bad: "error": an unreadable image is an error when it is read; "skip": all images are decoded once now, and
            unreadable ones are left out and listed.
        channels: 1 or 3; None: the set's own.
        max_pixels: the largest width times height of an image that is opened; a larger one is unreadable.
        group_from: a regular expression whose group finds in an image's path the patient, video or burst that it belongs to;
            images of one are never in two splits.
        group_column: the name of a column that has it.
        progress: called with (files read, files to read) while image files are read for the first time, to find exact copies.
        reading: image_column=, label_column= and split_column=, the columns of a table where they are not found by themselves;
            class_from=, a regular expression whose group is the class in the path of each image.

    Returns:
        The data set.

    Raises:
        DataError: it is missing or empty, has one class only, or its splits have different classes; says what to do.
    """
    for name, share in (("val", val), ("test", test)):
        if share is not None and not 0 <= share < 1:
            raise UsageError(f"{name}: {share}", "give a fraction from 0 to 1, such as 0.2")
    if seed < 0:
        raise UsageError(f"seed: {seed}", "give at least 0")
    how: dict[str, Any] = {"on_bad": on_bad, "max_pixels": max_pixels, "group_from": group_from}
    others = {**how, "group_column": group_column, "val": val, "test": test}
    found = from_keywords("load_data", reading, ["source", "seed", "resize", "channels", "progress", *others])
    stored = load_stored(source, resize=resize, channels=channels, progress=progress, reading=found, **how)
    data = described(with_roles(with_groups(stored, group_from, group_column), val, seed, test=test))
    drawn = {"split_seed": seed} if data.held_out is not None else {}
    return replace(data, loaded_with={**others, **drawn, **vars(found)})


def load_stored(
    source: str | Path,
    *,
    resize: Resize = "crop",
    on_bad: Literal["error", "skip"] = "error",
    channels: int | None = None,
    max_pixels: int = MAX_PIXELS,
    group_from: str | None = None,
    progress: Progress | None = None,
    reading: Reading = FOUND,
) -> Dataset:
    """Read a data set with the splits it was given, and the keys of its images; takes the arguments of `load_data`."""
    if channels not in (None, 1, 3):
        raise UsageError(f"channels: {channels}", "give 1 or 3")
    if resize not in RESIZES:
        raise UsageError(f"resize: {resize!r}", f"give {' or '.join(RESIZES)}")
    data = read(source, on_bad, max_pixels, reading, group_from)
    for split in data.splits.values():
        split.contents(progress)  # of the stored images, before their channels change
    if channels is not None and channels != data.channels:
        data = _with_channels(data, channels)
    return replace(data, resize=resize)


def read(
    source: str | Path,
    on_bad: Literal["error", "skip"] = "error",
    max_pixels: int = MAX_PIXELS,
    reading: Reading = FOUND,
    group_from: str | None = None,
) -> Dataset:
    """Read a data set with the splits it was given; takes the arguments of `load_data`."""
    if on_bad not in ("error", "skip"):
        raise UsageError(f"on_bad: {on_bad!r}", "give error or skip")
    check_max_pixels(max_pixels)
    data = read_stored(source, reading)
    if data is None:
        data = _photos(source, on_bad, max_pixels, reading, group_from)
    return _without_bad(data) if on_bad == "skip" else data


def read_stored(source: str | Path, reading: Reading = FOUND) -> Dataset | None:
    """Read a set whose images are pixels already, as arrays or a pack; None where they are files.

    Raises:
        UsageError: `reading` says where labels stand, and the set has them with its pixels.
    """
    if is_shards(source):
        return None
    data = read_arrays(str(source))
    if data is None and is_pack(path := locate(str(source))):
        data = read_pack(path)
    if data is not None:
        _refuse_reading(source, reading)
    return data


def listed(source: str | Path, reading: Reading = FOUND) -> Listing:
    """List the image files of a folder, an archive, a table or shards; those that cannot be read here are apart, by content."""
    if is_shards(source):
        _refuse_reading(source, reading)
        return without_unread(list_shards(source))
    return without_unread(list_labelled(locate(str(source)), reading))


def _refuse_reading(source: str | Path, reading: Reading) -> None:
    for name, value in reading.given.items():
        what = f"{name}: {value!r}, but {show(str(source))} has its labels with its images"
        raise UsageError(what, f"leave {name} out")


def read_arrays(source: str) -> Dataset | None:
    """Read a set of arrays: the digits, IDX files or CIFAR; None where the source is something else."""
    if source == "digits" and (not Path(source).exists() or _is_output(Path(source))):
        return arrays.load_digits()
    path = locate(source)
    if kind := SPECIAL.get(stat.S_IFMT(path.stat().st_mode)):
        raise DataError(f"{show(path)}: {kind}, not a file", f"give a folder or an archive ({', '.join(ARCHIVES)})")
    if path.is_file():
        if is_table(path):
            return None
        if (error := foreign_file(path)) is not None:
            raise error
        if not is_archive(path):
            kinds = f"({', '.join(ARCHIVES)}) nor a table ({', '.join(TABLES)})"
            raise DataError(f"{show(path)}: neither a folder nor an archive {kinds}", LAYOUT)
        return arrays.load_cifar_tar(path) if "cifar" in path.name.lower() and ".tar" in path.name.lower() else None
    for folder in (path, *sorted(p for p in _entries(path) if os.path.isdir(p))):
        if arrays.is_idx(folder):
            return arrays.load_idx(folder)
        if arrays.which_cifar(folder):
            return arrays.load_cifar(folder)
    found = (arrays.load_cifar_tar(archive) for archive in sorted(path.glob("cifar*.tar*")))
    return next((data for data in found if data is not None), None)


def _entries(path: Path) -> list[Path]:
    try:
        return list(path.iterdir())
    except OSError as error:
        raise _denied(path, error) from None


def _denied(path: Path, error: OSError) -> DataError:
    return DataError(f"{show(path)}: cannot be read ({error.strerror})", "check the folder's permissions")


def locate(source: str) -> Path:
    """Find a data set by its path or name, here or in $PODIUM_DATA.

    Raises:
        DataError: it is in neither place.
    """
    path = Path(source)
    try:
        if path.exists() and not (source in NAMED and _is_output(path)):
            return path
    except PermissionError as error:
        raise _denied(path, error) from None
    if source in NAMED:
        root = os.environ.get("PODIUM_DATA")
        if root and (Path(root) / source).exists():
            return Path(root) / source
        places = f"{Path.cwd() / source}" + (f" and {Path(root) / source}" if root else " ($PODIUM_DATA is not set)")
        fix = f"put there {NAMED[source]} (plain, .gz or .xz), from {FROM[source]}"
        raise DataError(f"{source}: not found; looked for {places}", fix)
    like = closest(source, ["digits", *NAMED, *_beside(path)], cutoff=LIKE)
    fix = f"give a folder, an archive, or one of digits, {', '.join(NAMED)}" + (f"; {like}" if like else "")
    raise DataError(f"{show(source)}: no such data", fix)


def _is_output(path: Path) -> bool:
    """Whether a folder is what a comparison or a training wrote, which may have the name of its data set: `-o digits`."""
    return any((path / name).is_file() for name in ("comparison.yaml", "settings.yaml"))


def _beside(path: Path) -> list[str]:
    """The folders and archives in the folder in which a path was searched for, as a person would type them."""
    try:
        near = [entry for entry in path.parent.iterdir() if entry.is_dir() or entry.name.lower().endswith(ARCHIVES)]
    except OSError:
        return []
    return [show(entry) for entry in near if not hidden(entry.name)]


def _photos(source: str | Path, on_bad: str, max_pixels: int, reading: Reading, group_from: str | None) -> Dataset:
    listing, path = listed(source, reading), Path(source)
    if listing.faults and on_bad == "error":
        raise faulty_rows(listing, str(source))
    if listing.alike and group_from is not None and folders_are_groups(listing.files, group_from):
        listing.problem = None
    problem = problem_of(listing, str(source), on_bad)
    if problem:
        raise DataError(*problem)
    classes = listing.classes
    number = {name: index for index, name in enumerate(classes)}
    splits = {}
    for name in ("", *SPLITS):
        if name in listing.files:
            pairs = [(file, number[c]) for c, files in listing.files[name].items() for file in files]
            images = FileImages((file for file, _ in pairs), max_pixels=max_pixels)
            columns = cells_of(listing.cells.get((name, file.below)) for file, _ in pairs)
            labels = np.array([label for _, label in pairs], np.int64)
            splits[name or "train"] = Split(labels, images, columns=columns)
    mean, std = imagenet.MEAN, imagenet.STD
    return Dataset(
        show(path.name or str(path)),
        tuple(classes),
        splits,
        3,
        PHOTO_SIZE,
        None,
        mean,
        std,
        crop_pct=PHOTO_CROP,
        source=str(source),
        skipped=(
            *((name, f"{name}: {kind}, which cannot be read here") for name, kind in listing.unread),
            *((name, f"{name}: {why}") for name, why in listing.faults),
        ),
        notes=tuple(notes_on(listing, splits, classes, str(source))),
    )


def _with_channels(data: Dataset, channels: int) -> Dataset:
    """Convert arrays and statistics to grey or to colour; files are converted when they are decoded."""
    splits = {}
    for name, split in data.splits.items():
        if split.pixels is not None:
            pixels = np.stack([split.array(i, channels) for i in range(len(split))])
            split = replace(split, images=ArrayImages(pixels))
        splits[name] = split
    mean, std = ((float(np.mean(values)),) if channels == 1 else tuple(values) * 3 for values in (data.mean, data.std))
    return replace(data, splits=splits, channels=channels, mean=mean, std=std)


def _without_bad(data: Dataset) -> Dataset:
    """Decode every file once; leave out, count and list those that cannot be read."""

    def fault(file: ImageFile) -> str:
        try:
            decode(file.read(), file.name, 3, white=ANY, max_pixels=data.max_pixels)
        except DataError as error:
            return error.what
        return ""

    splits, skipped, total = {}, list(data.skipped), len(data.skipped)
    for name, split in data.splits.items():
        if split.files is None:
            splits[name] = split
            continue
        with Readers(2) as pool:
            faults = list(pool.map(fault, split.files))
        skipped += [(file.name, why) for file, why in zip(split.files, faults, strict=True) if why]
        splits[name] = split.select([i for i, why in enumerate(faults) if not why])
        total += len(split)
    if len(skipped) > max(1, TOLERATED * total):
        bad = len(skipped)
        enough = next(k for k in range(bad) if bad - k <= max(1, TOLERATED * (total - k)))
        what = f"{data.name}: {len(skipped)} of {total} images cannot be read, more than 1 %: {skipped[0][1]}"
        first = ", ".join(show(name) for name, _ in skipped[:5]) + (", ..." if len(skipped) > 5 else "")
        fix = f"delete or replace {enough} or more of them: {first} (`podium check {data.source}` lists all)"
        raise DataError(what, fix)
    for name, split in splits.items():
        if len(split) == 0:
            what = f"{data.name}: no {name} image can be read: {skipped[0][1]}"
            raise DataError(what, f"replace them, or take the {name} folder away")
    left = set(splits["train"].labels.tolist()) if "train" in splits else set(range(len(data.classes)))
    if skipped and (gone := [name for label, name in enumerate(data.classes) if label not in left]):
        what = f"{data.name}: no images of class {', '.join(gone)} are left, of what can be read: {skipped[0][1]}"
        raise DataError(what, "replace them, or delete the class's folder in every split")
    notes = (*data.notes, *(f"skipped: {why}" for _, why in skipped))
    return replace(data, splits=splits, skipped=tuple(skipped), notes=notes)
