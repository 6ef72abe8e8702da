"""Data sets as they lie on disk: read with the right labels, or refused with the reason and the mend."""

import contextlib
import gzip
import io
import lzma
import os
import pickle
import struct
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from podium.data import arrays
from podium.data.sources import load_data
from podium.errors import DataError, UsageError
from podium.platform import address_limit, memory_limited

DRAW = np.random.Generator(np.random.PCG64(1))


def photo(path, colour=(9, 9, 9), size=(8, 8)):
    """An image file of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, "PNG")
    return path


def tree(root, **splits):
    """Class folders: tree(root, train={"cat": 3}); without split folders: tree(root, all={"cat": 3})."""
    for split, classes in splits.items():
        for number, (name, count) in enumerate(classes.items()):
            folder = root / name if split == "all" else root / split / name
            folder.mkdir(parents=True)
            for n in range(count):
                photo(folder / f"{n}.png", (number, n, sum(map(ord, split)) % 256))
    return root


def tar_of(path, entries, mode="w"):
    """A tar of (name or TarInfo, bytes)."""
    with tarfile.open(path, mode) as archive:
        for name, content in entries:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def image_bytes(colour=(1, 2, 3)):
    out = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(out, "PNG")
    return out.getvalue()


def named(split, classes):
    """Class name -> how many, as a person would count them."""
    return {
        classes[label]: int(count) for label, count in zip(*np.unique(split.labels, return_counts=True), strict=True)
    }


# --- the digits


def test_digits():
    data = load_data("digits")
    assert data.classes == tuple("0123456789")
    assert sum(map(len, data.splits.values())) == 1797
    assert set(data.splits) == {"train", "test"}
    assert len(data.splits["test"]) == 360
    everything = np.concatenate([split.labels for split in data.splits.values()])
    np.testing.assert_array_equal(np.bincount(everything), np.bincount(load_digits().target))
    pixels = data.splits["train"].pixels
    assert pixels.dtype == np.uint8
    assert pixels.shape[1:] == (32, 32, 1)
    assert data.mean[0] == pytest.approx(pixels.mean() / 255)
    assert load_data("digits").fingerprint() == data.fingerprint()


@pytest.mark.parametrize("name", ["comparison.yaml", "settings.yaml"])
def test_a_folder_that_a_comparison_or_a_run_wrote_is_not_the_data_set_of_its_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / name).write_text("data: digits\n")
    assert len(load_data("digits").classes) == 10
    (tmp_path / "digits" / name).rename(tmp_path / "digits" / "other.txt")
    with pytest.raises(DataError):  # a folder of a person's own
        load_data("digits")


# --- IDX


def idx(array):
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def small_idx(tmp_path):
    """The parts of a small MNIST, and a function that writes them."""
    parts = {}
    for prefix, count in (("train", 30), ("t10k", 20)):
        parts[f"{prefix}-images-idx3-ubyte"] = DRAW.integers(0, 256, (count, 28, 28), np.uint8)
        parts[f"{prefix}-labels-idx1-ubyte"] = (np.arange(count) % 10).astype(np.uint8)

    def write(end="", pack=bytes, **changed):
        for name, array in parts.items():
            (tmp_path / (name + end)).write_bytes(pack(idx(array)))
        for name, content in changed.items():
            (tmp_path / (name.replace("_", "-") + end)).write_bytes(pack(content))
        return tmp_path

    return parts, write


@pytest.mark.parametrize(("end", "pack"), [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress)])
def test_idx(small_idx, end, pack):
    parts, write = small_idx
    data = load_data(write(end, pack))
    for split, prefix in (("train", "train"), ("test", "t10k")):
        np.testing.assert_array_equal(data.splits[split].pixels[..., 0], parts[f"{prefix}-images-idx3-ubyte"])
        np.testing.assert_array_equal(data.splits[split].labels, parts[f"{prefix}-labels-idx1-ubyte"])
    assert data.splits["train"].pixels.dtype == np.uint8
    assert data.classes == tuple("0123456789")


@pytest.mark.parametrize(("end", "pack"), [("", gzip.compress), (".gz", bytes), (".gz", lzma.compress)])
def test_idx_is_unpacked_by_content(small_idx, end, pack):
    parts, write = small_idx
    data = load_data(write(end, pack))
    np.testing.assert_array_equal(data.splits["train"].pixels[..., 0], parts["train-images-idx3-ubyte"])


NO_IMAGES = idx(np.zeros((0, 28, 28), np.uint8))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("train_labels_idx1_ubyte", idx(np.zeros(29, np.uint8)), "30 x 28 x 28 images for 29 labels"),
        ("train_images_idx3_ubyte", idx(np.zeros((30, 28, 28), np.uint8))[:-1], "truncated"),
        ("train_images_idx3_ubyte", idx(np.zeros((30, 28, 28), np.uint8)) + b"x", "too long"),
        ("train_images_idx3_ubyte", b"\0\0\x08\x03\0\0", "not an IDX file"),
        ("train_images_idx3_ubyte", b"\0\0\x08\x03" + b"\xff" * 12, "truncated"),
        ("train_images_idx3_ubyte", b"<html>", "not an IDX file"),
        ("train_images_idx3_ubyte", b"", "not an IDX file"),
        ("train_images_idx3_ubyte", NO_IMAGES, "0 x 28 x 28 images"),
        ("train_labels_idx1_ubyte", idx(np.zeros((30, 1), np.uint8)), "30 x 1 labels"),
    ],
)
def test_a_faulty_idx_file_is_named(small_idx, name, content, says):
    _, write = small_idx
    with pytest.raises(DataError, match=f"train-(images|labels)-idx._ubyte: .*{says}".replace("_", "-")):
        load_data(write(**{name: content}))


def test_an_empty_idx_set_is_an_error(small_idx):
    _, write = small_idx
    with pytest.raises(DataError, match="0 x 28 x 28 images for 0 labels"):
        load_data(write(train_images_idx3_ubyte=NO_IMAGES, train_labels_idx1_ubyte=idx(np.zeros(0, np.uint8))))


def test_a_cut_gz_is_named(small_idx):
    _, write = small_idx
    folder = write(".gz", gzip.compress)
    file = folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: cannot be unpacked"):
        load_data(folder)


@pytest.mark.parametrize(
    ("name", "mean", "std", "first", "train_counts"),
    [
        (
            "mnist",
            0.13066,
            0.30811,
            [5, 0, 4, 1, 9, 2, 1, 3, 1, 4],
            [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        ),
        ("fashion-mnist", 0.28604, 0.35302, [9, 0, 0, 3, 0, 2, 7, 2, 5, 5], [6000] * 10),
    ],
)
def test_the_real_sets(shared, monkeypatch, name, mean, std, first, train_counts):
    """Counts and statistics are those of the data's own README."""
    monkeypatch.setenv("PODIUM_DATA", str(shared / "data"))
    data = load_data(name)
    train = data.splits["train"]
    assert train.pixels.shape == (60_000, 28, 28, 1)
    assert len(data.splits["test"]) == 10_000
    assert train.labels[:10].tolist() == first
    assert np.bincount(train.labels).tolist() == train_counts
    assert train.pixels.mean() / 255 == pytest.approx(mean, abs=1e-5)
    assert train.pixels[:10_000].std() / 255 == pytest.approx(std, abs=2e-3)
    assert (data.mean, data.std) == ((mean,), (std,))
    assert data.classes == (tuple("0123456789") if name == "mnist" else data.classes)
    assert (data.classes[9] == "Ankle boot") is (name == "fashion-mnist")


