"""A smaller network takes a larger one's place only where enough images show that it loses no more than the tolerance."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

import podium as library
from podium.compression import quantize, shrink
from podium.compression.gate import Gate, Terms, least_images, unproven
from podium.data.dataset import Dataset
from podium.errors import DataError, UsageError
from podium.evaluation.paired import Paired, largest_loss, paired, score

TWO_SIDED = 1.959964


def pair(lost, won, n):
    return Paired(n, 0.9, 0.9 - (lost - won) / n, lost, won)


def gate(lost, won, n, tolerance=0.005, split="test", **more):
    return Gate(pair(lost, won, n), tolerance, split, n, **more)


# --- the interval


@pytest.mark.parametrize(
    ("lost", "won", "n", "z", "low", "high"),
    [
        # Fagerland, Lydersen and Laake, "Statistical Analysis of Contingency Tables" (2017), chapter 8.
        (1, 7, 21, TWO_SIDED, -0.517, -0.026),
        (6, 16, 161, TWO_SIDED, -0.1240, -0.0054),
        # R: PropCIs::scoreci.mp(25, 28, 618, 0.90), which subtracts the other way round.
        (28, 25, 618, 1.6448536, -0.0148, 0.0247),
    ],
)
def test_the_interval_is_the_published_one(lost, won, n, z, low, high):
    digits = len(str(high).split(".")[1])
    assert round(largest_loss(lost, won, n, z), digits) == high
    assert round(-largest_loss(won, lost, n, z), digits) == low


def likelihood(lost, won, n, loss, share):
    """Log-likelihood where a share of images is won, and a share larger by the loss is lost."""
    cells = ((lost, share + loss), (won, share), (n - lost - won, 1 - 2 * share - loss))
    return sum(count * np.log(np.maximum(p, 1e-300)) for count, p in cells if count)


@pytest.mark.parametrize(("lost", "won", "n"), [(0, 0, 50), (2, 0, 20), (0, 3, 40), (9, 4, 300), (40, 55, 1000)])
@pytest.mark.parametrize("loss", [-0.03, 0.001, 0.005, 0.2])
def test_the_score_is_that_of_the_likeliest_shares(lost, won, n, loss):
    """Tango's score by its definition: the restricted maximum is searched for on a grid."""
    shares = np.linspace(max(0.0, -loss), (1 - loss) / 2, 400_001)
    share = shares[likelihood(lost, won, n, loss, shares).argmax()]
    expected = (lost - won - n * loss) / math.sqrt(n * (2 * share + loss - loss**2))
    assert score(lost, won, n, loss) == pytest.approx(expected, rel=1e-3)


def test_an_upper_limit_is_right_where_no_image_differs():
    assert pair(0, 0, 100).limits[1] == pytest.approx(1.6448536**2 / (100 + 1.6448536**2))
    assert pair(0, 0, 300).limits[1] == pytest.approx(3 / 300, abs=0.0011)  # about the rule of three
    low, high = pair(0, 0, 300).limits
    assert low == -high
    assert pair(50, 0, 50).limits[1] == 1


@pytest.mark.parametrize(
    ("n", "tolerance", "won"), [(600, 0.005, 0.0), (539, 0.005, 0.002), (300, 0.01, 0.01), (1000, 0.02, 0.03)]
)
def test_a_loss_at_the_tolerance_passes_in_one_of_twenty_trials(n, tolerance, won):
    """By the multinomial distribution, summed up: no simulation."""
    passes, lost = 0.0, won + tolerance
    for a in range(60):
        for b in range(60):
            if score(a, b, n, tolerance) <= -1.6448536:
                passes += binom.pmf(a, n, lost) * binom.pmf(b, n - a, won / (1 - lost))
    assert passes < 0.0535


@pytest.mark.slow
def test_simulated_trials_keep_five_percent():
    draw = np.random.default_rng(0)
    for n, tolerance, won in ((539, 0.005, 0.001), (2000, 0.005, 0.004), (10_000, 0.005, 0.02)):
        counts = draw.multinomial(n, [won + tolerance, won, 1 - 2 * won - tolerance], size=4000)
        passes = np.mean([gate(int(a), int(b), n, tolerance).passed for a, b, _ in counts])
        assert passes < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)


