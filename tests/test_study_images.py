"""The images of a comparison: some train, some choose the network, and some say once how good the chosen one is."""

import json
import shutil

import numpy as np
import pytest

import podium as library
from command import inside, one_error
from podium.comparison.candidates import Choice
from podium.comparison.study import Study
from podium.data.record import read_record
from podium.data.sources import load_data
from podium.errors import UsageError
from podium.runs.folder import RunFolder
from podium.training.recipes.named import settings_of
from test_roles import CLASSES, keys_of, noise, told

SHORT = ["-m", "lenet5_modern", "--image-size", "32", "--steps", "2", "--batch-size", "8"]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PODIUM_CACHE", str(tmp_path_factory.mktemp("cache") / "podium"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return noise(tmp_path_factory.mktemp("images") / "photos", dict.fromkeys(CLASSES, 25))


def compare(data, out, *more, code=0):
    done = inside("compare", data, *SHORT, "-o", out, *more)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def board(photos, tmp_path_factory):
    """A comparison of one network with two seeds, and what it says."""
    out = tmp_path_factory.mktemp("board") / "all"
    return out, compare(photos, out, "--seeds", "2").stderr


@pytest.fixture(scope="module")
def old(photos, tmp_path_factory):
    """A comparison whose images have the roles that they had before test images were made."""
    out = tmp_path_factory.mktemp("old") / "all"
    compare(photos, out, "--rank-on", "test")
    return out


def images_of(data, loaded=None, rank_on="val", **given):
    merged = settings_of(None, None, {"data": str(data), **given})
    study = Study(["lenet5_modern"], merged, data.parent / "never", 1, loaded, Choice(rank_on=rank_on))
    return study.images(), study


def test_every_run_has_images_that_train_that_choose_and_that_report(board, photos):
    out, said = board
    assert "note: 15 of 75 training images are held out to test, 12 for validation (seed 0, stratified)" in said
    assert "with --folds 5 every image would test once" in said
    records = [read_record(out / f"lenet5_modern-seed{seed}").roles for seed in (0, 1)]
    for record in records:
        assert {name: told(keys) for name, keys in record.items()} == keys_of(load_data(photos, test=0.2, val=0.2))
    run = RunFolder(out / "lenet5_modern-seed1")
    assert (run.result["split"], run.result["n"], len(run.validation[1])) == ("test", 15, 12)
    text = (run / "settings.yaml").read_text()
    assert "\ntest: 0.2  # by podium compare\n" in text
    assert "\nval: 0.2  # by podium compare\n" in text
    assert "\ntest: null" in (out / "comparison.yaml").read_text()  # what the person gave
    scores = library.evaluate(run.path, photos)
    assert (scores["split"], scores["n"], scores["top1"]) == ("test", 15, run.result["top1"])
    again = inside("train", "--config", run / "settings.yaml", "-o", out.parent / "again")
    assert again.returncode == 0, again.stderr
    assert library.load(out.parent / "again").card["sha256"] == library.load(run.path).card["sha256"]


def test_the_same_command_goes_on_and_the_other_ranking_is_refused_with_a_mend(board, old, photos):
    for out, flag, other in ((board[0], "val", "test"), (old, "test", "val")):
        before = (out / "lenet5_modern-seed0" / "result.json").read_bytes()
        done = compare(photos, out, "--rank-on", other, code=2)
        one_error(done, 2, "its networks were trained to be ranked", f"--rank-on {flag}")
        more = ["--seeds", "2"] if flag == "val" else []
        compare(photos, out, "--rank-on", flag, *more)
        assert (out / "lenet5_modern-seed0" / "result.json").read_bytes() == before


def test_the_old_protocol_has_one_held_out_split(old, photos):
    record = read_record(old / "lenet5_modern-seed0").roles
    assert {name: told(keys) for name, keys in record.items()} == keys_of(load_data(photos))
    assert "\ntest: null" in (old / "lenet5_modern-seed0" / "settings.yaml").read_text()


def test_other_images_are_still_other_images(board, photos, tmp_path):
    grown = noise(shutil.copytree(photos, tmp_path / "grown"), dict.fromkeys(CLASSES, 1), start=90)
    one_error(compare(grown, board[0], "--seeds", "2", code=3), 3, "other images")


def test_what_the_data_have_is_kept_and_what_they_lack_is_made(photos, tmp_path):
    with_test = shutil.copytree(photos, tmp_path / "a" / "train").parent
    noise(with_test / "test", dict.fromkeys(CLASSES, 4), start=100)
    with_val = shutil.copytree(photos, tmp_path / "b" / "train").parent
    noise(with_val / "val", dict.fromkeys(CLASSES, 4), start=100)
    given, study = images_of(with_test)
    assert (keys_of(given)["test"], study.shares) == (keys_of(load_data(with_test))["test"], {"val": 0.2})
    given, study = images_of(with_val)
    assert (keys_of(given)["val"], study.shares) == (keys_of(load_data(with_val))["val"], {"test": 0.2})
    noise(with_val / "test", dict.fromkeys(CLASSES, 4), start=200)
    given, study = images_of(with_val)
    assert (keys_of(given), study.shares) == (keys_of(load_data(with_val)), {})
    asked, study = images_of(photos, test=0.4, val=0.1)
    assert {name: len(split) for name, split in asked.splits.items()} == {"train": 39, "val": 6, "test": 30}
    assert study.shares == {}


