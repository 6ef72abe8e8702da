"""What `podium diff` writes: a page with the counts, the scores, the classes and the pictures on which two networks disagree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from podium.comparison.class_recall import ClassRecall
from podium.comparison.disagreement import KINDS, Disagreement, ScorePair
from podium.comparison.disagreement_text import format_interval, format_test, percent
from podium.comparison.report.charts import PALETTE
from podium.comparison.report.page import refuse_foreign, write_page
from podium.errors import UsageError

EACH = 36  # pictures that are shown of a kind
MOST_CLASSES = 100  # in the table
MARK = "Podium diff"  # in the title of every page, by which an earlier one is recognised


def check_target(path: Path) -> None:
    """Refuse to write over a file that is not an earlier page of `podium diff`; raises as `refuse_foreign` does."""
    if path.suffix.lower() != ".html":
        raise UsageError(f"{path}: the page is HTML", "give a name that ends in .html")
    refuse_foreign(path, MARK)


def write_diff_page(path: Path, found: Disagreement) -> Path:
    """Write a page that works offline, with small pictures of the images that the two networks answer differently.

    Args:
        path: of the page.
        found: the two networks on the same images.
    """
    one, two = found.names
    sections = [_section(found, kind) for kind in KINDS]
    classes = shown_classes(found.classes)
    reach = max([abs(limit) for row in classes for limit in (row.low, row.high)], default=1.0)
    return write_page(
        path,
        "diff.html.j2",
        {},
        title=f"{MARK}: {one} and {two}",
        found=found,
        verdict=found.verdict().replace("`", ""),
        names=found.names,
        colours=PALETTE[:2],
        facts=[_facts(found, number) for number in (0, 1)],
        test=format_test(found),
        scores=[score_cells(score) for score in found.scores],
        classes=[_class_row(row, reach) for row in classes],
        reach=f"{100 * reach:.0f}",
        sections=sections,
        percent=percent,
    )


def shown_classes(rows: list[ClassRecall], count: int = MOST_CLASSES) -> list[ClassRecall]:
    """The classes of a table, from where the second network loses most to where it wins most; at most `count`, the clearest."""
    most = sorted(rows, key=lambda row: (not row.clear, -abs(row.difference)))[:count]
    return sorted(most, key=lambda row: row.difference)


def _facts(found: Disagreement, number: int) -> dict[str, str]:
    network = (found.first, found.second)[number]
    folder = {"run": network.run} if network.run and network.run not in found.names[number] else {}
    return {**folder, **network.facts}


def score_cells(score: ScorePair) -> list[str]:
    """A row of the table of scores: its name, both values, their difference and its interval."""
    if score.name == "top1":
        difference = f"{100 * score.difference:+.2f} points"
        interval = format_interval(score.low, score.high)
        return ["top-1", percent(score.first), percent(score.second), difference, interval]
    name = {"macro_f1": "macro-F1", "loss": "log-loss (less is better)"}[score.name]
    interval = f"{score.low:+.3f} to {score.high:+.3f}"
    return [name, f"{score.first:.3f}", f"{score.second:.3f}", f"{score.difference:+.3f}", interval]


def _class_row(row: ClassRecall, reach: float) -> dict[str, Any]:
    """A row of the table of classes; places in its drawing are per cent of the width, with 0 in the middle."""

    def place(value: float) -> float:
        return round(50 + 50 * value / reach, 2)

    return {
        "name": row.name,
        "n": f"{row.n:,}",
        "first": f"{100 * row.first:.1f}",
        "second": f"{100 * row.second:.1f}",
        "difference": f"{100 * row.difference:+.1f}",
        "interval": f"{100 * row.low:+.1f} to {100 * row.high:+.1f}",
        "tells": row.clear,
        "better": 1 if row.difference > 0 else 0,
        "left": place(row.low),
        "width": round(place(row.high) - place(row.low), 2),
        "dot": place(row.difference),
    }


def _section(found: Disagreement, kind: str) -> dict[str, Any]:
    """The images of one kind, with their pictures."""
    rows, model = found.rows(kind), dict(zip(KINDS, found.names, strict=False)).get(kind, "")
    title = "Only {model} is right" if model else "Both are wrong, with different answers"
    entries = []
    for row in rows[:EACH]:
        image = found.image(int(row), kind)
        sides = [
            {
                "answer": image[side],
                "percent": f"{100 * image[f'{side}_confidence']:.0f}",
                "right": image[side] == image["class"],
            }
            for side in ("first", "second")
        ]
        entries.append(
            {
                "name": image["image"] or "",
                "class": image["class"],
                "uri": found.album.picture(int(found.first.keys[row])),
                "sides": sides,
            }
        )
    return {"id": kind, "title": title, "model": model, "count": len(rows), "entries": entries}
