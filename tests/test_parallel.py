"""Several processes train one network: a step stays what it was, every image counts once, and none goes on without the others."""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command import CONTEXT, Done, _run, one_error, podium
from conftest import sampled
from podium import platform
from podium.data.dataset import Split
from podium.data.images import ArrayImages
from podium.errors import UsageError
from podium.runs import checkpoint as state
from podium.runs.folder import RunFolder
from podium.settings import Settings
from podium.training.distributed.parallel import Ranks

# Batch norm, and nothing that is drawn by step: with batch norm over both, two processes do the arithmetic of one.
NORMED = ["--optimizer", "sgd", "--lr", "0.02", "--batch-size", "32", "--image-size", "16", "--epochs", "3"]
NORMED += ["--crop", "area", "--clip", "1", "--ema", "0.5", "--amp", "off"]
# Dropout, mixing, averaged weights, crops, and a best epoch to choose: all that is drawn, and all that is decided.
DRAWN = [
    "lenet5_modern",
    "digits",
    "--steps",
    "14",
    "--batch-size",
    "240",
    "--mixup",
    "0.2",
    "--ema",
    "0.9",
    "--val",
    "0.1",
]
DRAWN += ["--checkpoint-every", "0.001s"]


def rank_of(environment, *more):
    os.environ.update(environment)
    platform._inherits_torch = False  # the server of forks has imported torch, but never computed with it
    _run(*more)


