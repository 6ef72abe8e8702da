"""A finished run keeps what it is used for and no optimiser state; what it loses is made again; it can be trained longer."""

import json
import os
import re
import shlex
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

import podium as library
from command import inside, one_error, podium
from podium.compression import shrink
from podium.data.record import read_record
from podium.errors import ModelFileError
from podium.runs import checkpoint as state
from podium.runs.folder import RunFolder

WORDS = ["lenet5_modern", "digits", "--steps", "6", "--batch-size", "64", "--image-size", "28", "--threads", "1"]
OFTEN = ["--checkpoint-every", "0.001s"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run of six steps that saved after each."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert inside("train", *WORDS, *OFTEN, "-o", out).returncode == 0
    return out


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The same, killed after step 4."""
    out = tmp_path_factory.mktemp("killed") / "run"
    assert podium("train", *WORDS, *OFTEN, "-o", out, fault="kill@step:4").returncode == -signal.SIGKILL
    return out


@pytest.fixture
def finished(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "run"))


@pytest.fixture
def unfinished(killed, tmp_path):
    return Path(shutil.copytree(killed, tmp_path / "unfinished"))


def checkpoints(folder):
    return sorted(path.name for path in folder.rglob("*.ckpt"))


def contents(folder, *names):
    names = names or ("model.safetensors", "card.json", "result.json", "predictions.npz", "log.jsonl", "settings.yaml")
    return {name: (folder / name).read_bytes() for name in names}


def command_in(text, start):
    """The command that a mend or a note names, as a shell reads it."""
    return shlex.split(re.search(rf"podium ({start}.*?)(?:;|$)", text, re.MULTILINE)[1])


# What is kept


def test_a_finished_run_keeps_no_checkpoint(whole):
    assert checkpoints(whole) == []
    assert library.verify(whole)["ok"]


def test_a_run_that_was_killed_and_had_damaged_ones_keeps_none_either(whole, unfinished):
    (unfinished / state.LAST).write_bytes(b"gone")
    assert inside("train", "--resume", "-o", unfinished).returncode == 0
    assert checkpoints(unfinished) == []
    assert contents(unfinished, "model.safetensors") == contents(whole, "model.safetensors")


def test_a_checkpoint_is_kept_where_that_is_wanted(tmp_path):
    out = tmp_path / "run"
    assert inside("train", *WORDS, *OFTEN, "--keep-checkpoint", "-o", out).returncode == 0
    assert checkpoints(out) == ["last.ckpt"]
    assert state.load_newest(out)[1]["step"] == 6
    assert inside("train", "--resume", "-o", out).returncode == 0  # what it was begun with holds
    assert checkpoints(out) == ["last.ckpt"]
    assert inside("train", "--resume", "--no-keep-checkpoint", "-o", out).returncode == 0
    assert checkpoints(out) == []


def test_a_resume_may_decide_to_keep_it_and_that_is_recorded(unfinished):
    assert inside("train", "--resume", "--keep-checkpoint", "-o", unfinished).returncode == 0
    assert "keep_checkpoint: true  # False before, changed with --keep-checkpoint" in (
        unfinished / "settings.yaml"
    ).read_text(encoding="utf-8")
    assert inside("train", "--resume", "-o", unfinished).returncode == 0
    assert checkpoints(unfinished) == ["last.ckpt"]


@pytest.mark.parametrize("place", ["result.json:renamed", "report.html:written"])
def test_killed_before_they_went_they_go_at_the_next_resume(whole, unfinished, place):
    assert podium("train", "--resume", "-o", unfinished, fault=f"kill@{place}").returncode == -signal.SIGKILL
    assert inside("train", "--resume", "-o", unfinished).returncode == 0
    assert checkpoints(unfinished) == []
    assert (unfinished / "report.html").is_file()


def test_a_run_of_an_older_podium_keeps_the_one_that_its_result_can_be_made_from(finished):
    rows = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    rows[-1] = {key: rows[-1][key] for key in ("event", "top1", "top5", "loss", "ece", "macro_f1", "n", "seconds")}
    (finished / "log.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for name in (state.LAST, state.PREVIOUS):
        (finished / name).write_bytes(b"as it was")
    assert inside("train", "--resume", "-o", finished).returncode == 0
    assert checkpoints(finished) == ["last.ckpt"]


def test_one_that_cannot_be_removed_costs_a_warning(finished, monkeypatch, caplog):
    from podium.training.finished import drop_checkpoints

    (finished / state.LAST).write_bytes(b"there")

    def refused(path, missing_ok=False):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refused)
    drop_checkpoints(RunFolder(finished), keep=False)
    (said,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert f"{finished / state.LAST} cannot be removed (Permission denied)" in said.getMessage()


@pytest.mark.slow
def test_a_comparison_keeps_none_and_keeps_them_where_that_is_wanted(tmp_path):
    words = ["compare", "digits", "-m", "lenet5,lenet5_modern", "--steps", "2", "-o", tmp_path / "board"]
    assert inside(*words).returncode == 0
    assert checkpoints(tmp_path / "board") == []
    (tmp_path / "board" / "lenet5-seed0" / state.LAST).write_bytes(b"killed before it went")
    (tmp_path / "board" / "lenet5-seed0" / "predictions.npz").unlink()
    again = inside(*words)
    assert again.returncode == 0, again.stderr
    # predictions are made of the weights alone, never of a checkpoint that is not one
    assert checkpoints(tmp_path / "board") == []
    kept = inside(*words[:-1], tmp_path / "kept", "--keep-checkpoint")
    assert kept.returncode == 0, kept.stderr
    assert checkpoints(tmp_path / "kept") == ["last.ckpt", "last.ckpt"]


# What is lost is made again


@pytest.mark.parametrize("damage", ["no result", "half a result", "no predictions", "half of them", "neither"])
def test_what_a_finished_run_has_lost_is_made_again_without_training(finished, damage):
    before = contents(finished)
    result, predictions = finished / "result.json", finished / "predictions.npz"
    for path, words in ((result, ("no result", "neither")), (predictions, ("no predictions", "neither"))):
        if damage in words:
            path.unlink()
    for path, word in ((result, "half a result"), (predictions, "half of them")):
        if damage == word:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    done = inside("train", "--resume", "-o", finished)
    assert done.returncode == 0, done.stderr
    assert "made again from its weights" in done.stderr
    assert "epoch" not in done.stderr
    assert contents(finished) == before


@pytest.mark.parametrize(("name", "ask"), [("result.json", "result"), ("predictions.npz", "predictions")])
def test_the_mend_of_what_is_lost_works(finished, name, ask):
    before = contents(finished)
    (finished / name).write_bytes(b"{")
    with pytest.raises(ModelFileError, match=name) as refused:
        getattr(RunFolder(finished), ask)
    assert (
        inside(*command_in(refused.value.fix.removesuffix(" makes it again, without training"), "train")).returncode
        == 0
    )
    assert contents(finished) == before


def test_predictions_of_chosen_averaged_weights_are_the_same_again(tmp_path):
    words = ["lenet5_modern", "digits", "--val", "0.2", "--ema", "0.5", "--epochs", "2", "--batch-size", "128"]
    assert inside("train", *words, "-o", tmp_path).returncode == 0
    before = contents(tmp_path)
    (tmp_path / "result.json").unlink()
    assert inside("train", "--resume", "-o", tmp_path).returncode == 0
    assert contents(tmp_path) == before


def test_answers_to_validation_images_are_kept_apart_from_those_to_test_images(tmp_path, whole):
    words = ["lenet5_modern", "digits", "--val", "0.2", "--epochs", "2", "--batch-size", "128"]
    assert inside("train", *words, "-o", tmp_path).returncode == 0
    run, data = RunFolder(tmp_path), library.load_data("digits", val=0.2)
    logits, labels = run.validation
    assert labels.tolist() == data.splits["val"].labels.tolist()
    assert run.predictions[1].tolist() == data.splits["test"].labels.tolist()
    scores = library.evaluate(tmp_path, data, split="val")  # of the weights that are saved
    assert ((logits.argmax(1) == labels).mean(), run.validation_groups) == (scores["top1"], None)
    assert RunFolder(whole).validation is None  # which reports the only images that it holds out
    with np.load(tmp_path / "predictions.npz") as arrays:
        np.savez(tmp_path / "old.npz", logits=arrays["logits"], labels=arrays["labels"])
    (tmp_path / "old.npz").replace(tmp_path / "predictions.npz")  # as older versions wrote it
    assert (run.validation, run.intact) == (None, True)


def test_the_groups_of_validation_images_are_kept(tmp_path):
    from test_groups import PATIENT, patients

    photos = patients(tmp_path / "photos", [1 + i % 3 for i in range(12)])
    more = ["--group-from", PATIENT, "--image-size", "32", "--steps", "2"]
    assert (
        inside(
            "train", "lenet5_modern", photos, *more, "--folds", "3", "--fold", "1", "-o", tmp_path / "run"
        ).returncode
        == 0
    )
    run = RunFolder(tmp_path / "run")
    groups = {name: set(keys.tolist()) for name, keys in read_record(run.path).groups.items()}
    assert set(run.validation_groups.tolist()) == groups["val"]
    assert len(run.validation_groups) == len(run.validation[1])
    assert set(run.groups.tolist()) == groups["test"]


def test_of_a_network_that_was_handed_in_too(tmp_path):
    torch.manual_seed(5)
    net = library.create_model("lenet5_modern", num_classes=10, image_size=28, in_chans=1, small=True)
    run = library.train(net, "digits", tmp_path / "run", steps=2)
    before = contents(run.path)
    (run / "result.json").unlink()
    assert inside("train", "--resume", "-o", run.path).returncode == 0
    assert contents(run.path) == before


def test_where_only_weights_are_left_nothing_is_written_over_them(finished):
    for name in ("predictions.npz", "log.jsonl"):
        (finished / name).unlink()
    before = contents(finished, "model.safetensors", "card.json", "result.json")
    refused = inside("train", "--resume", "-o", finished)
    one_error(refused, 4, "log.jsonl does not have the end of the run", "podium eval")
    assert contents(finished, "model.safetensors", "card.json", "result.json") == before
    again = command_in(refused.stderr, "train")
    assert inside(*again).returncode == 0
    assert contents(Path(again[-1]), "model.safetensors") == contents(finished, "model.safetensors")


def test_weights_that_are_damaged_are_named_and_trained_again(finished):
    before = (finished / "model.safetensors").read_bytes()
    (finished / "model.safetensors").write_bytes(before[:-1] + b"?")
    (finished / "predictions.npz").unlink()
    refused = inside("train", "--resume", "-o", finished)
    one_error(refused, 4, "model.safetensors: damaged", "train it again")
    again = [str(finished.with_name("new")) if word == "NEW" else word for word in command_in(refused.stderr, "train")]
    assert inside(*again).returncode == 0
    assert (finished.with_name("new") / "model.safetensors").read_bytes() == before


# Longer


def test_a_finished_run_is_left_and_says_how_it_is_trained_longer(finished, monkeypatch):
    monkeypatch.chdir(finished.parent)
    before = contents(finished)
    done = inside("train", "--resume", "-o", "run")
    assert done.returncode == 0
    assert contents(finished) == before
    longer = command_in(done.stderr, "train")
    assert longer == [
        *["train", "lenet5_modern", "digits", "--config", "run/settings.yaml", "--weights", "run"],
        *["--steps", "6", "-o", "run-longer"],
    ]
    assert inside(*longer).returncode == 0
    result, card = RunFolder("run-longer").result, json.loads(Path("run-longer/card.json").read_text())
    assert (result["steps"], result["batch_size"], result["image_size"]) == (6, 64, 28)
    assert card["parent"].startswith("run@sha256:")
    second = inside("train", "--resume", "-o", "run")
    assert command_in(second.stderr, "train")[-1] == "run-longer-2"


@pytest.mark.parametrize(
    ("asked", "rest"),
    [
        (["--steps", "10"], ["--steps", "4"]),
        (["--epochs", "3"], ["--epochs", "3"]),
        (["--budget", "90s"], ["--budget", "90s"]),
        (["--steps", "4"], ["--steps", "4"]),
    ],
)
def test_a_resume_with_another_length_names_the_command(whole, asked, rest):
    refused = inside("train", "--resume", "-o", whole, *asked)
    one_error(refused, 2, "duration: the run has '6it'", "it is finished")
    assert command_in(refused.stderr, "train")[-4:-2] == rest


def test_more_epochs_of_an_unfinished_run_are_two_commands_that_work(unfinished):
    refused = inside("train", "--resume", "-o", unfinished, "--steps", "8")
    one_error(refused, 2, "duration: the run has '6it', not '8it'", "finish it first")
    first, then = re.findall(r"podium (train [^;\n]+)", refused.stderr)
    for line in (first, then):
        done = inside(*shlex.split(line))
        assert done.returncode == 0, done.stderr
    longer = RunFolder(shlex.split(then)[-1])
    assert longer.result["steps"] == 2


def test_longer_training_of_a_run_of_a_comparison_is_none_of_its_runs(comparison, tmp_path, monkeypatch):
    shutil.copytree(comparison, tmp_path / "my board")
    monkeypatch.chdir(tmp_path)
    done = inside("train", "--resume", "-o", os.path.join("my board", "lenet5-seed0"))
    longer = command_in(done.stderr, "train")
    assert longer[-1] == "my board-lenet5-seed0-longer"
    assert inside(*longer[:-4], "--steps", "1", *longer[-2:]).returncode == 0


def test_a_finished_run_serves_everything_without_a_checkpoint(finished, tmp_path):
    assert checkpoints(finished) == []
    for line in (
        ["eval", finished, "digits"],
        ["train", "lenet5_modern", "digits", "--weights", finished, "--qat", "--steps", "1", "-o", tmp_path / "qat"],
        ["verify", finished],
    ):
        done = inside(*line)
        assert done.returncode == 0, done.stderr
    assert checkpoints(tmp_path) == []


@pytest.mark.slow
def test_pruning_goes_on_with_its_controls(finished, tmp_path, monkeypatch):
    pytest.importorskip("torch_pruning", reason="needs the extra `prune`")
    monkeypatch.setattr(shrink, "SECONDS", 0.01)
    monkeypatch.setattr(shrink, "FILE_ENGINES", ())
    out, how = tmp_path / "half", {"macs": 0.6, "steps": 2, "tolerance": 0.99}
    first = library.prune(finished, "digits", out, **how)
    assert checkpoints(out) == []
    before = contents(out, "model.safetensors", "result.json", "predictions.npz")
    (out / "compression.json").unlink()
    (out / "predictions.npz").unlink()
    again = library.prune(finished, "digits", out, **how)
    assert [row["top1"] for row in again.rows] == [row["top1"] for row in first.rows]
    assert contents(out, "model.safetensors", "result.json", "predictions.npz") == before
    assert inside(*command_in(inside("train", "--resume", "-o", out).stderr, "train")).returncode == 0


def test_the_help_says_so():
    text = " ".join(inside("train", "--help").stdout.split())
    assert "podium train resnet20 cifar10 --weights runs/a --epochs 10 -o runs/b" in text
    assert "--keep-checkpoint" in text
