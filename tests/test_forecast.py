"""`podium train --plan`: what a run will take, before it begins, and without leaving a trace."""

import json
import math
import os
import re
import sys
from pathlib import Path

import pytest
import torch

import podium as library
from command import CONTEXT
from conftest import sampled
from podium.models.convnet import ConvNet
from podium.settings import Settings
from podium.training import prepare, update
from podium.training import step as step_of
from podium.training.autotune import fastest, forecast, trial
from podium.training.autotune.forecast import Pace, at_least, format_seconds
from podium.units import parse_duration
from podium.weights.create import create_model

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

    from podium.cli.main import main

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
@pytest.mark.slow
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
    end = 0.3  # seconds that the result and the report take, about; a checkpoint of this size takes next to none
    assert plan["seconds"] == pytest.approx(4 * plan["epoch_seconds"] + end, rel=0.1, abs=0.1)
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
    assert format_seconds(seconds) == text


# A budget


@pytest.mark.parametrize("seconds", [0.5, 9.9, 10.1, 47.0, 100.0, 1234.5])
@pytest.mark.parametrize(
    "pace", [Pace(0.1, 2.0, 1.0), Pace(3.0, 20.0, 5.0), Pace(0.002, 0.01, 0.2), Pace(1.0, 0.0, 0.0)]
)
@pytest.mark.parametrize("per_epoch", [1, 7, 25])
def test_a_budget_has_the_most_steps_that_fit(seconds, pace, per_epoch):
    def taken(steps):  # counted one by one
        evaluations = sum(step % per_epoch == 0 or step == steps for step in range(1, steps + 1))
        return steps * pace.step + evaluations * pace.evaluation + pace.end

    steps = pace.steps(seconds, per_epoch)
    assert steps == 0 or taken(steps) <= seconds + 1e-6
    assert taken(steps + 1) > seconds - 1e-6
    assert pace.seconds(steps, per_epoch) == pytest.approx(taken(steps))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1s"), (44.1, "45s"), (120, "120s"), (121, "3m"), (7000, "117m"), (8000, "2.3h")]
)
def test_a_budget_is_said_as_it_is_given(seconds, text):
    assert at_least(seconds) == text
    assert seconds <= parse_duration("duration", text)[0] <= seconds * 1.5 + 1


class Machine:
    """A clock that training steps, evaluations and reading move on; nothing else takes time.

    Args:
        step, batch: seconds of a training step, and of a batch in evaluation.
        first: how many times that their first ones take.
    """

    def __init__(self, monkeypatch, step, batch, reading=0.0, first=3.0):
        self.now, self.evaluated, self.steps = 100.0, 0, 0
        self.step, self.batch, self.first = step, batch, first
        monkeypatch.setattr("time.monotonic", lambda: self.now)
        monkeypatch.setattr(ConvNet, "forward", self.forward(ConvNet.forward))
        for room in (update, trial):
            monkeypatch.setattr(room, "forward_backward", self.trained(step_of.forward_backward))
        honest = prepare.data_of

        def read(*words, **more):
            self.now += reading
            return honest(*words, **more)

        monkeypatch.setattr(prepare, "data_of", read)

    def forward(self, honest):
        def answer(net, x):
            self.evaluated += 1
            self.now += self.batch * (self.first if self.evaluated == 1 else 1.0)
            return honest(net, x)

        return answer

    def trained(self, honest):
        def took(*words, **more):
            self.steps += 1
            self.now += self.step * (self.first if self.steps == 1 else 1.0)
            return honest(*words, **more)

        return took


@pytest.mark.parametrize(
    ("budget", "step", "batch", "reading", "more"),
    sampled(
        [
            (20, 0.5, 1.5, 4.0, {}),  # steps that take long, as of VGG on photos
            (60, 0.5, 1.5, 15.0, {"val": 0.2}),  # evaluated once more at the end, on test images
            (20, 0.1, 2.0, 0.0, {"ema": 0.9}),  # an evaluation that takes as long as an epoch
            (30, 1.0, 0.01, 2.0, {"batch_size": 400}),
        ],
        [60],
    ),
)
def test_a_run_takes_its_budget_reading_and_evaluations_included(
    small_set, tmp_path, monkeypatch, budget, step, batch, reading, more
):
    machine = Machine(monkeypatch, step, batch, reading)
    begun = machine.now
    library.train("lenet5_modern", small_set, tmp_path / "run", budget=f"{budget}s", amp="off", **more)
    assert 0.8 * budget <= machine.now - begun <= 1.05 * budget


def test_less_than_an_epoch_is_said_before_the_first_step(small_set, tmp_path, monkeypatch, capsys, caplog):
    machine = Machine(monkeypatch, 1.0, 0.5)  # 25 steps an epoch
    library.train("lenet5_modern", small_set, tmp_path / "run", budget="15s", progress=lambda *_: None)
    (record,) = caplog.records
    said = record.getMessage()
    assert record.levelname == "WARNING"
    assert said.startswith("budget: one epoch takes at least")
    assert "for lenet5_modern; 15s is" in said
    least = parse_duration("duration", said.split("at least ")[1].split()[0])[0]
    assert 25 < least < 45
    again = library.train("lenet5_modern", small_set, tmp_path / "again", budget=f"{least:g}s")
    assert again.result["epochs"] >= 1
    assert len(caplog.records) == 1, "nothing more is said"
    assert capsys.readouterr().err == ""
    assert machine.steps > 25


def test_a_budget_without_room_for_a_step_is_refused_with_one_that_has_it(small_set, tmp_path, monkeypatch, podium):
    Machine(monkeypatch, 2.0, 3.0, reading=5.0)
    words = ["train", "lenet5_modern", small_set, "-o", tmp_path / "run"]
    said = podium(*words, "--budget", "8s")
    said.refused(2, "budget: 8s is over before lenet5_modern has taken a step", "--budget ")
    mend = re.search(r"--budget (\S+?),", said.err)[1]
    assert podium(*words, "--budget", mend).code == 0


def test_a_trial_of_precisions_has_its_share_of_a_budget(tmp_path, monkeypatch):
    monkeypatch.setattr(fastest, "native_bf16", lambda device: True)
    asked = []

    def seconds(net, s, way, images):
        asked.append(way)
        return 1.0

    net, s = create_model("resnet20", num_classes=10, image_size=32), Settings(batch_size=8)

    def chosen(within):
        cache = tmp_path / f"{within}.json"
        return fastest.fastest_setting(
            net, s, torch.device("cpu"), 41_000_000, math.inf, seconds=seconds, within=within, cache=cache
        )

    assert chosen(15.9) == ("bf16", "channels_last")  # four steps of each of four ways would take 16 s: the rule stands
    assert len(asked) == 1
    assert chosen(16.1) == ("off", "channels_last")  # tried: none is faster than the first
    assert len(asked) == 1 + 1 + 4
