"""A page for each paper of the lineage: made from the registry, the docstrings, `podium draw` and `podium info`.

The story, the order and the published numbers are those of `docs/lineage.md`, which comes from the same data.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from podium.cli.info import COLUMNS, layer_cells
from podium.comparison.report.lineage import ARTICLES, STORY, Chapter, networks, percent
from podium.diagrams.draw import diagram
from podium.evaluation.layers import summary
from podium.models import architecture
from podium.models.convnet import ConvNet
from podium.models.undrawn import meta
from podium.weights.create import create_model

# The paper whose network each one changes.
ANCESTORS = {
    "AlexNet": "LeNet-5",
    "ZFNet": "AlexNet",
    "AlexNet, one tower": "AlexNet",
    "VGG": "AlexNet",
    "GoogLeNet": "AlexNet",
    "BN-Inception": "GoogLeNet",
    "Inception v3": "BN-Inception",
    "ResNet": "VGG",
    "Inception v4 and Inception-ResNet": "Inception v3",
    "ResNet v2": "ResNet",
    "Wide ResNet": "ResNet",
    "DenseNet": "ResNet",
    "Xception": "Inception v3",
    "ResNeXt": "ResNet",
    "MobileNet": "Xception",
    "SENet": "ResNeXt",
}
CHAPTERS = {chapter.title: chapter for chapter in STORY}
CLAIMS = Path(__file__).resolve().parents[1] / "docs" / "claims.md"
CLAIM = re.compile(r"^\| \[([\w-]+)\]\(#[\w-]+\) \| (.+?) \| *(\d*) *\| *(\d*) *\| *(\d*) *\|$", re.M)
RIGHT = {"parameters", "multiply-adds", "receptive field", "top-1 %", "top-5 %"}


@functools.cache
def _facts(name: str) -> dict[str, Any]:
    return summary(_net(name))


@functools.cache
def _net(name: str) -> ConvNet:
    return meta(functools.partial(create_model, name))


def lineage_pages() -> Iterator[tuple[str, str]]:
    """Yield (path below docs/, text) of each page and each diagram."""
    rows = networks()
    for place, chapter in enumerate(STORY):
        own = [row for row in rows if row["paper"] == chapter.paper and row["family"] != ARTICLES]
        stem = f"lineage/{place + 1:02}-{_slug(chapter.title)}"
        facts = _facts(chapter.network)
        picture = diagram(_net(chapter.network), chapter.network, chapter.paper, f"{facts['params']:,} parameters")
        yield f"{stem}.svg", picture
        parts = [
            _story(chapter),
            _changes(chapter),
            *_claims(chapter),
            _diagram(chapter, stem),
            _layers(chapter),
            _names(own),
            _use(chapter),
        ]
        yield f"{stem}.md", "\n\n".join([*parts, *_code([row["name"] for row in own])]) + "\n"
    articles = [row for row in rows if row["family"] == ARTICLES]
    intro = (
        "# Networks of five articles\n\nFive articles come with programs that build some of the networks, not always as "
        "the papers do. [The lineage](../lineage.md#the-articles) says of each what it does and what came out."
    )
    yield (
        f"lineage/{len(STORY) + 1:02}-articles.md",
        "\n\n".join([intro, _names(articles), *_code([row["name"] for row in articles])]) + "\n",
    )


def _slug(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower()).strip("-")


def page_of(title: str) -> str:
    """The file name of a paper's page."""
    return f"{1 + [chapter.title for chapter in STORY].index(title):02}-{_slug(title)}.md"


def _story(chapter: Chapter) -> str:
    known = architecture(chapter.network)
    lines = [f"# {chapter.title}, {known.year}", f"{chapter.paper}.", chapter.idea]
    for result in chapter.results:
        lines.append(
            f"In the ILSVRC of {result.year} it came {result.rank.replace('1st', 'first').replace('2nd', 'second')}: "
            f"{result.top5:g} % top-5 error on the test images ({result.entry})."
        )
    return "\n\n".join(lines)


