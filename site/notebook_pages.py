"""Notebooks as pages: their text, their code and what their cells show, and a link to the notebook itself."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any


def notebook_page(path: Path) -> str:
    """Return a notebook as Markdown.

    Args:
        path: of the `.ipynb` file.
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    shown = [part for cell in cells for part in _parts(cell)]
    shown.insert(1, f"`docs/notebooks/{path.name}` in the repository is this page as a notebook.")
    return "\n\n".join(shown) + "\n"


def _parts(cell: dict[str, Any]) -> list[str]:
    """A cell, and what it shows."""
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [text]
    return [f"```python\n{text}\n```", *map(_output, cell["outputs"])]


def _output(output: dict[str, Any]) -> str:
    """What a cell shows, in the form in which it looks best; a text of a terminal stays one."""
    data = {kind: "".join(value) for kind, value in output.get("data", {}).items()}
    for kind in ("text/html", "image/svg+xml"):
        if kind in data:
            return f'<div class="output">{data[kind]}</div>'
    text = data.get("text/plain") or "".join(output["text"])
    return f'<pre class="output" tabindex="0">{escape(text.rstrip())}</pre>'
