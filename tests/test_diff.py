"""Two networks on the same images: the counts, the test and the intervals are right, and the page shows what they differ on."""

import re
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import binom, norm
from sklearn.metrics import f1_score, log_loss

import podium as library
from podium.comparison.answered import Answered, Labelled, refuse_other_classes, shared_images
from podium.comparison.class_recall import class_recalls, recalls_beside
from podium.comparison.disagreement import Disagreement
from podium.data.preprocessing import Preprocessing
from podium.data.record import read_record
from podium.errors import DataError
from podium.runs import bundle
from podium.runs.folder import RunFolder

CLASSES = ("circle", "line", "square")
SHORT = {"image_size": 32, "epochs": 3, "batch_size": 8, "flip": False}
SEEN = Preprocessing(image_size=32, channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)


def answered(labels, answers, model="lenet5", classes=CLASSES, groups=None, **more):
    """A network that gives these answers, each with the logit 1."""
    logits = np.eye(len(classes), dtype=np.float32)[answers]
    keys = np.arange(len(labels), dtype=np.uint64)
    groups = None if groups is None else np.asarray(groups, np.uint64)
    return Answered(model, "", "test", classes, logits, np.asarray(labels), keys, SEEN, groups, **more)


def right_on(first, second, groups=None):
    """Two networks on images of one class, of which each has these right."""
    labels = np.zeros(len(first), int)
    one, two = (np.where(right, 0, 1) for right in (first, second))
    return Disagreement(answered(labels, one, groups=groups), answered(labels, two, "resnet20", groups=groups))


def counts(both, first, second, neither):
    """Which images each of two networks has right, by how many there are of each kind."""
    return (np.repeat([1, 1, 0, 0], (both, first, second, neither)) == 1), (
        np.repeat([1, 0, 1, 0], (both, first, second, neither)) == 1
    )


# The numbers


def test_the_test_is_mcnemars_exact_one():
    found = right_on(*counts(60, 5, 15, 20))
    assert found.table == {"both": 60, "first": 5, "second": 15, "neither": 20}
    assert found.p_value == pytest.approx(2 * binom.cdf(5, 20, 0.5))
    assert found.top1.difference == pytest.approx(0.1)
    assert found.top1.low < 0.1 < found.top1.high
    assert found.better == 1
    assert right_on(*counts(60, 15, 5, 20)).better == 0
    assert right_on(*counts(60, 10, 10, 20)).p_value == 1
    assert right_on(*counts(80, 0, 0, 20)).p_value == 1
    assert right_on(*counts(60, 7, 13, 20)).better is None


def test_images_of_a_group_are_exchanged_together():
    first, second = counts(8, 2, 8, 2)
    alone = right_on(first, second, np.arange(20))
    assert alone.p_value == pytest.approx(right_on(first, second).p_value)
    doubled = right_on(np.repeat(first, 2), np.repeat(second, 2), np.repeat(np.arange(20), 2))
    assert doubled.p_value == pytest.approx(alone.p_value)
    assert right_on(first, second, np.zeros(20)).p_value == 1  # one patient says nothing of others


def test_scores_are_those_of_other_libraries_and_their_intervals_those_of_a_bootstrap():
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, 600)
    logits = [draw.normal(size=(600, 3)) + strength * np.eye(3)[labels] for strength in (1.0, 1.5)]
    base = answered(labels, labels)
    pair = [Answered("n", "", "test", CLASSES, each, labels, base.keys, SEEN) for each in logits]
    _, f1, loss = Disagreement(*pair).scores
    shares = [np.exp(each) / np.exp(each).sum(1, keepdims=True) for each in logits]
    assert (f1.first, f1.second) == pytest.approx([f1_score(labels, e.argmax(1), average="macro") for e in logits])
    assert (loss.first, loss.second) == pytest.approx([log_loss(labels, each) for each in shares])
    again = []
    for _ in range(150):
        rows = draw.integers(0, 600, 600)
        scored = [f1_score(labels[rows], each[rows].argmax(1), average="macro") for each in logits]
        again.append(scored[1] - scored[0])
    assert f1.high - f1.low == pytest.approx(2 * 1.96 * np.std(again), rel=0.2)


