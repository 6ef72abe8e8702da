"""What each verb of the command line does: call and print. Heavy imports happen inside, so that `--help` costs nothing."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium import console
from podium.errors import DataError, UsageError, closest
from podium.settings import FIELDS

if TYPE_CHECKING:
    from podium.models.convnet import ConvNet


def _print_json(content: Any) -> None:
    print(json.dumps(content, ensure_ascii=False))


def _settings_flags(arguments: argparse.Namespace) -> dict[str, Any]:
    names = {*FIELDS, "epochs", "steps", "budget"} - {"model", "data", "recipe"}
    return {name: value for name, value in vars(arguments).items() if name in names}


def models(arguments: argparse.Namespace) -> int:
    """podium models."""
    from podium.comparison.leaderboard import short
    from podium.comparison.lineage import networks, percent, write_lineage
    from podium.models import list_models

    rows = networks(arguments.pattern)
    if not rows:
        raise UsageError(
            f"no network matches {arguments.pattern!r}",
            closest(arguments.pattern.strip("*"), list_models()) or "`podium models` lists all",
        )
    if arguments.out:
        if arguments.out.is_dir():
            raise UsageError(f"-o {arguments.out}: that is a folder", "name a file, such as lineage.html")
        write_lineage(arguments.out, rows)
    if arguments.json:
        _print_json(rows)
    elif arguments.out:
        print(f"page: {arguments.out}")
    else:
        columns = ["name", "family", "year", "depth", "parameters", "multiply-adds", "input", "error %"]
        cells = [
            [
                r["name"],
                r["family"],
                str(r["year"]),
                str(r["depth"] or ""),
                f"{r['params']:,}",
                short(r["macs"]),
                r["input"],
                "/".join(percent(error) or "-" for error in (r["top1_error"], r["top5_error"]))
                if r["protocol"]
                else "",
            ]
            for r in rows
        ]
        console.table("", columns, cells, right={"depth", "parameters", "multiply-adds"})
        print("error: top-1/top-5 as published, by protocols that --json names; of small inputs on MNIST or CIFAR-10")
    return 0


def _network(target: str, **form: Any) -> ConvNet:
    """A run's network, or one by name and without weights, in the form that flags ask for: up to 64 px small by itself."""
    from podium import bundle
    from podium.models import create_model
    from podium.models.convnet import meta
    from podium.training.plan import SMALL_UP_TO

    if Path(target).exists():
        for flag in (f"--{key.replace('_', '-')}" for key, value in form.items() if value is not None):
            raise UsageError(f"{flag}: {target} is a network that has its form", "leave it out, or give a name")
        return bundle.load(target).model
    size = form["image_size"]
    if form.get("small") is None:
        form["small"] = size is not None and size <= SMALL_UP_TO
    return meta(lambda: create_model(target, **form))


def info(arguments: argparse.Namespace) -> int:
    """podium info."""
    from podium.evaluation.layers import summary
    from podium.models.structure import by

    a = arguments
    facts = summary(_network(a.target, image_size=a.image_size, num_classes=a.num_classes, small=a.small))
    if a.json:
        _print_json(facts)
        return 0
    columns = ["layer", "type", "output", "parameters", "multiply-adds", "receptive field"]
    cells: list[list[str]] = []
    for part, group in itertools.groupby(facts["layers"], lambda layer: layer["part"]):
        layers = list(group)
        params, macs = (f"{sum(layer[key] for layer in layers):,}" for key in ("params", "macs"))
        only = " (in training only)" if layers[0]["training_only"] else ""
        cells.append([part + only, "", by(layers[-1]["shape"]), params, macs, ""])
        for layer in layers:
            name = layer["name"].removeprefix("stages.").removeprefix(part).removeprefix(".") or part
            field = layer["receptive_field"]
            seen = "all" if field is None else str(field[0]) if field[0] == field[1] else by(field)
            numbers = (f"{layer[key]:,}" if layer[key] else "" for key in ("params", "macs"))
            cells.append([f"    {name}", layer["type"], by(layer["shape"]), *numbers, seen])
    spec = facts["spec"]
    image = by((spec["in_chans"], spec["image_size"], spec["image_size"]))
    form = ", small form" if spec["small"] else ""
    title = f"{facts['name']}{form}: image {image}, {spec['num_classes']} classes"
    console.table(title, columns, cells, set(columns[3:]))
    for fact, text in _totals(facts).items():
        print(f"{fact:<14} {text}")
    return 0


