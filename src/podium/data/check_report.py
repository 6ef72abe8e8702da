"""What a check of a data set found: problems, each with what to do about it, and the images that were checked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from podium.data.images import ImageSource
from podium.html import heading, paragraph, table

# What can be done about a file with a problem of a kind; problems of a class or of the whole set have no line here.
COLUMNS = ("path", "problem", "other path", "suggestion")  # of the list that `podium check` writes
SUGGESTIONS = {
    "no-group": "mend the expression or the column, or move it out of the data",
    "near-leak": "drop it from its split, or move both into one",
    "near-conflict": "keep one of the two, in the right class",
    "leak": "drop it from its split",
    "conflicting-label": "keep one of the two, in the right class",
    "zero-byte": "copy it again, or drop it",
    "truncated": "copy it again, or drop it",
    "unreadable": "copy it again, or drop it",
    "denied": "change its permissions",
    "row": "correct this entry, or take it out of the data",
    "too-large": "scale it down",
    "root-image": "move it into a class folder",
    "ignored": "move it out of the data",
    "metadata": "save it again",
    "extension-lies": "rename it",
    "duplicate": "drop it",
    "label": "look at it, and move it if the other class is right",
    "near-duplicate": "drop one of the two if they show the same",
    "blank": "look at it, and drop it if it shows nothing",
    "blurred": "look at it, and drop it if it shows too little",
    "dark": "look at it, and drop it if it shows too little",
    "bright": "look at it, and drop it if it shows too little",
    "odd-size": "look at it, and crop or drop it if it is no such image",
}
# Kinds that only a person can decide about: they are shown, and `podium check` exits with 0 all the same.
SUSPECTS = frozenset({"label", "near-duplicate", "blank", "blurred", "dark", "bright", "odd-size"})


SHOWN = 20  # problems that a notebook shows


@dataclass(frozen=True)
class Problem:
    """One problem of a data set.

    Args:
        kind: near-leak, near-conflict, leak, conflicting-label, unreadable, truncated, zero-byte, too-large, metadata,
            duplicate, empty-class, missing-class, extra-class, few-images, look-alike, nested-class, imbalance,
            extension-lies, unread-format, denied, layout, row, ignored, root-image, not-utf-8, no-group, group-leak, few-groups;
            or one of `SUSPECTS`.
        path: the file or class.
        detail: the problem in words.
        other: the file that it is compared with; empty where there is none.
    """

    kind: str
    path: str
    detail: str
    other: str = ""

    @property
    def suspect(self) -> bool:
        """Whether it may be right as it is, so that a person should look at it."""
        return self.kind in SUSPECTS

    @property
    def suggestion(self) -> str:
        """What to do with the file; empty for problems of a class or of the whole set."""
        return SUGGESTIONS.get(self.kind, "")


class Checked(NamedTuple):
    """One image that could be read.

    Args:
        path: its name, as problems have it.
        split: "train", "val" or "test".
        label: the name of its class.
        images: where it can be read again.
        row: its number there.
        group: the patient, video or burst that it belongs to; empty where that is not known.
    """

    path: str
    split: str
    label: str
    images: ImageSource
    row: int
    group: str = ""


@dataclass(repr=False)
class CheckReport:
    """The result of a check.

    Args:
        source: the data set that was checked.
        images: the number of images.
        classes: class -> split -> number of images.
        problems: the most harmful kinds first.
        formats: format -> number of files, by their content.
        repeated: the number of images that occur more than once, and the number of their copies beside the first.
        notes: facts that are worth knowing and are no problems.
        checked: the images that could be read.
    """

    source: str
    images: int = 0
    classes: dict[str, dict[str, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    formats: dict[str, int] = field(default_factory=dict)
    repeated: tuple[int, int] = (0, 0)
    notes: list[str] = field(default_factory=list)
    checked: list[Checked] = field(default_factory=list, repr=False)

    def __repr__(self) -> str:
        return f"<CheckReport {self.source}: {self.images:,} images of {len(self.classes)} classes; {self.summary}>"

    def _repr_html_(self) -> str:
        rows = [[problem.kind, problem.path, problem.detail] for problem in self.problems[:SHOWN]]
        more = len(self.problems) - len(rows)
        notes = [f"and {more:,} more; `problems` has all"] * (more > 0) + self.notes
        title = heading(f"{self.source}: {self.images:,} images of {len(self.classes)} classes; {self.summary}")
        return (
            title
            + (table(["kind", "file or class", "what"], rows, numbers=False) if rows else "")
            + "".join(map(paragraph, notes))
        )

    def add(self, kind: str, path: str, detail: str, other: str = "") -> None:
        """Add a problem."""
        self.problems.append(Problem(kind, path, detail, other))

    @property
    def faults(self) -> list[Problem]:
        """The problems that should be fixed before training."""
        return [problem for problem in self.problems if not problem.suspect]

    @property
    def suspects(self) -> list[Problem]:
        """The problems that a person should look at."""
        return [problem for problem in self.problems if problem.suspect]

    @property
    def summary(self) -> str:
        """One line: how many problems there are, and of which kinds."""
        if not self.problems:
            return "nothing wrong was found"
        parts = []
        if self.faults:
            parts.append(f"{len(self.faults):,} problem{'s' * (len(self.faults) != 1)}: {_kinds(self.faults)}")
        if self.suspects:
            parts.append(f"{len(self.suspects):,} worth a look: {_kinds(self.suspects)}")
        return "; ".join(parts)

    def sort(self) -> None:
        """Put what two splits or two classes share first, and the suspects last; else the order stays."""
        first = {"near-leak": 0, "near-conflict": 1, "leak": 2, "conflicting-label": 2, "group-leak": 2}
        self.problems.sort(key=lambda p: first.get(p.kind, 3 + p.suspect))

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return {
            "source": self.source,
            "images": self.images,
            "classes": self.classes,
            "formats": self.formats,
            "problems": [
                {
                    "kind": p.kind,
                    "path": p.path,
                    "detail": p.detail,
                    "other": p.other,
                    "suggestion": p.suggestion,
                    "suspect": p.suspect,
                }
                for p in self.problems
            ],
            "repeated": dict(zip(("images", "copies"), self.repeated, strict=True)),
            "notes": self.notes,
        }


def _kinds(problems: list[Problem]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in Counter(p.kind for p in problems).items())
