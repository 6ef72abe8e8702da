"""The blocks of code in README and docs: each is run as it is written, or a comment before it says why not.

`<!-- not run: REASON -->` before a block leaves it out, and `<!-- no block of this page is run: REASON -->` all of a page. The blocks of
a page run one after the other in one folder, and its Python blocks share their names, as in a reader's session. `world.py` says what is smaller there.
"""

import re
import shutil

import pytest

from conftest import ROOT
from world import Shell, build, shortened

PAGES = [p for p in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")] if p.name != "CHANGELOG.md"]
BLOCK = re.compile(r"(?:<!-- not run: (?P<why>[^>]+) -->\n)?^```(?P<kind>[^\n]*)\n(?P<text>.*?)^```$", re.M | re.S)
WHOLE = re.compile(r"^<!-- no block of this page is run: (.+) -->$", re.M)
CODE = {"bash", "python"}
OUTPUT = {"text", "json", "mermaid"}
FAST = {"docs/checking.md"}


def ids(page):
    return page.relative_to(ROOT).as_posix()


def blocks(page):
    """(kind, text, why it is not run) of each block of a page."""
    text = page.read_text(encoding="utf-8")
    whole = WHOLE.search(text)
    return [(m["kind"], m["text"], m["why"] or (whole and whole[1])) for m in BLOCK.finditer(text)]


def to_run(page):
    return [(kind, text) for kind, text, why in blocks(page) if kind in CODE and not why]


RUN = sorted((page for page in PAGES if to_run(page)), key=ids)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_block_says_what_it_is(page):
    assert {kind for kind, _, _ in blocks(page)} <= CODE | OUTPUT
    assert len(blocks(page)) * 2 == len(re.findall(r"^```", page.read_text(encoding="utf-8"), re.M))


def test_most_blocks_are_run():
    run = sum(len(to_run(page)) for page in PAGES)
    left = [why for page in PAGES for kind, _, why in blocks(page) if kind in CODE and why]
    assert run > len(left)
    assert all(len(why.split()) > 2 for why in left), "a reason is a sentence"


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        shortened(patch)
        build(root)
    return root


@pytest.mark.parametrize(
    "page", [pytest.param(p, marks=() if ids(p) in FAST else pytest.mark.slow, id=ids(p)) for p in RUN]
)
def test_the_blocks_of_a_page_run(page, world, tmp_path, monkeypatch):
    shutil.copytree(world, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PODIUM_CACHE", str(tmp_path / "cache"))
    shortened(monkeypatch)
    names = {}
    with Shell(tmp_path) as shell:
        for kind, text in to_run(page):
            if kind == "bash":
                shell.run(text)
            else:
                shell.python(text, names)
