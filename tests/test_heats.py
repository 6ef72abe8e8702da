"""Heats: brief rounds of training that choose who is trained in full, what they cost, and what is said of who drops out."""

import csv
import hashlib
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from command import inside, one_error
from podium.comparison import heats
from podium.comparison.candidates import Candidate, Choice
from podium.comparison.heats import HeatsPlan, shortened
from podium.errors import UsageError
from podium.settings import Origins, Settings
from podium.training.recipes.named import settings_of
from podium.units import scaled_duration


def plan(monkeypatch, macs, rounds, duration="20ep", seeds=1):
    """The plan of a comparison of networks that cost so many multiply-adds."""
    costs = {f"net{number}": SimpleNamespace(macs=each) for number, each in enumerate(macs)}
    monkeypatch.setattr(heats, "cost_in", lambda candidate, s, data: costs[candidate.model])
    merged = Origins(Settings(duration=duration), {})
    study = SimpleNamespace(choice=Choice(heats=rounds), merged=merged, seeds=seeds)
    data = SimpleNamespace(splits={"train": range(1600), "val": range(400)}, name="photos")
    return HeatsPlan.of(study, data, [Candidate(name) for name in costs])


def played(found, macs, order):
    """How many networks each round trains, and steps x multiply-adds of all rounds as a share of those of all in full.

    Args:
        found: the plan.
        macs: of each network.
        order: in which the networks rank, in every heat.
    """
    left, spent, counts = list(order), 0.0, []
    for heat in found.heats:
        counts.append(len(left))
        spent += heat.share * sum(macs[k] for k in left)
        left = left[: heats._fitting([found.costs[f"net{k}"] for k in left], heat.going_on)]
    return [*counts, len(left)], (spent + sum(macs[k] for k in left)) / sum(macs)


@pytest.mark.parametrize(("rounds", "counts"), [(2, [20, 4]), (3, [20, 8, 4]), (4, [20, 11, 6, 4])])
def test_twenty_equal_networks_cost_35_percent_at_most(monkeypatch, rounds, counts):
    macs = [40.0] * 20
    found = plan(monkeypatch, macs, rounds)
    seen, share = played(found, macs, range(20))
    assert seen == counts
    assert 0.3 < share <= 0.35 + 1e-9
    assert found.of_full == pytest.approx(0.35)
    lengths = [heat.share for heat in found.heats]
    assert lengths == sorted(lengths)
    assert lengths[-1] < 1


# Multiply-adds, in millions, of the 20 networks that cost the least at 32 px, without those that are the same but for their names.
SMALLEST = [
    0.6,
    0.7,
    3.3,
    12.2,
    26.5,
    40.6,
    40.6,
    46.4,
    68.9,
    68.9,
    97.2,
    97.2,
    125.5,
    125.5,
    153.3,
    153.3,
    153.3,
    175.5,
    180.2,
    228.8,
]


@pytest.mark.parametrize("rounds", [2, 3, 4])
@pytest.mark.parametrize("dear_first", [True, False])
def test_networks_that_differ_in_cost_hold_to_it_whichever_are_best(monkeypatch, rounds, dear_first):
    found = plan(monkeypatch, SMALLEST, rounds)
    order = sorted(range(20), key=lambda k: SMALLEST[k], reverse=dear_first)
    counts, share = played(found, SMALLEST, order)
    assert share <= found.of_full + 1e-9
    assert found.of_full <= 0.35 + 1e-9
    assert counts[-1] >= 2
    assert sum(counts[:-1]) <= found.runs()
    assert counts[-1] <= found.finalists()


def test_with_several_seeds_the_heats_have_one(monkeypatch):
    assert plan(monkeypatch, [40.0] * 20, 3, seeds=3).of_full == pytest.approx(0.15 / 3 + 0.2)


def test_where_all_are_trained_for_a_time_each_costs_the_same(monkeypatch):
    found = plan(monkeypatch, SMALLEST, 2, "10m")
    assert set(found.costs.values()) == {0.05}
    assert found.heats[0].duration == "90s"
    assert "counted by time" in found.lines()[-1]


