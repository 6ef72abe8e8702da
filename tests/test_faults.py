"""What long runs meet, made to happen: processes really are killed, disks filled, files damaged, photos taken away.

docs/reliability.md says case by case what must come of it.
"""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import podium as library
from command import Running, inside, one_error, podium
from conftest import ROOT, sampled
from podium.data.image_file import ImageFile
from podium.data.loader import Batch, Loader
from podium.errors import NumericError
from podium.runs import checkpoint as state
from podium.runs.folder import RunFolder

# 26 steps: two epochs and a part of a third, with dropout, mixup, averaged weights and crops.
STEPS = 26
COMMON = ["--steps", STEPS, "--batch-size", "32", "--mixup", "0.2", "--ema", "0.9", "--crop", "pad"]
OFTEN, NEVER = ["--checkpoint-every", "0.001s"], ["--checkpoint-every", "1h"]
STOP = f"signal:{int(signal.SIGSTOP)}"


def begin(small_set, out, *more, fault=""):
    return podium("train", "lenet5_modern", small_set, *COMMON, "-o", out, *more, fault=fault)


def resume(out, *more, fault=""):
    return podium("train", "--resume", "-o", out, *more, fault=fault)


def digest(folder):
    return hashlib.sha256((Path(folder) / "model.safetensors").read_bytes()).hexdigest()


def history(folder):
    """What the log says of each epoch, and of begin and end; not when."""
    rows = RunFolder(folder).rows()
    return [{k: v for k, v in row.items() if k not in ("seconds", "time")} for row in rows]


def ends_alike(out, whole):
    """A run has the weights, the log and the result of one that was never interrupted."""
    results = [RunFolder(folder).result for folder in (out, whole)]
    for result in results:
        for key in ("seconds", "images_per_second"):
            del result[key]
    return digest(out) == digest(whole) and history(out) == history(whole) and results[0] == results[1]