# --- CIFAR

RED_PLANE_FIRST = DRAW.integers(0, 256, (6, 3072), np.uint8)  # as CIFAR has it: 1024 red, 1024 green, 1024 blue
LAYOUTS = {
    10: ("cifar-10-batches-py", [f"data_batch_{n}" for n in range(1, 6)], "test_batch", "batches.meta"),
    100: ("cifar-100-python", ["train"], "test", "meta"),
}


def cifar_parts(kind, **changed):
    """Name -> bytes of a CIFAR of two images a batch, pickled with keys of bytes as the original has them."""
    _, train, test, meta = LAYOUTS[kind]
    key, names = (b"labels", b"label_names") if kind == 10 else (b"fine_labels", b"fine_label_names")
    batch = {b"data": RED_PLANE_FIRST[:2], key: [3, kind - 1], b"batch_label": b"batch", **changed}
    other = {**batch, b"data": changed.get(b"data", RED_PLANE_FIRST[2:4])}  # no test image is a training image
    parts = {stem: pickle.dumps(other if stem == test else batch, protocol=4) for stem in (*train, test)}
    return parts | {meta: pickle.dumps({names: [b"class %d" % n for n in range(kind)]}, protocol=4)}


def is_cifar(data, kind):
    train = data.splits["train"]
    assert len(train) == 2 * len(LAYOUTS[kind][1])
    assert len(data.splits["test"]) == 2
    assert train.labels[:2].tolist() == [3, kind - 1]
    assert data.classes[3] == "class 3"
    assert len(data.classes) == kind
    assert train.pixels.dtype == np.uint8
    red, green, blue = RED_PLANE_FIRST[1].reshape(3, 32, 32)  # row by row
    np.testing.assert_array_equal(train.pixels[1], np.stack([red, green, blue], -1))


