"""Where the value of a setting came from: a default, a recipe, a file, a flag, or an operation. Standard library only."""

from __future__ import annotations

from pathlib import Path
from typing import Self


class Origin(str):
    """Where a value came from, as text for people, and whether a person gave it for this run.

    Args:
        text: as `settings.yaml` and `--dry-run` show it.
        given: whether a file, a flag or a keyword gave it, not a default, a recipe or the operation that starts the run.
    """

    given: bool

    def __new__(cls, text: str, given: bool = False) -> Self:
        """Make a text that knows whether a person gave the value."""
        made = super().__new__(cls, text)
        made.given = given
        return made

    @classmethod
    def file(cls, path: Path) -> Self:
        """A settings file, its name written so that it is on one line and differs from the words for other origins."""
        text = str(path)
        if text in (DEFAULT, FLAG) or text.startswith(("recipe ", "by ")):
            text = f"./{text}"
        return cls(text if text.isprintable() else repr(text), given=True)


DEFAULT, FLAG = Origin("default"), Origin("flag", given=True)
