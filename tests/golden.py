"""The numbers written down of every network. `python tests/golden.py` counts them anew and writes

- `tests/golden.json`, which `test_lineage.py` compares with what is counted,
- `src/podium/evaluation/counts.json`, which `podium models` reads,
- the tables of "The networks" in `docs/lineage.md`.
"""

import json
from pathlib import Path

from podium.comparison.report.lineage import ARTICLES, STORY, networks, percent
from podium.evaluation.cost import COUNTS, count
from podium.models import list_models
from podium.models.published import published

GOLDEN = Path(__file__).parent / "golden.json"
STORY_PAGE = Path(__file__).parents[1] / "docs" / "lineage.md"


def golden_of(name):
    """Parameters, multiply-adds and the shape of every endpoint."""
    cost = count({"model": name})
    numbers = {"params": cost.params, "macs": cost.macs}
    if cost.auxiliary_params:
        numbers["auxiliary_params"] = cost.auxiliary_params
    return {**numbers, "stages": {stage: list(shape) for stage, shape in cost.stages}}


def tables():
    """The tables of the story: what each paper changed, and the numbers of each network."""
    story = [["year", "paper", "what changed with it", "ILSVRC, top-5 error on the test images"]]
    for chapter in STORY:
        year = next(row["year"] for row in networks(chapter.network))
        results = "; ".join(f"{r.year}: {r.rank}, {r.top5:g} % ({r.entry})" for r in chapter.results)
        story.append([str(year), f"**{chapter.title}**, {chapter.paper}", chapter.idea, results])
    numbers = [
        [
            "network",
            "year",
            "paper",
            "depth",
            "parameters",
            "multiply-adds",
            "input",
            "top-1 %",
            "top-5 %",
            "taken by, from",
        ]
    ]
    for row in networks():
        if row["family"] != ARTICLES:
            source = "; ".join(filter(None, (row["protocol"], published(row["name"]).source)))
            costs = [str(row["depth"] or ""), f"{row['params']:,}", f"{row['macs']:,}", row["input"]]
            errors = [percent(row["top1_error"]), percent(row["top5_error"])]
            numbers.append([f"`{row['name']}`", str(row["year"]), row["paper"], *costs, *errors, source])
    return [_markdown(story, set()), _markdown(numbers, {"depth", "parameters", "multiply-adds", "top-1 %", "top-5 %"})]


def _markdown(rows, right):
    dashes = ["---:" if heading in right else "---" for heading in rows[0]]
    return "".join("| " + " | ".join(row) + " |\n" for row in (rows[0], dashes, *rows[1:]))


def _write_json(path, content):
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(numbers)}" for name, numbers in content.items())
    path.write_text(f"{{\n{lines}\n}}\n")


def write():
    golden = {name: golden_of(name) for name in list_models()}
    _write_json(GOLDEN, golden)
    _write_json(COUNTS, {name: [numbers["params"], numbers["macs"]] for name, numbers in golden.items()})
    text = STORY_PAGE.read_text()
    for table in tables():
        heading = table.partition("\n")[0]
        start = text.index(heading)
        text = text[:start] + table + text[text.index("\n\n", start) + 1 :]
    STORY_PAGE.write_text(text)


if __name__ == "__main__":
    write()