@pytest.mark.parametrize(
    ("macs", "rounds", "duration", "says"),
    [
        ([1.0, 1.0], 2, "20ep", "of 2 networks none could drop out"),
        ([1.0, 1.0, 50.0, 50.0], 2, "20ep", "nothing is saved: net2 and net3 alone take 98 %"),
        ([1.0] * 5, 2, "0ep", "full length is 0ep"),
    ],
)
def test_heats_that_make_no_sense_are_refused(monkeypatch, macs, rounds, duration, says):
    with pytest.raises(UsageError, match=says):
        plan(monkeypatch, macs, rounds, duration)


def test_a_heat_shorter_than_an_epoch_is_said(monkeypatch):
    assert "shorter than an epoch" not in "".join(plan(monkeypatch, [1.0] * 20, 2, "10ep").lines())
    assert "shorter than an epoch" in "".join(plan(monkeypatch, [1.0] * 20, 2, "5ep").lines())
    assert "shorter than an epoch" in "".join(plan(monkeypatch, [1.0] * 20, 2, "5it").lines())


@pytest.mark.parametrize(
    ("text", "share", "short"),
    [
        ("20ep", 0.075, "1.5ep"),
        ("1000it", 0.0755, "76it"),
        ("5it", 0.05, "1it"),
        ("10m", 0.15, "90s"),
        ("3ep", 1 / 3, "1ep"),
    ],
)
def test_a_share_of_a_length_has_its_unit(text, share, short):
    assert scaled_duration("duration", text, share) == short


def test_a_heat_has_the_whole_schedule_in_less_time():
    merged = settings_of("quick", None, {"duration": "20ep", "warmup": "2ep", "decay_every": "4ep"})
    short = shortened(merged, 0.25, "podium compare, heat 1 of 2")
    assert (short.settings.duration, short.settings.warmup, short.settings.decay_every) == ("5ep", "0.5ep", "1ep")
    assert str(short.origin["duration"]) == str(short.origin["warmup"])
    assert "heat 1 of 2" in str(short.origin["duration"])
    share = settings_of("quick", None, {"duration": "20ep", "warmup": "5%"})
    assert shortened(share, 0.25, "x").settings.warmup == "5%"


# A comparison in heats

FLAGS = ("--steps", "20", "--image-size", "32", "-m", "lenet5,lenet5_modern,mobilenet_v1_025")


@pytest.fixture(scope="module")
def study(small_set, tmp_path_factory):
    """A finished comparison in two rounds: three networks for a step each, two of them for 20."""
    out = tmp_path_factory.mktemp("heats") / "board"
    done = inside("compare", small_set, *FLAGS, "--heats", "2", "--json", "-o", out)
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout)


