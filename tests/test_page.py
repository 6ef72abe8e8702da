"""The report in a browser: it sorts, shows, speaks two languages, works at night and on a phone, and is readable by a screen reader."""

import csv
import importlib.util
import io
import itertools
import re
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

import podium
from browsers import MARKS, PHONE, WIDE
from conftest import ROOT
from podium.comparison.answered import Answered
from podium.comparison.disagreement import Disagreement
from podium.comparison.leaderboard import Leaderboard
from podium.comparison.report.check_page import write_check_page
from podium.comparison.report.explain_page import write_explanations
from podium.comparison.report.lineage import networks, write_lineage
from podium.comparison.report.provenance import Commands, Provenance
from podium.comparison.report.report_page import write_report
from podium.data.preprocessing import Preprocessing
from podium.explain.panels import Panel, Picture

pytestmark = MARKS
SEEN = Preprocessing(image_size=32, channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three networks with made-up answers to the test images of the digits: (page, leaderboard, runs, data)."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
        spec = importlib.util.spec_from_file_location("report_benchmark", ROOT / "benchmarks" / "report.py")
        benchmark = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(benchmark)
    data = podium.load_data("digits")
    paths = benchmark.made_up(folder, data, 3)
    board = Leaderboard.read(paths)
    made = Provenance.of(
        board, paths[0].parent, paths, "recipe small, 6 epochs each, 1 seed from 0", Commands("podium compare digits")
    )
    return write_report(folder / "report.html", board, paths, data, made), board, paths, data


@pytest.fixture
def tab(browser, study):
    """The page, opened; a test that ends with an error in the console fails."""
    said, asked = [], []
    with browser.new_context(viewport=WIDE, accept_downloads=True) as context:
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: message.type in ("error", "warning") and said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("http", "ws")) and asked.append(request.url))
        page.goto(study[0].as_uri())
        page.wait_for_selector("[data-chart=network-0-confusion] .main-svg")
        yield page
    assert said == []
    assert asked == [], "a page that works offline asks no server"


def open_networks(tab):
    for place in range(1, tab.locator("summary").count()):
        tab.locator("summary").nth(place).click()


def models(tab):
    return tab.locator("table[data-name=leaderboard] tbody th").evaluate_all("all => all.map(e => e.dataset.value)")


def test_a_click_on_a_heading_sorts(tab, study):
    board = study[1]
    assert models(tab) == [row.model for row in board.networks]
    heading = tab.locator("table[data-name=leaderboard] th", has_text="latency p50")
    for sort, sign in (("descending", -1), ("ascending", 1)):
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == sort
        ranked = sorted(board.networks, key=lambda row: sign * row.latency_p50_ms)
        assert models(tab) == [row.model for row in ranked]
    name = tab.locator("table[data-name=leaderboard] th", has_text="network").first
    name.get_by_role("button").press("Enter")
    assert models(tab) == sorted(row.model for row in board.networks)
    assert name.get_attribute("aria-sort") == "ascending"
    assert heading.get_attribute("aria-sort") is None


def test_the_pareto_chart_says_on_hover_which_network_it_is(tab, study):
    row = min(study[1].networks, key=lambda row: row.latency_p50_ms)
    marks = tab.locator("[data-chart=latency] .scatterlayer .trace", has=tab.locator(".point"))
    assert marks.count() == len(study[1].networks)
    marks.nth(0).locator(".point").hover(force=True)
    text = tab.locator("[data-chart=latency] .hoverlayer").text_content()
    for part in (row.model, f"top-1 {100 * row.top1:.2f} %", f"latency {row.latency_p50_ms:.2f} ms", f"{row.params:,}"):
        assert part in text


@pytest.mark.parametrize("chart", ["latency", "macs"])
def test_the_names_in_a_chart_cover_neither_each_other_nor_a_mark(tab, study, chart):
    boxes = "all => all.map(e => e.getBoundingClientRect()).map(b => [b.left, b.top, b.right, b.bottom])"
    inside = tab.locator(f"[data-chart={chart}] .scatterlayer")
    names, marks = inside.locator(".textpoint").evaluate_all(boxes), inside.locator(".point").evaluate_all(boxes)
    assert len(names) == len(marks) == len(study[1].networks)
    pairs = [*itertools.combinations(names, 2), *itertools.product(names, marks)]
    for one, other in pairs:
        across, up = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
        assert min(across, up) <= 2, "at most a pixel or two of the space around the letters"