def score_limit(won, lost, n, z):
    """The largest difference that a score test with the multinomial's likelihood does not reject, by numerical maximisation."""

    def excess(supposed):
        def unlikely(share):  # of images that are lost; of those that are won it is larger by the difference
            rest = 1 - 2 * share - supposed
            return -(won * np.log(share + supposed) + lost * np.log(share) + (n - won - lost) * np.log(rest))

        tiny = 1e-9
        bounds = max(0, -supposed) + tiny, (1 - supposed) / 2 - tiny
        share = minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        return (won - lost - n * supposed) / np.sqrt(n * (2 * share + supposed - supposed**2)) + z

    return brentq(excess, (won - lost) / n + 1e-6, 0.999)


@pytest.mark.parametrize(("won", "lost", "n"), [(9, 3, 40), (3, 9, 40), (1, 0, 25), (20, 14, 300)])
def test_the_interval_of_a_class_is_the_score_interval_at_the_corrected_level(won, lost, n):
    first, second = counts(n - won - lost, lost, won, 0)
    other = np.ones(10, bool)  # a second class, on which both are right
    labels = np.repeat([0, 1], [n, 10])
    right = np.concatenate([first, other]), np.concatenate([second, other])
    one, two = class_recalls(right, labels, CLASSES)
    z = norm.ppf(1 - (1 - 0.95**0.5) / 2)
    assert one.high == pytest.approx(score_limit(won, lost, n, z), abs=1e-4)
    assert one.low == pytest.approx(-score_limit(lost, won, n, z), abs=1e-4)
    assert two.high == pytest.approx(z**2 / (10 + z**2))  # as Wilson's interval where nothing differs
    assert (one.first, one.second) == ((n - won) / n, (n - lost) / n)


def test_of_equal_networks_a_class_is_called_different_in_one_study_of_twenty_at_most():
    draw, called = np.random.default_rng(1), 0
    labels, classes = np.repeat(np.arange(10), 50), [str(n) for n in range(10)]
    for _ in range(300):
        kind = draw.choice(4, 500, p=(0.7, 0.1, 0.1, 0.1))  # both, first, second, neither
        rows = class_recalls((kind <= 1, (kind == 0) | (kind == 2)), labels, classes)
        called += any(row.clear for row in rows)
    assert called <= binom.ppf(0.999, 300, 0.05)


def test_few_groups_tell_less_of_a_class_and_one_tells_nothing():
    first, second = counts(20, 0, 20, 0)
    labels = np.zeros(40, int)

    def width(groups):
        (row,) = class_recalls((first, second), labels, CLASSES, groups)
        return row.high - row.low

    assert width(None) < width(np.arange(40) // 10) <= width(np.zeros(40)) == 2


def test_a_report_compares_classes_for_all_networks_at_once(tmp_path, monkeypatch):
    labels, classes = np.repeat([0, 1], 40), ["x", "y"]
    answers = {"a": np.repeat([0, 1], 40), "b": np.repeat([0, 1, 0], [30, 20, 30]), "c": 1 - labels}
    for name, given in answers.items():
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "predictions.npz", logits=np.eye(2)[given], labels=labels)
        (tmp_path / name / "result.json").write_text('{"classes": ["x", "y"]}')
    runs = {name: RunFolder(tmp_path / name) for name in answers}
    found = recalls_beside(runs, "a")
    assert {name: [row.difference for row in rows.values()] for name, rows in found.items()} == {
        "b": [-0.25, -0.75],
        "c": [-1, -1],
    }
    z = norm.ppf(1 - (1 - 0.95 ** (1 / 4)) / 2)  # two classes, two networks beside the first
    assert found["b"]["x"].low == pytest.approx(-score_limit(10, 0, 40, z), abs=1e-4)
    assert class_recalls((labels == answers["a"], labels == answers["b"]), labels, classes)[0].low > found["b"]["x"].low
    assert recalls_beside({"a": runs["a"]}, "a") == {}
    monkeypatch.setattr("podium.comparison.class_recall.MOST", 1)
    assert recalls_beside(runs, "a") == {}


# Which images


def test_images_are_matched_by_content_and_class_and_copies_one_by_one():
    one = Labelled("a", "test", np.array([5, 7, 7, 9, 11], np.uint64), ["x", "y", "y", "x", "x"])
    two = Labelled("b", "val", np.array([11, 7, 3, 9, 5, 7], np.uint64), ["x", "y", "x", "y", "x", "y"])
    shared = shared_images(one, two)
    assert shared.rows[0].tolist() == [0, 1, 2, 4]
    assert shared.rows[1].tolist() == [4, 1, 5, 0]
    assert "1 of the 5 test images of a and 2 of the 6 val images of b are left out" in shared.notes[0]
    assert "1 of the images left out are in the data of both, in different classes" in shared.notes[1]
    with pytest.raises(DataError, match="none of the 5 test images of a is among the 1 val images of b"):
        shared_images(one, Labelled("b", "val", np.array([1], np.uint64), ["x"]))


