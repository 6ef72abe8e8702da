"""Which images teach and which judge: an image that a network learned from is never among those that it is evaluated on."""

import hashlib
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

import podium as library
from command import inside
from podium.data.dataset import Dataset, Split
from podium.data.folds import in_roles
from podium.data.held_out import hold_out
from podium.data.identity import INDEX, content_key
from podium.data.images import ArrayImages
from podium.data.record import RECORD, read_record
from podium.data.sources import load_data, load_stored
from podium.errors import DataError, UsageError
from podium.runs.folder import RunFolder

CLASSES = ("circle", "line", "square")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache") / "podium"
    monkeypatch.setenv("PODIUM_CACHE", str(folder))
    return folder


def noise(folder, counts, start=0, side=32):
    """Photos of noise, each another: counts is class -> how many; names go on from `start`."""
    for number, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(start, start + count):
            draw = np.random.default_rng([number, i])
            Image.fromarray(draw.integers(0, 255, (side, side, 3), np.uint8)).save(folder / name / f"{i:03d}.png")
    return folder


def contents(folder):
    """The SHA-256 of every photo below a folder, by a way of its own."""
    return {hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in folder.rglob("*.png")}


def told(keys):
    """Keys as the first letters of a SHA-256."""
    return {int(key).to_bytes(8, "little").hex() for key in keys}


def train(data, out, *more):
    done = inside(
        "train", "lenet5_modern", data, "--image-size", "32", "--epochs", "1", "--batch-size", "8", "-o", out, *more
    )
    assert done.returncode == 0, done.stderr
    return out


