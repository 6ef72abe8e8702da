"""What is published of the networks, the tables that tell it, and the page: against the reference, the papers and each other."""

import json
import re

import pytest
from plotly.offline import get_plotlyjs

from conftest import ROOT
from golden import tables
from podium.comparison.report.charts import PROTOCOLS
from podium.comparison.report.lineage import ARTICLES, STORY, networks, percent, write_lineage
from podium.models import architecture, list_models
from podium.models.published import _PUBLISHED, ILSVRC, published
from test_lineage import row_of
from test_report import Page

PAPERS = [name for name in list_models() if architecture(name).family != ARTICLES]
SMALL = {name for name in list_models() if architecture(name).input_size == 32}


def test_every_network_has_an_entry_and_no_entry_is_of_another():
    assert set(_PUBLISHED) == set(list_models())
    assert published("somebodys_new_network") is None


@pytest.mark.parametrize("name", list_models())
def test_an_entry_says_how_and_where_or_why_not(name):
    entry = published(name)
    assert entry.source
    assert entry.depth or "counts no layers" in entry.source
    assert bool(entry.protocol) == (entry.top1 is not None or entry.top5 is not None)
    if entry.top1 is not None and entry.top5 is not None:
        assert 0 < entry.top5 < entry.top1 < 100
    if entry.protocol:
        assert (entry.protocol in ("MNIST test", "CIFAR-10 test")) == (name in SMALL)
        assert name in SMALL or entry.protocol.split()[0] in PROTOCOLS


# Errors that belong to another row than the network's own, and the row: (name, variant).
ELSEWHERE = {
    "resnet18": ("ResNet-18", "torchvision"),
    **{f"resnetv2_{n}_slim": (f"ResNet-{n} v2 (slim order)", "keras") for n in (50, 101, 152)},
}
# Of these the table has no row: wide ResNets are torchvision's, the widths of MobileNet are the paper's Table 6.
NOT_IN_THE_TABLE = {"wide_resnet50_2", "wide_resnet101_2", "mobilenet_v1_025", "mobilenet_v1_050", "mobilenet_v1_075"}


@pytest.mark.parametrize("name", [n for n in PAPERS if published(n).protocol and n not in NOT_IN_THE_TABLE])
def test_errors_are_those_of_the_reference(reference, name):
    entry, row = published(name), reference[ELSEWHERE.get(name) or row_of(name)]
    ours = [error for error in (entry.top1, entry.top5) if error is not None]
    if entry.protocol.startswith(("one 224", "one 299", "10")):
        crops = "10crop" if entry.protocol.startswith("10") else "1crop"
        assert ours == [float(cell) for cell in (row[f"top1_err_{crops}"], row[f"top5_err_{crops}"]) if cell]
    else:  # the row says it in words, such as "dense single-scale S/Q=256/256 27.0/8.8 (paper Table 3)"
        said = [
            tuple(map(float, found.split("/"))) for found in re.findall(r"\d+\.\d+(?:/\d+\.\d+)?", row["other_err"])
        ]
        assert tuple(ours) == said[0]


def test_the_challenge_got_easier_every_year():
    assert all(result.network in PAPERS and result.rank in ("1st", "2nd") for result in ILSVRC)
    first = [(result.year, result.top5) for result in ILSVRC if result.place == 1]
    assert first == sorted(first) == sorted(first, key=lambda pair: -pair[1])


# The rows and the story


def test_rows_are_in_the_order_of_the_story():
    rows = [row for row in networks() if row["family"] != ARTICLES]
    assert [row["name"] for row in rows if row["paper"] not in {chapter.paper for chapter in STORY}] == []
    papers = list(dict.fromkeys(row["paper"] for row in rows))
    assert papers == [chapter.paper for chapter in STORY]
    arxiv = [re.search(r"arXiv:(\d+\.\d+)", paper) for paper in papers]
    submitted = [found[1] for found in arxiv if found]
    assert [number[:4] for number in submitted] == sorted(number[:4] for number in submitted)


