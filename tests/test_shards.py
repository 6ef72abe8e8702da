"""Shards: the files of a data set in tars, read part by part, and refused by name when they are not what was packed."""

import io
import json
import os
import re
import tarfile

import numpy as np
import pytest
from PIL import Image

from podium.api.check import check
from podium.data.image_file import ImageFile
from podium.data.shards import write_shards
from podium.data.sources import load_data, read
from podium.errors import DataError, UsageError
from podium.units import parse_bytes

fsspec = pytest.importorskip("fsspec", reason="the extra `shards` is not installed")


def photo(seed, kind="JPEG"):
    noise = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (40, 50, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes of 6 photos for training and 2 for judging; one is a PNG that says it is a JPEG."""
    root = tmp_path_factory.mktemp("photos")
    for n in range(16):
        folder = root / ("val" if n >= 12 else "train") / ("cat", "dog")[n % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{n}.jpg").write_bytes(photo(n, "PNG" if n == 3 else "JPEG"))
    return root


@pytest.fixture
def shards(photos, tmp_path):
    write_shards(read(photos), tmp_path / "shards", shard_size=12_000)
    return tmp_path / "shards"


def contents(split):
    """Class and bytes of every image, in an order that only they decide."""
    return sorted((int(label), file.read()) for label, file in zip(split.labels, split.files, strict=True))


def test_shards_hold_the_files_byte_for_byte(photos, shards):
    files, data = load_data(photos), load_data(shards)
    assert data.classes == files.classes == ("cat", "dog")
    assert list(data.splits) == ["train", "val"]
    for name, split in data.splits.items():
        assert contents(split) == contents(files.splits[name])


def test_they_are_tars_that_anybody_reads(photos, shards):
    """Uncompressed, KEY.jpg and KEY.cls one after the other, of about the size that was asked."""
    names, kinds = sorted(path.name for path in shards.glob("*.tar")), set()
    assert names[0] == "train-000000.tar"
    assert len(names) >= 3
    for path in shards.glob("*.tar"):
        with tarfile.open(path, "r:") as tar:
            members = tar.getmembers()
            for image, label in zip(members[::2], members[1::2], strict=True):
                key, ending = image.name.split(".")
                assert label.name == f"{key}.cls"
                kinds.add(ending)
                assert tar.extractfile(label).read() in (b"0", b"1")
            assert sum(image.size for image in members[:-2:2]) < 12_000
    assert kinds == {"jpg", "png"}, "an ending says what the content is"


def test_the_same_images_give_the_same_shards(photos, shards, tmp_path):
    write_shards(read(photos), tmp_path / "again", shard_size=12_000)
    for path in shards.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


@pytest.mark.parametrize("protocol", ["file", "memory"])
def test_they_are_read_from_a_url(shards, protocol):
    url = f"file://{shards}"
    if protocol == "memory":
        url = "memory://bucket/shards"
        for path in shards.iterdir():
            fsspec.filesystem("memory").pipe_file(f"/bucket/shards/{path.name}", path.read_bytes())
    here, there = load_data(shards), load_data(url)
    for name, split in there.splits.items():
        assert contents(split) == contents(here.splits[name])
    assert there.fingerprint() == here.fingerprint()


def test_of_a_url_only_the_parts_that_are_needed_are_read(shards, monkeypatch):
    store, asked = fsspec.filesystem("memory"), []
    for path in shards.iterdir():
        store.pipe_file(f"/needed/{path.name}", path.read_bytes())
    plain = type(store).cat_file

    def noted(self, path, start=None, end=None, **more):
        asked.append((path.rsplit("/", 1)[1], start, end))
        return plain(self, path, start, end, **more)

    monkeypatch.setattr(type(store), "cat_file", noted)
    monkeypatch.setattr(type(store), "_open", lambda *_, **__: pytest.fail("a shard was opened whole"))
    split = load_data("memory://needed").splits["train"]
    assert {name for name, _, _ in asked} == {"shards.json", "index.npy", "contents.npy"}
    asked.clear()
    content = split.files[5].read()
    ((name, start, end),) = asked
    assert name.endswith(".tar")
    assert end - start == len(content)


def test_every_verb_takes_them(podium, photos, tmp_path):
    said = podium("pack", photos, "--shards", "--shard-size", "20kB", "-o", "s", "--json")
    assert said.code == 0, said.err
    assert said.json["images"] == 16
    assert said.json["shards"] == len(list((tmp_path / "s").glob("*.tar")))
    said = podium("check", "s", "--json")
    assert (said.code, said.json["classes"]) == (0, {"cat": {"train": 6, "val": 2}, "dog": {"train": 6, "val": 2}})
    assert podium("train", "lenet5_modern", "s", "--image-size", 32, "--epochs", 1, "-o", "run", "--json").code == 0
    url = f"file://{tmp_path / 's'}"
    assert podium("eval", "run", url, "--json").json["n"] == 4
    assert podium("pack", "s", "-o", "decoded").code == 0
    assert len(read(tmp_path / "decoded").splits["train"]) == 12


# --- shards of others


def tar_of(path, *members):
    """A tar of (name, content) or (name, content, what its header says otherwise)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:") as tar:
        for name, content, *header in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in (header[0] if header else {}).items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content))


