"""What could wait for ever, and what is the machine's fault and not an image's: threads, pipes, interruptions, memory."""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

import podium as library
from command import inside, one_error
from conftest import ROOT, sampled
from podium import files
from podium.data import ahead, image_file, loader, readers
from podium.data.loader import MOST_WORKERS
from podium.data.readers import Readers
from podium.errors import DataError, MachineError, UsageError
from podium.settings import FIELDS

WORDS = ["--epochs", "1", "--image-size", "32", "--batch-size", "8"]


@pytest.fixture
def photos(tmp_path):
    """Two classes of ten pictures."""
    draw = np.random.default_rng(0)
    for level, name in enumerate(("dark", "light")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for n in range(10):
            pixels = draw.integers(0, 90, (20, 24, 3), np.uint8) + np.uint8(100 * level)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{n}.png")
    return tmp_path / "photos"


@pytest.fixture
def trained(photos, tmp_path):
    """A run on them."""
    assert inside("train", "lenet5", photos, *WORDS, "--keep-checkpoint", "-o", tmp_path / "trained").returncode == 0
    return tmp_path / "trained"


# Threads


def no_more_than(count, monkeypatch):
    """A system that starts so many threads and no more."""
    honest, started = threading.Thread.start, []

    def start(thread):
        if len(started) >= count:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        honest(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    monkeypatch.setattr(readers, "PATIENCE", 0.05)


@pytest.mark.parametrize("count", [0, 3])
def test_a_thread_that_cannot_start_is_the_machines_fault_and_leaves_none_behind(monkeypatch, count):
    before, here = threading.active_count(), torch.get_num_threads()
    with monkeypatch.context() as patch:
        no_more_than(count, patch)
        with pytest.raises(MachineError, match=f"only {count} of 8 threads") as refused:
            ahead.reading_threads(8)
    assert f"--workers {count // 2}" in refused.value.fix
    assert threading.active_count() == before
    assert torch.get_num_threads() == here


@pytest.mark.parametrize("words", [["check"], ["train", "lenet5", *WORDS, "--on-bad", "skip"]], ids=["check", "skip"])
def test_every_verb_says_so(photos, monkeypatch, words):
    with monkeypatch.context() as patch:
        no_more_than(0, patch)
        one_error(inside(words[0], *words[1:2], photos, *words[2:]), 6, "threads", "ulimit -u")


def test_a_checkpoint_is_saved_without_a_thread(trained, monkeypatch):
    from podium.runs import checkpoint as state

    tensors, values, _ = state.load_newest(trained)
    before = (trained / state.LAST).read_bytes()
    no_more_than(0, monkeypatch)
    state.save(trained, tensors, values)
    assert (trained / state.LAST).read_bytes() == before


@pytest.mark.parametrize("verb", sampled(["train", "compare", "eval", "prune"], 1))
def test_forty_thousand_workers_are_refused(trained, photos, verb):
    words = {
        "train": ["train", "lenet5", photos, *WORDS],
        "compare": ["compare", photos, "-m", "lenet5", *WORDS],
        "eval": ["eval", trained, photos],
        "prune": ["prune", trained, photos, "--macs", "0.5"],
    }[verb]
    one_error(inside(*words, "--workers", "40000"), 2, "workers: 40000", f"at most {MOST_WORKERS}")


def test_the_loader_and_the_settings_have_one_limit(trained, photos):
    assert FIELDS["workers"].metadata["at_most"] == MOST_WORKERS
    with pytest.raises(UsageError, match="workers: 40000"):
        library.evaluate(trained, photos, workers=40000)
    with pytest.raises(UsageError, match="workers: -1"):
        library.evaluate(trained, photos, workers=-1)


# Pipes


def test_a_named_pipe_among_the_images_is_named_and_left_alone(photos, trained, tmp_path):
    os.mkfifo(photos / "dark" / "pipe.png")
    with socket.socket(socket.AF_UNIX) as made:
        cwd = Path.cwd()
        os.chdir(photos / "light")  # the path of a socket is short
        made.bind("socket.jpg")
        os.chdir(cwd)
    checked = inside("check", photos)
    assert checked.returncode == 3
    assert "pipe.png" in checked.stdout
    assert "a named pipe, not a file" in checked.stdout
    assert "a socket, not a file" in checked.stdout
    done = inside("train", "lenet5", photos, *WORDS, "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    one_error(inside("predict", trained, photos / "dark" / "pipe.png"), 3, "pipe.png: a named pipe, not a file")


def test_a_named_pipe_in_the_place_of_an_image_is_not_waited_for(photos):
    file = image_file.ImageFile.of(photos / "dark" / "3.png")
    (photos / "dark" / "3.png").unlink()
    os.mkfifo(photos / "dark" / "3.png")
    with pytest.raises(DataError, match=r"3\.png"):
        file.read()


@pytest.mark.parametrize(
    "name", sampled(["net.onnx", "net.xml", "photos.tar", "photos.zip", "net.pth"], ["net.onnx", "photos.tar"])
)
def test_a_named_pipe_in_the_place_of_a_file_is_refused(trained, photos, tmp_path, name):
    os.mkfifo(tmp_path / name)
    words = {
        ".onnx": ["predict", tmp_path / name, photos / "dark" / "1.png"],
        ".xml": ["verify", tmp_path / name],
        ".pth": ["import", "torchvision:resnet18", tmp_path / name, "-o", tmp_path / "out"],
    }.get(tmp_path.joinpath(name).suffix, ["check", tmp_path / name])
    done = inside(*words)
    one_error(done, 4 if "net" in name else 3, str(tmp_path / name))


# Interruptions


@pytest.fixture
def ctrl_c():
    """SIGINT as a process at a terminal has it, whatever started the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def held(ctrl_c, monkeypatch):
    """Reading an image interrupts the process, as Ctrl-C does, and never ends."""
    ever, first = threading.Event(), threading.Lock()
    monkeypatch.setattr(readers, "PATIENCE", 0.05)

    def read(file):
        if first.acquire(blocking=False):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        ever.wait()
        raise DataError("the end")

    with monkeypatch.context() as patch:
        patch.setattr(image_file.ImageFile, "read", read)
        yield
    ever.set()


@pytest.mark.parametrize(
    "words",
    [
        ["check", "PHOTOS"],
        ["pack", "PHOTOS", "-o", "OUT"],
        ["pack", "PHOTOS", "--shards", "-o", "OUT"],
        ["train", "lenet5", "PHOTOS", *WORDS, "--on-bad", "skip", "-o", "OUT"],
        ["compare", "PHOTOS", "-m", "lenet5", *WORDS, "--on-bad", "skip", "-o", "OUT"],
    ],
    ids=lambda words: " ".join(words[:1]),
)
def test_ctrl_c_while_images_are_read_ends_at_once_and_says_how_to_go_on(photos, held, words, tmp_path):
    words = [{"PHOTOS": str(photos), "OUT": str(tmp_path / "out")}.get(word, word) for word in words]
    done = inside(*words)
    assert done.returncode == 130
    last = done.stderr.splitlines()[-1]
    assert last.startswith("stopped; ")
    assert last.endswith(f" with: podium {' '.join(words)}")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".tmp-")) == []


def test_ctrl_c_while_a_run_is_evaluated_ends_at_once(trained, photos, held):
    done = inside("eval", trained, photos)
    assert (done.returncode, "start again with: podium eval" in done.stderr) == (130, True)


@pytest.mark.parametrize("phase", ["trial", "report"])
def test_ctrl_c_before_the_first_step_and_after_the_last(ctrl_c, photos, tmp_path, monkeypatch, phase):
    from podium.api import train as api_train
    from podium.training import fitting

    def interrupt(*_, **__):
        signal.raise_signal(signal.SIGINT)  # not os.kill: another thread may take that, and the test has ended by then

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(*((fitting, "fastest_setting") if phase == "trial" else (api_train, "report_run")), interrupt)
        done = inside("train", "lenet5", photos, *WORDS, "-o", out)
    assert done.returncode == 130
    last = done.stderr.splitlines()[-1]
    if phase == "trial":
        assert last.startswith("stopped; start again with: podium train lenet5 ")
        done = inside("train", "lenet5", photos, *WORDS, "-o", out)
    else:
        assert last == f"stopped; go on with: podium train --resume -o {out}"
        done = inside("train", "--resume", "-o", out)
    assert done.returncode == 0, done.stderr
    assert (out / "report.html").is_file()


def test_the_process_ends_whatever_its_threads_hang_on(photos):
    """A second Ctrl-C at the end, too; what is read here is a disk that answers no more."""
    code = """if True:
        import os, signal, sys, time
        from podium.cli import main as cli
        from podium.data import image_file

        def read(file):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(3600)

        image_file.ImageFile.read = read
        sys.exit(cli.main(sys.argv[1:]))"""
    done = subprocess.run(
        [sys.executable, "-c", code, "check", str(photos)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert (done.returncode, done.stderr.splitlines()[-1][:8]) == (130, "stopped;")


def test_what_is_mapped_keeps_its_order_and_is_not_all_handed_out():
    handed = []
    with Readers(3) as pool:
        squares = pool.map(lambda n: handed.append(n) or n * n, range(1000))
        assert [next(squares) for _ in range(5)] == [0, 1, 4, 9, 16]
        assert len(handed) <= readers.AHEAD + 5
    with Readers(2) as pool:
        assert list(pool.map(lambda a, b: a + b, range(200), range(200))) == [2 * n for n in range(200)]
        with pytest.raises(ZeroDivisionError):
            list(pool.map(lambda n: 1 // n, [1, 0]))


# Memory


def starved(error):
    def load(image):
        raise error

    return load


@pytest.mark.parametrize(
    "error",
    sampled(
        [
            OSError("out of memory error when reading image file"),
            ValueError("Insufficient memory (case 4)"),
            MemoryError(),
        ],
        1,
    ),
    ids=["pillow", "libjpeg", "python"],
)
@pytest.mark.parametrize("verb", ["check", "train", "skip", "predict", "pack", "eval"])
def test_an_end_of_memory_is_never_a_damaged_image(trained, photos, tmp_path, monkeypatch, error, verb):
    words = {
        "check": ["check", photos],
        "train": ["train", "lenet5", photos, *WORDS, "-o", tmp_path / "run"],
        "skip": ["train", "lenet5", photos, *WORDS, "--on-bad", "skip", "-o", tmp_path / "run"],
        "predict": ["predict", trained, photos / "dark" / "1.png"],
        "pack": ["pack", photos, "-o", tmp_path / "pack"],
        "eval": ["eval", trained, photos, "--crops", "10"],
    }[verb]
    with monkeypatch.context() as patch:
        patch.setattr(ImageFile.ImageFile, "load", starved(error))
        done = inside(*words)
    one_error(done, 6, ".png: no memory was left to decode it")
    assert "damaged" not in done.stderr


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EMFILE, errno.ENFILE])
@pytest.mark.parametrize("words", [[], ["--on-bad", "skip"]], ids=["error", "skip"])
def test_a_machine_that_opens_no_more_files_says_nothing_of_the_images(photos, tmp_path, monkeypatch, number, words):
    def refuse(path, flags):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(image_file, "_open_without_waiting", refuse)
        done = inside("train", "lenet5", photos, *WORDS, *words, "-o", tmp_path / "run")
    one_error(done, 6, os.strerror(number))


@pytest.mark.parametrize("workers", [0, 2])
def test_no_memory_for_the_pixels_is_not_a_batch_that_is_too_large(photos, tmp_path, monkeypatch, workers):
    """Whether threads decode or the caller's own does."""

    def square(*_):
        raise np._core._exceptions._ArrayMemoryError((9, 9), np.dtype("u1"))

    with monkeypatch.context() as patch:
        patch.setattr(loader.Preprocessing, "square", square)
        done = inside("train", "lenet5", photos, *WORDS, "--workers", workers, "-o", tmp_path / "run")
    one_error(done, 6, "no memory was left", "--workers")


# Shared memory


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),  # a semaphore's
        (RuntimeError("unable to mmap 64 bytes from file </torch_12_3>: No space left on device (28)"), True),
        (RuntimeError("unable to open shared memory object </torch_1> in read-write mode"), True),
        (RuntimeError("NCCL error: creating shared memory segment /dev/shm/nccl-a (size 4)"), True),
        (OSError(errno.ENOSPC, "No space left on device", "runs/a/log.jsonl"), False),
        (OSError(errno.ENOENT, "No such file or directory"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_full_shared_memory_is_named(monkeypatch, error, named):
    class Usage:
        total, free = 4096, 0

    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: Usage)
    told = files.no_shared_memory(error)
    assert (told is not None) == named
    if named:
        assert told.exit_code == 6
        assert "/dev/shm" in told.what
        assert "--shm-size" in told.fix


def test_four_kilobytes_of_shared_memory():
    script = 'mount -t tmpfs -o size=4k tmpfs /dev/shm && exec "$@"'
    command = ["unshare", "-m", "bash", "-c", script, "bash"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small /dev/shm")
    code = """if True:
        import multiprocessing, sys
        from podium.cli import main as cli

        def run(arguments):
            multiprocessing.Queue()  # as the log of a run, or processes that share one, need it

        cli.parse = lambda argv: type("Parsed", (), {"verb": "train", "run": staticmethod(run)})
        sys.exit(cli.main(["train"]))"""
    done = subprocess.run(
        [*command, sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    one_error(done, 6, "error: /dev/shm: full", "0.0041 MB in all", "remount")