def together(*arguments, fault="", count=3, rank_of=rank_of):
    """`torchrun --nproc-per-node COUNT -m podium ARGUMENTS`, by processes that need not import all anew; each one's end."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(count)}
        free.close()
        words, folders, processes = [str(word) for word in arguments], [], []
        for rank in range(count):
            own = Path(folder) / str(rank)
            own.mkdir()
            folders.append(own)
            here = {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            processes.append(CONTEXT.Process(target=rank_of, args=(here, words, fault, None, own)))
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
            assert process.exitcode is not None, "all have stopped within a minute"
        said = [[(own / name).read_text() for name in ("out", "err")] for own in folders]
        return [Done(process.exitcode, *texts) for process, texts in zip(processes, said, strict=True)]


def digest(folder):
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def result(out):
    return json.loads((out / "result.json").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of three processes that was never interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    for done in together("train", *DRAWN, "-o", out):
        assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def lost(tmp_path_factory):
    """A run of three processes of which rank 1 was killed at step 9, and what the other one said."""
    out = tmp_path_factory.mktemp("lost") / "run"
    first, second, _ = together("train", *DRAWN, "-o", out, fault="kill@step:9@1")
    assert second.returncode == -signal.SIGKILL
    return out, first


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """96 noisy pictures of two classes to train on, 23 to judge by."""
    root = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    for split, count in (("train", 96), ("test", 23)):
        for n in range(count):
            path = root / split / ("dark", "light")[n % 2] / f"{n}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.normal((80, 160)[n % 2], 60, (20, 24, 3)).clip(0, 255).astype(np.uint8)).save(path)
    return root


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """LeNet-5 after three steps; it has no batch norm and draws nothing by step."""
    out = tmp_path_factory.mktemp("parent") / "run"
    assert podium("train", "lenet5", "digits", "--steps", "3", "-o", out).returncode == 0
    return out


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one(photos, tmp_path):
    one, two, apart = (tmp_path / name for name in ("one", "two", "apart"))
    words = ["train", "resnet20", photos, *NORMED, "-o"]
    assert podium(*words, one).returncode == 0
    for out, more in ((two, ["--sync-batch-norm"]), (apart, [])):
        for done in together(*words, out, *more, count=2):
            assert done.returncode == 0, done.stderr
    expected, same, other = (RunFolder(out).epochs for out in (one, two, apart))
    assert len(expected) == 3
    for key in ("train_loss", "loss"):
        curve = [row[key] for row in expected]
        assert same[0][key] == pytest.approx(curve[0], rel=5e-6)
        assert [row[key] for row in same] == pytest.approx(curve, rel=2e-3)  # what becomes of rounding in nine steps
        assert [row[key] for row in other] != pytest.approx(curve, rel=1e-2)  # with batch norm over half of the images
    assert result(two)["n"] == result(one)["n"] == 23
    assert result(two)["devices"] == 2


@pytest.mark.parametrize(
    ("name", "words"),
    sampled(
        [
            ("accumulate", ["--accumulate", "2"]),
            ("unfreeze", ["--freeze", "features", "--unfreeze", "2it", "--layer-decay", "0.5"]),
            ("cached", ["--freeze", "features", "--crop", "none", "--no-flip"]),
        ],
        1,
    ),
)
def test_two_processes_train_parts_of_a_network_as_one_does(parent, tmp_path, name, words):
    alone, both = tmp_path / "alone", tmp_path / "both"
    words = ["train", "lenet5", "digits", "--weights", parent, "--steps", "13", "--batch-size", "240", *words, "-o"]
    assert podium(*words, alone).returncode == 0
    for done in together(*words, both, count=2):
        assert done.returncode == 0, done.stderr
    for key in ("train_loss", "loss"):
        expected = [row[key] for row in RunFolder(alone).epochs]
        assert [row[key] for row in RunFolder(both).epochs] == pytest.approx(expected, rel=1e-4)
        assert len(expected) == 3


def test_rank_0_speaks_and_writes_for_all(whole):
    first, second, _ = together("train", "--resume", "-o", whole, "--json")
    assert json.loads(first.stdout)["run"] == str(whole)
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert len(list((whole / "events").iterdir())) == 1
    rows = RunFolder(whole).rows()
    assert [row["event"] for row in rows] == ["start", "epoch", "epoch", "epoch", "done"]
    assert rows[0]["devices"] == 3


def test_a_split_that_is_judged_by_many_is_judged_once_and_in_order():
    split = Split(np.arange(11), ArrayImages(np.zeros((11, 1, 1, 1), np.uint8)))
    parts = [Ranks(rank, 3).share(split).labels for rank in range(3)]
    assert np.concatenate(parts).tolist() == list(range(11))
    with pytest.raises(UsageError, match="12 cannot share 11"):
        Ranks(0, 12).share(split)


def test_a_sharded_evaluation_is_that_of_one_process(whole):
    import podium as library

    scores = library.evaluate(whole, library.load_data("digits", val=0.1, seed=0))
    for key in ("top1", "n", "confusion"):
        assert scores[key] == result(whole)[key]
    assert scores["loss"] == pytest.approx(result(whole)["loss"], rel=2e-5)


def test_one_process_is_killed_and_all_stop_and_go_on_with_the_same_bits(whole, lost, tmp_path):
    out, first = lost
    one_error(first, 6, "another process of the run is gone", "--resume")
    here = tmp_path / "run"
    shutil.copytree(out, here)
    for done in together("train", "--resume", "-o", here):
        assert done.returncode == 0, done.stderr
    assert digest(here) == digest(whole)
    assert result(here)["bit_comparable"]


def test_another_number_of_processes_is_refused_or_marked(lost, tmp_path):
    out, _ = lost
    one_error(podium("train", "--resume", "-o", out, "--devices", "1"), 2, "the run has 3, not 1", "--elastic")
    here = tmp_path / "run"
    shutil.copytree(out, here)
    done = podium("train", "--resume", "-o", here, "--devices", "1", "--elastic")
    assert done.returncode == 0, done.stderr
    assert not result(here)["bit_comparable"]
    assert result(here)["steps"] == 14
    assert "not bit-comparable with another run" in (here / "report.html").read_text()


@pytest.mark.slow
def test_a_signal_to_one_stops_all_after_the_same_step(whole, tmp_path):
    out = tmp_path / "run"
    first, second, _ = together("train", *DRAWN, "-o", out, fault="signal:15@step:5@1")
    one_error(first, 143, "after step 5", "--resume")
    assert second.returncode == 143
    assert state.load_newest(out)[1]["step"] == 5
    for done in together("train", "--resume", "-o", out):
        assert done.returncode == 0, done.stderr
    assert digest(out) == digest(whole)


def test_a_loss_that_is_not_a_number_on_one_stops_all(tmp_path):
    out = tmp_path / "run"
    first, second, _ = together("train", *DRAWN, "-o", out, fault="nan@before:3@1")
    one_error(first, 5, "step 3")
    one_error(second, 5, "step 3")
    images = json.loads((out / "nan_report.json").read_text())["images"]
    assert len(set(images)) == 240, "the images of all"
    assert state.load_newest(out)[1]["step"] == 3


@pytest.mark.slow
def test_a_step_that_is_left_out_is_left_out_by_all(tmp_path):
    out = tmp_path / "run"
    for done in together("train", *DRAWN, "--on-nan", "skip:1", "-o", out, fault="nan@before:3@1"):
        assert done.returncode == 0, done.stderr
    warning = next(row for row in RunFolder(out).rows() if row["event"] == "warning")
    assert warning["step"] == 3
    assert len(set(warning["images"])) == 240


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    words = ["train", "lenet5_modern", "digits", "--batch-size", "32", "--steps", "1", "-o", tmp_path / "run"]
    one_error(together(*words)[0], 2, "32 images", "3 devices", "--batch-size 30")


def test_devices_that_are_not_here_are_refused(tmp_path):
    import podium as library

    with pytest.raises(UsageError, match="devices: 3, but this run has 1 here"):
        library.train("lenet5_modern", "digits", tmp_path / "run", steps=1, devices=3)


@pytest.mark.parametrize(("rule", "peak"), [("none", 0.1), ("linear", 0.4), ("sqrt", 0.2)])
def test_the_learning_rate_follows_the_batch_by_rule(rule, peak):
    assert Settings(lr=0.1, lr_scale=rule, lr_batch=256, batch_size=1024).peak == pytest.approx(peak)


@pytest.mark.slow
def test_the_launcher_starts_again_what_was_lost_and_ends_with_the_same_bits(whole, tmp_path):
    out = tmp_path / "run"
    done = podium("train", *DRAWN, "-o", out, "--devices", "3", "--max-restarts", "1", fault="kill@step:9@1")
    assert done.returncode == 0, done.stderr
    assert "rank 1 of 3 was lost (SIGKILL)" in done.stderr
    assert digest(out) == digest(whole)


@pytest.mark.slow
def test_sigterm_to_the_launcher_saves_and_exits_with_143(tmp_path):
    out = tmp_path / "run"
    words = ["train", "lenet5_modern", "digits", "--epochs", "100000", "--batch-size", "1024", "--devices", "2"]
    command = [sys.executable, "-m", "podium", *words, "-o", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        for line in running.stderr:
            if line.startswith("epoch"):
                break
        running.terminate()
        rest = running.stderr.read()
    assert running.returncode == 143
    assert "stopped by SIGTERM" in rest
    assert state.load_newest(out)[1]["step"] > 0
