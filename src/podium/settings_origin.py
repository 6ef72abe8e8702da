"""Where the value of a setting came from: a default, a recipe, a file, a flag, or an operation. Standard library only."""

from __future__ import annotations

from pathlib import Path
from typing import Self


class Origin(str):
    """Where a value came from, as text for people, and whether a person gave it for this run.

    Args:
        text: as `settings.yaml` and `--dry-run` show it.
        asked: whether a file, a flag or a keyword gave it, not a default, a recipe or the operation that starts the run.
    """

    asked: bool

    def __new__(cls, text: str, asked: bool = False) -> Self:
        """As any text."""
        made = super().__new__(cls, text)
        made.asked = asked
        return made

    @classmethod
    def file(cls, path: Path) -> Self:
        """A settings file, its name written so that it is on one line and differs from the words for other origins."""
        text = str(path)
        if text in (DEFAULT, FLAG) or text.startswith(("recipe ", "by ")):
            text = f"./{text}"
        return cls(text if text.isprintable() else repr(text), asked=True)


DEFAULT, FLAG = Origin("default"), Origin("flag", asked=True)
