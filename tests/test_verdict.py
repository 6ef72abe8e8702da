"""What a comparison claims: over which images and seeds, at which sizes, and which run it recommends."""

import csv
import importlib.util
import json
import re
import shlex
import sys

import numpy as np
import pytest
from PIL import Image
from scipy import stats

import podium as library
from command import inside, one_error
from conftest import ROOT
from podium.comparison.decide import Rules
from podium.comparison.leaderboard import Leaderboard
from podium.comparison.sizes import one_size
from podium.comparison.statistics import Answers, wilson
from podium.data.dataset import Dataset, Split
from podium.data.images import ArrayImages
from podium.data.stored import stored_size
from podium.errors import ModelFileError
from podium.evaluation.metrics import summarize
from podium.models.forms import form, small_without_data
from podium.runs.folder import RunFolder
from podium.settings import Settings
from podium.training.prepare import prepare


def timed(*_, **__):
    return {"latency_ms": {"p50": 1.0, "p95": 2.0}, "images_per_second": 100.0, "batch": 1, "threads": 1}


@pytest.fixture(autouse=True)
def _no_timing(monkeypatch):
    monkeypatch.setattr("podium.comparison.study.speed", timed)


def answers(*shares, n=100, seeds=1):
    """Networks that have so many of n images right, each image equally likely, anew for each seed."""
    draw = np.random.default_rng(0)
    return [np.stack([draw.permutation(n) < round(share * n) for _ in range(seeds)]) for share in shares]


@pytest.fixture
def runs(tmp_path):
    """Write finished runs of which only the answers matter: {network: (seeds, images) bool}, and labels."""

    def make(right, labels, **result):
        paths = []
        for model, seed, row in ((m, s, row) for m, rows in right.items() for s, row in enumerate(rows)):
            path = tmp_path / f"{model}-seed{seed}"
            path.mkdir()
            top1, k = float(row.mean()), int(labels.max()) + 1
            facts = {
                "model": model, "seed": seed, "split": "test", "n": len(labels), "top1": top1, "top5": 1.0, "loss": 1.0,
                "ece": 0.1, "macro_f1": top1, "seconds": 1.0, "images_per_second": 1.0, "steps": 5, "epochs": 1.0,
                "params": 1000, "macs": 2000, "size_bytes": 4000, "classes": [f"class {i}" for i in range(k)], **result,
            }  # fmt: skip
            (path / "result.json").write_text(json.dumps(facts))
            logits = np.eye(k)[np.where(row, labels, (labels + 1) % k)]
            np.savez(path / "predictions.npz", logits=logits, labels=labels)
            paths.append(path)
        return paths

    return make


# How sure


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_an_interval_is_never_narrower_than_the_images_allow(seeds):
    same = np.repeat(answers(0.52)[0], seeds, 0)  # seeds that agree to the image, as 52.00-52.00 % came about
    low, high = Answers([same]).interval(0)
    assert (low, high) == pytest.approx(wilson(0.52, 100), abs=0.005)
    all_right = np.ones((seeds, 4), bool)
    assert Answers([all_right]).interval(0) == pytest.approx(wilson(1.0, 4))


def test_seeds_that_agree_leave_mcnemars_test():
    a, b = (np.repeat(rows, 3, 0) for rows in answers(0.9, 0.7, n=500))
    one, three = (Answers([a[:s], b[:s]]).difference(0, 1) for s in (1, 3))
    assert three.half == pytest.approx(one.half)
    per_image = a[0].astype(float) - b[0]
    assert one.half == pytest.approx(1.96 * per_image.std(ddof=1) / 500**0.5, rel=0.02)


