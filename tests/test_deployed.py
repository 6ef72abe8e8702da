"""The board has the costs of what is deployed: the fastest engine that keeps the answers, timed in turn until its median is known."""

import csv
import json
import math
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from podium.comparison import deployed, rounds
from podium.comparison.candidates import Candidate
from podium.comparison.deployed import Deployed, Opened
from podium.comparison.leaderboard import Leaderboard
from podium.comparison.recommend import Limits, recommend
from podium.comparison.rounds import Clock, in_turn, interval_of_median
from podium.comparison.schedule import Part
from podium.comparison.speeds import speed_fields
from podium.data.sources import load_data
from podium.deployment.engines import Absent, Runner
from podium.deployment.graph import answer
from podium.errors import ModelFileError
from podium.runs.bundle import load
from podium.runs.folder import RunFolder

AGAIN = ("compare", "digits", "-m", "lenet5_modern,lenet5", "--epochs", "1")  # what made the fixture `comparison`


@pytest.fixture(autouse=True)
def _brief(monkeypatch):
    monkeypatch.setattr(deployed, "allowance", lambda trained: 0.0)


@pytest.fixture(scope="module")
def digits():
    return load_data("digits")


# ---------------------------------------------------------------------------------------------------------- rounds


@pytest.mark.parametrize("n", [6, 7, 10, 20, 57, 100])
def test_the_interval_of_the_median_is_the_narrowest_pair_of_order_statistics_with_95_percent(n):
    def coverage(below):  # of the interval from value `below` to the one as far from the other end, counted from 1
        return 1 - 2 * sum(math.comb(n, k) for k in range(below)) / 2**n

    low, high = interval_of_median(list(range(n, 0, -1)))
    assert low + high == n + 1
    assert coverage(low) >= 0.95 > coverage(low + 1)


def test_five_rounds_say_nothing_of_the_median_with_95_percent():
    assert interval_of_median([1.0] * 5) is None  # the whole range of five covers it in 93.75 %


def clock_of(monkeypatch, medians, seconds=1e6):
    """A clock whose rounds have these medians; it counts rounds until it is over."""
    given = iter(medians)
    monkeypatch.setattr(rounds, "passes_of", lambda once, seconds: [next(given)])
    clock = Clock(lambda: None, seconds)
    while not clock.over:
        clock.round()
    return clock


def test_rounds_end_as_soon_as_the_median_is_known(monkeypatch):
    steady = clock_of(monkeypatch, [1.0, 1.04, 0.96] * 9)
    assert len(steady.medians) == 6
    assert steady.settled
    # The interval of 9 values is from the second to the eighth: one wild round at either end no longer counts.
    assert len(clock_of(monkeypatch, [0.5, 2.0] + [1.0] * 20).medians) == 9


def test_rounds_end_when_the_time_is_up_though_the_median_is_not_known(monkeypatch):
    clock = clock_of(monkeypatch, [1.0, 2.0] * 9, seconds=0.0)
    assert len(clock.medians) == 6
    assert not clock.settled


def test_networks_take_turns_until_each_is_over():
    order, left = [], {"a": 2, "b": 4, "c": 1}

    def turn(name):
        def one():
            order.append(name)
            left[name] -= 1
            return left[name] == 0

        return one

    in_turn([turn(name) for name in left])
    assert "".join(order) == "abcabbb"


# --------------------------------------------------------------------------------------------------------- engines


class Looked:
    """Answers looked up by the bytes of the images, which costs less than a network; a fault may come after some calls."""

    def __init__(self, bundle, wrong=False, fails_after=math.inf):
        self.bundle, self.wrong, self.left, self.found = bundle, wrong, fails_after, {}

    def __call__(self, squares):
        if self.left <= 0:
            raise RuntimeError("a kernel is missing")
        self.left -= 1
        key = squares.tobytes()
        if key not in self.found:
            logits, probabilities = answer(self.bundle, squares)
            self.found[key] = (-logits if self.wrong else logits, probabilities)
        return self.found[key]


def figures(monkeypatch, run, data, tmp_path, *runners, reopened=None):
    """What is kept of a run whose machine has these engines beside eager PyTorch."""

    def exported(_, path, *__):
        path.write_bytes(bytes(12_345))
        yield from runners

    monkeypatch.setattr(deployed, "exported_runners", exported)
    monkeypatch.setattr(deployed, "file_runners", lambda *_: iter(reopened or runners))
    kept = tmp_path / "kept"
    kept.mkdir()
    opened = Opened(Deployed("lenet", 0, kept, run.path), data, tmp_path / "0.onnx", lambda *_: None)
    in_turn([opened.round])
    return json.loads((kept / "engines.json").read_text())