def samples(first, count, label):
    for n in range(first, first + count):
        yield f"part/{n:04d}.jpg", photo(n)
        yield label(n)


@pytest.mark.parametrize("way", ["cls number", "cls name", "json", "split folders"])
def test_shards_of_others_are_read_without_an_index(tmp_path, way):
    label = {
        "cls number": lambda n: (f"part/{n:04d}.cls", str(7 + n % 2).encode()),
        "json": lambda n: (f"part/{n:04d}.json", json.dumps({"label": ("cat", "dog")[n % 2], "width": 3}).encode()),
    }.get(way, lambda n: (f"part/{n:04d}.cls", (b"cat\n", b"dog\n")[n % 2]))
    train, val = (
        ("train/a-{}.tar", "val/a-{}.tar") if way == "split folders" else ("set-train-{}.tar", "set-val-{}.tar")
    )
    tar_of(tmp_path / train.format("0000"), *samples(0, 4, label))
    tar_of(tmp_path / train.format("0001"), *samples(4, 4, label), ("part/0004.pkl", b"cos\nsystem\n"))
    tar_of(tmp_path / val.format("0000"), *samples(8, 2, label))
    data = load_data(tmp_path)
    assert data.classes == (("7", "8") if way == "cls number" else ("cat", "dog"))
    assert contents(data.splits["train"]) == sorted((n % 2, photo(n)) for n in range(8))
    assert contents(data.splits["val"]) == sorted((n % 2, photo(n)) for n in range(8, 10))
    assert [problem.path.split("!")[1] for problem in check(tmp_path).problems] == ["part/0004.pkl"], "left alone"


