"""Images of one patient, video or burst are never on two sides of a split, however the split is made."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import podium as library
from command import inside, one_error, podium
from podium.comparison.statistics import Answers
from podium.data.folds import in_roles
from podium.data.groups import with_groups
from podium.data.image_columns import with_column
from podium.data.record import read_record
from podium.data.sources import load_data, load_stored
from podium.errors import DataError, UsageError

CLASSES = ("circle", "line", "square")
PATIENT = r"(p\d+)_"
SHORT = ("--image-size", "32", "--epochs", "1", "--batch-size", "8")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PODIUM_CACHE", str(tmp_path_factory.mktemp("cache") / "podium"))


def photo(path, *key):
    """A photo of noise, another for every key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(list(key)).integers(0, 255, (32, 32, 3), np.uint8)).save(path)


def patients(folder, sizes, start=0, classes=CLASSES):
    """Photos by class, named after patients: each patient has so many of every class."""
    for patient, size in enumerate(sizes, start):
        for label, name in enumerate(classes):
            for i in range(size):
                photo(folder / name / f"p{patient:02d}_{i}.png", patient, label, i)
    return folder


def groups_of(split):
    """The patients of a split, by the names of its files."""
    return {re.search(PATIENT, file.path.name)[1] for file in split.files}


def train(data, out, *more):
    done = inside("train", "lenet5_modern", data, *SHORT, "-o", out, *more)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Sixteen patients with 1 to 6 photos of each class."""
    return patients(tmp_path_factory.mktemp("groups") / "photos", [1 + i % 6 for i in range(16)])


@pytest.mark.parametrize("share", [0.1, 0.2, 0.4])
@pytest.mark.parametrize("seed", range(4))
def test_a_split_that_is_made_is_stratified_and_divides_no_group(photos, share, seed):
    data = load_data(photos, val=share, seed=seed, group_from=PATIENT)
    train, val = data.splits["train"], data.splits["val"]
    assert not groups_of(train) & groups_of(val)
    for label in range(len(CLASSES)):
        held, all_of_them = (val.labels == label).sum(), (train.labels == label).sum() + (val.labels == label).sum()
        assert abs(held / all_of_them - share) < 0.06
    assert any(f"{len(train) + len(val)} images in 16 groups" in note for note in data.notes)


def test_patients_of_one_class_each_are_held_out_of_every_class(tmp_path):
    for number in range(12):  # as a disease has its own patients
        patients(tmp_path / "photos", [3], number, [CLASSES[number % 3]])
    data = load_data(tmp_path / "photos", group_from=PATIENT)
    assert np.bincount(data.splits["val"].labels).tolist() == [3, 3, 3]
    assert not groups_of(data.splits["train"]) & groups_of(data.splits["val"])


def test_copies_tie_groups_together(tmp_path):
    folder = patients(tmp_path / "photos", [2] * 8)
    for first, second in (("p00", "p01"), ("p01", "p02")):  # p00 and p02 have no photo in common
        shutil.copyfile(folder / "line" / f"{first}_0.png", folder / "line" / f"{second}_9{first}.png")
    for seed in range(6):
        data = load_data(folder, seed=seed, group_from=PATIENT)
        for split in data.splits.values():
            assert len(groups_of(split) & {"p00", "p01", "p02"}) in (0, 3)


def test_images_without_a_group_stop_the_run_and_are_named(photos, tmp_path):
    folder = shutil.copytree(photos, tmp_path / "photos")
    photo(folder / "line" / "unknown.png", 99)
    done = inside("train", "lenet5_modern", folder, *SHORT, "--group-from", PATIENT, "-o", tmp_path / "r")
    total = len(list(photos.rglob("*.png"))) + 1
    one_error(done, 3, f"1 of {total} images", "line/unknown.png")
    assert not (tmp_path / "r" / "result.json").exists()


@pytest.mark.parametrize(
    ("pattern", "says"), [("(p", "not a regular expression"), (r"p\d+", "has no group"), ("(?P<a>.)(?P<b>.)", "a, b")]
)
def test_an_expression_that_finds_nothing_is_refused_before_anything_is_read(tmp_path, pattern, says):
    out = tmp_path / "r"
    one_error(inside("train", "lenet5_modern", "nowhere", "--group-from", pattern, "-o", out), 2, "group_from", says)
    assert not out.exists()


def test_a_named_group_counts_before_the_first(photos):
    data = load_data(photos, group_from=r"(\w+)/(?P<patient>p\d+)_")
    assert not groups_of(data.splits["train"]) & groups_of(data.splits["val"])


def test_arrays_have_no_paths_and_columns_must_be_there(photos, tmp_path):
    out = ("-o", tmp_path / "r")
    one_error(inside("train", "lenet5_modern", "digits", "--group-from", "(a)", *out), 3, "digits", "no paths")
    one_error(inside("train", "lenet5_modern", photos, "--group-column", "patient", *out), 2, "no column 'patient'")
    both = ("--group-column", "patient", "--group-from", "(a)")
    one_error(inside("train", "lenet5_modern", photos, *both, *out), 2, "group_from and group_column")


def test_a_column_groups_as_a_path_does(photos):
    stored = load_stored(photos)
    names = np.array([re.search(PATIENT, file.path.name)[1] for file in stored.splits["train"].files])
    by_column = with_groups(with_column(stored, "patient", {"train": names}), group_column="patient")
    first, second = (
        in_roles(data, None, 0).splits["val"] for data in (by_column, with_groups(stored, group_from=PATIENT))
    )
    assert first.contents().tolist() == second.contents().tolist()
    assert set(first.columns["patient"]) == set(first.columns["(group)"]) == groups_of(first)
    names[3] = ""
    with pytest.raises(DataError, match="1 of"):
        with_groups(with_column(stored, "patient", {"train": names}), group_column="patient")
    with pytest.raises(UsageError, match="group_from"):
        library.train("lenet5_modern", load_data(photos), "never", group_from=PATIENT)


def test_a_group_in_two_given_splits_is_a_leak_that_stops(tmp_path):
    patients(tmp_path / "photos" / "train", [3] * 6)
    patients(tmp_path / "photos" / "val", [2] * 3, start=6)
    assert set(load_data(tmp_path / "photos", group_from=PATIENT).splits) == {"train", "val"}
    photo(tmp_path / "photos" / "val" / "line" / "p02_late.png", 7)
    again = ("train", "lenet5_modern", tmp_path / "photos", *SHORT, "-o", tmp_path / "r")
    done = inside(*again, "--group-from", PATIENT)
    one_error(done, 3, "1 of 9 groups", "p02 (train 9, val 1)", "without --group-from")
    assert inside(*again).returncode == 0


def test_patients_may_have_folders_of_their_own_in_each_class(tmp_path):
    for label, name in enumerate(("benign", "malignant")):
        for patient in range(6):
            for i in range(3):
                photo(tmp_path / "photos" / name / f"p{patient}" / f"{i}.png", label, patient, i)
    with pytest.raises(DataError, match="same sub-folders") as refused:
        load_data(tmp_path / "photos")
    suggested = re.search("group_from '(.+)'", refused.value.fix)[1]
    data = load_data(tmp_path / "photos", group_from=suggested)
    assert data.classes == ("benign", "malignant")
    sides = [{file.path.parent.name for file in split.files} for split in data.splits.values()]
    assert not sides[0] & sides[1]
    run = train(tmp_path / "photos", tmp_path / "r", "--group-from", suggested)
    scores = library.evaluate(run, tmp_path / "photos")
    assert (scores["split"], scores["n"]) == ("val", len(data.splits["val"]))


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bits(photos, tmp_path):
    flags = ("--group-from", PATIENT, "--seed", "2")
    whole = train(photos, tmp_path / "whole", *flags)
    assert "group_from: (p\\d+)_  # flag" in (whole / "settings.yaml").read_text()
    broken = ("train", "lenet5_modern", photos, *SHORT, *flags, "-o", tmp_path / "broken")
    assert podium(*broken, "--checkpoint-every", "0.001s", fault="kill@step:4").returncode == -9
    done = inside("train", "--resume", "-o", tmp_path / "broken")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "broken" / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    one_error(inside(*broken, "--group-from", "(p)", "--resume"), 2, "group_from")


def test_in_a_folder_that_has_grown_new_photos_of_a_learned_patient_evaluate_nothing(photos, tmp_path):
    folder = shutil.copytree(photos, tmp_path / "photos")
    run = train(folder, tmp_path / "r", "--group-from", PATIENT)
    before = load_data(folder, group_from=PATIENT)
    learned, held = (sorted(groups_of(before.splits[name])) for name in ("train", "val"))
    photo(folder / "line" / f"{learned[0]}_new.png", 70)
    photo(folder / "line" / f"{held[0]}_new.png", 71)
    photo(folder / "line" / "p80_new.png", 72)
    done = inside("eval", run, folder, "--json")
    scores = json.loads(done.stdout)
    assert scores["n"] == len(before.splits["val"]) + 2
    assert any("of their groups (1)" in note for note in scores["notes"])
    child = train(folder, tmp_path / "child", "--weights", run)  # which knows the groups from its parent
    record = read_record(child)
    keys = {
        name: {path.name for path in folder.rglob("*.png") if key_of(path) in set(roles.tolist())}
        for name, roles in record.roles.items()
    }
    assert f"{learned[0]}_new.png" in keys["train"]
    assert f"{held[0]}_new.png" in keys["val"]
    sides = [{re.search(PATIENT, name)[1] for name in names} for names in keys.values()]
    assert not sides[0] & sides[1]


def test_images_of_another_set_may_have_no_groups(photos, tmp_path):
    run = train(photos, tmp_path / "r", "--group-from", PATIENT)
    for label, name in enumerate(CLASSES):
        photo(tmp_path / "other" / name / "a.png", label, 90)
    scores = library.evaluate(run, tmp_path / "other")
    assert scores["n"] == 3
    assert any("3 of 3 images have no group" in note for note in scores["notes"])


def key_of(path):
    from podium.data.identity import content_key

    return content_key(path.read_bytes())


def test_intervals_are_over_groups_where_images_have_some():
    draw = np.random.default_rng(3)
    groups = np.repeat(np.arange(60), 20)
    right = draw.random(len(groups)) < np.clip(draw.normal(0.8, 0.2, 60), 0, 1)[groups]
    low, high = Answers([right[None]], groups).interval(0)
    means = np.array([right[groups == g].mean() for g in range(60)])
    drawn = means[draw.integers(0, 60, (4000, 60))].mean(1)  # groups of one size, drawn again and again
    assert low == pytest.approx(np.quantile(drawn, 0.025), abs=0.015)
    assert high == pytest.approx(np.quantile(drawn, 0.975), abs=0.015)
    alone = Answers([right[None]]).interval(0)
    assert high - low > 1.5 * (alone[1] - alone[0])
    each = Answers([right[None]], np.arange(len(groups))).interval(0)
    assert each == pytest.approx(alone, abs=0.002)  # a group an image is as none
    assert Answers([right[None]], np.zeros(len(groups))).interval(0) == (0.0, 1.0)  # one group says nothing of others