@pytest.fixture(scope="module")
def bundle(run):
    return load(run.path)


def test_the_fastest_engine_is_timed_and_its_file_weighed(monkeypatch, run, bundle, digits, tmp_path):
    found = figures(monkeypatch, run, digits, tmp_path, Runner("openvino", "bfloat16", Looked(bundle)))
    assert (found["engine"], found["dtype"], found["agreement"]) == ("openvino", "bfloat16", 1.0)
    assert found["size_bytes"] == 12_345
    assert found["rounds"] >= 6
    latency = found["latency_ms"]
    assert 0 < latency["low"] <= latency["p50"] <= latency["high"]
    assert found["images_per_second"] >= 1000 / latency["p50"] * 0.999
    (eager,) = found["others"]
    assert (eager["engine"], eager["latency_ms"]["p50"]) == ("eager", found["eager_latency_ms"])


def test_an_engine_that_answers_otherwise_is_not_chosen_however_fast(monkeypatch, run, bundle, digits, tmp_path):
    found = figures(monkeypatch, run, digits, tmp_path, Runner("onnxruntime", "float32", Looked(bundle, wrong=True)))
    assert found["engine"] == "eager"
    assert found["size_bytes"] == (run / "model.safetensors").stat().st_size
    (other,) = found["others"]
    assert other["agreement"] < 0.995


def test_an_engine_that_fails_is_a_reason(monkeypatch, run, bundle, digits, tmp_path):
    broken = Runner("onnxruntime", "float32", Looked(bundle, fails_after=0))
    found = figures(monkeypatch, run, digits, tmp_path, broken, Absent("openvino", "not installed"))
    assert found["engine"] == "eager"
    reasons = {other["engine"]: other["missing"] for other in found["others"]}
    assert reasons == {"onnxruntime": "float32: RuntimeError: a kernel is missing", "openvino": "not installed"}


def test_an_engine_that_fails_while_it_is_timed_gives_way_to_the_next(monkeypatch, run, bundle, digits, tmp_path):
    tried = Runner("onnxruntime", "float32", Looked(bundle))
    opened = Runner("onnxruntime", "float32", Looked(bundle, fails_after=3))
    found = figures(monkeypatch, run, digits, tmp_path, tried, reopened=[opened])
    assert found["engine"] == "eager"
    assert found["rounds"] >= 6
    assert found["others"][0]["missing"].endswith("a kernel is missing")


def test_a_machine_without_engines_says_what_to_install(monkeypatch, run, digits, tmp_path):
    monkeypatch.setattr(deployed, "is_here", lambda package: package not in ("onnxruntime", "openvino"))
    monkeypatch.setattr(deployed, "untimed", lambda _: [Deployed(name, 0, tmp_path / name, run.path) for name in "ab"])
    monkeypatch.setattr(deployed, "exported_runners", lambda *_: iter([Absent("onnxruntime", "not installed")]))
    for name in "ab":
        (tmp_path / name).mkdir()
    (note,) = deployed.time_deployed([], digits)
    assert "onnxruntime is not installed" in note
    assert 'pip install "podium[export]"' in note
    assert json.loads((tmp_path / "b" / "engines.json").read_text())["engine"] == "eager"


def test_networks_that_do_not_fit_into_memory_together_are_timed_in_groups(monkeypatch, run, tmp_path):
    size = run.result["size_bytes"]
    monkeypatch.setattr(deployed, "TOGETHER", 2 * size)
    networks = [Deployed(name, 0, tmp_path, run.path) for name in "abcde"]
    assert [[n.name for n in group] for group in deployed.together(networks)] == [["a", "b"], ["c", "d"], ["e"]]