def _changes(chapter: Chapter) -> str:
    """The network beside that of its ancestor, by numbers and by the kinds of their layers."""
    ancestor = CHAPTERS.get(ANCESTORS.get(chapter.title, ""))
    if ancestor is None:
        return "## What changed\n\nThis is where the lineage begins."
    before, now = _facts(ancestor.network), _facts(chapter.network)
    rows = [
        ["", f"[{ancestor.title}]({page_of(ancestor.title)})", chapter.title],
        ["network", f"`{before['name']}`", f"`{now['name']}`"],
        *(
            [label, _number(before[key]), _number(now[key])]
            for label, key in (("parameters", "params"), ("multiply-adds", "macs"), ("depth", "depth"))
        ),
        ["top-1 error, %", *(f"{percent(each['top1_error'])} {each['protocol']}".strip() for each in (before, now))],
    ]
    new, gone = _kinds(now) - _kinds(before), _kinds(before) - _kinds(now)
    said = [f"New kinds of layers: {', '.join(sorted(new))}."] if new else []
    said += [f"No longer there: {', '.join(sorted(gone))}."] if gone else []
    return "\n\n".join([f"## What changed against {ancestor.title}", _table(rows), *said])


def _claims(chapter: Chapter) -> list[str]:
    """The claims of the paper that `docs/claims.md` decides, with how many of their statements hold."""
    paper = re.search(r"arXiv:[\d.]+\d|^[^,]+", chapter.paper)
    table = CLAIMS.read_text(encoding="utf-8") if CLAIMS.is_file() else ""
    rows = [
        f"- [{name}](../claims.md#{name}): of its statements {holds or 0} hold, {fails or 0} do not, {unknown or 0} cannot be told."
        for name, source, holds, fails, unknown in CLAIM.findall(table)
        if paper and paper[0] in source
    ]
    return ["\n".join(["## The claims, as experiments\n", *rows])] if rows else []


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _kinds(facts: dict[str, Any]) -> set[str]:
    """The kinds of a network's layers: "conv 3x3", "max pool 3x3", without strides, widths and paddings."""
    return {
        kind for layer in facts["layers"] if (kind := re.split(r",| \d+ ?→|/|\(| [\d.]+$", layer["type"])[0].strip())
    }


def _diagram(chapter: Chapter, stem: str) -> str:
    name = chapter.network
    return (
        f"## Diagram\n\n```bash\npodium draw {name} -o {name}.svg\n```\n\n"
        f"[![The layers of {name}]({stem.partition('/')[2]}.svg)]({stem.partition('/')[2]}.svg)"
    )


def _layers(chapter: Chapter) -> str:
    facts = _facts(chapter.network)
    table = _table([COLUMNS, *layer_cells(facts["layers"])])
    return (
        f"## Layers\n\n```bash\npodium info {chapter.network}\n```\n\n"
        f'<details markdown="1">\n<summary>{len(facts["layers"])} layers of {chapter.network}</summary>\n\n{table}\n\n</details>'
    )


def _names(own: list[dict[str, Any]]) -> str:
    """All names that are registered with the paper, with what makes each of them."""
    rows = [["name", "what makes it", "parameters", "multiply-adds", "input", "top-1 %", "top-5 %", "taken by"]]
    for row in own:
        known = architecture(row["name"])
        made = ", ".join(f"`{key}={_shown(value)}`" for key, value in known.arguments.items())
        rows.append(
            [
                f"`{row['name']}`",
                "; ".join(filter(None, (known.note, made))),
                f"{row['params']:,}",
                f"{row['macs']:,}",
                row["input"],
                percent(row["top1_error"]),
                percent(row["top5_error"]),
                row["protocol"],
            ]
        )
    return f"## The names\n\n{_table(rows)}"


def _shown(value: Any) -> str:
    text = getattr(value, "__name__", None) or repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _use(chapter: Chapter) -> str:
    name = chapter.network
    return f"""## Use it

```python
import podium

net = podium.create_model("{name}", num_classes=10)  # a torch.nn.Module
```

`podium train {name} photos/` trains it, and `podium compare photos/ -m {name},resnet18` compares it with another network."""


def _code(names: list[str]) -> list[str]:
    """The source files of some networks, folded."""
    modules = dict.fromkeys(architecture(name).build.__module__ for name in names)
    parts = ["## The code"]
    for module in modules:
        source = inspect.getsource(sys.modules[module])
        file = f"src/podium/networks/{module.rpartition('.')[2]}.py"
        parts.append(
            f'<details markdown="1">\n<summary><code>{file}</code></summary>\n\n```python\n{source}```\n\n</details>'
        )
    return parts


def _table(rows: list[list[str]]) -> str:
    """A table in Markdown; the first row has the headings."""
    dashes = ["---:" if heading in RIGHT else "---" for heading in rows[0]]
    lines = [[cell.replace("|", "\\|") for cell in row] for row in (rows[0], dashes, *rows[1:])]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
