"""The script that proves on a device what a processor cannot: it runs whole on the processor, and a check that fails is seen.

The raw files of all benchmarks name a command that is there.
"""

import importlib.util
import json
import signal
import subprocess
import sys

import pytest
import torch

import podium
from conftest import ROOT
from podium.runs.bundle import WEIGHTS
from podium.training.interrupt import Stopped

SCRIPT = ROOT / "benchmarks" / "device.py"


def script(*words):
    return subprocess.run([sys.executable, SCRIPT, *map(str, words)], capture_output=True, text=True)


@pytest.mark.slow
def test_all_parts_run_on_the_processor(tmp_path):
    done = script("--dry", "--out", tmp_path / "device.json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "device.json").read_text())
    checks = {part: [each["ok"] for each in row["checks"]] for part, row in found["parts"].items()}
    assert list(checks) == [
        "pooling",
        "augmentation",
        "resumes",
        "steps",
        "memory",
        "reads",
        "speed",
        "feed",
        "chain",
        "group",
    ]
    assert all(checks.values())
    assert not any(False in each for each in checks.values())
    assert checks["resumes"] == [True] * 4
    assert checks["chain"] == [True] * 6
    idle = {each["name"]: each["said"] for each in found["parts"]["speed"]["checks"]}[
        "lenet5_modern, the device is idle"
    ]
    assert 0 <= float(idle.removesuffix("% of the time")) < 100
    assert found["platform"]["device"] == "cpu"


@pytest.mark.slow
def test_a_check_that_fails_is_seen_and_the_next_part_goes_on(tmp_path):
    broken = (
        "import on_device.exact as exact; exact.pool_to = lambda x, side: 1 / 0; import device; sys.exit(device.main())"
    )
    program = f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); {broken}"
    words = ["--dry", "--parts", "pooling,group", "--out", str(tmp_path / "device.json")]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    assert done.returncode == 1
    found = json.loads((tmp_path / "device.json").read_text())["parts"]
    assert [each["ok"] for each in found["pooling"]["checks"]] == [False]
    assert "ZeroDivisionError" in found["pooling"]["checks"][0]["said"]
    assert all(each["ok"] for each in found["group"]["checks"])


@pytest.fixture
def device(monkeypatch):
    """The script as a module, with parts of a test's own."""
    monkeypatch.setattr(sys, "path", [str(SCRIPT.parent), *sys.path])
    spec = importlib.util.spec_from_file_location("device_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PARTS", {})
    return module


def fine(here):
    from on_device.check import Check

    yield Check("fine", True, "1")


def dry(device, monkeypatch, tmp_path, *words):
    """Run the script's main function on the processor, its record in a folder of the test's own."""
    monkeypatch.setattr(device, "RECORD", tmp_path / "record.json")
    monkeypatch.setattr(sys, "argv", ["device.py", "--dry", *map(str, words)])
    return device.main()


def test_a_dry_run_leaves_nothing_that_looks_like_the_record_of_a_device(device, monkeypatch, tmp_path):
    device.PARTS["fine"] = (fine, 1)
    assert dry(device, monkeypatch, tmp_path, "--parts", "fine") == 0
    assert list(tmp_path.iterdir()) == []
    assert dry(device, monkeypatch, tmp_path, "--parts", "fine", "--out", tmp_path / "own.json") == 0
    assert json.loads((tmp_path / "own.json").read_text())["parts"]["fine"]["checks"][0]["ok"]


def trained_and_stopped(here):
    def stop(step, total, shown):
        signal.raise_signal(signal.SIGTERM)

    podium.train("lenet5", "digits", here.folder / "run", steps=4, progress=stop)
    yield from fine(here)


def stopped(here):
    signal.raise_signal(signal.SIGTERM)
    yield from fine(here)


@pytest.mark.parametrize("part", [trained_and_stopped, stopped])
def test_a_signal_stops_the_script_and_the_parts_before_it_are_kept(device, monkeypatch, tmp_path, capsys, part):
    device.PARTS.update({"fine": (fine, 1), "stopped": (part, 1), "after": (fine, 1)})
    words = ("--parts", "fine,stopped,after", "--out", tmp_path / "own.json")
    assert dry(device, monkeypatch, tmp_path, *words) == 128 + signal.SIGTERM
    assert list(json.loads((tmp_path / "own.json").read_text())["parts"]) == ["fine"]
    said = capsys.readouterr().out
    assert "FAIL" not in said
    assert "stopped by a signal" in said