def test_image_and_seed_are_the_two_way_random_effects():
    """Against mean squares worked out cell by cell: images of both, seeds pooled, what is of both counted once."""
    draw = np.random.default_rng(3)
    n, seeds = 400, 3
    hard, luck = draw.normal(0, 1, n), draw.normal(0, 0.5, (2, seeds, 1))
    right = 0.8 + hard + luck + draw.normal(0, 0.5, (2, seeds, n)) > 0
    of_seeds = []
    for x in right.astype(float):
        grand, rows, columns = x.mean(), x.mean(1), x.mean(0)
        residual = sum((x[s, i] - rows[s] - columns[i] + grand) ** 2 for s in range(seeds) for i in range(n))
        between = n * sum((row - grand) ** 2 for row in rows) / (seeds - 1)
        of_seeds.append((between - residual / ((seeds - 1) * (n - 1))) / n)
    pooled = np.mean(of_seeds)
    images = np.var(right[0].mean(0) - right[1].mean(0), ddof=1) / n
    half = np.hypot(1.96 * images**0.5, stats.t.ppf(0.975, 4) * (pooled * 2 / seeds) ** 0.5)
    found = Answers(list(right))
    assert found.freedom == 4
    assert found.difference(0, 1).half == pytest.approx(half, rel=0.01)


def test_a_second_seed_hides_no_difference():
    """Seeds that differ by little more than their images let them: a real difference stays one with two seeds."""
    draw = np.random.default_rng(1)
    levels = np.array([1.6, 1.2])[:, None, None]
    right = levels + draw.normal(0, 1, 400) + draw.normal(0, 0.5, (2, 1, 400)) + draw.normal(0, 0.5, (2, 2, 400)) > 0
    one, two = Answers([rows[:1] for rows in right]), Answers(list(right))
    assert one.difference(0, 1).clear
    assert two.difference(0, 1).clear
    assert two.difference(0, 1).half < 1.5 * one.difference(0, 1).half


@pytest.mark.parametrize(("seeds", "networks"), [(1, 2), (2, 2), (2, 6), (3, 2)])
def test_intervals_hold_as_often_as_they_say(monkeypatch, seeds, networks):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    spec = importlib.util.spec_from_file_location("verdict_benchmark", ROOT / "benchmarks" / "verdict.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    for row in benchmark.measure(250, [(networks, seeds, 300)]):
        assert row["difference_holds"] >= 0.9, row
        assert row["own_interval_holds"] >= 0.9, row


def test_networks_with_other_numbers_of_seeds_share_what_seeds_do(runs):
    """One seed of b failed: how seeds vary is known from a."""
    draw, labels = np.random.default_rng(0), np.arange(300) % 2
    a, b = draw.random((3, 300)) < np.array([[0.8], [0.9], [0.7]]), draw.random((1, 300)) < 0.6
    board = Leaderboard.read(runs({"a": a, "b": b}, labels))
    alone = Answers([a[:1], b]).difference(0, 1)
    assert board.rows[1]["behind_at_most"] - board.rows[1]["behind"] > 2 * alone.half
    assert "With one seed" not in board.verdict()


def test_what_one_seed_says_is_of_these_networks(runs):
    labels = np.arange(200) % 2
    right = dict(zip("ab", answers(0.9, 0.7, n=200), strict=True))
    assert (
        "With one seed each, this is said of these trained networks" in Leaderboard.read(runs(right, labels)).verdict()
    )


def test_runs_that_were_judged_on_other_images_are_not_compared(runs, tmp_path):
    labels = np.arange(50) % 2
    paths = runs(dict(zip("ab", answers(0.9, 0.7, n=50), strict=True)), labels)
    np.savez(paths[1] / "predictions.npz", logits=np.eye(2)[labels[::-1]], labels=labels[::-1])
    with pytest.raises(ModelFileError, match=r"b-seed0: was evaluated on other images than .*a-seed0"):
        Leaderboard.read(paths)


# Learned or not


def test_validation_images_that_rank_and_report_flatter_as_test_images_do(runs, capsys):
    """Without test images the validation images report too: the highest of four equal networks looks better than it is."""
    draw, labels = np.random.default_rng(0), np.arange(200) % 4
    right = {f"net{k}": draw.random((1, 200)) < 0.7 for k in range(4)}
    board = Leaderboard.read(runs(right, labels, split="val"), rules=Rules(on="test"))
    assert board.found.ranked_on == board.found.split == "val"
    assert 0.005 < board.found.flatters < 0.06
    assert f"looks better than it is, here by about {100 * board.found.flatters:.2f} points." in board.verdict()
    board.table()
    assert "which rank" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("within", "words"),
    [(0.01, "within 1 point of"), (0.21, "within 21 points of"), (0.015, "within 1.50 points of")],
)
def test_the_distance_that_is_allowed_is_said_in_points(runs, within, words):
    labels = np.arange(1000) % 4
    right = {"best": np.arange(1000) >= 100, "cheap": np.arange(1000) >= 102}
    paths = runs({name: row[None] for name, row in right.items()}, labels)
    result = json.loads((paths[1] / "result.json").read_text())
    (paths[1] / "result.json").write_text(json.dumps({**result, "macs": 1000}))
    assert words in Leaderboard.read(paths, rules=Rules(on="test", within=within)).verdict()