LABEL = ("a.cls", b"0")
HOSTILE = {
    "../a.jpg": ("../a.jpg", b"x"),
    "/etc/a.jpg": ("/etc/a.jpg", b"x"),
    "a/../../b.jpg": ("a/../../b.jpg", b"x"),
    "soft.jpg": ("soft.jpg", b"", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
    "hard.jpg": ("hard.jpg", b"", {"type": tarfile.LNKTYPE, "linkname": "a.cls"}),
    "device.jpg": ("device.jpg", b"", {"type": tarfile.CHRTYPE}),
    "pipe.jpg": ("pipe.jpg", b"", {"type": tarfile.FIFOTYPE}),
    "unlabelled.jpg": ("unlabelled.jpg", b"x"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_member_is_named_and_nothing_is_written(tmp_path, name):
    tar_of(tmp_path / "set" / "train-0000.tar", LABEL, ("a.jpg", photo(0)), HOSTILE[name])
    with pytest.raises(DataError, match=re.escape(name)):
        load_data(tmp_path / "set")
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["set", "set/train-0000.tar"]


def test_a_size_that_lies_is_named(tmp_path):
    path = tmp_path / "train-0000.tar"
    tar_of(path, LABEL, ("a.jpg", photo(0)))
    content = bytearray(path.read_bytes())
    header = tarfile.TarInfo("a.jpg")
    header.size = 10 << 30
    content[1024:1536] = header.tobuf(tarfile.GNU_FORMAT)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"train-0000\.tar!a\.jpg: says 10,737,418,240 bytes"):
        load_data(tmp_path)


def test_a_shard_that_is_no_tar_is_named(tmp_path):
    (tmp_path / "train-0000.tar").write_bytes(b"<html>404</html>" * 100)
    with pytest.raises(DataError, match=r"train-0000\.tar: not a tar archive"):
        load_data(tmp_path)


def test_one_archive_of_class_folders_stays_one_whatever_its_number(tmp_path):
    tar_of(tmp_path / "photos-2024.tar", *((f"{('cat', 'dog')[n % 2]}/{n}.jpg", photo(n)) for n in range(8)))
    assert load_data(tmp_path).classes == ("cat", "dog")
    assert load_data(tmp_path / "photos-2024.tar").classes == ("cat", "dog")


# --- what is refused


@pytest.mark.parametrize("word", ["pipe:cat train.tar", "PIPE:rm -rf x", "pipe:curl -s http://x |"])
def test_a_command_is_never_run(podium, word):
    podium("check", word).refused(2, "commands are not run")
    podium("train", "lenet5_modern", word).refused(2, "commands are not run")


@pytest.mark.parametrize(("url", "code", "says"), [("nothing://x", 2, "nothing"), ("memory://no-such", 3, "no index")])
def test_a_url_where_nothing_is_says_so(podium, url, code, says):
    podium("check", url).refused(code, says)


def test_bytes_that_changed_are_named_by_shard_and_member(shards):
    file = load_data(shards).splits["train"].files[3]
    path = shards / file.path
    content = bytearray(path.read_bytes())
    content[file.offset + file.size // 2] ^= 1
    path.write_bytes(content)
    again = load_data(shards).splits["train"].files
    with pytest.raises(DataError, match=rf"{path.name}!\d+\.(jpg|png): is not what was packed"):
        again[3].read()
    assert isinstance(again[3], ImageFile)
    (problem,) = check(shards).problems
    assert problem.kind == "unreadable"
    assert path.name in problem.path


@pytest.mark.parametrize("how", ["cut", "gone"])
def test_a_shard_that_is_cut_or_gone_is_named_before_anything_runs(shards, how):
    path = shards / "train-000000.tar"
    if how == "gone":
        path.unlink()
    else:
        os.truncate(path, 5000)
    with pytest.raises(DataError, match=r"train-000000\.tar: (missing|5,000 bytes), not the"):
        load_data(shards)


def test_a_shard_that_goes_while_training_is_named(shards):
    split = load_data(shards).splits["train"]
    (shards / "train-000000.tar").unlink()
    with pytest.raises(DataError, match=r"train-000000\.tar!.*cannot be read"):
        contents(split)


@pytest.mark.parametrize("name", ["shards.json", "index.npy"])
@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_a_damaged_index_is_named(shards, name, how):
    content = bytearray((shards / name).read_bytes())
    content[len(content) // 2] ^= 1
    (shards / name).write_bytes(content if how == "flipped" else content[:-1])
    with pytest.raises(DataError, match=re.escape(name) if (name, how) != ("shards.json", "cut") else "damaged"):
        load_data(shards)


def test_a_newer_format_says_so(shards):
    (shards / "shards.json").write_text(json.dumps({"format": 2, "podium": "9.0"}))
    with pytest.raises(DataError, match=r"shards\.json: format 2 of Podium 9\.0"):
        load_data(shards)


def test_a_bad_photo_is_named_and_leaves_nothing_behind(podium, photos, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "good.jpg").write_bytes(photo(len(name + name[0])))
    (tmp_path / "photos" / "cat" / "broken.jpg").write_bytes(photo(1)[:-90])
    podium("pack", "photos", "--shards", "-o", "s").refused(3, "broken.jpg: truncated")
    assert [entry.name for entry in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize(
    ("text", "size"), [("500MB", 500_000_000), ("1.5 GB", 1_500_000_000), ("20k", 20_000), ("7", 7)]
)
def test_sizes_are_read(text, size):
    assert parse_bytes("shard size", text) == size


@pytest.mark.parametrize("text", ["", "0", "-5MB", "500 elephants", "nan"])
def test_sizes_that_are_none_are_refused(text):
    with pytest.raises(UsageError, match="shard size"):
        parse_bytes("shard size", text)
