"""Fixes in the words of the caller: a command line gives flags, Python gives keywords. Standard library only."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from contextvars import ContextVar

_commanded: ContextVar[bool] = ContextVar("commanded", default=False)

# Flags that take no value, and those whose keyword has another name.
_SWITCHES = {
    "resume", "elastic", "small", "keep_checkpoint", "grad_checkpointing", "controls", "accept_unproven", "flip", "nesterov", "labels", "ema",
}  # fmt: skip
_NAMES = {"o": "out", "m": "models"}
_GIVEN = {"out", "models", "weights", "data"}  # of these a fix that names no value wants one
# A flag, and its value: a number, a placeholder such as N or RUN, or a word that ends the clause.
_FLAG = re.compile(
    r"(?<![\w-])--?(?P<no>no-)?(?P<name>[a-z][a-z-]*)"
    r"(?: (?P<value>\d[\w.%]*(?:-\d+)?|[A-Z]+\b|(?!(?:out|too|or|and)\b)[a-z_]\w*(?=$|[,;:)]| or )))?"
)
# A whole command, to the end of its clause or parenthesis; what it quotes may hold anything.
_COMMAND = re.compile(
    r"`[^`]*`|\b(?:podium|pip|python|torchrun|mount|docker|mv|ulimit|exiftool|ffmpeg) (?:'[^']*'|\"[^\"]*\"|[^;)'\"])*"
)


@contextlib.contextmanager
def for_the_command_line() -> Iterator[None]:
    """Leave fixes as they are within this context: a person typed the command line that they mend."""
    token = _commanded.set(True)
    try:
        yield
    finally:
        _commanded.reset(token)


def in_words_of_the_caller(fix: str) -> str:
    """A fix with keywords for flags, "go on with resume=True", where Python calls; whole commands stay as they are."""
    if _commanded.get():
        return fix
    parts, end = [], 0
    for command in _COMMAND.finditer(fix):
        parts += [_FLAG.sub(_keyword, fix[end : command.start()]), command[0]]
        end = command.end()
    return "".join([*parts, _FLAG.sub(_keyword, fix[end:])])


def _keyword(flag: re.Match[str]) -> str:
    """The keyword of one flag, with its value as Python writes it."""
    name, value = flag["name"].replace("-", "_"), flag["value"]
    name = _NAMES.get(name, name)
    if name == "scratch":
        return "pretrained=False"
    if flag["no"]:
        return f"{name}=False"
    if name in _SWITCHES:
        return f"{name}=True" + (f" {value}" if value else "")
    if value is None:
        return f"{name}=" if name in _GIVEN else name
    plain = re.fullmatch(r"\d+(\.\d+)?(e-?\d+)?|[A-Z]+", value) is not None
    return f"{name}={value}" if plain else f'{name}="{value}"'
