"""What a person sees in a notebook: bars, and objects as a cell shows them."""

import re
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

import podium
from command import inside, one_error
from podium import bars
from podium.comparison.rows import LinearProbeOnly
from podium.data.dataset import Dataset, Split
from podium.data.images import ArrayImages
from podium.runs.folder import RunFolder


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebook") / "compared"
    return podium.compare(["lenet5", "lenet5_modern"], "digits", folder, epochs=2, progress=False)


def toy(names=("cat", "dog"), side=16, each=4):
    pixels = np.random.default_rng(0).integers(0, 256, (each * len(names), side, side, 3), np.uint8)
    split = Split(np.repeat(np.arange(len(names)), each), ArrayImages(pixels))
    return Dataset("pets", tuple(names), {"train": split}, 3, side, None, (0.5,) * 3, (0.2,) * 3)


# Bars


def test_nothing_is_shown_where_nobody_watches(compared, capsys):
    podium.evaluate(compared.best, "digits", limit=20) if compared.best else None
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_a_notebook_shows_a_bar_and_a_line_an_epoch(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bars, "in_notebook", lambda: True)
    podium.train("lenet5_modern", "digits", tmp_path / "run", epochs=2)
    shown = capsys.readouterr()
    said = shown.out + shown.err
    assert re.search(r"epoch +1 +loss", said)
    assert re.search(r"epoch +2 +loss", said)
    assert re.search(r"training: +100%.* \d+/\d+ .*loss=\d", said)


def test_a_bar_shows_no_loss_of_another_run(capsys):
    with bars._notebook_bar() as show:
        show(1, 3, "first", loss=0.125)
        show(0, 9, "second timing 1 image")
    shown = capsys.readouterr().out
    assert "loss=0.1250" in shown
    assert "loss" not in shown[shown.index("second timing") :]


def test_a_check_is_one_line_in_a_console_and_a_table_in_a_cell(tmp_path):
    for label, level in (("<a>", 0), ("b", 99)):
        (tmp_path / label).mkdir()
        Image.new("RGB", (8, 8), (level, 0, 0)).save(tmp_path / label / "0.png")
    (tmp_path / "b" / "0.jpg").write_bytes(b"")
    report = podium.check(tmp_path)
    assert repr(report).startswith(f"<CheckReport {tmp_path}: 3 images of 2 classes; ")
    assert "\n" not in repr(report)
    assert "zero-byte" in report.summary
    page = ET.fromstring(f"<div>{report._repr_html_()}</div>")
    cells = [cell.text for cell in page.iter("td")]
    assert str(tmp_path / "b" / "0.jpg") in cells
    assert "&lt;a&gt;" in report._repr_html_()


def test_false_shows_nothing_in_a_notebook_either(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bars, "in_notebook", lambda: True)
    podium.train("lenet5_modern", "digits", tmp_path / "run", steps=2, progress=False)
    shown = capsys.readouterr()
    assert shown.out + shown.err == ""


def test_a_function_of_ones_own_is_called_instead(tmp_path, monkeypatch):
    monkeypatch.setattr(bars, "in_notebook", lambda: True)
    steps = []
    podium.train("lenet5_modern", "digits", tmp_path / "run", steps=3, progress=lambda *step: steps.append(step[:2]))
    assert (3, 3) in steps


def test_a_comparison_names_the_network_at_its_bar(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bars, "in_notebook", lambda: True)
    podium.compare(["lenet5", "lenet5_modern"], "digits", tmp_path / "all", steps=2)
    shown = capsys.readouterr()
    assert "1/2 lenet5 seed 0" in shown.out + shown.err
    assert "2/2 lenet5_modern seed 0" in shown.out + shown.err


def test_a_notebook_shows_downloads_and_features_too(monkeypatch, capsys):
    monkeypatch.setattr(bars, "in_notebook", lambda: True)
    with bars.comparison_progress(None) as progress:
        progress(0, 2, "resnet18", 0, 5_000_000, 0, {"downloading": "torchvision:resnet18"})  # of unknown length
        progress(0, 2, "resnet18", 0, 46_830_571, 46_830_571, {"downloading": "torchvision:resnet18"})
        progress(1, 2, "resnet50", 0, 24, 24, {"features": True})
    shown = capsys.readouterr().out
    assert "downloading torchvision:resnet18, MB" in shown
    assert "2/2 resnet50 seed 0  features" in shown
    assert "24/24" in shown