def test_the_switch_changes_the_language_of_all_that_is_read(tab, browser):
    assert tab.evaluate("document.documentElement.lang") == "en"
    tab.get_by_role("button", name="中文").click()
    assert tab.evaluate("document.documentElement.lang") == "zh-Hans"
    headings = tab.locator("main h2").all_text_contents()
    assert headings == ["排行榜", "准确率与速度", "学习曲线", "各个网络", "数据", "如何得到"]
    assert tab.locator(".verdict").text_content().startswith("推荐 ")
    assert tab.title().startswith("3 个网络在 digits 上的比较")
    assert "训练时间" in tab.locator("[data-chart=curves-loss]").text_content()
    assert "混淆矩阵" in tab.locator("[data-chart=network-0-confusion]").get_attribute("aria-label")
    tab.reload()
    assert tab.locator("main h2").first.text_content() == "排行榜", "the choice is remembered"
    tab.get_by_role("button", name="English").click()
    assert tab.locator("main h2").first.text_content() == "Leaderboard"
    assert tab.locator(".verdict").text_content().startswith("Take ")


def test_all_that_a_page_says_has_a_chinese_form(tab):
    """Besides names, numbers, and what machine and packages are called."""
    tab.get_by_role("button", name="中文").click()
    named = "(e => [...e.querySelectorAll('h1, h2, h3, p, li, dl:not(.samples) dt, thead th button, summary + div .note')].map(x => x.innerText))"
    texts = tab.locator("main").evaluate(named)
    left = [text for text in texts if text.strip() and not any("\u4e00" <= letter <= "\u9fff" for letter in text)]
    assert set(left) <= {"ECE", "F1", "p95 ms", "eager PyTorch p50 ms"}


@pytest.mark.parametrize("wanted", ["light", "dark"])
def test_a_page_begins_in_the_theme_of_the_system_and_can_change_it(tab, wanted):
    tab.emulate_media(color_scheme=wanted)
    background = "getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(255, 255, 255)", "rgb(17, 19, 21)"
    first, second = (light, dark) if wanted == "light" else (dark, light)
    button, chart = tab.get_by_role("button", name="Dark"), tab.locator("[data-chart=latency] .xtick text").first
    assert tab.evaluate(background) == first
    colour = chart.evaluate("e => getComputedStyle(e).fill")
    button.click()
    assert tab.evaluate(background) == second
    assert chart.evaluate("e => getComputedStyle(e).fill") != colour
    assert button.get_attribute("aria-pressed") == ("true" if second == dark else "false")
    tab.reload()
    assert tab.evaluate(background) == second, "the choice is remembered"


