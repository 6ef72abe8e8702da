"""`podium compare`: several networks on the same images, ranked."""

from __future__ import annotations

import argparse
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from podium.bars import comparison_bar
from podium.cli import console, flags
from podium.cli.settings_flags import add_length, add_settings, settings_given
from podium.cli.shared import add_log_to, print_json, same_command_continues
from podium.units import parse_bytes, parse_count, parse_milliseconds

if TYPE_CHECKING:
    from podium.comparison.leaderboard import Leaderboard
    from podium.comparison.study import Study
    from podium.data.dataset import Dataset

HELP = "train several networks on the same images: leaderboard and report.html"
EXAMPLE = """podium compare photos/
         podium compare photos/ -m resnet18,keras:Xception --finetune 1    # the better one by its linear probe
         podium compare photos/ -m 'resnet*,MobileNet' --max-macs 2G       # all that cost at most so much
         podium compare photos/ -m '*' --max-macs 2G --heats 3             # many networks briefly, the best in full
         podium compare digits -m lenet5_modern,resnet20 --budget 30s"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument(
        "data", help="a named set (digits, mnist, ...), a folder, an archive, or a table of paths and labels"
    )
    _add_network_flags(parser)
    _add_start_flags(parser)
    _add_tuning_flags(parser)
    _add_run_flags(parser)
    _add_rank_flags(parser)
    parser.add_argument(
        "--learning-curve",
        action="store_true",
        help="also train the recommended network on a quarter and on half of the images: what would more photos give?",
    )
    add_log_to(parser)
    add_length(parser, "finetune, or quick with --scratch")
    parser.add_argument(
        "--weights",
        metavar="A,B,...",
        help="runs, bundles or files that the networks start from: one each, in the order of -m",
    )
    add_settings(parser, {"weights", "model", "data", "recipe", "duration", "devices", "sync_batch_norm", "fold"})


def _add_network_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which networks are compared, and which of them are trained in full."""
    parser.add_argument(
        "-m",
        "--models",
        metavar="A,B,...",
        help="networks; patterns in quotes ('resnet*', '*' for all) or families (ResNet), as podium models has them; or official "
        "weights as LIBRARY:NAME, or LIBRARY:NAME=FILE [for photos five with official weights, else the six of the demonstration]",
    )
    for name, what in (("params", "parameters"), ("macs", "multiply-adds of one image")):
        text = f"leave out networks with more {what}: 500k, 5M or 1.5G"
        parser.add_argument(f"--max-{name}", type=partial(parse_count, f"max_{name}"), metavar="N", help=text)
    parser.add_argument(
        "--heats",
        type=flags.heats,
        metavar="N",
        help="train all networks briefly and the better ones longer, in N rounds; only the finalists are trained in full, so that "
        "20 networks take about a third of the time",
    )


def _add_tuning_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which settings each network gets its own values of."""
    parser.add_argument(
        "--tune",
        metavar="A,B,...",
        help="settings of which each network gets the values that are best on validation images: lr,weight_decay",
    )
    parser.add_argument(
        "--trials", type=flags.trials, metavar="N", help="tune: trainings of each network, all of them complete [20]"
    )


def _add_rank_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how networks are ranked and recommended."""
    parser.add_argument(
        "--rank-by",
        default="top1",
        metavar="SCORE",
        help="what decides which network is best: top1, macro-f1, balanced-accuracy or log-loss [top1]",
    )
    parser.add_argument(
        "--within",
        type=float,
        default=1.0,
        metavar="POINTS",
        help="recommend the cheapest network that is sure to be at most so many points below the best, at 95 %%; a point is a "
        "hundredth of the score that ranks [1]",
    )
    parser.add_argument(
        "--max-latency",
        type=partial(parse_milliseconds, "max_latency"),
        metavar="TIME",
        help="recommend only networks that take at most so long for one image on this machine, in the fastest engine that keeps "
        "the answers: 20ms",
    )
    parser.add_argument(
        "--max-size",
        type=partial(parse_bytes, "max_size"),
        metavar="SIZE",
        help="recommend only networks whose file for that engine has at most so many bytes: 10MB",
    )
    parser.add_argument(
        "--rank-on",
        default="val",
        metavar="IMAGES",
        help="val: networks are ranked on validation images and reported on test images; test: both on the same held-out images, "
        "as papers do, which flatters the best [val]",
    )


