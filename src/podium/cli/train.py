"""`podium train`: one training run, in one process or several."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from podium import tables
from podium.cli import console, flags
from podium.cli.fetching import fetch_ahead
from podium.cli.settings_flags import add_length, add_settings, settings_given
from podium.cli.shared import add_log_to, print_json
from podium.errors import UsageError
from podium.files import shell_word
from podium.settings import PRECISION

if TYPE_CHECKING:
    from podium.runs.folder import RunFolder
    from podium.settings import Origins, Settings
    from podium.training.plan import Plan

HELP = "train one network; killed at any moment, --resume ends with the same weights"
EXAMPLE = """podium train resnet20 cifar10 --epochs 30 -o runs/a
         podium train --resume -o runs/a                # stopped or killed: go on with it
         podium train resnet20 cifar10 --weights runs/a --epochs 10 -o runs/b    # finished: train it longer"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument("model", nargs="?", help="name of the network (`podium models`)")
    parser.add_argument(
        "data", nargs="?", help="a named set (digits, mnist, ...), a folder, an archive, or a table of paths and labels"
    )
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help="run folder [runs/MODEL-DATA]")
    parser.add_argument(
        "--resume", action="store_true", help="go on with the run in DIR, exactly; a finished one is left as it is"
    )
    parser.add_argument("--dry-run", action="store_true", help="print every setting with its origin, and stop")
    parser.add_argument(
        "--plan",
        action="store_true",
        help="print the time, memory and images/s to expect here and on more devices, measured by some training steps on a "
        "copy, and stop",
    )
    parser.add_argument(
        "--max-restarts",
        type=flags.restarts,
        default=0,
        metavar="N",
        help="how often the run is resumed by itself after a process was lost [0]",
    )
    parser.add_argument(
        "--elastic",
        action="store_true",
        help="let --resume go on with other devices or threads, or with another version of torch, CUDA or cuDNN; the result is "
        "then not the same to the bit",
    )
    add_log_to(parser)
    add_length(parser)
    add_settings(parser, {"model", "data", "recipe", "duration"})


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    merged = _merged_settings(arguments)
    if arguments.dry_run:
        _show_settings(merged, arguments.json)
        return 0
    if not arguments.resume:
        _check_given(merged.settings)
        fetch_ahead(merged.settings.weights, arguments.json)
    if arguments.plan:
        _show_plan(merged.settings, arguments.json)
        return 0
    out = _run_folder(arguments, merged.settings)
    devices = merged.settings.devices or (_recorded_devices(out) if arguments.resume else 1)
    if _needs_processes(arguments, out, devices):
        return _launch(arguments, merged.settings, out, devices)
    return _train(arguments, merged, out)


def _merged_settings(arguments: argparse.Namespace) -> Origins:
    """The settings of the run, each with its origin.

    Raises:
        UsageError: there is no run to resume, or a setting cannot be meant.
    """
    from podium.runs.folder import RunFolder
    from podium.training.idle import refuse_decided
    from podium.training.recipes.named import settings_of

    out = arguments.out
    if arguments.resume and (out is None or not RunFolder(out).started):
        raise UsageError(f"--resume: there is no run at {out or '(no -o was given)'}", "name its folder with -o")
    given = {"model": arguments.model, "data": arguments.data, **settings_given(arguments)}
    merged = settings_of(arguments.recipe, arguments.config, given)
    if not arguments.resume:
        refuse_decided(merged, "train")
    return merged


def _check_given(settings: Settings) -> None:
    """Raise a UsageError unless a network and a data set are named."""
    for key in ("model", "data"):
        if not getattr(settings, key):
            example = "podium train NAME DATA, for example: podium train lenet5_modern digits"
            raise UsageError(f"no {key} was given", example)


def _show_settings(merged: Origins, json: bool) -> None:
    """What --dry-run prints: every setting with its origin."""
    values, origin = merged.settings.to_dict(), merged.origin
    if json:
        print_json({key: {"value": value, "origin": origin[key]} for key, value in values.items()})
    else:
        tables.table("", ["setting", "value", "from"], [[key, str(v), origin[key]] for key, v in values.items()])


def _show_plan(settings: Settings, json: bool) -> None:
    """What --plan prints: the time, memory and speed to expect."""
    from podium.training.autotune.forecast import forecast, format_forecast
    from podium.training.prepare import prepare
    from podium.training.threads import computing_with

    with computing_with(settings.threads):
        plan = prepare(settings)
        foreseen = forecast(plan)
    if json:
        print_json(foreseen)
    else:
        print("\n".join([*_description(plan)[:-1], *format_forecast(foreseen)]))


