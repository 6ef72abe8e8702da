"""The command line: one function a verb, which parses, calls and prints. Heavy imports happen inside the verbs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from podium import __version__, console
from podium.errors import PodiumError, UsageError, closest
from podium.settings import FIELDS, base_type

EXIT_CODES = """exit codes: 0 done, 2 a flag, name or setting, 3 data, 4 model file, 5 numbers not finite, 6 disk, device or lock,
130 Ctrl-C, 143 SIGTERM (both leave a run that --resume goes on with exactly)"""


class Parser(argparse.ArgumentParser):
    """argparse, with errors of ours and the closest flags."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the whole usage."""
        raise UsageError(message, f"`{self.prog} --help` shows what it takes")


def _plain(default: Any) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _tuple(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _add_settings(parser: argparse.ArgumentParser, leave_out: set[str]) -> None:
    """A flag for each field of the settings."""
    group = parser.add_argument_group("settings (over the recipe's; also keys of a --config file)")
    for name, spec in FIELDS.items():
        if name in leave_out:
            continue
        kind, optional = base_type(name)
        flag, meta = f"--{name.replace('_', '-')}", spec.metadata
        default = "" if optional else f" [{_plain(spec.default)}]"
        text = str(meta["help"]) + default.replace("%", "%%")
        if kind is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
        else:
            choices = meta["choices"] or None
            metavar = None if choices else {int: "N", float: "X", tuple: "X,Y"}.get(kind, "TEXT")
            group.add_argument(
                flag, type=_tuple if kind is tuple else kind, choices=choices, metavar=metavar, default=None, help=text
            )


def _add_length(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recipe", metavar="NAME", help="named settings to start from (`podium recipes`) [quick]")
    parser.add_argument("--config", type=Path, metavar="FILE", help="a settings file (YAML), over the recipe")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=int, metavar="N", help="passes over the training images")
    length.add_argument("--steps", type=int, metavar="N", help="optimiser steps")
    length.add_argument("--budget", metavar="TIME", help="such as 90s, 2m, 1h: measured into steps, then exact")


def build_parser() -> Parser:
    """All verbs and their flags."""
    # --json and --debug stand before or after the verb's own flags
    shared = Parser(add_help=False)
    shared.add_argument(
        "--json", action="store_true", help="print one JSON document on standard output and nothing else there"
    )
    shared.add_argument("--debug", action="store_true", help="show the traceback of an error")
    main = Parser(
        prog="podium",
        description="Train the classic convolutional image classifiers side by side on your images and see which one wins.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    main.add_argument("--version", action="version", version=f"podium {__version__}")
    verbs = main.add_subparsers(dest="verb", metavar="VERB", parser_class=Parser)

    def verb(name: str, run: Any, help: str, example: str) -> argparse.ArgumentParser:
        parser = verbs.add_parser(
            name,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            epilog=f"example: {example}",
            parents=[shared],
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        parser.set_defaults(run=run)
        return parser

    p = verb("models", models, "list the networks, in order of year", "podium models 'resnet*'")
    p.add_argument("pattern", nargs="?", default="*", help="a shell pattern")

    p = verb("recipes", recipes, "list the training recipes and their sources", "podium recipes resnet-cifar-2015")
    p.add_argument("name", nargs="?", help="show this one's settings")

    p = verb("check", check, "find what is wrong with a data set before it costs a night", "podium check photos/")
    p.add_argument("data", help="a named set, a folder of class folders, or an archive")

    p = verb(
        "train",
        train,
        "train one network; killed at any moment, --resume ends with the same weights",
        "podium train resnet20 ../cifar10 --epochs 30 -o runs/a",
    )
    p.add_argument("model", nargs="?", help="name of the network (`podium models`)")
    p.add_argument("data", nargs="?", help="a named set (digits, mnist, ...), a folder, or an archive")
    p.add_argument("-o", "--out", type=Path, metavar="DIR", help="run folder [runs/MODEL-DATA]")
    p.add_argument("--resume", action="store_true", help="go on with the run in DIR, exactly")
    p.add_argument("--dry-run", action="store_true", help="print every setting with its origin, and stop")
    _add_length(p)
    _add_settings(p, {"model", "data", "recipe", "duration"})

    p = verb("eval", evaluate, "judge a run or bundle on a data set", "podium eval runs/a ../cifar10")
    p.add_argument("run_folder", metavar="RUN", help="a run folder or bundle")
    p.add_argument("data", help="a named set, a folder, or an archive")
    p.add_argument("--split", help="train, val or test [test, where there is one]")
    p.add_argument("--limit", type=int, metavar="N", help="only the first N images")
    p.add_argument("--workers", type=int, default=2, metavar="N", help="threads that decode images [2]")

    p = verb(
        "compare",
        compare,
        "train several networks on the same images: leaderboard and report.html",
        "podium compare digits -m lenet5_modern,resnet20 --budget 30s",
    )
    p.add_argument("data", help="a named set, a folder, or an archive")
    p.add_argument("-m", "--models", metavar="A,B,...", help="networks [the six of the demonstration]")
    p.add_argument("--seeds", type=int, default=1, metavar="N", help="runs of each, with seeds 0, 1, ... [1]")
    p.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of the comparison; what is finished there is kept [runs/compare-DATA]",
    )
    _add_length(p)
    _add_settings(p, {"model", "data", "recipe", "duration"})

    p = verb("predict", predict, "name what is on images", "podium predict runs/a rose.jpg tulip.jpg --top 3")
    p.add_argument("run_folder", metavar="RUN", help="a run folder or bundle")
    p.add_argument("images", nargs="+", metavar="IMAGE")
    p.add_argument("--top", type=int, default=5, metavar="N", help="classes shown for each [5]")

    p = verb("bench", bench, "time a network on this machine", "podium bench resnet50 --batch 8")
    p.add_argument("targets", nargs="+", metavar="NAME|RUN")
    p.add_argument("--batch", type=int, default=1, metavar="N", help="images a pass [1]")
    p.add_argument("--seconds", type=float, default=2.0, metavar="X", help="measured time [2]")
    p.add_argument("--image-size", type=int, metavar="N", help="side of the input, for a name")

    p = verb(
        "import",
        import_,
        "turn another library's checkpoint into a bundle",
        "podium import akamaster:resnet20 resnet20-12fca82f.th -o runs/peer",
    )
    p.add_argument("source", metavar="PEER:NAME")
    p.add_argument("file", type=Path)
    p.add_argument("-o", "--out", type=Path, required=True, metavar="DIR")
    p.add_argument("--num-classes", type=int, metavar="N", help="put a fresh head of this size on it")
    return main


def main(argv: list[str] | None = None) -> int:
    """Run a command line; the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        arguments = _parse(argv)
        if arguments.verb is None:
            build_parser().print_help()
            return 2
        return arguments.run(arguments)
    except PodiumError as problem:
        if "--debug" in argv:
            raise
        console.error(problem)
        return problem.exit_code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as problem:
        if "--debug" in argv:
            raise
        from podium.errors import MachineError
        from podium.files import FULL

        fix = (
            "free some space, then run the same again"
            if problem.errno in FULL
            else "check the path and its permissions"
        )
        console.error(MachineError(f"{problem.filename or 'input or output'}: {problem.strerror or problem}", fix))
        return MachineError.exit_code


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = build_parser()
    verbs: dict[str, Any] = next(a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    first = next((word for word in argv if not word.startswith("-")), None)
    if first is not None and first not in verbs:
        raise UsageError(f"no verb is called {first!r}", closest(first, list(verbs)) or f"one of {', '.join(verbs)}")
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        flags = [flag for action in verbs[arguments.verb]._actions for flag in action.option_strings]
        hint = closest(unknown[0].split("=")[0], flags) or f"`podium {arguments.verb} --help` lists them"
        raise UsageError(f"podium {arguments.verb} does not know {unknown[0]!r}", hint)
    return arguments


def _print_json(content: Any) -> None:
    print(json.dumps(content, ensure_ascii=False))


def _settings_flags(arguments: argparse.Namespace) -> dict[str, Any]:
    names = {*FIELDS, "epochs", "steps", "budget"} - {"model", "data", "recipe"}
    return {name: value for name, value in vars(arguments).items() if name in names}


def models(arguments: argparse.Namespace) -> int:
    """podium models."""
    from podium.evaluation.cost import count
    from podium.models import architecture, list_models

    names = list_models(arguments.pattern)
    if not names:
        raise UsageError(
            f"no network matches {arguments.pattern!r}",
            closest(arguments.pattern.strip("*"), list_models()) or "`podium models` lists all",
        )
    rows: list[dict[str, Any]] = []
    for name in names:
        known, cost = architecture(name), count({"model": name})
        shape = f"{known.in_chans}x{known.input_size}x{known.input_size}"
        rows.append(
            {
                "name": name,
                "family": known.family,
                "year": known.year,
                "params": cost.params,
                "macs": cost.macs,
                "input": shape,
            }
        )
    rows.sort(key=lambda row: row["year"])
    if arguments.json:
        _print_json(rows)
        return 0
    columns = ["name", "family", "year", "parameters", "multiply-adds", "input"]
    cells = [[r["name"], r["family"], str(r["year"]), f"{r['params']:,}", f"{r['macs']:,}", r["input"]] for r in rows]
    console.table("", columns, cells, right={"parameters", "multiply-adds"})
    return 0


def recipes(arguments: argparse.Namespace) -> int:
    """podium recipes."""
    from podium.training.recipes import RECIPES, recipe

    chosen = {arguments.name: recipe(arguments.name)} if arguments.name else RECIPES
    if arguments.json:
        _print_json(
            [{"name": n, "source": r.source, "differs": r.differs, "settings": r.settings} for n, r in chosen.items()]
        )
        return 0
    for name, r in chosen.items():
        print(f"{name}: {r.source}")
        if r.differs:
            print(f"  differs: {r.differs}")
        if arguments.name:
            for key, value in r.settings.items():
                print(f"  {key}: {list(value) if isinstance(value, tuple) else value}")
    return 0


def check(arguments: argparse.Namespace) -> int:
    """podium check."""
    from podium.data.check import check as inspect_data

    report = inspect_data(arguments.data)
    if arguments.json:
        _print_json(report.to_dict())
    else:
        splits = sorted({s for counts in report.classes.values() for s in counts}, key=["train", "val", "test"].index)
        rows = [[name, *(str(counts.get(s, 0)) for s in splits)] for name, counts in report.classes.items()]
        console.table(
            f"{report.source}: {report.images:,} images, {len(report.classes)} classes",
            ["class", *splits],
            rows,
            set(splits),
        )
        for problem in report.problems:
            print(f"{problem.kind}: {problem.path}  {problem.detail}")
        print(f"{len(report.problems)} problems" if report.problems else "nothing wrong was found")
    return 3 if report.problems else 0


def train(arguments: argparse.Namespace) -> int:
    """podium train."""
    from podium.training.recipes import settings_of

    given = {"model": arguments.model, "data": arguments.data, **_settings_flags(arguments)}
    out = arguments.out
    if arguments.resume and (out is None or not out.exists()):
        raise UsageError(f"--resume: there is no run at {out or '(no -o was given)'}", "name its folder with -o")
    if not arguments.resume:
        for key in ("model", "data"):
            if not arguments.dry_run and given[key] is None and arguments.config is None:
                raise UsageError(
                    f"no {key} was given", "podium train NAME DATA, for example: podium train lenet5_modern digits"
                )
    merged = settings_of(arguments.recipe, arguments.config, given)
    if arguments.dry_run:
        values = merged.settings.to_dict()
        if arguments.json:
            _print_json({key: {"value": value, "origin": merged.origin[key]} for key, value in values.items()})
        else:
            console.table("", ["setting", "value", "from"], [[k, str(v), merged.origin[k]] for k, v in values.items()])
        return 0
    from podium.training.loop import train as run_training
    from podium.training.plan import Plan

    def announce(plan: Plan) -> None:
        if not arguments.json:
            for line in _describe(plan):
                print(line, file=sys.stderr)

    if out is None:
        out = _fresh(Path("runs") / f"{merged.settings.model}-{Path(merged.settings.data).stem or 'data'}")
    with console.training_bar(quiet=arguments.json) as progress:
        run = run_training(
            merged.settings, out, origin=merged.origin, resume=arguments.resume, progress=progress, announce=announce
        )
    r = run.result
    if arguments.json:
        _print_json(
            {
                "run": str(run.path),
                **{k: r[k] for k in ("top1", "top5", "loss", "split", "steps", "images_per_second", "seconds")},
            }
        )
    else:
        print(
            f"{r['split']} top-1 {100 * r['top1']:.2f} % ({r['weights']}) after {r['steps']} steps in {r['seconds']:.1f} s: {run.path}"
        )
    return 0


def _describe(plan: Any) -> list[str]:
    s, c = plan.settings, plan.cost
    form = "small form, " if s.small else ""
    steps = f"{s.duration.removesuffix('it')} steps of {plan.train.batch_size} ({len(plan.train)} an epoch)"
    return [
        *plan.notes,
        f"{s.model}: {form}{c.params:,} parameters, {c.macs / 1e6:,.1f} M multiply-adds at {s.image_size} px",
        f"recipe {s.recipe}: {steps}, {s.optimizer}, {'bfloat16' if plan.amp else 'float32'} on {s.device}",
    ]


def _fresh(path: Path) -> Path:
    """The path, or the first of path-2, path-3 ... that is free."""
    number, free = 2, path
    while free.exists():
        free, number = path.with_name(f"{path.name}-{number}"), number + 1
    return free


def evaluate(arguments: argparse.Namespace) -> int:
    """podium eval."""
    from podium import api

    scores = api.evaluate(
        arguments.run_folder, arguments.data, split=arguments.split, limit=arguments.limit, workers=arguments.workers
    )
    if arguments.json:
        _print_json(scores)
        return 0
    columns = ["class", "images", "precision", "recall", "F1"]
    rows = [
        [r["class"], str(r["n"]), f"{r['precision']:.3f}", f"{r['recall']:.3f}", f"{r['f1']:.3f}"]
        for r in scores["per_class"]
    ]
    console.table("", columns, rows, set(columns[1:]))
    print(
        f"{scores['split']}: top-1 {100 * scores['top1']:.2f} %, top-5 {100 * scores['top5']:.2f} %, loss {scores['loss']:.4f}, "
        f"calibration error {scores['ece']:.4f}, on {scores['n']:,} images"
    )
    return 0


def compare(arguments: argparse.Namespace) -> int:
    """podium compare."""
    from podium.comparison.study import MODELS, Study
    from podium.training.recipes import settings_of

    flags = _settings_flags(arguments)
    if arguments.config is None and not any(flags.get(key) for key in ("epochs", "steps", "budget")):
        flags["budget"] = "2m"  # the recipes' own lengths can take days
    merged = settings_of(arguments.recipe, arguments.config, {"data": arguments.data, **flags})
    out = arguments.out or Path("runs") / f"compare-{Path(arguments.data).stem or 'data'}"
    names = [name.strip() for name in arguments.models.split(",") if name.strip()] if arguments.models else list(MODELS)
    study = Study(names, merged, out, arguments.seeds)
    with console.training_bar(quiet=arguments.json) as bar:

        def progress(
            number: int, count: int, model: str, seed: int, step: int, steps: int, shown: dict[str, Any]
        ) -> None:
            bar(
                step,
                steps,
                shown,
                label=f"{number + 1}/{count} {model}" + (f" seed {seed}" if arguments.seeds > 1 else ""),
            )

        board = study.run(progress)
    failed = [row for row in board.to_list() if row.get("error")]
    if arguments.json:
        _print_json({"leaderboard": board.to_list(), "report": str(study.report)})
    else:
        board.table()
        print(board.verdict())
        for row in failed:
            print(f"{row['model']} failed: {row['error']}", file=sys.stderr)
        if study.report.exists():
            print(f"leaderboard: {out / 'leaderboard.csv'}\nreport: {study.report}")
    return 5 if failed else 0


def predict(arguments: argparse.Namespace) -> int:
    """podium predict."""
    from podium import bundle

    answers = bundle.load(arguments.run_folder).predict(arguments.images, arguments.top)
    if arguments.json:
        _print_json(answers)
        return 0
    for answer in answers:
        named = ", ".join(f"{row['class']} {100 * row['probability']:.1f} %" for row in answer["top"])
        print(f"{answer['file']}: {named}")
    return 0


def bench(arguments: argparse.Namespace) -> int:
    """podium bench."""
    from podium import bundle
    from podium.evaluation.speed import measure
    from podium.models import create_model

    if arguments.batch < 1 or not 0 < arguments.seconds < 3600:
        raise UsageError(
            f"--batch {arguments.batch} --seconds {arguments.seconds}", "give at least 1 image and some seconds"
        )
    rows = []
    for target in arguments.targets:
        if Path(target).exists():
            net = bundle.load(target).model
        else:
            size = arguments.image_size
            net = create_model(target, image_size=size, small=size is not None and size <= 64)
        rows.append({"model": target, **measure(net, arguments.batch, arguments.seconds)})
    if arguments.json:
        _print_json(rows)
        return 0
    columns = ["model", "images/s", "p50 ms", "p95 ms", "batch", "threads", "dtype"]
    cells = [
        [
            r["model"],
            f"{r['images_per_second']:,.1f}",
            f"{r['latency_ms']['p50']:.3f}",
            f"{r['latency_ms']['p95']:.3f}",
            str(r["batch"]),
            str(r["threads"]),
            r["dtype"],
        ]
        for r in rows
    ]
    console.table("", columns, cells, set(columns[1:]))
    return 0


def import_(arguments: argparse.Namespace) -> int:
    """podium import."""
    from podium import api

    made = api.import_weights(arguments.source, arguments.file, arguments.out, num_classes=arguments.num_classes)
    if arguments.json:
        _print_json({"run": str(arguments.out), "spec": made.model.spec, "classes": list(made.classes)})
    else:
        print(f"{arguments.source}: {made.model.spec['model']} with {len(made.classes)} classes in {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
