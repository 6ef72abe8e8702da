"""What a person says about where the labels of a data set stand; what is not said is found from the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self, TypedDict

from podium.calls import check_kind, meant
from podium.data.table_files import is_table
from podium.errors import UsageError


@dataclass(frozen=True)
class Reading:
    """Where the labels of images stand.

    Args:
        image_column: the column of a table that names the images.
        label_column: the column that has their classes, or the 0/1 columns of the classes, separated by commas.
        split_column: the column that has their splits, or the 0/1 columns of the splits, separated by commas.
        class_from: a regular expression that finds the class in the path of an image below the data.
    """

    image_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    class_from: str | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The part of some settings that is about reading; the others are ignored."""
        return cls(**{field.name: values.get(field.name) for field in fields(cls)})

    @property
    def columns(self) -> dict[str, str]:
        """The names of columns that were given, by the name of their setting."""
        given = {name: getattr(self, name) for name in ("image_column", "label_column", "split_column")}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def given(self) -> dict[str, str]:
        """All that was given, by the name of its setting."""
        return self.columns if self.class_from is None else {**self.columns, "class_from": self.class_from}


class ReadingFields(TypedDict, total=False):
    """The fields of `Reading` as keywords of `load_data`."""

    image_column: str | None
    label_column: str | None
    split_column: str | None
    class_from: str | None


FOUND = Reading()  # nothing is said: where labels stand is found from the data
NAMES = tuple(field.name for field in fields(Reading))


def from_keywords(caller: str, keywords: ReadingFields, others: Sequence[str]) -> Reading:
    """Make a `Reading` from a function's keywords.

    Args:
        caller: the function's name.
        keywords: as the function got them.
        others: the names of its other arguments, for what is misspelt.

    Raises:
        UsageError: a keyword is unknown, or its value is no text.
    """
    known = [*others, *NAMES]
    for name, value in keywords.items():
        if name not in NAMES:
            fix = meant(name, known, f"it takes {', '.join(known)}")
            raise UsageError(f"{caller}: no argument is called {name!r}", fix)
        check_kind(name, value, str | None)
    return Reading(**keywords)


def is_own(settings: Mapping[str, Any], source: str | Path) -> bool:
    """Whether `source` is the data that a run with these settings was trained on."""
    return bool(settings.get("data")) and Path(settings["data"]).resolve() == Path(source).resolve()


def recorded(settings: Mapping[str, Any], source: str | Path) -> Reading:
    """How a run read its data, where `source` is the same data; of another table, the columns; else nothing is said.

    Args:
        settings: of the run.
        source: of the data now.
    """
    if is_own(settings, source):
        return Reading.of(settings)
    return replace(Reading.of(settings), class_from=None) if is_table(Path(source)) else FOUND


def as_recorded(settings: Mapping[str, Any], source: str | Path) -> dict[str, Any]:
    """How a run read its data, as keywords of `load_stored`; of other data, an image that cannot be read is an error.

    Args:
        settings: of the run.
        source: of the data now.
    """
    on_bad = settings.get("on_bad", "error") if is_own(settings, source) else "error"
    return {"reading": recorded(settings, source), "on_bad": on_bad}
