"""The board in a browser: it is live while networks train, compares two runs, shows what they have wrong, and stops and resumes them."""

import csv
import json
import shutil
import subprocess
import sys

import pytest

from boards import ENVIRONMENT, TOKEN, board
from browsers import MARKS, PHONE, WIDE
from podium.runs.folder import RunFolder
from podium.runs.recommended import STUDY_NOTE
from test_board import epoch, write_run

pytestmark = MARKS
HOSTILE = ["<img src=x onerror=alert(1)>", "<script>alert(2)", "{n} ${name} $&"]
LONG = 240_000  # ms that something may take on a busy machine


@pytest.fixture(scope="module")
def finished(tmp_path_factory, comparison):
    """A board over a finished comparison and a run that failed."""
    root = tmp_path_factory.mktemp("finished")
    shutil.copytree(comparison, root / "study")
    write_run(root / "alone", epoch(1), {"event": "ended", "exit_code": 5, "text": "loss nan at step 20"})
    with board(root) as found:
        yield found, root


@pytest.fixture
def visit(browser):
    """Open a board; a test that ends with an error in the console, or a request to another place, fails."""
    said, sent, opened = [], [], []

    def go(found, path="/", token=False, **context):
        opened.append(browser.new_context(**{"viewport": WIDE, "locale": "en-GB", **context}))
        tab = opened[-1].new_page()
        tab.set_default_timeout(LONG)
        known = (
            "Failed to load resource: net::ERR_",
            *(f"Failed to load resource: the server responded with a status of {n}" for n in (401, 409) if token),
        )
        tab.on(
            "console", lambda m: m.type in ("error", "warning") and not m.text.startswith(known) and said.append(m.text)
        )
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: request.url.startswith(("http", "ws")) and sent.append(request.url))
        tab.goto(found.url + path)
        if token:
            tab.get_by_role("textbox", name="Token").fill(TOKEN)
            tab.get_by_role("textbox", name="Token").press("Enter")
        tab.wait_for_selector("#connection[data-state=live]")
        tab.wait_for_selector("h1")
        return tab

    yield go
    for context in opened:
        context.close()
    assert said == []
    assert all(url.startswith(("http://127.0.0.1:", "blob:")) for url in sent)


