"""What each verb of the command line does: call and print. Heavy imports happen inside, so that `--help` costs nothing."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from podium import console
from podium.errors import DataError, UsageError, closest
from podium.settings import FIELDS


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
    from podium.training.folder import RunFolder
    from podium.training.recipes import settings_of

    given = {"model": arguments.model, "data": arguments.data, **_settings_flags(arguments)}
    out = arguments.out
    if arguments.resume and (out is None or not RunFolder(out).started):
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
    from podium.api import train_and_report
    from podium.comparison.report import REPORT
    from podium.training.plan import Plan

    def announce(plan: Plan) -> None:
        if not arguments.json:
            for line in _describe(plan):
                print(line, file=sys.stderr)

    if out is None:
        out = _fresh(Path("runs") / f"{merged.settings.model}-{Path(merged.settings.data).stem or 'data'}")
    with console.training_bar(quiet=arguments.json) as progress:
        run = train_and_report(merged, out, resume=arguments.resume, progress=progress, announce=announce)
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
        print(f"report: {run / REPORT}")
    return 0


def _describe(plan: Any) -> list[str]:
    s, c = plan.settings, plan.cost
    form = "small form, " if s.small else ""
    steps = f"{s.duration.removesuffix('it')} steps of {plan.train.batch_size} ({len(plan.train)} an epoch)"
    return [
        *plan.notes,
        f"{s.model}: {form}{c.params:,} parameters, {c.macs / 1e6:,.1f} M multiply-adds at {s.image_size} px",
        f"recipe {s.recipe}: {steps}, {s.optimizer} at {s.lr:g}, {'bfloat16' if plan.amp else 'float32'} on {s.device}",
    ]


def _fresh(path: Path) -> Path:
    """The path, or the first of path-2, path-3 ... that holds no run."""
    from podium.training.folder import RunFolder

    number, free = 2, path
    while RunFolder(free).started:
        free, number = path.with_name(f"{path.name}-{number}"), number + 1
    return free


def evaluate(arguments: argparse.Namespace) -> int:
    """podium eval."""
    from podium import api

    scores = api.evaluate(
        arguments.run_folder,
        arguments.data,
        split=arguments.split,
        limit=arguments.limit,
        workers=arguments.workers,
        crops=arguments.crops,
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
        f"calibration error {scores['ece']:.4f}, on {scores['n']:,} images, crops {scores['crops']}"
    )
    return 0


def compare(arguments: argparse.Namespace) -> int:
    """podium compare."""
    from podium.comparison.study import MODELS, Study
    from podium.training.interrupt import Stopped
    from podium.training.recipes import settings_of

    given = {"data": arguments.data, **_settings_flags(arguments)}
    merged = settings_of(arguments.recipe, arguments.config, given)
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

        try:
            board = study.run(progress)
        except Stopped as stopped:
            stopped.fix = f"go on with: {arguments.command}"
            raise
        except KeyboardInterrupt:  # between two runs, or while they are timed
            print(f"go on with: {arguments.command}", file=sys.stderr)
            raise
    for name, problem in study.failed.items():
        console.error(problem, f"{name}: ")
    if arguments.json:
        _print_json({"leaderboard": board.to_list(), "report": str(board.report) if board.report else None})
    else:
        board.table()
        print(board.verdict())
        if board.report:
            print(f"leaderboard: {out / 'leaderboard.csv'}\nreport: {board.report}")
    return next((problem.exit_code for problem in study.failed.values()), 0)


def predict(arguments: argparse.Namespace) -> int:
    """podium predict."""
    from podium import bundle

    run = bundle.load(arguments.run_folder)
    answers, code = [], 0
    for image in arguments.images:
        try:
            answers += run.predict(image, arguments.top)
        except DataError as problem:  # the other images are answered all the same
            console.error(problem)
            code = problem.exit_code
    if arguments.json:
        _print_json(answers)
        return code
    for answer in answers:
        named = ", ".join(f"{row['class']} {100 * row['probability']:.1f} %" for row in answer["top"])
        print(f"{answer['file']}: {named}")
    return code


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

    a = arguments
    made = api.import_weights(a.source, a.file, a.out, num_classes=a.num_classes, in_chans=a.in_chans)
    if a.json:
        card = made.card
        _print_json({"run": str(a.out), "spec": made.model.spec, "classes": list(made.classes), "notes": card["notes"]})
    else:
        for note in made.card["notes"]:
            print(f"note: {note}", file=sys.stderr)
        print(f"{a.source}: {made.model.spec['model']} with {len(made.classes)} classes in {a.out}")
    return 0