def test_the_same_images_are_paired():
    labels = np.zeros(1000, np.int64)
    right, wrong = np.eye(2)[0], np.eye(2)[1]
    before = np.tile(right, (1000, 1))
    after = before.copy()
    after[:30] = wrong
    found = paired(before, after, labels)
    assert (found.n, found.lost, found.won, found.drop) == (1000, 30, 0, 0.03)
    assert (found.before, found.after) == (1, 0.97)
    assert paired(after, before, labels).drop == -0.03


# --- the three outcomes


def test_a_loss_is_within_the_tolerance_above_it_or_not_known():
    assert gate(0, 0, 539).outcome == "within"
    assert gate(0, 0, 538).outcome == "unproven"
    assert gate(30, 0, 1000, 0.01).outcome == "above"
    assert gate(30, 0, 1000, 0.05).outcome == "within"
    assert gate(0, 30, 1000, 0.0).outcome == "within"  # better than before
    two_of_twenty = gate(2, 0, 20)
    assert two_of_twenty.outcome == "unproven"
    assert not two_of_twenty.passed
    assert two_of_twenty.left_open
    assert "too few images to tell" in str(two_of_twenty)
    assert not gate(2, 0, 20, accept_unproven=True).left_open
    assert not gate(2, 0, 20, accept_unproven=True).passed
    assert gate(30, 0, 1000, 0.01, accept_unproven=True).outcome == "above"


@pytest.mark.parametrize(
    ("lost", "won", "n", "tolerance"),
    [(2, 1, 20, 0.005), (20, 15, 2000, 0.005), (3, 3, 400, 0.01), (12, 2, 500, 0.01), (1, 2, 200, 0.005)],
)
def test_so_many_images_would_do(lost, won, n, tolerance):
    few = gate(lost, won, n, tolerance)
    assert few.outcome == "unproven"
    times = few.images_needed / n
    assert times > 1
    more = score(times * lost, times * won, times * n, tolerance)
    assert abs(more) >= 1.6448536
    less = 0.85 * times  # the number is rounded up to two digits
    assert abs(score(less * lost, less * won, less * n, tolerance)) < 1.6448536
    assert f"about {few.images_needed:,} would do" in str(few)


def test_no_image_lost_counts_as_one_and_a_loss_at_the_tolerance_has_no_number():
    assert gate(0, 0, 300).images_needed == gate(1, 1, 300).images_needed > 539
    equal = gate(2, 1, 200)
    assert equal.images_needed is None
    assert "no number would" in str(equal)
    assert gate(0, 0, 1, 0.5).images_needed > 1


def test_what_cards_say_of_a_gate():
    said = gate(2, 0, 20).to_dict()
    assert said["split"] == "test"
    assert (said["n"], said["lost"], said["won"]) == (20, 2, 0)
    assert (said["drop"], said["tolerance"], said["outcome"]) == (0.1, 0.005, "unproven")
    assert (said["passed"], said["accepted"], said["images_needed"]) == (False, False, gate(2, 0, 20).images_needed)
    assert said["low"] < 0.1 < said["high"]
    assert gate(2, 0, 20, accept_unproven=True).to_dict()["accepted"]
    assert gate(0, 0, 1000, accept_unproven=True).to_dict()["accepted"] is False
    assert gate(0, 0, 1000).to_dict()["images_needed"] is None
    json.dumps(said)


# --- before anything is trained


def images(**splits):
    """A data set of so many images in each split, which nothing looks at."""
    parts = {name: [0] * count for name, count in splits.items()}
    return Dataset("x", ("a", "b"), parts, 1, 8, True, (0.5,), (0.5,))


