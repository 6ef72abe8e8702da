"""The command line: a parser made from the modules of the verbs, and what it says about words that it does not know.

A verb is a module of this package. To add one, write the module and put its name into `VERBS`.
"""

from __future__ import annotations

import argparse
import difflib
import re
from typing import Any, NoReturn, Protocol

from podium import __version__
from podium.calls import MEANT
from podium.cli import (
    bench,
    board,
    check,
    claims,
    compare,
    diff,
    distill,
    draw,
    explain,
    export,
    help_,
    import_,
    info,
    models,
    pack,
    predict,
    prune,
    quantize,
    recipes,
    serve,
    slim,
    train,
    verify,
    weights,
)
from podium.cli import eval as evaluate
from podium.cli.idle_flags import refuse_idle_flags
from podium.errors import UsageError, closest
from podium.files import shell_word


class Verb(Protocol):
    """What the module of a verb holds; its file name is the verb's name.

    Args:
        HELP: what the verb does, as the list of verbs shows it.
        EXAMPLE: a command line that the verb takes.
    """

    __name__: str
    HELP: str
    EXAMPLE: str

    def add_flags(self, parser: argparse.ArgumentParser) -> None:
        """Add the verb's arguments to its parser."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Run the verb; returns the exit code."""


# In the order of the help. Nothing heavy is imported at the top of these modules, so that --help is fast.
VERBS: tuple[Verb, ...] = (
    models,
    info,
    draw,
    recipes,
    check,
    pack,
    train,
    evaluate,
    compare,
    board,
    diff,
    predict,
    explain,
    bench,
    prune,
    slim,
    distill,
    quantize,
    export,
    serve,
    verify,
    weights,
    import_,
    claims,
    help_,
)

EXIT_CODES = """exit codes: 0 done, 2 a flag, name or setting, 3 data, 4 model file, 5 numbers not finite or a target missed,
6 disk, device or lock, 130 Ctrl-C, 143 SIGTERM (both leave a run that --resume goes on with exactly)"""


# What argparse says of a value that is no number, and the numbers that it means by the name of their type.
NO_NUMBER = re.compile(r"argument (?:-\w/)?(?P<flag>\S+): invalid (?P<kind>.+) value: (?P<value>.*)", re.DOTALL)
WANTED = {
    "int": "a whole number",
    "float": "a number",
    "int or auto": "a whole number, or auto",
    "numbers": "numbers with commas between them, such as 0.25,1",
}


class Parser(argparse.ArgumentParser):
    """argparse with Podium's errors."""

    def error(self, message: str) -> NoReturn:
        """Raise a UsageError instead of printing the whole usage."""
        if found := NO_NUMBER.fullmatch(message):
            wanted = WANTED.get(found["kind"], found["kind"])
            raise UsageError(f"{found['flag']}: {found['value']}", f"give {wanted}")
        raise UsageError(message, f"`{self.prog} --help` shows what it takes")


def build_parser() -> Parser:
    """The parser of all verbs and their flags."""
    shared = _shared_flags()
    main = Parser(
        prog="podium",
        description="Train the classic convolutional image classifiers side by side on your images and see which one wins.",
        epilog=EXIT_CODES,
        parents=[shared],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    main.add_argument("--version", action="version", version=f"podium {__version__}")
    subparsers = main.add_subparsers(dest="verb", metavar="VERB", parser_class=Parser)
    for verb in VERBS:
        parser = subparsers.add_parser(
            verb.__name__.rpartition(".")[2].rstrip("_"),  # "import_" is no keyword of Python, nor "help_" its function
            help=verb.HELP,
            description=verb.HELP[0].upper() + verb.HELP[1:] + ".",
            epilog=f"example: {verb.EXAMPLE}",
            parents=[shared],
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        parser.set_defaults(run=verb.run)
        verb.add_flags(parser)
    return main


def _shared_flags() -> Parser:
    """The flags that stand before the verb or after it."""
    shared = Parser(add_help=False)
    for flag, text in (
        ("--json", "print one JSON document on standard output and nothing else there"),
        ("--debug", "show the traceback of an error"),
    ):
        # Without SUPPRESS the default of the verb's own parser would undo a flag that stands before the verb.
        shared.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=text)
    return shared


def verbs_of(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Verb -> its parser."""
    return next(a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction))


def refuse_unknown_verb(word: str, verbs: dict[str, Any]) -> None:
    """Raise a UsageError for a word that is no verb; it names the closest."""
    if word not in verbs:
        raise UsageError(f"no verb is called {word!r}", closest(word, list(verbs)) or f"one of {', '.join(verbs)}")


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments of a command line, for its verb's `run`.

    Raises:
        UsageError: an unknown verb, flag or value; names the closest there are.
    """
    parser = build_parser()
    verbs = verbs_of(parser)
    place = next((number for number, word in enumerate(argv) if word in verbs), 0)
    for word in argv[:place]:
        if word.startswith("-") and word not in parser._option_string_actions:
            command = " ".join(map(shell_word, ["podium", *argv[place:], *argv[:place]]))
            raise UsageError(f"{word} stands before the verb", f"write it after the verb: {command}")
    first = next((word for word in argv if not word.startswith("-")), None)
    if first is not None:
        refuse_unknown_verb(first, verbs)
    if "--json" in argv and {"-h", "--help"}.intersection(argv):  # argparse would print text
        argv = ["help", "--json", *([first] if first is not None else [])]
    given = {"words": argv, "command": " ".join(map(shell_word, ["podium", *argv]))}
    arguments, unknown = parser.parse_known_args(argv, argparse.Namespace(json=False, debug=False, **given))
    if unknown:
        chosen = verbs.get(arguments.verb, parser)
        flags = [flag for action in chosen._actions for flag in action.option_strings]
        word = unknown[0].split("=")[0]
        if not word.startswith("-"):
            fix = "leave it out, or put quotes around a name that has spaces; a flag such as --flip takes no yes or no"
            raise UsageError(f"{chosen.prog}: {unknown[0]!r} is one word too many", fix)
        raise UsageError(f"{chosen.prog} does not know {unknown[0]!r}", _closest_flag(word, flags, chosen.prog))
    refuse_idle_flags(arguments)
    return arguments


def _closest_flag(word: str, flags: list[str], prog: str) -> str:
    """What to do about an unknown flag: another program's name for one of ours, else a similar spelling."""
    named = {flag.lstrip("-").replace("-", "_"): flag for flag in flags}
    bare = word.lstrip("-").replace("-", "_")  # all flags are alike in their dashes
    for ours in MEANT.get(bare, []):
        if ours in named:
            return f"did you mean {named[ours]}?"
    near = [named[name] for name in difflib.get_close_matches(bare, named, cutoff=0.6)]
    return f"did you mean {', '.join(near)}?" if near else f"`{prog} --help` lists them"