@pytest.mark.parametrize(("end", "pack"), [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress)])
@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.parametrize("inside", [True, False])
def test_cifar_batches(tmp_path, kind, end, pack, inside):
    folder = tmp_path / LAYOUTS[kind][0] if inside else tmp_path
    folder.mkdir(exist_ok=True)
    for stem, content in cifar_parts(kind).items():
        (folder / (stem + end)).write_bytes(pack(content))
    is_cifar(load_data(tmp_path), kind)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
@pytest.mark.parametrize("kind", LAYOUTS)
def test_cifar_in_a_tar(tmp_path, kind, mode):
    end = ".tar" + mode[1:].replace(":", ".")
    path = tmp_path / f"cifar-{kind}-python{end}"
    tar_of(path, [(f"{LAYOUTS[kind][0]}/{stem}", c) for stem, c in cifar_parts(kind).items()], mode)
    is_cifar(load_data(path), kind)
    is_cifar(load_data(tmp_path), kind)  # and by its folder


class Hostile:
    """Unpickling this makes a file."""

    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return open, (self.canary, "w")


@pytest.mark.parametrize("which", ["data_batch_3", "batches.meta"])
def test_a_hostile_batch_is_refused_and_runs_nothing(tmp_path, which):
    canary = tmp_path / "canary"
    for stem, content in cifar_parts(10).items():
        hostile = pickle.dumps({b"labels": [1, 2], b"data": Hostile(canary)})
        (tmp_path / stem).write_bytes(hostile if stem == which else content)
    with pytest.raises(DataError, match=f"{which}: not a batch of CIFAR .*open"):
        load_data(tmp_path)
    assert not canary.exists()
    pickle.loads(pickle.dumps(Hostile(canary))).close()  # it would have
    assert canary.exists()


@pytest.mark.skipif(
    not Path("/proc/self/statm").is_file(), reason="memory is limited where Linux says how much there is"
)
@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02Nr\xff\xff\xff\x7f.",  # numbers its objects from two milliards
        b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93\x8a\x05\0\0\0\0\x01\x85\x85R.",  # an array of 2^32 numbers
    ],
    ids=["memo", "array"],
)
def test_a_small_batch_gets_no_gigabytes(tmp_path, content):
    for name, good in cifar_parts(10).items():
        (tmp_path / name).write_bytes(content if name == "data_batch_2" else good)
    before = address_limit()
    with pytest.raises(
        DataError, match=rf"data_batch_2: asks for more than 1\.1 GB of memory, with {len(content)} bytes"
    ):
        load_data(tmp_path)
    assert address_limit() == before


