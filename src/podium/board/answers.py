"""Questions of a board that need the networks' answers, in a process of its own: `python -m podium.board.answers`.

The board itself has neither torch nor numpy in its memory, so it starts at once and stays small, and no damaged file of a run can end
it. A question is one line of JSON on standard input, and its answer one on standard output.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from podium.api.diff import diff
from podium.board.studies import parse_table
from podium.board.tails import both
from podium.comparison.answered import Answered, answers_on_record, validation_on_record
from podium.comparison.candidates import Choice
from podium.comparison.disagreement import CORRECTION, KINDS, Disagreement
from podium.comparison.disagreement_text import format_test
from podium.comparison.leaderboard import Leaderboard
from podium.comparison.ranking import log_likelihood
from podium.comparison.recorded_album import recorded_album
from podium.comparison.report.diff_page import score_cells, shown_classes
from podium.comparison.report.pictures import Album
from podium.errors import ModelFileError, PodiumError

EACH = 16  # pictures of a kind
MISTAKES = 24  # pictures of mistakes, and of the largest losses
CELLS = 60  # pairs of a class and a wrong answer that are shown, the most frequent
OF_A_CELL = 8  # pictures of each
PICTURES = 240  # of a run


def rank(question: dict[str, Any]) -> dict[str, Any]:
    """Rank the finished runs of a comparison, as the comparison itself will.

    Args:
        question: `runs`, their folders, and `protocol`, how networks are ranked.
    """
    protocol = question["protocol"]
    known = {key: protocol[key] for key in ("rank_by", "rank_on", "within") if key in protocol}
    limits = {"max_latency": protocol.get("max_latency_ms"), "max_size": protocol.get("max_size_bytes")}
    board = Leaderboard.read([Path(run) for run in question["runs"]], rules=Choice(**known, **limits).rules)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "leaderboard.csv"
        board.to_csv(path)
        return parse_table(path.read_bytes())


def compare(question: dict[str, Any]) -> dict[str, Any]:
    """Compare two finished runs on the images that both report, as `podium diff` does.

    Args:
        question: `first` and `second`, their folders.
    """
    found = diff(question["first"], question["second"], progress=False)
    one, two = found.names
    return {
        "names": [one, two],
        "verdict": both(found.verdict().replace("`", "")),
        "test": format_test(found),
        "n": found.n,
        "images": both(found.images),
        "table": found.table,
        "scores": [score_cells(score) for score in found.scores],
        "classes": [{**row.to_dict(), "clear": row.clear} for row in shown_classes(found.classes)],
        "correction": CORRECTION,
        "notes": [both(note.removeprefix("note: ")) for note in found.notes],
        "disagreements": {kind: _disagreements(found, kind) for kind in KINDS},
    }


def _disagreements(found: Disagreement, kind: str) -> dict[str, Any]:
    """How many images of a kind there are, and the first of them with their pictures."""
    rows = found.rows(kind)
    shown = [
        {**found.image(int(row), kind), "picture": _picture(found.album, int(found.first.keys[row]))}
        for row in rows[:EACH]
    ]
    return {"count": len(rows), "shown": shown}


def pictures(question: dict[str, Any]) -> dict[str, Any]:
    """The images behind the scores of a finished run: its mistakes, those of each pair of a class and an answer, and the largest losses.

    Args:
        question: `run`, its folder, and `split`: "val" for its validation images, else those that its result reports.

    Raises:
        ModelFileError: the run does not say which images it has answered.
    """
    folder = Path(question["run"])
    answered = (validation_on_record if question.get("split") == "val" else answers_on_record)(folder)
    if answered is None:
        raise ModelFileError(f"{folder.name}: does not say which images it has answered", "train it again")
    sure, right = answered.confidence, answered.right
    wrong = np.flatnonzero(~right)
    wrong = wrong[np.argsort(-sure[wrong], kind="stable")]
    loss = -log_likelihood(answered.logits, answered.labels)
    largest = np.argsort(-loss, kind="stable")[:MISTAKES].tolist()
    cells, shown = _cells(answered), list(dict.fromkeys([*wrong[:MISTAKES].tolist(), *largest]))
    for rank_ in range(OF_A_CELL):  # one image of each pair before a second one of any
        for _, _, rows in cells:
            shown += [row for row in rows[rank_ : rank_ + 1] if row not in shown and len(shown) < PICTURES]
    album, notes = recorded_album([folder], answered, answered.keys[shown])
    place = {row: number for number, row in enumerate(shown)}
    counts = [(answered.labels == k, answered.answers == k) for k in range(len(answered.classes))]
    return {
        "model": answered.model,
        "split": answered.split,
        "n": len(answered),
        "right": int(right.sum()),
        "classes": [
            {"name": name, "n": int(own.sum()), "right": int((own & named).sum()), "predicted": int(named.sum())}
            for name, (own, named) in zip(answered.classes, counts, strict=True)
        ],
        "mistakes": [place[row] for row in wrong[:MISTAKES].tolist()],
        "losses": [[place[row], float(f"{loss[row]:.3g}")] for row in largest],
        "cells": [
            [k, guess, len(rows), [place[r] for r in rows[:OF_A_CELL] if r in place]] for k, guess, rows in cells
        ],
        "images": [_image(answered, album, row) for row in shown],
        "notes": [both(note.removeprefix("note: ")) for note in notes],
    }


def _cells(answered: Answered) -> list[tuple[int, int, list[int]]]:
    """(class, answer, images) of the wrong answers, the most frequent first; of each the images that it is most certain of."""
    found: dict[tuple[int, int], list[int]] = {}
    for row in np.argsort(-answered.confidence, kind="stable").tolist():
        if not answered.right[row]:
            found.setdefault((int(answered.labels[row]), int(answered.answers[row])), []).append(row)
    most = sorted(found.items(), key=lambda item: -len(item[1]))[:CELLS]
    return [(truth, guess, rows) for (truth, guess), rows in most]


def _image(answered: Answered, album: Album, row: int) -> dict[str, Any]:
    key = int(answered.keys[row])
    return {
        "name": album.name(key) or "",
        "truth": answered.classes[answered.labels[row]],
        "predicted": answered.classes[answered.answers[row]],
        "percent": round(100 * float(answered.confidence[row])),
        "picture": _picture(album, key),
    }


def _picture(album: Album, key: int) -> str:
    """The small picture of an image as a JPEG in base64; empty where it is not there."""
    return album.picture(key).partition(",")[2]


QUESTIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "rank": rank,
    "compare": compare,
    "pictures": pictures,
}


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Answer a question: {"answer": ...}, or {"error": what is wrong, "fix": what to do}.

    Args:
        question: "kind", one of `QUESTIONS`, and what it needs.
    """
    try:
        return {"answer": QUESTIONS[question["kind"]](question)}
    except PodiumError as error:
        return {"error": error.what, "fix": error.fix or ""}


def main() -> None:
    """Answer a question a line until there are no more, each on a line of its own."""
    if hasattr(os, "nice"):
        os.nice(10)  # trainings go first
    told, sys.stdout = sys.stdout, sys.stderr  # nothing else gets between
    for line in sys.stdin:
        told.write(f"{json.dumps(answer(json.loads(line)))}\n")
        told.flush()


if __name__ == "__main__":
    main()
