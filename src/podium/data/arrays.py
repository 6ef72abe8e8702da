"""Data sets that are read into memory as arrays: the digits, IDX files (MNIST, Fashion-MNIST) and CIFAR's Python batches."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import math
import os
import pickle  # only for the restricted Unpickler below
import threading
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from podium.data.archives import opened_tar
from podium.data.dataset import Dataset, Split
from podium.data.images import ArrayImages
from podium.data.names import show
from podium.data.readers import Readers
from podium.errors import DataError
from podium.platform import memory_limited

PICKLE_SPARE, PICKLE_COPIES = 1 << 30, 8  # bytes of memory that a pickle may take, and how often its own size
_limiting = threading.Lock()  # the limit is that of the process: of two at a time one would be left behind
DIGITS = tuple("0123456789")
FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
# The two sets are recognised by the start of the SHA-256 of all training labels and the first 1,000 training images.
MNIST, FASHION_MNIST = "908913994ec35a5c", "74ee24ac06f9c9b9"
READERS: dict[
    str, tuple[bytes, Callable[[bytes], bytes]]
] = {  # ending -> how the content begins, and the function that unpacks it
    "": (b"", bytes),
    ".gz": (b"\x1f\x8b", gzip.decompress),
    ".xz": (b"\xfd7zXZ\0", lzma.decompress),
}


def load_digits() -> Dataset:
    """Load the 1,797 handwritten digits that scikit-learn has, enlarged from 8x8 to 32x32; one image in five is a test image."""
    from sklearn.datasets import load_digits as load
    from sklearn.model_selection import train_test_split

    raw = load()
    grey = (raw.images * (255 / 16)).round().astype(np.uint8)
    pixels = np.stack([np.asarray(Image.fromarray(g).resize((32, 32), Image.Resampling.BILINEAR)) for g in grey])[
        ..., None
    ]
    labels = raw.target.astype(np.int64)
    train, test = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0)
    splits = {name: Split(labels[rows], ArrayImages(pixels[rows])) for name, rows in (("train", train), ("test", test))}
    mean, std = float(pixels[train].mean() / 255), float(pixels[train].std() / 255)
    return Dataset("digits", DIGITS, splits, 1, 32, False, (mean,), (std,), source="digits")


def find_file(folder: Path, stem: str) -> Path | None:
    """Find a file of this name, plain, .gz or .xz; None where there is none."""
    return next((folder / (stem + end) for end in READERS if os.path.isfile(folder / (stem + end))), None)


def _unpacked(path: Path) -> bytes:
    try:
        content = path.read_bytes()  # the content decides: browsers unpack files and keep their names
        unpack = next((unpack for start, unpack in READERS.values() if start and content.startswith(start)), bytes)
        return unpack(content)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{show(path)}: cannot be unpacked ({error})", "download it again") from None


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of bytes: two zeros, type 8, the number of dimensions, each dimension as a big-endian integer, the data."""
    data = _unpacked(path)
    if len(data) < 4 or data[:3] != b"\0\0\x08" or not 1 <= data[3] <= 4 or len(data) < 4 + 4 * data[3]:
        raise DataError(f"{show(path)}: not an IDX file of bytes", "download it again")
    shape = np.frombuffer(data, ">u4", data[3], 4).astype(int)
    start = 4 + 4 * data[3]
    if len(data) - start != math.prod(shape.tolist()):
        what = f"{show(path)}: truncated or too long ({len(data) - start:,} bytes for {' x '.join(map(str, shape))})"
        raise DataError(what, "download it again")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def is_idx(folder: Path) -> bool:
    """Whether a folder holds some of MNIST's four files, or files named like EMNIST's."""
    return find_file(folder, "train-images-idx3-ubyte") is not None or bool(_prefixes(folder))


def _prefixes(folder: Path) -> list[str]:
    """The prefixes before MNIST's names in a folder, such as "emnist-letters-"."""
    stem = "train-images-idx3-ubyte"
    names = (
        path.name.removesuffix(path.suffix) if path.suffix in READERS else path.name
        for path in folder.glob(f"*-{stem}*")
    )
    return sorted({name.removesuffix(stem) for name in names if name.endswith(stem)})


