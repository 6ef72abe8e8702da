"""The documents: their links and paths lead somewhere, their commands parse, and they use the words of the glossary."""

import argparse
import ast
import functools
import re
import shlex

import pytest

from conftest import ROOT
from podium.cli.parser import build_parser, parse
from podium.errors import UsageError

PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    if "site" not in path.relative_to(ROOT).parts and ".venv" not in path.parts
)
SOURCE = ROOT / "src" / "podium"
HISTORY = "CHANGELOG.md"  # tells of files that were


def ids(path):
    return str(path.relative_to(ROOT))


pages = pytest.mark.parametrize("page", PAGES, ids=ids)


def text_of(page):
    return page.read_text(encoding="utf-8")


def prose_of(page):
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text_of(page), flags=re.M | re.S)


# Links


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them, and those that stand in the text."""
    written = set(re.findall(r'<a id="([\w-]+)"></a>', prose_of(page)))
    headings = re.findall(r"^#+ (.+)$", prose_of(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings} | written


@pages
def test_links_between_documents_resolve(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{target}: no such file"
        assert found.is_relative_to(ROOT), f"{target}: outside of the repository"
        assert not anchor or anchor in anchors(found), f"{target}: no such heading"


def test_every_document_is_reached_from_the_readme():
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in seen:
            seen.add(page)
            targets = re.findall(r"\]\(([^)#\s]+\.md)", text_of(page))
            waiting += [(page.parent / target).resolve() for target in targets if ":" not in target]
    assert set(PAGES) - seen == set()


# Source files


@pages
def test_source_files_that_are_named_exist(page):
    named = set(re.findall(r"(?<![\w./-])((?:[\w-]+/)*[\w-]+\.(?:py|sh|j2))\b", text_of(page)))
    places = (ROOT, SOURCE, ROOT / "tests")
    gone = {name for name in named if not any((place / name).is_file() for place in places)}
    assert gone == set() or page.name == HISTORY


@pages
def test_what_is_named_with_its_file_is_defined_there(page):
    r"""`Study.run` (`comparison/study.py`), and several: `read_source` and `adapted` (`training/transfer/source.py`)."""
    text = " ".join(prose_of(page).split())
    for names, file in re.findall(r"((?:`[\w.]+`(?:, | and )?)+) \(`([\w/]+\.py)`\)", text):
        tree = ast.parse((SOURCE / file).read_text(encoding="utf-8"))
        nodes = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef))
        defined = {node.name for node in nodes} | {"len"}
        for name in re.findall(r"`([\w.]+)`", names):
            assert set(name.split(".")) <= defined, f"{name} is not in {file}"


# Commands


def blocks(page):
    """Command lines in blocks of code, each as its words."""
    for block in re.findall(r"^```[^\n]*\n(.*?)^```", text_of(page), re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["podium"]:
                yield words[1:]


def inline(page):
    """Command lines in running text, with the first of what is to choose from: `podium info NAME|RUN`."""
    for code in re.findall(r"`(podium [^`]+)`", " ".join(prose_of(page).split())):
        plain = re.sub(r"\\?\|[\w\\|-]+|\.\.\.", "", code.replace("[", "").replace("]", ""))
        yield ["2" if word == "N" else word for word in shlex.split(plain)[1:]]


@functools.cache
def verbs():
    """Every verb and its flags."""
    found = next(a.choices for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return {verb: {flag for action in p._actions for flag in action.option_strings} for verb, p in found.items()}


def check(words, whole):
    """Whether Podium takes a command line; of one that is not whole, whether it knows the verb and the flags."""
    if words == ["--help"]:
        return
    assert words[0] in verbs(), f"no verb is called {words[0]}"
    unknown = {word.partition("=")[0] for word in words[1:] if word.startswith("-")} - verbs()[words[0]]
    assert unknown == set()
    problem = refusal(words)
    incomplete = ("required", "expected one argument", "does nothing here")  # fine where a sentence names a flag or two
    assert problem is None or (not whole and any(word in problem for word in incomplete)), problem


def refusal(words):
    """What Podium says against a command line, if anything."""
    try:
        parse(words)
    except UsageError as error:
        return error.what
    return None


@pages
def test_commands_are_ones_that_podium_takes(page):
    for words in blocks(page):
        check(words, whole=True)
    for words in inline(page):
        check(words, whole=False)


def test_there_are_commands_to_check():
    assert sum(1 for page in PAGES for _ in blocks(page)) > 15
    assert sum(1 for page in PAGES for _ in inline(page)) > 50


def test_a_command_that_podium_does_not_take_is_found():
    for words in (["train", "a", "b", "--epoch", "3"], ["tell", "a"], ["export", "a"]):
        with pytest.raises((AssertionError, UsageError)):
            check(words, whole=True)


# Words

# Pages in which a word of the glossary stands in its plain meaning, and the phrases in which it does.
EVERYWHERE = [r"the way back to the (first )?weights"]  # of a chain of digests, not of gradients
PLAIN = {
    "CONTRIBUTING.md": [r"\| [^|]+ \| [^|]+ \| everywhere \|"],  # the glossary itself
    "docs/reliability.md": [r"`test_\w+`"],
}


def glossary():
    """The words that no document uses."""
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \| everywhere \|$", text_of(ROOT / "CONTRIBUTING.md"), re.M)
    return [word.strip() for row in rows for word in row.split(",")]


@pages
def test_documents_use_the_words_of_the_glossary(page):
    text = prose_of(page)
    for phrase in EVERYWHERE + PLAIN.get(ids(page), []):
        text = re.sub(phrase, "", text)
    text = " ".join(text.split()).lower()
    assert len(glossary()) > 15
    assert [word for word in glossary() if re.search(rf"\b{re.escape(word)}\b", text)] == []


def test_help_texts_use_the_words_of_the_glossary():
    main = build_parser()
    verbs = next(a.choices for a in main._actions if isinstance(a, argparse._SubParsersAction))
    for name, parser in {"podium": main, **verbs}.items():
        text = " ".join(parser.format_help().split()).lower()
        assert [word for word in glossary() if re.search(rf"\b{re.escape(word)}\b", text)] == [], name


@pages
def test_documents_name_data_as_a_user_has_them(page):
    """The folder beside the checkout is explained in one place."""
    assert page.name == "CONTRIBUTING.md" or "../shared" not in text_of(page)


@pages
def test_documents_do_not_refer_to_what_a_reader_cannot_see(page):
    words = (r"\bthe brief\b", r"\bthe plan\b", r"\bgoals?\.(?:md|txt)\b", r"\bdesign\.md\b", r"\bissue \d+\b")
    assert [word for word in words if re.search(word, prose_of(page), re.I)] == []