def _totals(facts: dict[str, Any]) -> dict[str, str]:
    """What stands under the layer table: the sums and the paper."""
    more = facts["auxiliary_params"]
    extra = f", and {more:,} of auxiliary classifiers in training" if more else ""
    weights, kept = (f"{facts[key] / 1e6:,.1f} MB" for key in ("params_bytes", "activations_bytes"))
    errors = {key: facts[f"{key.replace('-', '')}_error"] for key in ("top-1", "top-5")}
    said = ", ".join(f"{key} {100 * error:.4g} %" for key, error in errors.items() if error is not None)
    source = f" ({facts['source']})" if facts["source"] else ""
    lines = {
        "parameters": f"{facts['params']:,}{extra}",
        "multiply-adds": f"{facts['macs']:,}: those of convolutions and fully connected layers, for one image",
        "memory": f"{weights} of parameters, {kept} of activations: float32, for one image every output not made in place",
        "depth": f"{facts['depth']} layers as papers count them" if facts["depth"] else "",
        "error": f"{said}, {facts['protocol']}{source}" if said else f"none is published{source}",
        "paper": facts["paper"],
        "note": facts["note"],
    }
    return {fact: text for fact, text in lines.items() if text}


def draw(arguments: argparse.Namespace) -> int:
    """podium draw."""
    from podium.evaluation.cost import count_net
    from podium.files import write_atomic
    from podium.models import architecture
    from podium.models.draw import diagram

    out: Path = arguments.out
    if out.suffix.lower() != ".svg" or out.is_dir():
        raise UsageError(f"-o {out}: a diagram is an SVG file", "give a name that ends in .svg")
    net = _network(arguments.target, image_size=arguments.image_size)
    cost, name = count_net(net), net.spec["model"]
    numbers = f"{cost.params:,} parameters, {cost.macs:,} multiply-adds"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, diagram(net, name, architecture(name).paper, numbers).encode())
    if arguments.json:
        _print_json({"file": str(out), "name": name})
    else:
        print(f"diagram: {out}")
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


def pack(arguments: argparse.Namespace) -> int:
    """podium pack."""
    from podium.data.pack import write_pack
    from podium.data.sources import read

    data = read(arguments.data, arguments.on_bad)
    with console.counting_bar("packing", quiet=arguments.json) as progress:
        card = write_pack(data, arguments.out, arguments.side, progress)
    images, size = sum(card["splits"].values()), sum(file["bytes"] for file in card["files"].values())
    if arguments.json:
        _print_json({"pack": str(arguments.out), "images": images, "bytes": size, "classes": card["classes"]})
    else:
        for name, why in card["skipped"]:
            print(f"left out: {name}  {why}")
        print(f"pack: {arguments.out}: {images:,} images of {len(card['classes'])} classes, {size / 1e6:,.1f} MB")
    return 0


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

    seconds = arguments.seconds
    for flag, value, least in (("--batch", arguments.batch, 1), ("--batches", arguments.batches, 2)):
        if value < least:
            raise UsageError(f"{flag} {value}", f"give at least {least}")
    if seconds is not None and not 0 < seconds < 3600:
        raise UsageError(f"--seconds {seconds}", "give more than 0 and less than 3600")
    rows = []
    for target in arguments.targets:
        if Path(target).exists():
            net = bundle.load(target).model
        else:
            size = arguments.image_size
            net = create_model(target, image_size=size, small=size is not None and size <= 64)
        for backward in (False, True) if arguments.backward else (False,):
            timed = measure(net, arguments.batch, batches=arguments.batches, seconds=seconds, backward=backward)
            rows.append({"model": target, **timed})
    if arguments.json:
        _print_json(rows)
        return 0
    columns = ["model", "pass", "images/s", "p50 ms", "p95 ms", "mean ± sd ms", "batch", "passes", "threads", "dtype"]
    cells = []
    for r in rows:
        ms = r["latency_ms"]
        times = [f"{ms['p50']:.3f}", f"{ms['p95']:.3f}", f"{ms['mean']:.3f} ± {ms['sd']:.3f}"]
        counts = [str(r[key]) for key in ("batch", "n", "threads", "dtype")]
        cells.append([r["model"], r["pass"], f"{r['images_per_second']:,.1f}", *times, *counts])
    console.table("", columns, cells, set(columns[2:]))
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