@pytest.fixture(scope="module")
def whole(small_set, tmp_path_factory):
    """The run that was never interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    done = begin(small_set, out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def killed(small_set, tmp_path_factory):
    """A run that was killed after step 14, with two checkpoints."""
    out = tmp_path_factory.mktemp("killed") / "run"
    assert begin(small_set, out, *OFTEN, fault="kill@step:14").returncode == -signal.SIGKILL
    return out


@pytest.fixture
def run14(killed, tmp_path):
    """A copy of that run."""
    return Path(shutil.copytree(killed, tmp_path / "run"))


# F1, F2, F4: killed


@pytest.mark.parametrize("seed", sampled(range(5), 1))
def test_killed_four_times_at_random_steps_and_resumed_with_other_workers(small_set, whole, tmp_path, seed):
    """Five runs of four kills: twenty. Some resume from the step before, some from the beginning."""
    draw, out = random.Random(seed), tmp_path / "run"
    steps = sorted(draw.sample(range(1, STEPS), 4))
    assert (
        begin(small_set, out, *draw.choice([OFTEN, NEVER]), fault=f"kill@step:{steps[0]}").returncode == -signal.SIGKILL
    )
    for step in steps[1:]:
        words = [*draw.choice([OFTEN, NEVER]), "--workers", draw.choice([0, 1, 4])]
        assert resume(out, *words, fault=f"kill@step:{step}").returncode == -signal.SIGKILL
        assert not RunFolder(out).finished
    done = resume(out)
    assert done.returncode == 0, done.stderr
    assert ends_alike(out, whole)


@pytest.mark.parametrize(
    "place",
    sampled(["next-last.ckpt:written", "next-last.ckpt:synced", "next-last.ckpt:renamed", "checkpoint:rotated"], 1),
)
def test_killed_while_a_checkpoint_is_written(whole, run14, place):
    unfinished = place.endswith((":written", ":synced"))
    assert resume(run14, fault=f"kill@{place}").returncode == -signal.SIGKILL
    assert len(list(run14.glob(".tmp-*"))) == unfinished
    done = resume(run14)
    assert done.returncode == 0, done.stderr
    assert ("last.ckpt was not written to its end, and is removed" in done.stderr) == unfinished
    assert not list(run14.glob(".tmp-*"))
    assert ends_alike(run14, whole)


@pytest.mark.parametrize(
    "place",
    sampled(["card.json:synced", "model.safetensors:renamed", "predictions.npz:written", "result.json:synced"], 1),
)
def test_killed_at_the_very_end(whole, run14, place):
    assert resume(run14, fault=f"kill@{place}").returncode == -signal.SIGKILL
    assert not RunFolder(run14).finished
    assert resume(run14).returncode == 0
    assert ends_alike(run14, whole)


def test_a_run_that_had_lost_its_patience_trains_no_further_when_resumed(small_set, tmp_path):
    words = ["--val", "0.2", "--lr", "0", "--batch-size", "64", "--epochs", "6", "--patience", "2"]
    for name, fault in (("whole", ""), ("run", "kill@predictions.npz:written")):
        podium("train", "lenet5_modern", small_set, *words, "-o", tmp_path / name, fault=fault)
    assert resume(tmp_path / "run").returncode == 0
    assert RunFolder(tmp_path / "run").result["epochs"] == 3
    assert ends_alike(tmp_path / "run", tmp_path / "whole")


# F5, F28: files that are not what they were


def test_a_damaged_checkpoint_does_not_push_out_the_good_one_before(run14):
    good = (run14 / state.PREVIOUS).read_bytes()
    last = bytearray((run14 / state.LAST).read_bytes())
    last[-1] ^= 1
    (run14 / state.LAST).write_bytes(last)
    done = resume(run14, *OFTEN, fault="kill@step:14")  # from the one of step 12; that of step 13 is written again
    assert f"warning: {run14 / state.LAST}: damaged" in done.stderr
    assert hashlib.sha256(last.partition(b"\n")[2]).hexdigest()[:12] in done.stderr
    assert (run14 / f"damaged-{state.LAST}").read_bytes() == last
    assert (run14 / state.PREVIOUS).read_bytes() == good
    assert state.read(run14 / state.LAST)[1]["step"] == 13


def test_a_checkpoint_that_has_gone_is_named_and_the_one_before_is_used(whole, run14):
    (run14 / state.LAST).unlink()
    done = resume(run14)
    assert done.returncode == 0, done.stderr
    assert f"warning: {run14 / state.LAST}: missing" in done.stderr
    assert ends_alike(run14, whole)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda n, t: (n.replace("stem.", "features."), t), ["missing: stem.", "unexpected: features."]),
        (lambda n, t: (n, t[:3] if "head" in n and len(t) == 4 else t), ["mismatched: ", "is (3,", "not (4,"]),
        (lambda n, t: (f"other.{n}", t), ["10 missing: ", "10 unexpected: other."]),
    ],
    ids=["renamed", "classes", "another"],
)
def test_weights_of_another_network_are_refused_and_listed(run14, change, words):
    for path in state.newest(run14):
        tensors, values = state.read(path)
        net = dict(change(n[4:], t) for n, t in tensors.items() if n.startswith("net."))
        others = {n: t for n, t in tensors.items() if not n.startswith("net.")}
        state.save(run14, {f"net.{n}": t for n, t in net.items()} | others, values)
    before = {path: path.read_bytes() for path in run14.rglob("*.ckpt")}
    refused = inside("train", "--resume", "-o", run14)
    one_error(refused, 4, "not the weights of lenet5_modern", *words)
    assert refused.stderr.count("other.") in (0, 5)  # the first five
    assert before == {path: path.read_bytes() for path in run14.rglob("*.ckpt")}


# F6, F7: the disk


@pytest.fixture
def disk(tmp_path):
    """A disk of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk; test_resume.py limits the size of files instead")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(folder, leave):
    """A file that takes all the room but `leave` bytes."""
    path = folder / "filler"
    path.write_bytes(bytes(shutil.disk_usage(folder).free - leave))
    return path