def test_threads_that_read_batches_leave_no_limit_of_memory(tmp_path, monkeypatch):
    for name, content in cifar_parts(10).items():
        (tmp_path / name).write_bytes(content)
    before, inside, most = address_limit(), [], []

    @contextlib.contextmanager
    def watched(more):
        with memory_limited(more):
            inside.append(more)
            most.append(len(inside))
            os.sched_yield()
            yield
            inside.pop()

    monkeypatch.setattr("podium.data.arrays.memory_limited", watched)
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(load_data, [tmp_path] * 8))) == 8
    assert set(most) == {1}
    assert address_limit() == before


@pytest.mark.parametrize(
    ("stem", "content"),
    [
        ("data_batch_2", pickle.dumps({b"data": RED_PLANE_FIRST[:2]})),
        ("data_batch_2", pickle.dumps({b"data": RED_PLANE_FIRST[:2], b"labels": [1]})),
        ("data_batch_2", pickle.dumps({b"data": RED_PLANE_FIRST[:2], b"labels": [1, 10]})),
        ("data_batch_2", pickle.dumps({b"data": RED_PLANE_FIRST[:2], b"labels": [1, -1]})),
        ("data_batch_2", pickle.dumps({b"data": RED_PLANE_FIRST[:2, :3000], b"labels": [1, 2]})),
        ("data_batch_2", pickle.dumps({b"data": RED_PLANE_FIRST[:2] / 255, b"labels": [1, 2]})),
        ("data_batch_2", pickle.dumps([1, 2])),
        ("data_batch_2", b"<html>404"),
        ("data_batch_2", b""),
        ("batches.meta", pickle.dumps({b"other": 1})),
        ("batches.meta", pickle.dumps({b"label_names": 5})),
    ],
)
def test_a_faulty_batch_is_named(tmp_path, stem, content):
    for name, good in cifar_parts(10).items():
        (tmp_path / name).write_bytes(content if name == stem else good)
    with pytest.raises(DataError, match=f"{tmp_path}.*{stem}"):
        load_data(tmp_path)


def test_a_missing_batch_is_named(tmp_path):
    for name, good in cifar_parts(10).items():
        (tmp_path / name).write_bytes(good)
    (tmp_path / "data_batch_4").unlink()
    with pytest.raises(DataError, match="data_batch_4: missing"):
        load_data(tmp_path)


# --- folders of class folders


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "val", "test"), ("Training", "validation", "testing"), ("train", "valid", None)],
)
def test_class_folders_with_splits(tmp_path, train, val, test):
    splits = {train: {"cat": 3, "dog": 2}, val: {"cat": 1, "dog": 2}} | ({test: {"cat": 1, "dog": 1}} if test else {})
    data = load_data(tree(tmp_path, **splits))
    assert data.classes == ("cat", "dog")
    assert named(data.splits["train"], data.classes) == {"cat": 3, "dog": 2}
    assert named(data.splits["val"], data.classes) == {"cat": 1, "dog": 2}
    assert set(data.splits) == {"train", "val"} | ({"test"} if test else set())


def test_a_class_missing_from_val_shifts_no_label(tmp_path):
    data = load_data(tree(tmp_path, train={"ant": 2, "bee": 2, "cat": 2}, val={"ant": 1, "cat": 1}))
    assert data.classes == ("ant", "bee", "cat")
    assert data.splits["val"].labels.tolist() == [0, 2]
    assert any("val" in note and "bee" in note for note in data.notes)
    for split in data.splits.values():
        for file, label in zip(split.files, split.labels, strict=True):
            assert file.path.parent.name == data.classes[label]


def test_numbers_are_classes_in_their_natural_order(tmp_path):
    data = load_data(tree(tmp_path, all={str(n): 5 for n in (0, 1, 2, 10, 11)}))
    assert data.classes == ("0", "1", "2", "10", "11")


