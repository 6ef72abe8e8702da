"""Figures for papers: the numbers of the page, as vector files that are the same each time, and nothing of a person's is lost."""

import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from command import inside
from podium.comparison.report.charts import PALETTE
from podium.comparison.report.figures import FORMATS, check_figures, write_figures
from podium.errors import MachineError, UsageError

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def drawn(comparison, tmp_path_factory):
    """The figures of a finished comparison, and the charts of its page."""
    place = tmp_path_factory.mktemp("figures")
    folder = place / "paper" / "figures"
    own = Path(shutil.copytree(comparison, place / "board"))
    command = ("compare", "digits", "-m", "lenet5_modern,lenet5", "--epochs", "1", "-o", own)
    before = {path: path.stat().st_mtime_ns for path in own.glob("*/model.safetensors")}
    done = inside(*command, "--figures", folder)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before, "nothing is trained again"
    text = (own / "report.html").read_text(encoding="utf-8")
    charts = re.search(r'<script id="charts" type="application/json">(.*?)</script>', text, re.S)[1]
    return folder, json.loads(charts), own


def test_there_is_a_file_of_each_chart_in_both_formats(drawn):
    folder, _, _ = drawn
    names = {"learning-top1", "learning-loss", "accuracy-latency", "accuracy-macs"}
    for kind in ("confusion", "reliability", "risk-coverage"):
        names |= {f"{kind}-{model}" for model in ("lenet5", "lenet5_modern")}
    assert {path.name for path in folder.iterdir()} == {f"{name}.{kind}" for name in names for kind in FORMATS}


def test_vector_files_have_no_picture_no_date_and_their_fonts(drawn):
    for path in drawn[0].iterdir():
        content = path.read_bytes()
        if path.suffix == ".svg":
            root = ElementTree.fromstring(content)
            assert not [each for each in root.iter() if each.tag.endswith("}image")]
            assert not re.search(rb"<dc:date>|<script", content)
            width = float(root.get("width").removesuffix("pt")) / 72
            assert width < 3.5, "a column"
        else:
            assert content.startswith(b"%PDF")
            assert b"/CreationDate" not in content
            assert b"/FontFile2" in content
            assert b"/Type3" not in content


def test_the_same_charts_give_the_same_bytes(drawn, tmp_path):
    folder, charts, _ = drawn
    again = tmp_path / "again"
    again.mkdir()
    chosen = {name: charts[name] for name in ("macs", "curves-loss", "network-0-confusion")}
    for figure in write_figures(again, chosen, {"network-0": _model(charts, 0)}):
        for kind in FORMATS:
            name = figure.path.with_suffix(f".{kind}").name
            assert (again / name).read_bytes() == (folder / name).read_bytes(), name


def _model(charts, place):
    """The network of a place: the one whose points have its colour, in the order of the board."""
    colour = PALETTE[place]
    return next(trace["name"] for trace in charts["macs"]["data"][1:] if trace["marker"]["color"] == colour)


def test_figures_show_the_numbers_of_the_page(drawn):
    from podium.comparison.report import figure_kinds as kinds

    _, charts, _ = drawn
    axes = kinds.curves(charts["curves-top1"]).axes[0]
    assert [line.get_ydata().tolist() for line in axes.lines] == [t["y"] for t in charts["curves-top1"]["data"]]
    axes = kinds.confusion(charts["network-0-confusion"]).axes[0]
    counts = [count for row in charts["network-0-confusion"]["data"][0]["customdata"] for count in row if count]
    assert [int(text.get_text()) for text in axes.texts] == counts
    axes = kinds.accuracy(charts["macs"]).axes[0]
    assert sorted(text.get_text() for text in axes.texts) == ["lenet5", "lenet5_modern"]


def test_the_markdown_report_shows_those_of_the_recommended_network(drawn):
    folder, _, comparison = drawn
    text = (comparison / "report.md").read_text(encoding="utf-8")
    links = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert len(links) == 7
    for link in links:
        assert (comparison / link).resolve().parent == folder.resolve()
        assert (comparison / link).is_file()


def test_names_of_any_kind_are_drawn(tmp_path):
    names = ["$x^2$ & <b>", "花", "a_b|c", "x" * 80]
    cells = [[5, 0, 1, 0]] * 4
    trace = {"customdata": cells, "x": names, "y": names, "texttemplate": "%{text}"}
    layout = {"xaxis": {"title": {"text": "predicted"}}, "yaxis": {"title": {"text": "true"}}}
    chart = {"data": [trace], "layout": layout}
    (figure,) = write_figures(tmp_path, {"network-0-confusion": chart}, {"network-0": "a/b (keras:X)"})
    assert figure.path.name == "confusion-a-b-keras-X.svg"
    assert {path.name for path in tmp_path.iterdir()} == {"confusion-a-b-keras-X.svg", "confusion-a-b-keras-X.pdf"}


def test_a_foreign_file_is_never_lost(tmp_path, podium):
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper" / "accuracy-macs.pdf").write_bytes(b"mine")
    said = podium("compare", "digits", "-m", "lenet5", "--epochs", "1", "--figures", "paper")
    said.refused(2, "accuracy-macs.pdf is there already")
    assert (tmp_path / "paper" / "accuracy-macs.pdf").read_bytes() == b"mine"
    (tmp_path / "paper" / "accuracy-macs.pdf").unlink()
    (tmp_path / "paper" / "other.pdf").write_bytes(b"mine")
    check_figures(tmp_path / "paper")


def test_what_is_wrong_is_said_before_training(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        check_figures(tmp_path / "file")
    with pytest.raises(UsageError, match="file is a file"):
        check_figures(tmp_path / "file" / "figures")
    check_figures(tmp_path / "new" / "figures")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]  # a comparison may be made there
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MachineError, match="matplotlib is not installed") as error:
        check_figures(tmp_path / "new")
    assert error.value.fix == 'pip install "podium[figures]"'
