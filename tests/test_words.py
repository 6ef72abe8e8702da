"""The source uses the field's terms, not words of its own.

A file may still use the words that `tests/words_left.json` lists for it. The list only shrinks: the test fails on a word that is not
listed, and on a listed word that is no longer used. `python tests/test_words.py` takes out of the list what is no longer used; where
there is no list, it writes down all that is found.
"""

import ast
import functools
import json
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "podium"
LEFT = Path(__file__).parent / "words_left.json"

# The term to write -> a pattern of what not to write, in identifiers and in text. An identifier is searched as words
# ("watched on" for `watched_on`); only names that the source itself defines count, not those of the libraries it uses.
TERMS = {
    "evaluate": (r"\b(judg|watch)\w*", r"\b(judg|watch)\w*"),
    "precision": (r"\barithmetic\b", r"\barithmetic\b"),
    "memory format": (
        r"\b(lay|laid|lays) out\b|\border in memory\b",
        r"\b(lay|lays|laid|laying) out\b|\border in memory\b",
    ),
    "candidates, fastest setting": (r"\bways?\b", r"\b(fast|faster|fastest|quickest|cheapest) ways?\b"),
    "forward and backward pass": (r"\bway (forward|back)\b", r"\bway (forward|back)\b"),
    "training step, optimiser step": (r"\bbut the step\b", r"\bbut the step\b"),
    "target, requirement": (r"\basked\b", r"\basked for\b"),
    "EMA": (
        r"\baverages?\b",
        r"\baveraged weights\b|\b(weights'|running) average\b|\baverages? of (its|the) weights\b",
    ),
    "checkpoint": (None, r"\bstates? (is|are|was|were) saved\b|\b(last|saved|good) state\b"),
    "save the bundle": (r"\bship(s|ped|ping)?\b", r"\bship(s|ped|ping)?\b"),
    "linear probe, frozen features, autotune": (
        r"(?<!linear )\bprob(e|es|ed|ing)\b|\bconstants?\b",
        r"\bconstant features\b",
    ),
}
# What a name may not be where it names a function (write format_... or parse_...), or where it is given to a module.
OF_A_KIND = {"function": r"^(told|known|by)$|\btold$", "module": r"^states?$"}


def names_defined(tree):
    """(identifier, kind of what it names) of everything that a file gives a name to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, "function"
        elif isinstance(node, ast.ClassDef):
            yield node.name, "class"
        elif isinstance(node, ast.arg):
            yield node.arg, "variable"
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, "variable"
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, "variable"
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, "module"


def words_of(identifier):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", identifier).lower().replace("_", " ").strip()


def found_in(path):
    """The identifiers and phrases of a file for which there is a term."""
    return _found(path.stem, path.read_text(encoding="utf-8"))


@functools.cache
def _found(module, text):
    tree = ast.parse(text)
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    found = set()
    for name, kind in [(module, "module"), *names_defined(tree)]:
        patterns = [*(in_names for in_names, _ in TERMS.values()), OF_A_KIND.get(kind)]
        if any(re.search(pattern, words_of(name)) for pattern in patterns if pattern):
            found.add(name)
    for text in texts:
        for _, in_text in TERMS.values():
            found |= {match[0].lower() for match in re.finditer(in_text, " ".join(text.split()), re.IGNORECASE)}
    return found


def found_now():
    files = {path.relative_to(SOURCE).as_posix(): found_in(path) for path in sorted(SOURCE.rglob("*.py"))}
    return {name: sorted(words) for name, words in files.items() if words}


def shrink():
    """Write the list without the words that are no longer used; all that is found, where there is no list."""
    now = found_now()
    if LEFT.is_file():
        allowed = json.loads(LEFT.read_text())
        now = {name: [word for word in words if word in allowed.get(name, ())] for name, words in now.items()}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(words)}" for name, words in now.items() if words)
    LEFT.write_text(f"{{\n{lines}\n}}\n")


def test_the_source_has_no_word_of_its_own_but_those_on_the_list():
    allowed = json.loads(LEFT.read_text())
    new = {name: sorted({*words} - {*allowed.get(name, ())}) for name, words in found_now().items()}
    new = {name: words for name, words in new.items() if words}
    assert not new, f"write the field's terms, {'; '.join(TERMS)}, in the place of these"


def test_the_list_has_no_word_that_is_no_longer_used():
    now = found_now()
    gone = {name: sorted({*words} - {*now.get(name, ())}) for name, words in json.loads(LEFT.read_text()).items()}
    gone = {name: words for name, words in gone.items() if words}
    assert not gone, "take them out of the list: python tests/test_words.py"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def watched_on(images): pass", {"watched_on"}),
        ("def known(x): known = 1", {"known"}),
        ("import podium.runs.checkpoint as state\nstate_dict = state.read()", {"state"}),
        ("class ShippedNet:\n    'Evaluated on images that it is judged\\nby.'", {"ShippedNet", "judged"}),
        ("x = f'{y} is laid  out'", {"laid out"}),
        ("linear_probe, layout, away, probability, swatch = 'the best way', 'relationship', 0, 0, 0", set()),
        ("nn.init.constant_(x.shape, 1)", set()),
    ],
)
def test_what_counts_as_a_word(tmp_path, text, found):
    (tmp_path / "x.py").write_text(text)
    assert found_in(tmp_path / "x.py") == found


def test_the_list_only_shrinks(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "SOURCE", tmp_path)
    monkeypatch.setitem(globals(), "LEFT", tmp_path / "left.json")
    (tmp_path / "x.py").write_text("judge, probe = 1, 2")
    shrink()
    assert json.loads(LEFT.read_text()) == {"x.py": ["judge", "probe"]}
    (tmp_path / "x.py").write_text("judge, watch = 1, 2")
    shrink()
    assert json.loads(LEFT.read_text()) == {"x.py": ["judge"]}
    with pytest.raises(AssertionError, match="watch"):
        test_the_source_has_no_word_of_its_own_but_those_on_the_list()
    (tmp_path / "x.py").write_text("watch = 1")
    with pytest.raises(AssertionError, match=r"test_words\.py"):
        test_the_list_has_no_word_that_is_no_longer_used()


if __name__ == "__main__":
    shrink()
