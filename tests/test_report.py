"""The leaderboard's numbers and the page: nothing is fetched, nothing hostile runs, what is shown is what was measured."""

import base64
import csv
import html
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from plotly.offline import get_plotlyjs
from scipy import stats

import podium
from podium.comparison.leaderboard import Leaderboard
from podium.comparison.report.charts import confusion, scatter
from podium.comparison.report.gallery import Gallery, Shown, fill_cells
from podium.comparison.report.label_places import places
from podium.errors import ModelFileError
from podium.runs.folder import RunFolder

NETWORKS = ["lenet5_modern", "plain20", "alexnet"]  # the last cannot take 32 pixels in its full form
CLASSES = ("</script><script>alert(1)</script>", "\"><img src=x onerror='alert(1)'>", "花 & {{ 7*7 }} %{x}")
FILE = "<b onclick=alert(1)>'\"&{}.png"


class Page(HTMLParser):
    """What a browser makes of it: elements with their attributes, the text of each kind of element."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.inside = [], {}, [""]
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.inside.append(tag)

    def handle_endtag(self, tag):
        while self.inside[-1] != tag:
            self.inside.pop()
        self.inside.pop()

    def handle_data(self, data):
        if data.strip():
            self.texts.setdefault(self.inside[-1], []).append(data)

    def having(self, attribute):
        return [(tag, values[attribute]) for tag, values in self.elements if attribute in values]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A comparison on photos whose classes and file names are as hostile as can be."""
    root, draw = tmp_path_factory.mktemp("report"), np.random.default_rng(0)
    for number in range(3):
        for n in range(20):
            path = root / "photos" / f"class {number}" / FILE.format(n)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(0, 255, (32, 32, 3), np.uint8)).save(path)
    data = replace(podium.load_data(root / "photos", val=0.5), classes=CLASSES, name="<i>photos</i>")
    with pytest.MonkeyPatch.context() as patch:
        times = iter([1.5, 3.0])
        patch.setattr("podium.comparison.study.speed", lambda *_: timed(next(times)))
        board = podium.compare(NETWORKS, data, root / "out", rank_on="test", epochs=2, image_size=32, small=False)
    return root / "out", board


def timed(latency):
    return {
        "latency_ms": {"p50": latency, "p95": 2 * latency},
        "images_per_second": 1000 / latency,
        "batch": 64,
        "threads": 1,
    }


@pytest.fixture(scope="module")
def text(compared):
    return (compared[0] / "report.html").read_text(encoding="utf-8")


def test_a_threshold_is_drawn_only_where_there_is_one(text, charts):
    assert "confidences are not calibrated" in text
    assert "diamond is" not in text
    assert charts["network-0-coverage"]["data"][1]["x"] == []


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


@pytest.fixture(scope="module")
def charts(text):
    content = re.search(r'<script id="charts" type="application/json">(.*?)</script>', text, re.S)[1]
    assert not re.search("[<>&]", content), "what could end the script, or begin another"
    return json.loads(content)


def results(out):
    return {model: json.loads((out / f"{model}-seed0" / "result.json").read_text()) for model in NETWORKS[:2]}


# The page by itself


def test_nothing_is_fetched(text, page):
    for attribute in ("src", "href", "srcset", "data", "action", "poster", "background", "xlink:href"):
        assert all(re.match("data:image/(jpeg|webp);base64,|#main$", value) for _, value in page.having(attribute)), (
            attribute
        )
    assert not {tag for tag, _ in page.elements} & {"link", "iframe", "object", "embed", "base", "form"}
    ours = text.replace(get_plotlyjs(), "")
    assert len(ours) < len(text) - 1_000_000, "plotly is in the page"
    assert not re.search(r"https?:|//cdn|url\(|@import|fetch\(|XMLHttpRequest|import\(", ours)
    policy = next(values["content"] for tag, values in page.elements if values.get("http-equiv"))
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert not re.search(r"http|\*|'self'", policy)


def test_hostile_names_are_text_and_nothing_else(text, page, charts):
    assert [tag for tag, _ in page.elements].count("script") == 6  # preferences, three of data, ours, plotly's
    assert not [name for _, values in page.elements for name in values if name.startswith("on")]
    cells = page.texts["th"]
    for name in CLASSES:
        assert name in cells
    assert "3 networks on <i>photos</i>" in page.texts["span"]
    chart = charts["network-0-confusion"]
    assert [html.unescape(name) for name in chart["data"][0]["x"]] == list(CLASSES)
    assert not any("<" in name for name in chart["data"][0]["x"])  # plotly takes some HTML in its labels
    assert "<script>alert" not in text.replace(get_plotlyjs(), "")