def test_who_drops_out_was_not_trained_further_and_is_not_called_worse(study):
    out, said = study
    *finalists, dropped = said["leaderboard"]
    assert len(finalists) == 2
    assert (dropped["trained_further"], dropped["heat"], dropped["heat_duration"]) == (False, 1, "1it")
    assert {row["model"] for row in said["leaderboard"]} == {"lenet5", "lenet5_modern", "mobilenet_v1_025"}
    name = dropped["model"]
    sentence = f"Not trained further, which does not mean worse: {name} (heat 1)."
    assert sentence in said["verdict"]
    assert "Heat 1 was shorter than an epoch, so chance had a large part in who dropped out." in said["verdict"]
    assert name not in said["verdict"].replace(sentence, "")
    assert f"{name} was not trained further after heat 1" in " ".join((out / "report.html").read_text().split())
    with (out / "leaderboard.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == [row["model"] for row in said["leaderboard"]]
    assert (rows[-1]["top1"], rows[-1]["heat"]) == ("", "1")
    assert not (out / f"{name}-seed0").exists()


def test_the_better_ones_on_validation_images_go_on(study):
    out, said = study
    scores = {}
    for run in (out / "heat-1").glob("*-seed0"):
        with np.load(run / "predictions.npz") as found:
            logits, labels = found["val_logits"], found["val_labels"]
        right = float((logits.argmax(1) == labels).mean())
        likely = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        scores[run.name.removesuffix("-seed0")] = right, float(likely[np.arange(len(labels)), labels].mean())
        assert json.loads((run / "result.json").read_text())["steps"] == 1
    assert min(scores, key=scores.get) == said["leaderboard"][-1]["model"]
    assert said["leaderboard"][-1]["heat_score"] == pytest.approx(min(scores.values())[0])
    assert [row["steps"] for row in said["leaderboard"][:2]] == [20, 20]


def files(out):
    return {
        path: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in out.glob("**/*-seed*/*")
        if path.is_file() and path.name != ".lock"
    }


@pytest.mark.slow
def test_heats_that_were_interrupted_go_on_and_end_with_the_same_bits(study, small_set, tmp_path, monkeypatch):
    out = tmp_path / "board"
    words = ("compare", small_set, *FLAGS, "--heats", "2", "--jobs", "1", "-o", out)
    monkeypatch.setenv("PODIUM_FAULT", "signal:15@step:1")
    one_error(inside(*words), 143, "after step 1")
    monkeypatch.delenv("PODIUM_FAULT")
    shutil.rmtree(out / "heat-1" / "lenet5-seed0")  # as if that had been stopped in the heat already
    assert inside(*words).returncode == 0
    weights = {path.relative_to(out): path.read_bytes() for path in out.glob("**/model.safetensors")}
    assert weights == {path.relative_to(study[0]): path.read_bytes() for path in study[0].glob("**/model.safetensors")}
    assert len(weights) == 5


def test_the_same_again_trains_nothing_and_another_length_is_refused(study, small_set):
    out, _ = study
    before = files(out)
    again = inside("compare", small_set, *FLAGS, "--heats", "2", "-o", out)
    assert again.returncode == 0, again.stderr
    assert files(out) == before
    assert "heat N: not trained further after it" in " ".join(again.stdout.split())
    assert "heat 1 of 2: 3 networks for 1 step each" in again.stderr
    one_error(
        inside("compare", small_set, "--steps", "200", *FLAGS[2:], "--heats", "2", "-o", out), 2, "duration", "'200it'"
    )


@pytest.mark.slow
def test_heats_of_other_networks_are_refused_and_what_is_said_to_mend_it_does(study, small_set, tmp_path):
    """Of which length a heat is follows from the networks: as if these heats had been begun with others."""
    out = tmp_path / "board"
    shutil.copytree(study[0], out)
    kept = files(out / "lenet5-seed0")
    note = out / "heat-1" / "comparison.yaml"
    note.write_text(note.read_text().replace("duration: 1it", "duration: 2it"))
    words = ("compare", small_set, *FLAGS, "--heats", "2", "-o", out)
    one_error(
        inside(*words), 2, "the networks and the number of heats decide how long a heat is", f"delete {out}/heat-*"
    )
    shutil.rmtree(out / "heat-1")
    done = inside(*words)
    assert done.returncode == 0, done.stderr
    assert files(out / "lenet5-seed0") == kept


@pytest.mark.slow
def test_the_plan_says_what_heats_take(small_set, tmp_path):
    done = inside("compare", small_set, *FLAGS, "--heats", "2", "--plan", "--json", "-o", tmp_path / "none")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [heat["duration"] for heat in found["heats"]["heats"]] == ["1it"]
    assert found["seconds"] == pytest.approx(
        found["heats"]["of_full"] * sum(network["seconds"] for network in found["networks"]), abs=0.2
    )
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--heats", "1"], "at least 2"),
        (["--heats", "2", "--folds", "3"], "none is left to choose who goes on"),
        (["--heats", "2", "--rank-on", "test"], "no validation images"),
        (["--heats", "2", "-m", "lenet5"], "none could drop out"),
    ],
)
def test_what_heats_cannot_do_is_refused_before_anything_is_written(small_set, tmp_path, flags, says):
    one_error(inside("compare", small_set, "-m", "lenet*,resnet20", *flags, "-o", tmp_path / "out"), 2, says)
    assert not (tmp_path / "out").exists()