def test_held_out_images_are_seeded_and_stratified(tmp_path):
    folder = tree(tmp_path, all={"cat": 20, "dog": 10, "emu": 5, "fox": 1})
    data, again, other = (load_data(folder, seed=seed) for seed in (3, 3, 4))
    assert named(data.splits["val"], data.classes) == {"cat": 4, "dog": 2, "emu": 1}
    assert named(data.splits["train"], data.classes) == {"cat": 16, "dog": 8, "emu": 4, "fox": 1}

    def names(d, split):
        return {file.name for file in d.splits[split].files}

    assert names(data, "val") == names(again, "val") != names(other, "val")
    assert not names(data, "val") & names(data, "train")
    assert len(names(data, "val") | names(data, "train")) == 36
    assert named(load_data(folder, val=0.5).splits["val"], data.classes) == {"cat": 10, "dog": 5, "emu": 2}


def test_system_files_are_left_alone_and_counted(tmp_path):
    tree(tmp_path, train={"cat": 2, "dog": 2}, val={"cat": 1, "dog": 1})
    for name in (".DS_Store", "train/cat/Thumbs.db", "train/dog/notes.txt", "train/cat/._0.png"):
        (tmp_path / name).write_bytes(b"x")
    photo(tmp_path / "train/.ipynb_checkpoints/0.png")
    photo(tmp_path / "train/lonely.png")
    data = load_data(tmp_path)
    assert data.classes == ("cat", "dog")
    assert [len(split) for split in data.splits.values()] == [4, 2]
    assert any("not images of a class" in note for note in data.notes)


def test_images_deeper_down_belong_to_the_class_above(tmp_path):
    for shade, name in enumerate(("cat/a/b/0.png", "cat/1.JPG", "dog/0.png", "dog/1.png")):
        photo(tmp_path / name, (shade, 9, 9))
    assert load_data(tmp_path).classes == ("cat", "dog")


def test_links_in_folders(tmp_path):
    tree(tmp_path / "data", all={"cat": 2, "dog": 2})
    (tmp_path / "data/cat/loop").symlink_to(tmp_path / "data")
    (tmp_path / "data/cat/nothing.png").symlink_to(tmp_path / "gone.png")
    data = load_data(tmp_path / "data")
    assert sum(map(len, data.splits.values())) == 4


def test_a_name_that_is_not_utf8(tmp_path):
    tree(tmp_path, all={"cat": 2, "dog": 2})
    os.rename(tmp_path / "cat/0.png", os.fsencode(tmp_path) + b"/cat/\xff\xfe.png")
    data = load_data(tmp_path)
    assert sum(map(len, data.splits.values())) == 4
    for file in data.splits["train"].files:
        file.name.encode()  # fit to be printed
        assert len(file.read()) > 0
    assert data.fingerprint()


def test_a_file_replaced_after_it_was_indexed_is_an_error(tmp_path):
    data = load_data(tree(tmp_path, all={"cat": 4, "dog": 4}))
    file = data.splits["train"].files[0]
    file.path.unlink()
    with pytest.raises(DataError, match=f"{file.path.name}: cannot be read"):
        data.splits["train"].image(0, 3)
    photo(file.path, size=(30, 30))
    os.utime(file.path, ns=(0, file.mtime_ns + 1))
    with pytest.raises(DataError, match=f"{file.path.name}: changed"):
        data.splits["train"].image(0, 3)


@pytest.mark.parametrize(
    ("splits", "says"),
    [
        ({}, ["holds no images"]),
        ({"all": {"cat": 5}}, ["one class only", "cat 5", "two classes"]),
        ({"all": {"cat": 5, "dog": 4, "emu": 0}}, ["no images of class emu", "cat 5", "dog 4"]),
        ({"train": {"cat": 2, "dog": 0}, "val": {"cat": 1, "dog": 1}}, ["no images of class dog"]),
        ({"train": {"cat": 2, "dog": 2}, "val": {"cat": 1, "emu": 1}}, ["val/'emu'", "rename"]),
        ({"train": {"cat": 2, "dog": 2}, "val": {"Cat": 1}}, ["val/'Cat'", "train/'cat'"]),
        ({"train": {"cat": 2, "dog": 2}, "val": {"dog ": 1}}, ["val/'dog '", "train/'dog'"]),
        ({"train": {"caf\u00e9": 2, "dog": 2}, "val": {"cafe\u0301": 1}}, ["looks like train/"]),
    ],
)
def test_folders_that_are_no_data_set(tmp_path, splits, says):
    with pytest.raises(DataError) as caught:
        load_data(tree(tmp_path, **splits))
    assert str(tmp_path) in caught.value.what
    for word in says:
        assert word in str(caught.value)