def test_a_disk_that_is_filled_while_training(small_set, whole, disk):
    out = disk / "run"
    words = ["train", "lenet5_modern", small_set, *COMMON, *OFTEN, "-o", out]
    with Running(*words, fault=f"{STOP}@step:14") as run:
        run.stopped()
        filler = fill(disk, leave=100_000)
        kept = (out / state.LAST).read_bytes()
        run.go_on()
        one_error(run.ended(), 6, "disk full: need 1.", "have 0.1 MB", str(out), "free some space")
    assert (out / state.LAST).read_bytes() == kept
    one_error(resume(out), 6, "disk full")
    filler.unlink()
    assert resume(out).returncode == 0
    assert ends_alike(out, whole)


def test_too_small_a_disk_is_said_before_the_first_step(small_set, disk):
    fill(disk, leave=600_000)
    one_error(begin(small_set, disk / "run"), 6, "disk full: need", "have", str(disk / "run"))
    assert not RunFolder(disk / "run").epochs


# F8, F9: asked to stop


@pytest.mark.parametrize(
    ("number", "code"),
    sampled([(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 143), (signal.SIGHUP, 143)], 2),
    ids=lambda v: str(v),
)
def test_a_signal_from_outside_saves_and_the_run_goes_on_exactly(small_set, whole, tmp_path, number, code):
    out = tmp_path / "run"
    with Running("train", "lenet5_modern", small_set, *COMMON, "-o", out, fault=f"{STOP}@step:7") as run:
        run.stopped()
        run.go_on(number)
        done = run.ended()
    step = state.load_newest(out)[1]["step"]
    assert step in (7, 8)  # the step in hand when it came
    one_error(done, code, f"stopped by {signal.Signals(number).name} after step {step} of {STEPS}", "--resume")
    assert resume(out).returncode == 0
    assert ends_alike(out, whole)


def test_a_second_signal_ends_it_at_once(run14, whole):
    before = {path.name: path.read_bytes() for path in state.newest(run14)}
    hangs = f"{STOP}@step:20,hang@next-last.ckpt:written"
    with Running("train", "--resume", "-o", run14, *NEVER, fault=hangs) as run:
        run.stopped()
        run.go_on(signal.SIGTERM, signal.SIGUSR1)
        one_error(run.ended(), 143, "second signal", "--resume")
    assert before == {path.name: path.read_bytes() for path in state.newest(run14)}
    assert resume(run14).returncode == 0
    assert ends_alike(run14, whole)


def test_what_takes_longer_than_the_grace_is_given_up(run14, whole):
    before = {path.name: path.read_bytes() for path in state.newest(run14)}
    hangs = f"signal:{int(signal.SIGTERM)}@step:20,hang@next-last.ckpt:written"
    one_error(resume(run14, "--grace", "0.05s", *NEVER, fault=hangs), 143, "after 0.05 s of grace", "--resume")
    assert before == {path.name: path.read_bytes() for path in state.newest(run14)}
    assert resume(run14).returncode == 0
    assert ends_alike(run14, whole)


# F10: not a number


def test_weights_that_are_not_finite_never_become_a_checkpoint(tmp_path):
    """They grow by each step of such a rate, and overflow while batch normalisation still keeps the loss finite."""
    words = {"steps": 80, "batch_size": 16, "image_size": 8, "crop": "pad", "lr": 900}
    with pytest.raises(NumericError, match="weights overflowed before it: no checkpoint is saved"):
        library.train("resnet20", "digits", tmp_path / "run", **words)
    assert not list((tmp_path / "run").glob("*.ckpt"))


