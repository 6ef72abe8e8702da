"""What is on the disk lasts: the log, the report, folders that cannot be synced, and names that two processes want at once."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import podium as library
from command import Running, inside, one_error, podium
from conftest import FSYNC, ROOT, sampled
from podium import files
from podium.compression import placing
from podium.data.pack import read_pack, write_pack
from podium.data.shards import write_shards
from podium.data.sources import read
from podium.errors import DataError, UsageError
from podium.files import scratch_folder, write_atomic
from podium.runs import checkpoint as state
from podium.runs.folder import LOG, RunFolder
from podium.training import interrupt

WORDS = ["--steps", "6", "--batch-size", "64"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of six steps."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert inside("train", "lenet5", "digits", *WORDS, "--keep-checkpoint", "-o", out).returncode == 0
    return out


@pytest.fixture
def finished(whole, tmp_path):
    """A copy of it."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


# The report


@pytest.mark.slow
@pytest.mark.parametrize("place", sampled(["report.html:written", "report.html:synced", "result.json:renamed"], 1))
def test_a_report_that_a_kill_has_cost_is_written_at_the_resume(tmp_path, place):
    out = tmp_path / "run"
    assert podium("train", "lenet5", "digits", *WORDS, "-o", out, fault=f"kill@{place}").returncode == -signal.SIGKILL
    assert not (out / "report.html").exists()
    done = inside("train", "--resume", "-o", out)
    assert done.returncode == 0
    assert f"report: {out / 'report.html'}" in done.stdout
    assert "lenet5" in (out / "report.html").read_text()
    assert inside("train", "--resume", "-o", out).returncode == 0


def test_a_report_that_is_there_is_left_alone(finished):
    before = (finished / "report.html").stat().st_mtime_ns
    assert inside("train", "--resume", "-o", finished).returncode == 0
    assert (finished / "report.html").stat().st_mtime_ns == before


def test_a_report_is_not_written_of_other_images(finished, tmp_path):
    (finished / "report.html").unlink()
    data = library.load_data("digits")
    other = library.load_data("digits", val=0.1)
    with pytest.raises(DataError, match="other images"):
        library.train("lenet5", other, finished, resume=True)
    assert not (finished / "report.html").exists()
    library.train("lenet5", data, finished, resume=True)
    assert (finished / "report.html").is_file()


@pytest.mark.slow
def test_the_reports_of_a_comparison_and_of_a_smaller_network_are_written_again(tmp_path):
    words = {
        "board": ["compare", "digits", "-m", "lenet5", *WORDS],
        "slim": ["slim", "lenet5_modern", "digits", "--width", "0.5", *WORDS],
    }
    for name, line in words.items():
        assert inside(*line, "-o", tmp_path / name).returncode == 0
        (tmp_path / name / "report.html").unlink()
        assert inside(*line, "-o", tmp_path / name).returncode == 0
        assert (tmp_path / name / "report.html").is_file()


# The log


def test_the_log_has_lines_that_end_at_newlines_only(tmp_path):
    folder = RunFolder(tmp_path)
    texts = ["a\u2028b", "a\u2029b", "a\x85b", "a\x0bb\x0cc\x1cd\x1de\x1ef", "a\rb\nc", "caf\udce9"]
    for text in texts:
        folder.log({"event": "warning", "text": text})
    assert [row["text"] for row in folder.rows()] == texts
    assert folder.keep_log(5) == 5
    assert [row["text"] for row in folder.rows()] == texts[:5]


def test_a_log_cut_at_any_byte_keeps_its_whole_rows_and_takes_new_ones(tmp_path):
    """In the middle of a line, and of a letter of several bytes."""
    folder = RunFolder(tmp_path)
    for n, text in enumerate(["caf\u00e9", "\u732b \U0001f600", "z"]):
        folder.log({"event": "warning", "step": n, "text": text})
    whole, rows = (tmp_path / LOG).read_bytes(), folder.rows()
    for cut in range(len(whole) + 1):
        (tmp_path / LOG).write_bytes(whole[:cut])
        kept = sum(whole[:cut] + b"\n" >= b"".join(whole.splitlines(keepends=True)[: n + 1]) for n in range(3))
        assert folder.rows() == rows[:kept]
        assert folder.keep_log(3) == kept
        folder.log({"event": "epoch", "step": 9})
        assert folder.rows() == [*rows[:kept], {"event": "epoch", "step": 9}]