def test_images_without_class_folders(tmp_path):
    for n in range(3):
        photo(tmp_path / f"{n}.png")
    with pytest.raises(DataError, match=r"3 images, but none in a class folder(.|\n)*DATA/CLASS"):
        load_data(tmp_path)


# --- archives


@pytest.mark.parametrize("end", [".tar", ".tar.gz", ".tar.xz", ".tgz", ".zip"])
@pytest.mark.parametrize("wrapped", ["", "pets/"])
def test_archives(tmp_path, end, wrapped):
    images = {f"{wrapped}{c}/{n}.png": image_bytes((n, k, 7)) for k, c in enumerate(("cat", "dog")) for n in range(5)}
    path = tmp_path / f"pets{end}"
    if end == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in images.items():
                archive.writestr(name, content)
    else:
        tar_of(path, images.items(), {".tar": "w", ".tar.xz": "w:xz"}.get(end, "w:gz"))
    for source in (path, tmp_path):
        data = load_data(source)
        assert data.classes == ("cat", "dog")
        for split in data.splits.values():
            for n, label in enumerate(split.labels):
                red, green, blue = split.image(n, 3).getpixel((0, 0))
                assert (green, blue) == (label, 7)
                assert f"/{red}.png" in split.files[n].name
    assert list(tmp_path.iterdir()) == [path], "nothing is unpacked to disk"


def special(kind, target="/etc/passwd"):
    info = tarfile.TarInfo("cat/0.png")
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("../../evil.png", "points outside"),
        ("/etc/evil.png", "points outside"),
        ("cat/../../evil.png", "points outside"),
        ("..\\evil.png", "points outside"),
        (special(tarfile.SYMTYPE), "a link or device"),
        (special(tarfile.LNKTYPE), "a link or device"),
        (special(tarfile.CHRTYPE), "a link or device"),
        (special(tarfile.FIFOTYPE), "a link or device"),
    ],
)
def test_a_hostile_archive_is_refused(tmp_path, entry, says):
    path = tmp_path / "data.tar"
    content = image_bytes() if isinstance(entry, str) else b""
    tar_of(path, [("cat/1.png", image_bytes()), (entry, content), ("dog/1.png", image_bytes())])
    with pytest.raises(DataError, match=f"data.tar: holds .*{says}"):
        load_data(path)
    if isinstance(entry, str):
        with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
            archive.writestr(entry, content)
        with pytest.raises(DataError, match=f"data.zip: holds .*{says}"):
            load_data(tmp_path / "data.zip")


