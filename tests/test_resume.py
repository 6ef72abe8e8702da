"""A run that is killed, stopped, or starved of disk ends as if nothing had happened, or says what to do."""

import hashlib
import json
import random
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from command import one_error, podium
from conftest import sampled
from podium.errors import ModelFileError
from podium.runs import checkpoint as state
from podium.runs.folder import RunFolder

# Dropout, mixup, averaged weights and a crop: all the randomness there is. 23 steps: two epochs and a part of a third.
COMMON = [
    "--steps",
    "23",
    "--batch-size",
    "128",
    "--mixup",
    "0.2",
    "--ema",
    "0.9",
    "--image-size",
    "32",
    "--crop",
    "area",
    "--checkpoint-every",
    "0.001s",
]


def digest(folder):
    return hashlib.sha256((Path(folder) / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """300 noisy pictures of two classes, as files of odd sizes."""
    root = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 180)):
        for split, count in (("train", 130), ("val", 20)):
            (root / split / name).mkdir(parents=True)
            for n in range(count):
                pixels = draw.normal(level, 40, (36 + n % 9, 40, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{n}.png")
    return root


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    """The run that was never interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    done = begin(photos, out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def killed(photos, tmp_path_factory):
    """A run that was killed after step 12."""
    out = tmp_path_factory.mktemp("killed") / "run"
    assert begin(photos, out, "kill@step:12").returncode == -signal.SIGKILL
    return out


@pytest.fixture
def run12(killed, tmp_path):
    """A copy of that run."""
    return Path(shutil.copytree(killed, tmp_path / "run"))


def begin(photos, out, fault="", *more):
    return podium("train", "lenet5_modern", photos, *COMMON, "-o", out, *more, fault=fault)


@pytest.mark.parametrize("step", sampled(sorted(random.Random(0).sample(range(1, 23), 2)), 1))
def test_killed_at_any_step_ends_with_the_same_bits(photos, whole, tmp_path, step):
    out = tmp_path / "run"
    assert begin(photos, out, f"kill@step:{step}").returncode == -signal.SIGKILL
    assert not (out / "result.json").exists()
    done = podium("train", "--resume", "-o", out, "--workers", 4 * (step % 2))  # other workers change nothing
    assert done.returncode == 0, done.stderr
    assert digest(out) == digest(whole)
    steps = [row["step"] for row in RunFolder(out).epochs]
    assert steps == [row["step"] for row in RunFolder(whole).epochs]
    ours, theirs = (json.loads((folder / "result.json").read_text()) for folder in (out, whole))
    assert {k: ours[k] for k in ("top1", "loss", "ece", "confusion")} == {
        k: theirs[k] for k in ("top1", "loss", "ece", "confusion")
    }


@pytest.mark.parametrize("damage", sampled(["truncate", "empty", "text"], 1))
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(whole, run12, damage):
    last = run12 / state.LAST
    content = last.read_bytes()
    last.write_bytes({"truncate": content[: len(content) // 3], "empty": b"", "text": b"<html>404</html>"}[damage])
    done = podium("train", "--resume", "-o", run12)
    assert done.returncode == 0, done.stderr
    assert "last.ckpt" in done.stderr
    assert "warning" in done.stderr
    assert digest(run12) == digest(whole)


def test_no_good_checkpoint_left_is_an_error_that_overwrites_nothing(run12):
    for path in state.newest(run12):
        path.write_bytes(b"gone")
    before = sorted((p.name, p.read_bytes()) for p in run12.glob("*.ckpt"))
    one_error(podium("train", "--resume", "-o", run12), 4, "last.ckpt")
    assert sorted((p.name, p.read_bytes()) for p in run12.glob("*.ckpt")) == before


def test_a_file_that_cannot_be_written_stops_the_run_and_keeps_what_was_there(whole, run12):
    kept = (run12 / state.LAST).read_bytes()
    one_error(podium("train", "--resume", "-o", run12, largest_file=200_000), 6, "last.ckpt", "--resume")
    assert (run12 / state.LAST).read_bytes() == kept
    assert podium("train", "--resume", "-o", run12).returncode == 0
    assert digest(run12) == digest(whole)


def test_too_little_space_is_said_before_the_first_step(photos, tmp_path, monkeypatch):
    from collections import namedtuple

    import podium as library
    from podium.errors import MachineError

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 1_000_000))
    with pytest.raises(MachineError, match="disk full: need"):
        library.train("lenet5_modern", photos, tmp_path / "run", steps=2)


def test_a_loss_that_is_not_a_number_is_not_applied(photos, whole, tmp_path):
    out = tmp_path / "run"
    one_error(begin(photos, out, "nan@before:5"), 5, "step 5", "nan_report.json")
    report = json.loads((out / "nan_report.json").read_text())
    assert report["step"] == 5
    assert len(report["images"]) == 128
    tensors, values, _ = state.load_newest(out)
    assert values["step"] == 5
    assert all(bool(torch.isfinite(t).all()) for t in tensors.values() if t.is_floating_point())
    assert podium("train", "--resume", "-o", out).returncode == 0  # the fault is gone: exact from the last good state
    assert digest(out) == digest(whole)


def test_a_diverging_run_stops_with_exit_code_5(tmp_path):
    diverging = ["--optimizer", "sgd", "--lr", "1000", "--clip", "0", "--epochs", "5"]
    done = podium("train", "lenet5_modern", "digits", *diverging, "-o", tmp_path / "r")
    one_error(done, 5, "lower lr")


def test_other_settings_on_resume_are_refused_by_name(photos, run12):
    one_error(podium("train", "--resume", "-o", run12, "--batch-size", "64"), 2, "batch_size", "128")
    one_error(podium("train", "resnet20", photos, "--resume", "-o", run12), 2, "model")
    one_error(podium("train", "lenet5_modern", "digits", "--resume", "-o", run12), 3, "data")
    one_error(podium("train", "--resume", "-o", run12, "--seed", "3"), 2, "seed")
    one_error(podium("train", "--resume", "-o", run12, "--recipe", "modern"), 2, "recipe", "'quick'")
    one_error(podium("train", "--resume", "-o", run12, "--steps", "24"), 2, "duration", "'23it'", "'24it'", "--weights")


def test_other_images_on_resume_are_refused(photos, tmp_path):
    copy, out = tmp_path / "photos", tmp_path / "run"
    shutil.copytree(photos, copy)
    begin(copy, out, "kill@step:3")
    (copy / "train" / "dark" / "7.png").rename(copy / "train" / "light" / "700.png")
    one_error(podium("train", "--resume", "-o", out), 3, "data: the images of photos are not those the run began with")
    Image.new("RGB", (40, 40)).save(copy / "train" / "dark" / "more.png")
    one_error(podium("train", "--resume", "-o", out), 3, "(1 are new, 0 are gone)", "fix: take out what is new, or")


@pytest.mark.slow
def test_killed_before_it_had_begun(photos, whole, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / ".tmp-123-settings.yaml").write_text("half")
    assert begin(photos, out).returncode == 0
    assert digest(out) == digest(whole)


def test_a_finished_run_is_left_as_it_is(whole):
    before = digest(whole), (whole / "log.jsonl").read_text()
    done = podium("train", "--resume", "-o", whole)
    assert done.returncode == 0
    assert (digest(whole), (whole / "log.jsonl").read_text()) == before


def test_an_existing_folder_is_not_touched(photos, whole, tmp_path):
    one_error(begin(photos, whole), 2, "exists already", "--resume")
    (tmp_path / "thesis.txt").write_text("important")
    one_error(begin(photos, tmp_path), 2, "exists already")
    one_error(podium("train", "--resume", "-o", tmp_path / "nothing"), 2, "no run")


def test_the_optimisers_state_of_parameters_in_another_order_is_refused():
    """As an older version's, where LeNet-5's biases stood among the weights: sums would have gone to other parameters."""
    one, other = (torch.nn.Parameter(torch.ones(*shape)) for shape in ((2, 3), (4,)))
    before = torch.optim.SGD([one, other], 0.1, momentum=0.9)
    (one.sum() + 2 * other.sum()).backward()
    before.step()
    tensors = state.optimizer_state(before)
    again = torch.optim.SGD([one, other], 0.1, momentum=0.9)
    state.restore_optimizer(again, tensors)
    assert torch.equal(again.state[other]["momentum_buffer"], torch.full((4,), 2.0))
    with pytest.raises(ModelFileError, match="that of other parameters") as refused:
        state.restore_optimizer(torch.optim.SGD([other, one], 0.1, momentum=0.9), tensors)
    assert "start it again" in refused.value.fix


def test_checkpoints_of_a_newer_format_are_named(tmp_path):
    state.save(tmp_path, {"a": torch.ones(2)}, {"step": 1})
    path = tmp_path / state.LAST
    path.write_bytes(path.read_bytes().replace(b"podium-checkpoint 1 ", b"podium-checkpoint 9 "))
    with pytest.raises(ModelFileError, match="newer"):
        state.read(path)


def test_a_photo_that_goes_bad_while_training_is_named(photos, tmp_path):
    copy = tmp_path / "photos"
    shutil.copytree(photos, copy)
    victim = copy / "train" / "dark" / "7.png"
    victim.write_bytes(victim.read_bytes()[:300])
    one_error(begin(copy, tmp_path / "run"), 3, "7.png", "--on-bad skip")
    skip = ["--steps", "3", "--image-size", "32", "--on-bad", "skip"]
    done = podium("train", "lenet5_modern", copy, *skip, "-o", tmp_path / "skip")
    assert done.returncode == 0, done.stderr
    assert "7.png" in json.loads((tmp_path / "skip" / "result.json").read_text())["skipped"][0][0]


@pytest.mark.slow
def test_a_budget_becomes_steps_and_is_exact_from_there(tmp_path):
    out = tmp_path / "run"
    killed = podium("train", "lenet5_modern", "digits", "--budget", "3s", "-o", out, fault="kill@step:5")
    assert killed.returncode == -signal.SIGKILL
    recorded = (out / "settings.yaml").read_text()
    steps = int(recorded.split("duration: ")[1].split("it")[0])
    assert "# 3s from" in recorded
    assert podium("train", "--resume", "-o", out).returncode == 0
    again = podium("train", "--config", out / "settings.yaml", "-o", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    assert digest(out) == digest(tmp_path / "again")
    assert json.loads((out / "result.json").read_text())["steps"] == steps


def test_a_position_is_read_from_checkpoints_of_older_versions_and_written_so_that_they_read_it():
    at = state.Position(step=7, evaluated=4, threads=[2])
    values = at.to_dict()
    assert values["judged"] == 4
    assert "evaluated" not in values
    assert state.Position.read(values) == at
    assert state.Position.read({**vars(at), "images": "of the data"}) == at