def _description(plan: Plan) -> list[str]:
    """Lines for people about a run: notes, the network's cost, and the recipe."""
    from podium.evaluation.cost import format_cost

    s = plan.settings
    steps = f"{s.duration.removesuffix('it')} steps of {plan.train.batch_size} ({len(plan.train)} an epoch)"
    return [
        *plan.notes,
        format_cost(plan.net.spec, plan.cost),
        f"recipe {s.recipe}: {steps}, {s.optimizer} at {s.peak:g}, {PRECISION.get(s.amp, 'float32')} on {s.device}",
    ]


def _run_folder(arguments: argparse.Namespace, settings: Settings) -> Path:
    """The folder that -o names, or one named after the network and data that holds no run.

    Raises:
        UsageError: no folder is named, and several processes would each choose one.
    """
    from podium.runs.folder import RunFolder
    from podium.training.distributed.launch import started_together

    if arguments.out is not None:
        return Path(arguments.out)
    if started_together():
        raise UsageError("-o: none given", "the processes of a run need the name of one folder")
    path = Path("runs") / f"{settings.model}-{Path(settings.data).stem or 'data'}"
    number, free = 2, path
    while RunFolder(free).started:
        free, number = path.with_name(f"{path.name}-{number}"), number + 1
    return free


def _recorded_devices(out: Path) -> int:
    """The number of processes that a run was started with."""
    from podium.runs.folder import SETTINGS
    from podium.settings import read_file

    return read_file(out / SETTINGS).get("devices") or 1


def _needs_processes(arguments: argparse.Namespace, out: Path, devices: int) -> bool:
    """Whether this process is to start those that train, and not to train itself.

    Raises:
        UsageError: --max-restarts is given for a run of one process.
    """
    from podium.runs.folder import RunFolder
    from podium.training.distributed.launch import started_together

    if arguments.max_restarts and devices == 1:
        fix = "leave out --max-restarts, or add --devices 2"
        raise UsageError("--max-restarts does nothing here: one process is started again by hand, with --resume", fix)
    return devices > 1 and not started_together() and not (arguments.resume and RunFolder(out).intact)


def _launch(arguments: argparse.Namespace, settings: Settings, out: Path, devices: int) -> int:
    """Start the same command line in several processes; returns their exit code."""
    from podium.training.distributed.launch import launch

    words = [*arguments.words] + ([] if arguments.out else ["-o", str(out)])
    restarts, debug = arguments.max_restarts, arguments.debug
    return launch(devices, words, out, device=settings.device, restarts=restarts, debug=debug)


def _train(arguments: argparse.Namespace, merged: Origins, out: Path) -> int:
    """Train in this process, which may be one of several; returns the exit code."""
    from podium.api.train import train_and_report
    from podium.runs.folder import RunFolder
    from podium.training.distributed.launch import leads

    def announce(plan: Plan) -> None:
        if not arguments.json:
            for line in _description(plan):
                print(console.one_line(line), file=sys.stderr)

    with console.training_bar(quiet=arguments.json) as progress:
        try:
            trained = train_and_report(
                merged,
                out,
                resume=arguments.resume,
                elastic=arguments.elastic,
                log_to=arguments.log_to,
                announce=announce,
                progress=progress,
                reading=lambda done, count: progress(done, count, {"reading": True}),
            )
        except KeyboardInterrupt:  # before the first step, or after the last
            if RunFolder(out).started:
                raise KeyboardInterrupt(f"go on with: podium train --resume -o {shell_word(out)}") from None
            raise
    if leads():
        _show_result(trained, arguments.json)
    return 0


def _show_result(trained: RunFolder, json: bool) -> None:
    from podium.comparison.report.report_page import REPORT
    from podium.training.confidence import format_confidence

    r = trained.result
    if json:
        keys = ("top1", "top5", "loss", "split", "steps", "images_per_second", "seconds")
        print_json({"run": str(trained.path), **{key: r[key] for key in keys}})
        return
    score = f"{r['split']} top-1 {100 * r['top1']:.2f} % ({r['weights']})"
    print(f"{score} after {r['steps']} steps in {r['seconds']:.1f} s: {trained.path}")
    for line in format_confidence(r.get("confidence")):
        print(line)
    print(f"report: {trained / REPORT}")
