"""Notebooks as pages: their text and code, and a link to the notebook itself."""

from __future__ import annotations

import json
from pathlib import Path


def notebook_page(path: Path) -> str:
    """Return a notebook as Markdown.

    Args:
        path: of the `.ipynb` file.
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    shown = [
        text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
        for cell, text in zip(cells, texts, strict=True)
    ]
    shown.insert(1, f"`docs/notebooks/{path.name}` in the repository is this page as a notebook.")
    return "\n\n".join(shown) + "\n"
