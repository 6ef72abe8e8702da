"""The documentation as a site: every document and every network is there, links lead on, and a browser needs no network for it."""

import os
import re
import subprocess
import sys

import pytest

from conftest import ROOT
from podium.models import list_models

NAV = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]


@pytest.fixture
def tools(monkeypatch):
    """The scripts of the site as modules."""
    monkeypatch.syspath_prepend(str(ROOT / "site"))


def test_every_document_is_in_the_navigation():
    found = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "docs" / "notebooks").glob("*.ipynb")]
    documents = {p.relative_to(ROOT / "docs").as_posix().replace(".ipynb", ".md") for p in found}
    documents = {path for path in documents if not path.endswith(".zh.md") and not path.startswith("decisions/")}
    assert {
        path for path in documents if not re.search(rf"- {re.escape(path)}$|: {re.escape(path)}$", NAV, re.M)
    } == set()


def test_every_translation_has_an_original():
    for page in (ROOT / "docs").rglob("*.zh.md"):
        assert page.with_name(page.name.replace(".zh.md", ".md")).is_file()


@pytest.mark.parametrize(
    ("page", "link", "there"),
    [
        ("docs/photos.md", "comparison.md#x", "comparison.md#x"),
        ("docs/decisions/010-a.md", "../../benchmarks/results/a.json", "../benchmarks/results/a.json"),
        ("README.md", "docs/photos.md", "photos.md"),
        ("docs/architecture.md", "../CONTRIBUTING.md#words", "contributing.md#words"),
        ("CONTRIBUTING.md", "README.md", "index.md"),
        ("docs/start.zh.md", "choose.zh.md", "choose.md"),
        ("docs/start.md", "notebooks/a.ipynb", "notebooks/a.md"),
        ("docs/start.md", "https://example.org/a.md", "https://example.org/a.md"),
    ],
)
def test_a_link_leads_to_the_same_file_on_the_site(tools, page, link, there):
    from stage import with_links

    assert (
        with_links(f"[a]({link}) `[b]`\n\n```\n[c](d.md)\n```\n", page)[0]
        == f"[a]({there}) `[b]`\n\n```\n[c](d.md)\n```\n"
    )


def test_a_graph_becomes_a_picture_with_all_its_boxes_and_arrows(tools):
    from rooms_picture import with_pictures

    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    picture = with_pictures(text)
    assert picture.count("<rect") == len(re.findall(r'^  \w+\["', text, re.M)) > 10
    assert picture.count(" to ") >= text.count(" --> ") > 10
    places = re.findall(r'<rect x="(\d+)" y="([\d.]+)"', picture)
    assert len(set(places)) == len(places)


@pytest.mark.slow
def test_every_network_is_on_the_page_of_its_paper(tools):
    from lineage_pages import lineage_pages

    pages = dict(lineage_pages())
    rows = {name for text in pages.values() for name in re.findall(r"^\| `(\w+)` \|", text, re.M)}
    assert set(list_models()) <= rows
    for path, text in pages.items():
        if path.endswith(".md") and "articles" not in path:
            headings = re.findall(r"^## (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
            kinds = [re.sub(r" against .*", "", heading) for heading in headings]
            kinds = [kind for kind in kinds if not kind.startswith("The claims")]
            assert kinds == ["What changed", "Diagram", "Layers", "The names", "Use it", "The code"], path


@pytest.mark.slow
def test_the_site_is_built_without_warnings_and_opens_without_a_network():
    from browsers import CHROMIUM, PHONE, WIDE, playwright

    pytest.importorskip("mkdocs")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    for command in (["site/stage.py"], ["-m", "mkdocs", "build", "--quiet"]):
        subprocess.run([sys.executable, *command], cwd=ROOT, env=quiet, check=True)
    site = ROOT / "build" / "docs"
    translated = {path.name.replace(".zh.md", ".html") for path in (ROOT / "docs").glob("*.zh.md")} | {"index.html"}
    pages = [
        p for p in sorted(site.glob("*.html")) if p.name != "404.html"
    ]  # a server's page, with paths from its root
    pages += [*sorted(site.glob("lineage/*.html")), site / "decisions" / "index.html"]
    pages += [p for p in sorted(site.glob("zh/*.html")) if p.name in translated]
    problems: list[str] = []
    with playwright.sync_playwright() as runner, runner.chromium.launch(executable_path=CHROMIUM) as browser:
        for view, scheme in ((WIDE, "light"), (PHONE, "dark")):
            page = browser.new_context(viewport=view, color_scheme=scheme).new_page()
            _note_problems(page, problems)
            for path in pages:
                page.goto(path.as_uri())
                wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                problems += [f"{path.name}: {wide} px too wide"] if wide > 0 else []
                problems += page.evaluate(
                    "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
                )
    assert problems == []


def _note_problems(page, problems):
    """Add what the console says, and what is asked of a network, to a list."""
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda asked: problems.append(asked.url) if asked.url.startswith("http") else None)
