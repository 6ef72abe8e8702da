"""The notebooks of the documentation run from the first cell to the last, and show what their cells have shown."""

import importlib.util
import re

import pytest

from conftest import ROOT

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
FOLDER = ROOT / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(scope="module")
def runner():
    spec = importlib.util.spec_from_file_location("run_notebooks", FOLDER / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text_of(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return "".join(output.get("text", "") for cell in cells for output in cell.outputs)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of the kernel's client; a warning inside the notebook is in its output
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(runner, path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    runner.run(notebook, tmp_path)
    assert "%|" in text_of(notebook), "a bar"
    runner.tidy(notebook)
    said = text_of(notebook)
    assert "warning" not in said.lower()
    assert "Traceback" not in said, "a command of a cell that starts with an exclamation mark fails without stopping"
    assert not [line for line in said.splitlines() if line.startswith("error:")]
    shown = [set(output.get("data", {})) for cell in runner.code_cells(notebook) for output in cell.outputs]
    kept = nbformat.read(path, as_version=4)
    assert shown == [set(output.get("data", {})) for cell in runner.code_cells(kept) for output in cell.outputs]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_notebook_shows_is_of_its_own_code_and_of_no_machine(runner, path):
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata.podium.code == runner.digest(notebook), "its code has changed since: make notebooks"
    data = [output.get("data", {}) for cell in runner.code_cells(notebook) for output in cell.outputs]
    assert any("text/html" in each for each in data), "a table or a curve"
    assert "epoch   1" in text_of(notebook), "the lines that a bar leaves"
    assert not re.search(r"/(tmp|home|root|work)/", path.read_text())
    assert path.stat().st_size < 500_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_page_of_the_site_shows_what_a_cell_shows_with_its_lines(path, monkeypatch):
    """A table of lines is one line without them."""
    markdown = pytest.importorskip("markdown")
    monkeypatch.syspath_prepend(ROOT / "site")
    from notebook_pages import notebook_page

    page = markdown.markdown(notebook_page(path), extensions=["attr_list", "md_in_html", "fenced_code"])
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    data = [output.get("data", {}) for cell in cells for output in cell.outputs]
    shown = [
        each.get("text/html") or each["image/svg+xml"] for each in data if {"text/html", "image/svg+xml"} & set(each)
    ]
    assert shown
    for markup in shown:
        assert re.sub(r"(?m)^ +$", "", markup).strip() in page  # Markdown empties a line of blanks


def test_of_a_bar_the_lines_that_it_leaves_are_kept(runner):
    said = "\r  0%| | 0/2 [00:00<?, ?it/s]\r      \rfirst\n\r 50%|# | 1/2 [00:01<00:01, 1.0it/s, loss=0.1]\x1b[A\r     \r\rsecond\r\n\r100%|##| 2/2 [00:02, 1.0it/s]\n"
    assert runner.left_on_terminal(said) == "first\nsecond\n"