def podium(*words, **more):
    """Start a command line of Podium in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "podium", *map(str, words)],
        env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more,
    )  # fmt: skip


def epoch_of(tab, run):
    return tab.locator("tbody tr", has_text=run).locator("td").nth(1)


def test_the_board_is_live_while_a_comparison_trains(visit, tmp_path):
    with board(tmp_path) as found:
        tab = visit(found)
        tab.get_by_text("No comparison and no run is in this folder yet").wait_for()
        tab.evaluate("window.opened = 1")
        study = tmp_path / "small"
        with podium(
            "compare", "digits", "-m", "lenet5_modern,lenet5", "--epochs", "25", "--jobs", "1", "-o", study
        ) as trains:
            tab.locator(".head .tag", has_text="training").wait_for()
            tab.get_by_text("waiting", exact=True).first.wait_for()
            cell = epoch_of(tab, "lenet5_modern-seed0")
            tab.wait_for_function("e => Number(e.textContent) > 0", arg=cell.element_handle())
            before = int(cell.text_content())
            tab.wait_for_function("([e, n]) => Number(e.textContent) > n", arg=[cell.element_handle(), before])
            assert tab.locator(".chart polyline").count() >= 3
            tab.get_by_text("Of the runs that are finished so far").wait_for()
            tab.get_by_text("As leaderboard.csv has it").wait_for()
            assert trains.wait() == 0
        assert tab.evaluate("window.opened") == 1, "the page was not loaded again"
        with (study / "leaderboard.csv").open() as file:
            (row, *_) = csv.DictReader(file)
        cells = tab.locator("table[data-name=leaderboard] tbody tr").first.locator("td[data-column]")
        shown = dict(cells.evaluate_all("all => all.map(e => [e.dataset.column, e.dataset.value])"))
        assert {"score", "top1", "loss", "params"} <= set(shown)
        assert shown == {name: row[name] for name in shown}
        assert (
            tab.locator(".verdict .lead").text_content() == json.loads((study / STUDY_NOTE).read_text())["verdict"][0]
        )
        with tab.context.expect_page() as opening:
            tab.get_by_role("link", name="Report").click()
        opening.value.wait_for_selector(".main-svg")
        assert opening.value.locator("h1").count() == 1


def test_two_runs_are_compared_with_their_pictures(visit, finished):
    tab = visit(finished[0])
    section = tab.locator("#compare")
    section.scroll_into_view_if_needed()
    section.get_by_label("First run").select_option(label="lenet5-seed0")
    section.get_by_label("Second run").select_option(label="lenet5_modern-seed0")
    section.get_by_text("Settings that differ").wait_for()
    assert "lenet5_modern" in section.locator("tr", has_text="model").first.text_content()
    section.get_by_text("This is about these two trained networks").wait_for()
    pictures = section.locator(".gallery img")
    tab.wait_for_function("e => e.complete && e.naturalWidth > 0", arg=pictures.first.element_handle())
    assert section.locator(".chart polyline").count() == 6


def test_behind_a_score_are_the_images_that_are_wrong(visit, finished):
    tab = visit(finished[0])
    score = tab.locator("table[data-name=leaderboard] td[data-column=top1] button").first
    score.click()
    dialog = tab.get_by_role("dialog")
    dialog.get_by_text("test images are right").wait_for()
    tab.wait_for_function(
        "e => e.complete && e.naturalWidth > 0", arg=dialog.locator(".gallery img").first.element_handle()
    )
    dialog.locator(".confused button").first.click()
    assert " taken for " in dialog.locator("h3").last.text_content()
    tab.keyboard.press("Escape")
    assert dialog.count() == 0
    assert tab.evaluate("document.activeElement.textContent") == score.text_content(), "the focus is back"


@pytest.mark.parametrize(
    ("column", "shown", "heading"),
    [
        ("loss", "test images are right", "The images with the largest log-loss"),
        ("macro_f1", "test images are right", "or another class taken for it"),
        ("score", "validation images are right", "The mistakes that it is most certain of"),
    ],
)
def test_behind_each_kind_of_score_are_its_images(visit, finished, column, shown, heading):
    tab = visit(finished[0])
    tab.locator(f"table[data-name=leaderboard] td[data-column={column}] button").first.click()
    dialog = tab.get_by_role("dialog")
    dialog.get_by_text(shown).wait_for()
    assert heading in dialog.locator("h3").last.text_content()
    captions = dialog.locator(".gallery figcaption").all_text_contents()
    assert captions
    assert all(("log-loss" in text) == (column == "loss") for text in captions)
    dialog.locator("tbody tr button").last.click()
    assert dialog.locator(".gallery figure").count() > 0


def test_what_the_board_refuses_is_said_in_chinese_too(visit, tmp_path):
    write_run(tmp_path / "alone", epoch(1))
    with board(tmp_path, TOKEN) as found:
        tab = visit(found, token=True)
        tab.get_by_role("button", name="中文").click()
        tab.locator("tr", has_text="alone").get_by_role("button", name="继续").click()
        (tmp_path / "alone" / "result.json").write_text('{"top1": 0.5}')
        tab.get_by_role("dialog").get_by_role("button", name="继续").click()
        alert = tab.get_by_role("alert", name="")
        tab.wait_for_function("e => e.textContent", arg=alert.element_handle())
        assert alert.text_content() == "alone 已完成；请用它的权重开始另一个训练：podium train --weights"


def test_a_run_that_failed_says_why(visit, finished):
    tab = visit(finished[0])
    tab.get_by_role("link", name="Single runs").click()
    row = tab.locator("tr", has_text="alone").first
    assert "failed" in row.text_content()
    assert "loss nan at step 20" in row.text_content()


def test_all_of_the_page_speaks_chinese(visit, finished):
    tab = visit(finished[0])
    tab.get_by_role("button", name="中文").click()
    tab.locator("#compare").scroll_into_view_if_needed()
    tab.locator("#compare .lead").wait_for()
    texts = tab.locator("main").evaluate(
        "e => [...e.querySelectorAll('h2, h3, .lead, .note, figcaption, thead th, .tag, button, summary')].filter(x => x.checkVisibility() && !x.closest('.legend, .gallery')).map(x => x.innerText)"
    )
    left = {text for text in texts if text.strip() and not any("\u4e00" <= letter <= "\u9fff" for letter in text)}
    assert {text for text in left if not text[0].isdigit()} <= {
        "epoch",
        "top-1",
        "top-5",
        "Top-1",
        "lenet5-seed0",
        "lenet5_modern-seed0",
        "lenet5",
        "lenet5_modern",
        "study",
    }
    assert tab.evaluate("document.documentElement.lang") == "zh-Hans"
    tab.reload()
    tab.get_by_role("heading", name="排行榜").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_by_day_and_night_and_for_a_screen_reader(visit, finished, scheme):
    from axe_playwright_python.sync_playwright import Axe

    tab = visit(finished[0], color_scheme=scheme)
    tab.locator("#compare").scroll_into_view_if_needed()
    tab.locator("#compare .lead").wait_for()
    assert (
        tab.evaluate("getComputedStyle(document.body).backgroundColor")
        == {"light": "rgb(255, 255, 255)", "dark": "rgb(17, 19, 21)"}[scheme]
    )
    for part in ("page", "dialog"):
        if part == "dialog":
            tab.locator("td[data-column=top1] button").first.click()
            tab.get_by_text("test images are right").wait_for()
        found = Axe().run(tab).response["violations"]
        assert [
            (each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")
        ] == []


def test_it_fits_on_a_phone(visit, finished):
    tab = visit(finished[0], viewport=PHONE)
    tab.locator("#compare").scroll_into_view_if_needed()
    tab.locator("#compare .lead").wait_for()
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    tab.locator("td[data-column=top1] button").first.click()
    tab.get_by_text("test images are right").wait_for()
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_the_keyboard_reaches_all_and_keeps_its_place(visit, tmp_path):
    run = RunFolder(write_run(tmp_path / "alone", epoch(1)))
    write_run(tmp_path / "other", epoch(1))
    with board(tmp_path) as found:
        tab = visit(found)
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.textContent") == "Skip to the content"
        legend = tab.locator(".legend button").first
        legend.focus()
        tab.keyboard.press("Enter")
        assert legend.get_attribute("aria-pressed") == "false"
        run.log(epoch(2))
        tab.wait_for_function("e => e.textContent === '2'", arg=epoch_of(tab, "alone").element_handle())
        assert tab.evaluate("document.activeElement.closest('.legend') !== null")


def test_names_with_markup_are_names(visit, tmp_path):
    for name in HOSTILE[:2]:
        row = {"event": "ended", "exit_code": 1, "text": f"{HOSTILE[0]} went wrong"}
        write_run(
            tmp_path / name.replace("/", "-"), epoch(1), row, settings=f"model: {HOSTILE[0]}\ndata: {HOSTILE[2]}\n"
        )
    study = tmp_path / HOSTILE[2]
    study.mkdir()
    (study / "comparison.yaml").write_text(f"data: {HOSTILE[1]}\nrecipe: {HOSTILE[0]}\n")
    (study / "leaderboard.csv").write_text(f'model,top1,error\n"{HOSTILE[0]}",0.5,\n"{HOSTILE[1]}",,"{HOSTILE[0]}"\n')
    (study / STUDY_NOTE).write_text(json.dumps({"verdict": [f"Take {HOSTILE[0]}."], "runs": [HOSTILE[1]]}))
    with board(tmp_path) as found:
        tab = visit(found)
        tab.on("dialog", lambda dialog: pytest.fail(dialog.message))
        tab.get_by_text(f"Take {HOSTILE[0]}.", exact=True).wait_for()
        assert tab.locator("th", has_text=HOSTILE[1]).count() >= 1
        tab.get_by_role("link", name="Single runs").click()
        tab.get_by_text(f"{HOSTILE[0]} went wrong").first.wait_for()
        assert tab.locator("main img").count() == 0
        assert tab.evaluate("document.querySelectorAll('main script').length") == 0


def test_a_board_that_comes_back_is_followed_again(visit, tmp_path):
    run = RunFolder(write_run(tmp_path / "alone", epoch(1)))
    with board(tmp_path) as first:
        tab, port = visit(first), first.url.rpartition(":")[2]
        cell = epoch_of(tab, "alone")
    tab.wait_for_selector("#connection[data-state=away]")
    run.log(epoch(2))
    with board(tmp_path, None, "--port", port):
        tab.wait_for_function("e => e.textContent === '2'", arg=cell.element_handle())
        tab.wait_for_selector("#connection[data-state=live]")


def test_a_run_is_stopped_and_resumed_from_the_page_and_lives_on_without_the_board(visit, tmp_path):
    out = RunFolder(tmp_path / "alone")
    with podium("train", "lenet5_modern", "digits", "--epochs", "60", "-o", out.path) as trains:
        with board(tmp_path, TOKEN) as found:
            tab = visit(found, token=True)
            cell = epoch_of(tab, "alone")
            tab.wait_for_function("e => Number(e.textContent) > 1", arg=cell.element_handle())
            tab.get_by_role("button", name="Stop").click()
            tab.get_by_role("dialog").get_by_role("button", name="Cancel").click()
            assert trains.poll() is None, "nothing happens before the question is answered"
            tab.get_by_role("button", name="Stop").click()
            tab.get_by_role("dialog").get_by_role("button", name="Stop").click()
            assert trains.wait() == 143
            tab.get_by_text("the checkpoint is saved").wait_for()
            reached = int(cell.text_content())
            tab.get_by_role("button", name="Resume").click()
            tab.get_by_role("dialog").get_by_role("button", name="Resume").click()
            tab.locator("tr", has_text="alone").get_by_text("training").wait_for()
            tab.wait_for_function("([e, n]) => Number(e.textContent) > n", arg=[cell.element_handle(), reached])
        with board(tmp_path) as later:
            tab = visit(later)
            assert tab.get_by_role("button", name="Stop").count() == 0, "without a token the board only shows"
            tab.locator("tr", has_text="alone").get_by_text("finished").wait_for()
    assert [row["epoch"] for row in out.epochs] == list(range(1, len(out.epochs) + 1))
    assert out.finished


def test_the_command_line_of_a_comparison_is_shown_before_it_is_started(visit, tmp_path):
    (tmp_path / "comparison.yaml").write_text("data: photos\n")
    words = ["compare", "<b>photos</b>", "--cluster", "ray://somewhere:10001"]
    (tmp_path / STUDY_NOTE).write_text(json.dumps({"command": {"words": words, "folder": str(tmp_path)}}))
    with board(tmp_path, TOKEN) as found:
        tab = visit(found, token=True)
        tab.get_by_role("button", name="Resume").click()
        told = tab.get_by_role("dialog").locator("code").text_content()
        assert told == "podium compare '<b>photos</b>' --cluster ray://somewhere:10001"
        tab.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert {path.name for path in tmp_path.iterdir()} == {"comparison.yaml", STUDY_NOTE}
