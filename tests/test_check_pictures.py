"""What `podium check` finds by looking at the pictures: near duplicates, odd ones, likely label errors; its page and its list."""

import base64
import csv
import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps
from PIL.PngImagePlugin import PngInfo

from conftest import ROOT
from podium.api.check import check
from podium.api.train import train
from podium.data.check_report import SUGGESTIONS, SUSPECTS
from podium.data.images import ArrayImages
from podium.data.label_errors import _folds as label_folds
from podium.data.label_errors import doubtful, out_of_fold
from podium.data.near_duplicates import NEAR, hashes, near_pairs
from podium.data.sources import load_data
from podium.errors import DataError, UsageError

SIZE = 240, 180


def scene(seed, size=SIZE):
    """A picture with structure at every scale, as photos have it, and another one for every seed."""
    draw = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(draw.integers(0, 256, (side, side, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC),
            float,
        )
        for side in (3, 6, 12, 24, 96)
    ]
    return Image.fromarray(np.clip(sum(layers) / len(layers) * 1.6 - 76, 0, 255).astype(np.uint8))


@pytest.fixture
def photos(tmp_path):
    """Thirty-two pictures of two classes in two splits: nothing is wrong with them."""
    for split, count in (("train", 12), ("val", 4)):
        for label, name in enumerate(("ant", "bee")):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for n in range(count):
                scene(1000 * (split == "val") + 100 * label + n).save(
                    tmp_path / "photos" / split / name / f"{n}.jpg", quality=92
                )
    return tmp_path / "photos"


def found(folder, **more):
    """(kind, path below the folder, other path) of each problem."""
    return [
        (p.kind, os.path.relpath(p.path, folder), os.path.relpath(p.other, folder) if p.other else "")
        for p in check(folder, **more).problems
    ]


def test_pictures_that_differ_are_no_problem(photos):
    assert found(photos) == []