# What it shows


def test_each_other_networks_classes_stand_beside_those_of_the_first(compared, page):
    _, board = compared
    first = (board.taken or board.networks[0]).model
    (second,) = {row.model for row in board.networks} - {first}
    heading = f"recall less that of {first}, points"
    assert page.texts["span"].count(heading) == 1
    out = results(compared[0])
    recalls = [{c["class"]: c["recall"] for c in out[name]["per_class"]} for name in (first, second)]
    cells = page.texts["td"]
    for name in CLASSES:
        assert f"{100 * (recalls[1][name] - recalls[0][name]):+.1f}" in cells


def test_the_table_has_every_network_with_its_measured_numbers(compared, page):
    out, board = compared
    models = [row["model"] for row in board.ranked]
    start = next(place for place, (tag, values) in enumerate(page.elements) if values.get("data-name") == "leaderboard")
    end = next(place for place, (tag, _) in enumerate(page.elements) if tag == "button" and place > start + 60)
    cells = [values["data-value"] for _, values in page.elements[start:end] if "data-value" in values]
    columns = len(cells) // len(models)
    rows = [dict(enumerate(cells[i * columns : (i + 1) * columns])) for i in range(len(models))]
    assert [row[0] for row in rows] == models
    assert [[float(row[1]), float(row[2])] for row in rows] == [[r.behind, r.behind_at_most] for r in board.networks]
    for row, result in zip(rows, (results(out)[model] for model in models), strict=True):
        shown = [float(value) for place, value in row.items() if place]
        expected = [result[k] for k in ("top1", "macro_f1", "loss", "ece", "params", "macs")]
        assert shown[2:8] == pytest.approx(expected)  # of three classes, five guesses say nothing
        assert shown[8] == pytest.approx((out / f"{result['model']}-seed0/model.safetensors").stat().st_size / 1e6)
    said = page.texts["span"]
    assert any("alexnet failed: alexnet cannot take 32 px images" in text for text in said)
    assert set(board.sentences()) <= set(said)


def test_every_place_for_a_chart_has_its_chart(page, charts):
    places = [values["data-chart"] for _, values in page.elements if "data-chart" in values]
    assert sorted(places) == sorted(charts)
    assert (
        len(places) == 4 + 3 * 2
    )  # latency, multiply-adds, two curves; confusion, calibration and coverage of each network


def test_learning_curves_are_those_of_the_logs(compared, charts):
    out, _ = compared
    for trace in charts["curves-top1"]["data"]:
        lines = (out / f"{trace['name']}-seed0" / "log.jsonl").read_text().splitlines()
        epochs = [row for row in map(json.loads, lines) if row["event"] == "epoch"]
        assert len(epochs) == 2
        assert trace["x"] == [row["seconds"] for row in epochs]
        assert trace["y"] == pytest.approx([100 * row["top1"] for row in epochs])
    assert {trace["name"] for trace in charts["curves-loss"]["data"]} == set(NETWORKS[:2])


def test_confusion_and_mistakes_are_those_of_the_predictions(compared, text, page, charts):
    out, board = compared
    captions = [" ".join(text.split()) for text in page.texts["figcaption"] if "→" in text]  # others are of heat maps
    expected = []
    for place, row in enumerate(board.ranked):
        with np.load(out / f"{row['model']}-seed0" / "predictions.npz") as arrays:
            logits, labels = arrays["logits"].astype(np.float64), arrays["labels"]
        guess = logits.argmax(1)
        trace = charts[f"network-{place}-confusion"]["data"][0]
        assert trace["customdata"] == [[int(((labels == t) & (guess == p)).sum()) for p in range(3)] for t in range(3)]
        surest = 1 / np.exp(logits - logits.max(1, keepdims=True)).sum(1)
        wrong = sorted(np.flatnonzero(guess != labels), key=lambda i: -surest[i])
        shown = [*wrong[:12], *reversed(wrong[max(12, len(wrong) - 12) :])]
        expected += [f"{CLASSES[labels[i]]} → {CLASSES[guess[i]]}, {100 * surest[i]:.0f} %" for i in shown]
    assert captions == expected
    assert len(expected) > 24


