"""Regular expressions that a person gives, and the part of a path that they find. Standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from podium.errors import UsageError


@dataclass(frozen=True)
class Pattern:
    """A regular expression with the one group whose text is wanted.

    Args:
        text: as it was given.
        expression: compiled.
        part: the group: its name, or 1.
    """

    text: str
    expression: re.Pattern[str]
    part: str | int

    @property
    def name(self) -> str:
        """The name of the group; empty where it has none."""
        return self.part if isinstance(self.part, str) else ""

    def find(self, path: str) -> str:
        """The wanted part of a path; empty where the expression does not match."""
        found = self.expression.search(path)
        return (found[self.part] or "") if found is not None else ""


EXAMPLES = {
    "class_from": "put parentheses around the class, such as '([a-z]+)[.]' for cat.0.jpg",
    "": "put parentheses around the part that is wanted, such as '(patient[0-9]+)'",
}


@lru_cache(maxsize=32)
def parse_pattern(setting: str, text: str, group: str | None = None) -> Pattern:
    """Read a regular expression that finds a part of a path.

    Args:
        setting: what a message calls it.
        text: the expression. What it finds is its named group, or else its first group.
        group: the only name of a group that means something; with None there may be one of any name.

    Raises:
        UsageError: the text is not a regular expression, or has no group, or has several named ones where any name counts.
    """
    fix = EXAMPLES.get(setting, EXAMPLES[""])
    try:
        expression = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"{setting}: {text!r} is not a regular expression ({error})", fix) from None
    if not expression.groups:
        raise UsageError(f"{setting}: {text!r} has no group", fix)
    named = [name for name in expression.groupindex if group in (None, name)]
    if len(named) > 1:
        what = f"{setting}: {text!r} has {len(named)} named groups ({', '.join(named)})"
        raise UsageError(what, "keep the name of the one that is wanted")
    return Pattern(text, expression, named[0] if named else 1)