# ----------------------------------------------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def timed(comparison, tmp_path_factory):
    """A comparison whose networks were timed in ONNX Runtime, and what the command printed."""
    from command import inside

    out = tmp_path_factory.mktemp("timed") / "board"
    shutil.copytree(comparison, out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("podium.comparison.study.time_deployed", deployed.time_deployed)
        patch.setattr(deployed, "allowance", lambda trained: 0.0)
        patch.setattr(deployed, "FILE_ENGINES", ("onnxruntime",))
        done = inside(*AGAIN, "-o", out)
    assert done.returncode == 0, done.stderr
    return out, done


def rows_of(out):
    with (out / "leaderboard.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_board_has_the_costs_of_what_is_deployed(timed):
    out, done = timed
    for row in rows_of(out):
        found = json.loads((out / f"{row['model']}-seed0" / "engines.json").read_text())
        assert found["engine"] in ("onnxruntime", "eager")
        assert found["agreement"] >= 0.995
        assert row["engine"] == found["engine"]
        assert float(row["latency_p50_ms"]) == found["latency_ms"]["p50"]
        assert float(row["images_per_second"]) == found["images_per_second"]
        assert float(row["size_mb"]) == found["size_bytes"] / 1e6
        assert float(row["eager_latency_p50_ms"]) == found["eager_latency_ms"]
    assert "latency of one image in the fastest engine" in " ".join(done.stdout.split())
    assert "1/2 lenet5_modern  timing, ONNX Runtime and OpenVINO" in done.stderr
    assert "engine" in (out / "report.html").read_text()


def test_what_is_timed_is_not_timed_again(timed, podium, monkeypatch):
    out, _ = timed
    monkeypatch.setattr("podium.comparison.study.time_deployed", deployed.time_deployed)
    monkeypatch.setattr(deployed, "Opened", None)  # would be called
    assert podium(*AGAIN, "-o", out).code == 0


def test_a_network_that_comes_later_is_timed_with_the_others(tmp_path):
    """Of a, with two seeds, the first is timed; then b is trained, and both are."""

    def part(name, seed, ended, timed=None):
        path = tmp_path / f"{name}-seed{seed}"
        path.mkdir(exist_ok=True)
        for file, when in (("result.json", ended), ("engines.json", timed)):
            if when is not None:
                (path / file).write_text("{}")
                os.utime(path / file, (when, when))
        return Part(Candidate(name), seed, None, path)

    a = [part("a", 0, ended=10, timed=30), part("a", 1, ended=20)]
    assert deployed.untimed(a) == []
    both = [*a, part("b", 0, ended=40)]
    assert [(one.name, one.seed) for one in deployed.untimed(both)] == [("a", 0), ("b", 0)]
    part("a", 0, ended=10, timed=50)  # the timing was interrupted then
    assert [one.name for one in deployed.untimed(both)] == ["b"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"latency_ms": 5}', '{"latency_ms": {"p50": 1.0}}'])
def test_figures_that_are_damaged_are_said_to_be(tmp_path, content):
    """Valid JSON too, which lacks what a row takes from it; deleting the file, as is said, leaves the other one."""
    (tmp_path / "speed.json").write_text('{"latency_ms": {"p50": 2.0, "p95": 3.0}}')
    (tmp_path / "engines.json").write_text(content)
    with pytest.raises(ModelFileError, match="damaged") as error:
        speed_fields([RunFolder(tmp_path)])
    assert "engines.json" in error.value.what
    assert "delete it" in error.value.fix
    (tmp_path / "engines.json").unlink()
    assert speed_fields([RunFolder(tmp_path)])[0]["latency_p50_ms"] == 2


def test_an_interrupted_timing_keeps_the_networks_that_are_over(comparison, tmp_path, monkeypatch):
    out = tmp_path / "board"
    shutil.copytree(comparison, out)
    first, second = sorted(path.parent for path in out.glob("*-seed0/result.json"))

    class Turn:
        def __init__(self, network, *_):
            self.network = network

        def round(self):
            if self.network.kept == second:
                raise KeyboardInterrupt
            (self.network.kept / "engines.json").write_text("{}")
            return True

    found = [Deployed(path.name, 0, path, path) for path in (first, second)]
    monkeypatch.setattr(deployed, "Opened", Turn)
    monkeypatch.setattr(deployed, "untimed", lambda _: found)
    with pytest.raises(KeyboardInterrupt):
        deployed.time_deployed([], None)
    assert (first / "engines.json").is_file()
    assert not (second / "engines.json").is_file()


# ----------------------------------------------------------------------------------------------------------- limits


@pytest.fixture(scope="module")
def row(comparison):
    return Leaderboard.read([comparison / "lenet5-seed0"]).networks[0]


def board(row, **networks):
    """Rows of networks that have learned, the best first, from {name: (milliseconds, megabytes, behind at most)}."""
    return [
        replace(row, model=name, learned=True, latency_p50_ms=ms, size_mb=mb, behind_at_most=behind, images_needed=None)
        for name, (ms, mb, behind) in networks.items()
    ]


def test_only_networks_within_the_limits_are_recommended(row):
    rows = board(row, best=(30, 90, 0.001), near=(15, 40, 0.008), light=(10, 8, 0.03), least=(1, 1, 0.2))
    assert recommend(rows).row.model == "near"
    assert recommend(rows, limits=Limits(latency_ms=15)).row.model == "near"  # a limit may be reached
    far = recommend(rows, limits=Limits(latency_ms=12))
    assert (far.row.model, far.near, far.best) == ("light", False, False)  # the better one, though `least` is cheaper
    assert recommend(rows, limits=Limits(latency_ms=20, size_mb=5)).row.model == "least"
    assert recommend(rows, limits=Limits(latency_ms=20, size_mb=0.5)) is None
    assert recommend(board(row, untimed=(None, 1, 0.0)), limits=Limits(latency_ms=20)) is None


def test_the_share_of_the_limits_is_that_of_the_tightest(row):
    (network,) = board(row, a=(30, 90, 0.0))
    assert Limits(latency_ms=20, size_mb=100).share(network) == 1.5
    assert Limits(size_mb=100).share(network) == 0.9
    assert Limits().share(network) is None


def test_no_network_within_the_limits_is_said_where_the_comparison_is_used(comparison, tmp_path, podium, picture):
    out = tmp_path / "board"
    shutil.copytree(comparison, out)
    done = podium(*AGAIN, "-o", out, "--max-size", "1kB")
    assert done.code == 0
    smallest = min(rows_of(out), key=lambda row: float(row["size_mb"]))
    assert "No network is within the limits, at most 0.001 MB, so none is recommended" in done.out
    assert f"the nearest, {smallest['model']}, has {float(smallest['size_mb']):.3g} MB" in done.out
    assert [row["recommended"] for row in rows_of(out)] == ["False", "False"]
    podium("predict", out, picture()).refused(4, "none is within its limits", f"{smallest['model']}-seed0")
    assert podium(*AGAIN, "-o", out).code == 0
    assert podium("predict", out, picture()).code == 0


def test_the_verdict_says_how_far_the_network_within_the_limits_may_be_behind(comparison, tmp_path, podium):
    out = tmp_path / "board"
    shutil.copytree(comparison, out)
    rows = sorted(rows_of(out), key=lambda row: float(row["behind"]))
    sizes = [float(row["size_mb"]) for row in rows]
    assert sizes[0] > sizes[1]  # else there is nothing to limit
    done = podium(*AGAIN, "-o", out, "--max-size", str(int(1e6 * sizes[1])), "--within", "0")
    most = f"{100 * float(rows[1]['behind_at_most']):.2f} points"
    assert f"Take {rows[1]['model']}: of those within the limits it ranks first" in done.out
    assert f"may be up to {most} below it" in done.out
    assert f"since above the limits, at most {sizes[1]:g} MB: {rows[0]['model']} ({sizes[0]:.3g} MB)" in done.out


@pytest.mark.parametrize("flag", ["--max-latency=20", "--max-latency=20ms", "--max-size=10MB"])
def test_limits_are_written_with_their_units(flag, podium, own_comparison):
    assert podium(*AGAIN, "-o", own_comparison, flag).code == 0


def test_a_limit_without_sense_is_refused(podium):
    podium(*AGAIN, "--max-latency", "soon").refused(2, "max_latency", "8ms")
    podium(*AGAIN, "--max-size", "0").refused(2, "max_size")


def test_a_latency_that_is_not_known_to_5_percent_is_shown_with_its_interval(row):
    loose = replace(row, latency_p50_ms=10.0, latency_low_ms=9.0, latency_high_ms=10.2)
    assert loose.loose
    assert not replace(loose, latency_low_ms=9.6).loose
    assert not replace(loose, latency_low_ms=None, latency_high_ms=None).loose


def test_answers_are_compared_on_images_that_are_not_of_the_training(run, digits, tmp_path, monkeypatch):
    seen = []

    def squares(data, net, count, split):
        seen.append((count, split))
        return np.zeros((count, 32, 32, 1), np.uint8), None

    monkeypatch.setattr(deployed, "squares", squares)
    monkeypatch.setattr(deployed, "exported_runners", lambda *_: iter(()))
    Opened(Deployed("lenet", 0, tmp_path, run.path), digits, tmp_path / "0.onnx", lambda *_: None)
    assert [split for _, split in seen] == ["val" if "val" in digits.splits else "test"]
    assert all(64 <= count <= 256 for count, _ in seen)