def test_rates_are_fractions_and_read_as_percent():
    row = networks("alexnet")[0]
    assert (row["top1_error"], row["top5_error"], row["depth"]) == (0.407, 0.182, 8)
    assert [percent(value) for value in (0.407, 0.088, 0.27, 0.09951, None)] == ["40.7", "8.80", "27.0", "10.0", ""]


def test_a_network_of_which_nothing_is_published_has_a_row(monkeypatch):
    monkeypatch.setattr("podium.comparison.report.lineage.published", lambda name: None)
    row = networks("lenet5")[0]
    assert (row["depth"], row["top1_error"], row["protocol"], row["params"]) == (None, None, "", 60_000)


def test_the_documentation_has_these_tables():
    text = (ROOT / "docs" / "lineage.md").read_text(encoding="utf-8")
    for table in tables():
        assert table in text, "python tests/golden.py writes them"


# The page


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = write_lineage(tmp_path_factory.mktemp("lineage") / "lineage.html", networks())
    return path.read_text(encoding="utf-8").replace(get_plotlyjs(), "")


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_the_page_fetches_nothing(text, page):
    assert [value for name in ("src", "href", "srcset", "xlink:href") for _, value in page.having(name)] == ["#main"]
    assert not re.search(r"https?:|//cdn|@import|fetch\(", text.replace('xmlns="http://www.w3.org/2000/svg"', ""))
    policy = next(values["content"] for tag, values in page.elements if values.get("http-equiv"))
    assert policy.startswith("default-src 'none'")


def test_the_page_tells_every_paper_with_its_diagram_and_every_network(text, page):
    headings = re.findall("<h2>(?:<span[^>]*>)?([^<]+)<", text)
    assert [title for title in headings if title in {c.title for c in STORY}] == [c.title for c in STORY]
    assert [tag for tag, _ in page.elements].count("svg") == len(STORY)
    assert set(page.texts["td"]) >= set(list_models())
    for result in ILSVRC:
        assert f"ILSVRC {result.year}: {result.rank}, {result.top5} %" in page.texts["span"]


def test_the_charts_show_what_is_published(text, page):
    charts = json.loads(re.search(r'<script id="charts" type="application/json">(.*?)</script>', text, re.S)[1])
    assert set(charts) == {values["data-chart"] for _, values in page.elements if "data-chart" in values}
    assert charts["challenge"]["data"][0]["y"] == [result.top5 for result in ILSVRC]
    shown = sorted(
        (x, round(y, 6)) for trace in charts["errors"]["data"] for x, y in zip(trace["x"], trace["y"], strict=True)
    )
    expected = [(row["macs"], round(100 * row["top5_error"], 6)) for row in networks() if row["top5_error"] is not None]
    assert shown == sorted(expected)
    dense = [s for t in charts["errors"]["data"] for s in t["marker"]["symbol"]].count("diamond")
    assert dense == sum(row["protocol"].startswith("dense") for row in networks())


def test_a_page_of_some_networks_has_only_what_is_of_them(tmp_path):
    page = Page(write_lineage(tmp_path / "small.html", networks("resnet20")).read_text(encoding="utf-8"))
    assert page.texts["h1"] == ["ResNet"]
    assert not [values for _, values in page.elements if "data-chart" in values]  # nothing of it was on ImageNet
    articles = write_lineage(tmp_path / "articles.html", networks("article_*")).read_text(encoding="utf-8")
    assert re.search("<h1><span[^>]*>([^<]+)<", articles)[1] == ARTICLES
    assert "<svg" not in articles


def test_the_verb_writes_the_page(podium, tmp_path):
    said = podium("models", "lenet*", "-o", "lenets.html")
    assert (said.code, said.out) == (0, "page: lenets.html\n")
    assert "<svg" in (tmp_path / "lenets.html").read_text(encoding="utf-8")
    assert [row["name"] for row in podium("models", "lenet*", "-o", "again.html", "--json").json] == [
        "lenet5",
        "lenet5_modern",
    ]
    assert (tmp_path / "again.html").is_file()
    podium("models", "-o", ".").refused(2, "-o .", "folder", "lineage.html")
    assert podium("models", "lenet5", "-o", "new/folder/page.html").code == 0