def test_a_picture_is_in_the_page_once_and_has_nothing_but_its_pixels(compared, text, page):
    content = re.search(r'<script id="pictures" type="application/json">(.*?)</script>', text, re.S)[1]
    assert not re.search("[<>&]", content)
    pictures = json.loads(content)
    numbers = {int(number) for _, number in page.having("data-picture")}
    cells = [shown for network in pictures["cells"].values() for cell in network.values() for shown in cell]
    assert numbers | {number for number, _ in cells} == set(range(len(pictures["pictures"])))
    names = [picture["name"] for picture in pictures["pictures"]]
    assert len(names) == len(set(names)) <= 30
    for picture in pictures["pictures"]:
        with Image.open(io.BytesIO(base64.b64decode(picture["uri"].partition(",")[2]))) as small:
            assert small.format == "WEBP"
            assert small.size == (32, 32)
            assert not {"exif", "xmp", "icc_profile", "comment"} & set(small.info)
            shown = np.asarray(small.convert("RGB"))
        number, name = re.fullmatch(r"class (\d)/(<b onclick=alert\(1\)>'\"&\d+\.png)", picture["name"]).groups()
        with Image.open(compared[0].parent / "photos" / f"class {number}" / name) as original:
            assert np.array_equal(shown, np.asarray(original)), "what is as small as this is kept to the bit"


def test_a_page_has_no_more_pictures_than_its_budget(compared):
    root = compared[0]
    data = replace(podium.load_data(root.parent / "photos", val=0.5), classes=CLASSES)
    shown = [Shown(RunFolder(root / f"{name}-seed0")) for name in NETWORKS[:2]]
    gallery = Gallery(data, budget=20_000)
    mistakes = [each.mistakes(gallery) for each in shown]
    fill_cells(shown, gallery)
    sizes = [len(picture["uri"]) for picture in gallery.pictures]
    assert sum(sizes[:-1]) < 20_000 <= sum(sizes)
    assert mistakes[0][0][0]["picture"] == 0, "the worst mistake of the first network comes first"
    assert {entry["picture"] for pair in mistakes for end in pair for entry in end} <= {None, *range(len(sizes))}


# The ranking, on hand-made runs


@pytest.fixture
def finished(tmp_path):
    """Write a finished run of which only the numbers matter; it has its first images right, or those after `skipped`."""

    def make(model, top1, latency=None, seed=0, n=1000, loss=1.0, skipped=0):
        path = tmp_path / f"{model}-seed{seed}"
        path.mkdir()
        classes = ["a", "b"]
        result = {
            "model": model, "seed": seed, "split": "test", "n": n, "top1": top1, "top5": 1.0, "loss": loss, "ece": 0.1,
            "macro_f1": top1, "seconds": 10.0, "images_per_second": 100.0, "steps": 5, "epochs": 1.0, "params": 1000,
            "macs": 2000, "size_bytes": 4000, "classes": classes, "confusion": [[1, 0], [0, 1]], "calibration": [],
            "per_class": [{"class": c, "n": 1, "precision": 1.0, "recall": 1.0, "f1": 1.0} for c in classes],
        }  # fmt: skip
        (path / "result.json").write_text(json.dumps(result))
        (path / "log.jsonl").write_text("")
        labels = np.arange(n) % 2
        right = np.roll(np.arange(n) < round(n * top1), skipped)
        np.savez(path / "predictions.npz", logits=np.eye(2)[np.where(right, labels, 1 - labels)] / loss, labels=labels)
        if latency is not None:
            (path / "speed.json").write_text(json.dumps(timed(latency)))
        return path

    return make


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ({"a": (0.9, 1.0)}, "a"),
        ({"fast": (0.7, 1.0), "between": (0.8, 2.0), "right": (0.9, 3.0)}, "fast between right"),
        ({"best": (0.9, 1.0), "slower": (0.9, 2.0), "worse": (0.8, 1.0), "both": (0.8, 2.0)}, "best"),
        ({"a": (0.9, 1.0), "twin": (0.9, 1.0)}, "a twin"),
        ({"a": (0.5, 1.0), "dip": (0.4, 2.0), "b": (0.6, 3.0), "far": (0.6, 4.0)}, "a b"),
        ({"a": (0.5, 1.0), "untimed": (0.9, None)}, "a"),
    ],
)
def test_the_pareto_front(finished, points, front):
    trials = [finished(model, *point) for model, point in points.items()]
    board = Leaderboard.read(trials)
    assert {row["model"] for row in board.rows if row["pareto"]} == set(front.split())
    assert [row["top1"] for row in board.rows] == sorted((top1 for top1, _ in points.values()), reverse=True)
    style = dict.fromkeys(points, ("#000000", "circle"))
    drawn = scatter(board, style, "latency_p50_ms", "latency")["data"]
    line = next(trace for trace in drawn if trace["name"] == "Pareto front")
    corners = {points[model][::-1] for model in front.split()}
    assert {(x, round(y / 100, 9)) for x, y in zip(line["x"], line["y"], strict=True)} == corners


