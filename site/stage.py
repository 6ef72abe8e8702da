"""Gather the pages of the site in build/docs-source: those of docs/, those that are generated, and the files that they link to.

`make docs` runs it before MkDocs. The documents stay readable on GitHub: their links are changed here and nowhere else.
"""

from __future__ import annotations

import posixpath
import re
import shutil
from pathlib import Path, PurePosixPath

from api_page import api_page
from lineage_pages import lineage_pages
from notebook_pages import notebook_page
from rooms_picture import with_pictures

ROOT = Path(__file__).resolve().parents[1]
STAGED = ROOT / "build" / "docs-source"

# Documents outside of docs/, and their places on the site.
OUTSIDE = {
    "README.md": "index.md",
    "README.zh.md": "index.zh.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "docs": ".",
}
LANGUAGES = re.compile(r"\[(中文|English)\]\(README[.\w]*\)\n\n")  # the site has a switch
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)")


def place(path: str) -> str:
    """Where the site has a file of the repository, both as paths from their roots.

    A translation is named like its original: the site takes the one in the reader's language.
    """
    path = path.replace(".zh.md", ".md") if path not in OUTSIDE else path
    moved = (
        OUTSIDE.get(path) or posixpath.relpath(path, "docs") if path.startswith("docs/") else OUTSIDE.get(path, path)
    )
    return moved.removesuffix(".ipynb") + ".md" if moved.endswith(".ipynb") else moved


def with_links(text: str, path: str) -> tuple[str, set[str]]:
    """Return a document with the links of the site, and the files of the repository that it links to.

    Args:
        text: of the document, in Markdown.
        path: of the document, from the root of the repository.
    """
    linked: set[str] = set()

    def moved(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), match[1]))
        linked.add(target)
        return posixpath.relpath(
            place(target).replace("index.zh.md", "index.md"), posixpath.dirname(place(path)) or "."
        )

    blocks = re.split(r"(^```.*?^```$)", LANGUAGES.sub("", text, count=1), flags=re.M | re.S)
    return "".join(block if block.startswith("```") else LINK.sub(moved, block) for block in blocks), linked


def stage() -> None:
    """Write all pages of the site, and the files that they link to, into an empty folder."""
    shutil.rmtree(STAGED, ignore_errors=True)
    shutil.copytree(
        ROOT / "docs", STAGED, ignore=shutil.ignore_patterns("*.md", "*.py", "*.ipynb", ".ipynb_checkpoints")
    )
    shutil.copytree(Path(__file__).with_name("assets"), STAGED / "assets")
    pages = {f"docs/{path}": text for path, text in (*lineage_pages(), ("api.md", api_page()))}
    documents = [*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in OUTSIDE if name.endswith(".md"))]
    pages |= {p.relative_to(ROOT).as_posix(): with_pictures(p.read_text(encoding="utf-8")) for p in documents}
    for notebook in (ROOT / "docs").rglob("*.ipynb"):
        pages[notebook.relative_to(ROOT).as_posix()] = notebook_page(notebook)
    for path, text in pages.items():
        moved, linked = with_links(text, path)
        _write(place_of_page(path), moved)
        for target in linked - pages.keys():
            _copy(target)


def place_of_page(path: str) -> str:
    """Where the site has a document; a translation keeps its own name here, by which MkDocs finds it."""
    if path in OUTSIDE or not path.endswith(".zh.md"):
        return place(path)
    return posixpath.relpath(path, "docs")


def _write(path: str, text: str) -> None:
    file = STAGED / PurePosixPath(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def _copy(target: str) -> None:
    source, file = ROOT / target, STAGED / PurePosixPath(place(target))
    if source.is_file() and not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, file)


if __name__ == "__main__":
    stage()
