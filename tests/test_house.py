"""The house rules: who may import whom, how long a file may be, and what has no place in a library."""

import ast
import re
import sys
from pathlib import Path

import pytest

from conftest import ROOT

SOURCE = ROOT / "src" / "podium"
FILES = sorted(SOURCE.rglob("*.py"))

# Room -> the rooms it may name, from the ground up. A room is a folder, or a file of its own; all may name the ground.
GROUND = {"errors", "calls", "files", "units", "tables"}
MAY = {
    "errors": set(),
    "calls": {"errors"},
    "files": {"errors"},
    "units": {"errors", "calls"},
    "tables": set(),
    "settings": set(),
    "models": set(),
    "networks": {"models"},
    "weights": {"models", "networks"},
    "diagrams": {"models"},
    "data": set(),
    "runs": {"settings", "models", "weights", "data"},
    "evaluation": {"models", "data"},
    "training": {"settings", "models", "weights", "data", "runs", "evaluation"},
    "comparison": {"settings", "models", "weights", "diagrams", "data", "runs", "evaluation", "training"},
    "deployment": {"weights", "data", "runs", "evaluation"},
    "compression": {"settings", "models", "networks", "data", "runs", "evaluation", "training", "deployment"},
    "verification": {"runs", "deployment"},
    "smaller": {"settings", "data", "runs", "training", "comparison", "compression"},
    "api": {"settings", "models", "data", "runs", "evaluation", "training", "comparison", "compression", "deployment"},
    "cli": {
        "settings",
        "models",
        "weights",
        "diagrams",
        "data",
        "runs",
        "evaluation",
        "training",
        "comparison",
        "deployment",
        "compression",
        "verification",
        "smaller",
        "api",
    },
    "__main__": {"cli"},
    "__init__": set(),  # its public names are imported on first use
}
NARROW = {"runs": {"data": {"podium.data.decode", "podium.data.dataset"}}}  # not the loaders

HEAVY = {
    "torch",
    "numpy",
    "sklearn",
    "plotly",
    "jinja2",
    "PIL",
    "safetensors",
    "tensorboardX",
    "yaml",
    "rich",
    "onnx",
    "onnxruntime",
    "openvino",
    "nncf",
}
LIGHT = {"__init__", "__main__", "cli", "settings", *GROUND}


def room(path):
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def imported(nodes):
    """The modules that statements import; `from podium import api` is podium.api."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            yield from (f"podium.{alias.name}" for alias in node.names) if node.module == "podium" else [node.module]


def rooms_named(path):
    """(room, module) of every part of Podium that a file names."""
    for module in imported(ast.walk(ast.parse(path.read_text(encoding="utf-8")))):
        parts = module.split(".")
        if parts[0] == "podium" and parts[1:] and not parts[1].startswith("__version"):
            yield parts[1], module


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_room_imports_only_those_before_it(path):
    own = room(path)
    assert own in MAY, f"{own} is a room the plan does not know"
    allowed = GROUND if own not in GROUND else set()
    for other, module in rooms_named(path):
        assert other in MAY[own] | allowed | {own}, f"{path.name} may not import {module}"
        narrow = NARROW.get(own, {}).get(other)
        assert narrow is None or module in narrow, f"{path.name} may import of {other} only {narrow}, not {module}"


def test_the_plan_has_no_circle_and_no_room_that_is_not_there():
    assert {room(path) for path in FILES} == set(MAY)
    done = set()
    while len(done) < len(MAY):
        ready = {own for own, others in MAY.items() if own not in done and others <= done}
        assert ready, f"a circle among {set(MAY) - done}"
        done |= ready


def test_no_files_import_each_other_in_a_circle():
    """By the imports at the top of each file."""
    modules = {".".join(p.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__"): p for p in FILES}
    named = {}
    for own, path in modules.items():
        found = set()
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom):
                files = {f"{node.module}.{alias.name}" for alias in node.names} & set(modules)
                found |= files or {node.module}
        named[own] = found & set(modules) - {own}
    done = set()
    while len(done) < len(modules):
        ready = {own for own, others in named.items() if own not in done and others <= done}
        assert ready, f"a circle among {sorted(set(modules) - done)}"
        done |= ready


@pytest.mark.parametrize("path", [path for path in FILES if room(path) in LIGHT], ids=lambda path: path.name)
def test_what_help_needs_imports_nothing_heavy_at_the_top(path):
    top = ast.parse(path.read_text(encoding="utf-8")).body
    assert not {module.split(".")[0] for module in imported(top)} & HEAVY


def test_what_runs_an_exported_file_reaches_nothing_that_needs_torch():
    """By every import at the top of a file, from file to file."""
    waiting, seen, packages = ["podium.deployment.load"], set(), set()
    while waiting:
        module = waiting.pop()
        parts = module.split(".")
        if parts[0] != "podium":
            packages.add(parts[0])
        elif module not in seen:
            seen.add(module)
            path = ROOT / "src" / Path(*parts)
            path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            waiting += [
                *imported(ast.parse(path.read_text(encoding="utf-8")).body),
                *([".".join(parts[:-1])] if parts[1:] else []),
            ]
    assert packages & {"numpy", "PIL"}
    assert packages <= sys.stdlib_module_names | {"numpy", "PIL"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_has_one_idea_and_says_it(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 450
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "says in its first line what it is for"
    asserts = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert not asserts, f"assert, which `python -O` takes away, on line {asserts}"


# What runs code out of a file, or a shell, or unpacks to where an archive says.
FORBIDDEN = [
    r"\bpickle\.loads?\(", r"weights_only=False", r"\byaml\.load\(", r"(?<![\w.])eval\(", r"(?<![\w.])exec\(", r"os\.system",
    r"shell=True", r"\.extractall\(", r"\bmktemp\(", r"trust_remote_code",
]  # fmt: skip


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_nothing_runs_code_from_a_file(pattern):
    found = [path.name for path in FILES if re.search(pattern, path.read_text(encoding="utf-8"))]
    assert not found


def test_no_path_of_one_machine_is_written_down():
    """A path from the root of one machine works on that one only; what all have is /dev, /proc and /tmp."""
    pattern = re.compile(r"""["'`( ](/(?:work|home|root|Users|mnt|opt|srv|data)/[\w.]+|[A-Z]:\\\\?\w+|~/\w+)""")
    folders = [SOURCE, ROOT / "tests", ROOT / "docs", ROOT / "benchmarks"]
    texts = [
        p for f in folders for p in f.rglob("*") if p.suffix in {".py", ".md", ".j2", ".yaml"} and p != Path(__file__)
    ]
    texts += [ROOT / name for name in ("README.md", "pyproject.toml", "Makefile") if (ROOT / name).is_file()]
    found = [f"{p.relative_to(ROOT)}: {m[1]}" for p in texts for m in pattern.finditer(p.read_text(encoding="utf-8"))]
    assert len(texts) > 50
    assert not found


def test_every_public_name_is_there_and_nothing_else():
    import podium

    for name in podium.__all__:
        assert getattr(podium, name) is not None
    assert set(dir(podium)) == set(podium.__all__)
    with pytest.raises(AttributeError, match="trian"):
        podium.trian
