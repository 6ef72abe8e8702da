"""What `podium check` writes: a page with the pictures that it names, and a table of what to move or drop."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from pathlib import Path
from typing import Any

from podium.comparison.report.page import refuse_foreign, write_page
from podium.comparison.report.pictures import thumbnail
from podium.data.check_report import COLUMNS, Checked, CheckReport, Problem
from podium.data.names import show
from podium.errors import DataError
from podium.files import write_text

EACH, ALL = 48, 400  # problems that are shown with pictures, of a kind and of all
MARK = "Podium check"  # in the title of every page, by which an earlier one is recognised
TITLES = {
    "near-leak": "Nearly the same image in two splits",
    "near-conflict": "Nearly the same image in two classes",
    "leak": "The same image in two splits",
    "conflicting-label": "The same image in two classes",
    "label": "Labels that are likely wrong",
    "duplicate": "The same image twice",
    "near-duplicate": "Nearly the same image twice",
    "blank": "One shade all over",
    "blurred": "Blurred images",
    "dark": "Dark images",
    "bright": "Bright images",
    "odd-size": "Of an odd size or shape",
}


def check_target(path: Path) -> None:
    """Refuse to write over a file that is not an earlier page or list of `podium check`; raises as `refuse_foreign` does."""
    refuse_foreign(path, MARK, ",".join(COLUMNS))


def write_list(path: Path, report: CheckReport) -> None:
    """Write a CSV file with a line for each file that has a problem: path, problem, other path, suggestion.

    Args:
        path: of the file.
        report: whose problems are written.
    """
    out = io.StringIO(newline="")
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(COLUMNS)
    rows.writerows((p.path, p.kind, p.other, p.suggestion) for p in report.problems if p.suggestion)
    write_text(path, out.getvalue())


def write_check_page(path: Path, report: CheckReport) -> None:
    """Write a page that works offline, with a small picture of each image that a problem names.

    Args:
        path: of the page.
        report: what was found.
    """
    report = _portable(report)
    images = {image.path: image for image in report.checked}
    kinds: dict[str, list[Problem]] = {}
    for problem in report.problems:
        kinds.setdefault(problem.kind, []).append(problem)
    sections, room = [], ALL
    for kind, problems in kinds.items():
        shown = [_entry(problem, images) for problem in problems[: min(EACH, max(room, 3))]]
        room -= len(shown)
        sections.append(
            {
                "kind": kind,
                "title": TITLES.get(kind, kind.replace("-", " ").capitalize()),
                "count": len(problems),
                "suspect": problems[0].suspect,
                "suggestion": problems[0].suggestion,
                "entries": shown,
            }
        )
    splits = sorted({s for counts in report.classes.values() for s in counts}, key=["train", "val", "test"].index)
    write_page(
        path,
        "check.html.j2",
        {},
        title=f"{MARK}: {show(report.source)}",
        report=report,
        sections=sections,
        splits=splits,
    )


def _portable(report: CheckReport) -> CheckReport:
    """The report with paths that begin at the data set's own folder, so that the page says nothing of this machine."""
    above = f"{os.path.dirname(report.source.rstrip(os.sep)).rstrip(os.sep)}{os.sep}"
    if not os.path.isabs(report.source) or above == os.sep:
        return report
    problems = [
        Problem(p.kind, *(text.replace(above, "") for text in (p.path, p.detail, p.other))) for p in report.problems
    ]
    checked = [image._replace(path=image.path.replace(above, "")) for image in report.checked]
    notes = [note.replace(above, "") for note in report.notes]
    source = report.source.replace(above, "", 1)
    return dataclasses.replace(report, source=source, problems=problems, notes=notes, checked=checked)


def _entry(problem: Problem, images: dict[str, Checked]) -> dict[str, Any]:
    """One problem for the template: its text, with a hole for the name of the other image, and its pictures with their captions."""
    pictures, detail = [], problem.detail
    for name in (problem.path, problem.other):
        image = images.get(name)
        if image is not None and (uri := _picture(image)):
            pictures.append({"uri": uri, "name": name, "split": image.split, "label": image.label})
    if problem.other:  # a name may have commas, which would divide the sentence
        detail = detail.replace(problem.other, "{image}")
    return {"path": problem.path, "detail": detail, "other": problem.other, "pictures": pictures}


def _picture(image: Checked) -> str:
    """A small picture as a data URI; empty if the image cannot be read."""
    try:
        return thumbnail(image.images.image(image.row, 3))
    except DataError:
        return ""