def load_idx(folder: Path) -> Dataset:
    """Load MNIST, Fashion-MNIST, or any set in their format."""
    splits, before, test = {}, "", "t10k"
    if find_file(folder, "train-images-idx3-ubyte") is None and (several := _prefixes(folder)):
        before, test = several[0], "test"
        if len(several) > 1:
            what = f"{show(folder)}: several sets ({', '.join(show(name.rstrip('-')) for name in several)})"
            raise DataError(what, "put the four files of the one that is meant into a folder of its own")
    for name, prefix in (("train", f"{before}train"), ("test", f"{before}{test}")):
        paths = [find_file(folder, f"{prefix}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1")]
        if paths[0] is None or paths[1] is None:
            raise DataError(
                f"{show(folder)}: {prefix}-images-idx3-ubyte or {prefix}-labels-idx1-ubyte is missing",
                "put it there, plain, .gz or .xz",
            )
        images, labels = read_idx(paths[0]), read_idx(paths[1]).astype(np.int64)
        if images.ndim != 3 or labels.ndim != 1 or not 0 < len(images) == len(labels):
            shapes = (" x ".join(map(str, array.shape)) for array in (images, labels))
            what = "{}: {} images for {} labels".format(show(paths[0]), *shapes)
            raise DataError(what, "download both again")
        splits[name] = Split(labels, ArrayImages(images[..., None]))
    digest = _digest(splits)
    if digest == MNIST:
        return Dataset("MNIST", DIGITS, splits, 1, 28, False, (0.13066,), (0.30811,), source=str(folder))
    if digest == FASHION_MNIST:
        return Dataset("Fashion-MNIST", FASHION, splits, 1, 28, True, (0.28604,), (0.35302,), source=str(folder))
    return _other_set(folder, splits, before.rstrip("-"))


def _digest(splits: dict[str, Split]) -> str:
    """The digest by which MNIST and Fashion-MNIST are recognised; empty for a set of another shape."""
    train, pixels = splits["train"], splits["train"].pixels
    if (len(train), len(splits["test"])) != (60_000, 10_000) or pixels is None or pixels.shape[1:] != (28, 28, 1):
        return ""
    return hashlib.sha256(train.labels.astype(np.uint8).tobytes() + pixels[:1000].tobytes()).hexdigest()[:16]


def _other_set(folder: Path, splits: dict[str, Split], name: str) -> Dataset:
    """Another set in MNIST's format: named after its files or folder, with numbers as classes and its own statistics."""
    labels = np.concatenate([split.labels for split in splits.values()])
    first, numbers = int(labels.min()), range(int(labels.min()), int(labels.max()) + 1)
    there = np.unique(splits["train"].labels)
    if len(there) < 2:
        what = f"{show(folder)}: one class only among the training images ({there[0]})"
        raise DataError(what, "a classifier needs two classes at least")
    splits = {name: replace(split, labels=split.labels - first) for name, split in splits.items()}
    missing = sorted(set(numbers) - set(there.tolist()))
    notes = (f"note: train has no images of {', '.join(map(str, missing))}",) if missing else ()
    pixels = np.asarray(splits["train"].pixels)
    mean, std = float(pixels.mean() / 255), max(float(pixels.std() / 255), 1 / 255)
    path = folder.resolve()
    name = name or show((path.parent if path.name == "raw" else path).name)  # torchvision's folders: KMNIST/raw
    classes = tuple(map(str, numbers))
    return Dataset(name, classes, splits, 1, pixels.shape[1], None, (mean,), (std,), source=str(folder), notes=notes)


