"""Tuning: which values are tried, that validation images choose, that nothing is repeated, and what the verdict says of it."""

import errno
import hashlib
import json
import os
import shutil

import numpy as np
import pytest
import yaml

import podium as library
from command import inside, one_error, podium
from podium.comparison.ranking import SCORES
from podium.comparison.running.trainer import error_of_its_own
from podium.comparison.statistics import Answers
from podium.comparison.suggest import SPREAD, suggest
from podium.comparison.tunable import TUNABLE, tuned_names
from podium.comparison.tuned import Trial, Tuned, tuned_sentence
from podium.errors import MachineError, UsageError
from podium.settings import FIELDS, Settings

TRIALS = 3
NETWORKS = ("lenet5", "lenet5_modern")
FLAGS = (
    "-m",
    ",".join(NETWORKS),
    "--steps",
    "12",
    "--workers",
    "0",
    "--jobs",
    "1",
    "--threads",
    "1",
    "--amp",
    "off",
    "--memory-format",
    "contiguous",
    "--tune",
    "lr,weight_decay",
)


# Which values are tried


def trial(number, value, **settings):
    return Trial(number, settings, None, value, error=None if value is not None else "diverged")


def test_the_next_point_follows_from_the_trials_alone_and_is_within_reach():
    centre, history = {"lr": 3e-3, "weight_decay": 0.0, "batch_size": 32}, []
    history.append(trial(1, -np.log(3), **centre))
    for number in range(2, 25):
        tried = suggest(centre, history)
        assert tried == suggest(centre, history[:])
        assert 3e-4 <= tried["lr"] <= 3e-2
        assert 5e-5 <= tried["weight_decay"] <= 5e-3  # around the usual value, since 0 has no logarithm
        assert tried["batch_size"] in (8, 16, 32, 64, 128)
        assert isinstance(tried["batch_size"], int)
        assert tried["lr"] == float(f"{tried['lr']:.3g}")
        Settings(**tried)
        history.append(trial(number, None if tried["lr"] > 0.01 else -abs(np.log(tried["lr"] / 1e-3)), **tried))
    assert len({each.settings["lr"] for each in history}) == 24
    best = max((each for each in history if each.value is not None), key=lambda each: each.value)
    assert abs(np.log(best.settings["lr"] / 1e-3)) < 0.3
    late = [each.settings["lr"] for each in history[SPREAD + 4 :]]
    assert np.mean([lr > 0.01 for lr in late]) < 0.3, "what diverges is avoided; of the logarithmic range it is half"


def test_the_first_trials_fill_the_range_evenly():
    history = [trial(1, 0.5, lr=0.01)]
    while len(history) < SPREAD:
        history.append(trial(len(history) + 1, 0.5, **suggest({"lr": 0.01}, history)))
    places = np.sort([np.log10(each.settings["lr"] / 0.001) / 2 for each in history])
    assert np.diff([0, *places, 1]).max() < 2 / SPREAD


@pytest.mark.parametrize("name", TUNABLE)
def test_every_setting_that_can_be_tuned_has_values_on_both_ends_that_it_may_have(name):
    for recipe in (FIELDS[name].default, 0.1, 0, 0.9, 0.995):
        centre = {"lr": 0.05, "batch_size": 64}.get(name, recipe)
        low, high = TUNABLE[name].around(centre)
        assert low < high
        assert low <= (centre or low) <= high
        for value in (low, high):
            Settings(**{name: TUNABLE[name].value(value, centre or TUNABLE[name].zero)})


def test_names_may_be_flags_and_count_once():
    assert tuned_names("lr, weight-decay,lr") == tuned_names(["lr", "weight_decay"]) == ("lr", "weight_decay")


# What the choice flatters


def test_lower_scores_leave_differences_their_width():
    draw = np.random.default_rng(0)
    answers = Answers([draw.random((1, 200)) < share for share in (0.8, 0.7)])
    lower = answers.lowered([0.1, 0.0])
    before, after = answers.difference(0, 1), lower.difference(0, 1)
    assert after.by == pytest.approx(before.by - 0.1)
    assert after.half == pytest.approx(before.half)
    np.testing.assert_allclose(lower.covariance, answers.covariance)
    assert answers.scores[0].mean() == pytest.approx(lower.scores[0].mean() + 0.1)


def test_the_verdict_says_how_the_settings_were_found():
    found = {
        name: Tuned(("lr",), (trial(1, 0.5, lr=0.1), trial(2, None, lr=0.2)), "top1", 60, flatters)
        for name, flatters in (("a", 0.0123), ("b", 0.004))
    }
    text = tuned_sentence(found)
    assert "The lr of each network: the best of 2 trials on 60 validation images" in text
    assert "0.40 points (b) to 1.23 points (a)" in text
    assert tuned_sentence({}) == ""
    loss = Tuned(("lr",), (trial(1, -0.5, lr=0.1), trial(2, -0.25, lr=0.2)), "log-loss")
    assert (loss.best.number, loss.best.score("log-loss")) == (2, 0.25)


# A comparison whose networks are tuned


@pytest.fixture(scope="module")
def study(small_set, tmp_path_factory):
    """A finished comparison: four trials of two networks, and a second seed with what they found."""
    out = tmp_path_factory.mktemp("tuned") / "board"
    done = inside("compare", small_set, *FLAGS, "--trials", TRIALS, "--seeds", "2", "--json", "-o", out)
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout)


def settings_in(run):
    return yaml.safe_load((run / "settings.yaml").read_text())


def weights(out):
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in out.glob("**/model.safetensors")
    }


def test_the_first_trial_has_the_recipe_and_every_trial_is_a_complete_run(study):
    out, _ = study
    for name in NETWORKS:
        runs = [out / "trials" / str(number) / f"{name}-seed0" for number in range(1, TRIALS + 1)]
        first, *others = [settings_in(run) for run in runs]
        assert (first["weight_decay"], first["lr"]) == (0.01, 0.003)
        for tried in others:
            assert {k: v for k, v in tried.items() if k not in ("lr", "weight_decay")} == {
                k: v for k, v in first.items() if k not in ("lr", "weight_decay")
            }
            assert 3e-4 <= tried["lr"] <= 3e-2
        assert len({settings["lr"] for settings in (first, *others)}) == TRIALS
        assert all(json.loads((run / "result.json").read_text())["steps"] == 12 for run in runs)


def test_validation_images_choose_and_all_seeds_have_what_they_chose(study):
    out, said = study
    rows = {row["model"]: row for row in said["leaderboard"]}
    for name in NETWORKS:
        found = []
        for number in range(1, TRIALS + 1):
            with np.load(out / "trials" / str(number) / f"{name}-seed0" / "predictions.npz") as kept:
                logits, labels = kept["val_logits"], kept["val_labels"]
            likely = logits - np.log(np.exp(logits).sum(1, keepdims=True))
            likely = float(likely[np.arange(len(labels)), labels].mean())
            found.append((float((logits.argmax(1) == labels).mean()), likely, -number))
        best = -max(found)[2]
        own = said["tuning"][name]
        assert own["best"] == best
        assert [each["score"] for each in own["trials"]] == pytest.approx([score for score, *_ in found])
        taken, tried = out / f"{name}-seed0", out / "trials" / str(best) / f"{name}-seed0"
        assert (taken / "model.safetensors").read_bytes() == (tried / "model.safetensors").read_bytes()
        values = {key: settings_in(tried)[key] for key in ("lr", "weight_decay")}
        assert own["settings"] == values
        for seed in (0, 1):
            assert {key: settings_in(out / f"{name}-seed{seed}")[key] for key in values} == values
        for seed, more in ((0, f", trial {best}"), (1, "")):
            text = (out / f"{name}-seed{seed}" / "settings.yaml").read_text()
            assert text.count(f"# by --tune: best of {TRIALS} trials{more}\n") == 2
        assert rows[name]["tuned"].endswith(f": best of {TRIALS} trials")
        assert rows[name]["flattered"] == own["flatters"] >= 0


def test_what_the_choice_flatters_is_taken_off_the_score_that_ranks(study):
    out, said = study
    for row in said["leaderboard"]:
        scores = []
        for seed in (0, 1):
            with np.load(out / f"{row['model']}-seed{seed}" / "predictions.npz") as kept:
                scores.append(SCORES["top1"].of(kept["val_logits"], kept["val_labels"]).mean())
        assert row["score"] == pytest.approx(np.mean(scores) - row["flattered"])


def test_verdict_and_report_have_the_trials(study):
    out, said = study
    assert f"The lr and weight_decay of each network: the best of {TRIALS} trials on 80 validation" in said["verdict"]
    page = " ".join((out / "report.html").read_text().split())
    assert page.count("Trials of lr and weight_decay") == 2
    for own in said["tuning"].values():
        for each in own["trials"]:
            assert f'data-value="{each["lr"]}"' in page
    assert f"best of {TRIALS} trials" in (out / "leaderboard.csv").read_text()