ALTERED = {
    "recompressed": lambda image: image,
    "smaller": lambda image: image.resize((SIZE[0] // 4, SIZE[1] // 4)),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


@pytest.mark.parametrize("how", ALTERED)
@pytest.mark.parametrize(
    ("copy", "kind"),
    [("val/ant/new.jpg", "near-leak"), ("train/bee/new.jpg", "near-conflict"), ("train/ant/new.jpg", "near-duplicate")],
)
def test_altered_copies_are_found(photos, how, copy, kind):
    original = photos / "train/ant/3.jpg"
    ALTERED[how](Image.open(original)).save(photos / copy, quality=40)
    if kind == "near-conflict" and how == "mirrored":
        kind = "near-duplicate"  # left and right hands are two classes
    pairs = [(k, {path, other}) for k, path, other in found(photos) if k.startswith("near")]
    assert pairs == [(kind, {"train/ant/3.jpg", copy})]


SAVED_AGAIN = {
    "bmp": {},
    "tif": {"compression": "tiff_lzw"},
    "webp": {"lossless": True},
    "png": {"compress_level": 0, "pnginfo": "text"},
    "ppm": {},
}


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("side", [16, 28, 48, 100])
@pytest.mark.parametrize("ending", SAVED_AGAIN)
def test_the_same_pixels_saved_as_another_file_are_found_at_every_size(tmp_path, ending, side, mode):
    draw, how = np.random.default_rng(0), dict(SAVED_AGAIN[ending])
    shape = (side, side) if mode == "L" else (side, side, 3)
    for name in ("train/a", "train/b", "val/a", "val/b"):
        (tmp_path / name).mkdir(parents=True)
        for n in range(3):
            Image.fromarray(draw.integers(0, 256, shape, np.uint8)).save(tmp_path / name / f"{n}.png")
    assert found(tmp_path) == []
    if "pnginfo" in how:
        how["pnginfo"] = PngInfo()
        how["pnginfo"].add_text("Comment", "edited")
    for n, copy in enumerate(("val/a/x", "train/b/x", "train/a/x")):
        with Image.open(tmp_path / f"train/a/{n}.png") as image:
            image.convert("RGB" if ending == "webp" else mode).save(tmp_path / f"{copy}.{ending}", **how)
    pairs = {(kind, frozenset((path, other))) for kind, path, other in found(tmp_path)}
    assert pairs == {
        ("near-leak", frozenset((f"val/a/x.{ending}", "train/a/0.png"))),
        ("near-conflict", frozenset((f"train/b/x.{ending}", "train/a/1.png"))),
        ("near-duplicate", frozenset((f"train/a/x.{ending}", "train/a/2.png"))),
    }


def test_a_small_photo_whose_metadata_alone_differs_is_found(tmp_path):
    for name in ("train/a", "train/b", "val/a", "val/b"):
        (tmp_path / name).mkdir(parents=True)
        for n in range(2):
            scene(100 * len(name) + 10 * ord(name[-1]) + n, (30, 24)).save(tmp_path / name / f"{n}.jpg")
    stored = (tmp_path / "train/a/0.jpg").read_bytes()
    (tmp_path / "val/a/rated.jpg").write_bytes(stored[:2] + b"\xff\xfe\x00\x08rating" + stored[2:])
    assert found(tmp_path) == [("near-leak", "val/a/rated.jpg", "train/a/0.jpg")]


def test_what_harms_comes_first_and_only_that_fails(photos, podium):
    picture = Image.open(photos / "train/ant/0.jpg")
    picture.save(photos / "train/ant/again.jpg", quality=50)
    said = podium("check", photos)
    assert said.code == 0
    assert "1 worth a look: 1 near-duplicate" in said.out
    picture.save(photos / "val/ant/again.jpg", quality=60)
    (photos / "train/bee/0.jpg").write_bytes(b"")
    said = podium("check", photos)
    assert said.code == 3
    assert re.search(r"near-leak: .*\n(.*\n)*zero-byte: .*\n(.*\n)*near-duplicate: ", said.out)
    assert "2 problems: 1 near-leak, 1 zero-byte; 1 worth a look: 1 near-duplicate" in said.out


def test_an_image_that_stands_out(photos):
    new = {
        "blurred": scene(1).filter(ImageFilter.GaussianBlur(4)),
        "dark": scene(2).point(lambda value: value // 8),
        "bright": scene(3).point(lambda value: 255 - value // 8),
        "blank": Image.new("RGB", SIZE, (9, 90, 200)),
        "odd-size": scene(4, (900, 90)),
    }
    for kind, image in new.items():
        image.save(photos / f"train/ant/{kind}.png")
    kinds = {(kind, path) for kind, path, _ in found(photos)}
    assert {(kind, f"train/ant/{kind}.png") for kind in new} <= kinds
    assert {path for _, path in kinds} == {f"train/ant/{kind}.png" for kind in new}


def test_a_look_that_most_images_have_is_usual(photos):
    for path in photos.rglob("*.jpg"):
        Image.open(path).point(lambda value: value // 8).save(path, quality=92)
    report = check(photos)
    assert report.problems == []
    assert any("are dark, so that is usual here" in note for note in report.notes)


def test_twelve_bits_in_sixteen_are_not_dark(tmp_path):
    for label, name in enumerate(("ant", "bee")):
        (tmp_path / name).mkdir()
        for n in range(6):
            grey = np.asarray(scene(10 * label + n).convert("L"), np.uint16) * 16
            Image.fromarray(grey).save(tmp_path / name / f"{n}.png")
    report = check(tmp_path)
    assert report.problems == []
    assert any("12 bits" in note for note in report.notes)


def test_the_search_is_the_same_as_comparing_every_two():
    draw = np.random.default_rng(0)
    plain = draw.integers(0, 2**63, (300, 4), np.uint64)
    mirror = draw.integers(0, 2**63, (300, 4), np.uint64)
    plain[200] = plain[17] ^ np.uint64(0b1011)
    mirror[250] = plain[40]
    plain[299] = plain[200]
    pairs = near_pairs(np.stack([plain, mirror], 1))
    assert [(p.image, p.other, p.bits, p.mirrored) for p in pairs] == [
        (200, 17, 12, False),
        (250, 40, 0, True),
        (299, 200, 0, False),
    ]


def test_the_limit_in_use_is_the_one_that_was_measured():
    measured = json.loads((ROOT / "benchmarks" / "results" / "near_duplicates.json").read_text())
    assert measured["limit_chosen_on_the_first_half"] == NEAR
    assert min(measured["second_half"]["recall"], measured["second_half"]["precision"]) >= 0.95


def test_the_page_on_checking_has_every_kind_with_its_exit_code():
    page = (ROOT / "docs" / "checking.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z\d, -]+) \| [^|]+ \| ([03]) \|$", page, re.M)
    codes = {kind: int(code) for kinds, code in rows for kind in kinds.split(", ")}
    assert {kind: codes.get(kind) for kind in {*SUGGESTIONS, *SUSPECTS}} == {
        kind: 0 if kind in SUSPECTS else 3 for kind in {*SUGGESTIONS, *SUSPECTS}
    }


def test_hashes_are_those_of_the_library():
    imagehash = pytest.importorskip("imagehash")
    draw = np.random.default_rng(0)
    for width, height in ((240, 240), (320, 221), (64, 100), (33, 32)):
        noise = Image.fromarray(draw.integers(0, 256, (9, 12), np.uint8)).resize((width, height))
        small = noise.resize((32, 32), Image.Resampling.BOX)
        found = hashes(noise)
        for ours, image in zip(found, (small, ImageOps.mirror(small)), strict=True):
            theirs = imagehash.phash(image, 16, 2).hash
            order = np.concatenate([theirs[:8, :8].ravel(), theirs[:8, 8:].ravel(), theirs[8:].ravel()])
            differ = np.unpackbits(ours.view(np.uint8)) != order
            assert differ.sum() <= 1  # one frequency may be the median itself


# --- labels


def test_labels_that_were_changed_are_doubted():
    draw = np.random.default_rng(0)
    labels = np.arange(600) % 3
    features = draw.normal(size=(600, 20)) + 12 * np.eye(20)[labels]
    changed = labels.copy()
    changed[[10, 100, 200]] = (labels[[10, 100, 200]] + 1) % 3
    probabilities = out_of_fold(features, changed)
    assert probabilities.shape == (600, 3)
    assert np.allclose(probabilities.sum(1), 1)
    doubts = doubtful(changed, probabilities)
    assert {doubt.row for doubt in doubts} == {10, 100, 200}
    assert all(doubt.other == labels[doubt.row] for doubt in doubts)


def bursts(draw, wrong):
    """Sixty bursts of ten photos that are nearly the same, of three classes; features, labels, and the number of each's burst.

    Args:
        draw: random numbers.
        wrong: bursts all of whose photos have the label of the next class.
    """
    burst = np.repeat(np.arange(60), 10)
    kind = np.arange(60) % 3
    centres = draw.normal(size=(60, 80)) + 2.5 * np.eye(80)[kind]
    label = np.where(np.isin(np.arange(60), wrong), (kind + 1) % 3, kind)
    return centres[burst] + 0.05 * draw.normal(size=(600, 80)), label[burst], burst


def test_a_wrong_label_that_a_whole_burst_has_is_doubted_where_bursts_are_known():
    features, labels, burst = bursts(np.random.default_rng(0), wrong=[7, 20])
    names = np.array([f"b{number}" for number in burst])
    wrong = np.isin(burst, [7, 20])
    own = lambda probabilities: probabilities[np.arange(600), labels]  # noqa: E731
    divided, whole = own(out_of_fold(features, labels)), own(out_of_fold(features, labels, names))
    assert (divided[wrong] > 0.5).all(), "the other photos of the burst say so"
    assert (whole[wrong] < 0.5).all()


def test_a_check_keeps_a_group_in_one_fold_and_says_which_classes_have_too_few(tmp_path, monkeypatch):
    given = {}

    def spy(features, labels, groups=None):
        given.update(groups=groups, labels=labels)
        return out_of_fold(features, labels, groups)

    monkeypatch.setattr("podium.data.label_errors.out_of_fold", spy)
    rows = ["file,label,patient"]
    for number, (name, patients) in enumerate((("ant", 6), ("bee", 6), ("cat", 2))):
        for n in range(12):
            scene(100 * number + n, (40, 40)).save(tmp_path / f"{name}{n}.png")
            rows.append(f"{name}{n}.png,{name},p{n % patients}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    report = check(tmp_path / "labels.csv", labels=True, group_column="patient")
    assert "labels were not checked in cat, with fewer than 5 groups" in report.notes
    assert sorted(given["groups"]) == sorted(f"p{n % 6}" for n in range(24))
    parts = label_folds(given["labels"], given["groups"])
    assert len({(group, part) for group, part in zip(given["groups"], parts, strict=True)}) == 6
    assert set(parts) == set(range(5))
    report = check(tmp_path / "labels.csv", labels=True)
    assert given["groups"] is None
    assert not any("not checked" in note for note in report.notes)


def test_a_picture_in_the_wrong_class_folder(tmp_path):
    for label, name in enumerate(("red", "blue")):
        (tmp_path / name).mkdir()
        for n in range(150):
            picture = scene(1000 * label + n, (40, 40)).filter(ImageFilter.GaussianBlur(2 * label))
            shade = np.asarray(picture) // 6
            shade[..., 2 * label] += 200
            Image.fromarray(shade).save(tmp_path / name / f"{n}.png")
    wrong = [(tmp_path / f"red/{n}.png").rename(tmp_path / f"blue/wrong{n}.png") for n in range(6)]
    report = check(tmp_path, labels=True)
    found = [p for p in report.problems if p.kind == "label"]
    assert found
    assert {p.path for p in found} <= {str(path) for path in wrong}
    assert all("labelled 'blue'" in p.detail and "looks like 'red'" in p.detail for p in found)
    assert any("linear probe" in note for note in report.notes)
    assert not [p for p in check(tmp_path).problems if p.kind == "label"]  # only on request


def test_labels_need_images_and_weights_need_labels(photos, tmp_path):
    with pytest.raises(UsageError, match="give labels=True too"):
        check(photos, weights="run")
    for name in ("ant", "bee"):
        (tmp_path / "few" / name).mkdir(parents=True)
        scene(0).save(tmp_path / "few" / name / "0.png")
    with pytest.raises(DataError, match="no two classes"):
        check(tmp_path / "few", labels=True)


def negatives():
    """The digits black on white, of which a network learns features without having seen a digit of the set."""
    data = load_data("digits")
    for split in data.splits.values():
        split.images, split.keys = ArrayImages(255 - split.images.pixels), None
    return data


def test_labels_are_not_checked_by_a_network_that_has_learned_them(run):
    with pytest.raises(UsageError, match=r"has learned from 1,\d{3} of these 1,797 images") as caught:
        check("digits", labels=True, weights=str(run.path))
    assert "weights=" in caught.value.fix


def test_labels_by_the_features_of_a_network(tmp_path):
    run = train("lenet5_modern", negatives(), tmp_path / "run", steps=40, progress=False)
    report = check("digits", labels=True, weights=str(run.path))
    assert any(re.search(r"linear probe classifies [89]\d %", note) for note in report.notes)


def test_labels_by_a_network_whose_pooled_features_are_a_map(tmp_path):
    run = train("lenet5", negatives(), tmp_path / "run", steps=30, progress=False)
    report = check("digits", labels=True, weights=str(run.path))
    assert any(re.search(r"linear probe classifies [89]\d %", note) for note in report.notes)


# --- the page and the list


def test_the_page_has_the_pictures_and_nothing_of_the_camera(photos, podium):
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    exif.get_ifd(0x8825)[1] = "N"
    picture = Image.open(photos / "train/ant/0.jpg")
    picture.save(photos / "val/ant/<b>.jpg", quality=50, exif=exif)
    before = {path: path.read_bytes() for path in photos.rglob("*.jpg")}
    said = podium("check", photos, "-o", "check.html", "--list", "list.csv", "--json")
    assert said.code == 3
    (problem,) = json.loads(said.out)["problems"]
    assert (problem["kind"], problem["suspect"]) == ("near-leak", False)
    page = Path("check.html").read_text(encoding="utf-8")
    assert len(page) < 200_000
    assert "prefers-color-scheme: dark" in page
    assert "http" not in re.sub(r"http-equiv", "", page)
    assert "&lt;b&gt;.jpg" in page
    assert "photos/train/ant/0.jpg" in page
    assert str(photos.parent) not in page
    assert str(photos / "train/ant/0.jpg") in Path("list.csv").read_text()  # which is to be followed here
    pictures = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", page)
    assert len(pictures) == 2
    for text in pictures:
        content = base64.b64decode(text)
        assert b"SecretCamera" not in content
        assert b"Exif" not in content
        assert max(Image.open(io.BytesIO(content)).size) <= 176
    with open("list.csv", newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row == {
        "path": str(photos / "val/ant/<b>.jpg"),
        "problem": "near-leak",
        "other path": str(photos / "train/ant/0.jpg"),
        "suggestion": problem["suggestion"],
    }
    assert {path: path.read_bytes() for path in photos.rglob("*.jpg")} == before
    assert podium("check", photos, "-o", "check.html", "--list", "list.csv").code == 3  # its own files are replaced


def test_other_files_are_not_written_over(photos, podium, tmp_path):
    (tmp_path / "labels.csv").write_text("path,label\n")
    for flag, name in (("--list", "labels.csv"), ("-o", photos), ("-o", "nowhere/check.html"), ("-o", "labels.csv")):
        said = podium("check", photos, flag, name)
        assert said.code == 2
        assert "fix:" in said.err
    assert (tmp_path / "labels.csv").read_text() == "path,label\n"


# --- what is no data set


def test_one_class_folder_names_the_set_above(photos, podium):
    for split in photos.iterdir():
        for name in ("cat", "dog"):
            (split / name).mkdir()
            scene(5).save(split / name / "0.jpg")
    said = podium("check", photos / "train/ant")
    assert said.code == 3
    assert said.out.count("\n") == 2
    assert "12 images, but none in a class folder (12 .jpg in it)" in said.out
    assert f"give {photos}, which has the class folders ant, bee, cat, dog" in said.out
    assert "1 problem: 1 layout" in said.out
    said = podium("train", "lenet5", photos / "train/ant")
    assert f"give {photos}" in said.err


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["clips/a.mp4", "clips/b.mp4", "notes.md"], ["2 .mp4 in clips", "1 .md in it", "frames of the videos"]),
        (["x.npy", "y.npy"], ["2 .npy in it", "as PNG files"]),
        (["a/1.zip", "b/2.zip"], ["2 .zip in 2 folders, 1 deep", "into one folder"]),
    ],
)
def test_a_folder_of_other_things_is_described(tmp_path, podium, names, says):
    for name in names:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(b"x")
    said = podium("check", "data")
    assert said.code == 3
    for text in says:
        assert text in said.out


def test_a_name_is_suggested_only_where_it_is_close(podium, tmp_path):
    (tmp_path / "photos").mkdir()
    assert "did you mean" not in podium("check", "nonexist").err
    assert "did you mean mnist?" in podium("check", "minst").err
    assert "did you mean photos?" in podium("check", "fotos").err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_called_one(podium, tmp_path):
    os.mkfifo(tmp_path / "photos.zip")
    said = podium("check", "photos.zip")
    assert said.code == 3
    assert "a named pipe" in said.err
    assert "permissions" not in said.err


def test_a_truncated_webp_is_called_truncated(photos):
    scene(9).save(photos / "train/ant/cut.webp")
    whole = (photos / "train/ant/cut.webp").read_bytes()
    (photos / "train/ant/cut.webp").write_bytes(whole[:1000])
    (problem,) = check(photos).problems
    assert problem.kind == "truncated"
    assert f"1,000 of {len(whole):,} bytes" in problem.detail