def evaluated(run, data, *more):
    done = inside("eval", run, data, "--json", *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return noise(tmp_path_factory.mktemp("roles") / "photos", dict.fromkeys(CLASSES, 20))


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    """A run whose split is not the default one: seed 1, a tenth held out."""
    return train(photos, tmp_path_factory.mktemp("runs") / "a", "--seed", "1", "--val", "0.1")


# --- eval


def test_its_own_folder_is_evaluated_on_what_the_run_held_out(run, photos):
    scores, result = evaluated(run, photos), json.loads((run / "result.json").read_text())
    assert (scores["split"], scores["n"]) == ("val", 6)
    assert scores["top1"] == result["top1"]
    assert scores["loss"] == pytest.approx(result["loss"], abs=1e-6)
    assert any("54 of 60 images are left out" in note for note in scores["notes"])
    record = read_record(run)
    assert told(record.roles["train"]) | told(record.roles["val"]) == contents(photos)
    seen = evaluated(run, photos, "--split", "train")
    assert seen["n"] == 54
    assert any("learned from its train images" in note for note in seen["notes"])
    assert not any("left out" in note for note in seen["notes"])


def test_a_folder_it_has_not_seen_is_evaluated_whole(run, tmp_path):
    scores = evaluated(run, noise(tmp_path / "new", {"circle": 4, "square": 7}, start=500))
    assert (scores["split"], scores["n"]) == ("test", 11)


def test_of_a_folder_that_has_grown_old_training_images_are_left_out(run, photos, tmp_path):
    grown = shutil.copytree(photos, tmp_path / "elsewhere")
    noise(grown, dict.fromkeys(CLASSES, 3), start=700)
    scores = evaluated(run, grown)
    assert (scores["split"], scores["n"]) == ("val", 6 + 9)
    again = train(grown, tmp_path / "again", "--weights", run, "--seed", "5")
    before, after = read_record(run), read_record(again)
    assert told(before.roles["val"]) <= told(after.roles["val"])
    assert not told(before.roles["train"]) & told(after.roles["val"])
    assert len(after.roles["val"]) == 6 + 3  # a fifth of the new ones, of each class at least one


@pytest.mark.slow
def test_a_folder_of_test_images_or_of_one_class_is_enough_to_compare_an_export_by(run, tmp_path):
    tested, one = (
        noise(tmp_path / "tested/test", dict.fromkeys(CLASSES, 2), 500),
        noise(tmp_path / "one", {"line": 3}, 600),
    )
    for data, count in ((tested.parent, 6), (one, 3)):
        assert library.export(run, tmp_path / "x.onnx", data=data).images == count
        timed = inside("bench", run, "--engines", "eager", "--seconds", "0.01", "--data", data, "--json")
        assert timed.returncode == 0, timed.stderr
    done = inside("quantize", run, tested.parent, "-o", tmp_path / "q")  # which needs training images
    assert (done.returncode, "put training images into" in done.stderr) == (3, True)


def test_training_images_among_those_of_a_test_folder_are_left_out_and_counted(run, photos, tmp_path):
    learned = told(read_record(run).roles["train"])
    data = noise(tmp_path / "mixed/test", {"circle": 5}, start=900)
    noise(tmp_path / "mixed/train", dict.fromkeys(CLASSES, 2), start=950)
    known = [
        path for path in sorted(photos.rglob("*.png")) if hashlib.sha256(path.read_bytes()).hexdigest()[:16] in learned
    ]
    for path in known[:4]:
        shutil.copy(path, data / "circle" / f"again-{path.name}")
    scores = evaluated(run, tmp_path / "mixed")
    assert (scores["split"], scores["n"]) == ("test", 5)
    assert any("4 test images are left out" in note for note in scores["notes"])


def test_nothing_but_training_images_is_an_error_with_a_mend(run, photos, tmp_path):
    learned = told(read_record(run).roles["train"])
    for path in photos.rglob("*.png"):
        if hashlib.sha256(path.read_bytes()).hexdigest()[:16] in learned:
            (tmp_path / "seen" / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tmp_path / "seen" / path.parent.name)
    done = inside("eval", run, tmp_path / "seen")
    assert done.returncode == 3
    assert "--split train" in done.stderr
    assert evaluated(run, tmp_path / "seen", "--split", "train")["n"] == 54


def test_a_data_set_split_by_hand_is_no_way_around(run, photos):
    data = load_data(photos, val=0.5, seed=9)
    scores = library.evaluate(run, data)
    held = set(read_record(run).roles["val"].tolist())
    assert scores["n"] == len(held & set(data.splits["val"].contents().tolist()))
    assert library.evaluate(library.load(run), photos)["n"] == 6


def test_a_bundle_that_was_copied_without_the_record_is_recognised_by_its_card(run, photos, tmp_path):
    (tmp_path / "copy").mkdir()
    for name in ("model.safetensors", "card.json"):
        shutil.copy(run / name, tmp_path / "copy")
    scores = evaluated(tmp_path / "copy", photos)
    assert (scores["split"], scores["n"]) == ("val", 6)


def test_of_a_network_without_record_all_is_evaluated_and_that_is_said(run, photos, tmp_path):
    (tmp_path / "copy").mkdir()
    for name in ("model.safetensors", "card.json"):
        shutil.copy(run / name, tmp_path / "copy")
    noise(grown := shutil.copytree(photos, tmp_path / "grown"), {"circle": 1}, start=800)
    scores = evaluated(tmp_path / "copy", grown)
    assert scores["n"] == 61
    assert any("not on record" in note for note in scores["notes"])


def test_a_damaged_record_is_named(run, photos, tmp_path):
    broken = shutil.copytree(run, tmp_path / "broken")
    (broken / RECORD).write_bytes((broken / RECORD).read_bytes()[:100])
    done = inside("eval", broken, photos)
    assert done.returncode == 4
    assert RECORD in done.stderr


def test_what_was_held_out_of_a_set_with_test_images_can_be_asked_for(tmp_path):
    noise(tmp_path / "d/train", dict.fromkeys(CLASSES, 10))
    noise(tmp_path / "d/test", dict.fromkeys(CLASSES, 2), start=100)
    run = train(tmp_path / "d", tmp_path / "run", "--val", "0.2", "--seed", "6")
    assert evaluated(run, tmp_path / "d")["n"] == 6
    assert evaluated(run, tmp_path / "d", "--split", "val")["n"] == 6
    assert evaluated(run, tmp_path / "d", "--split", "train")["n"] == 24


# --- runs of Podium 0.1.0


def old(run, to, typed, photos):
    """The run as Podium 0.1.0 would have written it, had its data been typed so."""
    shutil.copytree(run, to)
    (to / RECORD).unlink()
    lines = [line for line in (to / "settings.yaml").read_text().splitlines() if not line.startswith("split_seed")]
    (to / "settings.yaml").write_text("\n".join(lines) + "\n")
    data = load_data(photos, val=0.1, seed=1)
    digest = hashlib.sha256(repr(data.classes).encode())
    for name, split in data.splits.items():
        digest.update(name.encode() + split.labels.tobytes())
        for file in split.files:
            shown = os.path.join(typed, file.path.relative_to(photos))
            digest.update(f"{file.path.name}{shown}{file.size}".encode())
    card = json.loads((to / "card.json").read_text())
    card["data_sha256"] = digest.hexdigest()
    for key in ("held_out", "card_sha256"):
        card.pop(key)
    (to / "card.json").write_text(json.dumps(card))
    return to


@pytest.mark.parametrize("typed", ["photos", "/absolute", "../photos"])
def test_a_run_from_before_is_recognised(run, photos, tmp_path, typed):
    before = old(run, tmp_path / "old", str(photos) if typed == "/absolute" else typed, photos)
    scores = evaluated(before, photos)
    assert (scores["split"], scores["n"]) == ("val", 6)
    assert scores["top1"] == json.loads((run / "result.json").read_text())["top1"]


def test_where_it_cannot_be_recognised_its_own_data_are_refused(run, photos, tmp_path):
    before = old(run, tmp_path / "old", "some/other/place", photos)
    done = inside("eval", before, photos)
    assert done.returncode == 3
    assert "--split-seed" in done.stderr
    scores = evaluated(before, photos, "--split-seed", "1")
    assert (scores["split"], scores["n"]) == ("val", 6)
    assert scores["top1"] == json.loads((run / "result.json").read_text())["top1"]
    tuning = ("train", "lenet5_modern", photos, "--weights", before, "--epochs", "1", "--batch-size", "8", "-o")
    assert inside(*tuning, tmp_path / "tuned").returncode == 3
    assert inside(*tuning, tmp_path / "tuned", "--split-seed", "1", "--val", "0.1").returncode == 0
    assert evaluated(before, noise(tmp_path / "new", {"circle": 3}, start=990))["n"] == 3


def test_a_split_seed_beside_a_record_is_refused(run, photos):
    done = inside("eval", run, photos, "--split-seed", "3")
    assert done.returncode == 2


# --- runs that come of runs


def test_fine_tuning_on_its_own_folder_keeps_its_split_whatever_the_seed(run, photos, tmp_path):
    tuned = train(photos, tmp_path / "tuned", "--weights", run, "--seed", "7", "--val", "0.4")
    before, after = read_record(run), read_record(tuned)
    assert told(after.roles["val"]) == told(before.roles["val"])
    assert evaluated(tuned, photos)["n"] == 6
    third = train(photos, tmp_path / "third", "--teacher", tuned, "--seed", "8")
    assert told(read_record(third).roles["val"]) == told(before.roles["val"])


def test_what_a_parent_learned_from_is_known_of_its_children(run, photos, tmp_path):
    other = noise(tmp_path / "other", dict.fromkeys(CLASSES, 6), start=300)
    tuned = train(other, tmp_path / "tuned", "--weights", run)
    assert evaluated(tuned, photos)["n"] == 6
    assert told(read_record(run).roles["train"]) <= told(read_record(tuned).learned)


@pytest.mark.slow
def test_all_seeds_of_a_comparison_hold_the_same_images_out(photos, tmp_path):
    out = tmp_path / "board"
    more = ("--image-size", "32", "--epochs", "1", "--batch-size", "8", "--seeds", "2", "--seed", "3")
    done = inside("compare", photos, "-m", "lenet5_modern", *more, "-o", out)
    assert done.returncode == 0, done.stderr
    first, second = (out / f"lenet5_modern-seed{seed}" for seed in (3, 4))
    held = told(read_record(first).roles["val"])
    assert told(read_record(second).roles["val"]) == held
    assert evaluated(second, photos)["top1"] == json.loads((second / "result.json").read_text())["top1"]
    model = library.load(second)
    from podium.api.run_images import images_for
    from podium.training import images
    from podium.training.recipes.named import settings_of

    data = images_for(model, None)
    assert told(data.splits["val"].contents()) == held
    merged = settings_of("shrink", None, {"data": str(photos)})
    _, data = images.as_parent(merged, second, None)
    assert told(data.splits["val"].contents()) == held


def test_beside_test_images_too_what_a_run_held_out_stays_held_out(tmp_path):
    """Of data with test images no validation images are held out by themselves; `podium quantize RUN DATA` keeps the run's."""
    from podium.api.run_images import images_for

    data = noise(tmp_path / "data" / "train", dict.fromkeys(CLASSES, 20)).parent
    noise(data / "test", dict.fromkeys(CLASSES, 4), start=20)
    model = library.load(train(data, tmp_path / "run", "--val", "0.2"))
    record = read_record(model.folder)
    moved = shutil.copytree(data, tmp_path / "moved")
    noise(tmp_path / "other" / "train", dict.fromkeys(CLASSES, 6), start=50)
    noise(tmp_path / "other" / "test", dict.fromkeys(CLASSES, 2), start=60)
    for source in (None, data, moved):
        images = images_for(model, source)
        for name in ("train", "val", "test"):
            assert told(images.splits[name].contents()) == told(record.roles[name]), source
    assert set(images_for(model, tmp_path / "other").splits) == {"train", "test"}


# --- images that report once, after all choices


def keys_of(data):
    return {name: told(split.contents()) for name, split in data.splits.items()}


def test_test_images_are_held_out_before_validation_images(photos):
    data = load_data(photos, test=0.2, val=0.25, seed=3)
    sides = keys_of(data)
    assert sides["train"] | sides["val"] | sides["test"] == contents(photos)
    assert {name: len(keys) for name, keys in sides.items()} == {"train": 36, "val": 12, "test": 12}
    assert all(np.bincount(split.labels).tolist() in ([4] * 3, [12] * 3) for split in data.splits.values())
    note = "12 of 60 training images are held out to test, 12 for validation (seed 3, stratified)"
    assert any(note in line for line in data.notes)
    assert data.held_out == {"share": 0.25, "seed": 3, "test": 0.2}
    assert keys_of(load_data(photos, test=0.2, val=0.5, seed=3))["test"] == sides["test"]
    assert keys_of(load_data(photos, test=0.2, seed=3))["val"] != sides["val"]  # a fifth, as without test images
    assert set(load_data(photos, test=0.2, val=0).splits) == {"train", "test"}
    assert load_data(photos).held_out == {"share": 0.2, "seed": 0}


@pytest.mark.parametrize("seed", range(3))
def test_neither_groups_nor_copies_are_divided_between_three_roles(tmp_path, seed):
    from test_groups import PATIENT, groups_of, patients

    folder = patients(tmp_path / "patients", [1 + i % 4 for i in range(20)])
    sides = [groups_of(split) for split in load_data(folder, test=0.3, seed=seed, group_from=PATIENT).splits.values()]
    assert len(sides) == 3 == sum(map(bool, sides))
    assert len(set.union(*sides)) == sum(map(len, sides)) == 20
    copied = noise(tmp_path / "copied", {"a": 10, "b": 10})
    for path in list(copied.rglob("*.png")):
        shutil.copy(path, path.with_stem(f"{path.stem}-again"))
    sides = list(keys_of(load_data(copied, test=0.3, seed=seed)).values())
    assert len(set.union(*sides)) == sum(map(len, sides)) == 20


@pytest.fixture(scope="module")
def three(photos, tmp_path_factory):
    """A run with validation and test images that Podium held out of a folder without splits."""
    return train(photos, tmp_path_factory.mktemp("three") / "a", "--test", "0.2", "--val", "0.25", "--split-seed", "3")


def test_the_result_is_of_the_test_images_and_eval_says_the_same(three, photos, tmp_path):
    record, result = read_record(three), json.loads((three / "result.json").read_text())
    assert {name: told(keys) for name, keys in record.roles.items()} == keys_of(
        load_data(photos, test=0.2, val=0.25, seed=3)
    )
    assert (result["split"], result["n"]) == ("test", 12)
    assert result["weights"].startswith("best of validation")
    again = evaluated(three, shutil.copytree(photos, tmp_path / "moved"))
    assert (again["split"], again["n"], again["top1"]) == ("test", 12, result["top1"])
    logits, labels = RunFolder(three).validation
    chosen = evaluated(three, photos, "--split", "val")
    assert (chosen["n"], chosen["top1"]) == (len(labels), (logits.argmax(1) == labels).mean())
    assert "test: 0.2  # flag" in (three / "settings.yaml").read_text()


def test_the_roles_of_a_run_hold_in_a_folder_that_has_grown(three, photos, tmp_path):
    from podium.api.run_images import images_for
    from podium.training.images import as_parent
    from podium.training.recipes.named import settings_of

    record, model = read_record(three), library.load(three)
    grown = noise(shutil.copytree(photos, tmp_path / "grown"), dict.fromkeys(CLASSES, 10), start=300)
    before = {name: told(keys) for name, keys in record.roles.items()}
    _, of_parent = as_parent(settings_of("shrink", None, {"data": str(photos)}), three, None)
    for data in (images_for(model, None), images_for(model, photos, to_train=False), of_parent):
        assert keys_of(data) == before
    for data in (images_for(model, grown), images_for(model, grown, to_train=False)):
        now = keys_of(data)
        assert before["test"] <= now["test"]
        assert before["val"] <= now["val"]
        assert not before["train"] & (now["test"] | now["val"])
    assert {name: len(keys) for name, keys in keys_of(images_for(model, grown)).items()} == {
        "train": 36 + 18,
        "val": 12 + 6,
        "test": 12 + 6,
    }
    assert evaluated(three, grown)["n"] == 12 + 30
    fresh = noise(tmp_path / "fresh", dict.fromkeys(CLASSES, 5), start=400)
    assert set(keys_of(images_for(model, fresh))) == {"train", "val"}  # none of them had a role


def test_the_roles_of_a_run_hold_beside_the_split_that_the_data_have(photos, tmp_path):
    from podium.api.run_images import images_for

    shutil.copytree(photos, tmp_path / "d" / "train")
    noise(tmp_path / "d" / "val", dict.fromkeys(CLASSES, 3), start=100)
    run = train(tmp_path / "d", tmp_path / "run", "--test", "0.2")
    before = {name: told(keys) for name, keys in read_record(run).roles.items()}
    assert {name: len(keys) for name, keys in before.items()} == {"train": 48, "val": 9, "test": 12}
    for to_train in (True, False):
        assert keys_of(images_for(library.load(run), tmp_path / "d", to_train)) == before
    assert evaluated(run, tmp_path / "d")["n"] == 12


def test_what_starts_from_a_run_keeps_its_test_images_or_divides_what_it_held_out(three, run, photos, tmp_path):
    earlier = read_record(three)
    later = read_record(train(photos, tmp_path / "a", "--weights", three, "--seed", "9"))
    for name in ("train", "val", "test"):
        assert told(later.roles[name]) == told(earlier.roles[name])
    halved = train(photos, tmp_path / "b", "--weights", run, "--test", "0.2")
    before, after = read_record(run).roles, read_record(halved).roles
    assert told(after["train"]) == told(before["train"])
    assert told(after["test"]) | told(after["val"]) == told(before["val"])
    assert len(after["test"]) == len(after["val"]) == 3  # of six
    both = train(photos, tmp_path / "c", "--weights", halved, "--teacher", three, "--seed", "4")
    merged = {name: told(keys) for name, keys in read_record(both).roles.items()}
    learned = told(before["train"]) | told(earlier.roles["train"])
    assert merged["train"] >= learned
    assert not (merged.get("test", set()) & (told(earlier.roles["val"]) | told(after["val"])))


def test_shares_that_cannot_be_are_refused_before_training(photos, run, tmp_path):
    def refused(*words, code=2):
        done = inside("train", "lenet5_modern", *words, "-o", tmp_path / "never")
        assert done.returncode == code, done.stderr
        assert not (tmp_path / "never").exists()
        return done.stderr

    assert "test: 0.2, but digits has a test split" in refused("digits", "--test", "0.2")
    assert "leave nothing to train on" in refused(photos, "--test", "0.5", "--val", "0.5")
    assert "with folds every image tests once" in refused(photos, "--test", "0.2", "--folds", "3", "--fold", "1")
    assert "test: 1.0" in refused(photos, "--test", "1")
    few = noise(tmp_path / "few", {"a": 2, "b": 2})
    assert "too few images to hold any out" in refused(few, "--test", "0.2", code=3)
    with pytest.raises(UsageError, match="the data set is loaded already: give it to load_data"):
        library.train("lenet5_modern", load_data(photos), tmp_path / "never", test=0.2)


def test_folds_of_a_loaded_data_set_take_its_made_test_images_back(photos):
    stored = load_stored(photos)
    expected = in_roles(stored, None, 0, None, 3, 1)
    assert keys_of(in_roles(load_data(photos, test=0.2), None, 0, None, 3, 1)) == keys_of(expected)


def test_a_loaded_data_set_says_what_was_held_out_and_its_run_is_made_again(photos, tmp_path):
    data = load_data(photos, test=0.2, seed=5)
    how = {"image_size": 32, "steps": 2, "batch_size": 8, "progress": False}
    first = library.train("lenet5_modern", data, tmp_path / "a", **how)
    assert "test: 0.2  # as the data set was loaded" in (first / "settings.yaml").read_text()
    done = inside("train", "--config", first / "settings.yaml", "-o", tmp_path / "b")
    assert done.returncode == 0, done.stderr
    cards = [json.loads((path / "card.json").read_text()) for path in (tmp_path / "a", tmp_path / "b")]
    assert cards[0]["sha256"] == cards[1]["sha256"]
    assert cards[0]["held_out"] == {"seed": 5, "test": 0.2, "share": 0.2}


# --- copies


def test_copies_stay_on_one_side(tmp_path):
    draw = np.random.default_rng(0)
    for i in range(40):
        pixels, name = draw.integers(0, 255, (8, 8, 3), np.uint8), f"class{draw.integers(3)}"
        for copy in range(4):
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{i}_{copy}.png")
    for seed in range(5):
        data = load_data(tmp_path / "data", seed=seed)
        sides = [set(data.splits[name].contents().tolist()) for name in ("train", "val")]
        assert not sides[0] & sides[1]
        assert len(data.splits["train"]) + len(data.splits["val"]) == 160
        assert 20 <= len(data.splits["val"]) <= 40
        assert set(data.splits["val"].labels.tolist()) == {0, 1, 2}
    assert any("120 of them are exact copies" in note for note in data.notes)


def test_one_image_under_two_classes_is_on_one_side_and_no_class_is_emptied(tmp_path):
    noise(tmp_path, {"a": 10, "b": 1})
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    for seed in range(5):
        data = load_data(tmp_path, seed=seed)
        sides = [set(data.splits[name].contents().tolist()) for name in ("train", "val")]
        assert not sides[0] & sides[1]
        assert set(data.splits["train"].labels.tolist()) == {0, 1, 2}
    assert any("none is held out of b" in note for note in data.notes)


def test_without_copies_a_seed_holds_out_what_it_always_did():
    labels = np.repeat(np.arange(3), [30, 10, 5])
    pixels = np.arange(45, dtype=np.uint8).reshape(45, 1, 1, 1)
    data = Dataset("d", ("a", "b", "c"), {"train": Split(labels, ArrayImages(pixels))}, 1, 1, False, (0.5,), (0.5,))
    draw = np.random.Generator(np.random.PCG64(4))
    expected = [
        draw.permutation(np.flatnonzero(labels == label))[: round(0.2 * count)]
        for label, count in enumerate((30, 10, 5))
    ]
    held = hold_out(data, 0.2, 4)
    assert held.splits["val"].pixels.ravel().tolist() == sorted(np.concatenate(expected).tolist())


def test_copies_between_given_splits_are_left_out_of_the_one_that_judges(tmp_path):
    noise(tmp_path / "d/train", {"a": 5, "b": 5})
    noise(tmp_path / "d/test", {"a": 4, "b": 4}, start=100)
    shutil.copy(tmp_path / "d/train/a/000.png", tmp_path / "d/test/a/copy.png")
    data = load_data(tmp_path / "d")
    assert len(data.splits["test"]) == 8
    assert any("1 test images are exact copies of train images" in note for note in data.notes)
    shutil.copytree(tmp_path / "d/test", tmp_path / "d/val")
    with pytest.raises(DataError, match="all 8 test images are exact copies of val images") as problem:
        load_data(tmp_path / "d")
    assert problem.value.fix


# --- identity


def test_a_data_set_is_its_content_and_not_its_path(tmp_path, monkeypatch):
    noise(tmp_path / "p", {"a": 5, "b": 5})
    shutil.copytree(tmp_path / "p", tmp_path / "elsewhere/photos")
    monkeypatch.chdir(tmp_path)
    prints = {
        load_data(path).fingerprint() for path in ("p", "./p/", tmp_path / "p", "elsewhere/../p", "elsewhere/photos")
    }
    assert len(prints) == 1
    shutil.make_archive(str(tmp_path / "packed"), "tar", tmp_path / "p")
    assert load_data("packed.tar").fingerprint() in prints


@pytest.mark.parametrize("keep_times", [False, True])
def test_a_photo_replaced_by_another_of_its_size_is_noticed(tmp_path, keep_times):
    noise(tmp_path / "p", {"a": 5, "b": 5})
    path = tmp_path / "p/a/000.png"
    image = np.zeros((16, 16, 3), np.uint8)
    Image.fromarray(image).save(path, "BMP")  # BMPs of one shape are of one size
    before, stat = load_data(tmp_path / "p").fingerprint(), path.stat()
    image[3, 3] = 200
    Image.fromarray(image).save(path, "BMP")
    if keep_times:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size
    assert load_data(tmp_path / "p").fingerprint() != before


def test_a_photo_is_read_for_its_key_once_ever(tmp_path, cache, monkeypatch):
    from podium.data import identity

    noise(tmp_path / "p", {"a": 3, "b": 3})
    monkeypatch.setattr(identity, "SETTLED", -(10**12))  # as if the photos had lain there for long
    first = load_stored(tmp_path / "p")
    assert (cache / INDEX).is_file()
    os.rename(tmp_path / "p", tmp_path / "moved")
    monkeypatch.setattr("podium.data.image_file.ImageFile.read", lambda _: pytest.fail("read again"))
    again = load_stored(tmp_path / "moved")
    assert again.splits["train"].keys.tolist() == first.splits["train"].keys.tolist()
    assert told(again.splits["train"].keys) == contents(tmp_path / "moved")


@pytest.mark.parametrize("spoil", [lambda p: p.write_bytes(b"no index" * 100), lambda p: p.mkdir()])
def test_an_index_that_cannot_be_used_costs_time_and_nothing_else(tmp_path, cache, spoil):
    noise(tmp_path / "p", {"a": 3, "b": 3})
    cache.mkdir()
    spoil(cache / INDEX)
    assert told(np.concatenate([s.contents() for s in load_data(tmp_path / "p").splits.values()])) == contents(
        tmp_path / "p"
    )


def test_packs_and_shards_know_the_photos_they_were_made_from(run, photos, tmp_path):
    assert inside("pack", photos, "-o", tmp_path / "pack").returncode == 0
    assert inside("pack", photos, "--shards", "-o", tmp_path / "shards").returncode == 0
    for made in (tmp_path / "pack", tmp_path / "shards"):
        scores = evaluated(run, made)
        assert (scores["split"], scores["n"]) == ("val", 6)
    assert load_data(tmp_path / "pack").fingerprint() != load_data(photos).fingerprint()


def test_keys_are_the_first_eight_bytes_of_sha256():
    assert content_key(b"ab", b"c").to_bytes(8, "little").hex() == "ba7816bf8f01cfea"


# --- resume


def test_a_relative_path_is_resumed_and_data_that_moved_too(tmp_path, monkeypatch, photos):
    from command import Running

    monkeypatch.chdir(tmp_path)
    shutil.copytree(photos, "shapes")
    words = ("lenet5_modern", "shapes", "--image-size", "32", "--epochs", "2", "--batch-size", "8")
    train("shapes", "whole", *words[2:])
    shutil.rmtree("whole")
    assert inside("train", *words, "-o", "whole").returncode == 0
    with Running("train", *words, "-o", "run", fault="signal:15@step:3") as process:
        stopped = process.ended()
    assert stopped.returncode == 143
    (line,) = [line for line in stopped.stderr.splitlines() if line.startswith("fix: ")]
    command = line.split("podium ")[1].split()
    os.rename("shapes", "moved")
    gone = inside(*command)
    assert gone.returncode == 3
    assert "podium train lenet5_modern DATA --resume -o run" in gone.stderr
    noise(tmp_path / "moved", {"circle": 1}, start=600)
    changed = inside("train", "lenet5_modern", "moved", "--resume", "-o", "run")
    assert changed.returncode == 3
    assert "1 are new, 0 are gone" in changed.stderr
    (tmp_path / "moved/circle/600.png").unlink()
    done = inside("train", "lenet5_modern", "moved", "--resume", "-o", "run")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()
    os.rename("moved", "shapes")
    assert evaluated("run", "shapes")["split"] == "val"


@pytest.mark.slow
def test_data_that_moved_are_compared_and_pruned_on(tmp_path, monkeypatch, photos):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(photos, "shapes")
    more = ("--image-size", "32", "--epochs", "1", "--batch-size", "8", "-o", "board")
    assert inside("compare", "shapes", "-m", "lenet5_modern", *more).returncode == 0
    os.rename("shapes", "moved")
    done = inside("compare", "moved", "-m", "lenet5_modern,lenet5", *more)
    assert done.returncode == 0, done.stderr
    with pytest.raises(DataError, match="other images"):
        library.compare(
            ["lenet5_modern"],
            noise(tmp_path / "others", dict.fromkeys(CLASSES, 9), start=40),
            "board",
            image_size=32,
            epochs=1,
            batch_size=8,
        )


@pytest.mark.slow
def test_a_student_that_is_a_run_is_judged_by_images_that_neither_has_learned_from(run, photos, tmp_path, monkeypatch):
    other = train(photos, tmp_path / "student", "--seed", "4", "--val", "0.4")
    done = inside(
        "distill", run, other, photos, "--epochs", "1", "--batch-size", "8", "--no-controls", "-o", tmp_path / "out"
    )
    learned = told(read_record(run).learned) | told(read_record(other).learned)
    if contents(photos) - learned:
        assert done.returncode == 0, done.stderr
        assert not told(read_record(tmp_path / "out").roles["val"]) & learned
    else:
        assert done.returncode == 3


def test_a_test_folder_is_evaluated_on_where_all_of_val_was_learned_from(run, photos, tmp_path):
    learned = told(read_record(run).roles["train"])
    noise(tmp_path / "d/train", dict.fromkeys(CLASSES, 2), start=400)
    noise(tmp_path / "d/test", dict.fromkeys(CLASSES, 2), start=450)
    for path in photos.rglob("*.png"):
        if hashlib.sha256(path.read_bytes()).hexdigest()[:16] in learned:
            (tmp_path / "d/val" / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tmp_path / "d/val" / path.parent.name)
    scores = evaluated(run, tmp_path / "d")
    assert (scores["split"], scores["n"]) == ("test", 6)
    assert any("all 54 val images are left out" in note for note in scores["notes"])


def test_a_split_of_which_nothing_can_be_read_is_named(tmp_path):
    noise(tmp_path / "d/train", dict.fromkeys(CLASSES, 40))
    noise(tmp_path / "d/val", {"line": 1}, start=90)
    (tmp_path / "d/val/line/090.png").write_bytes(b"\x89PNG\r\n\x1a\n but cut")
    with pytest.raises(DataError, match="no val image can be read"):
        load_data(tmp_path / "d", on_bad="skip")