@pytest.mark.parametrize("end", [".tar", ".tar.gz", ".tar.xz", ".zip"])
@pytest.mark.parametrize("stem", ["pets", "cifar-10-python"])
@pytest.mark.parametrize("fault", ["text", "cut", "damaged"])
def test_a_damaged_archive_is_named(tmp_path, end, stem, fault):
    path = tmp_path / (stem + end)
    noise = [(f"{c}/{n}.png", DRAW.bytes(3000)) for c in ("cifar-a", "cifar-b") for n in range(20)]
    noise += [(f"cifar-10-batches-py/data_batch_{n}", DRAW.bytes(9000)) for n in range(1, 6)]
    if end == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in noise:
                archive.writestr(name, content)
    else:
        tar_of(path, noise, "w" + end[4:].replace(".", ":"))
    whole = path.read_bytes()
    if fault == "text":
        path.write_text("<html>404 not found</html>")
    elif fault == "cut":
        path.write_bytes(whole[: len(whole) // 2 + 100])
    else:
        third = len(whole) // 3
        path.write_bytes(whole[:third] + bytes(b ^ 0x55 for b in whole[third : third + 2000]) + whole[third + 2000 :])
    said = refusal(path)
    passes = (end, fault) == (".tar", "damaged")  # a plain tar has no checksum over its contents, only over its headers
    assert (said is None and passes) or path.name in said


def refusal(path):
    """What the error says; None if the data is read."""
    try:
        load_data(path)
    except DataError as error:
        return error.what
    return None


# --- names and arguments


def test_what_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PODIUM_DATA", raising=False)
    with pytest.raises(DataError, match="no such data"):
        load_data("photos/of/nothing")
    with pytest.raises(DataError, match=r"no such data(.|\n)*did you mean cifar10"):
        load_data("cifr10")
    with pytest.raises(
        DataError, match=r"(?s)mnist: not found; looked for .*PODIUM_DATA is not set.*train-images-idx3"
    ):
        load_data("mnist")
    (tmp_path / "photo.jpg").write_bytes(image_bytes())
    with pytest.raises(DataError, match=r"photo\.jpg: neither a folder nor an archive"):
        load_data("photo.jpg")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"channels": 2}, "give 1 or 3"),
        ({"resize": "stretched"}, "stretch"),
        ({"on_bad": "skipp"}, "skip"),
        ({"val": 1.5}, "val: 1.5"),
        ({"val": -0.1}, "val: -0.1"),
        ({"val": float("nan")}, "val: nan"),
    ],
)
def test_an_argument_that_cannot_be_meant_is_refused(arguments, says):
    with pytest.raises(UsageError, match=says):
        load_data("digits", **arguments)


def test_val_beside_a_validation_split_is_refused(tmp_path):
    folder = tree(tmp_path, train={"cat": 2, "dog": 2}, val={"cat": 1, "dog": 1})
    with pytest.raises(UsageError, match="has a validation split"):
        load_data(folder, val=0.2)


def test_channels_can_be_changed():
    grey, colour = load_data("digits"), load_data("digits", channels=3)
    a, b = grey.splits["train"].pixels, colour.splits["train"].pixels
    assert b.shape == (*a.shape[:3], 3)
    np.testing.assert_array_equal(b, np.repeat(a, 3, -1))
    assert colour.mean == grey.mean * 3


# --- bad images


@pytest.fixture
def one_bad(tmp_path):
    """40 photos of two classes, one of them cut in half."""
    tree(tmp_path, train={"cat": 15, "dog": 15}, val={"cat": 5, "dog": 5})
    bad = tmp_path / "train/cat/7.png"
    bad.write_bytes(bad.read_bytes()[:45])
    return tmp_path


def test_a_bad_image_is_an_error_when_it_is_met(one_bad):
    train = load_data(one_bad).splits["train"]
    bad = next(n for n, file in enumerate(train.files) if file.path.name == "7.png" and file.path.parent.name == "cat")
    with pytest.raises(DataError, match=r"train/cat/7\.png: (truncated|damaged)"):
        train.image(bad, 3)


def test_a_bad_image_can_be_left_out(one_bad):
    data = load_data(one_bad, on_bad="skip")
    assert named(data.splits["train"], data.classes) == {"cat": 14, "dog": 15}
    assert [name for name, _ in data.skipped] == [str(one_bad / "train/cat/7.png")]
    assert any("7.png" in note for note in data.notes)
    for n in range(len(data.splits["train"])):
        data.splits["train"].image(n, 3)


def test_too_many_bad_images_are_not_left_out(one_bad):
    (one_bad / "val/dog/0.png").write_bytes(b"")
    with pytest.raises(DataError, match="2 of 40 images cannot be read"):
        load_data(one_bad, on_bad="skip")


def test_leaving_out_a_class_s_last_image_is_an_error(tmp_path):
    tree(tmp_path, train={"cat": 3, "dog": 1}, val={"cat": 1, "dog": 1})
    (tmp_path / "train/dog/0.png").write_bytes(b"")
    with pytest.raises(DataError, match="no images of class dog"):
        load_data(tmp_path, on_bad="skip")


