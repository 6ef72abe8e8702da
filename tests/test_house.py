"""The rules of the source tree: who may import whom, how long a file may be, and what has no place in a library.

`python tests/test_house.py` writes the picture and the table of the rooms in `docs/architecture.md` anew.
"""

import ast
import inspect
import re
import sys
from pathlib import Path

import pytest

from conftest import ROOT

SOURCE = ROOT / "src" / "podium"
FILES = sorted(SOURCE.rglob("*.py"))

# Room -> the rooms it may name, from the ground up. A room is a folder, or a file of its own; all may name the ground.
GROUND = {
    "errors",
    "fixes",
    "calls",
    "bars",
    "html",
    "platform",
    "files",
    "units",
    "tables",
    "natural",
    "patterns",
    "devices",
    "imagenet",
}
MAY = {
    "errors": set(),
    "fixes": set(),
    "bars": set(),
    "html": set(),
    "calls": {"errors", "fixes"},
    "platform": set(),
    "files": {"errors", "platform"},
    "units": {"errors"},
    "tables": set(),
    "natural": set(),
    "patterns": {"errors"},
    "devices": {"errors", "platform"},
    "imagenet": set(),
    "settings": set(),
    "models": set(),
    "networks": {"models"},
    "weights": {"models", "networks"},
    "diagrams": {"models"},
    "data": set(),
    "explain": {"models", "data"},
    "runs": {"settings", "models", "weights", "data", "explain"},
    "tracking": {"settings", "runs"},
    "evaluation": {"models", "data"},
    "training": {"settings", "models", "weights", "data", "runs", "evaluation"},
    "deployment": {"weights", "data", "explain", "runs", "evaluation"},
    "comparison": {
        "settings",
        "models",
        "weights",
        "diagrams",
        "data",
        "explain",
        "runs",
        "evaluation",
        "training",
        "deployment",
        "tracking",
    },
    "compression": {"settings", "models", "networks", "data", "runs", "evaluation", "training", "deployment"},
    "experiments": {
        "settings",
        "models",
        "networks",
        "diagrams",
        "data",
        "runs",
        "evaluation",
        "training",
        "comparison",
        "compression",
    },
    "verification": {"weights", "runs", "deployment"},
    "web": set(),
    "serving": {"web", "data", "explain", "runs", "deployment"},
    "api": {
        "settings",
        "models",
        "data",
        "explain",
        "runs",
        "evaluation",
        "training",
        "comparison",
        "compression",
        "experiments",
        "deployment",
        "tracking",
    },
    "board": {"web", "runs", "comparison", "api"},
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
        "experiments",
        "verification",
        "tracking",
        "web",
        "serving",
        "board",
        "api",
    },
    "__main__": {"cli"},
    "__init__": {"settings", "models", "weights", "data", "runs", "comparison", "deployment", "verification", "api"},
}
NARROW = {  # not the loaders
    "runs": {
        "data": {
            "podium.data.image_file",
            "podium.data.inputs",
            "podium.data.name_lists",
            "podium.data.names",
            "podium.data.preprocessing",
            "podium.data.readers",
        }
    }
}

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
    "mlflow",
    "fastapi",
    "uvicorn",
    "prometheus_client",
}
LIGHT = {"__init__", "__main__", "cli", "settings", *GROUND}


def room(path):
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


ARCHITECTURE = ROOT / "docs" / "architecture.md"
MARKERS = "<!-- rooms: written by `python tests/test_house.py` -->\n\n", "\n\n<!-- end of rooms -->"
ROOMS = [own for own in MAY if own not in GROUND and not own.startswith("__")]


def path_of(own):
    """The file that says what a room is for, and the room as documents name it."""
    folder = SOURCE / own
    return (folder / "__init__.py", f"{own}/") if folder.is_dir() else (SOURCE / f"{own}.py", f"{own}.py")


def reached(own):
    """The rooms that a room needs, directly or through others."""
    return MAY[own].union(*map(reached, MAY[own]))


def rooms_picture():
    """The rooms as a Mermaid graph: an arrow to each room from those it builds on, without what other arrows imply."""
    lines = [f'  {own}["{path_of(own)[1]}"]' for own in ROOMS]
    for own in ROOMS:
        needed = [other for other in ROOMS if other in MAY[own]]
        nearest = [other for other in needed if not any(other in reached(between) for between in needed)]
        lines += [f"  {other} --> {own}" for other in nearest]
    return "\n".join(["```mermaid", "flowchart LR", *lines, "```"])


def rooms_table():
    """The rooms as a Markdown table, from the ground up: what each is for, and which it may import."""
    rows = ["| room | what it is for | may import, besides the ground |", "| --- | --- | --- |"]
    for place, own in enumerate(ROOMS):
        path, shown = path_of(own)
        idea = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).splitlines()[0]
        named = [other for other in ROOMS if other in MAY[own]]
        missing = [other for other in ROOMS[:place] if other not in MAY[own]]
        reach = f"all above but {', '.join(missing)}" if 0 < len(missing) < len(named) else ", ".join(named)
        rows.append(f"| `{shown}` | {idea.replace('|', '&#124;')} | {reach or 'nothing'} |")
    return "\n".join(rows)


def ground_list():
    """The files that every room may import, as a sentence."""
    names = [f"`{path_of(own)[1]}`" for own in MAY if own in GROUND]
    return f"The ground is {', '.join(names[:-1])} and {names[-1]}. Each says in its first line what it is for."


def rooms_text():
    """All that the documentation has of the rooms."""
    return "\n\n".join([rooms_picture(), rooms_table(), ground_list()])