def _add_run_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how many runs there are, where they lie, and how many train at a time."""
    parser.add_argument(
        "--seeds", type=flags.seeds, default=1, metavar="N", help="runs of each network, with seeds 0, 1, ... [1]"
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of the comparison; runs that are finished there are kept [runs/compare-DATA]",
    )
    parser.add_argument(
        "--figures",
        type=Path,
        metavar="DIR",
        help="also draw the charts of the report for papers, as SVG and PDF in this folder; of a comparison that is finished, the "
        "same command with --figures draws them and trains nothing",
    )
    parser.add_argument(
        "--plan",
        action="store_true",
        help="print the number of runs and the time to expect here, measured by some training steps of each, and stop",
    )
    parser.add_argument(
        "--cluster",
        metavar="PLACE",
        help="train each run as a task of a cluster: ray://HOST:PORT, auto (the Ray of this machine's cluster), local (a Ray that is "
        "started here) or slurm; images and -o must lie where all machines see them",
    )
    parser.add_argument(
        "--jobs",
        type=flags.jobs,
        metavar="N",
        help="runs that train side by side, each with its share of the cores [one a core for small networks without --budget, "
        "else 1; with --cluster all, as far as it has room]",
    )


def _add_start_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say what the networks start from."""
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--pretrained",
        action="store_const",
        const=True,
        default=None,
        dest="pretrained",
        help="fine-tune official weights [where the data are photos]",
    )
    start.add_argument(
        "--scratch",
        action="store_const",
        const=False,
        dest="pretrained",
        help="train from random weights [where the images are small as stored]",
    )
    parser.add_argument(
        "--finetune",
        type=flags.finetune,
        metavar="N",
        help="train only the N networks with the best linear probe on frozen features [all]",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code, which is that of the first network that failed."""
    study = _study(arguments)
    if arguments.plan:
        return _show_plan(study, arguments.json)
    say = None if arguments.json else _say
    with console.training_bar(quiet=arguments.json) as bar, same_command_continues(arguments.command):
        board = study.run(comparison_bar(bar, several_seeds=arguments.seeds > 1), say)
    for name, problem in study.failed.items():
        console.error(problem, f"{name}: ", arguments)
    if arguments.json:
        print_json(
            {
                "leaderboard": board.to_list(),
                "verdict": board.verdict(),
                "best": str(board.best.path) if board.best else None,
                "report": str(board.report) if board.report else None,
                "protocol": board.protocol.to_dict() if board.protocol else None,
                "notes": [*(study.data.notes if study.data is not None else ()), *study.notes],
                **({"slices": {name: s.to_dict() for name, s in study.slices.items()}} if study.slices else {}),
                **({"learning_curve": board.curve.to_dict()} if board.curve is not None else {}),
                **({"tuning": {name: t.to_dict() for name, t in board.tuned.items()}} if board.tuned else {}),
            }
        )
    else:
        _show(board, study)
    return next((problem.exit_code for problem in study.failed.values()), 0)


def _say(line: str) -> None:
    print(console.one_line(line), file=sys.stderr)


def _show_plan(study: Study, json: bool) -> int:
    from podium.comparison.outlook import outlook

    with console.counting_bar("counting and timing networks", quiet=json) as progress:
        found = outlook(study, progress)
    if json:
        print_json(found.to_dict())
    else:
        print("\n".join(found.lines()))
    return 0


def _study(arguments: argparse.Namespace) -> Study:
    """The comparison that a command line describes."""
    from podium.comparison.candidates import Choice
    from podium.comparison.report.repeat import without_private_folders
    from podium.comparison.study import Study
    from podium.comparison.tunable import tuned_names
    from podium.training.recipes.named import settings_of

    given = {"data": arguments.data, **settings_given(arguments)}
    fresh, tuned = (settings_of(arguments.recipe, arguments.config, given, usual) for usual in ("quick", "finetune"))
    out = arguments.out or Path("runs") / f"compare-{Path(arguments.data).stem or 'data'}"
    names = None
    if arguments.models is not None:
        names = [name.strip() for name in arguments.models.split(",") if name.strip()]
    a = arguments
    names_of_limits = (
        *("max_params", "max_macs", "max_latency", "max_size"),
        *("jobs", "heats", "trials", "figures", "log_to", "cluster"),
    )
    limits = {name: getattr(a, name) for name in names_of_limits}
    limits["tune"] = tuned_names(a.tune) if a.tune is not None else None
    limits |= {"command": without_private_folders(a.words), "words": tuple(a.words)}
    choice = Choice(a.pretrained, a.finetune, tuned, a.rank_by, a.within, a.learning_curve, rank_on=a.rank_on, **limits)
    return Study(names, fresh, out, arguments.seeds, choice=choice)


def _show(board: Leaderboard, study: Study) -> None:
    from podium.training.confidence import format_confidence

    board.table()
    print("\n".join(board.sentences()))
    if board.taken is not None and board.taken.model in study.slices:
        print(f"{board.taken.model}: {study.slices[board.taken.model].sentence()}")
    if board.report:
        print(f"leaderboard: {study.out / 'leaderboard.csv'}\nreport: {board.report}")
        if study.choice.figures is not None:
            print(f"figures: {study.choice.figures}")
    for line in format_confidence(board.best.result.get("confidence")) if board.best else ():
        print(line)
    if board.best and study.data:
        print("\n".join(_next_steps(study.out, board, study.data)))


def _as_typed(path: Path) -> str:
    """A path from the current folder where it lies below that, as a person would type it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _next_steps(out: Path, board: Leaderboard, data: Dataset) -> list[str]:
    """The recommended run, and two commands that put it to work.

    Args:
        out: the folder of the comparison.
        board: its leaderboard, which has a best run.
        data: the data set. If its images are files, the first one stands in the command.
    """
    from podium.data.names import show

    best, image = board.best.result["model"] if board.best else "", "IMAGE"
    for file in (data.splits[board.split].files or ())[:1]:
        # The file must be one of its own, not a part of an archive, and have a name that can be printed.
        if file.path.is_file() and file.path.stat().st_size == file.size and show(file.path) == str(file.path):
            image = _as_typed(file.path)
    path = board.best.path if board.best else out
    return [
        f"recommended: {best}, {path}; every command that takes a run takes {out} for it:",
        shlex.join(["podium", "predict", str(out), image]),
        shlex.join(["podium", "export", str(out), "-o", f"{best}.onnx"]),
    ]