@pytest.mark.parametrize(
    "tail", sampled([b'{"event": "epo', b"\xff\xfe\n", b"null\n", b"[1]\n", b'{"a": 1}\n', b"\x00" * 512], 2)
)
def test_what_a_power_cut_leaves_of_the_log_is_left_out(whole, finished, tail):
    (finished / "result.json").unlink()
    with (finished / LOG).open("ab") as file:
        file.write(tail)
    assert inside("train", "--resume", "-o", finished).returncode == 0
    assert events(finished) == events(whole)


def events(folder):
    return [(row["event"], row.get("step")) for row in RunFolder(folder).rows()]


def test_the_log_is_synced_before_the_checkpoint_that_counts_its_rows(tmp_path, monkeypatch):
    synced = []

    def fsync(handle):
        synced.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        FSYNC(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    assert inside("train", "lenet5", "digits", *WORDS, "-o", tmp_path / "run").returncode == 0
    checkpoint = next(n for n, name in enumerate(synced) if name.endswith("last.ckpt"))
    assert "log.jsonl" in synced[:checkpoint]


def test_rows_past_the_checkpoint_are_dropped_and_rows_that_are_gone_are_said(whole, finished):
    (finished / "result.json").unlink()
    _, values, _ = state.load_newest(finished)
    rows = (finished / LOG).read_bytes().splitlines(keepends=True)
    (finished / LOG).write_bytes(b"".join([*rows, b'{"event": "epoch", "epoch": 99}\n']))
    done = inside("train", "--resume", "-o", finished)
    assert done.returncode == 0
    assert "warning" not in done.stderr
    assert events(finished) == events(whole)
    (finished / "result.json").unlink()
    (finished / LOG).write_bytes(b"".join(rows[:1]))
    done = inside("train", "--resume", "-o", finished)
    assert done.returncode == 0
    assert f"{values['log_rows'] - 1} of {values['log_rows']} rows are gone" in done.stderr
    assert events(finished)[0] == events(whole)[0]


# Signals


def test_a_hangup_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with interrupt.stop_signals(30) as flag:
            signal.raise_signal(signal.SIGHUP)
            assert flag.received is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_line_that_goes_on_is_one_that_a_shell_takes(tmp_path):
    stopped = interrupt.Stopped(signal.SIGHUP, 3, 9, tmp_path / "my runs" / "it's one")
    assert stopped.exit_code == 143
    words = stopped.fix.partition(": ")[2].replace("podium", "printf '%s\\n'", 1)
    said = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == ["train", "--resume", "-o", str(tmp_path / "my runs" / "it's one")]


# Folders that cannot be synced


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_a_folder_that_cannot_be_synced_is_a_warning_once(tmp_path, monkeypatch, caplog, number):
    def fsync(handle):
        if Path(os.readlink(f"/proc/self/fd/{handle}")).is_dir():
            raise OSError(number, os.strerror(number))
        FSYNC(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(files, "_warned", set())
    for text in (b"one", b"two"):
        write_atomic(tmp_path / "file", text)
        assert (tmp_path / "file").read_bytes() == text
    state.save(tmp_path, {}, {"step": 1})
    assert caplog.text.count("cannot be synced") == 1
    assert state.load_newest(tmp_path)[1] == {"step": 1}


def test_a_file_that_was_not_written_is_an_error_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"before")

    def fsync(handle):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(library.PodiumError, match="cannot write"):
            write_atomic(tmp_path / "file", b"after")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"before")]


# Two processes that want one name


@pytest.fixture
def photos(tmp_path):
    """Two classes of four pictures."""
    draw = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for n in range(4):
            Image.fromarray(draw.integers(0, 255, (9, 9, 3), np.uint8)).save(tmp_path / "photos" / name / f"{n}.png")
    return read(tmp_path / "photos")


@pytest.mark.parametrize("write", [write_pack, write_shards])
def test_two_packs_of_one_name_do_not_meet(photos, tmp_path, write):
    """The second is made while the first is at work, and is there first: it stays as it is."""
    made = []

    def meanwhile(done, count):
        if done == 3 and not made:
            made.append(None)
            code = "import sys; from podium.cli import main as cli; sys.exit(cli.main(sys.argv[1:]))"
            words = ["pack", photos.source, "-o", str(tmp_path / "p"), *(["--shards"] if write is write_shards else [])]
            path = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
            subprocess.run([sys.executable, "-c", code, *words], env=path, check=True, capture_output=True)
            made[0] = {file.name: file.read_bytes() for file in (tmp_path / "p").iterdir()}

    with pytest.raises(UsageError, match="was made by another process meanwhile"):
        write(photos, tmp_path / "p", progress=meanwhile)
    assert made[0] == {file.name: file.read_bytes() for file in (tmp_path / "p").iterdir()}
    assert not list(tmp_path.glob(".tmp-*"))


