"""Run the notebooks of this folder from the first cell to the last, and keep in them what their cells show: `make notebooks`.

A bar is kept as the lines that it leaves on a terminal. The digest of the cells is kept too: a test says where they have changed since.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import sys
import tempfile
from pathlib import Path

import nbclient
import nbformat

HERE = Path(__file__).resolve().parent
CODES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")  # colours and moves of a terminal
BAR = re.compile(r"\d(it)? \[[\d:]+[<,]")  # as tqdm writes one


def run(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Run a notebook in a folder, with the `podium` and `python` that run this script."""
    for cell in code_cells(notebook):
        cell.outputs = []
    command = folder / "bin" / "podium"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m podium "$@"\n')
    command.chmod(0o755)
    before, source = os.environ.copy(), str(HERE.parents[1] / "src")
    os.environ |= {
        "PATH": f"{command.parent}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
        "PYTHONPATH": source,
    }
    try:
        nbclient.NotebookClient(notebook, timeout=3600, resources={"metadata": {"path": str(folder)}}).execute()
    finally:
        os.environ.clear()
        os.environ |= before


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Keep of what the cells have shown what a reader sees in the end."""
    for cell in code_cells(notebook):
        cell.metadata.pop("execution", None)  # when it ran
        cell.outputs = [output for output in joined(cell.outputs) if output.get("text") != ""]


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cells that run."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def digest(notebook: nbformat.NotebookNode) -> str:
    """Of the code of a notebook."""
    return hashlib.sha256("\n\n".join(cell.source for cell in code_cells(notebook)).encode()).hexdigest()


def joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """The outputs of a cell, with neighbouring texts as one: the bars of a run are on standard error, its lines are not."""
    kept: list[nbformat.NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream" and kept and kept[-1].output_type == "stream":
            kept[-1].text += output.text
        else:
            kept.append(output)
    for output in kept:
        if output.output_type == "stream":
            output.name, output.text = "stdout", left_on_terminal(output.text)
    return kept


def left_on_terminal(text: str) -> str:
    """What is left of a text on a terminal: of each line, what was written last over its beginning; no bar that was there meanwhile."""
    lines = (re.split("\r+", line.rstrip("\r"))[-1].rstrip() for line in CODES.sub("", text).split("\n"))
    return "".join(f"{line}\n" for line in lines if line and not BAR.search(line))


def main() -> None:
    """Run all notebooks, or those that are named."""
    for path in [Path(name) for name in sys.argv[1:]] or sorted(HERE.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            run(notebook, Path(folder))
        tidy(notebook)
        notebook.metadata["podium"] = {"code": digest(notebook)}
        nbformat.write(notebook, path)
        print(f"run: {path.name}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
