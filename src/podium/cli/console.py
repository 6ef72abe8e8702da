"""What a person sees while a verb runs: errors, lines of the log, progress bars. rich is imported when a bar is shown."""

from __future__ import annotations

import shlex
import sys
import time
import unicodedata
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from podium.errors import ImageError, PodiumError


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
        print(f"fix: {one_line(problem.fix + _skipping(problem, command))}", file=sys.stderr)


def one_line(text: str) -> str:
    """The text with control characters, line separators and surrogates escaped, which file names may have."""
    steering = {"Cc", "Cs", "Zl", "Zp"}
    return "".join(repr(c)[1:-1] if unicodedata.category(c) in steering else c for c in text)


def _skipping(problem: PodiumError, command: Namespace | None) -> str:
    """What else can be done about an image that cannot be read, by a verb that has --on-bad; else an empty text."""
    given = vars(command) if command is not None else {}
    if not isinstance(problem, ImageError) or given.get("on_bad", "skip") == "skip" or given.get("resume"):
        return ""
    listed = f"; `podium check {shlex.quote(str(given['data']))}` lists all such files" if given.get("data") else ""
    return f"{listed}; --on-bad skip with a new -o leaves them out"


def epoch_line(row: dict[str, Any]) -> str:
    """A row of the log as a line for people."""
    return (
        f"epoch {row['epoch']:>3}  loss {row['train_loss']:.4f}  {row['split']} top-1 {100 * row['top1']:6.2f} %"
        f"  loss {row['loss']:.4f}  {row['seconds']:.1f} s"
    )


def _bar(quiet: bool, between: str = "", **options: Any) -> Any:
    """A bar of rich with a count and the time left, on standard error; it shows nothing without a terminal.

    Args:
        quiet: show nothing.
        between: the template of one more column before the time left.
        options: further arguments of `rich.progress.Progress`.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    more = [TextColumn(between)] if between else []
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *more, TimeRemainingColumn()
    return Progress(*columns, console=console, disable=quiet or not console.is_terminal, **options)


@contextmanager
def counting_bar(label: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A bar that counts files or images, with the time left.

    Args:
        label: what stands before the bar.
        quiet: show nothing.

    Yields:
        progress(done, count), to be called as often as something is done.
    """
    with _bar(quiet) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, count: bar.update(task, completed=done, total=count)


@contextmanager
def download_bar(label: str, quiet: bool = False) -> Iterator[Callable[[int, int | None], None]]:
    """A bar of a download, with the bytes that came and the time left.

    Args:
        label: the file's name.
        quiet: show nothing.

    Yields:
        progress(done, total), in bytes, to be called as often as some come; the total is None where it is unknown.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def timing_bar(quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """A bar beside a measurement of speed: it is drawn by no thread, twice a second at most, and only between timings.

    Yields:
        progress(label, count, done), to be called after each timing.
    """
    drawn = 0.0
    with _bar(quiet, auto_refresh=False, transient=True) as bar:
        task = bar.add_task("", total=None)

        def progress(label: str, count: int, done: int) -> None:
            nonlocal drawn
            if (now := time.monotonic()) - drawn > 0.5:
                bar.update(task, description=label, completed=done, total=count, refresh=True)
                drawn = now

        yield progress


@contextmanager
def training_bar(quiet: bool = False) -> Iterator[Callable[..., None]]:
    """A bar of the training with the time left, and a line for each epoch; without a terminal only the lines.

    Everything goes to standard error.

    Args:
        quiet: show nothing.

    Yields:
        progress(step, steps, shown, label=""), to be called after each step. `shown` holds the loss of a step, the row of the
        log ("event") after an epoch, {"reading": True} while files are read, {"downloading": of what} while bytes arrive, {"features": True} while features are computed, or {"timing": of what} while speed is measured,
        after all training.
    """
    if quiet:
        yield lambda *_, **__: None
        return
    timing: list[Callable[[str, int, int], None]] = []
    with ExitStack() as later, _bar(quiet, "loss {task.fields[loss]}") as bar:
        task = bar.add_task("training", total=None, loss="")

        def progress(step: int, steps: int, shown: dict[str, Any], label: str = "") -> None:
            if "reading" in shown:
                bar.update(task, completed=step, total=steps, description="reading images", loss="")
            elif "downloading" in shown:
                megabytes = (step / 1e6, steps / 1e6 or None)
                what = f"downloading {shown['downloading']}, MB"
                bar.update(task, completed=megabytes[0], total=megabytes[1], description=what, loss="")
            elif "features" in shown:
                bar.update(task, completed=step, total=steps, description=f"{label}  features", loss="")
            elif "timing" in shown:
                if not timing:
                    bar.stop()  # the thread that draws it would disturb what is timed
                    timing.append(later.enter_context(timing_bar()))
                if steps:
                    timing[0](f"{label}  timing {shown['timing']}", steps, step)
                elif not bar.console.is_terminal:
                    print(f"{label}  timing, {shown['timing']}", file=sys.stderr, flush=True)
            elif "event" in shown:
                text = f"{label}  {epoch_line(shown)}" if label else epoch_line(shown)
                if bar.console.is_terminal and not label:
                    bar.console.print(text)
                elif not bar.console.is_terminal and (not label or step == steps):
                    print(text, file=sys.stderr, flush=True)
            else:
                bar.update(
                    task, completed=step, total=steps, description=label or "training", loss=f"{shown['loss']:.4f}"
                )

        yield progress