def test_the_number_of_images_is_checked_first():
    Terms().check(images(train=10, val=539))
    Terms().check(images(train=10, val=5, test=539))
    Terms(accept_unproven=True).check(images(train=10, val=5))
    with pytest.raises(DataError, match=r"538 test images are too few .* 0\.5 points.*: 539 would do") as refused:
        Terms().check(images(train=10, val=600, test=538))
    assert "--accept-unproven" in refused.value.fix
    with pytest.raises(DataError, match="500 validation images are too few") as refused:
        Terms().check(images(train=10, val=2000), limit=500)
    assert "--limit 539" in refused.value.fix
    Terms().check(images(train=10, val=2000), limit=539)
    for n in (1, 20, 100, 360, 538):
        with pytest.raises(DataError) as refused:
            Terms().check(images(train=10, val=n))
        tolerance = float(refused.value.fix.split("--tolerance ")[1].split(",")[0])
        Terms(tolerance).check(images(train=10, val=n))
        assert n >= least_images(tolerance)
        assert gate(0, 0, n, tolerance).passed
    with pytest.raises(DataError, match="tolerance: 0"):
        Terms(0).check(images(train=10, val=10**6))
    for tolerance in (-0.1, 1, math.nan):
        with pytest.raises(UsageError, match="tolerance"):
            Terms(tolerance)


def test_the_name_says_so(tmp_path, monkeypatch):
    assert unproven(tmp_path / "half") == tmp_path / "half-unproven"
    monkeypatch.chdir(tmp_path)
    assert unproven(Path(".")) == tmp_path.with_name(f"{tmp_path.name}-unproven")


@pytest.mark.parametrize("words", [("prune", "--macs", 0.5), ("quantize",)])
def test_too_few_images_are_refused_before_anything_is_made(run, podium, tmp_path, words):
    said = podium(words[0], run.path, "digits", *words[1:], "-o", "small", "--json")
    said.refused(
        3, "360 test images are too few", "0.5 points", "539 would do", "--tolerance 0.0075", "--accept-unproven"
    )
    assert list(tmp_path.iterdir()) == []


# --- prune


