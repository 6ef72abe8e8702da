"""Packs: the same images as the files they were made of, read from a map, and refused by name when they are not."""

import json
import os
import re
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import podium as library
from podium.api.check import check
from podium.data.augment import Augment
from podium.data.loader import Loader
from podium.data.pack import write_pack
from podium.data.preprocessing import Preprocessing
from podium.data.sources import load_data, read
from podium.errors import DataError, UsageError

SIZES = {"wide": (90, 40), "tall": (33, 64), "small": (20, 24), "square": (64, 64)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes in train and val, four JPEG files of different shapes each."""
    root = tmp_path_factory.mktemp("photos")
    draw = np.random.Generator(np.random.PCG64(0))
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for shape, (width, height) in SIZES.items():
                noise = Image.fromarray(draw.integers(0, 256, (6, 8, 3), np.uint8)).resize((width, height))
                noise.save(root / split / name / f"{shape}.jpg", quality=95)
    return root


@pytest.fixture
def pack(photos, tmp_path):
    out = tmp_path / "photos.pack"
    write_pack(read(photos), out, side=32)
    return out


def test_a_pack_holds_the_images_of_the_files_shrunk_to_its_side(photos, pack):
    files, packed = load_data(photos), load_data(pack)
    assert packed.classes == files.classes == ("cat", "dog")
    assert list(packed.splits) == ["train", "val"]
    for name, split in packed.splits.items():
        np.testing.assert_array_equal(split.labels, files.splits[name].labels)
        for n in range(len(split)):
            image = Image.open(files.splits[name].files[n].path)
            scale = min(1, 32 / min(image.size))
            size = round(image.width * scale), round(image.height * scale)
            expected = image.resize(size, Image.Resampling.BILINEAR) if scale < 1 else image
            np.testing.assert_array_equal(split.array(n, 3), np.asarray(expected))
            assert split.image(n, 3).size == size


def test_its_images_stay_on_the_disk(pack):
    split = load_data(pack).splits["train"]
    assert split.pixels is None
    assert split.files is None
    base = split.array(3, 3)
    while not isinstance(base, np.memmap):
        base = base.base
    assert not base.flags.writeable


def test_the_card_has_the_checksums_of_what_lies_there(pack):
    card = json.loads((pack / "pack.json").read_text())
    for name, says in card["files"].items():
        done = subprocess.run(["sha256sum", pack / name], capture_output=True, text=True, check=True)
        assert done.stdout.split()[0] == says["sha256"]
        assert (pack / name).stat().st_size == says["bytes"]
    assert card["side"] == 32
    assert card["splits"] == {"train": 8, "val": 8}


def test_grey_and_held_out_images_come_out_of_a_pack_too(photos, tmp_path):
    write_pack(read(photos / "train"), tmp_path / "p", side=32)
    data = load_data(tmp_path / "p", channels=1, val=0.25)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 6, "val": 2}
    files = load_data(photos / "train", val=0.25)
    for name, split in data.splits.items():
        np.testing.assert_array_equal(split.labels, files.splits[name].labels)
        grey = files.splits[name].image(0, 3)
        grey.thumbnail((1000, 1000))
        assert split.array(0, 1).shape[2] == 1
        assert abs(float(split.array(0, 1).mean()) - float(np.asarray(grey.convert("L")).mean())) < 2
    assert data.fingerprint() != load_data(tmp_path / "p", val=0.25, seed=1).fingerprint()
    assert data.fingerprint() == load_data(tmp_path / "p", channels=1, val=0.25).fingerprint()


def batches(split, workers=2, start=0, size=16, **augment):
    made = Loader(
        split,
        Preprocessing(size, 3),
        batch_size=3,
        device=torch.device("cpu"),
        seed=4,
        augment=Augment(flip=True, **augment),
        workers=workers,
    )
    return [batch.x for batch in made.epoch(2, start)]


@pytest.mark.parametrize("crop", ["none", "pad", "scale", "area"])
def test_batches_do_not_depend_on_workers_nor_on_where_an_epoch_was_taken_up(pack, crop):
    split = load_data(pack).splits["train"]
    whole = batches(split, workers=0, crop=crop, crop_range=(1.0, 1.5) if crop == "scale" else (0.2, 1.0))
    again = batches(split, workers=3, crop=crop, crop_range=(1.0, 1.5) if crop == "scale" else (0.2, 1.0), start=1)
    assert all(torch.equal(a, b) for a, b in zip(whole[1:], again, strict=True))


def test_crops_out_of_a_pack_are_those_out_of_the_files(photos, tmp_path):
    """The same draws; where nothing is shrunk, in packing or in decoding, they come out of the same pixels."""
    write_pack(read(photos), tmp_path / "p", side=64)
    split, files = (load_data(place).splits["train"] for place in (tmp_path / "p", photos))
    for a, b in zip(batches(split, crop="area", size=40), batches(files, crop="area", size=40), strict=True):
        assert torch.equal(a, b)


def test_a_network_trains_from_a_pack_and_is_judged_on_it(podium, pack, tmp_path):
    said = podium(
        "train", "lenet5_modern", pack, "--image-size", 32, "--epochs", 1, "--crop", "area", "-o", "run", "--json"
    )
    assert said.code == 0, said.err
    scores = podium("eval", "run", pack, "--json")
    assert scores.code == 0, scores.err
    assert json.loads(scores.out)["n"] == 8
    assert json.loads(scores.out)["top1"] == json.loads(said.out)["top1"]


# --- what is refused


@pytest.mark.parametrize("name", ["images.bin", "index.npy", "pack.json"])
@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
def test_a_damaged_pack_is_refused_by_name(pack, name, how):
    path, content = pack / name, bytearray((pack / name).read_bytes())
    content[len(content) // 2] ^= 1
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(content if how == "flipped" else content[:-1])
    with pytest.raises(DataError, match=re.escape(name) if (name, how) != ("pack.json", "gone") else "pack"):
        read_all(pack)


def read_all(path):
    for split in load_data(path).splits.values():
        for n in range(len(split)):
            split.array(n, 3)


def test_every_flipped_byte_of_the_card_is_noticed(pack):
    path, content = pack / "pack.json", (pack / "pack.json").read_bytes()
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 4
        path.write_bytes(changed)
        with pytest.raises(DataError, match=r"pack\.json"):
            load_data(pack)


def test_a_pack_of_a_newer_format_says_so(pack):
    card = json.loads((pack / "pack.json").read_text())
    (pack / "pack.json").write_text(json.dumps({"format": 2, "podium": "9.0", "classes": card["classes"]}))
    with pytest.raises(DataError, match=r"pack\.json: format 2 of Podium 9\.0") as error:
        load_data(pack)
    assert "update Podium" in error.value.fix


def test_check_counts_a_pack_and_finds_a_damaged_image(pack, podium):
    assert not check(pack).problems
    assert check(pack).classes == {"cat": {"train": 4, "val": 4}, "dog": {"train": 4, "val": 4}}
    content = bytearray((pack / "images.bin").read_bytes())
    content[-1] ^= 1
    (pack / "images.bin").write_bytes(content)
    (problem,) = check(pack).problems
    assert (problem.kind, problem.path) == ("unreadable", "val image 7")
    assert podium("check", pack).code == 3


def test_a_bad_photo_is_named_and_leaves_nothing_behind(podium, photos, tmp_path):
    broken = tmp_path / "photos" / "cat" / "broken.jpg"
    for name in ("cat", "dog"):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        (folder / "good.jpg").write_bytes((photos / "train" / name / "wide.jpg").read_bytes())
    broken.write_bytes((photos / "train" / "cat" / "tall.jpg").read_bytes()[:-90])
    said = podium("pack", "photos", "-o", "p")
    assert said.code == 3
    assert "broken.jpg: truncated" in said.err
    assert [entry.name for entry in tmp_path.iterdir()] == ["photos"]
    said = podium("pack", "photos", "-o", "p", "--on-bad", "skip")
    assert said.code == 0
    assert "broken.jpg" in said.out
    assert len(read(tmp_path / "p").splits["train"]) == 2


def test_the_verb_says_what_it_made(podium, photos, tmp_path):
    (tmp_path / ".tmp-99999999-p").mkdir()  # of a process that was killed
    said = podium("pack", photos, "-o", "p", "--side", 32, "--json")
    assert said.code == 0
    size = sum((tmp_path / "p" / name).stat().st_size for name in ("images.bin", "index.npy", "contents.npy"))
    made = {"pack": "p", "images": 16, "bytes": size, "classes": ["cat", "dog"], "left_out": [], "notes": []}
    assert json.loads(said.out) == made
    assert [entry.name for entry in tmp_path.iterdir()] == ["p"]
    again = podium("pack", photos, "-o", "p")
    assert again.code == 2
    assert "exists already" in again.err


@pytest.mark.parametrize(
    ("words", "says"), [(["digits"], "not made of image files"), (["p"], "not made of image files")]
)
def test_what_is_in_memory_or_packed_already_is_not_packed(podium, pack, tmp_path, words, says):
    pack.rename(tmp_path / "p")
    said = podium("pack", *words, "-o", "q")
    assert said.code == 2
    assert says in said.err


def test_a_side_of_nothing_is_refused(photos, tmp_path):
    with pytest.raises(UsageError, match="side: 0"):
        write_pack(read(photos), tmp_path / "p", side=0)


def test_a_full_disk_is_said_and_leaves_nothing_behind(photos, tmp_path):
    program = (
        "import resource, signal, sys; from podium.cli import main as cli; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (20000, {resource.RLIM_INFINITY}));"
        f"sys.exit(cli.main(['pack', {str(photos)!r}, '-o', 'p']))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 6, done.stderr
    assert re.search(r"disk full: .* at p\b", done.stderr)
    assert "run the same again" in done.stderr
    assert os.listdir(tmp_path) == []


# --- columns


@pytest.fixture(scope="module")
def tabled(tmp_path_factory):
    """Photos of six patients by two cameras, in a table with splits; only its training images have a camera."""
    root = tmp_path_factory.mktemp("tabled")
    lines, draw = ["file,label,split,patient,camera"], np.random.Generator(np.random.PCG64(0))
    for n in range(24):
        Image.fromarray(draw.integers(0, 256, (32, 32, 3), np.uint8)).save(root / f"{n}.png")
        split, camera = ("val", "") if n % 6 == 5 else ("train", ("nikon", "猫 ☕")[n % 2])
        lines.append(f"{n}.png,{('cat', 'dog')[n % 2]},{split},p{n % 6},{camera}")
    (root / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    return root / "labels.csv"


def told(data):
    """What is known of each image, by its content."""
    return {
        (name, int(key)): (data.classes[label], patient, camera)
        for name, split in data.splits.items()
        for key, label, patient, camera in zip(
            split.contents(), split.labels, split.columns["patient"], split.columns["camera"], strict=True
        )
    }


@pytest.mark.parametrize("form", [(), ("--shards",)])
def test_the_columns_of_a_table_stay_with_the_images(podium, tabled, tmp_path, form):
    said = podium("pack", tabled, *form, "-o", "packed")
    assert said.code == 0, said.err
    assert "note: the columns file, label, split, patient, camera are kept with the images" in said.err
    files, packed = load_data(tabled), load_data(tmp_path / "packed")
    assert told(packed) == told(files)
    assert {camera for *_, camera in told(packed).values()} == {"nikon", "猫 ☕", ""}
    grouped = load_data(tmp_path / "packed", group_column="patient")
    assert grouped.grouping == {"group_column": "patient"}
    run = library.train("lenet5_modern", tmp_path / "packed", tmp_path / "run", steps=2, image_size=32, progress=False)
    sliced = library.evaluate(run, tmp_path / "packed", split="train", slice="camera")["slices"]
    assert sorted((one["value"], one["n"]) for one in sliced["values"]) == [("nikon", 12), ("猫 ☕", 8)]
    checked = check(tmp_path / "packed", group_column="patient", labels=False)
    assert checked.images == 24


@pytest.mark.parametrize("form", [(), ("--shards",)])
def test_damaged_columns_are_named(podium, tabled, tmp_path, form):
    podium("pack", tabled, *form, "-o", "packed")
    path = tmp_path / "packed" / "columns.json"
    path.write_bytes(path.read_bytes().replace(b"nikon", b"canon"))
    with pytest.raises(DataError, match=r"columns\.json: damaged"):
        load_data(tmp_path / "packed")


def test_images_of_no_table_have_no_columns(pack):
    assert not (pack / "columns.json").exists()
    assert load_data(pack).splits["train"].columns == {}
