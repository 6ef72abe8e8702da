"""The entry point of `podium`: it runs the verb of a command line and turns an error into two lines and an exit code."""

from __future__ import annotations

import argparse
import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from podium.cli import console
from podium.cli.parser import build_parser, parse
from podium.cli.stopping import interrupted_by_signals
from podium.errors import EXTRAS, ROOM, MachineError, PodiumError
from podium.files import FULL, no_shared_memory
from podium.fixes import for_the_command_line
from podium.training.interrupt import StopFlag, exit_code


def main(argv: list[str] | None = None) -> int:
    """Run a command line.

    Args:
        argv: the words after `podium`; those of this process if None.

    Returns:
        The exit code.
    """
    with _messages_shown(), for_the_command_line(), interrupted_by_signals() as stop:
        return _run(sys.argv[1:] if argv is None else argv, stop)


class _Messages(logging.Handler):
    """Prints what the library logs to standard error, each message once: "warning: ..." or "note: ..."."""

    def __init__(self) -> None:
        super().__init__()
        self.printed: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        kind = "warning" if record.levelno >= logging.WARNING else "note"
        line = f"{kind}: {record.getMessage()}"
        if line not in self.printed:  # several parts of a command may open the same run
            self.printed.add(line)
            print(line, file=sys.stderr)


@contextmanager
def _messages_shown() -> Iterator[None]:
    """Print the warnings and notes of the library within this context."""
    logger, handler = logging.getLogger("podium"), _Messages()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _run(argv: list[str], signalled: StopFlag) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # neither a file name nor the terminal need be UTF-8
    arguments = argparse.Namespace(command="the same command line")
    try:
        arguments = parse(argv)
        if arguments.verb is None:
            build_parser().print_help()
            return 2
        code = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt as stop:
        print(f"stopped; {str(stop) or f'start again with: {arguments.command}'}", file=sys.stderr)
        return exit_code(signalled.received or signal.SIGINT)
    except BrokenPipeError:  # the program that reads our output has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as problem:
        if "--debug" in argv:
            traceback.print_exc()
        error = _as_podium_error(problem, arguments)
        console.error(error, command=arguments)
        return error.exit_code


def _as_podium_error(problem: Exception, arguments: argparse.Namespace) -> PodiumError:
    """Any error as one that says what is wrong and what to do.

    Args:
        problem: the error.
        arguments: of the command line, whose verb need not have every flag.
    """
    if isinstance(problem, PodiumError):
        return problem
    if isinstance(problem, ModuleNotFoundError) and (extra := EXTRAS.get(str(problem.name).split(".")[0])):
        return MachineError(f"{problem.name} is not installed, which this needs", f'pip install "podium[{extra}]"')
    if (shared := no_shared_memory(problem)) is not None:
        return shared
    if isinstance(problem, OSError):
        full = problem.errno in FULL
        fix = ROOM if full else "check the path and its permissions"
        return MachineError(f"{problem.filename or 'input or output'}: {problem.strerror or problem}", fix)
    if isinstance(problem, RuntimeError) and "can't start new thread" in str(problem):
        fix = f"end other programs, raise the limit on threads (ulimit -u){console.sparing(arguments, 'workers')}"
        return MachineError("the system starts no more threads", fix)
    if isinstance(problem, MemoryError) or "can't allocate memory" in str(problem):
        return MachineError("no memory is left", f"end other programs{console.sparing(arguments)}")
    said = " ".join(f"{type(problem).__name__}: {problem}".split())
    return PodiumError(f"a fault of Podium's own ({said})", "report it with what --debug prints")


if __name__ == "__main__":
    sys.exit(main())