def write_rooms():
    """Put the text between its markers."""
    before, _, rest = ARCHITECTURE.read_text(encoding="utf-8").partition(MARKERS[0])
    after = rest.partition(MARKERS[1])[2]
    ARCHITECTURE.write_text(before + MARKERS[0] + rooms_text() + MARKERS[1] + after, encoding="utf-8")


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
    assert own in MAY, f"{own} is a room without an entry in MAY"
    allowed = GROUND if own not in GROUND else set()
    for other, module in rooms_named(path):
        assert other in MAY[own] | allowed | {own}, f"{path.name} may not import {module}"
        narrow = NARROW.get(own, {}).get(other)
        assert narrow is None or module in narrow, f"{path.name} may import of {other} only {narrow}, not {module}"


def test_imports_have_no_circle_and_every_room_is_there():
    assert {room(path) for path in FILES} == set(MAY)
    done = set()
    while len(done) < len(MAY):
        ready = {own for own, others in MAY.items() if own not in done and others <= done}
        assert ready, f"a circle among {set(MAY) - done}"
        done |= ready


def test_the_documentation_has_the_rooms():
    text = ARCHITECTURE.read_text(encoding="utf-8")
    written = text.partition(MARKERS[0])[2].partition(MARKERS[1])[0]
    assert written == rooms_text(), "python tests/test_house.py writes them"


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
    assert len(text.splitlines()) <= 350
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "says in its first line what it is for"
    asserts = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert not asserts, f"assert, which `python -O` takes away, on line {asserts}"


MANY_ARGUMENTS = {  # typed keywords that editors complete, and the loader, whose arguments are data
    "api/compare.py:compare", "api/deploy.py:quantize", "api/evaluate.py:evaluate", "api/smaller.py:prune", "api/train.py:train", "api/weights.py:import_weights",
    "data/loader.py:__init__", "data/sources.py:load_data",
}  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_functions_fit_a_screen(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{path.relative_to(SOURCE).as_posix()}:{node.name}"
            first = node.lineno
            if room(path) == "api" and ast.get_docstring(node):  # a user's keywords are explained one by one
                first += node.body[0].end_lineno - node.body[0].lineno
            assert node.end_lineno - first < 60, f"{name} is longer than 60 lines"
            arguments = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            assert len([each for each in arguments if each not in ("self", "cls")]) <= 8 or name in MANY_ARGUMENTS, name


PRINTS = {  # besides the command line: tables and bars, and the process that opens foreign files
    "bars.py", "tables.py", "weights/foreign.py",
}  # fmt: skip


@pytest.mark.parametrize(
    "path", [path for path in FILES if room(path) != "cli"], ids=lambda p: str(p.relative_to(SOURCE))
)
def test_the_library_logs_and_does_not_print(path):
    calls = [node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    prints = any(isinstance(called, ast.Name) and called.id == "print" for called in calls)
    assert not prints or path.relative_to(SOURCE).as_posix() in PRINTS


# Modules, files and functions that only some systems have.
OF_SOME_SYSTEMS = (
    r"^\s*(?:import|from) (?:ctypes|fcntl|grp|msvcrt|pwd|resource|termios|winreg)\b"
    r"|\bos\.(?:pread|sched_getaffinity|sysconf|kill|fork|getuid)\b|/proc/\w|\bsys\.platform\b|\bos\.name\b"
)
ITSELF = {"files.py"}  # kills its own process where a test wants a crash, which every system can


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_what_differs_between_systems_is_in_one_file(path):
    if path.name != "platform.py" and path.name not in ITSELF:
        assert not re.findall(OF_SOME_SYSTEMS, path.read_text(encoding="utf-8"), re.MULTILINE)


# What runs code out of a file, or a shell, or unpacks to where an archive says.
FORBIDDEN = [
    r"\bpickle\.loads?\(", r"weights_only=False", r"\byaml\.load\(", r"(?<![\w.])eval\(", r"(?<![\w.])exec\(", r"os\.system",
    r"shell=True", r"\.extractall\(", r"\bmktemp\(", r"trust_remote_code",
]  # fmt: skip
# In pickled.py with an unpickler that knows only what rebuilds tensors; whole.py has the words in a line for the user to run.
OWN_UNPICKLER = {"weights_only=False": {"pickled.py", "whole.py"}}


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_nothing_runs_code_from_a_file(pattern):
    found = {path.name for path in FILES if re.search(pattern, path.read_text(encoding="utf-8"))}
    assert found <= OWN_UNPICKLER.get(pattern, set())


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


def test_public_functions_say_what_they_take_and_return():
    """Every argument stands under Args, and what comes back under Returns."""
    import podium

    for name in podium.__all__:
        function = getattr(podium, name)
        if not inspect.isfunction(function):
            continue
        text = inspect.getdoc(function)
        listed = re.search(r"^Args:\n(.*?)(?=^\w|\Z)", text, re.MULTILINE | re.DOTALL)
        named = {word for line in re.findall(r"^    ([\w, ]+):", listed[1], re.MULTILINE) for word in line.split(", ")}
        assert set(inspect.signature(inspect.unwrap(function)).parameters) <= named, name
        assert "\nReturns:\n" in text, name


def test_type_checkers_see_every_public_name_from_where_it_comes():
    """The names are imported on first use; what a type checker reads instead must say the same."""
    import podium

    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    assert {alias.asname: node.module for node in block.body for alias in node.names} == podium._HOMES


if __name__ == "__main__":
    write_rooms()
