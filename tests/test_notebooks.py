"""The notebooks of the documentation run from the first cell to the last, with the bars and tables that a person sees."""

import os
import sys

import pytest

from conftest import ROOT

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of the kernel's client; a warning inside the notebook is in its output
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    command = tmp_path / "bin" / "podium"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m podium "$@"\n')
    command.chmod(0o755)
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    said = "".join(output.get("text", "") for output in outputs if output.get("output_type") == "stream")
    assert "warning" not in said.lower()
    assert not [line for line in said.splitlines() if line.startswith("error:")]
    assert any("text/html" in output.get("data", {}) for output in outputs), "a table or a curve"
    assert any("%|" in output.get("text", "") for output in outputs), "a bar"


def test_notebooks_are_kept_without_output():
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            assert cell.cell_type != "code" or (cell.outputs == [] and cell.execution_count is None), path.name
