"""The pages over HTTP as files: they are in both languages, run nothing that is written into them, and name no other server."""

import ast
import json
import re

import pytest

from conftest import ROOT

SOURCE = ROOT / "src" / "podium"
COMMON = SOURCE / "web" / "static"
PAGES = {"page of podium serve": SOURCE / "serving" / "page", "board": SOURCE / "board" / "page"}
# The files whose errors a page shows; those that only programs see, such as of the Open Inference Protocol, are not among them.
SERVERS = {
    COMMON: [path for path in sorted((SOURCE / "web").glob("*.py")) if path.name != "server.py"],
    PAGES["page of podium serve"]: [
        SOURCE / "serving" / f"{name}.py" for name in ("admission", "answering", "app", "bodies", "models", "pictures", "waiting")
    ],
    PAGES["board"]: [
        *(SOURCE / "board" / f"{name}.py" for name in ("answers", "app", "asking", "control")),
        SOURCE / "comparison" / "answered.py",
    ],
}  # fmt: skip
FOLDERS = [COMMON, *PAGES.values()]
# What servers quote: why a file is no image, the names most like another one, a run's folder.
BEHIND = [
    SOURCE / name
    for name in (
        "data/opening.py",
        "data/decode.py",
        "errors.py",
        "runs/folder.py",
        "comparison/ranking.py",
        "comparison/report/diff_page.py",
    )
]
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
        code = re.sub(r'class: "[^"]*"', "", code)
        said |= {json.loads(text) for text in re.findall(r'"(?:[^"\\]|\\.)*"', code) if is_text(json.loads(text))}
    return said


def sentences(path, errors=False):
    """The texts of the errors that a file makes, with `{}` for what they name: of a server its problems, else all of its errors."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for scope in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)] + [tree]:
        named = {}
        for node in ast.walk(scope):
            if scope is not tree and isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                named.setdefault(node.targets[0].id, []).append(node.value)
        for node in ast.walk(scope):
            name = getattr(getattr(node, "func", None), "id", "") if isinstance(node, ast.Call) else ""
            if name == "Problem":
                given = node.args[2:4]
            elif isinstance(node, ast.Dict) and path.name == "asking.py":
                given = node.values
            elif name.endswith("Error") and errors:
                given = node.args[:2]
            elif (
                isinstance(node, ast.Return)
                and path.name == "pictures.py"
                and getattr(scope, "name", "").startswith("_too_")
            ):
                given = [node.value]  # what an image is that takes too long
            else:
                continue
            found |= {text for each in given for text in written(each, named)}
    return {text for text in found if len(re.findall("[A-Za-z]{2,}", text)) > 1}


def written(node, named):
    """The texts that an expression may be."""
    if isinstance(node, ast.Constant):
        return {node.value} if isinstance(node.value, str) else set()
    if isinstance(node, ast.JoinedStr):
        return {"".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)}
    if isinstance(node, ast.IfExp):
        return written(node.body, named) | written(node.orelse, named)
    if isinstance(node, ast.BoolOp):
        return {text for value in node.values for text in written(value, named)}
    if isinstance(node, ast.Name):
        return {text for value in named.get(node.id, ()) for text in written(value, {**named, node.id: ()})}
    return set()


def bare(phrase):
    return re.sub(r"\{\w*\}", "{}", phrase)


def is_text(text):
    """Whether a string of a script is written for people."""
    return bool(re.search(r"[A-Za-z]{2,} [A-Za-z{]|^[A-Z][a-z]+$|^\{\w+\} \{", text)) and text not in NO_TEXTS


# Classes of elements, and names that scripts use among themselves.
NO_TEXTS = {
    "True", "False",
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
    written += "\n".join(path.read_text(encoding="utf-8") for path in [*SERVERS[folder], *BEHIND])
    own = [
        text
        for text in forms
        if not all(
            part in written
            for part in HOLE.sub("{}", text.removeprefix("the image is ").replace("the image", "{}")).split("{}")
        )
    ]
    assert folder == COMMON or own == [], "no page says this"


@pytest.mark.parametrize("folder", SERVERS, ids=lambda folder: folder.parent.name)
def test_every_error_that_a_page_shows_has_a_chinese_form(folder):
    phrases_ = [*book(COMMON), *book(folder)]
    known = {
        bare(each)
        for phrase in phrases_
        for each in (phrase, phrase.replace("the image", "{}"), phrase.removeprefix("the image is "))
    }
    said = {text for path in SERVERS[folder] for text in sentences(path, folder == PAGES["board"])}
    assert len(said) > 8
    assert said - known == set()


@pytest.mark.parametrize("name", ["runs/checkpoint", "runs/folder", "training/resume", "training/threads"])
def test_why_a_run_is_not_resumed_has_a_chinese_form(name):
    """It stands in the other phrase book: the board has these sentences from the process that was to go on with the run."""
    known = {
        bare(phrase)
        for phrase in json.loads((SOURCE / "comparison/report/templates/zh.json").read_text(encoding="utf-8"))
    }
    said = sentences(SOURCE / f"{name}.py", errors=True)
    assert said
    assert said - known == set()


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