def test_a_network_no_better_than_guessing_does_not_win(runs):
    labels = (np.arange(200) >= 104).astype(int)  # 52 % of the first class
    guesses = labels == 0
    better = guesses.copy()
    better[[150, 160]] = True  # right twice more
    board = Leaderboard.read(runs({"a": better[None], "b": guesses[None]}, labels))
    text = board.verdict()
    assert "Take" not in text
    assert text.startswith("Nothing has clearly learned: the highest, a, has 53.00 % top-1 on 200 test images,")
    assert "not clearly better than the most frequent class every time (52.0 %)" in text
    assert board.best is None


def test_images_of_a_single_group_are_said_to_tell_nothing_of_others(runs):
    """All images of one patient: it is not their number that is too small."""
    labels = np.arange(100) % 2
    paths = runs({name: np.ones((1, 100), bool) for name in ("a", "b")}, labels)
    for path in paths:
        with np.load(path / "predictions.npz") as arrays:
            found = dict(arrays)
        np.savez(path / "predictions.npz", groups=np.zeros(100, np.uint64), **found)
    text = Leaderboard.read(paths).verdict()
    assert "on 100 test images of 1 group, not clearly better" in text
    assert "Images of a single group say nothing of others: rank on images of several groups." in text
    assert "too few" not in text


def test_learning_is_a_paired_test_not_an_interval_that_touches(runs):
    """95 of 100 of one class: 99 right has an interval that reaches to 94.6 %, and lost none that guessing has right."""
    labels = np.array([0] * 950 + [1] * 50)
    right = np.ones(1000, bool)
    right[990:] = False
    (row,) = (board := Leaderboard.read(runs({"a": right[None]}, labels))).ranked
    assert row["learned"]
    assert board.verdict().startswith("a reaches 99.00 %")
    few = Answers([right[None, 940:960]])  # 20 images, 10 of each class: the interval is far above one half, and clear
    assert few.above(0, labels[940:960] == 0).clear


def test_seeds_that_differ_too_much_are_told_from_networks_that_learned_nothing(runs):
    """One seed of two has learned: both together may not be better than guessing, but that is a matter of the seeds."""
    labels = (np.arange(400) >= 200).astype(int)
    guesses = labels == 0
    learned = np.ones(400, bool)
    learned[::4] = False
    board = Leaderboard.read(runs({"a": np.stack([learned, guesses])}, labels))
    text = board.verdict()
    assert text.startswith("Nothing has clearly learned: a has 62.50 % top-1")
    assert "The seeds differ too much to tell: more of them (--seeds), or longer training, would." in text
    assert "lower lr" not in text


