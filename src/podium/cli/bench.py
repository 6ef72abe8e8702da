"""`podium bench`: the speed of networks on this machine, in PyTorch. `bench_engines` has the comparison of engines."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium import tables
from podium.cli import console, flags
from podium.cli.shared import add_reading, print_json
from podium.devices import pick_device
from podium.errors import UsageError

if TYPE_CHECKING:
    from podium.models.convnet import ConvNet

HELP = "time a network on this machine"
EXAMPLE = """podium bench inception_v3 --batch 32 --backward
         podium bench runs/a --engines all"""

COLUMNS = ["model", "pass", "images/s", "p50 ms", "p95 ms", "mean ± sd ms", "batch", "passes", "threads", "dtype"]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument(
        "targets", nargs="+", metavar="NAME|RUN|FILE", help="networks, run folders, bundles, exported files"
    )
    parser.add_argument(
        "--engines",
        metavar="all|A,B",
        help="compare engines, at batch 1 and the best batch: eager, compiled, onnxruntime, openvino. The fastest one that "
        "keeps eager float32's answers is named",
    )
    parser.add_argument(
        "--data",
        metavar="DATA",
        help="images on which the engines' answers are compared [the run's own; noise for a name]",
    )
    add_reading(parser)
    parser.add_argument(
        "--threads", type=flags.threads, metavar="N", help="threads that compute, with --engines [all processors]"
    )
    parser.add_argument(
        "--batch", type=flags.batch, metavar="N", help="images a pass [1, or 2 where training needs as many]"
    )
    parser.add_argument(
        "--batches", type=flags.batches, metavar="N", help="passes that count, after 10 of warm-up [100]"
    )
    parser.add_argument(
        "--seconds", type=flags.seconds, metavar="X", help="time passes for no longer than this, but 20 passes at least"
    )
    parser.add_argument(
        "--backward", action="store_true", help="time the forward and the backward pass, as in training"
    )
    flags.add_device(parser)
    parser.add_argument("--image-size", type=flags.image_size, metavar="N", help="side of the input, for a name")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from podium.deployment.runtime import is_exported
    from podium.models.registry import architecture

    made = [target for target in arguments.targets if Path(target).exists() or is_exported(target)]
    for target in arguments.targets:  # an unknown name is refused before the first network is timed
        if target not in made:
            architecture(target)
    if arguments.image_size is not None and made:
        print(f"note: --image-size is for names; {', '.join(made)} keeps its own size", file=sys.stderr)
    if arguments.engines is not None or any(is_exported(target) for target in arguments.targets):
        from podium.cli.bench_engines import bench_engines

        if arguments.device not in ("auto", "cpu"):
            what = f"device: {arguments.device}, but exported files and --engines compute on the processor"
            raise UsageError(what, "leave --device out")
        return bench_engines(arguments)
    rows = _timed(arguments, {target: _batch_size(target, arguments) for target in arguments.targets})
    if arguments.json:
        print_json(rows)
    else:
        _show(rows)
    return 0


def _opened(target: str, image_size: int | None) -> ConvNet:
    """The network of a run or bundle, or the named network with fresh weights."""
    from podium.models.forms import small_without_data
    from podium.runs import bundle
    from podium.weights.create import create_model

    if Path(target).exists():
        return bundle.load(target).model
    return create_model(target, image_size=image_size, small=small_without_data(image_size))


def _batch_size(target: str, arguments: argparse.Namespace) -> int:
    """The batch size to time a network at: the one that --batch gives, else 1, or 2 if its training needs two images.

    Raises:
        UsageError: --batch 1 is given, and training needs two images.
    """
    from podium.evaluation.speed import fewest_to_train
    from podium.models.registry import rebuild
    from podium.models.undrawn import meta

    batch = arguments.batch or 1
    if not arguments.backward or batch > 1:
        return batch
    opened = partial(_opened, target, arguments.image_size)
    spec = (opened() if Path(target).exists() else meta(opened)).spec
    if fewest_to_train(meta(partial(rebuild, spec))) == 1:
        return batch
    why = f"{target} at {spec['image_size']} px has maps of one pixel, whose batch norm has no variance over one image"
    if arguments.batch is not None:
        raise UsageError(f"--backward with --batch {arguments.batch}: {why}", "--batch 2")
    print(f"note: with a batch of 2: {why}", file=sys.stderr)
    return 2


def _timed(arguments: argparse.Namespace, batch: dict[str, int]) -> list[dict[str, Any]]:
    """Time each network, forward and with --backward also forward and backward; returns a row for each.

    Args:
        arguments: the parsed command line.
        batch: the batch size of each target.
    """
    from podium.evaluation.speed import measure

    batches, device = arguments.batches or 100, pick_device(arguments.device)
    rows = []
    with console.timing_bar(quiet=arguments.json) as bar:
        for target in arguments.targets:
            net = _opened(target, arguments.image_size).to(device)
            for backward in (False, True) if arguments.backward else (False,):
                timed = measure(
                    net,
                    batch[target],
                    batches=batches,
                    seconds=arguments.seconds,
                    backward=backward,
                    tick=partial(bar, f"timing {target}", batches),
                )
                rows.append({"model": target, **timed})
    return rows


def _show(rows: list[dict[str, Any]]) -> None:
    cells = []
    for r in rows:
        ms = r["latency_ms"]
        times = [f"{ms['p50']:.3f}", f"{ms['p95']:.3f}", f"{ms['mean']:.3f} ± {ms['sd']:.3f}"]
        counts = [str(r[key]) for key in ("batch", "n", "threads", "dtype")]
        cells.append([r["model"], r["pass"], f"{r['images_per_second']:,.1f}", *times, *counts])
    tables.table("", COLUMNS, cells, set(COLUMNS[2:]))
    print(f"on {rows[0]['device']}")