def test_a_signal_of_a_person_is_not_taken_for_the_one_that_a_check_sends(device, monkeypatch, tmp_path):
    from on_device import exact

    def train(*arguments, **settings):
        raise Stopped(signal.SIGTERM, 1, 4, tmp_path)

    monkeypatch.setattr(exact.podium, "train", train)
    with pytest.raises(Stopped):
        exact._stopped("lenet5", None, tmp_path, {})


def test_float32_is_no_tf32_and_tf32_is_tried_by_itself(device, monkeypatch):
    """By itself torch multiplies convolutions of float32 in TF32 on cards that have it."""
    from on_device import passes

    for name in ("has_tf32", "has_bf16"):
        monkeypatch.setattr(passes, name, lambda device: True)
    assert passes.precisions(torch.device("cuda")) == ["float32", "TF32", "bfloat16"]
    monkeypatch.setattr(passes, "has_tf32", lambda device: False)
    assert passes.precisions(torch.device("cuda")) == ["float32", "bfloat16"]
    net, seen = passes._network("lenet5"), set()
    net.stem.register_forward_pre_hook(lambda *_: seen.add(torch.backends.cudnn.conv.fp32_precision == "tf32"))
    next(net.parameters()).register_hook(lambda _: seen.add(torch.backends.cudnn.conv.fp32_precision == "tf32"))
    for name, expected in (("float32", {False}), ("TF32", {True})):
        seen.clear()
        passes._numbers(net, torch.device("cpu"), passes.PRECISIONS[name])
        assert seen == expected


def test_what_apples_gpus_do_not_promise_is_no_failure_there(device, tmp_path):
    from on_device import chain, exact, speed
    from on_device.check import Here

    apple, card = (Here(torch.device(kind), False, tmp_path, 0.0) for kind in ("mps", "cuda"))
    assert [check.word for check in chain.group(apple)] == ["MEASURED"]
    one, other = tmp_path / "one", tmp_path / "other"
    for run in (one, other):
        run.mkdir()
        (run / WEIGHTS).write_text(run.name)
    assert exact._same("runs", one, other, apple).word == "MEASURED"
    assert exact._same("runs", one, other, card).word == "FAIL"
    assert exact._same("runs", one, one, card).word == "PASS"
    assert speed.cases(apple) == speed.SMALL


def test_little_memory_has_small_steps(device, monkeypatch, tmp_path):
    from on_device import speed
    from on_device.check import Here

    card = Here(torch.device("cuda"), False, tmp_path, 0.0)
    for left, cases in ((139e9, speed.CASES), (16e9, speed.SMALL)):
        monkeypatch.setattr(speed, "memory_left", lambda device, left=left: left)
        assert speed.cases(card) == cases


SPANS = {  # in any order, as a profiler lists what several streams did
    "without a gap": ([(0, 2), (2, 5)], 0.0),
    "a gap": ([(3, 4), (0, 1)], 0.5),
    "at the same time": ([(0, 8), (1, 2), (6, 10)], 0.0),
    "one within another, then a gap": ([(0, 6), (1, 2), (8, 10)], 0.2),
    "nothing seen": ([], None),
    "no time": ([(3, 3)], None),
}


@pytest.mark.parametrize("how", SPANS)
def test_the_idle_share_is_the_time_that_nothing_covers(device, how):
    from on_device.idle import idle_share

    spans, share = SPANS[how]
    assert idle_share(spans) == (share if share is None else pytest.approx(share))


def test_raw_files_name_a_script_that_is_there():
    """Also where one script writes several files, as benchmarks/cifar.py does."""
    files = [*(ROOT / "benchmarks" / "results").glob("*.json"), *(ROOT / "docs" / "results").glob("*.json")]
    commands = {}
    for path in files:
        content = json.loads(path.read_text())
        if isinstance(content, dict) and "command" in content:
            commands[path.name] = content["command"]
    assert len(commands) > 30
    scripts = {name: text.split()[1] for name, text in commands.items() if text.startswith("python ")}
    assert {name: script for name, script in scripts.items() if not (ROOT / script).is_file()} == {}


def test_a_raw_file_names_the_script_that_wrote_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "path", [str(SCRIPT.parent), *sys.path])
    import record

    (tmp_path / "benchmarks").mkdir()
    monkeypatch.setattr(record, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT.parent / "cifar.py"), "--data", "fashion-mnist"])
    record.record("fashion-mnist", {})
    content = json.loads((tmp_path / "benchmarks" / "results" / "fashion-mnist.json").read_text())
    assert content["command"] == "python benchmarks/cifar.py --data fashion-mnist"


def test_without_a_gpu_the_script_says_how_to_run_it():
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("there is a GPU here")
    done = script()
    assert done.returncode == 2
    assert "--dry" in done.stderr