def test_classes_in_another_order_are_matched_by_name_and_other_classes_refused():
    one = answered([0, 1, 2], [0, 2, 2])
    other = answered([2, 1, 0], [2, 1, 1], "resnet20", ("square", "line", "circle"))
    same = other.in_order_of(CLASSES)
    assert same.labels.tolist() == [0, 1, 2]
    assert same.answers.tolist() == [0, 1, 1]
    assert Disagreement(one, same).table == {"both": 1, "first": 1, "second": 1, "neither": 0}
    refuse_other_classes(("a", "b"), CLASSES, CLASSES[::-1])
    with pytest.raises(DataError) as refused:
        refuse_other_classes(("a", "b"), CLASSES, ("circle", "line", "oval"))
    assert refused.value.what == "the classes differ: only a knows square; only b knows oval"


# As a person meets it


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Sixty photos, and three runs: two on the same split, one on another."""
    root, draw = tmp_path_factory.mktemp("diff"), np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        for number in range(20):
            path = root / "photos" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = draw.integers(0, 160, (32, 32, 3), np.uint8)
            pixels[..., label] += 60
            Image.fromarray(pixels).save(path)
    library.train("lenet5_modern", root / "photos", root / "a", val=0.5, **SHORT)
    library.train("lenet5_modern", root / "photos", root / "b", val=0.5, seed=1, split_seed=0, **SHORT)
    library.train("lenet5", root / "photos", root / "c", val=0.5, seed=2, **SHORT)
    return root


def test_two_runs_on_the_same_images_by_their_recorded_answers(podium, place):
    said = podium("diff", place / "a", place / "b", "--json").json
    (logits, labels), (others, same) = (RunFolder(place / name).predictions for name in "ab")
    assert (labels == same).all()
    one, two = logits.argmax(1) == labels, others.argmax(1) == labels
    assert said["n"] == len(labels) == 30
    assert said["only_first_right"] == (one & ~two).sum()
    assert said["both_right"] == (one & two).sum()
    assert said["top1"]["first"] == pytest.approx(one.mean())
    assert said["top1"]["difference"] == pytest.approx(two.mean() - one.mean())
    assert said["loss"]["first"] == pytest.approx(RunFolder(place / "a").result["loss"])
    assert said["macro_f1"]["second"] == pytest.approx(RunFolder(place / "b").result["macro_f1"])
    assert [row["class"] for row in said["per_class"]] == list(CLASSES)
    assert said["first"]["name"], said["second"]["name"] == ("lenet5_modern (a)", "lenet5_modern (b)")
    differing = {f"{CLASSES[label]}": 0 for label in range(3)}
    for image in said["disagreements"]:
        assert re.fullmatch(rf"{image['class']}/\d+\.png", image["image"])
        assert image["first"] != image["second"]
        differing[image["class"]] += 1
    assert sum(differing.values()) == (logits.argmax(1) != others.argmax(1)).sum()


def test_runs_with_other_splits_are_compared_on_images_that_neither_learned_from(podium, place):
    said = podium("diff", place / "a", place / "c", "--json").json
    records = [read_record(place / name) for name in "ac"]
    held = set(records[0].held.tolist()) & set(records[1].held.tolist())
    assert said["n"] == len(held) < 30
    assert f"{30 - len(held)} of the 30 val images of lenet5_modern" in said["notes"][0]


def test_data_that_is_given_is_evaluated_with_the_same_answers(podium, place):
    recorded = podium("diff", place / "a", place / "c", "--json").json
    now = podium("diff", place / "a", place / "c", place / "photos", "--json").json
    for key in ("n", "both_right", "only_first_right", "only_second_right", "top1"):
        assert now[key] == pytest.approx(recorded[key])
    assert [row["image"] for row in now["disagreements"]] == [row["image"] for row in recorded["disagreements"]]


def test_the_page_works_offline_shows_the_pictures_and_names_no_folder_of_this_machine(podium, place, tmp_path):
    said = podium("diff", place / "a", place / "b", "-o", "diff.html")
    assert said.code == 0, said.err
    assert "written: diff.html" in said.out
    page, counted = (tmp_path / "diff.html").read_text(), podium("diff", place / "a", place / "b", "--json").json
    assert page.count("data:image/jpeg;base64,") == len(counted["disagreements"]) > 0
    assert "http:" not in page
    assert "https:" not in page
    assert str(place) not in page
    assert counted["verdict"].split(" on ")[0] in page
    assert "hold with 95 % for all classes at once" in page
    assert podium("diff", place / "a", place / "b", "-o", "diff.html").code == 0  # its own page is written over


def test_hostile_names_are_text_on_the_page(tmp_path):
    classes = ("</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "items")
    pair = [answered([0, 1, 2], given, name, classes) for given, name in (([0, 2, 1], "<b>a</b>"), ([1, 1, 1], "b"))]
    page = Disagreement(*pair).save(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "<b>a</b>" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert page.count(">no picture<") == 2


def test_one_network_twice_is_said_to_be_one(podium, place):
    said = podium("diff", place / "a", place / "a", "--json").json
    assert said["same_network"]
    assert said["only_first_right"] == said["only_second_right"] == 0
    assert said["verdict"].endswith("are the same network: their weights have the same digest.")


def test_an_exported_file_is_compared_with_its_run_on_the_images_of_the_run(podium, place, tmp_path):
    pytest.importorskip("onnxruntime")
    library.export(place / "a", tmp_path / "a.onnx")
    said = podium("diff", place / "a", "a.onnx", "--json").json
    assert said["n"] == 30
    assert not said["same_network"]
    assert "give the same answer to every one of 30 images" in said["verdict"]
    assert not any("not on record" in note for note in said["notes"])


def test_photos_that_are_gone_leave_the_numbers_and_are_said(podium, place, tmp_path):
    for name in "ab":
        shutil.copytree(place / name, tmp_path / name)
        settings = tmp_path / name / "settings.yaml"
        settings.write_text(settings.read_text().replace(str(place / "photos"), str(tmp_path / "gone")))
    said = podium("diff", "a", "b", "-o", "diff.html", "--json").json
    assert said["n"] == 30
    assert "no pictures are shown, since the data of the runs are not there" in said["notes"][-1]
    assert all(row["image"] is None for row in said["disagreements"])


def test_what_cannot_be_compared_is_refused(podium, place, tmp_path):
    podium("diff", place / "a", place / "none").refused(4, "no such file or folder")
    (tmp_path / "mine.html").write_text("<p>mine")
    podium("diff", place / "a", place / "b", "-o", "mine.html").refused(2, "another file is there already")
    podium("diff", place / "a", place / "b", "-o", "mine.txt").refused(2, "ends in .html")
    podium("diff", place / "a", place / "b", "--class-from", "(a)").refused(
        2, "--class-from does nothing here", "give DATA"
    )
    for name in ("model.safetensors", "card.json"):  # bundles alone
        for run in "ab":
            (tmp_path / run).mkdir(exist_ok=True)
            shutil.copy(place / run / name, tmp_path / run)
    podium("diff", "a", "b").refused(2, "neither of the two says which images", "podium diff RUN RUN photos/")


def test_other_classes_are_refused_by_name(podium, place, tmp_path):
    for name in CLASSES[:2]:
        shutil.copytree(place / "photos" / name, tmp_path / "two" / name)
    library.train("lenet5_modern", tmp_path / "two", tmp_path / "run", **SHORT)
    podium("diff", place / "a", "run").refused(3, "only lenet5_modern (a) knows square", "the same classes")


@pytest.mark.slow
def test_the_pooled_answers_of_a_cross_validation_count_as_a_network(podium, place, tmp_path):
    library.compare(["lenet5_modern", "lenet5"], place / "photos", tmp_path / "cv", folds=2, **SHORT)
    said = podium("diff", "cv/lenet5_modern-seed0", "cv/lenet5-seed0", "--json").json
    assert said["n"] == 60
    assert {row["image"] for row in said["disagreements"]} <= {f"{c}/{n}.png" for c in CLASSES for n in range(20)}
    assert "these folds" in said["verdict"]
    podium("diff", "cv/lenet5-seed0", place / "a", place / "photos").refused(2, "pooled answers", "fold1")


def test_in_python_with_networks_that_are_open(place, tmp_path):
    found = library.diff(bundle.load(place / "a"), bundle.load(place / "b"), place / "photos", progress=False)
    assert found.n == 30
    assert found.save(tmp_path / "page.html").is_file()
    assert "right" in found._repr_html_()
    assert "Disagreement of lenet5_modern (a) and lenet5_modern (b) on 30 val images" in repr(found)