def test_the_same_again_trains_nothing(study, small_set):
    out, _ = study
    before = {path: path.stat().st_mtime_ns for path in out.glob("**/*-seed*/*") if path.name != ".lock"}
    again = inside("compare", small_set, *FLAGS, "--trials", TRIALS, "--seeds", "2", "-o", out)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert f"tuning lr, weight_decay: {TRIALS} trials of each of 2 networks" in again.stderr
    assert "80 validation images are few" in again.stderr


def test_other_settings_in_the_same_folder_are_refused_with_how_to_go_on(study, small_set):
    out, _ = study
    words = ("compare", small_set, *FLAGS[:-2], "--seeds", "2", "-o", out)
    one_error(inside(*words), 2, "was made with tune lr, weight_decay", "--tune lr,weight_decay goes on with it")
    one_error(inside(*words, "--tune", "lr"), 2, "was made with tune lr, weight_decay, not lr")


@pytest.mark.slow
def test_tuning_that_was_killed_anywhere_ends_with_the_same_bits(study, small_set, tmp_path):
    out = tmp_path / "board"
    words = ("compare", small_set, *FLAGS, "--trials", TRIALS, "--seeds", "2", "-o", out)
    one_error(podium(*words, fault="signal:15@step:7"), 143, "after step 7")  # in the first trial
    shutil.rmtree(out)
    shutil.copytree(study[0], out)
    for path in (*out.glob("trials/[23]"), *out.glob("*-seed*")):
        shutil.rmtree(path)
    one_error(podium(*words, fault="signal:15@step:7"), 143, "after step 7")  # in the second trial
    assert podium(*words, fault="kill@result.json:synced").returncode == -9
    assert inside(*words).returncode == 0
    assert weights(out) == weights(study[0])
    for path in out.glob("*-seed0"):
        shutil.rmtree(path)
    for place in ("images.npz:written", "settings.yaml:written"):
        assert podium(*words, fault=f"kill@{place}").returncode == -9  # while the best trial is taken
    assert inside(*words).returncode == 0
    assert weights(out) == weights(study[0])


def test_a_full_disk_while_the_best_trial_is_taken_is_said_in_two_lines(study, small_set, tmp_path, monkeypatch):
    out = tmp_path / "board"
    shutil.copytree(study[0], out)
    shutil.rmtree(out / "lenet5-seed0")

    def full(content, copy):
        copy.write(content.read(100))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    words = ("compare", small_set, *FLAGS, "--trials", TRIALS, "--seeds", "2", "-o", out)
    with monkeypatch.context() as patch:
        patch.setattr("podium.files.shutil.copyfileobj", full)
        one_error(inside(*words), 6, "disk full: need 0.", f"at {out / 'lenet5-seed0'}", "free some space")
    assert not any(
        path.is_file() for path in (out / "lenet5-seed0").rglob("*")
    )  # no part of a file, which would be read
    assert inside(*words).returncode == 0
    assert weights(out) == weights(study[0])


@pytest.mark.slow
def test_networks_with_other_settings_than_the_best_trial_are_refused_and_what_mends_it_does(
    study, small_set, tmp_path
):
    """As where more trials have found something better."""
    out = tmp_path / "board"
    shutil.copytree(study[0], out)
    file = out / "lenet5-seed1" / "settings.yaml"
    file.write_text(file.read_text().replace(f"lr: {settings_in(file.parent)['lr']} ", "lr: 0.1 "))
    words = ("compare", small_set, *FLAGS, "--trials", TRIALS, "--seeds", "2", "-o", out)
    one_error(inside(*words), 2, "was trained with other settings", f"delete {out / 'lenet5'}-seed*")
    for path in out.glob("lenet5-seed*"):
        shutil.rmtree(path)
    assert inside(*words).returncode == 0
    assert weights(out) == weights(study[0])


