"""Verbs that take a trained network out: export, quantize, verify, and bench in every engine. Heavy imports happen inside, so that `--help` costs nothing."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium import tables
from podium.cli import console
from podium.cli.shared import going_on, print_json
from podium.errors import ModelFileError

if TYPE_CHECKING:
    from podium.deployment.bench import Rows, Timing


def export(arguments: argparse.Namespace) -> int:
    """podium export."""
    from podium import api

    a = arguments
    parity = api.export(a.run_folder, a.out, data=a.data, format=a.format, preprocessing=a.preprocessing)
    size = sum(path.stat().st_size for path in {a.out, a.out.with_suffix(".bin")} if path.exists())
    if a.json:
        print_json({"file": str(a.out), "bytes": size, "parity": asdict(parity)})
    else:
        print(f"{a.out}: {size / 1e6:,.2f} MB; {parity}")
    return 0


def quantize(arguments: argparse.Namespace) -> int:
    """podium quantize."""
    from podium import api

    a = arguments

    def say(text: str) -> None:
        if not a.json:
            print(text, file=sys.stderr, flush=True)

    def watch(name: str, step: int, steps: int, shown: dict[str, Any]) -> None:  # no bar: it would disturb the timings
        if "event" in shown:
            say(f"{name}  {console.epoch_line(shown)}")

    how = {key: getattr(a, key) for key in ("engine", "tolerance", "limit", "seconds", "qat", "epochs")}
    with going_on(a.command):
        made = api.quantize(a.run_folder, a.data, a.out, **how, say=say, watch=watch)
    if a.json:
        print_json({"run": str(made.path), "gate": made.gate, "rows": made.rows})
        return 0
    columns = ["", "engine", "dtype", "top-1 %", "± 95 %", "MB", "batch", "p50 ms", "p95 ms", "images/s"]
    cells = []
    for r in made.rows:
        figures = [f"{100 * r['top1']:.2f}", f"{100 * r['error']:.2f}", f"{r['size_bytes'] / 1e6:.2f}", str(r["batch"])]
        times = [*(f"{r['latency_ms'][key]:.2f}" for key in ("p50", "p95")), f"{r['images_per_second']:,.1f}"]
        cells.append([r["name"], r["engine"], r["dtype"], *figures, *times])
    tables.table("", columns, cells, set(columns[3:]))
    print(f"{made.decision}: {made.path}")
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """podium verify."""
    from podium.verification import verify

    found = [verify(path) for path in arguments.paths]
    if arguments.json:
        print_json(found)
    for model in found if not arguments.json else ():
        print(model["path"])
        for row in model["files"]:
            told = "as it was written" if row["checked"] else "carries no digest"
            if row["error"] is not None:
                told = f"NOT as it was written: {row['error']}"
            print(f"  {row['file']:<18}  sha256 {row['sha256'] or 'none':<64}  {told}")
        _show_origins(model["origins"], 1)
    wrong = [row["error"] for model in found for row in model["files"] if row["error"] is not None]
    if wrong:
        raise ModelFileError(wrong[0], "copy it again from where it is whole")
    return 0


def _show_origins(origins: list[dict[str, Any]], depth: int) -> None:
    for origin in origins:
        state = f": {origin['state']}" if origin["state"] else ""
        source = f" {origin['source']}" if origin["source"] else ""
        print(f"{'  ' * depth}{origin['as']}{source}, weights of sha256 {origin['sha256']}{state}")
        _show_origins(origin["origins"], depth + 1)


SHOWN = 256  # images on which engines must agree


def bench(arguments: argparse.Namespace) -> int:
    """podium bench --engines: each target in every engine that runs it."""
    from podium.deployment import bench as engines
    from podium.deployment.runtime import is_exported
    from podium.platform import cores

    a = arguments
    wanted = engines.engines_of(a.engines or "all")
    how = engines.Timing(
        a.seconds or 2.0,
        a.threads or cores(),
        engines.BATCHES if a.batch in (None, 1) else (a.batch,),
        (lambda _: None) if a.json else (lambda text: print(text, file=sys.stderr, flush=True)),
    )
    timed: engines.Rows = []
    alike: dict[str, engines.Rows] = {}  # rows of one network, as itself and as exported files, by its target
    for target in a.targets:
        of, made = (_bench_file if is_exported(target) else _bench_network)(target, a, wanted, how)
        timed += made
        alike.setdefault(of, []).extend(made)
    picked = [engines.pick(own, 1 if a.batch in (None, 1) else None) for own in alike.values()]
    rows = [{**row.to_dict(), "picked": any(row is best for best in picked)} for row in timed]
    if a.json:
        print_json(rows)
    else:
        _show(rows)
    return 0


def _bench_network(target: str, a: argparse.Namespace, wanted: tuple[str, ...], how: Timing) -> tuple[str, Rows]:
    """A run, a bundle or a name in every engine, on images of its own size."""
    from podium import api
    from podium.data.decode import Preprocessing
    from podium.data.sources import load_data
    from podium.deployment import bench as engines
    from podium.deployment.export import squares
    from podium.models.forms import small_without_data
    from podium.runs import bundle
    from podium.weights.create import create_model

    if Path(target).exists():
        model = bundle.load(target)
        images, _ = squares(api.images_for(target, a.data, model), model, SHOWN)
    else:
        net = create_model(target, image_size=a.image_size, small=small_without_data(a.image_size)).eval()
        side, channels = net.spec["image_size"], net.spec["in_chans"]
        names = tuple(map(str, range(net.spec["num_classes"])))
        model = api.Bundle(net, names, Preprocessing(side, channels), {})
        images = squares(load_data(a.data, channels=channels), model, SHOWN)[0] if a.data else _noise(side, channels)
    return target, engines.bench_bundle(target, model, wanted, images, how)


def _bench_file(target: str, a: argparse.Namespace, wanted: tuple[str, ...], how: Timing) -> tuple[str, Rows]:
    """An exported file in the engines that read it; beside the network that it was made from, where that is a target too."""
    from podium import api
    from podium.deployment import bench as engines
    from podium.deployment.export import squares
    from podium.deployment.graph import answer
    from podium.deployment.load import load
    from podium.deployment.runtime import file_of

    made = load(target)
    of, parent = _parent(made.card, target, a.targets)
    reference = None
    if a.data:
        images, _ = squares(api.images_for(target, a.data, made), made, SHOWN)
    elif parent is not None:
        images, _ = squares(api.images_for(of, None, parent), parent, SHOWN)
    else:
        images = _noise(made.preprocessing.image_size, made.preprocessing.channels)
    if parent is not None:
        reference = answer(parent, images)[0].argmax(1)
    runners = engines.file_runners(file_of(Path(target)), wanted, how.threads)
    return of, engines.bench(target, runners, images, reference, None, how)


def _parent(card: dict[str, Any], file: str, targets: list[str]) -> tuple[str, Any]:
    """Which of the targets an exported file was made from, by the digest of its weights, and that one opened; else itself, and None."""
    from podium.deployment.runtime import is_exported
    from podium.runs import bundle

    digest = (card.get("parent") or {}).get("sha256")
    for other in targets:
        if digest and Path(other).exists() and not is_exported(other):
            model = bundle.load(other)
            if model.card.get("sha256") == digest:
                return other, model
    return file, None


def _noise(side: int, channels: int) -> Any:
    import numpy as np

    return np.random.Generator(np.random.PCG64(0)).integers(0, 256, (32, side, side, channels), np.uint8)


def _show(rows: list[dict[str, Any]]) -> None:
    columns = ["model", "engine", "dtype", "batch", "images/s", "p50 ms", "p95 ms", "of peak", "agrees", "threads"]
    cells = []
    for r in rows:
        if "missing" in r:
            continue
        ms = [f"{r['latency_ms'][key]:.2f}" for key in ("p50", "p95")]
        share = f"{100 * r['share_of_peak']:.0f} %" if r["share_of_peak"] is not None else ""
        agreement = f"{100 * r['agreement']:.1f} %" if r["agreement"] is not None else ""
        counts = [f"{r['images_per_second']:,.1f}", *ms, share, agreement, str(r["threads"])]
        cells.append([r["model"], r["engine"], r["dtype"], str(r["batch"]), *counts])
    tables.table("", columns, cells, set(columns[3:]))
    for r in rows:
        if "missing" in r:
            print(f"{r['model']}: {r['engine']} is left out: {r['missing']}")
    for best in (r for r in rows if r["picked"]):
        print(
            f"fastest that keeps accuracy (top-1 of eager float32 on 99.5 % of images): {best['model']} in {best['engine']} "
            f"{best['dtype']}, {best['images_per_second']:,.1f} images/s at batch {best['batch']}, {best['threads']} threads"
        )
