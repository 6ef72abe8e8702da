"""Cross-validation: every image reports once, by a network that has not seen it, and what is handed over has seen all others."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import podium as library
from command import inside, one_error, podium
from podium.comparison.cross_validation import fold_folders
from podium.data.folds import in_roles
from podium.data.groups import with_groups
from podium.data.record import read_record
from podium.data.sources import load_data, load_stored
from podium.errors import DataError, UsageError
from podium.runs import bundle
from podium.runs.answers import Rule
from podium.runs.folder import RunFolder

CLASSES = ("circle", "line", "square")
SHORT = ("--image-size", "32", "--epochs", "2", "--batch-size", "8", "--group-from", r"(p\d+)_")
FOLDS = (*SHORT, "--folds", "3")
NETS = ("-m", "lenet5_modern,lenet5")


@pytest.fixture(autouse=True)
def _apart(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PODIUM_CACHE", str(tmp_path_factory.mktemp("cache") / "podium"))


def photo(path, label, *key):
    """A photo of noise with a tint that tells its class, mostly."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(list(key)).integers(0, 160, (32, 32, 3), np.uint8)
    pixels[..., label] += 40
    Image.fromarray(pixels).save(path)


def patients(folder, sizes, start=0):
    """Photos by class, named after patients: each patient has so many of every class."""
    for patient, size in enumerate(sizes, start):
        for label, name in enumerate(CLASSES):
            for i in range(size):
                photo(folder / name / f"p{patient:02d}_{i}.png", label, patient, label, i)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Nine patients, 54 photos."""
    return patients(tmp_path_factory.mktemp("folds") / "photos", [1, 2, 3] * 3)


@pytest.fixture(scope="module")
def board(photos, tmp_path_factory):
    """A finished comparison in three folds."""
    out = tmp_path_factory.mktemp("board") / "c"
    done = inside("compare", photos, *NETS, *FOLDS, "-o", out)
    assert done.returncode == 0, done.stderr
    return out, done


def table(out):
    with (out / "leaderboard.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def names(split):
    return [file.below for file in split.files]


def weights(out):
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("model.safetensors")}


# --- the images


@pytest.mark.parametrize("seed", range(3))
def test_every_image_tests_once_and_no_group_is_divided(photos, seed):
    stored = with_groups(load_stored(photos), group_from=r"(p\d+)_")
    tested = []
    for fold in (1, 2, 3):
        splits = in_roles(stored, None, seed, None, 3, fold).splits
        sides = [{name.split("/")[1][:3] for name in names(split)} for split in splits.values()]
        assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
        assert sum(map(len, splits.values())) == 54
        for split in splits.values():
            assert set(split.labels) == {0, 1, 2}
        tested += names(splits["test"])
    assert sorted(tested) == sorted(names(stored.splits["train"]))


def test_train_and_val_are_pooled_and_test_images_stay_apart(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "d" / "train")
    patients(tmp_path / "d" / "val", [2], 20)
    patients(tmp_path / "d" / "test", [2], 30)
    stored = load_stored(tmp_path / "d")
    parts = [in_roles(stored, None, 0, None, 4, fold) for fold in (1, 2, 3, 4)]
    tested = [name for part in parts for name in names(part.splits["test"])]
    assert sorted(tested) == sorted(names(stored.splits["train"]) + names(stored.splits["val"]))
    whole = in_roles(stored, None, 0, None, 4)
    assert names(whole.splits["test"]) == names(stored.splits["test"])
    assert len(whole.splits["train"]) + len(whole.splits["val"]) == 60
    assert any("54 train and 6 val images are pooled" in note for note in whole.notes)


def test_copies_are_in_one_fold_and_arrays_have_folds_too(photos, tmp_path):
    folder = shutil.copytree(photos, tmp_path / "d")
    shutil.copyfile(folder / "line" / "p00_0.png", folder / "line" / "q.png")
    stored = load_stored(folder)
    sides = [
        {"line/p00_0.png", "line/q.png"} & set(names(in_roles(stored, None, 1, None, 3, f).splits["test"]))
        for f in (1, 2, 3)
    ]
    assert sorted(map(len, sides)) == [0, 0, 2]
    digits = load_data("digits")
    whole = in_roles(digits, None, 0, None, 5)
    assert (len(whole.splits["train"]) + len(whole.splits["val"]), len(whole.splits["test"])) == (1437, 360)


@pytest.mark.slow
def test_too_few_images_of_a_class_name_the_number_that_works(photos, tmp_path):
    folder = shutil.copytree(photos, tmp_path / "d")
    for path in sorted((folder / "line").iterdir())[4:]:
        path.unlink()
    flags = ("compare", folder, "-m", "lenet5_modern", "--image-size", "32", "--epochs", "1", "-o", tmp_path / "c")
    one_error(inside(*flags, "--folds", "10"), 3, "line has 4 different images", "too few for 10 folds", "--folds 4")
    assert not (tmp_path / "c").exists()
    assert inside(*flags, "--folds", "4").returncode == 0
    for path in sorted((folder / "line").iterdir())[1:]:
        path.unlink()
    with pytest.raises(DataError, match="line has 1") as refused:
        in_roles(load_stored(folder), None, 0, None, 2, 1)
    assert "add" in refused.value.fix


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--folds", "1"), "folds: 1"),
        (("--fold", "2"), "--folds 5"),
        (("--folds", "3", "--fold", "4"), "fold: 4 of 3"),
        (("--folds", "3", "--fold", "1", "--val", "0"), "val: 0"),
    ],
)
def test_folds_that_are_none_are_refused(photos, tmp_path, flags, says):
    one_error(inside("train", "lenet5_modern", photos, *SHORT, *flags, "-o", tmp_path / "r"), 2, says)


# --- the comparison


def test_a_row_is_of_all_images_each_classified_once(board, photos):
    out, _ = board
    for row in table(out):
        path = out / f"{row['model']}-seed0"
        right = []
        for fold in fold_folders(path):
            logits, labels = RunFolder(fold).predictions
            right.append(logits.argmax(1) == labels)
            assert RunFolder(fold).result["weights"].startswith("best of validation")
        assert len(right) == 3
        assert float(row["top1"]) == np.concatenate(right).mean()
        result = json.loads((path / "result.json").read_text())
        assert (result["n"], result["split"], row["folds"]) == (54, "cross-validated", "3")
        assert result["cross_validation"]["top1"] == [each.mean() for each in right]
        assert float(row["top1_low"]) < float(row["top1"]) < float(row["top1_high"]) or float(row["top1"]) == 1


def test_what_it_says_of_the_accuracy(board):
    out, done = board
    assert "Cross-validated in 3 folds" in done.stdout
    assert "54 cross-validated images of 9 groups" in done.stdout
    assert "not its test accuracy" in done.stdout
    assert "7 runs of 2 epochs, of 2 x 3 folds and the recommended network once more on all images" in done.stderr
    assert "note: 54 images in 9 groups of 3 to 9; groups stay on one side" in done.stderr
    page = (out / "report.html").read_text()
    assert "3 folds; the recommended network once more on all images" in page
    assert "cross-validated" in page


def test_the_network_that_is_handed_over_has_seen_all_but_some_validation_images(board, photos, tmp_path):
    out, _ = board
    best = next(row for row in table(out) if row["recommended"] == "True")
    assert best["run"] == f"{best['model']}-final"
    final = out / best["run"]
    model = bundle.load(out)
    assert model.folder == final
    crossed = model.card["cross_validation"]
    assert crossed["top1"] == float(best["top1"])
    assert (crossed["folds"], crossed["n"], crossed["networks_compared"]) == (3, 54, 2)
    assert model.card["split"] == "val"
    roles = np.load(final / "images.npz")
    assert len(roles["split train"]) + len(roles["split val"]) == 54
    assert 3 <= len(roles["split val"]) <= 9
    picture = next(photos.rglob("*.png"))
    assert inside("predict", out, picture).returncode == 0
    assert inside("verify", final).returncode == 0
    scores = json.loads(inside("eval", out, photos, "--json").stdout)
    assert (scores["split"], scores["n"]) == ("val", len(roles["split val"]))


def test_the_same_again_repeats_nothing_and_other_folds_are_refused(board, photos):
    out, _ = board
    before = {
        path: path.stat().st_mtime_ns for path in out.glob("*-*/**/*.*") if path.is_file() and path.name != ".lock"
    }
    again = inside("compare", photos, *NETS, *FOLDS, "-o", out)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    one_error(inside("compare", photos, *NETS, *SHORT, "--folds", "4", "-o", out), 2, "with folds 3, not 4")
    one_error(inside("compare", photos, *NETS, *SHORT, "-o", out), 2, "with folds 3")


def test_a_fold_alone_is_the_run_of_the_comparison_and_resumes(board, photos, tmp_path):
    out, _ = board
    fold = ("train", "lenet5_modern", photos, *FOLDS, "--fold", "2", "-o", tmp_path / "alone")
    assert podium(*fold, "--checkpoint-every", "0.001s", fault="kill@step:5").returncode == -9
    done = inside("train", "--resume", "-o", tmp_path / "alone")
    assert done.returncode == 0, done.stderr
    theirs = out / "lenet5_modern-seed0" / "fold2" / "model.safetensors"
    assert (tmp_path / "alone" / "model.safetensors").read_bytes() == theirs.read_bytes()


def test_a_fold_is_evaluated_on_its_own_test_images_and_not_on_those_that_chose_its_epoch(board, photos):
    run = board[0] / "lenet5_modern-seed0" / "fold2"
    result, found = json.loads((run / "result.json").read_text()), {}
    for split in ("test", "val"):
        found[split] = json.loads(inside("eval", run, photos, "--split", split, "--json").stdout)
    assert [found["test"][key] for key in ("n", "top1")] == [result["n"], result["top1"]]
    assert json.loads(inside("eval", run, photos, "--json").stdout)["split"] == "test"
    record = read_record(run)
    assert found["val"]["n"] == len(record.roles["val"])


@pytest.mark.slow
def test_a_comparison_killed_anywhere_ends_with_the_same_bits(board, photos, tmp_path):
    out, _ = board
    again = ("compare", photos, *NETS, *FOLDS, "--checkpoint-every", "0.001s", "-o", tmp_path / "c")
    for killed in range(
        20
    ):  # a run that was killed at its third step does not take its second one again: the next does
        done = podium(*again, fault=f"kill@step:{3 - killed % 2}")
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr
    assert killed == 13  # each of seven runs twice, but the last only at its third step
    assert weights(tmp_path / "c") == weights(out)
    for name in ("card.json",):
        run = table(out)[0]["run"]
        assert (tmp_path / "c" / run / name).read_bytes() == (out / run / name).read_bytes()


@pytest.mark.slow
def test_several_seeds_have_the_same_folds_and_are_one_row(photos, tmp_path):
    done = inside(
        "compare", photos, "-m", "lenet5_modern", *FOLDS, "--epochs", "8", "--seeds", "2", "-o", tmp_path / "c"
    )
    assert done.returncode == 0, done.stderr
    (row,) = table(tmp_path / "c")
    assert (row["seeds"], row["folds"], row["run"]) == ("2", "3", "lenet5_modern-final")
    labels = [np.load(tmp_path / "c" / f"lenet5_modern-seed{seed}" / "predictions.npz")["labels"] for seed in (0, 1)]
    assert (labels[0] == labels[1]).all()


def test_starting_weights_that_know_the_images_are_refused(board, photos, tmp_path):
    out, _ = board
    start = out / "lenet5_modern-seed0" / "fold1"
    again = ("compare", photos, "-m", "lenet5_modern", *FOLDS, "--weights", start, "-o", tmp_path / "c")
    one_error(inside(*again), 3, "were trained on", "leave --folds out")


@pytest.mark.slow
def test_data_that_is_loaded_already_is_divided_as_the_path_is(photos, tmp_path):
    data = load_data(photos, group_from=r"(p\d+)_")
    given = {"image_size": 32, "epochs": 1, "batch_size": 8, "folds": 3}
    first = library.compare(["lenet5_modern"], data, tmp_path / "a", **given)
    second = library.compare(["lenet5_modern"], photos, tmp_path / "b", group_from=r"(p\d+)_", **given)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert first.rows[0]["top1"] == second.rows[0]["top1"]
    run = library.train("lenet5_modern", data, tmp_path / "r", fold=3, **given)
    theirs = tmp_path / "a" / "lenet5_modern-seed0" / "fold3" / "model.safetensors"
    assert (run / "model.safetensors").read_bytes() == theirs.read_bytes()
    with pytest.raises(UsageError, match="fold"):
        library.compare(["lenet5_modern"], data, tmp_path / "c", fold=1, **given)


def test_the_network_that_is_handed_over_is_calibrated_on_the_answers_of_the_folds(board, photos, tmp_path):
    out, done = board
    run = RunFolder(out / table(out)[0]["run"])
    found = bundle.load(out).card["confidence"]
    assert found == run.result["confidence"]
    pooled = RunFolder(out / f"{table(out)[0]['model']}-seed0")
    logits, labels = pooled.predictions
    keys = np.concatenate([read_record(fold).roles["test"] for fold in fold_folders(pooled.path)])
    own = np.isin(keys, read_record(run.path).roles["val"])
    assert (found["split"], found["images"]) == ("cross-validated", 54 - own.sum())
    # The temperature with the least loss of all of a grid: no other is better by more than the grid is coarse.
    loss = {t: -np.log(Rule(t).probabilities(logits[~own])[np.arange((~own).sum()), labels[~own]]).mean()
            for t in [found["calibration_temperature"], *np.geomspace(0.05, 20, 200)]}  # fmt: skip
    assert min(loss.values()) == pytest.approx(loss[found["calibration_temperature"]], abs=1e-6)
    measured = found["measured"]  # on the validation images of this run, which fitted nothing
    assert (measured["split"], measured["images"]) == ("val", own.sum())
    p = Rule(found["calibration_temperature"]).probabilities(run.predictions[0])
    assert measured["coverage"] == pytest.approx((p.max(1) >= found["threshold"]).mean())
    assert f"fitted on {found['images']} cross-validated images" in done.stdout
    files = sorted(map(str, photos.rglob("*.png")))
    answers = json.loads(inside("predict", out, *files, "--json").stdout)
    below = [row["top"][0]["probability"] < found["threshold"] for row in answers]
    assert [row["answer"] == "unknown" for row in answers] == below


def test_a_comparison_that_lost_the_confidence_writes_it_again_without_training(board, photos, tmp_path):
    """As one of an older version, or one that was killed after its last run."""
    again = tmp_path / "c"
    shutil.copytree(board[0], again)
    final = RunFolder(again / table(again)[0]["run"])
    whole = {name: (final / name).read_bytes() for name in ("card.json", "result.json", "model.safetensors")}
    bundle.amend(final.path, {"confidence": {"notes": ["nothing"]}})
    final.write_json("result.json", {**final.result, "confidence": {"notes": ["nothing"]}})
    assert inside("compare", photos, *NETS, *FOLDS, "-o", again).returncode == 0
    assert {name: (final / name).read_bytes() for name in whole} == whole


@pytest.mark.slow
def test_an_operating_point_of_the_network_that_is_handed_over_is_fitted_on_the_folds(photos, tmp_path):
    out = tmp_path / "c"
    flags = ("-m", "lenet5_modern", *FOLDS, "--epochs", "6", "--recall", "circle=0.8", "-o", out)
    done = inside("compare", photos, *flags)
    assert done.returncode == 0, done.stderr
    (row,) = table(out)
    found = bundle.load(out).card["confidence"]["classes"]["circle"]
    assert found["recall"] == 0.8
    labels = np.load(out / "lenet5_modern-seed0" / "predictions.npz")["labels"]
    assert (labels == 0).sum() - 3 <= found["images"] < (labels == 0).sum()
    assert row["run"] == "lenet5_modern-final"
    one_error(
        inside("compare", photos, *flags[:-3], "square=0.8,ring=0.9", "-o", tmp_path / "d"),
        2,
        "no class is called 'ring'",
    )


def test_where_no_images_choose_the_last_epoch_patience_is_refused_before_training(photos, tmp_path):
    refused = inside("compare", photos, *NETS, *FOLDS, "--patience", "1", "-o", tmp_path / "c")
    one_error(refused, 2, "patience: 1 needs held-out images other than", "give a test folder")
    assert not (tmp_path / "c").exists()


def test_a_run_on_all_images_without_its_folds_says_where_thresholds_come_from(photos, tmp_path):
    run = ("train", "lenet5_modern", photos, *FOLDS, "--epochs", "1", "--recall", "circle=0.8", "-o", tmp_path / "a")
    done = inside(*run)
    assert done.returncode == 0, done.stderr
    assert "let podium compare --folds train it, which fits them on the answers of the folds" in done.stdout


def test_where_nothing_has_learned_none_is_handed_over(photos, tmp_path):
    out = tmp_path / "c"
    done = inside("compare", photos, "-m", "lenet5_modern", *SHORT[:-2], "--folds", "2", "--lr", "0", "-o", out)
    assert done.returncode == 0, done.stderr
    assert "recommended" not in done.stdout
    one_error(inside("predict", out, next(photos.rglob("*.png"))), 4, "no network", "train")


@pytest.mark.slow
def test_a_plan_counts_the_runs_and_writes_nothing(photos, tmp_path):
    out = tmp_path / "c"
    done = inside("compare", photos, *NETS, *FOLDS, "--seeds", "2", "--plan", "--json", "-o", out)
    found = json.loads(done.stdout)
    assert (found["runs"], found["folds"], found["seeds"]) == (13, 3, 2)
    assert [row["runs"] for row in found["networks"]] == [6, 6]
    each = [row["seconds_each"] for row in found["networks"]]
    assert found["seconds"] == pytest.approx(6 * sum(each) + max(each), abs=0.2)
    assert not out.exists()
    text = inside("compare", photos, "-m", "lenet5_modern", *SHORT, "--plan", "-o", out).stdout
    assert "in all 1 run:" in text
