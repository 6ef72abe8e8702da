"""What MkDocs is told while it builds: the pages of the folders in the navigation, which pages are not translated, and cells with sentences."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

CELL = re.compile(r"<td( style=[^>]*)?>((?:(?!</td>).){50,}?)</td>", re.S)  # with a sentence in it
UNTRANSLATED = '!!! note ""\n    这一页还没有译成中文，下面是英文原文。\n\n'


def on_config(config: Any) -> Any:
    """Put every page of a folder where the navigation has a pattern, such as `lineage/*.md`."""
    config.nav = [_expanded(entry, Path(config.docs_dir)) for entry in config.nav]
    return config


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Leave out the links by which the theme's script looks for a map of the site, which it cannot read from a file."""
    return re.sub(r'<link rel="alternate" href="[^"]*" hreflang="[^"]*">', "", output)


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Mark the cells of tables that hold a sentence, so that narrow pages leave them room."""
    return CELL.sub(lambda cell: f'<td class="sentence"{cell[1] or ""}>{cell[2]}</td>', html)


def _expanded(entry: Any, folder: Path) -> Any:
    if not isinstance(entry, dict):
        return entry
    ((title, within),) = entry.items()
    if isinstance(within, str):
        return entry
    pages: list[Any] = []
    for each in within:
        if isinstance(each, str) and "*" in each:
            known = {f"{folder / page}" for page in within if isinstance(page, str)}
            pages += [p.relative_to(folder).as_posix() for p in sorted(folder.glob(each)) if str(p) not in known]
        else:
            pages.append(_expanded(each, folder))
    return {title: pages}


def on_page_markdown(text: str, page: Any, config: Any, files: Any) -> str:
    """Say of a page in Chinese that it is the original, where it is not translated."""
    i18n = config.plugins["i18n"]
    if i18n.current_language != "zh" or page.file.src_uri.endswith(".zh.md"):
        return text
    heading = re.search(r"^# .+\n+", text, re.M)
    at = heading.end() if heading else 0
    return text[:at] + UNTRANSLATED + text[at:]
