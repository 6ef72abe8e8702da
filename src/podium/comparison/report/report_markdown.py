"""The report as Markdown, for a page that a code-hosting site shows: the verdict, the board, the data and how it was made."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from podium.comparison.leaderboard import Leaderboard
from podium.comparison.report.data_facts import DataFacts
from podium.comparison.report.figures import Drawn
from podium.comparison.report.markdown import bullets, code, escape, table
from podium.comparison.report.provenance import Provenance
from podium.files import write_text

MARKDOWN = "report.md"
MOST_CLASSES = 60  # that the table of the data has; of more, those with the fewest and the most images
# Columns of the page's table that this one has; leaderboard.csv has all.
COLUMNS = (
    "score", "behind", "behind_at_most", "top1", "linear_probe", "macro_f1", "params", "macs", "size_mb", "latency_p50_ms", "engine",
    "train_seconds",
)  # fmt: skip


def write_markdown(
    path: Path,
    title: str,
    board: Leaderboard,
    shown: tuple[Sequence[tuple[str, str]], Sequence[Mapping[str, Any]]],
    data: DataFacts,
    made: Provenance,
    figures: Sequence[Drawn],
) -> Path:
    """Write the report as Markdown.

    Args:
        path: of the file.
        title: of the report.
        board: the ranking.
        shown: the headings of the page's table, each (field, text), and its rows.
        data, made: what the sections on the data and on how it was made say.
        figures: that were written; those of all networks and of the recommended one are shown.
    """
    parts = [
        f"# {escape(title)}\n",
        _verdict(board.sentences()),
        f"## {'Leaderboard' if len(board.networks) > 1 else 'Scores'}\n",
        _board(board, *shown),
        _figures(figures, (board.taken or board.networks[0]).model, path.parent),
        "## Data\n",
        _data(data),
        "## How it was made\n",
        _made(made),
        f"Made by Podium. The page beside this file, {escape(path.with_suffix('.html').name)}, has the details of each network.\n",
    ]
    write_text(path, "\n".join(part for part in parts if part))
    return path


def _verdict(sentences: Sequence[str]) -> str:
    """The first sentence of the verdict stands out; the others are a list."""
    first, *others = sentences
    return f"**{escape(first)}**\n" + (f"\n{bullets(others)}" if others else "")


def _board(board: Leaderboard, headings: Sequence[tuple[str, str]], rows: Sequence[Mapping[str, Any]]) -> str:
    """The table of the networks, and a line for each that was not trained in full or failed."""
    kept = [place for place, (key, _) in enumerate(headings) if key in COLUMNS]
    starts = any(row["start"] not in (None, "random weights") for row in rows)
    lines = []
    for row in rows:
        name = f"**{escape(row['model'])}**" if row["recommended"] and len(rows) > 1 else escape(row["model"])
        said = [
            word
            for word, holds in (("worse", row["worse"]), ("Pareto front", row["pareto"] and len(rows) > 1))
            if holds
        ]
        start = [escape(row["start"] or "")] if starts else []
        lines.append([name, *start, *(escape(row["cells"][place]["text"]) for place in kept), ", ".join(said)])
    names = ["network", *(["start"] if starts else []), *(headings[place][1] for place in kept), "remarks"]
    about = f"Evaluated on {board.n:,} {board.split} images"
    if board.found is not None and board.found.ranked_on != board.split and len(rows) > 1:
        about = f"Ranked on {board.found.ranked_n:,} validation images; top-1 is of {board.n:,} {board.split} images, which chose nothing"
    about += "; the recommended network is in bold.\n" if board.taken is not None and len(rows) > 1 else ".\n"
    left = [
        f"{row.model} was not trained further after heat {row.heat}, which does not mean that it is worse: {row.score_name} {row.shown} on {row.n:,} validation images after {row.trained_for}."
        for row in board.dropped
    ]
    left += [
        f"{row.model}, from {row.start}, was not trained{'' if row.linear_probe is None else f': its linear probe has {100 * row.linear_probe:.2f} %'}."
        for row in board.untrained
    ]
    left += [f"{row.model} failed: {row.error}" for row in board.failed]
    return "\n".join(filter(None, [about, table(names, lines, 2 if starts else 1), bullets(left)]))


def _figures(figures: Sequence[Drawn], network: str, folder: Path) -> str:
    """The figures of all networks and of one, by their paths from the folder of the report."""
    lines = []
    for figure in figures:
        if figure.network in ("", network):
            place = os.path.relpath(figure.path, folder).replace(os.sep, "/")
            lines.append(f"![{escape(figure.shows)}]({quote(place)})\n")
    return "".join(lines)  # one paragraph: as many side by side as there is room for


def _data(data: DataFacts) -> str:
    """Counts of the classes, how the splits were made, and what is known to be wrong."""
    rows, about = list(data.classes), ""
    if len(rows) > MOST_CLASSES:
        half = MOST_CLASSES // 2
        ordered = sorted(rows, key=lambda each: each.counts[0])
        rows = [*ordered[:half], *ordered[-half:]]
        about = f"Of {len(data.classes):,} classes, the {half} with the fewest and the {half} with the most {data.columns[0]} images.\n"
    lines = [[escape(each.name), *(f"{count:,}" for count in each.counts)] for each in rows]
    lines.append(["all", *(f"{count:,}" for count in data.total.counts)])
    wrong = (
        bullets(data.wrong)
        if data.wrong
        else "Nothing is known to be wrong with the images. `podium check` decodes every image, and finds near duplicates and likely label errors.\n"
    )
    return "\n".join(filter(None, [bullets(data.made), about, table(["class", *data.columns], lines), wrong]))


def _made(made: Provenance) -> str:
    """Commands, facts, and what the networks started from."""
    parts = []
    for text, command in (
        ("As typed:", made.commands.typed),
        ("The same again, in a new folder:", made.commands.again),
    ):
        parts += [f"{text}\n", code(command)] if command is not None else []
    parts.append("".join(f"- {escape(name)}: {escape(text)}\n" for name, text in made.facts.items()))
    if made.weights:
        rows = [
            [
                escape(each.network),
                f"[{escape(each.source)}]({quote(each.address, safe=':/')})" if each.address else escape(each.source),
                escape(each.sha256),
                escape(each.licence or "not stated"),
                "" if each.top1 is None else f"{each.top1:g}",
            ]
            for each in made.weights
        ]
        headings = ["network", "starting weights", "SHA-256", "licence", "published top-1 on ImageNet, %"]
        parts.append(table(headings, rows, 4))
    return "\n".join(parts)
