"""Files that an earlier Podium wrote are read, evaluated, resumed and reported on as on the day they were written.

`tests/data/README.md` says what they are and how they were made.
"""

import hashlib
import json
import platform
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import podium as library
from command import inside
from podium.data.loader import Loader
from podium.evaluation.evaluate import evaluate

DATA = Path(__file__).parent / "data"
LOGITS = np.load(DATA / "logits.npz")


def this_machine():
    """What decides the last bits of a training run, apart from Podium: torch, and the kernels it chooses for a processor."""
    cpu = dict.fromkeys(("vendor_id", "cpu family", "model", "cache size"), platform.machine())
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.is_file() else ():
        key, _, value = line.partition(":")
        if key.strip() in cpu:
            cpu[key.strip()] = value.strip()
    return {"torch": torch.__version__, "capability": torch.backends.cpu.get_cpu_capability(), **cpu}


@pytest.fixture(scope="module")
def digits():
    return library.load_data("digits")


@pytest.fixture
def old(tmp_path):
    """A copy of one of the old files, which a test may write beside."""

    def copy(name):
        return Path(shutil.copytree(DATA / name, tmp_path / name))

    return copy


def digest(folder):
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def softmax(logits):
    return torch.from_numpy(logits).softmax(1).numpy()


@pytest.mark.parametrize("name", ["run", "bundle"])
def test_a_bundle_has_the_logits_it_had(digits, name):
    old = library.load(DATA / name)
    assert old.classes == digits.classes
    outputs = evaluate(
        old.model, Loader(digits.splits["test"], old.preprocessing, batch_size=250, device=torch.device("cpu"))
    )
    np.testing.assert_allclose(outputs.logits, LOGITS[name], rtol=1e-5, atol=1e-5)
    assert np.array_equal(outputs.labels, digits.splits["test"].labels)


def test_the_exported_file_has_the_logits_of_its_run(digits):
    pytest.importorskip("onnxruntime", reason="needs the extra `runtime`")
    old, images = library.load(DATA / "net.onnx"), digits.splits["test"]
    assert old.classes == digits.classes
    squares = np.stack([old.preprocessing.square(images.image(i, 1)) for i in range(len(images))])
    logits, probabilities = old.logits_and_probabilities(squares)
    np.testing.assert_allclose(logits, LOGITS["run"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(probabilities, softmax(LOGITS["run"]), atol=1e-5)


@pytest.mark.parametrize("name", ["run", "bundle", "net.onnx"])
def test_predict_has_the_probabilities_it_had(digits, tmp_path, name):
    if name == "net.onnx":
        pytest.importorskip("onnxruntime", reason="needs the extra `runtime`")
    rows = range(0, 360, 36)
    files = [tmp_path / f"{row}.png" for row in rows]
    for row, file in zip(rows, files, strict=True):
        digits.splits["test"].image(row, 1).save(file)
    said = inside("predict", DATA / name, *files, "--top", 10, "--json")
    assert said.returncode == 0, said.stderr
    answers = json.loads(said.stdout)
    expected = softmax(LOGITS["bundle" if name == "bundle" else "run"])
    for row, answer in zip(rows, answers, strict=True):
        found = {each["class"]: each["probability"] for each in answer["top"]}
        np.testing.assert_allclose([found[c] for c in digits.classes], expected[row], atol=1e-5)


@pytest.mark.parametrize("name", ["run", "bundle"])
def test_eval_finds_the_scores_on_the_card(name):
    said = inside("eval", DATA / name, "digits", "--json")
    assert said.returncode == 0, said.stderr
    scores, expected = json.loads(said.stdout), json.loads((DATA / name / "card.json").read_text())["scores"]
    for key, value in expected.items():
        assert scores[key] == pytest.approx(value, abs=1e-5), key


@pytest.mark.parametrize("name", ["run", "stopped", "bundle", "net.onnx"])
def test_verify_accepts_them(name):
    said = inside("verify", DATA / name, "--json")
    assert said.returncode == 0, said.stderr
    assert all(each["ok"] for each in json.loads(said.stdout))


def test_a_stopped_run_goes_on_to_the_bits_of_one_that_was_never_stopped(old, tmp_path):
    """Its first 60 steps are the old Podium's; the other run has all 88 of this one."""
    stopped, whole = old("stopped"), tmp_path / "whole"
    settings = stopped / "settings.yaml"
    done = inside("train", "--config", settings, "--threads", 1, "-o", whole)
    assert done.returncode == 0, done.stderr
    done = inside("train", "--resume", "-o", stopped)
    assert done.returncode == 0, done.stderr
    result = json.loads((stopped / "result.json").read_text())
    assert (result["steps"], result["bit_comparable"]) == (88, True)
    earlier = load_file(DATA / "run" / "model.safetensors")
    ours, resumed = load_file(whole / "model.safetensors"), load_file(stopped / "model.safetensors")
    assert list(ours) == list(resumed) == list(earlier)
    if this_machine() == json.loads((DATA / "made_on.json").read_text()):
        assert digest(stopped) == digest(whole)
        assert all(torch.equal(ours[key], value) for key, value in earlier.items())
    for key, value in earlier.items():  # on other processors the rounding differs, and nothing else
        torch.testing.assert_close(resumed[key], value, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(ours[key], value, rtol=1e-3, atol=1e-3)


def test_a_finished_run_gets_its_report_again(old):
    run = old("run")
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    done = inside("train", "--resume", "-o", run)
    assert done.returncode == 0, done.stderr
    assert (run / "report.html").stat().st_size > 100_000
    for name, content in before.items():
        assert (run / name).read_bytes() == content, name