# --- sets in MNIST's format


def test_a_set_of_ten_classes_in_mnists_format_is_not_mnist(small_idx):
    """Its name is the folder's, its classes are numbers, its statistics are those of its own training pixels."""
    parts, write = small_idx
    data = load_data(write())
    pixels = parts["train-images-idx3-ubyte"] / 255
    assert data.name == write().name
    assert data.classes == tuple("0123456789")
    assert data.mean == pytest.approx((pixels.mean(),))
    assert data.std == pytest.approx((pixels.std(),))
    assert data.mirror is None


@pytest.mark.parametrize("first", [(5, 0, 4, 1, 9, 2, 1, 3, 1, 4), (9, 0, 0, 3, 0, 2, 7, 2, 5, 5)])
def test_the_first_labels_alone_do_not_make_it_mnist_or_fashion_mnist(small_idx, first):
    _, write = small_idx
    labels = np.array([*first, *range(10), *range(10)], np.uint8)
    data = load_data(write(train_labels_idx1_ubyte=idx(labels)))
    assert data.name not in ("MNIST", "Fashion-MNIST")
    assert data.classes == tuple("0123456789")
    assert data.splits["train"].labels.tolist() == labels.tolist()


def test_labels_that_do_not_begin_at_nothing_are_names(small_idx):
    """EMNIST's letters are 1 to 26: there is no class 0."""
    _, write = small_idx
    train, test = ((np.arange(n) % 26 + 1).astype(np.uint8) for n in (30, 20))
    data = load_data(write(train_labels_idx1_ubyte=idx(train), t10k_labels_idx1_ubyte=idx(test)))
    assert data.classes == tuple(str(n) for n in range(1, 27))
    assert [data.classes[label] for label in data.splits["test"].labels] == [str(n) for n in test]


def test_a_set_of_fewer_classes_has_no_empty_ones_and_one_class_is_refused(small_idx):
    _, write = small_idx
    few = (np.arange(30) % 4).astype(np.uint8)
    data = load_data(write(train_labels_idx1_ubyte=idx(few), t10k_labels_idx1_ubyte=idx(few[:20])))
    assert data.classes == ("0", "1", "2", "3")
    with pytest.raises(DataError, match="one class only"):
        load_data(write(train_labels_idx1_ubyte=idx(np.full(30, 3, np.uint8))))


def test_mnist_and_fashion_mnist_are_known_by_their_content(shared, tmp_path):
    for name, known in (("mnist", "MNIST"), ("fashion-mnist", "Fashion-MNIST")):
        (tmp_path / "other").unlink(missing_ok=True)
        (tmp_path / "other").symlink_to(shared / "data" / name)
        data = load_data(tmp_path / "other")
        assert data.name == known
        split = data.splits["train"]
        assert data.mean == pytest.approx((split.pixels.mean() / 255,), abs=1e-5)
        other = arrays._digest({**data.splits, "train": split.select(np.arange(60_000)[::-1])})
        assert other not in (arrays.MNIST, arrays.FASHION_MNIST)


def test_sets_named_like_emnist_are_read_one_at_a_time(tmp_path):
    def write(before):
        for shade, (part, count) in enumerate((("train", 26), ("test", 26)), 7):
            labels = (np.arange(count) % 26 + 1).astype(np.uint8)
            images = np.full((count, 28, 28), shade, np.uint8) * labels[:, None, None]
            images[:, 0, 0] = shade  # no test image is a training image
            (tmp_path / f"{before}-{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
            (tmp_path / f"{before}-{part}-labels-idx1-ubyte").write_bytes(idx(labels))

    write("emnist-letters")
    data = load_data(tmp_path)
    assert (data.name, data.classes[0], len(data.classes)) == ("emnist-letters", "1", 26)
    assert len(data.splits["test"]) == 26
    write("emnist-digits")
    with pytest.raises(DataError, match=r"several sets \(emnist-digits, emnist-letters\)") as caught:
        load_data(tmp_path)
    assert "a folder of its own" in caught.value.fix