def test_so_few_images_that_nothing_can_be_shown_is_said(runs):
    labels = np.array([0, 1, 0, 1])
    board = Leaderboard.read(runs({"a": np.ones((1, 4), bool)}, labels))
    assert "4 images are too few to show more: even all of them right would not." in board.verdict()
    low, high = board.interval(board.ranked[0])
    assert low < 0.6
    assert high == 1


def test_the_best_is_one_that_has_learned(runs):
    """b has as many right as guessing and a few more on each side, too uncertain; a is lower and sure."""
    labels = (np.arange(400) >= 200).astype(int)
    guesses = labels == 0
    sure = guesses.copy()
    sure[200:208] = True  # eight more, none lost: 52.0 %
    unsure = guesses.copy()
    unsure[200:260], unsure[:50] = True, False  # sixty more, fifty lost: 52.5 %
    board = Leaderboard.read(runs({"b": unsure[None], "a": sure[None]}, labels))
    assert [(row["model"], row["learned"]) for row in board.ranked] == [("a", True), ("b", False)]
    assert board.best.path.name == "a-seed0"
    assert "Not learned: b" in board.verdict()


# Sizes and forms


def images(side, count=12, channels=3):
    draw = np.random.default_rng(0)
    return {
        c: [draw.integers(0, 99, (side, side, channels), np.uint8) + 70 * i for _ in range(count)]
        for i, c in enumerate("ab")
    }


@pytest.fixture
def photos(tmp_path):
    def make(side, name="photos", large=None):
        for label, pictures in images(side).items():
            for number, pixels in enumerate(pictures):
                path = tmp_path / name / label / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                picture = Image.fromarray(pixels)
                if large and (label, number) == ("b", 7):
                    picture = picture.resize((large, side))
                picture.save(path)
        return tmp_path / name

    return make


@pytest.mark.parametrize(
    ("side", "asked", "size", "small"),
    [
        (100, {}, 224, False),
        (100, {"image_size": 64}, 64, False),
        (100, {"image_size": 64, "small": True}, 64, True),
        (65, {"image_size": 48}, 48, False),
        (64, {}, 64, True),
        (32, {}, 32, True),
        (32, {"small": False}, 32, False),
        (32, {"image_size": 28}, 28, True),
        (32, {"image_size": 96}, 96, False),
        (5, {}, 8, True),  # enlarged to the least the network takes
    ],
)
def test_the_small_form_is_for_images_that_are_small_as_stored(photos, side, asked, size, small):
    data = library.load_data(photos(side))
    spec = prepare(Settings(model="resnet18", amp="off", **asked), data).net.spec
    assert (spec["image_size"], spec["small"]) == (size, small)


def test_one_large_photo_among_small_ones_makes_them_photos(photos):
    assert stored_size(library.load_data(photos(40)), 64) == 40
    assert stored_size(library.load_data(photos(40, "mixed", large=90)), 64) is None


def test_a_pack_and_arrays_have_the_size_they_are_stored_in(photos, tmp_path):
    for side, size in ((40, 40), (90, None)):
        assert inside("pack", photos(side, f"p{side}"), "-o", tmp_path / f"pack{side}").returncode == 0
        assert stored_size(library.load_data(tmp_path / f"pack{side}"), 64) == size
    pixels = np.zeros((4, 96, 96, 1), np.uint8)
    splits = {
        "train": Split(np.arange(4) % 2, ArrayImages(pixels)),
        "test": Split(np.arange(4) % 2, ArrayImages(pixels)),
    }
    large = Dataset("arrays", ("a", "b"), splits, 1, 96, False, (0.5,), (0.5,))
    assert form("resnet18", stored_size(large, 64)) == (96, False)
    assert form("resnet18", stored_size(library.load_data("digits"), 64)) == (32, True)


