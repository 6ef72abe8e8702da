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


@lru_cache(maxsize=32)
def parse_pattern(setting: str, text: str) -> Pattern:
    """Read a regular expression. Its one named group is what it finds, or else its first group.

    Args:
        setting: what a message calls it.
        text: the expression.

    Raises:
        UsageError: it is none, or has no group, or several named ones.
    """
    example = "put what names them into parentheses, such as '(patient[0-9]+)'"
    try:
        expression = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"{setting}: {text!r} is no regular expression ({error})", example) from None
    if not expression.groups:
        raise UsageError(f"{setting}: {text!r} has no group", example)
    named = list(expression.groupindex)
    if len(named) > 1:
        raise UsageError(f"{setting}: {text!r} has {len(named)} named groups ({', '.join(named)})", "name one of them")
    return Pattern(text, expression, named[0] if named else 1)