@pytest.fixture(scope="module")
def brief():
    """Nobody looks at the times in the tables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shrink, "SECONDS", 0.01)
        patch.setattr(shrink, "FILE_ENGINES", ())
        yield


@pytest.fixture(scope="module")
def halved(run, brief, tmp_path_factory):
    """A run with half of the multiply-adds, and a tolerance that its validation images neither show nor refute."""
    pytest.importorskip("torch_pruning", reason="needs the extra `prune`")
    out = tmp_path_factory.mktemp("gate") / "half"
    made = library.prune(run, "digits", out, macs=0.5, epochs=1, tolerance=0.9)
    return made, sum(made.decision.pair.limits) / 2


def files(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("model.safetensors")}


@pytest.mark.slow
def test_an_open_outcome_is_kept_under_a_name_that_says_so(run, halved, podium):
    made, tolerance = halved
    out = made.run.path
    kept = out.with_name("half-unproven")
    assert made.gate["outcome"] == "within"
    assert made.gate["split"] == "test"
    before = files(out)
    words = ["prune", run.path, "digits", "--macs", "0.5", "--epochs", "1", "-o", out, "--tolerance"]
    start = podium(*words, 0.9, "--json")  # the same outcome: the same name
    assert (start.code, start.json["run"]) == (0, str(out))

    out.rename(kept)  # as if it had been open before
    said = podium(*words, tolerance)
    assert said.code == 3
    assert not out.exists()
    assert "360 test images: too few images to tell" in said.err
    assert f"{kept} has the network" in said.err
    assert "fix: add --accept-unproven" in said.err
    assert files(kept) == before, "nothing is trained again"
    for name, entry in (("compression.json", "gate"), ("card.json", "gate")):
        assert json.loads((kept / name).read_text())[entry]["outcome"] == "unproven"
    assert "may lose more than the tolerance" in (kept / "report.html").read_text()
    assert [origin["state"] for origin in library.verify(kept)["origins"]][:1] == ["unchanged"]

    said = podium(*words, tolerance, "--accept-unproven", "--json")
    assert (said.code, said.json["run"]) == (0, str(out))
    assert not kept.exists()
    assert said.json["gate"]["accepted"]
    assert files(out) == before
    assert said.json["rows"][1]["name"] == "half"
    assert library.load(out).card["gate"] == said.json["gate"]

    again = library.prune(run, "digits", out, macs=0.5, epochs=1, tolerance=tolerance)
    assert again.run.path == kept
    assert library.prune(run, "digits", out, macs=0.5, epochs=1, tolerance=0.9).run.path == out
    kept.mkdir()
    podium(*words, 0.9).refused(2, "half-unproven", "-o")
    kept.rmdir()


# --- quantize


@pytest.mark.slow
def test_a_network_in_int8_that_too_few_images_decide_on(run, podium, tmp_path, monkeypatch):
    made = {"lost": 3}
    right = quantize._logits

    def few_lost(exported, images):
        logits = right(exported, images)
        logits[: made["lost"]] = -logits[: made["lost"]]
        return logits

    monkeypatch.setattr(quantize, "_logits", few_lost)
    monkeypatch.setattr(quantize, "_table", lambda *_: [])
    words = ["quantize", run.path, "digits", "-o", "q", "--no-qat", "--limit", 300, "--tolerance", 0.015]
    said = podium(*words, "--json")
    assert said.code == 3
    assert said.json["run"] == "q-unproven"
    assert said.json["gate"]["outcome"] == "unproven"
    assert "300 test images: too few images to tell" in said.err
    assert "q-unproven has the network" in said.err
    assert "--limit 360" in said.err  # there are no more
    assert [path.name for path in tmp_path.iterdir()] == ["q-unproven"]
    assert json.loads((tmp_path / "q-unproven" / "card.json").read_text())["gate"] == said.json["gate"]
    (tmp_path / "q-unproven" / "notes.txt").write_text("mine")

    assert podium(*words, "--json").code == 3  # the same again takes the place of the first
    assert (tmp_path / "q-unproven" / "notes.txt").read_text() == "mine"
    made["lost"] = 60
    podium(*words, "--json").refused(5, "int8 loses too much", "above the tolerance of 1.5 points")
    made["lost"] = 3
    said = podium(*words, "--accept-unproven", "--json")
    assert (said.code, said.json["run"], said.json["gate"]["accepted"]) == (0, "q", True)
    made["lost"] = 0
    within = library.quantize(run, "digits", "r", qat=False, tolerance=0.015)
    assert (within.path.name, within.gate["outcome"]) == ("r", "within")


@pytest.mark.parametrize(
    ("splits", "deciding", "choosing"),
    [
        ("train val test", "test", "val"),
        pytest.param("train val", "val", "train", marks=pytest.mark.slow),
        pytest.param("train test", "test", "train", marks=pytest.mark.slow),
    ],
)
def test_the_images_that_decide_have_chosen_no_rounding(run, tmp_path, monkeypatch, splits, deciding, choosing):
    """Which split each step reads: the ranges, the choice whether to fine-tune, and the decision."""
    data, read = library.load_data("digits", val=0.2), []
    data = dataclasses.replace(data, splits={name: data.splits[name] for name in splits.split()})
    real = quantize.squares

    def squares(data, bundle, count, split):
        read.append(split)
        return real(data, bundle, count, split)

    monkeypatch.setattr(quantize, "squares", squares)
    monkeypatch.setattr(quantize, "_table", lambda *_: [])
    unrecorded = dataclasses.replace(
        library.load(run.path), folder=None
    )  # it would not be evaluated on what it learned from
    made = library.quantize(unrecorded, data, tmp_path / "q", tolerance=0.5, limit=100)
    assert read == [deciding, "train", choosing]
    assert made.gate["split"] == deciding
    assert (made.gate["n"], made.gate["outcome"]) == (100, "within")
    card = json.loads((tmp_path / "q" / "card.json").read_text())
    assert card["without_qat"]["split"] == choosing
    assert card["without_qat"]["fine_tuned"] is False