def test_a_batch_that_is_not_a_number_leaves_no_trace_in_the_batch_norms(tmp_path, monkeypatch):
    words = {"steps": 4, "batch_size": 16, "image_size": 8, "crop": "pad"}
    library.train("resnet20", "digits", tmp_path / "whole", **words)
    honest = Loader.epoch

    def spoilt(loader, epoch=0, start=0):
        for number, batch in enumerate(honest(loader, epoch, start), start):
            bad = loader.augment is not None and number == 2
            yield Batch(batch.x * float("nan"), batch.y, batch.index) if bad else batch

    with monkeypatch.context() as patch:
        patch.setattr(Loader, "epoch", spoilt)
        with pytest.raises(NumericError, match="step 2"):
            library.train("resnet20", "digits", tmp_path / "run", **words)
    report = json.loads((tmp_path / "run" / "nan_report.json").read_text())
    assert (report["step"], len(report["images"])) == (2, 16)
    assert report["lr"] > 0
    tensors, values, _ = state.load_newest(tmp_path / "run")
    assert values["step"] == 2
    assert sum("running_var" in name for name in tensors) > 18
    assert all(bool(t.isfinite().all()) for t in tensors.values())
    library.train("resnet20", "digits", tmp_path / "run", resume=True)
    assert digest(tmp_path / "run") == digest(tmp_path / "whole")


# F12, F24, F25, F26: images, and the threads that decode them


