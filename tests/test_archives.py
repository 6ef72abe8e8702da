"""Archives as people have them: told by content, with links, with names of other encodings; nothing outside is ever reached."""

import gzip
import io
import json
import os
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from command import inside, one_error
from podium.api.check import check
from podium.data.encodings import readable
from podium.data.shards import CARD, INDEX, list_shards, write_shards
from podium.data.sources import load_data, read
from podium.errors import DataError
from podium.files import seal


def picture(number):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 255, (6, 6, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


FILES = {f"pets/{c}/{n}.png": picture(10 * k + n) for k, c in enumerate(("cat", "dog")) for n in range(3)}


def tar_bytes(files, links=(), mode="w"):
    """A tar of name -> content, and (name, type, target) behind them."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for name, kind, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
    return out.getvalue()


def zip_bytes(files, links=()):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
        for name, _, target in links:
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, 0o120777 << 16
            file.writestr(info, target)
    return out.getvalue()


def contents(data):
    """Class -> the bytes of its images, in order."""
    split = data.splits["train"]
    return {
        c: [f.read() for f, k in zip(split.files, split.labels, strict=True) if data.classes[k] == c]
        for c in data.classes
    }


EXPECTED = {c: [FILES[f"pets/{c}/{n}.png"] for n in range(3)] for c in ("cat", "dog")}
KINDS = {
    "a tar": tar_bytes(FILES),
    "a gzipped tar": tar_bytes(FILES, mode="w:gz"),
    "a bzipped tar": tar_bytes(FILES, mode="w:bz2"),
    "an xz tar": tar_bytes(FILES, mode="w:xz"),
    "a zip": zip_bytes(FILES),
}


@pytest.mark.parametrize("name", ["x.tar", "x.zip", "x.tar.gz", "x.tgz", "x.tar.bz2", "x", "x.dat"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_told_by_its_content(tmp_path, kind, name):
    (tmp_path / name).write_bytes(KINDS[kind])
    assert contents(read(tmp_path / name)) == EXPECTED
    load_data(tmp_path / name).splits["train"].image(0, 3)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"Rar!\x1a\x07\x01\0", "RAR"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (gzip.compress(b"words", mtime=0), "not a tar archive"),
        (b"", "neither a folder nor an archive"),
        (b"words", "neither a folder nor an archive"),
    ],
)
def test_what_is_no_archive_that_is_read_says_so(tmp_path, content, says):
    (tmp_path / "x").write_bytes(content)
    one_error(inside("train", "lenet5_modern", tmp_path / "x", "-o", tmp_path / "run"), 3, says, str(tmp_path / "x"))
    one_error(inside("check", tmp_path / "x"), 3, says)


def test_a_folder_of_several_archives_says_so(tmp_path):
    for name in ("train.zip", "test.zip"):
        (tmp_path / name).write_bytes(zip_bytes(FILES))
    with pytest.raises(DataError, match=r"holds no images, but 2 archives \(test.zip, train.zip\)"):
        read(tmp_path)
    (tmp_path / "test.zip").unlink()
    assert contents(read(tmp_path)) == EXPECTED
    (tmp_path / "around" / "it").mkdir(parents=True)
    (tmp_path / "train.zip").rename(tmp_path / "around" / "it" / "train.zip")
    assert contents(read(tmp_path)) == EXPECTED
    (tmp_path / "around" / "it" / "train.zip").rename(tmp_path / "train.zip")
    (tmp_path / "around" / "it").rmdir()
    (tmp_path / "around").rmdir()
    (tmp_path / "loose.png").write_bytes(picture(5))  # what lies beside an archive is not left out without a word
    with pytest.raises(DataError, match="1 images, but none in a class folder"):
        read(tmp_path)


# --- links

SAFE = {
    "a hard link": [("pets/dog/again.png", tarfile.LNKTYPE, "pets/cat/0.png")],
    "a symbolic link": [("pets/dog/again.png", tarfile.SYMTYPE, "../cat/0.png")],
    "a link to a link": [("pets/dog/again.png", tarfile.SYMTYPE, "b"), ("pets/dog/b", tarfile.SYMTYPE, "../cat/0.png")],
    "a link in a linked folder": [
        ("pets/c", tarfile.SYMTYPE, "cat"),
        ("pets/dog/again.png", tarfile.SYMTYPE, "../c/0.png"),
    ],
}


@pytest.mark.parametrize("case", SAFE)
@pytest.mark.parametrize("mode", ["w", "w:gz", "zip"])
def test_a_link_to_a_member_is_that_member(tmp_path, case, mode):
    if mode == "zip" and case == "a hard link":
        pytest.skip("a zip has none")
    (tmp_path / "x").write_bytes(zip_bytes(FILES, SAFE[case]) if mode == "zip" else tar_bytes(FILES, SAFE[case], mode))
    found = contents(read(tmp_path / "x"))
    assert FILES["pets/cat/0.png"] in found["dog"]
    assert any(p.kind == "conflicting-label" for p in check(tmp_path / "x").problems)


def test_a_link_may_come_first_and_a_later_member_replaces_an_earlier(tmp_path):
    first = tar_bytes({}, [("pets/dog/again.png", tarfile.SYMTYPE, "../cat/0.png")])[:512]
    (tmp_path / "x.tar").write_bytes(first + tar_bytes(FILES | {"pets/./dog/1.png": picture(99)}))
    dogs = contents(read(tmp_path / "x.tar"))["dog"]
    assert FILES["pets/cat/0.png"] in dogs
    assert picture(99) in dogs
    assert FILES["pets/dog/1.png"] not in dogs
    assert len(dogs) == 4


def test_a_link_inside_itself_is_followed_no_further(tmp_path):
    loops = [("pets/cat/up", tarfile.SYMTYPE, ".."), ("pets/dog/top", tarfile.SYMTYPE, "../..")]
    (tmp_path / "x.tar").write_bytes(tar_bytes(FILES, loops))
    assert contents(read(tmp_path / "x.tar")) == EXPECTED


HOSTILE = {
    "absolute": [("pets/dog/x.png", tarfile.SYMTYPE, "/etc/passwd")],
    "outside": [("pets/dog/x.png", tarfile.SYMTYPE, "../../../etc/passwd")],
    "a folder outside": [("pets/fox", tarfile.SYMTYPE, "..//../../etc")],
    "nothing": [("pets/dog/x.png", tarfile.SYMTYPE, "gone.png")],
    "one another": [("pets/dog/x.png", tarfile.SYMTYPE, "y.png"), ("pets/dog/y.png", tarfile.SYMTYPE, "x.png")],
    "more and more": [
        link for n in range(40) for link in (
            (f"b{n}/l", tarfile.SYMTYPE, f"../b{n - 1}" if n else "../pets"),
            (f"b{n}/r", tarfile.SYMTYPE, f"../b{n - 1}" if n else "../pets"),
        )
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("mode", ["tar", "zip"])
def test_a_link_that_is_no_member_is_refused_by_name(tmp_path, case, mode):
    (tmp_path / "x").write_bytes((tar_bytes if mode == "tar" else zip_bytes)(FILES, HOSTILE[case]))
    with pytest.raises(DataError, match=r"holds '.*', a link or device") as caught:
        read(tmp_path / "x")
    assert "unpack it" in caught.value.fix


# --- names

WORDS = {
    "gb18030": ("猫", "玫瑰", "可回收垃圾"),
    "cp932": ("ねこ", "チューリップ", "東京タワー"),
    "cp949": ("고양이", "강아지"),
    "big5": ("貓", "鬱金香", "飛機"),
    "cp866": ("кошка", "Собака"),
    "cp1251": ("кошка", "Собака"),
    "cp437": ("Blüte", "niño"),
    "cp1252": ("Blüte", "niño"),
    "cp850": ("grøn", "São"),
    "cp852": ("źródło", "kość"),
    "cp1250": ("źródło", "kość"),
    "utf-8": ("猫", "ねこ", "Blüte"),
}


def zip_with_raw_names(names):
    """A zip whose names are these bytes, with no flag that says how to read them."""
    plain = {f"{'x' * (len(name) - 4)}{n:04d}": picture(n) for n, name in enumerate(names)}
    content = zip_bytes(plain)
    for short, name in zip(plain, names, strict=True):
        assert len(short) == len(name)
        content = content.replace(short.encode(), name)
    return content


@pytest.mark.parametrize("codec", WORDS)
@pytest.mark.parametrize("packed", ["zip", "tar"])
def test_names_in_the_encoding_of_the_system_that_packed_them(tmp_path, codec, packed):
    names = [f"data/{word}/{n}.png".encode(codec) for word in WORDS[codec] for n in range(2)]
    if packed == "zip":
        (tmp_path / "x.zip").write_bytes(zip_with_raw_names(names))
    else:
        files = {name.decode("utf-8", "surrogateescape"): picture(n) for n, name in enumerate(names)}
        (tmp_path / "x.zip").write_bytes(tar_bytes(files))
    data = read(tmp_path / "x.zip")
    assert set(data.classes) == set(WORDS[codec])
    assert any("not UTF-8" in note for note in data.notes) == (codec != "utf-8")
    said = [note for note in check(tmp_path / "x.zip").notes if "not UTF-8" in note]
    assert (codec == "utf-8") or ("which is a guess" in said[0] and WORDS[codec][0] in said[0])


def test_a_name_that_info_zip_has_in_unicode_beside_is_that(tmp_path):
    raw = b"data/\x8a\x8b/1.png"
    wanted = "data/é/1.png".encode()
    plain = zipfile.ZipInfo("x" * len(raw))
    plain.extra = struct.pack("<HHBL", 0x7075, 5 + len(wanted), 1, zlib.crc32(raw)) + wanted
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr(plain, picture(1))
        file.writestr("data/dog/1.png", picture(2))
    (tmp_path / "x.zip").write_bytes(out.getvalue().replace(b"x" * len(raw), raw))
    assert set(read(tmp_path / "x.zip").classes) == {"é", "dog"}


def test_names_in_no_encoding_are_left_as_they_are():
    assert readable(["猫", b"plain"]) == (["猫", "plain"], "")
    names, encoding = readable([b"\xff\xff\xff\x80\x00"])
    assert names[0].encode("utf-8", "surrogateescape") == b"\xff\xff\xff\x80\x00" or encoding


@pytest.mark.parametrize("cut", ["at a member", "in a header", "in an image", "a header"])
def test_a_tar_that_is_cut_or_damaged_is_named(tmp_path, cut):
    """Python takes a header that is damaged or missing for the end of the tar."""
    path = tmp_path / "x.tar"
    path.write_bytes(tar_bytes({f"data/{label}/{n}.png": picture(n) for n in range(2) for label in ("cat", "dog")}))
    assert len(read(path).splits["train"]) == 4
    with tarfile.open(path) as tar:
        start, data = tar.getmembers()[2].offset, tar.getmembers()[2].offset_data
    content = path.read_bytes()
    damaged = {"at a member": content[:start], "in a header": content[: start + 99], "in an image": content[: data + 9]}
    path.write_bytes(damaged.get(cut, content[:start] + b"\xff" * 512 + content[start + 512 :]))
    says = {"a header": f"bad checksum at byte {start:,}", "in an image": "unexpected end"}
    with pytest.raises(DataError, match=says.get(cut, "ends without its end mark")):
        read(path)


def test_an_encrypted_zip_says_so(tmp_path):
    content = bytearray(zip_bytes(FILES))
    for start, flag in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = content.find(start)
        while place >= 0:
            content[place + flag] |= 1
            place = content.find(start, place + 1)
    (tmp_path / "x.zip").write_bytes(bytes(content))
    with pytest.raises(DataError, match="encrypted") as caught:
        read(tmp_path / "x.zip")
    assert "password" in caught.value.fix


# --- shards


@pytest.fixture
def shards(tmp_path):
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    phone = io.BytesIO()
    second = Image.fromarray(np.zeros((6, 6, 3), np.uint8))
    Image.open(io.BytesIO(FILES["pets/cat/0.png"])).save(phone, "MPO", save_all=True, append_images=[second])
    (tmp_path / "pets" / "cat" / "phone.jpg").write_bytes(phone.getvalue())
    write_shards(read(tmp_path / "pets"), tmp_path / "shards")
    return tmp_path / "shards"


def test_a_phone_s_jpeg_is_packed_as_a_jpeg(shards):
    with tarfile.open(next(shards.glob("*.tar"))) as tar:
        endings = sorted(name.rsplit(".", 1)[1] for name in tar.getnames())
    assert endings == ["cls"] * 7 + ["jpg"] + ["png"] * 6
    assert sum(map(len, read(shards).splits.values())) == 7
    (shards / CARD).unlink()  # others read them by their endings
    assert sum(len(files) for classes in list_shards(shards).files.values() for files in classes.values()) == 7


def rename_shard(shards, new):
    card = json.loads((shards / CARD).read_text())
    (size,) = card["shards"].values()
    card["shards"] = {new: size}
    card["sha256"] = seal(card)
    (shards / CARD).write_text(json.dumps(card))


@pytest.mark.parametrize("name", ["../outside.tar", "/etc/passwd", "sub/../../outside.tar", "..", "", "a\\..\\b.tar"])
def test_a_shard_outside_of_its_folder_is_refused(shards, name):
    (shards.parent / "outside.tar").write_bytes(next(shards.glob("*.tar")).read_bytes())
    rename_shard(shards, name)
    with pytest.raises(DataError, match=r"names .*, which is not a file beside it"):
        read(shards)


def test_a_shard_that_is_a_link_is_refused(shards):
    shard = next(shards.glob("*.tar"))
    os.rename(shard, shards.parent / "outside.tar")
    os.symlink(shards.parent / "outside.tar", shard)
    with pytest.raises(DataError, match="is not a file beside it"):
        read(shards)


@pytest.mark.parametrize(
    ("column", "value"), [("shard", 7), ("shard", -1), ("offset", 10**9), ("size", -5), ("label", 9)]
)
def test_an_index_that_leads_outside_is_refused(shards, column, value):
    import hashlib

    table = np.load(shards / INDEX)
    table[column][2] = value
    np.save(shards / INDEX, table)
    card = json.loads((shards / CARD).read_text())
    card["index_sha256"] = hashlib.sha256((shards / INDEX).read_bytes()).hexdigest()
    card["sha256"] = seal(card)
    (shards / CARD).write_text(json.dumps(card))
    with pytest.raises(DataError, match="image 2 lies outside of the shards"):
        read(shards)