def test_of_many_images_five_thousand_are_enough():
    from podium.data.dataset import Dataset, Split
    from podium.data.images import ArrayImages

    pixels = np.arange(40_000, dtype=np.uint32).view(np.uint8).reshape(40_000, 2, 2, 1)
    split = Split(np.arange(40_000) % 2, ArrayImages(pixels))
    data = Dataset("many", ("a", "b"), {"train": split}, 1, 2, False, (0.5,), (0.5,))
    study = Study(["lenet5_modern"], settings_of(None, None, {"data": "many"}), RunFolder("never").path, 1, data)
    images = study.images()
    assert {name: len(split) for name, split in images.splits.items()} == {"train": 30_624, "val": 4_376, "test": 5_000}
    assert not any("--folds" in note for note in images.notes)


def test_a_loaded_data_set_keeps_what_it_held_out(photos, tmp_path):
    data = load_data(photos, seed=4)
    shown, _ = images_of(photos, data)
    assert keys_of(shown)["val"] == keys_of(data)["val"]
    assert keys_of(shown)["train"] | keys_of(shown)["test"] == keys_of(data)["train"]
    assert [note for note in shown.notes if note.startswith("photos: ")] == list(shown.notes[:1])
    how = {"image_size": 32, "steps": 2, "batch_size": 8, "progress": False}
    board = library.compare(["lenet5_modern"], data, tmp_path / "out", **how)
    run = board.rows and RunFolder(tmp_path / "out" / "lenet5_modern-seed0")
    assert "\ntest: 0.2  # by podium compare\n" in (run / "settings.yaml").read_text()
    assert library.evaluate(run.path, photos)["top1"] == run.result["top1"]
    assert library.compare(["lenet5_modern"], data, tmp_path / "out", **how).rows  # the same images again
    with pytest.raises(UsageError, match="to be ranked") as refused:
        library.compare(["lenet5_modern"], data, tmp_path / "out", rank_on="test", **how)
    assert "rank_on='val'" in refused.value.fix.replace('"', "'")


@pytest.mark.slow
def test_networks_that_start_from_a_run_are_reported_on_images_that_it_has_not_seen(photos, tmp_path):
    done = inside("train", "lenet5_modern", photos, *SHORT[2:], "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    before = read_record(tmp_path / "run").roles
    compare(photos, tmp_path / "all", "--weights", tmp_path / "run", "--scratch", code=2)
    compare(photos, tmp_path / "all", "--weights", tmp_path / "run")
    after = read_record(tmp_path / "all" / "lenet5_modern-seed0").roles
    assert told(after["train"]) == told(before["train"])
    assert told(after["val"]) | told(after["test"]) == told(before["val"])
    assert abs(len(after["val"]) - len(after["test"])) <= 3  # of 15


@pytest.mark.slow
def test_weights_that_have_learned_from_all_training_images_leave_none_to_choose_by(photos, tmp_path):
    data = shutil.copytree(photos, tmp_path / "d" / "train").parent
    noise(data / "test", dict.fromkeys(CLASSES, 4), start=100)
    assert inside("train", "lenet5_modern", data, *SHORT[2:], "-o", tmp_path / "run").returncode == 0
    done = compare(data, tmp_path / "all", "--weights", tmp_path / "run", code=3)
    one_error(done, 3, "were trained on all 75 images", "--rank-on test")
    compare(data, tmp_path / "all", "--weights", tmp_path / "run", "--rank-on", "test")


def test_what_cannot_be_is_refused_before_training(photos):
    for given, says in (({"val": 0.0}, "val: 0 leaves no validation"), ({"test": 0.0}, "test: 0 leaves no test")):
        with pytest.raises(UsageError, match=says) as refused:
            images_of(photos, **given)
        assert "--rank-on test" in refused.value.fix or "rank_on" in refused.value.fix
    with pytest.raises(UsageError, match="folds"):
        images_of(photos, folds=3, rank_on="test")
    with pytest.raises(UsageError, match="with folds every image tests once"):
        images_of(photos, folds=3, test=0.2)
    with pytest.raises(UsageError, match="rank_on: 'train'"):
        images_of(photos, rank_on="train")


def test_json_says_how_many_images_have_which_role(photos, tmp_path):
    said = json.loads(compare(photos, tmp_path / "all", "--json").stdout)
    assert said["notes"][0].startswith("photos: train 48, val 12, test 15 images")