def test_names_at_the_edges_of_a_chart_stand_inside_it():
    assert places([(0, 0.9, 0.88, 0.92, "mobilenet_v1_050"), (2, 0.9, 0.88, 0.92, "mobilenet_v1_075")]) == ["middle right", "middle left"]  # fmt: skip
    assert places([]) == []


def test_many_classes_leave_room_for_the_matrix():
    names = [f"species {k} with a name that is long" for k in range(120)]
    drawn = confusion({"classes": names, "confusion": np.eye(120, dtype=int).tolist()})
    assert drawn["data"][0]["x"] == names, "what the pointer shows is the whole name"
    assert drawn["data"][0]["xgap"] == drawn["data"][0]["ygap"] == 0, "a line as wide as a cell would hide the cell"
    for axis in (drawn["layout"]["xaxis"], drawn["layout"]["yaxis"]):
        assert axis["tickvals"] == names[::6]
        assert max(map(len, axis["ticktext"])) <= 16
    few = confusion({"classes": ["a", "b <i>"], "confusion": [[1, 0], [0, 1]]})
    assert few["layout"]["xaxis"]["ticktext"] == ["a", "b &lt;i&gt;"]


def test_equal_accuracy_is_ranked_by_loss(finished):
    board = Leaderboard.read([finished("a", 0.9), finished("b", 0.9, loss=0.5), finished("c", 0.95)])
    assert [row["model"] for row in board.rows] == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("others", "says"),
    [
        ({"b": (0.52, 5.0)}, r"Take a: no other network has learned\."),
        ({"b": (0.7, 1.0)}, r"Take a: it ranks first, and every cheaper network ranks 1 point or more below it\."),
        ({"b": (0.7, 1.0)}, r"Worse than the best, at 95 % for all at once: b \(by 20\.00 points\)\."),
        ({"b": (0.52, 1.0)}, r"Not learned: b; not clearly better than the most frequent class every time \(50\.0 %\)"),
        (
            {"b": (0.899, 1.0)},
            r"Take b: it is the cheapest that is sure to be within 1 point of the best \(at most 0\.3\d points below it, at 95 %\)\.",
        ),
        ({"b": (0.899, 1.0)}, r"Not told apart from it: b \(0\.10 points behind\)\."),
        (
            {"b": (0.893, 1.0)},
            r"Take a: it ranks first, and no cheaper network is sure to be within 1 point of the best\b",
        ),
        ({"b": (0.899, 4.1)}, r"Take a: it ranks first, and none is cheaper\."),
        (
            {"b": (0.899, 4.1), "c": (0.52, 1.0)},
            r"Take a: it ranks first, and none that has learned is cheaper\..* Not learned: c;",
        ),
    ],
)
def test_the_verdict_says_which_to_take_and_how_sure_that_is(finished, others, says):
    board = Leaderboard.read([finished("a", 0.9, 4.0)] + [finished(name, *point) for name, point in others.items()])
    assert "By top-1 on 1,000 test images, a is first with 90.00 %." in board.verdict()
    assert re.search(says, board.verdict())
    assert Leaderboard([]).verdict() == "No network finished."


def test_the_verdict_says_which_networks_failed(finished):
    board = Leaderboard.read([finished("a", 0.9), finished("b", 0.8)], {"zfnet": "takes no images of 8 px"})
    assert "Failed, so not in this verdict: zfnet; the leaderboard says why." in board.sentences()


def test_seeds_that_differ_hide_a_cheaper_network_that_no_images_would_show(finished):
    """Means of 90.0 and 89.6 %, of seeds that are up to 8 points apart."""
    runs = {"a": (0.94, 0.90, 0.86), "b": (0.936, 0.896, 0.856)}
    paths = [
        finished(name, top1, 4.0 - (name == "b"), seed=s) for name, of in runs.items() for s, top1 in enumerate(of)
    ]
    said = Leaderboard.read(paths).verdict()
    assert "Take a: it ranks first" in said
    assert "more seeds would show whether b is (--seeds)" in said
    assert "that is their mean, and a-seed0 is the run to take; these images chose the network too" in said