def test_the_shell_of_a_notebook_is_told_from_others(monkeypatch):
    assert not bars.in_notebook()
    for name, expected in (("ZMQInteractiveShell", True), ("TerminalInteractiveShell", False)):
        shell = type(name, (), {})()
        monkeypatch.setitem(
            sys.modules, "IPython", type("IPython", (), {"get_ipython": staticmethod(lambda s=shell: s)})
        )
        assert bars.in_notebook() is expected


# Objects


def whole(text):
    """HTML that is well-formed, as an element."""
    return ET.fromstring(f"<div>{text}</div>")


def test_a_data_set_shows_classes_counts_and_six_pictures():
    data = toy()
    assert repr(data) == "<Dataset pets: 8 train images of 2 classes (cat, dog), colour>"
    page = whole(data._repr_html_())
    rows = [[cell.text for cell in row] for row in page.iter("tr")]
    assert rows == [["class", "train"], ["cat", "4"], ["dog", "4"]]
    assert [caption.text for caption in page.iter("figcaption")] == ["cat", "dog"] * 3


def test_names_are_no_markup():
    data = toy(names=("<script>alert(1)</script>", "a & b"))
    text = data._repr_html_()
    assert "<script>" not in text
    assert [caption.text for caption in whole(text).iter("figcaption")][:2] == list(data.classes)


def test_of_many_classes_the_first_twenty_are_shown():
    page = whole(toy(names=[f"class {i}" for i in range(300)], each=1)._repr_html_())
    assert len(list(page.iter("tr"))) == 22  # the heading, twenty classes, and the sign that there are more


def test_a_run_shows_its_scores_and_its_curve(compared):
    run = next(iter(compared.runs.values()))
    result = run.result
    assert repr(run) == f"<Run {run.path}: {result['model']}, test top-1 {100 * result['top1']:.2f} % after 2 epochs>"
    page = whole(run._repr_html_())
    assert ["top-1", f"{result['top1']:.4f}"] in [[cell.text for cell in row] for row in page.iter("tr")]
    (line,) = page.iter("polyline")
    heights = [float(point.split(",")[1]) for point in line.get("points").split()]
    top1 = [row["top1"] for row in run.epochs]
    assert np.argsort(heights).tolist() == np.argsort(top1)[::-1].tolist()


def test_a_folder_without_a_run_says_so(tmp_path):
    assert repr(RunFolder(tmp_path)) == f"<Run {tmp_path}: not begun>"
    assert "not begun" in RunFolder(tmp_path)._repr_html_()


def test_a_leaderboard_shows_the_verdict_and_the_table(compared):
    assert compared.verdict() in repr(compared)
    page = whole(compared._repr_html_())
    rows = [[cell.text for cell in row] for row in page.iter("tr")]
    assert rows[0][0] == "model"
    assert {row[0] for row in rows[1:]} == {"lenet5", "lenet5_modern"}
    assert next(page.iter("p")).text == compared.verdict()


def test_a_leaderboard_shows_the_networks_that_were_not_trained():
    tried = LinearProbeOnly("resnet18", "ImageNet (torchvision:resnet18)", 0.8125, 400)
    page = whole(podium.Leaderboard([], untrained=[tried], linear_probe_images=400)._repr_html_())
    rows = [[cell.text or "" for cell in row] for row in page.iter("tr")]
    shown = dict(zip(rows[0], rows[1], strict=True))
    assert (shown["model"], shown["start"]) == ("resnet18", "torchvision:resnet18")
    assert (shown["probe %"], shown["top-1 %"]) == ("81.2", "not trained")


# podium help


def test_help_of_a_verb_is_that_of_its_flag():
    assert inside("help", "train").stdout == inside("train", "--help").stdout
    assert inside("help").stdout == inside("--help").stdout


def test_help_of_no_verb_names_the_closest():
    one_error(inside("help", "trian"), 2, "no verb is called 'trian'", "train")


@pytest.mark.parametrize("jedi", [True, False])
@pytest.mark.parametrize(
    ("typed", "completed"),
    [("podium.train('lenet5', 'x', 'y', epo", "epochs="), ("podium.load_data('x', image_c", "image_column=")],
)
def test_a_notebook_completes_settings(jedi, typed, completed):
    from IPython.core.completer import IPCompleter, provisionalcompleter
    from IPython.core.interactiveshell import InteractiveShell

    with provisionalcompleter():
        asked = IPCompleter(shell=InteractiveShell(), namespace={"podium": podium}, use_jedi=jedi)
        assert completed in [found.text for found in asked.completions(typed, len(typed))]
