"""The script that proves on a device what a processor cannot: it runs whole on the processor, and a check that fails is seen."""

import json
import subprocess
import sys

import pytest

from conftest import ROOT

SCRIPT = ROOT / "benchmarks" / "device.py"


def script(*words):
    return subprocess.run([sys.executable, SCRIPT, *map(str, words)], capture_output=True, text=True)


@pytest.mark.slow
def test_all_parts_run_on_the_processor(tmp_path):
    done = script("--dry", "--out", tmp_path / "device.json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "device.json").read_text())
    checks = {part: [each["ok"] for each in row["checks"]] for part, row in found["parts"].items()}
    assert list(checks) == ["pooling", "resumes", "steps", "memory", "reads", "speed", "feed", "chain", "group"]
    assert all(checks.values())
    assert checks["resumes"] == [True] * 4
    assert checks["chain"] == [True] * 5
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


def test_without_a_gpu_the_script_says_how_to_run_it():
    import torch

    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("there is a GPU here")
    done = script()
    assert done.returncode == 2
    assert "--dry" in done.stderr