def test_what_a_killed_process_left_goes_and_what_a_living_one_makes_stays(photos, tmp_path):
    code = """if True:
        import sys, time
        from pathlib import Path
        from podium.files import scratch_folder
        with scratch_folder(Path(sys.argv[1])) as folder:
            (folder / "begun").touch()
            print(folder, flush=True)
            sys.stdin.read()"""
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    dead = tmp_path / f".tmp-{ended.stdout.decode().strip()}-p"
    others = [tmp_path / ".tmp-1-other", tmp_path / ".tmp-x-p", tmp_path / ".tmp-p"]
    for folder in (dead, *others):
        (folder / "inside").mkdir(parents=True)
    path = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    living = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "p")], env=path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    theirs = Path(living.stdout.readline().decode().strip())
    assert not dead.exists()
    assert all(folder.is_dir() for folder in others)
    write_pack(photos, tmp_path / "p")
    assert (theirs / "begun").is_file()
    living.kill()
    living.communicate()
    assert len(read_pack(tmp_path / "p").splits["train"]) == 8
    with scratch_folder(tmp_path / "p"):
        assert not theirs.exists()


def test_two_that_quantize_to_one_name_do_not_mix_their_files(tmp_path):
    with placing._claimed(tmp_path / "quantize.json"):
        pass
    with pytest.raises(UsageError, match="another process"), placing._claimed(tmp_path / "quantize.json"):
        pytest.fail("it is taken")


def test_a_file_that_is_being_written_has_the_number_of_its_process(tmp_path, monkeypatch, whole):
    """All that a run writes: two processes that write one file do not meet."""
    seen, honest = set(), os.replace

    def replace(source, target):
        seen.add((Path(source).name, Path(target).name))
        honest(source, target)

    monkeypatch.setattr(os, "replace", replace)
    assert inside("train", "lenet5", "digits", *WORDS, "-o", tmp_path / "run").returncode == 0
    moved = {(source, target) for source, target in seen if not target.endswith(".ckpt")}
    assert {target for _, target in moved} >= {"card.json", "model.safetensors", "result.json", "report.html", LOG}
    assert all(source == f".tmp-{os.getpid()}-{target}" for source, target in moved)
    assert json.loads((tmp_path / "run" / "card.json").read_text())["sha256"]


def test_a_run_folder_that_is_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "run")
    one_error(inside("train", "lenet5", "digits", *WORDS, "-o", tmp_path / "run"), 2, "exists already")


# Signals outside of training, and where things are written


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_every_command_as_sigterm_does_and_leaves_nothing_half_made(photos, tmp_path, number):
    done = podium("pack", photos.source, "-o", tmp_path / "pack", fault=f"signal:{int(number)}@index.npy:written")
    assert done.returncode == 143, done.stderr
    assert f"stopped; start again with: podium pack {photos.source} -o {tmp_path / 'pack'}" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize("words", [("predict", "RUN", "PHOTO", "--csv"), ("check", "PHOTOS", "-o")])
def test_what_cannot_be_written_is_refused_before_an_image_is_read(finished, photos, tmp_path, monkeypatch, words):
    named = {"RUN": str(finished), "PHOTO": str(tmp_path / "photos/cat/0.png"), "PHOTOS": photos.source}
    command = [named.get(word, word) for word in words]
    os.mkfifo(tmp_path / "pipe")
    one_error(inside(*command, tmp_path / "pipe"), 6, "pipe: it is there and no file")
    assert (tmp_path / "pipe").is_fifo()
    monkeypatch.setattr(Path, "touch", refused(errno.EROFS))
    monkeypatch.setattr(Image, "open", refused(errno.EIO))
    one_error(inside(*command, tmp_path / "out"), 6, f"cannot write {tmp_path / 'out'}: Read-only file system")


def test_a_name_as_long_as_the_file_system_takes_can_be_written(tmp_path):
    path = tmp_path / ("é" * 127)  # 254 bytes
    write_atomic(path, b"one")
    assert path.read_bytes() == b"one"
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_a_full_disk_is_mended_by_what_the_command_has(photos, tmp_path):
    """Only a training goes on with --resume."""
    with Running("pack", photos.source, "-o", tmp_path / "pack", largest_file=1000) as run:
        one_error(run.ended(), 6, "disk full", "fix: free some space, and run the same again")
    with Running("train", "lenet5", "digits", *WORDS, "-o", tmp_path / "new", largest_file=40_000) as run:
        one_error(run.ended(), 6, "disk full", "and run the same again, with --resume")


def refused(number):
    """A function of the system that fails."""

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    return fail
