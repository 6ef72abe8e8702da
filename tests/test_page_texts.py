"""The pages over HTTP as files: they are in both languages, run nothing that is written into them, and name no other server."""

import json
import re

import pytest

from conftest import ROOT

SOURCE = ROOT / "src" / "podium"
COMMON = SOURCE / "web" / "static"
PAGES = {"page of podium serve": SOURCE / "serving" / "page"}
FOLDERS = [COMMON, *PAGES.values()]
HOLE = re.compile(r"\{(\w+)\}")
FILES = [path for folder in FOLDERS for path in sorted(folder.iterdir())]


def book(folder):
    return json.loads((folder / "zh.json").read_text(encoding="utf-8"))


def phrases(folder):
    """The texts that a page can say: those of its HTML, and all of its scripts that read like one."""
    html = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.html"))
    said = set(re.findall(r"<[^<>]+ data-say[^<>]*>([^<>\n]+)<", html))
    said |= set(re.findall(r'<[^<>]+ data-say-label[^<>]* aria-label="([^"]+)"', html))
    for path in folder.glob("*.js"):
        code = re.sub(r"^\s*(//|/\*|\*).*$", "", path.read_text(encoding="utf-8"), flags=re.M)
        said |= {json.loads(text) for text in re.findall(r'"(?:[^"\\]|\\.)*"', code) if is_text(json.loads(text))}
    return said


def is_text(text):
    """Whether a string of a script is written for people."""
    return bool(re.search(r"[A-Za-z]{2,} [A-Za-z{]|^[A-Z][a-z]+$|^\{\w+\} \{", text)) and text not in NO_TEXTS


# Classes of elements, and names that scripts use among themselves.
NO_TEXTS = {
    "Enter", "AbortError", "Authorization", "Content-Type", "Retry-After", "panel answer", "bar parts", "parts numbers",
    "note numbers", "note pending", "note marks", "what numbers", "share numbers", "difference numbers", "bars unsure", "use strict", "English",
}  # fmt: skip


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
def test_every_text_has_a_chinese_form_and_every_form_its_text(folder):
    forms = book(folder)
    known = {**book(COMMON), **forms}
    said = phrases(folder)
    assert len(said) > 5
    assert said - set(known) == set()
    written = "\n".join(path.read_text(encoding="utf-8") for path in [*folder.glob("*.js"), *folder.glob("*.html")])
    own = [text for text in forms if text not in written]
    assert folder == COMMON or own == [], "no page says this"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
def test_every_form_has_the_holes_of_its_phrase(folder):
    for phrase, form in book(folder).items():
        assert sorted(HOLE.findall(phrase)) == sorted(HOLE.findall(form)), phrase


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".html"], ids=lambda path: path.name)
def test_a_page_has_no_script_or_style_of_its_own(path):
    """The security policy forbids both, so that a class name that is a script can never run."""
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", text) == []
    assert re.findall(r"<script(?![^>]* src=)[^>]*>", text) == []


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".js"], ids=lambda path: path.name)
def test_a_script_makes_no_markup_and_no_code_of_text(path):
    text = path.read_text(encoding="utf-8")
    assert (
        re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function", text)
        == []
    )
    assert re.findall(r"setAttribute\(\"style\"|\.srcdoc|indexedDB|caches\b|document\.cookie", text) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_pages_name_no_other_server_and_no_address_from_the_root(path):
    """A page also works behind another server, under a path of its own."""
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "").replace("http://127.0.0.1", "")
    assert re.findall(r"https?://|@import|url\(", text) == []
    assert re.findall(r"""(?:src|href|fetch\(|import\(|from )=?\s*["'`]/""", text) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_of_a_page_has_one_idea(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 350
    assert path.suffix not in (".js", ".css") or re.match(r"(\"use strict\";|//|/\*)", lines[0]), "says what it is for"
