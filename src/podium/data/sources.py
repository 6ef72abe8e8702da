"""What a person names, recognised and read: a named set, a folder, an archive."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from podium.data import arrays
from podium.data.dataset import SPLITS, Dataset, ImageFile, Split, show
from podium.data.decode import RESIZES, decode
from podium.data.folders import ARCHIVES, LAYOUT, Listing, list_path, look_alike
from podium.data.pack import is_pack, read_pack
from podium.data.shards import is_shards, list_shards
from podium.errors import DataError, UsageError, closest

NAMED = {
    "mnist": "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte",
    "fashion-mnist": "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte",
    "cifar10": "data_batch_1 ... data_batch_5, test_batch, batches.meta",
    "cifar100": "train, test, meta",
}
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PHOTO_SIZE, PHOTO_CROP = 224, 0.875
HELD_OUT = 0.2  # of the training images, where a set has no images to judge by
TOLERATED = 0.01  # share of bad images that on_bad="skip" leaves out; one is always tolerated


def load_data(
    source: str | Path,
    *,
    val: float | None = None,
    seed: int = 0,
    resize: str = "crop",
    on_bad: str = "error",
    channels: int | None = None,
) -> Dataset:
    """Read a data set.

    Args:
        source: "digits"; "mnist", "fashion-mnist", "cifar10" or "cifar100", looked for here and in $PODIUM_DATA; a folder or archive
            of class folders, with or without train, val and test; a folder of IDX files or of CIFAR's batches; a pack; shards, in a folder
            or at a URL of fsspec's.
        val: fraction of the training images held out, seeded and stratified; None: a fifth where nothing else is there to
            judge by, else none.
        seed: of that choice.
        resize: how an image becomes square: "crop", "pad" or "stretch".
        on_bad: "error": an unreadable image is an error when it is met; "skip": all are decoded once now, and bad ones are
            left out and listed.
        channels: 1 or 3; the set's own if None.

    Raises:
        DataError: not there, empty, one class, or classes that differ between splits; says what to do.
    """
    if channels not in (None, 1, 3):
        raise UsageError(f"channels: {channels}", "give 1 or 3")
    if resize not in RESIZES:
        raise UsageError(f"resize: {resize!r}", f"give {' or '.join(RESIZES)}")
    if val is not None and not 0 <= val < 1:
        raise UsageError(f"val: {val}", "give a fraction from 0 to 1, such as 0.2")
    data = read(source, on_bad)
    if channels is not None and channels != data.channels:
        data = _with_channels(data, channels)
    data = replace(data, resize=resize)
    judged = "val" in data.splits or "test" in data.splits
    share = val if val is not None else (0.0 if judged else HELD_OUT)
    if val and "val" in data.splits:
        raise UsageError(f"val: {val}, but {data.name} has a validation split", "leave val out")
    if share > 0:
        data = _hold_out(data, share, seed)
    if set(data.splits) == {"train"}:
        raise UsageError("val: 0 leaves nothing to judge by", "give a fraction such as 0.2")
    sizes = ", ".join(f"{name} {len(split):,}" for name, split in data.splits.items())
    named = ", ".join(data.classes[:10]) + (", ..." if len(data.classes) > 10 else "")
    return replace(data, notes=(f"{data.name}: {sizes} images; {len(data.classes)} classes: {named}", *data.notes))


def read(source: str | Path, on_bad: str = "error") -> Dataset:
    """A data set as it lies there: nothing is held out. Arguments as of `load_data`."""
    if on_bad not in ("error", "skip"):
        raise UsageError(f"on_bad: {on_bad!r}", "give error or skip")
    data = read_stored(source)
    if data is None:
        data = _photos(source)
    return _without_bad(data) if on_bad == "skip" else data


def read_stored(source: str | Path) -> Dataset | None:
    """A set whose images are pixels already, in memory or in a pack; None if they are files."""
    if is_shards(source):
        return None
    data = read_arrays(str(source))
    return read_pack(path) if data is None and is_pack(path := locate(str(source))) else data


def listed(source: str | Path) -> Listing:
    """The image files of a folder, an archive or shards."""
    return list_shards(source) if is_shards(source) else list_path(locate(str(source)))


def read_arrays(source: str) -> Dataset | None:
    """A set that lies in memory as arrays: digits, IDX, CIFAR; None if it is something else."""
    if source == "digits" and not Path(source).exists():
        return arrays.load_digits()
    path = locate(source)
    if path.is_file():
        if not path.name.lower().endswith(ARCHIVES):
            raise DataError(f"{show(path)}: neither a folder nor an archive ({', '.join(ARCHIVES)})", LAYOUT)
        return arrays.load_cifar_tar(path) if "cifar" in path.name.lower() and ".tar" in path.name.lower() else None
    for folder in (path, *sorted(p for p in _entries(path) if p.is_dir())):
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
        raise DataError(f"{show(path)}: cannot be read ({error.strerror})", "check the folder's permissions") from None


def locate(source: str) -> Path:
    """The path of what a person named: here, or in $PODIUM_DATA.

    Raises:
        DataError: it is in neither.
    """
    path = Path(source)
    if path.exists():
        return path
    if source in NAMED:
        root = os.environ.get("PODIUM_DATA")
        if root and (Path(root) / source).exists():
            return Path(root) / source
        places = f"{Path.cwd() / source}" + (f" and {Path(root) / source}" if root else " ($PODIUM_DATA is not set)")
        raise DataError(f"{source}: not found; looked for {places}", f"put there {NAMED[source]} (plain, .gz or .xz)")
    like = closest(source, ["digits", *NAMED])
    fix = f"give a folder, an archive, or one of digits, {', '.join(NAMED)}" + (f"; {like}" if like else "")
    raise DataError(f"{show(source)}: no such data", fix)


def _photos(source: str | Path) -> Dataset:
    listing, path = listed(source), Path(source)
    problem = explain(listing, str(source))
    if problem:
        raise DataError(*problem)
    classes = listing.classes
    number = {name: index for index, name in enumerate(classes)}
    splits = {}
    for name in ("", *SPLITS):
        if name in listing.files:
            pairs = [(file, number[c]) for c, files in listing.files[name].items() for file in files]
            splits[name or "train"] = Split(
                np.array([label for _, label in pairs], np.int64), files=tuple(f for f, _ in pairs)
            )
    notes = []
    for name, split in splits.items():
        there = set(split.labels.tolist())
        missing = [c for c in classes if number[c] not in there]
        if missing:
            notes.append(f"note: {name} has no images of {', '.join(missing)}")
    if listing.strays:
        notes.append(
            f"note: {len(listing.strays)} files are not images of a class and are left alone (`podium check` lists them)"
        )
    mean, std = IMAGENET
    return Dataset(
        path.name or str(path),
        tuple(classes),
        splits,
        3,
        PHOTO_SIZE,
        None,
        mean,
        std,
        crop_pct=PHOTO_CROP,
        source=str(source),
        notes=tuple(notes),
    )


def explain(listing: Listing, path: Path | str) -> tuple[str, str] | None:
    """What keeps a listing from being a data set, and the mend; None if nothing does."""
    where = show(path)
    train = listing.files.get("train", listing.files.get("", {}))
    counts = {name: len(files) for name, files in train.items()}
    if not any(counts.values()):
        roots = sum(why.startswith("an image outside") for _, why in listing.strays)
        return (
            f"{where}: {roots} images, but none in a class folder" if roots else f"{where}: holds no images"
        ), LAYOUT
    listed = ", ".join(f"{show(name)} {count}" for name, count in list(counts.items())[:20])
    if not all(counts.values()):
        empty = ", ".join(show(name) for name, count in counts.items() if not count)
        return (
            f"{where}: no images of class {empty} (training images: {listed})",
            "add images, or delete the empty folders",
        )
    if len(counts) < 2:
        return f"{where}: one class only ({listed})", "a classifier needs two classes at least; " + LAYOUT
    strange = []
    for split in ("val", "test"):
        for name, files in listing.files.get(split, {}).items():
            if files and name not in train:
                like = look_alike(name, list(train))
                strange.append(f"{split}/{name!r}" + (f" (looks like train/{like!r})" if like else ""))
    if strange:
        what = f"{where}: classes that train does not have: {', '.join(strange[:10])}"
        return what, "rename the folders alike in every split (mind case, spaces at the end, composed letters)"
    return None


def _with_channels(data: Dataset, channels: int) -> Dataset:
    """Grey of colour, or colour of grey, in memory and in the statistics."""
    splits = {}
    for name, split in data.splits.items():
        pixels = split.pixels
        if pixels is not None:
            images = (np.asarray(split.image(i, channels)) for i in range(len(split)))
            pixels = np.stack([image.reshape(*image.shape[:2], channels) for image in images])
        splits[name] = replace(split, pixels=pixels)
    mean, std = ((float(np.mean(values)),) if channels == 1 else tuple(values) * 3 for values in (data.mean, data.std))
    return replace(data, splits=splits, channels=channels, mean=mean, std=std)


def _hold_out(data: Dataset, share: float, seed: int) -> Dataset:
    """Move a share of each class from train to val; at least one image of each stays."""
    train = data.splits["train"]
    draw = np.random.Generator(np.random.PCG64(seed))
    held: list[np.ndarray] = []
    for label in range(len(data.classes)):
        rows = draw.permutation(np.flatnonzero(train.labels == label))
        held.append(rows[: min(max(1, round(share * len(rows))), len(rows) - 1)])
    val = np.sort(np.concatenate(held))
    if len(val) == 0:
        raise DataError(f"{data.name}: too few images to hold any out", "add images, or give val and test folders")
    kept = np.setdiff1d(np.arange(len(train)), val)
    splits = {**data.splits, "train": train.select(kept), "val": train.select(val)}
    ordered = {name: splits[name] for name in SPLITS if name in splits}
    note = f"note: {len(val):,} of {len(train):,} training images are held out for validation (seed {seed}, stratified)"
    return replace(data, splits=ordered, notes=(*data.notes, note))


def _without_bad(data: Dataset) -> Dataset:
    """Decode every file once; leave out, count and list what cannot be read. Nothing is put in its place."""

    def verdict(file: ImageFile) -> str:
        try:
            decode(file.read(), file.name, 3)
        except DataError as error:
            return error.what
        return ""

    splits, skipped, total = {}, [], 0
    for name, split in data.splits.items():
        if split.files is None:
            splits[name] = split
            continue
        with ThreadPoolExecutor(2) as pool:
            verdicts = list(pool.map(verdict, split.files))
        skipped += [(file.name, why) for file, why in zip(split.files, verdicts, strict=True) if why]
        splits[name] = split.select([i for i, why in enumerate(verdicts) if not why])
        total += len(split)
    if len(skipped) > max(1, TOLERATED * total):
        what = f"{data.name}: {len(skipped)} of {total} images cannot be read, more than 1 %: {skipped[0][1]}"
        raise DataError(what, "`podium check` lists them; mend or delete them")
    left = set(splits["train"].labels.tolist())
    if skipped and (gone := [name for label, name in enumerate(data.classes) if label not in left]):
        what = f"{data.name}: no images of class {', '.join(gone)} are left, of what can be read: {skipped[0][1]}"
        raise DataError(what, "mend them, or delete the class's folder in every split")
    notes = (*data.notes, *(f"skipped: {why}" for _, why in skipped))
    return replace(data, splits=splits, skipped=tuple(skipped), notes=notes)
