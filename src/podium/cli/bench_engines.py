"""`podium bench --engines`: networks and exported files in every engine that runs them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium import tables
from podium.cli.shared import print_json, reading_given

if TYPE_CHECKING:
    import numpy as np

    from podium.data.reading import Reading
    from podium.deployment.engine_speed import Rows, Timing
    from podium.runs.bundle import Bundle

COMPARED = 256  # the number of images on which the engines' answers are compared
COLUMNS = ["model", "engine", "dtype", "batch", "images/s", "p50 ms", "p95 ms", "of peak", "agrees", "threads"]


def bench_engines(arguments: argparse.Namespace) -> int:
    """Time each target in every engine that runs it; returns the exit code."""
    from podium.deployment import engine_speed, engines
    from podium.deployment.runtime import is_exported
    from podium.platform import cores

    a = arguments
    chosen = engines.engines_of(a.engines or "all")
    timing = engine_speed.Timing(
        a.seconds or 2.0,
        a.threads or cores(),
        engine_speed.BATCHES if a.batch in (None, 1) else (a.batch,),
        (lambda _: None) if a.json else (lambda text: print(text, file=sys.stderr, flush=True)),
    )
    timed: engine_speed.Rows = []
    same_network: dict[str, engine_speed.Rows] = {}  # a network's rows, its own and its exported files', by its target
    for target in a.targets:
        network, own = (_bench_file if is_exported(target) else _bench_network)(target, a, chosen, timing)
        timed += own
        same_network.setdefault(network, []).extend(own)
    picked = [engine_speed.pick(own, 1 if a.batch in (None, 1) else None) for own in same_network.values()]
    rows = [{**row.to_dict(), "picked": any(row is best for best in picked)} for row in timed]
    if a.json:
        print_json(rows)
    else:
        _show(rows)
    return 0


def _reading(a: argparse.Namespace) -> Reading | None:
    """Where the labels of --data stand; None where nothing is said."""
    from podium.data.reading import Reading

    return Reading(**given) if (given := reading_given(a)) else None


def _bench_network(target: str, a: argparse.Namespace, chosen: tuple[str, ...], timing: Timing) -> tuple[str, Rows]:
    """Time a run, bundle or named network in every chosen engine, on images of its own size."""
    from podium.api.run_images import images_for
    from podium.data.preprocessing import Preprocessing
    from podium.data.sources import load_data
    from podium.deployment import engine_speed
    from podium.deployment.export import squares
    from podium.models.forms import small_without_data
    from podium.runs import bundle
    from podium.weights.create import create_model

    if Path(target).exists():
        model = bundle.load(target)
        images, _ = squares(images_for(model, a.data, False, _reading(a)), model, COMPARED)
    else:
        net = create_model(target, image_size=a.image_size, small=small_without_data(a.image_size)).eval()
        side, channels = net.spec["image_size"], net.spec["in_chans"]
        names = tuple(map(str, range(net.spec["num_classes"])))
        model = bundle.Bundle(net, names, Preprocessing(side, channels), {})
        images = (
            squares(load_data(a.data, channels=channels, **reading_given(a)), model, COMPARED)[0]
            if a.data
            else _noise(side, channels)
        )
    return target, engine_speed.time_bundle(target, model, chosen, images, timing)


def _bench_file(target: str, a: argparse.Namespace, chosen: tuple[str, ...], timing: Timing) -> tuple[str, Rows]:
    """Time an exported file in the engines that read it.

    If the network that the file was made from is a target too, the file's answers are compared with that network's.
    """
    from podium.api.run_images import images_for
    from podium.deployment import engine_speed, engines
    from podium.deployment.export import squares
    from podium.deployment.graph import answer
    from podium.deployment.load import load
    from podium.deployment.runtime import file_of

    made = load(target)
    network, parent = _parent(made.card, target, a.targets)
    reference = None
    if a.data:
        images, _ = squares(images_for(made, a.data, False, _reading(a)), made, COMPARED)
    elif parent is not None:
        images, _ = squares(images_for(parent, None, to_train=False), parent, COMPARED)
    else:
        images = _noise(made.preprocessing.image_size, made.preprocessing.channels)
    if parent is not None:
        reference = answer(parent, images)[0].argmax(1)
    runners = engines.file_runners(file_of(Path(target)), chosen, timing.threads)
    return network, engine_speed.time_engines(target, runners, images, reference, None, timing)


def _parent(card: dict[str, Any], file: str, targets: list[str]) -> tuple[str, Bundle | None]:
    """The target that an exported file was made from, found by the digest of its weights, and its bundle.

    Returns:
        The file itself and None if its network is not among the targets.
    """
    from podium.deployment.runtime import is_exported
    from podium.runs import bundle

    digest = (card.get("parent") or {}).get("sha256")
    for other in targets:
        if digest and Path(other).exists() and not is_exported(other):
            model = bundle.load(other)
            if model.card.get("sha256") == digest:
                return other, model
    return file, None


def _noise(side: int, channels: int) -> np.ndarray:
    """32 images of noise: (32, side, side, channels) of uint8, the same each time."""
    import numpy as np

    return np.random.Generator(np.random.PCG64(0)).integers(0, 256, (32, side, side, channels), np.uint8)


def _show(rows: list[dict[str, Any]]) -> None:
    """Print the table, the engines that are left out, and the fastest setting of each network."""
    cells = []
    for r in rows:
        if "missing" in r:
            continue
        ms = [f"{r['latency_ms'][key]:.2f}" for key in ("p50", "p95")]
        share = f"{100 * r['share_of_peak']:.0f} %" if r["share_of_peak"] is not None else ""
        agreement = f"{100 * r['agreement']:.1f} %" if r["agreement"] is not None else ""
        counts = [f"{r['images_per_second']:,.1f}", *ms, share, agreement, str(r["threads"])]
        cells.append([r["model"], r["engine"], r["dtype"], str(r["batch"]), *counts])
    tables.table("", COLUMNS, cells, set(COLUMNS[3:]))
    for r in rows:
        if "missing" in r:
            print(f"{r['model']}: {r['engine']} is left out: {r['missing']}")
    for best in (r for r in rows if r["picked"]):
        print(
            f"fastest that keeps accuracy (top-1 of eager float32 on 99.5 % of images): {best['model']} in {best['engine']} "
            f"{best['dtype']}, {best['images_per_second']:,.1f} images/s at batch {best['batch']}, {best['threads']} threads"
        )
