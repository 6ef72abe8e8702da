"""What one system has and another lacks: the library imports, and predicts, where it is missing."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import podium
from podium import platform
from podium.training.autotune.trial import memory_left

# Takes from this process what Windows does not have, before anything of Podium is imported.
WITHOUT = """
import ctypes, os, signal, sys
for name in ("fcntl", "resource"):
    sys.modules[name] = None
for name in ("pread", "sched_getaffinity", "O_NONBLOCK", "sysconf"):
    delattr(os, name)
for name in ("SIGUSR1", "SIGHUP"):
    delattr(signal, name)
plain = ctypes.CDLL
def cdll(name, *more, **how):
    if name is None:
        raise TypeError("bad argument type for built-in operation")
    return plain(name, *more, **how)
ctypes.CDLL = cdll
"""


def said(script, *words):
    done = subprocess.run([sys.executable, "-c", WITHOUT + script, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (20, 24), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


PREDICT = """
import json, podium
print(json.dumps(podium.load(sys.argv[1]).predict(sys.argv[2])))
"""


def test_a_bundle_predicts_where_unix_is_missing(run, picture):
    assert said(PREDICT, run.path, picture) == podium.load(run.path).predict(picture)


def test_an_exported_file_predicts_where_unix_is_missing(run, picture, tmp_path):
    podium.export(run.path, tmp_path / "model.onnx")
    here, there = podium.load(tmp_path / "model.onnx").predict(picture), said(PREDICT, tmp_path / "model.onnx", picture)
    assert there == here


def test_bundles_are_imported_where_unix_is_missing():
    script = "import json, podium, podium.runs.bundle\nprint(json.dumps(podium.__version__))"
    assert said(script) == podium.__version__


def test_where_the_memory_that_is_left_is_not_known_a_batch_size_is_wanted(monkeypatch):
    assert platform.memory_left_here() > 0
    monkeypatch.delattr(os, "sysconf")
    assert platform.memory_left_here() is None
    with pytest.raises(podium.PodiumError, match="batch_size: auto") as caught:
        memory_left(torch.device("cpu"))
    assert "--batch-size" in caught.value.fix


def test_a_part_of_a_file_is_read_with_and_without_pread(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(bytes(range(100)))
    with (tmp_path / "file").open("rb") as file:
        assert platform.read_at(file, 5, 10) == bytes(range(10, 15))
        monkeypatch.delattr(os, "pread")
        assert platform.read_at(file, 5, 10) == bytes(range(10, 15))
        assert platform.read_at(file, 5, 98) == bytes([98, 99])


def test_the_processors_are_those_that_the_process_is_bound_to(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert (platform.processors(), platform.cores()) == (3, 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert (platform.processors(), platform.cores()) == (3, 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "0")
    assert platform.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert platform.processors() == os.cpu_count()


def test_a_hangup_that_is_ignored_stops_nothing():
    before = signal.getsignal(signal.SIGHUP)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        assert {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP} == set(platform.stop_signals())
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        assert {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1} == set(platform.stop_signals())
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_lock_is_free_once(tmp_path):
    first, second = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
    try:
        assert platform.lock(first) is True
        assert platform.lock(second) is False
    finally:
        os.close(first)
        os.close(second)