@pytest.mark.slow
def test_a_trial_that_diverges_is_on_record_and_ends_nothing(small_set, tmp_path, monkeypatch):
    out = tmp_path / "board"
    words = ("compare", small_set, "-m", "lenet5", *FLAGS[2:], "-o", out, "--json", "--trials")
    assert inside(*words, 2).returncode == 0
    monkeypatch.setenv("PODIUM_FAULT", "nan@before:5")
    said = json.loads(inside(*words, 3).stdout)
    monkeypatch.delenv("PODIUM_FAULT")
    *_, failed = said["tuning"]["lenet5"]["trials"]
    assert failed["score"] is None
    assert "loss nan" in failed["error"]
    assert list(json.loads((out / "trials.json").read_text())["failed"]) == ["3/lenet5-seed0"]
    again = json.loads(inside(*words, 3).stdout)
    assert again["tuning"] == said["tuning"]  # it is not repeated
    assert failed["error"] in " ".join((out / "report.html").read_text().split())
    assert not (out / "trials" / "3" / "lenet5-seed0" / "result.json").exists()


def test_memory_that_runs_out_in_one_run_ends_no_other():
    assert isinstance(error_of_its_own(MemoryError()), MachineError)
    assert isinstance(error_of_its_own(RuntimeError("DefaultCPUAllocator: not enough memory")), MachineError)
    assert error_of_its_own(RuntimeError("a fault")) is None
    assert error_of_its_own(MachineError("the disk is full", "free some space")) is None


def test_python_tunes_too(small_set, tmp_path):
    board = library.compare(
        ["lenet5"], small_set, tmp_path / "out", tune=("lr",), trials=2, steps=3, rank_by="log-loss", jobs=1, workers=0
    )
    tuned = board.tuned["lenet5"]
    assert [each.number for each in tuned.trials] == [1, 2]
    assert tuned.best.value == max(each.value for each in tuned.trials)
    assert board.rows[0]["tuned"] == f"lr {tuned.best.settings['lr']:g}: best of 2 trials"
    assert "The lr of lenet5: the best of 2 trials" in board.verdict()
    with pytest.raises(UsageError, match="trials: 1"):
        library.compare(["lenet5"], small_set, tmp_path / "none", tune=["lr"], trials=1)


@pytest.mark.slow
def test_the_plan_counts_the_trials(small_set, tmp_path):
    words = ("compare", small_set, *FLAGS, "--trials", "3", "--seeds", "2", "--plan", "-o", tmp_path / "none")
    found = json.loads(inside(*words, "--json").stdout)
    assert found["runs"] == 2 * (3 + 1)  # the best trial is the run of the first seed
    assert [network["runs"] for network in found["networks"]] == [4, 4]
    assert "tuning lr, weight_decay: 3 trials of each of 2 networks" in " ".join(found["trials"])
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--tune", "lrr"], ("no setting is called 'lrr'", "did you mean lr?")),
        (["--tune", "optimizer"], ("'optimizer' cannot be tuned", "lr, weight_decay, batch_size")),
        (["--tune", "lr,"], ("no setting is called ''", "can be tuned")),
        (["--tune", "momentum"], ("momentum does nothing here: adamw has none", "--optimizer sgd")),
        (["--trials", "5"], ("no setting is tuned", "--tune lr")),
        (["--tune", "lr", "--trials", "1"], ("give at least 2",)),
        (["--tune", "lr", "--folds", "3"], ("none is left to choose settings by",)),
        (["--tune", "lr", "--rank-on", "test"], ("no validation images are left",)),
        (["--tune", "lr", "--heats", "2"], ("heats choose among networks",)),
    ],
)
def test_what_tuning_cannot_do_is_refused_before_anything_is_written(small_set, tmp_path, flags, says):
    one_error(inside("compare", small_set, "-m", "lenet*,resnet20", *flags, "-o", tmp_path / "out"), 2, *says)
    assert not (tmp_path / "out").exists()


def test_without_optuna_the_extra_is_named_before_anything_is_trained(small_set, tmp_path, monkeypatch):
    monkeypatch.setattr("podium.comparison.suggest.importlib.util.find_spec", lambda name: None)
    words = ("compare", small_set, "-m", "lenet5", "--tune", "lr", "-o", tmp_path / "out")
    monkeypatch.setattr("podium.comparison.study.check_packages", lambda: None)
    one_error(inside(*words), 6, "optuna is not installed", 'pip install "podium[tune]"')
    assert not (tmp_path / "out").exists()


def test_networks_that_were_trained_without_tuning_are_not_tuned(small_set, tmp_path):
    out = tmp_path / "out"
    words = ("compare", small_set, "-m", "lenet5", "--steps", "1", "--workers", "0", "-o", out)
    assert inside(*words).returncode == 0
    one_error(inside(*words, "--tune", "lr"), 2, "was trained without tuning", "leave --tune out")
