"""Verbs that make and judge runs: train, eval, compare, predict, bench. Heavy imports happen inside, so that `--help` costs nothing."""

from __future__ import annotations

import argparse
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any

from podium import tables
from podium.cli import console
from podium.cli.shared import going_on, print_json, settings_flags
from podium.errors import DataError, NumericError, UsageError
from podium.files import shell_word


def train(arguments: argparse.Namespace) -> int:
    """podium train."""
    from podium.runs.folder import RunFolder
    from podium.training.idle import refuse_decided
    from podium.training.recipes.named import settings_of

    given = {"model": arguments.model, "data": arguments.data, **settings_flags(arguments)}
    out = arguments.out
    if arguments.resume and (out is None or not RunFolder(out).started):
        raise UsageError(f"--resume: there is no run at {out or '(no -o was given)'}", "name its folder with -o")
    merged = settings_of(arguments.recipe, arguments.config, given)
    if not arguments.resume:
        refuse_decided(merged, "train")
    if arguments.dry_run:
        values = merged.settings.to_dict()
        if arguments.json:
            print_json({key: {"value": value, "origin": merged.origin[key]} for key, value in values.items()})
        else:
            tables.table("", ["setting", "value", "from"], [[k, str(v), merged.origin[k]] for k, v in values.items()])
        return 0
    for key in () if arguments.resume else ("model", "data"):
        if not getattr(merged.settings, key):
            example = "podium train NAME DATA, for example: podium train lenet5_modern digits"
            raise UsageError(f"no {key} was given", example)
    if arguments.plan:
        return _plan(merged, arguments.json)
    from podium.training.distributed.launch import launch, leads, started_together

    together = started_together()
    if out is None and together:
        raise UsageError("-o: none given", "the processes of a run need the name of one folder")
    if out is None:
        out = _fresh(Path("runs") / f"{merged.settings.model}-{Path(merged.settings.data).stem or 'data'}")
    devices = merged.settings.devices or (_recorded_devices(out) if arguments.resume else 1)
    if arguments.max_restarts and devices == 1:
        fix = "leave out --max-restarts, or add --devices 2"
        raise UsageError("--max-restarts does nothing here: one process is started again by hand, with --resume", fix)
    if devices > 1 and not together and not (arguments.resume and RunFolder(out).intact):
        words = [*arguments.words] + ([] if arguments.out else ["-o", str(out)])
        more = {"restarts": arguments.max_restarts, "debug": arguments.debug}
        return launch(devices, words, out, device=merged.settings.device, **more)
    from podium.api import train_and_report
    from podium.comparison.report import REPORT
    from podium.training.plan import Plan

    def announce(plan: Plan) -> None:
        if not arguments.json:
            for line in _describe(plan):
                print(console.one_line(line), file=sys.stderr)

    how: dict[str, Any] = {"resume": arguments.resume, "elastic": arguments.elastic, "announce": announce}
    with console.training_bar(quiet=arguments.json) as progress:
        try:
            run = train_and_report(
                merged,
                out,
                progress=progress,
                reading=lambda done, count: progress(done, count, {"reading": True}),
                **how,
            )
        except KeyboardInterrupt:  # before the first step, or after the last
            if RunFolder(out).started:
                raise KeyboardInterrupt(f"go on with: podium train --resume -o {shell_word(out)}") from None
            raise
    if not leads():
        return 0
    r = run.result
    if arguments.json:
        print_json(
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


def _plan(merged: Any, json: bool) -> int:
    """podium train --plan."""
    from podium.training.autotune.forecast import forecast, format_forecast
    from podium.training.plan import prepare
    from podium.training.threads import computing_with

    with computing_with(merged.settings.threads):
        plan = prepare(merged.settings)
        foreseen = forecast(plan)
    if json:
        print_json(foreseen)
    else:
        print("\n".join([*_describe(plan)[:-1], *format_forecast(foreseen)]))
    return 0


def _recorded_devices(out: Path) -> int:
    from podium.runs.folder import SETTINGS
    from podium.settings import read_file

    return read_file(out / SETTINGS).get("devices") or 1


def _describe(plan: Any) -> list[str]:
    from podium.evaluation.cost import format_cost

    s = plan.settings
    steps = f"{s.duration.removesuffix('it')} steps of {plan.train.batch_size} ({len(plan.train)} an epoch)"
    return [
        *plan.notes,
        format_cost(plan.net.spec, plan.cost),
        f"recipe {s.recipe}: {steps}, {s.optimizer} at {s.peak:g}, {'bfloat16' if plan.amp else 'float32'} on {s.device}",
    ]


def _fresh(path: Path) -> Path:
    """The path, or the first of path-2, path-3 ... that holds no run."""
    from podium.runs.folder import RunFolder

    number, free = 2, path
    while RunFolder(free).started:
        free, number = path.with_name(f"{path.name}-{number}"), number + 1
    return free


def evaluate(arguments: argparse.Namespace) -> int:
    """podium eval."""
    from podium import api
    from podium.evaluation.metrics import TOP5_FROM

    with console.counting_bar("judging", quiet=arguments.json) as progress:
        scores = api.evaluate(
            arguments.run_folder,
            arguments.data,
            split=arguments.split,
            limit=arguments.limit,
            workers=arguments.workers,
            crops=arguments.crops,
            split_seed=arguments.split_seed,
            progress=progress,
        )
    if arguments.json:
        print_json(scores)
        return 0
    for note in scores["notes"]:
        print(note, file=sys.stderr)
    columns = ["class", "images", "precision", "recall", "F1"]
    rows = [
        [r["class"], str(r["n"]), f"{r['precision']:.3f}", f"{r['recall']:.3f}", f"{r['f1']:.3f}"]
        for r in scores["per_class"]
    ]
    tables.table("", columns, rows, set(columns[1:]))
    top5 = f", top-5 {100 * scores['top5']:.2f} %" if len(scores["per_class"]) >= TOP5_FROM else ""
    print(
        f"{scores['split']}: top-1 {100 * scores['top1']:.2f} %{top5}, loss {scores['loss']:.4f}, "
        f"calibration error {scores['ece']:.4f}, on {scores['n']:,} images, crops {scores['crops']}"
        + ("" if scores.get("mirrored", True) else " without mirrored views, as the run was trained")
    )
    return 0


def compare(arguments: argparse.Namespace) -> int:
    """podium compare."""
    from podium.comparison.study import MODELS, Study
    from podium.training.recipes.named import settings_of

    given = {"data": arguments.data, **settings_flags(arguments)}
    merged = settings_of(arguments.recipe, arguments.config, given)
    out = arguments.out or Path("runs") / f"compare-{Path(arguments.data).stem or 'data'}"
    names = (
        [name.strip() for name in arguments.models.split(",") if name.strip()]
        if arguments.models is not None
        else list(MODELS)
    )
    study = Study(names, merged, out, arguments.seeds)
    if not arguments.json and (takes := study.expected()) is not None:
        print(takes, file=sys.stderr)
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

        with going_on(arguments.command):
            board = study.run(progress, None if arguments.json else partial(print, file=sys.stderr))
    for name, problem in study.failed.items():
        console.error(problem, f"{name}: ", arguments)
    if arguments.json:
        print_json(
            {
                "leaderboard": board.to_list(),
                "verdict": board.verdict(),
                "best": str(board.best.path) if board.best else None,
                "report": str(board.report) if board.report else None,
            }
        )
    else:
        board.table()
        print(board.verdict())
        if board.report:
            print(f"leaderboard: {out / 'leaderboard.csv'}\nreport: {board.report}")
        if board.best:
            print("\n".join(_what_next(out, board, study.data)))
    return next((problem.exit_code for problem in study.failed.values()), 0)


def _what_next(out: Path, board: Any, data: Any) -> list[str]:
    """The run that a comparison recommends, and two commands that put it to work; with an image of the data, if it has files."""
    from podium.data.dataset import show

    best = board.ranked[0]["model"]
    image = "IMAGE"
    for file in (data.splits[board.split].files or ())[
        :1
    ]:  # not a part of an archive, and of a name that can be printed
        if file.path.is_file() and file.path.stat().st_size == file.size and show(file.path) == str(file.path):
            image = str(file.path)
    return [
        f"recommended: {best}, {board.best.path}; every command that takes a run takes {out} for it:",
        shlex.join(["podium", "predict", str(out), image]),
        shlex.join(["podium", "export", str(out), "-o", f"{best}.onnx"]),
    ]


def predict(arguments: argparse.Namespace) -> int:
    """podium predict."""
    from podium.data.folders import images_below
    from podium.deployment.load import load
    from podium.runs.recommended import recommended

    if (first := recommended(arguments.run_folder)) is not None:
        print(f"note: of {arguments.run_folder} its first network, {first.path}", file=sys.stderr)
        if not first.learned:
            print("warning: it is no better than the most frequent class every time", file=sys.stderr)
    run = load(arguments.run_folder)
    answers, code, waiting = [], 0, list(reversed(arguments.images))
    while waiting:
        image = waiting.pop()
        try:
            if Path(image).is_dir():
                waiting += reversed(images_below(Path(image)))
                continue
            (answer,) = run.predict(image, arguments.top)
        except (DataError, NumericError) as problem:  # the other images are answered all the same
            console.error(problem)
            code = problem.exit_code
            continue
        answers.append(answer)
        if not arguments.json:
            named = ", ".join(f"{row['class']} {100 * row['probability']:.1f} %" for row in answer["top"])
            print(console.one_line(f"{answer['file']}: {named}"))
    if arguments.json:
        print_json(answers)
    return code


def bench(arguments: argparse.Namespace) -> int:
    """podium bench."""
    from podium.deployment.runtime import is_exported
    from podium.models.registry import architecture

    for target in arguments.targets:  # before the first is timed
        if not Path(target).exists() and not is_exported(target):
            architecture(target)

    if arguments.engines is not None or any(is_exported(target) for target in arguments.targets):
        from podium.cli import deploy

        return deploy.bench(arguments)
    from podium.evaluation.speed import fewest_to_train, measure
    from podium.models.convnet import meta
    from podium.models.forms import small_without_data
    from podium.models.registry import rebuild
    from podium.runs import bundle
    from podium.weights.create import create_model

    def opened(target: str) -> Any:
        size = arguments.image_size
        if Path(target).exists():
            return bundle.load(target).model
        return create_model(target, image_size=size, small=small_without_data(size))

    batch = dict.fromkeys(arguments.targets, arguments.batch or 1)
    for target in arguments.targets if arguments.backward and (arguments.batch or 1) == 1 else ():
        spec = (opened(target) if Path(target).exists() else meta(partial(opened, target))).spec
        if fewest_to_train(meta(partial(rebuild, spec))) == 1:
            continue
        why = f"{target} at {spec['image_size']} px has maps of one pixel, whose batch norm has no variance over one image"
        if arguments.batch is not None:
            raise UsageError(f"--backward with --batch {arguments.batch}: {why}", "--batch 2")
        print(f"note: with a batch of 2: {why}", file=sys.stderr)
        batch[target] = 2
    seconds = arguments.seconds
    batches = arguments.batches or 100
    rows = []
    with console.timing_bar(quiet=arguments.json) as bar:
        for target in arguments.targets:
            net = opened(target)
            for backward in (False, True) if arguments.backward else (False,):
                timed = measure(
                    net,
                    batch[target],
                    batches=batches,
                    seconds=seconds,
                    backward=backward,
                    tick=partial(bar, f"timing {target}", batches),
                )
                rows.append({"model": target, **timed})
    if arguments.json:
        print_json(rows)
        return 0
    columns = ["model", "pass", "images/s", "p50 ms", "p95 ms", "mean ± sd ms", "batch", "passes", "threads", "dtype"]
    cells = []
    for r in rows:
        ms = r["latency_ms"]
        times = [f"{ms['p50']:.3f}", f"{ms['p95']:.3f}", f"{ms['mean']:.3f} ± {ms['sd']:.3f}"]
        counts = [str(r[key]) for key in ("batch", "n", "threads", "dtype")]
        cells.append([r["model"], r["pass"], f"{r['images_per_second']:,.1f}", *times, *counts])
    tables.table("", columns, cells, set(columns[2:]))
    return 0
