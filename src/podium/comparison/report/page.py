"""Write a page that works offline: a template of `templates/`, with the charts' data and plotly's script inside."""

from __future__ import annotations

import functools
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.comparison.report.languages import chinese, label, say
from podium.data.names import show
from podium.errors import EXTRAS, MachineError, UsageError
from podium.files import refuse_unwritable, write_text

if TYPE_CHECKING:
    import jinja2

# What the page's script writes by itself, with holes in it.
SCRIPT_TEXTS = (
    "{true} taken for {predicted}: {n} images",
    "{true} recognised: {n} images",
    "The {k} answers that the network is most certain of, with its confidence.",
    "The {k} right answers that the network is least certain of, with its confidence.",
    "This page has no room for pictures of this cell.",
    "No image is in this cell.",
    "no picture",
)


def check_packages() -> None:
    """Check that the packages which draw the page are installed, before hours of training whose result it will show.

    Raises:
        MachineError: one is missing; names it.
    """
    for package in ("jinja2", "plotly"):
        if importlib.util.find_spec(package) is None:
            what = f"{package} is not installed, which the report needs"
            raise MachineError(what, f'pip install "podium[{EXTRAS[package]}]"')


def refuse_foreign(path: Path, *marks: str) -> None:
    """Refuse to write over a file that a person has there, before the work whose result it would hold.

    Args:
        path: of the file.
        marks: texts of which one stands in the first lines of a file that may be written over.

    Raises:
        UsageError: the path is a folder, its folder is not there, or another file is there.
        MachineError: it cannot be written.
    """
    if path.is_dir() or not path.parent.is_dir():
        what = "is a folder" if path.is_dir() else "is in a folder that does not exist"
        raise UsageError(f"{show(path)}: {what}", "give a file in a folder that is there")
    if path.is_file():
        with path.open("rb") as file:
            begin = file.read(2000).decode("utf-8-sig", errors="replace")
        if not any(mark in begin for mark in marks):
            raise UsageError(f"{show(path)}: another file is there already", "give a new name, or move it away")
    refuse_unwritable(path)


def write_page(path: Path, template: str, charts: dict[str, Any], **content: Any) -> Path:
    """Write a page from a template, with every text escaped.

    Args:
        path: of the page.
        template: a file of `templates/` that extends `page.html.j2`.
        charts: what plotly draws, by the `data-chart` of the element it is drawn into.
            "alt" of a chart says in words what it shows. "said" in the meta of a trace names its lists of texts, which follow
            the language; other lists hold names and numbers.
        content: the other variables of the template.
    """
    drawn = {"charts": charts, "words": words_of(charts), "plotly": _plotly() if charts else ""}
    page = _templates().get_template(template).render(drawn, **content)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)
    return path


@functools.cache
def _templates() -> jinja2.Environment:
    """The templates. Each is compiled once in a process, which takes as long as the rest of a small report."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("podium", "comparison/report/templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"say": say, "label": label, "script_json": script_json}
    return environment


def words_of(charts: dict[str, Any]) -> dict[str, str]:
    """The Chinese forms of the texts that plotly draws, and of those that the page's script writes."""
    texts = list(SCRIPT_TEXTS)
    for chart in charts.values():
        for axis in ("xaxis", "yaxis"):
            texts.append(chart["layout"].get(axis, {}).get("title", {}).get("text", ""))
        for trace in chart["data"]:
            texts += [trace.get("name", ""), trace.get("hovertemplate", "")]
            texts += [text for key in trace.get("meta", {}).get("said", ()) for text in trace[key]]
    return {text: form for text in dict.fromkeys(texts) if (form := chinese().translate(text)) is not None}


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def script_json(content: Any) -> str:
    """JSON for a script element: json.dumps alone would leave a `</script>` in it, which ends the element."""
    text = json.dumps(content, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e").replace("\u2028", "\\u2028")