def test_on_a_phone_only_tables_scroll_sideways(tab):
    tab.set_viewport_size(PHONE)
    open_networks(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    boxes = tab.locator(".scroll:visible").evaluate_all("all => all.map(e => e.getBoundingClientRect().right)")
    assert len(boxes) > 3
    assert max(boxes) <= PHONE["width"]


def test_what_is_closed_is_not_drawn_before_it_is_opened(tab):
    chart = tab.locator("[data-chart=network-1-calibration] .main-svg")
    assert chart.count() == 0, "a page of twenty networks would open slowly"
    tab.locator("summary").nth(1).click()
    chart.first.wait_for()


def click_cell(tab, network, truth, guess):
    """Click on a cell of a confusion matrix, where plotly has drawn it."""
    chart = tab.locator(f"[data-chart={network}-confusion]")
    chart.scroll_into_view_if_needed()
    place = chart.evaluate(
        """(e, [t, p]) => { const { xaxis: x, yaxis: y } = e._fullLayout, box = e.getBoundingClientRect();
        return [box.left + x._offset + x.c2p(p), box.top + y._offset + y.c2p(t)]; }""",
        [truth, guess],
    )
    tab.mouse.move(place[0] - 2, place[1])
    tab.mouse.move(*place)
    tab.wait_for_function(f"document.querySelector('[data-chart={network}-confusion] .hoverlayer').textContent")
    tab.mouse.click(*place)


def shown(tab):
    """The dialog's title, and the names of its pictures, all of which have loaded."""
    pictures = tab.locator("dialog[open] img")
    assert all(pictures.evaluate_all("all => all.map(e => e.complete && e.naturalWidth > 0)"))
    return tab.locator("dialog[open] h2").text_content(), pictures.evaluate_all("all => all.map(e => e.alt)")


def images_in(path, truth, guess):
    """The numbers of the images of one class that a run took for another, the surest first, one image at a time."""
    with np.load(path / "predictions.npz") as arrays:
        rows = zip(arrays["logits"].astype(float).tolist(), arrays["labels"].tolist(), strict=True)
    found = []
    for number, (logits, label) in enumerate(rows):
        if label == truth and max(range(len(logits)), key=logits.__getitem__) == guess:
            highest = max(logits)
            found.append((sum(np.exp(value - highest) for value in logits), number))  # the inverse of its confidence
    return [number for _, number in sorted(found)]


@pytest.mark.parametrize(("place", "truth", "guess"), [(0, 1, 2), (0, 5, 5), (1, 0, 1), (2, 9, 0)])
def test_a_cell_of_the_confusion_matrix_opens_its_images(tab, study, place, truth, guess):
    _, board, _, data = study
    if place:
        tab.locator("summary").nth(place).click()
    path = next(path for path in study[2] if board.names[path] == board.networks[place].model)
    expected = images_in(path, truth, guess)
    expected = expected[::-1][:4] if truth == guess else expected[:12]
    click_cell(tab, f"network-{place}", truth, guess)
    title, names = shown(tab)
    assert len(expected) > 2
    assert names == [data.splits["test"].name_of(number) for number in expected]
    count = len(images_in(path, truth, guess))
    assert title == (
        f"{truth} recognised: {count} images" if truth == guess else f"{truth} taken for {guess}: {count} images"
    )
    tab.keyboard.press("Escape")
    assert tab.locator("dialog[open]").count() == 0


def test_a_keyboard_opens_the_images_of_a_pair_and_returns_to_it(tab, study):
    row = tab.locator("table[data-name$=-confused] tbody tr").first
    truth, guess = row.locator("th").text_content(), row.locator("td").first.text_content()
    row.get_by_role("button").press("Enter")
    title, names = shown(tab)
    assert title.startswith(f"{truth} taken for {guess}: ")
    assert names
    assert tab.evaluate("document.activeElement.textContent") == "Close"
    tab.keyboard.press("Tab")
    assert tab.evaluate("!document.activeElement.closest('main')"), "the dialog keeps the focus"
    tab.keyboard.press("Escape")
    assert tab.evaluate("document.activeElement.matches('button[data-cell]')")


def test_a_table_as_csv_has_the_values_of_the_table(tab, study):
    board = study[1]
    with tab.expect_download() as waiting:
        tab.get_by_role("button", name="Leaderboard as CSV").click()
    assert waiting.value.suggested_filename == "leaderboard.csv"
    text = waiting.value.path().read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["network"] for row in rows] == [row.model for row in board.networks]
    for row, network in zip(rows, board.networks, strict=True):
        fields = {
            "top-1 %": "top1",
            "macro F1": "macro_f1",
            "loss": "loss",
            "parameters": "params",
            "images/s": "images_per_second",
        }
        assert {key: float(row[key]) for key in fields} == {k: getattr(network, field) for k, field in fields.items()}
    with tab.expect_download() as waiting:
        tab.get_by_role("button", name=f"Classes: {board.networks[0].model} as CSV", exact=True).click()
    rows = list(csv.DictReader(io.StringIO(waiting.value.path().read_text(encoding="utf-8-sig"))))
    shown_rows = tab.locator(f"table[data-name={board.networks[0].model}-classes] tbody tr").all_inner_texts()
    assert len(rows) == len(shown_rows) == 10
    assert [f"{float(row['F1']):.3f}" for row in rows] == [text.split("\t")[4] for text in shown_rows]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(tab, theme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    tab.emulate_media(color_scheme=theme, reduced_motion="reduce")
    open_networks(tab)
    whole = axe.Axe().run(tab).response["violations"]
    tab.locator("button[data-cell]").first.click()
    dialog = axe.Axe().run(tab).response["violations"]
    found = [(each["id"], each["impact"], each["nodes"][0]["html"]) for each in whole + dialog]
    assert [each for each in found if each[1] in ("serious", "critical")] == []


def test_a_page_of_explanations_begins_in_the_language_of_the_browser(browser, tmp_path):
    photo = Picture(Image.new("RGB", (320, 240), (90, 120, 60)), "rose 97.0 %")
    page = write_explanations(tmp_path / "maps.html", "runs/photos", "grad-cam", [Panel("a.png", [photo, photo])])
    said = []
    for locale, begins, other in (("zh-CN", "photos 的 grad-cam", "English"), ("en-GB", "grad-cam of photos", "中文")):
        with browser.new_context(viewport=PHONE, locale=locale) as context:
            tab = context.new_page()
            tab.on("pageerror", lambda error: said.append(str(error)))
            tab.goto(page.as_uri())
            assert begins in tab.locator("h1").text_content()
            assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
            tab.get_by_role("button", name=other).click()
            tab.reload()
            assert begins not in tab.locator("h1").text_content(), "the choice is remembered"
            assert "rose 97.0 %" in tab.locator("figcaption").first.text_content()
            tab.locator("#theme").click()
            assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    assert said == []


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The pages of a check that found problems, of two networks on four images, and of some networks' history, by name."""
    folder, draw = tmp_path_factory.mktemp("pages"), np.random.default_rng(0)
    for place in ("train/ant/1", "train/ant/2", "train/bee/1", "val/ant/1"):
        path = folder / "photos" / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (48, 64, 3), np.uint8)).save(path)
    (folder / "photos/val/bee").mkdir()
    shutil.copy(folder / "photos/train/ant/1.png", folder / "photos/val/bee/a copy, of 1.png")
    (folder / "photos/val/bee/2.png").write_bytes(b"")
    write_check_page(folder / "check.html", podium.check(folder / "photos"))
    answers = [
        Answered(model, "", "test", ("ant", "bee"), np.eye(2, dtype=np.float32)[given], np.array([0, 0, 1, 1]), np.arange(4, dtype=np.uint64), SEEN)
        for model, given in (("lenet5", [0, 0, 0, 0]), ("vgg16", [0, 1, 1, 1]))
    ]  # fmt: skip
    Disagreement(*answers, notes=("note: 2 of the 4 val images of lenet5 are left out: they are not among those of the other network",)).save(folder / "diff.html")  # fmt: skip
    write_lineage(folder / "models.html", networks("*alexnet*"))
    return folder