@pytest.fixture
def photos(tmp_path):
    """Sixty pictures of two classes, as files."""
    draw, root = np.random.default_rng(0), tmp_path / "photos"
    for name, level in (("dark", 60), ("light", 180)):
        for split, count in (("train", 24), ("val", 6)):
            (root / split / name).mkdir(parents=True)
            for n in range(count):
                pixels = draw.normal(level, 40, (36, 40, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{n}.png")
    return root


SMALL = ["--batch-size", "8", "--image-size", "32", "--epochs", "3"]


def test_no_memory_to_decode_is_a_fault_of_the_machine_and_the_run_goes_on(photos, tmp_path, monkeypatch):
    words = ["train", "lenet5_modern", photos, *SMALL, *OFTEN, "--workers", "2"]
    honest, calls, last = ImageFile.read, [], 0

    def starved(file):
        calls.append(file)
        if len(calls) == last:
            raise MemoryError
        return honest(file)

    with monkeypatch.context() as patch:
        patch.setattr(ImageFile, "read", starved)
        assert inside(*words, "-o", tmp_path / "whole").returncode == 0
        last = 2 * len(calls) - 60  # among the reads of the last epoch of the next run
        one_error(inside(*words, "-o", tmp_path / "run"), 6, "no memory", "(numbers ", "with 2 workers", "--workers")
    assert inside("train", "--resume", "-o", tmp_path / "run").returncode == 0
    assert digest(tmp_path / "run") == digest(tmp_path / "whole")


@pytest.mark.parametrize("change", ["deleted", "replaced"])
def test_a_photo_that_goes_while_training_is_named(photos, tmp_path, change):
    out, victim = tmp_path / "run", photos / "val" / "dark" / "3.png"
    with Running("train", "lenet5_modern", photos, *SMALL, "-o", out, fault=f"{STOP}@step:1") as run:
        run.stopped()
        content, stat = victim.read_bytes(), victim.stat()
        victim.unlink()
        if change == "replaced":
            shutil.copy(photos / "val" / "light" / "3.png", victim)
        run.go_on()
        one_error(run.ended(), 3, str(victim))
    victim.write_bytes(content)
    os.utime(victim, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert resume(out).returncode == 0


def test_a_folder_of_odd_files_is_checked_and_trained_on(photos, tmp_path):
    """A PNG named .jpg, a loop of links, a link to nothing, a name that is not UTF-8."""
    dark = photos / "train" / "dark"
    (dark / "0.png").rename(dark / "0.jpg")
    (dark / "loop").symlink_to(dark, target_is_directory=True)
    (dark / "gone.png").symlink_to(dark / "nowhere.png")
    odd = os.fsencode(dark) + b"/caf\xe9.png"
    Path(os.fsdecode(odd)).write_bytes((dark / "1.png").read_bytes()[:300])
    checked = inside("check", photos)
    assert checked.returncode == 3
    for words in ("0.jpg", "extension-lies", "caf\\udce9", "gone.png"):
        assert words in checked.stdout + checked.stderr
    one_error(inside("train", "lenet5_modern", photos, *SMALL, "-o", tmp_path / "a"), 3, "caf\\udce9.png", "--on-bad")
    os.unlink(odd)
    assert inside("train", "lenet5_modern", photos, *SMALL, "-o", tmp_path / "b").returncode == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_named(photos, tmp_path):
    victim = photos / "train" / "dark" / "3.png"
    victim.chmod(0)
    one_error(inside("train", "lenet5_modern", photos, *SMALL, "-o", tmp_path / "run"), 3, str(victim), "permissions")


# F15: two processes on one run


def test_a_second_process_is_told_who_has_the_run_and_a_dead_one_holds_nothing(run14, whole):
    with Running("train", "--resume", "-o", run14, fault=f"{STOP}@step:20") as first:
        first.stopped()
        one_error(resume(run14), 6, f"in use by process {first.pid} on {socket.gethostname()}")
        first.process.kill()
        assert first.ended().returncode == -signal.SIGKILL
    assert str(first.pid) in (run14 / ".lock").read_text()
    assert resume(run14).returncode == 0
    assert ends_alike(run14, whole)


# F17: clocks


def backwards():
    """A clock that is set back an hour at every look."""
    clock = iter(range(10**9, 0, -3600))
    return lambda: next(clock)


def test_a_clock_that_jumps_changes_no_duration(small_set, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", backwards())
    run = library.train("lenet5_modern", small_set, tmp_path / "run", steps=STEPS, batch_size=32)
    seconds = [row["seconds"] for row in run.rows() if "seconds" in row]
    assert seconds == sorted(seconds)
    assert 0 < seconds[0] <= seconds[-1] < 600
    assert run.result["images_per_second"] > 0


def test_the_time_left_is_never_negative(monkeypatch, capsys):
    from rich.console import Console

    from podium.cli import console

    monkeypatch.setattr(time, "time", backwards())
    monkeypatch.setattr("rich.console.Console", lambda **_: Console(force_terminal=True, width=120))
    with console.training_bar() as progress:
        for step in range(1, 60):
            progress(step, 50, {"loss": 1.0})  # and beyond the end
    shown = capsys.readouterr().out
    assert "59/50" in shown
    assert "0:0" in shown
    assert "-1" not in shown


# The cost of it


@pytest.mark.parametrize(
    ("asked", "took", "seconds"), [(None, 0.1, 60), (None, 6.0, 200), ("5s", 6.0, 5), ("2m", 0.1, 120)]
)
def test_checkpoints_take_at_most_three_percent_unless_they_are_asked_for(asked, took, seconds):
    assert state.pause(asked, took) == seconds


def test_a_checkpoint_is_a_safetensors_file_behind_its_line(tmp_path):
    from safetensors.torch import load

    tensors = {
        "a": torch.arange(6.0).reshape(2, 3).t(),  # not contiguous
        "b": torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last),
        "scalar": torch.tensor(7, dtype=torch.int64),
        "empty": torch.empty(0),
        "half": torch.randn(5).bfloat16(),
        "flags": torch.tensor([True, False, True]),
    }
    state.save(tmp_path, tensors, {"step": 3, "name": "é"})
    line, _, payload = (tmp_path / state.LAST).read_bytes().partition(b"\n")
    assert line.split()[2].decode() == hashlib.sha256(payload).hexdigest()
    assert int(line.split()[3]) == len(payload)
    loaded, values = load(payload), state.read(tmp_path / state.LAST)[1]
    assert values == {"step": 3, "name": "é"}
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
    assert all(loaded[name].dtype == tensor.dtype for name, tensor in tensors.items())


def test_every_test_that_the_documentation_names_is_there():
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", text))
    assert len(named) > 20
    assert {name for name in named if f"def {name}(" not in tests} == set()
