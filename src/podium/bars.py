"""Progress bars for a terminal and for a notebook. rich and tqdm are imported when a bar is shown."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any


def in_notebook() -> bool:
    """Whether this is the process of a notebook: Jupyter, VS Code, Colab."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and (type(shell).__name__ == "ZMQInteractiveShell" or "google.colab" in sys.modules)


def visible() -> bool:
    """Whether a bar would be seen: standard error is a terminal, or this is a notebook."""
    return in_notebook() or sys.stderr.isatty()


@contextmanager
def training_progress(wanted: Callable[..., None] | bool | None, *, named: bool = False) -> Iterator[Any]:
    """What a call from Python shows while it trains.

    Args:
        wanted: a function, which is called; False for nothing; True or None for a bar where it is seen.
        named: the function takes the name of the network that trains before the rest.

    Yields:
        A function to call after each step.
    """
    if callable(wanted):
        yield wanted
        return
    with training_bar(quiet=wanted is False or not visible()) as bar:
        yield (lambda name, *step: bar(*step, label=name)) if named else bar


@contextmanager
def comparison_progress(wanted: Callable[..., None] | bool | None) -> Iterator[Callable[..., None]]:
    """What a call from Python shows while it compares networks.

    Args:
        wanted: as for `training_progress`. A function takes the number of the run, runs in all, network and seed before the rest.

    Yields:
        A function to call after each step of a run.
    """
    if callable(wanted):
        yield wanted
        return
    with training_bar(quiet=wanted is False or not visible()) as bar:
        yield comparison_bar(bar, several_seeds=True)


def comparison_bar(bar: Callable[..., None], several_seeds: bool) -> Callable[..., None]:
    """Turn a training bar into what a comparison calls, with the number and name of the run as its label.

    Args:
        bar: as `training_bar` yields it.
        several_seeds: whether the label names the seed.
    """

    def progress(number: int, count: int, model: str, seed: int, step: int, steps: int, shown: dict[str, Any]) -> None:
        label = f"{number + 1}/{count} {model}" + (f" seed {seed}" if several_seeds else "")
        if (together := shown.get("together")) is not None:  # runs side by side share the bar
            step, steps, label = together["step"], together["steps"], f"{count} runs: {', '.join(together['runs'])}"
        bar(step, steps, shown, label=label)

    return progress


@contextmanager
def counting_progress(
    wanted: Callable[[int, int], None] | bool | None, label: str
) -> Iterator[Callable[[int, int], None]]:
    """What a call from Python shows while it counts files or images.

    Args:
        wanted: as for `training_progress`. A function takes how many are done, and how many there are.
        label: what stands before the bar.

    Yields:
        A function to call as often as something is done.
    """
    if callable(wanted):
        yield wanted
        return
    with counting_bar(label, quiet=wanted is False or not visible()) as bar:
        yield bar


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
    if in_notebook() and not quiet:
        with _notebook_bar() as show:
            yield lambda done, count: show(done, count, label)
        return
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
        log ("event") after an epoch, {"reading": True} while files are read, {"counting": True} while networks are counted, {"downloading": of what} while bytes arrive,
        {"features": True} while frozen features are computed, or {"timing": of what} while speed is measured, after all training.
    """
    if quiet:
        yield lambda *_, **__: None
        return
    if in_notebook():
        with _notebook_bar() as show:
            yield lambda step, steps, shown, label="": _show_step(show, step, steps, shown, label)
        return
    timing: list[Callable[[str, int, int], None]] = []
    with ExitStack() as later, _bar(quiet, "loss {task.fields[loss]}") as bar:
        task = bar.add_task("training", total=None, loss="")

        def progress(step: int, steps: int, shown: dict[str, Any], label: str = "") -> None:
            if (beside := _beside(step, steps, shown, label)) is not None:
                done, count, what = beside
                bar.update(task, completed=done, total=count or None, description=what, loss="")
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


def _beside(step: int, steps: int, shown: dict[str, Any], label: str) -> tuple[int, int, str] | None:
    """What is done before training, as (done, in all, label); None where it is something else. The count is 0 if it is unknown."""
    if "reading" in shown:
        return step, steps, "reading images"
    if "counting" in shown:
        return step, steps, "counting multiply-adds of networks"
    if "downloading" in shown:
        return step // 1_000_000, steps // 1_000_000, f"downloading {shown['downloading']}, MB"
    if "features" in shown:
        return step, steps, f"{label}  features"
    return None


@contextmanager
def _notebook_bar() -> Iterator[Callable[..., None]]:
    """A bar in the output of a notebook's cell: a widget where ipywidgets is installed, else text.

    Yields:
        show(done, count, label, loss, line): all but the first two may be left out; a line stays above the bar.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without ipywidgets tqdm warns and shows a text, which does
        from tqdm.auto import tqdm

    with tqdm(total=None, dynamic_ncols=True, file=sys.stdout) as bar:

        def show(done: int, count: int, label: str = "", loss: float | None = None, line: str = "") -> None:
            if line:
                bar.write(line)
            if done < bar.n or label != bar.desc.removesuffix(": "):  # another run, or another part of it
                bar.reset(total=count)
                bar.set_postfix_str("", refresh=False)  # the loss was of that run
                bar.set_description(label)
            bar.total = count or None
            if loss is not None:
                bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            bar.update(done - bar.n)

        yield show


def _show_step(show: Callable[..., None], step: int, steps: int, shown: dict[str, Any], label: str) -> None:
    """Show a training step, an epoch, or what is done beside them, in a notebook."""
    if "event" in shown:
        show(step, steps, label or "training", line=f"{label}  {epoch_line(shown)}" if label else epoch_line(shown))
    elif (beside := _beside(step, steps, shown, label)) is not None:
        show(*beside)
    elif "timing" in shown:
        show(step, steps, f"{label}  timing {shown['timing']}")
    else:
        show(step, steps, label or "training", loss=shown["loss"])