class _Restricted(pickle.Unpickler):
    """Unpickles dicts, lists, bytes and numpy arrays, as CIFAR's batches hold, and refuses everything that could run code."""

    ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype", "scalar"})

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "numpy" and name in self.ALLOWED:
            if name in ("ndarray", "dtype"):
                return getattr(np, name)
            from numpy._core import multiarray

            return getattr(multiarray, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _unpickle(data: bytes, name: str) -> dict[bytes, Any]:
    most = PICKLE_SPARE + PICKLE_COPIES * len(data)
    try:
        with _limiting, memory_limited(most):  # a few bytes can ask for any amount
            content = _Restricted(io.BytesIO(data), encoding="bytes").load()
    except MemoryError:
        what = f"{name}: asks for more than {most / 1e9:.1f} GB of memory, with {len(data):,} bytes"
        raise DataError(what, "download it again from its own page") from None
    except Exception as error:  # a hostile pickle can raise anything
        raise DataError(f"{name}: not a batch of CIFAR ({error})", "download it again from its own page") from None
    if not isinstance(content, dict):
        raise DataError(f"{name}: not a batch of CIFAR", "download it again from its own page")
    return content


CIFAR = {
    "CIFAR-10": ([f"data_batch_{n}" for n in range(1, 6)], "test_batch", "batches.meta", b"labels", b"label_names"),
    "CIFAR-100": (["train"], "test", "meta", b"fine_labels", b"fine_label_names"),
}
STATISTICS = {
    "CIFAR-10": ((0.49140, 0.48216, 0.44653), (0.24703, 0.24349, 0.26159)),
    "CIFAR-100": ((0.50707, 0.48655, 0.44092), (0.26733, 0.25644, 0.27615)),
}


def which_cifar(folder: Path) -> str | None:
    """The name of the CIFAR whose Python batches a folder holds; None where it holds neither."""
    for name, (train, test, meta, _, _) in CIFAR.items():
        if all(find_file(folder, stem) is not None for stem in (train[0], test, meta)):
            return name
    return None


def load_cifar(folder: Path) -> Dataset:
    """Load CIFAR-10 or CIFAR-100 from Python batches in a folder, plain, .gz or .xz."""
    name = which_cifar(folder) or "CIFAR-10"

    def read(stem: str) -> tuple[bytes, str]:
        path = find_file(folder, stem)
        if path is None:
            raise DataError(f"{show(folder / stem)}: missing", "put it there, plain, .gz or .xz")
        return _unpacked(path), show(path)

    return _cifar(name, read, str(folder))


def load_cifar_tar(path: Path) -> Dataset | None:
    """Load CIFAR-10 or CIFAR-100 from its tar, in memory; None where the tar holds neither."""
    wanted = {stem for train, test, meta, _, _ in CIFAR.values() for stem in (*train, test, meta)}
    found: dict[str, bytes] = {}
    with opened_tar(path) as archive:
        for member in archive:
            stem = member.name.rsplit("/", 1)[-1]
            if "cifar" in member.name and stem in wanted and member.isfile():
                file = archive.extractfile(member)
                found[stem] = file.read() if file is not None else b""
    for name, (train, test, meta, _, _) in CIFAR.items():
        if all(stem in found for stem in (*train, test, meta)):
            return _cifar(name, lambda stem: (found[stem], f"{show(path)}!{stem}"), str(path))
    return None


def _cifar(name: str, read: Callable[[str], tuple[bytes, str]], source: str) -> Dataset:
    train, test, meta, label_key, names_key = CIFAR[name]
    content, where = read(meta)
    try:
        classes = tuple(n.decode() for n in _unpickle(content, where)[names_key])
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{where}: not the class names of {name} ({error!r})", "download it again") from None
    splits = {}
    for split, stems in (("train", train), ("test", [test])):
        with Readers(2) as pool:  # unpacking releases the interpreter's lock
            batches = [_batch(*unpacked, label_key, len(classes)) for unpacked in pool.map(read, stems)]
        pixels, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        splits[split] = Split(labels, ArrayImages(pixels))
    mean, std = STATISTICS[name]
    return Dataset(name, classes, splits, 3, 32, True, mean, std, source=source)


def _batch(content: bytes, where: str, label_key: bytes, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 32, 32, 3) uint8 and labels (N,) of one batch, whose rows hold a red, a green and a blue plane."""
    batch = _unpickle(content, where)
    try:
        rows, labels = np.asarray(batch[b"data"]), np.asarray(batch[label_key]).astype(np.int64)
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{where}: not a batch of CIFAR ({error!r})", "download it again") from None
    if rows.dtype != np.uint8 or rows.shape != (len(labels), 3072) or not ((labels >= 0) & (labels < classes)).all():
        what = f"{where}: {rows.dtype} pixels of shape {rows.shape}, {len(labels)} labels, {classes} classes"
        raise DataError(f"{what}: not a batch of CIFAR", "download it again")
    return np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels
