"""What a person sees while a verb runs: errors as two lines, and the progress bars of `podium.bars`."""

from __future__ import annotations

import shlex
import sys
import unicodedata
from argparse import Namespace

from podium.bars import counting_bar as counting_bar
from podium.bars import download_bar as download_bar
from podium.bars import epoch_line as epoch_line
from podium.bars import timing_bar as timing_bar
from podium.bars import training_bar as training_bar
from podium.errors import ROOM, STARVED, ImageError, PodiumError
from podium.files import shell_word


def error(problem: PodiumError, where: str = "", command: Namespace | None = None) -> None:
    """Print an error on standard error: a line that says what is wrong, and one that says what to do.

    Args:
        problem: the error.
        where: what stands before the message, such as the name of a network.
        command: the parsed command line, which decides what can be done about an image that cannot be read.
    """
    if problem.silent:
        return
    print(f"error: {one_line(f'{where}{problem.what}')}", file=sys.stderr)
    if problem.fix:
        more = _skipping(problem, command) + _going_on(problem, command)
        print(f"fix: {one_line(_command(problem, command) or problem.fix + more)}", file=sys.stderr)


def one_line(text: str) -> str:
    """The text with control characters, line separators and surrogates escaped, which file names may have."""
    steering = {"Cc", "Cs", "Zl", "Zp"}
    return "".join(repr(c)[1:-1] if unicodedata.category(c) in steering else c for c in text)


def _command(problem: PodiumError, command: Namespace | None) -> str:
    """The whole command line with the flags that mend a problem, where its verb has them; else an empty text."""
    given = vars(command) if command is not None else {}
    if not problem.flags or not all(flag[2:].replace("-", "_") in given for flag in problem.flags[::2]):
        return ""
    words = [problem.data if problem.data and word == given.get("data") else word for word in given["words"]]
    return " ".join(map(shell_word, ["podium", *words, *problem.flags]))


def _skipping(problem: PodiumError, command: Namespace | None) -> str:
    """What else can be done about an image that cannot be read, by a verb that has --on-bad; else an empty text."""
    given = vars(command) if command is not None else {}
    if not isinstance(problem, ImageError) or given.get("on_bad", "skip") == "skip" or given.get("resume"):
        return ""
    listed = f"; `podium check {shlex.quote(str(given['data']))}` lists all such files" if given.get("data") else ""
    return f"{listed}; --on-bad skip with a new -o leaves them out"


# The settings by which a command needs less of the machine, and how.
SPARING = {"batch_size": "a smaller --batch-size", "image_size": "a smaller --image-size", "workers": "fewer --workers"}


def sparing(command: Namespace | None, *names: str) -> str:
    """The flags by which a verb needs less of the machine, as the end of a mend; empty where it has none of them.

    Args:
        command: the parsed command line.
        names: the settings that would help; all of `SPARING` if none is named.
    """
    given = vars(command) if command is not None else {}
    there = [SPARING[name] for name in names or SPARING if name in given]
    return f", or take {' or '.join(there)}" if there else ""


def _going_on(problem: PodiumError, command: Namespace | None) -> str:
    """What else can be done where too little of the machine or its disk is left, by the flags that the verb has."""
    resumed = ", with --resume" if command is not None and "resume" in vars(command) else ""
    if problem.fix == ROOM:
        return resumed
    if problem.fix != STARVED:
        return ""
    return resumed + sparing(command, "batch_size", "workers")