@pytest.mark.parametrize("name", ["check", "diff", "models"])
def test_every_other_page_speaks_chinese_too_and_fits_a_phone(browser, pages, name):
    said, words = [], "all => all.map(e => e.innerText)"
    kinds = "h1, h2, .verdict, .note, .one p:not(.path), dt, thead th:not(:empty), .ends, section > p:not(.note):not(.names)"
    with browser.new_context(viewport=PHONE, locale="zh-CN") as context:
        tab = context.new_page()
        tab.on("console", lambda message: message.type in ("error", "warning") and said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto((pages / f"{name}.html").as_uri())
        texts = tab.locator("main").locator(kinds).evaluate_all(words)
        left = [text for text in texts if text.strip() and not any("\u4e00" <= letter <= "\u9fff" for letter in text)]
        papers = ("lenet5", "vgg16", "AlexNet", "Krizhevsky 2014, arXiv:1404.5997", "Krizhevsky et al. 2012, NIPS")
        assert set(left) <= {*papers, f"Podium {name}：photos"}
        assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        if name == "check":
            assert "photos/train/ant/1.png 内容完全相同" in " ".join(texts)
        if name == "models":
            assert "第 1 名" in tab.locator("[data-chart=challenge]").text_content()
            assert "卷积" in tab.locator("svg text").all_text_contents()
        tab.get_by_role("button", name="English").click()
        english = tab.locator("main").locator(kinds).evaluate_all(words)
        assert len(english) == len(texts)
        assert not re.search("[\u4e00-\u9fff]", " ".join(english))
    assert said == []
