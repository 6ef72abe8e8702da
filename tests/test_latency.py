"""A latency that was asked of `podium prune` is measured again at the end, and held or said not to be; the clock is a faked one."""

import json
import re

import pytest

import podium as library
from podium.compression import latency, shrink
from podium.compression.channels import macs, smallest_change
from podium.compression.prune import Target, smaller
from podium.weights.create import create_model

pytest.importorskip("torch_pruning", reason="needs the extra `prune`")


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    """The times in the tables are not looked at."""
    monkeypatch.setattr(shrink, "SECONDS", 0.01)
    monkeypatch.setattr(shrink, "FILE_ENGINES", ())


class Clock:
    """A millisecond for so many multiply-adds, times the slowness of the machine now; remembers what it timed."""

    def __init__(self, whole):
        self.whole, self.slowness, self.timed = whole, 1.0, []

    def __call__(self, net):
        cost = macs(net)
        self.timed.append(cost)
        return 4 * self.slowness * cost / self.whole


@pytest.fixture
def clock(run, monkeypatch):
    """4 ms for the network of `run` on a quiet machine."""
    made = Clock(macs(library.load(run.path).model))
    monkeypatch.setattr(latency, "clock", made)
    return made


@pytest.fixture
def busy_after(clock, monkeypatch):
    """Says how slow the machine is once the training is over."""
    from podium.compression import prune

    real = prune.compared

    def at(slowness):
        def compared(*arguments):
            clock.slowness = slowness
            return real(*arguments)

        monkeypatch.setattr(prune, "compared", compared)

    return at


def words(run, out, target="2ms"):
    return ["prune", run.path, "digits", "--latency", target, "--steps", "1", "--tolerance", "0.9", "-o", out]


def test_a_latency_that_is_held_is_on_record_with_its_rounds(run, podium, clock, tmp_path):
    said = podium(*words(run, tmp_path / "out"), "--no-controls", "--json")
    assert said.code == 0
    outcome = said.json["latency"]
    small = library.load(tmp_path / "out").model
    expected = round(4 * macs(small) / clock.whole, 9)
    assert 0.5 < expected <= 2 * (1 - latency.MARGIN)
    assert (outcome["asked_ms"], outcome["original_ms"], outcome["held"]) == (2, 4, True)
    assert outcome["pruned_ms"] == pytest.approx(expected)
    assert {key: len(times) for key, times in outcome["rounds"].items()} == {"original": 5, "pruned": 5}
    assert json.loads((tmp_path / "out" / "compression.json").read_text())["latency"] == outcome
    pair = [clock.whole, macs(small)]
    assert clock.timed[-10:] == 5 * pair  # in turns
    assert "target 2 ms: held" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.slow
def test_a_latency_that_is_not_held_is_a_gate_and_costs_nothing(run, podium, clock, busy_after, tmp_path):
    busy_after(1.5)
    before = (run / "model.safetensors").read_bytes()
    said = podium(*words(run, tmp_path / "out"), "--no-controls")
    reached = 1.5 * 4 * macs(library.load(tmp_path / "out").model) / clock.whole
    assert said.code == 5
    assert f"error: the smaller network takes {reached:g} ms an image, not 2 ms" in said.err
    assert "stays in place" in said.err
    assert "fix: run the same command on a quieter machine" in said.err
    assert "target 2 ms: not held" in said.out
    assert json.loads((tmp_path / "out" / "compression.json").read_text())["latency"]["held"] is False
    assert (run / "model.safetensors").read_bytes() == before
    written = (tmp_path / "out" / "model.safetensors").stat().st_mtime_ns

    # Both mends, followed: the same command on a quieter machine, and the larger target where it stays as busy.
    busy_after(1.0)
    again = podium(*words(run, tmp_path / "out"), "--no-controls", "--json")
    assert (again.code, again.json["latency"]["held"]) == (0, True)
    assert (tmp_path / "out" / "model.safetensors").stat().st_mtime_ns == written
    clock.slowness = 1.5
    busy_after(1.5)
    larger = re.search(r"--latency (\S+)", said.err)[1]
    assert podium(*words(run, tmp_path / "larger", larger), "--no-controls").code == 0


def test_both_gates_are_told_of(run, podium, clock, busy_after, tmp_path):
    busy_after(9.0)
    said = podium(*words(run, tmp_path / "out")[:-4], "--tolerance", "0.01", "--no-controls", "-o", tmp_path / "out")
    assert said.code == 5
    assert "lost more than the tolerance" in said.err
    assert "not 2 ms" in said.err


def test_no_target_is_advised_that_the_original_meets():
    """It would be refused."""
    slow = {"asked_ms": 2.0, "original_ms": 4.0, "pruned_ms": 3.7}
    assert "--latency" not in latency.advice(slow)
    assert "--latency 4.12ms" in latency.advice({**slow, "original_ms": 4.2})
    assert "quieter" in latency.advice(slow)


def test_no_other_target_is_timed(run, clock, tmp_path):
    shrunk = library.prune(run, "digits", tmp_path / "out", macs=0.5, steps=1, tolerance=0.9, controls=False)
    assert shrunk.latency is None
    assert shrunk.to_dict()["latency"] is None
    assert clock.timed == []


def test_a_slow_spell_of_two_rounds_does_not_decide(monkeypatch):
    times = iter([2.0, 1.0, 9.0, 9.0, 2.0, 1.0, 9.0, 9.0, 2.0, 1.0])
    monkeypatch.setattr(latency, "clock", lambda net: next(times))
    outcome = latency.held(1.5, "original", "pruned")
    assert (outcome["original_ms"], outcome["pruned_ms"], outcome["held"]) == (2, 1, True)
    assert outcome["rounds"] == {"original": [2, 9, 2, 9, 2], "pruned": [1, 9, 1, 9, 1]}


def test_a_latency_is_held_up_to_its_last_digit(monkeypatch):
    monkeypatch.setattr(latency, "clock", lambda net: 2.0)
    assert latency.held(2.0, "original", "pruned")["held"]
    assert not latency.held(1.9999, "original", "pruned")["held"]


def test_a_margin_is_kept_where_something_is_left_that_keeps_it():
    cost = lambda ratio: 100 * (1 - ratio)  # noqa: E731
    assert smallest_change(cost, float, 50, "x", steps=30) == pytest.approx(50)
    assert smallest_change(cost, float, 50, "x", steps=30, margin=0.1) == pytest.approx(45)
    assert smallest_change(cost, float, 5.2, "x", margin=0.1) == pytest.approx(5)  # the smallest there is


@pytest.mark.parametrize(("target", "taken"), [(19.0, 3), (13.5, 7)])
def test_blocks_are_taken_with_the_same_margin(monkeypatch, target, taken):
    """A resnet20 of 20 ms, a millisecond less for each of its 7 blocks that go: 17 is the first below 19 with a tenth free."""
    from podium.compression import prune

    net = create_model("resnet20").eval()
    monkeypatch.setattr(prune, "_loss_on", lambda *_: lambda net: 0.0)
    gone = lambda net: len(net.spec.get("edits", {}).get("removed", []))  # noqa: E731
    monkeypatch.setattr(latency, "clock", lambda net: 20.0 - gone(net))
    assert gone(smaller(net, Target("latency", target), True, None, None)) == taken
