"""`podium train --plan`: what a run will take, before it begins, and without leaving a trace."""

import json
import os
import sys
from pathlib import Path

import pytest

from command import CONTEXT
from podium.training import forecast
from podium.training.forecast import spoken

WORDS = ["digits", "--steps", "1", "--amp", "off", "--image-size", "32"]
# (network, batch): what it holds is mostly maps; mostly weights.
CASES = [("resnet20", 128), ("vgg11", 16)]


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Five steps are measured, not five seconds of them."""
    monkeypatch.setattr(forecast, "MOST_SECONDS", 0.0)


def inside(words, out):
    """Run `podium WORDS`, and write the most memory it had beside what it said."""
    import torch

    from podium.cli import main

    torch.set_num_threads(1)
    forecast.MOST_SECONDS = 0.0
    with (out / "said").open("w") as sys.stdout:
        code = main(words)
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    (out / "peak").write_text(str(peak))
    os._exit(code)


def process(words, out):
    """What a process of its own printed, and its peak in bytes."""
    child = CONTEXT.Process(target=inside, args=([str(word) for word in words], out))
    child.start()
    child.join()
    assert child.exitcode == 0
    return (out / "said").read_text(), int((out / "peak").read_text())


@pytest.mark.skipif(
    not Path("/proc/self/status").is_file(), reason="needs /proc, which says how much memory a process had"
)
@pytest.mark.parametrize(("network", "batch"), CASES)
def test_memory_is_foreseen_within_a_third_and_what_training_adds_within_a_factor_of_two_and_a_half(
    tmp_path, network, batch
):
    words = ["train", network, *WORDS, "--batch-size", batch, "--json"]
    foreseen = json.loads(process([*words, "--plan"], tmp_path)[0])["memory_mb"]
    _, peak = process([*words, "-o", tmp_path / "run"], tmp_path)
    assert foreseen["peak"] == pytest.approx(peak / 1e6, rel=1 / 3)
    added = peak / 1e6 - foreseen["process"]
    assert 1 / 2.5 < (foreseen["peak"] - foreseen["process"]) / added < 1.2
    parts = [value for name, value in foreseen.items() if name != "peak"]
    assert sum(parts) == pytest.approx(foreseen["peak"], abs=1)


def test_a_plan_says_what_to_expect_and_leaves_nothing(podium, tmp_path):
    said = podium(
        "train",
        "lenet5_modern",
        "digits",
        "--epochs",
        "4",
        "--batch-size",
        "64",
        "--optimizer",
        "adamw",
        "--plan",
        "--json",
    )
    assert said.code == 0, said.err
    plan = said.json
    assert list(tmp_path.iterdir()) == []
    assert (plan["steps_per_epoch"], plan["steps"], plan["epochs"]) == (22, 88, 4)
    held = plan["memory_mb"]
    assert held["gradients"] == pytest.approx(held["weights"], abs=0.2)
    assert held["optimizer"] == pytest.approx(2 * held["weights"], abs=0.3)
    assert plan["seconds"] == pytest.approx(4 * plan["epoch_seconds"], rel=0.1, abs=0.1)
    assert plan["images_per_second"] == pytest.approx(64 / plan["step_seconds"], rel=0.02)
    rows = {row["devices"]: row for row in plan["scaling"]}
    assert list(rows) == [2, 4, 8]
    for devices, row in rows.items():  # never better than sharing the work
        assert plan["images_per_second"] < row["images_per_second"] <= 1.001 * devices * plan["images_per_second"]
    assert "GB/s" in plan["assumed"]


def test_a_plan_is_for_people_too_and_takes_budgets_and_photos(podium, picture, tmp_path):
    for label in ("a", "b"):
        for n in range(10):
            picture(f"photos/train/{label}/{n}.png")
            picture(f"photos/val/{label}/{n}.png")
    before = sorted(tmp_path.rglob("*"))
    said = podium("train", "lenet5_modern", "photos", "--budget", "90s", "--image-size", "32", "--plan")
    assert said.code == 0, said.err
    for words in ("images/s in training", "peak memory", "8 devices", "assumed: "):
        assert words in said.out
    assert sorted(tmp_path.rglob("*")) == before


def test_a_plan_that_does_not_fit_says_what_does(podium, monkeypatch):
    from test_memory import full_from

    full_from(monkeypatch, 30)
    podium("train", "lenet5_modern", "digits", "--batch-size", "64", "--plan").refused(2, "batch_size: 64", "16 do")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0123, "0.0123 s"), (59, "59 s"), (200, "3 min 20 s"), (3900, "1 h 05 min")]
)
def test_times_are_spoken(seconds, text):
    assert spoken(seconds) == text