@pytest.mark.parametrize(
    ("skipped", "lost", "won", "apart"),
    [(0, 15, 0, True), (100, 100, 85, False)],  # 90 and 88.5 %: their own intervals overlap either way
)
def test_networks_are_told_apart_by_the_images_that_one_of_them_has_right(finished, skipped, lost, won, apart):
    board = Leaderboard.read([finished("a", 0.9), finished("b", 0.885, skipped=skipped)])
    a, b = board.ranked
    assert board.interval(b)[1] > board.interval(a)[0]
    assert a["behind"] == 0
    assert b["behind"] == pytest.approx((lost - won) / 1000)
    spread = (lost + won - (lost - won) ** 2 / 1000) / 1000  # of the differences between the images
    assert b["behind_at_most"] - b["behind"] == pytest.approx(1.645 * (spread / 1000) ** 0.5, rel=0.06)
    assert b["worse"] == ("Worse than the best" in board.verdict()) == apart
    assert (stats.binomtest(won, lost + won).pvalue < 0.05) == apart  # the exact test says so too


@pytest.mark.parametrize("lost", range(1, 12))
def test_few_images_tell_no_more_apart_than_the_exact_test_would(finished, lost):
    board = Leaderboard.read([finished("a", 0.9), finished("b", 0.9 - lost / 1000)])
    apart = board.ranked[1]["worse"]
    assert apart <= (stats.binomtest(0, lost).pvalue < 0.07)
    assert apart >= (stats.binomtest(0, lost).pvalue < 0.05)


def test_over_seeds_networks_are_told_apart_by_their_spread(finished):
    runs = {"a": (0.90, 0.91, 0.92), "b": (0.87, 0.88, 0.89), "c": (0.895, 0.905, 0.915)}
    board = Leaderboard.read([finished(name, top1, seed=s) for name, of in runs.items() for s, top1 in enumerate(of)])
    a, c, b = board.ranked
    assert c["behind"] == pytest.approx(0.005)
    assert (b["behind"], a["behind"]) == (pytest.approx(0.03), 0)
    # All three vary by 0.01 from seed to seed; of six degrees of freedom Dunnett's one-sided t for two networks is 2.34.
    of_seeds = 2.34 * 0.01 * (2 / 3) ** 0.5
    assert of_seeds < b["behind_at_most"] - b["behind"] < 1.2 * of_seeds
    assert "Not told apart from it: c (0.50 points behind)" in board.verdict()
    assert "its 3 seeds have 91.00 % top-1" in board.verdict()


def test_predictions_that_are_gone_or_damaged_are_named(finished):
    runs = [finished("a", 0.9), finished("b", 0.8)]
    (runs[0] / "predictions.npz").write_bytes((runs[0] / "predictions.npz").read_bytes()[:100])
    with pytest.raises(ModelFileError, match=r"a-seed0.predictions\.npz: damaged"):
        Leaderboard.read(runs)
    (runs[0] / "predictions.npz").unlink()
    with pytest.raises(ModelFileError, match=r"a-seed0.predictions\.npz: no such file"):
        Leaderboard.read(runs)


def test_a_damaged_result_is_named(finished):
    path = finished("a", 0.9)
    (path / "result.json").write_text('{"model": "a"')
    with pytest.raises(ModelFileError, match=r"a-seed0/result\.json: damaged"):
        Leaderboard.read([path])


# Saved and printed


def test_no_cell_of_the_csv_is_a_formula(finished, tmp_path):
    names = ["=cmd|'/C calc'!A0", "+1", "-1", "@SUM(1)", 'a,b\n"c"']
    board = Leaderboard.read([finished("plain", 0.5)], dict.fromkeys(names, "=why"))
    board.to_csv(tmp_path / "board.csv")
    with (tmp_path / "board.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["plain", *(f"'{name}" for name in names[:4]), names[4]]
    assert {row["error"] for row in rows} == {"", "'=why"}


@pytest.mark.parametrize("width", [200, 80, 60, 40])
def test_a_narrow_screen_cuts_no_number(compared, capsys, monkeypatch, width):
    _, board = compared
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    board.table()
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert "…" not in shown
    assert all(len(line) <= width for line in shown.splitlines())
    assert ("ECE" in shown) == (width == 200)
    for row in board.ranked:
        assert re.search(
            rf"^[> ]*{row['model']} +{100 * row['top1']:.2f} .*{row['latency_p50_ms']:.2f}\*? ", shown, re.M
        )
    assert re.search(r"^ *alexnet +failed *$", shown, re.M)
