"""A loaded model answers right in many threads, after a fork, and in worker processes that it is pickled to."""

import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import podium
from podium.deployment.export import seal_again
from podium.errors import ModelFileError

KINDS = [("run", {}), ("x.onnx", {"engine": "onnxruntime"}), ("x.onnx", {"engine": "openvino"}), ("x.xml", {})]
IDS = ["torch", "onnxruntime", "openvino from onnx", "openvino"]
NUMBERS = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture
def folder(run, exported, tmp_path):
    """The run on the digits, and its exported files."""
    (tmp_path / "run").symlink_to(run.path, target_is_directory=True)
    for path in exported.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path


def squares(model, count, images=1):
    """So many different batches."""
    p, draw = model.preprocessing, np.random.default_rng(0)
    return list(draw.integers(0, 256, (count, images, p.image_size, p.image_size, p.channels), np.uint8))


@pytest.mark.parametrize(("name", "how"), KINDS, ids=IDS)
def test_eight_threads_get_the_answers_of_one(folder, name, how):
    model = podium.load(folder / name, **how)
    batches = squares(model, 240)
    expected = [model.logits_and_probabilities(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(model.logits_and_probabilities, batches))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours[0], theirs[0], **NUMBERS)
        np.testing.assert_allclose(ours[1], theirs[1], **NUMBERS)
    assert len({row[0].tobytes() for row in expected}) == len(batches), "no two images have the same answer"


# The child answers with the model of its parent, with one that it opens itself, and after the parent's is closed.
FORK = """
import faulthandler, os, sys
import numpy as np
import podium
model = podium.load(sys.argv[1], **eval(sys.argv[2]))
if "torch" in sys.modules:
    sys.modules["torch"].set_num_threads(2)
p = model.preprocessing
images = np.random.default_rng(0).integers(0, 256, (64, p.image_size, p.image_size, p.channels), np.uint8)
expected = model.logits_and_probabilities(images)[0]
child = os.fork()
if child == 0:
    faulthandler.dump_traceback_later(45, exit=True)
    np.testing.assert_allclose(model.logits_and_probabilities(images)[0], expected, rtol=1e-5, atol=1e-5)
    model = podium.load(sys.argv[1], **eval(sys.argv[2]))
    np.testing.assert_allclose(model.logits_and_probabilities(images)[0], expected, rtol=1e-5, atol=1e-5)
    print("the child has answered", flush=True)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="it has no forks")
@pytest.mark.parametrize(("name", "how"), KINDS, ids=IDS)
def test_a_forked_process_answers_as_its_parent_and_never_hangs(folder, name, how):
    threads = {**how, "threads": 2} if name != "run" else {}
    words = [sys.executable, "-c", FORK, folder / name, repr(threads)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "the child has answered\n"), done.stderr


TRAIN = """
import faulthandler, os, sys
import podium, torch
torch.set_num_threads(2)
torch.nn.Conv2d(3, 16, 3)(torch.randn(8, 3, 64, 64)).sum().backward()
child = os.fork()
if child == 0:
    faulthandler.dump_traceback_later(60, exit=True)
    run = podium.train("lenet5_modern", "digits", sys.argv[1], duration="3it")
    print("the child has trained", torch.get_num_threads(), flush=True)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="it has no forks")
def test_a_forked_process_trains_though_its_parent_has_computed(tmp_path):
    """In one thread, and says so: for the others it would wait for ever."""
    words = [sys.executable, "-c", TRAIN, tmp_path / "run"]
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, env=environment)
    assert (done.returncode, done.stdout) == (0, "the child has trained 1\n"), done.stderr
    assert done.stderr.count("computes in one thread") == 1
    assert 'get_context("spawn")' in done.stderr


@pytest.mark.parametrize(("name", "how"), KINDS[1:], ids=IDS[1:])
def test_an_exported_model_is_pickled_as_its_path(folder, name, how, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(folder)
    model = podium.load(name, threads=1, **how)
    content = pickle.dumps(model)
    assert len(content) < 10_000, "it has no weights in it"
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    again = pickle.loads(pickle.dumps(pickle.loads(content)))
    (batch,) = squares(model, 1)
    np.testing.assert_array_equal(
        again.logits_and_probabilities(batch)[0], model.logits_and_probabilities(batch)[0], strict=True
    )
    assert (again.classes, again.card, again.engine, again.source) == (
        model.classes,
        model.card,
        model.engine,
        model.source,
    )


@pytest.mark.parametrize("name", ["x.onnx", "x.xml"])
def test_a_file_that_has_changed_is_refused_when_a_worker_opens_it(folder, name):
    model = podium.load(folder / name)
    handed = pickle.dumps(model)
    seal_again(folder / name, {"note": "another card, and so another digest"})
    assert podium.load(folder / name).card["note"]
    again = pickle.loads(handed)
    with pytest.raises(ModelFileError, match=rf"{name}: changed since it was loaded \(sha256 \w+, it was \w+\)"):
        again.logits_and_probabilities(squares(model, 1)[0])
    for path in folder.glob("x.*"):
        path.unlink()
    with pytest.raises(ModelFileError, match=rf"{name}: cannot be read"):
        pickle.loads(handed).predict(np.zeros((8, 8), np.uint8))


def _answers(model, path):
    return model.predict(path, top=3)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "how"), KINDS, ids=IDS)
def test_worker_processes_answer_alike(folder, name, how, picture):
    """Started anew, by multiprocessing and by joblib, as people hand images to several processes."""
    joblib = pytest.importorskip("joblib")
    model = podium.load(folder / name, **how)
    paths = [picture(f"{number}.png") for number in range(4)]
    expected = [model.predict(path, top=3) for path in paths]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.starmap_async(_answers, [(model, path) for path in paths]).get(timeout=100)
    assert [row["answer"] for (row,) in found] == [row["answer"] for (row,) in expected]
    found = joblib.Parallel(2, timeout=100)(joblib.delayed(model.predict)(path, top=3) for path in paths)
    for ours, theirs in zip(found, expected, strict=True):
        assert Path(ours[0]["file"]) == Path(theirs[0]["file"])
        for mine, other in zip(ours[0]["top"], theirs[0]["top"], strict=True):
            assert mine["class"] == other["class"]
            assert mine["probability"] == pytest.approx(other["probability"], abs=1e-5)