def test_an_unreadable_header_decides_nothing(photos):
    folder = photos(40)
    (folder / "a" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    assert stored_size(library.load_data(folder), 64) == 40


def test_a_bare_name_with_a_small_size_stands_for_small_images():
    assert small_without_data(64)
    assert not small_without_data(65)
    assert not small_without_data(None)


def test_a_resumed_run_keeps_the_form_it_began_with(photos, tmp_path, monkeypatch):
    """As of before, when photos at this size took the small form by themselves: what is recorded holds."""
    words = ["train", "mobilenet_v1", photos(100), "--image-size", "16", "--steps", "3", "--amp", "off"]
    monkeypatch.setenv("PODIUM_FAULT", "signal:15@step:1")
    assert inside(*words, "--small", "-o", tmp_path / "run").returncode == 143
    monkeypatch.delenv("PODIUM_FAULT")
    assert inside(*words, "--resume", "-o", tmp_path / "run").returncode == 0
    spec = json.loads((tmp_path / "run" / "card.json").read_text())["spec"]
    assert (spec["image_size"], spec["small"]) == (16, True)


def test_the_mends_of_too_small_a_size_work(photos, tmp_path):
    data = photos(100)
    refused = inside("train", "alexnet", data, "--image-size", "32", "--steps", "1", "-o", tmp_path / "run")
    one_error(refused, 2, "alexnet cannot take 32 px")
    fix = refused.stderr.partition("fix: ")[2]
    larger = int(re.search(r"--image-size (\d+)", fix)[1])
    assert "--small" in fix
    for size, small in ((larger, None), (32, True)):
        spec = prepare(
            Settings(model="alexnet", image_size=size, small=small, amp="off"), library.load_data(data)
        ).net.spec
        assert (spec["image_size"], spec["small"]) == (size, bool(small))


@pytest.mark.slow
def test_what_networks_see_is_said_everywhere(photos, tmp_path):
    out = tmp_path / "board"
    data = photos(100)
    done = inside("compare", data, "-m", "lenet5,mobilenet_v1", "--scratch", "--steps", "1", "--amp", "off", "-o", out)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^lenet5: [\d,]+ parameters, 0\.6 M multiply-adds at 32 px", done.stderr, re.M)
    assert re.search(
        r"^mobilenet_v1: full form, [\d,]+ parameters, [\d.,]+ M multiply-adds at 224 px", done.stderr, re.M
    )
    for text in (done.stderr, done.stdout.replace("\n", " "), (out / "report.html").read_text()):
        assert "see images of different sizes: lenet5 32 px; mobilenet_v1 224 px" in text
        assert "With --image-size 224 all see as much: lenet5 " in text
        assert "with --image-size 32, the least that all take: mobilenet_v1 " in text
    with (out / "leaderboard.csv").open(newline="") as file:
        assert {row["model"]: (row["image_size"], row["small"]) for row in csv.DictReader(file)} == {
            "lenet5": ("32", "False"),
            "mobilenet_v1": ("224", "False"),
        }
    assert ">224 px</span>" in (out / "report.html").read_text()
    assert re.search(r"^ *mobilenet_v1 .* 224 ", done.stdout, re.M)
    result = json.loads((out / "mobilenet_v1-seed0" / "result.json").read_text())
    assert (result["image_size"], result["small"]) == (224, False)


def test_one_size_costs_what_the_networks_then_count():
    specs = [
        {"model": m, "num_classes": 1000, "in_chans": 3, "image_size": s, "small": False}
        for m, s in (("resnet18", 224), ("plain20", 32))
    ]
    text = one_size(specs)
    assert "plain20 40.6M → 2.0G" in text  # 49 times the pixels
    assert "resnet18 1.8G → 37." in text  # a 49th, but for the last layer
    assert one_size([{**spec, "image_size": 64} for spec in specs]) == ""


# Many classes, few classes


def test_of_many_classes_the_worst_pairs_are_kept():
    draw = np.random.default_rng(0)
    k = 1500
    labels = np.repeat(np.arange(k), 3)
    logits = draw.normal(0, 1, (len(labels), k)).astype(np.float32)
    logits[np.arange(len(labels)), labels] += 4
    logits[labels == 7, 9] += 30  # class 7 is always taken for class 9
    names = [f"class {i}" for i in range(k)]
    scores = summarize(logits, labels, names)
    assert scores["confusion"] is None
    assert scores["confused"][0] == {"true": "class 7", "predicted": "class 9", "n": 3, "share": 1.0}
    assert len(scores["confused"]) == 100
    assert [row["n"] for row in scores["confused"]] == sorted((row["n"] for row in scores["confused"]), reverse=True)
    assert len(json.dumps(scores)) < 400_000
    few = summarize(logits[labels < 200][:, :200], labels[labels < 200], names[:200])
    assert np.array(few["confusion"]).sum() == 600
    assert sum(row["n"] for row in few["confused"]) <= 600


def test_the_report_of_many_classes_is_a_page(runs, tmp_path):
    from plotly.offline import get_plotlyjs

    from podium.comparison.report.provenance import Commands, Provenance
    from podium.comparison.report.report_page import write_report

    k = 1500
    labels = np.repeat(np.arange(k), 2)
    right = np.random.default_rng(0).random((1, len(labels))) < 0.9
    row = {"n": 2, "precision": 0.5, "recall": 0.5}
    per_class = [{"class": f"class {i}", **row, "f1": i / k} for i in range(k)]
    (path,) = runs({"a": right}, labels, per_class=per_class, calibration=[], confusion=None)
    (path / "log.jsonl").write_text("")
    pixels = np.zeros((len(labels), 8, 8, 1), np.uint8)
    data = Dataset("many", tuple(f"class {i}" for i in range(k)), {"train": Split(labels, ArrayImages(pixels)), "test": Split(labels, ArrayImages(pixels))}, 1, 8, False, (0.5,), (0.5,))  # fmt: skip
    board = Leaderboard.read([path])
    made = Provenance.of(board, path, [path], "as it was", Commands())
    text = write_report(tmp_path / "report.html", board, [path], data, made).read_text(encoding="utf-8")
    own = text.replace(get_plotlyjs(), "")
    assert len(own) < 300_000
    assert "Most confused classes" in own
    assert 'data-chart="network-0-confusion"' not in own
    wrong = int(labels[np.flatnonzero(~right[0])[0]])
    assert f'<th scope="row">class {wrong}</th><td class="text">class {(wrong + 1) % k}</td>' in own
    assert "The 100 with the lowest F1" in own
    assert "top-5 %" in own  # of so many classes it says something


def test_the_colours_of_the_confusion_matrix_start_at_0_and_are_readable(comparison):
    text = (comparison / "report.html").read_text()
    charts = json.loads(re.search(r'<script id="charts" type="application/json">(.*?)</script>', text, re.S)[1])
    trace = charts["network-0-confusion"]["data"][0]
    assert (trace["zmin"], trace["zmax"]) == (0, 1)
    for theme in (trace, trace["meta"]["dark"]):
        ink = luminance(theme["textfont"]["color"])
        for _, colour in theme["colorscale"]:
            lighter, darker = sorted((ink, luminance(colour)), reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) > 4.5  # WCAG 2.1, 1.4.3
    assert "trace.meta" in text


def luminance(colour):
    """Relative luminance of #rrggbb [WCAG 2.1]."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_top_5_is_left_out_below_eleven_classes(comparison, run, capsys):
    Leaderboard.read([comparison / "lenet5-seed0"]).table()
    assert "top-5" not in capsys.readouterr().out
    assert "top-5" not in (comparison / "report.html").read_text().partition("<script>")[0]
    assert "top-5" not in inside("eval", run.path, "digits").stdout


# The folder of a comparison is the run it recommends


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "digit.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    return path


@pytest.fixture
def best(comparison):
    with (comparison / "leaderboard.csv").open(newline="") as file:
        return comparison / next(row["run"] for row in csv.DictReader(file) if row["recommended"] == "True")


def test_compare_ends_with_its_recommendation_and_the_next_two_commands(
    own_comparison, best, picture, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    said = inside("compare", "digits", "-m", "lenet5_modern,lenet5", "--epochs", "1", "-o", own_comparison)
    told, *commands = said.stdout.splitlines()[-3:]
    assert str(own_comparison / best.name) in told
    assert str(own_comparison) in told
    for command in commands:
        words = [str(picture) if word == "IMAGE" else word for word in shlex.split(command)]
        assert words[0] == "podium"
        assert words[2] == str(own_comparison)
        assert inside(*words[1:]).returncode == 0, command
    assert {shlex.split(command)[1] for command in commands} == {"predict", "export"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{best.name.partition('-seed')[0]}.onnx"]


def test_of_photos_the_next_commands_are_whole(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = inside(
        "compare",
        photos(32, "two words"),
        "-m",
        "lenet5",
        "--epochs",
        "3",
        "--val",
        "0.5",
        "--rank-on",
        "test",
        "-o",
        "the board",
    )
    command = shlex.split(done.stdout.splitlines()[-2])
    answered = inside(*command[1:])
    assert answered.returncode == 0
    assert "two words" in answered.stdout


def test_every_verb_takes_a_comparison_for_its_best_run(comparison, best, picture, tmp_path):
    for words in (
        ["predict", "{}", picture],
        ["eval", "{}", "digits", "--limit", "50"],
        ["info", "{}"],
        ["verify", "{}"],
    ):
        ours, theirs = (inside(*[str(w).format(folder) for w in words], "--json") for folder in (comparison, best))
        assert (ours.returncode, theirs.returncode) == (0, 0), ours.stderr
        assert json.loads(ours.stdout) == json.loads(theirs.stdout)
    assert library.load(comparison).card == library.load(best).card
    tuned = library.train(
        "lenet5_modern" if "modern" in best.name else "lenet5",
        "digits",
        tmp_path / "tuned",
        weights=str(comparison),
        steps=1,
    )
    assert str(best.resolve()) in (tuned.path / "settings.yaml").read_text()


def test_python_has_the_best_run(own_comparison, best, picture):
    board = library.compare(["lenet5_modern", "lenet5"], "digits", own_comparison, epochs=1)
    assert isinstance(board.best, RunFolder)
    assert board.best.path == own_comparison / best.name
    assert library.load(board.best).predict(picture) == library.load(best).predict(picture)
    assert board.best.result["top1"] == board.rows[0]["top1"]


def test_a_comparison_without_a_run_to_recommend_is_refused_by_name(comparison, picture, tmp_path):
    folder = tmp_path / "begun"
    folder.mkdir()
    (folder / "comparison.yaml").write_bytes((comparison / "comparison.yaml").read_bytes())
    one_error(inside("predict", folder, picture), 4, str(folder), "no finished network yet")
    for content in (
        "",
        "model,top1\nlenet5,0.9\n",
        "model,run,learned\nlenet5,gone-seed0,True\n",
        "model,run,learned\nlenet5,../up,True\n",
    ):
        (folder / "leaderboard.csv").write_text(content)
        one_error(inside("predict", folder, picture), 4, "leaderboard.csv", "run the same comparison again")


def test_a_network_that_has_not_learned_is_used_with_a_warning(comparison, picture, tmp_path):
    folder = tmp_path / "board"
    folder.mkdir()
    (folder / "comparison.yaml").write_bytes((comparison / "comparison.yaml").read_bytes())
    (folder / "lenet5-seed0").symlink_to(comparison / "lenet5-seed0")
    (folder / "leaderboard.csv").write_text("model,run,learned\nlenet5,lenet5-seed0,False\n")
    said = inside("predict", folder, picture)
    assert said.returncode == 0
    assert f"warning: {folder / 'lenet5-seed0'} is not clearly better than the most frequent class" in said.stderr
    assert f"{folder} stands for the first run of its table, since it recommends none: " in said.stderr
