"""The command line as it is written: every verb with its flags and their help. What a verb does is in `verbs`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

from podium import __version__
from podium.calls import MEANT
from podium.cli import deploy, flags, images, networks, runs, shrink
from podium.cli.shared import add_length as _add_length
from podium.cli.shared import add_settings as _add_settings
from podium.errors import UsageError, closest
from podium.files import shell_word

EXIT_CODES = """exit codes: 0 done, 2 a flag, name or setting, 3 data, 4 model file, 5 numbers not finite, 6 disk, device or lock,
130 Ctrl-C, 143 SIGTERM (both leave a run that --resume goes on with exactly)"""


class Parser(argparse.ArgumentParser):
    """argparse, with errors of ours and the closest flags."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the whole usage."""
        raise UsageError(message, f"`{self.prog} --help` shows what it takes")


def build_parser() -> Parser:
    """All verbs and their flags."""
    # --json and --debug stand before the verb or after it; SUPPRESS, lest the verb's default undo what was before it.
    shared = Parser(add_help=False)
    for flag, text in (
        ("--json", "print one JSON document on standard output and nothing else there"),
        ("--debug", "show the traceback of an error"),
    ):
        shared.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=text)
    main = Parser(
        prog="podium",
        description="Train the classic convolutional image classifiers side by side on your images and see which one wins.",
        epilog=EXIT_CODES,
        parents=[shared],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    main.add_argument("--version", action="version", version=f"podium {__version__}")
    subparsers = main.add_subparsers(dest="verb", metavar="VERB", parser_class=Parser)

    def verb(name: str, run: Any, help: str, example: str) -> argparse.ArgumentParser:
        parser = subparsers.add_parser(
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

    p = verb(
        "models", networks.models, "list the networks, in order of year", "podium models 'resnet*' -o resnets.html"
    )
    p.add_argument("pattern", nargs="?", default="*", help="a shell pattern")
    p.add_argument(
        "-o", "--out", type=Path, metavar="FILE", help="tell their story as a page, with charts and diagrams"
    )

    p = verb(
        "info",
        networks.info,
        "show the layers of a network: shapes, parameters, multiply-adds, what each sees of the image",
        "podium info resnet50 --image-size 256",
    )
    p.add_argument("target", metavar="NAME|RUN", help="a network (`podium models`), a run folder or bundle")
    p.add_argument(
        "--image-size", type=flags.image_size, metavar="N", help="side of the input, for a name [the paper's]"
    )
    p.add_argument("--num-classes", type=flags.classes, metavar="N", help="for a name [the paper's]")
    p.add_argument(
        "--small",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="the form for small images, for a name [up to 64 px]",
    )

    p = verb(
        "draw", networks.draw, "draw a network as its paper's figure does", "podium draw googlenet -o googlenet.svg"
    )
    p.add_argument("target", metavar="NAME|RUN", help="a network (`podium models`), a run folder or bundle")
    p.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.svg", help="written over if it is there")
    p.add_argument(
        "--image-size", type=flags.image_size, metavar="N", help="side of the input, for a name [the paper's]"
    )

    p = verb(
        "recipes", networks.recipes, "list the training recipes and their sources", "podium recipes resnet-cifar-2015"
    )
    p.add_argument("name", nargs="?", help="show this one's settings")

    p = verb(
        "check", images.check, "find what is wrong with a data set before it costs a night", "podium check photos/"
    )
    p.add_argument("data", help="a named set, a folder of class folders, or an archive")

    p = verb(
        "pack",
        images.pack,
        "decode photos once, into a folder that every verb reads in their place, at the speed of memory",
        "podium pack photos/ -o packed\n         podium train resnet18 packed\n"
        "         podium pack imagenet/ --shards -o shards       # as files, in tars: for sets too large to decode at once",
    )
    p.add_argument("data", help="a folder of class folders, or an archive; its splits and classes are kept")
    p.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="the pack: a new folder")
    p.add_argument(
        "--side",
        type=flags.side,
        metavar="N",
        help="short side in pixels that larger photos are shrunk to; crops are cut out of that, so take a little more "
        "than the network's input. A photo costs about 4 N² bytes [256]",
    )
    p.add_argument(
        "--shards",
        action="store_true",
        help="keep the files as they are, in tars of the WebDataset convention with an index, which every verb reads, "
        "also from a URL (file://, s3://, ... by fsspec, extra `shards`)",
    )
    p.add_argument("--shard-size", metavar="SIZE", help="of images in a shard, at least [500MB]")
    p.add_argument(
        "--on-bad", choices=("error", "skip"), default="error", help="what a photo that cannot be read is [error]"
    )

    p = verb(
        "train",
        runs.train,
        "train one network; killed at any moment, --resume ends with the same weights",
        "podium train resnet20 ../cifar10 --epochs 30 -o runs/a\n"
        "         podium train --resume -o runs/a                # stopped or killed: go on with it\n"
        "         podium train resnet20 ../cifar10 --weights runs/a --epochs 10 -o runs/b    # finished: train it longer",
    )
    p.add_argument("model", nargs="?", help="name of the network (`podium models`)")
    p.add_argument("data", nargs="?", help="a named set (digits, mnist, ...), a folder, or an archive")
    p.add_argument("-o", "--out", type=Path, metavar="DIR", help="run folder [runs/MODEL-DATA]")
    p.add_argument(
        "--resume", action="store_true", help="go on with the run in DIR, exactly; a finished one is left as it is"
    )
    p.add_argument("--dry-run", action="store_true", help="print every setting with its origin, and stop")
    p.add_argument(
        "--plan",
        action="store_true",
        help="print time, memory and images/s to expect here and on more devices, from some steps on a copy, and stop",
    )
    p.add_argument(
        "--max-restarts", type=flags.restarts, default=0, metavar="N", help="resumes after a lost process [0]"
    )
    p.add_argument("--elastic", action="store_true", help="--resume with other --devices: not comparable to the bit")
    _add_length(p)
    _add_settings(p, {"model", "data", "recipe", "duration"})

    p = verb("eval", runs.evaluate, "judge a run or bundle on a data set", "podium eval runs/a ../cifar10")
    p.add_argument("run_folder", metavar="RUN", help="a run folder or bundle")
    p.add_argument("data", help="a named set, a folder, or an archive")
    p.add_argument("--split", help="train, val or test [test, where there is one; else what the run has held out]")
    p.add_argument(
        "--split-seed", type=flags.seed, metavar="N", help="of a run of Podium 0.1.0 whose split cannot be recognised"
    )
    p.add_argument("--limit", type=flags.limit, metavar="N", help="only N images, of all classes in proportion")
    p.add_argument(
        "--crops",
        default="1",
        metavar="1|10|144|dense",
        help="views of each image whose probabilities are averaged: the centre; also the corners, mirrored (AlexNet); "
        "at four scales out of three squares (GoogLeNet); the whole image (VGG); none mirrored where the run was trained "
        "without mirroring [1]",
    )
    p.add_argument("--workers", type=flags.workers, default=2, metavar="N", help="threads that decode images [2]")

    p = verb(
        "compare",
        runs.compare,
        "train several networks on the same images: leaderboard and report.html",
        "podium compare digits -m lenet5_modern,resnet20 --budget 30s",
    )
    p.add_argument("data", help="a named set, a folder, or an archive")
    p.add_argument("-m", "--models", metavar="A,B,...", help="networks [the six of the demonstration]")
    p.add_argument("--seeds", type=flags.seeds, default=1, metavar="N", help="runs of each, with seeds 0, 1, ... [1]")
    p.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of the comparison; what is finished there is kept [runs/compare-DATA]",
    )
    _add_length(p)
    _add_settings(p, {"model", "data", "recipe", "duration", "devices", "sync_batch_norm"})

    p = verb("predict", runs.predict, "name what is on images", "podium predict runs/a rose.jpg tulip.jpg --top 3")
    p.add_argument(
        "run_folder",
        metavar="RUN|FILE",
        help="a run folder, a comparison's folder (its best run), a bundle, or an exported file (needs no torch)",
    )
    p.add_argument("images", nargs="+", metavar="IMAGE", help="files, or folders for all images in them and below")
    p.add_argument("--top", type=flags.top, default=5, metavar="N", help="classes shown for each [5]")

    p = verb(
        "bench",
        runs.bench,
        "time a network on this machine",
        "podium bench inception_v3 --batch 32 --backward\n         podium bench runs/a --engines all",
    )
    p.add_argument("targets", nargs="+", metavar="NAME|RUN|FILE")
    p.add_argument(
        "--engines",
        metavar="all|A,B",
        help="compare engines, at batch 1 and the best batch: eager, compiled, onnxruntime, openvino; the fastest that keeps "
        "eager float32's answers is named",
    )
    p.add_argument("--data", metavar="DATA", help="images that engines must agree on [the run's own; noise for a name]")
    p.add_argument("--threads", type=flags.threads, metavar="N", help="that compute, with --engines [all processors]")
    p.add_argument(
        "--batch", type=flags.batch, metavar="N", help="images a pass [1, or 2 where training needs as many]"
    )
    p.add_argument("--batches", type=flags.batches, metavar="N", help="passes counted, after 10 of burn-in [100]")
    p.add_argument(
        "--seconds", type=flags.seconds, metavar="X", help="count no longer than this, but 20 passes at least"
    )
    p.add_argument("--backward", action="store_true", help="time forward and backward too, as in training")
    p.add_argument("--image-size", type=flags.image_size, metavar="N", help="side of the input, for a name")

    p = verb(
        "prune",
        shrink.prune,
        "make a trained network smaller, fine-tune it under the original's eyes, and compare it with its controls",
        "podium prune runs/a ../cifar10 --macs 0.5 --epochs 10 -o runs/a-half",
    )
    p.add_argument("parent", metavar="RUN", help="a run, a bundle, or LIBRARY:NAME=FILE")
    p.add_argument("data", help="what it was trained on")
    target = p.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--speedup", type=flags.speedup, metavar="X", help="divide the multiply-adds by this; the time is measured"
    )
    target.add_argument("--macs", type=flags.share, metavar="X", help="share of the multiply-adds that is left")
    target.add_argument("--latency", metavar="TIME", help="of one image on this machine, such as 8ms")
    target.add_argument("--size", metavar="BYTES", help="of the weights' file, such as 5MB")
    p.add_argument("--depth", action="store_true", help="take whole residual blocks, and no channels")
    p.add_argument(
        "--tolerance",
        type=flags.tolerance,
        default=0.005,
        metavar="X",
        help="loss of top-1 that is accepted, on validation images: more of it leaves the original in place, exit code 5 [0.005]",
    )
    _add_shrinking(p, recipe="shrink")

    p = verb(
        "slim",
        shrink.slim,
        "train the uniform smaller variant of a network, from scratch",
        "podium slim resnet18 photos/ --width 0.5 --depth 1,1,1,1 -o runs/slim",
    )
    p.add_argument("model", help="name of the full network (`podium models`)")
    p.add_argument("data", help="a named set, a folder, or an archive")
    p.add_argument("--width", type=flags.width, default=1.0, metavar="X", help="factor of all channel counts [1]")
    p.add_argument("--depth", metavar="N,N,...", help="blocks of each stage [the network's]")
    _add_shrinking(p, controls=False)

    p = verb(
        "distill",
        shrink.distill,
        "train a small network on a trained one's answers, and once more without them",
        "podium distill runs/a lenet5_modern digits --epochs 10 -o runs/student",
    )
    p.add_argument("parent", metavar="TEACHER", help="a run, a bundle, or LIBRARY:NAME=FILE")
    p.add_argument("student", metavar="STUDENT", help="name of a network, or a run or bundle to start from")
    p.add_argument("data", help="what the teacher was trained on")
    _add_shrinking(p)

    p = verb(
        "quantize",
        deploy.quantize,
        "write a run in 8-bit integers, if it still knows the images; with a table of before and after",
        "podium quantize runs/a photos/ -o runs/a-int8\n         podium predict runs/a-int8 rose.jpg",
    )
    p.add_argument("run_folder", metavar="RUN", help="a run folder or bundle")
    p.add_argument("data", nargs="?", help="training images measure, validation images judge [the run's own]")
    p.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="a new folder")
    p.add_argument("--engine", choices=("onnxruntime", "openvino"), default="onnxruntime", help="[onnxruntime]")
    p.add_argument(
        "--tolerance",
        type=flags.tolerance,
        default=0.005,
        metavar="X",
        help="loss of top-1, as a fraction, that is accepted; of more by a paired test no model is left, and the exit code is 5 [0.005]",
    )
    p.add_argument(
        "--qat",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="where more is lost, fine-tune under int8's rounding (recipe qat, DIR/qat) and try again [yes]",
    )
    p.add_argument("--epochs", type=flags.tuning, metavar="N", help="of that fine-tuning [5]")
    p.add_argument(
        "--limit",
        type=flags.limit,
        default=2000,
        metavar="N",
        help="images to evaluate on, at most, of all classes in proportion [2000]",
    )
    p.add_argument(
        "--seconds", type=flags.seconds, default=1.0, metavar="X", help="of timing each engine and batch [1]"
    )

    p = verb(
        "export",
        deploy.export,
        "write a run as one file that runs without Podium's training: ONNX, OpenVINO or torch.export",
        "podium export runs/a -o rose.onnx\n         podium predict rose.onnx rose.jpg",
    )
    p.add_argument("run_folder", metavar="RUN", help="a run folder or bundle")
    p.add_argument("-o", "--out", type=Path, required=True, metavar="FILE", help=".onnx, .xml or .pt2")
    p.add_argument("--format", choices=("onnx", "openvino", "torch"), help="[by the file's name]")
    p.add_argument(
        "--data",
        metavar="DATA",
        help="images: the answers for 64 of them must be the run's, to 1e-4, or no file is left [the run's own]",
    )
    p.add_argument(
        "--preprocessing",
        choices=("inside", "beside"),
        default="inside",
        help="inside: the graph takes uint8 (N, S, S, C); beside: normalised float32 (N, C, S, S), the card says how [inside]",
    )

    p = verb(
        "verify",
        deploy.verify,
        "compute every digest of a model again, and follow its weights back to where they came from",
        "podium verify runs/a rose.onnx",
    )
    p.add_argument("paths", nargs="+", metavar="RUN|FILE", help="run folders, bundles, exported files (need no torch)")

    p = verb(
        "import",
        networks.import_,
        "turn another library's checkpoint into a bundle",
        "podium import torchvision:resnet50 resnet50-0676ba61.pth -o runs/resnet50",
    )
    p.add_argument(
        "source", metavar="LIBRARY:NAME", help="such as torchvision:resnet50, timm:inception_v4, keras:Xception"
    )
    p.add_argument(
        "file",
        type=Path,
        nargs="?",
        help=".pth, .safetensors, .h5, .weights.h5 or .keras [torchvision's official file, downloaded]",
    )
    p.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder of the bundle")
    p.add_argument("--num-classes", type=flags.classes, metavar="N", help="put a fresh head of this size on it")
    p.add_argument(
        "--in-chans", type=flags.channels, metavar="N", help="adapt the first convolution to this many channels"
    )

    return main


def _add_shrinking(p: argparse.ArgumentParser, controls: bool = True, recipe: str = "quick") -> None:
    if controls:
        p.add_argument(
            "--controls",
            action=argparse.BooleanOptionalAction,
            default=True,
            help="also train what it is to be compared with, as long [yes]",
        )
    p.add_argument(
        "-o", "--out", type=Path, metavar="DIR", help="the new run folder; the same command again goes on with it"
    )
    _add_length(p, recipe)
    _add_settings(p, {"model", "data", "recipe", "duration", "weights", "teacher", "freeze", "unfreeze"})


def parse(argv: list[str]) -> argparse.Namespace:
    """A command line as its verb takes it.

    Raises:
        UsageError: an unknown verb, flag or value; names the closest there are.
    """
    parser = build_parser()
    known: dict[str, Any] = next(a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    first = next((word for word in argv if not word.startswith("-")), None)
    if first is not None and first not in known:
        raise UsageError(f"no verb is called {first!r}", closest(first, list(known)) or f"one of {', '.join(known)}")
    given = {"words": argv, "command": " ".join(map(shell_word, ["podium", *argv]))}
    arguments, unknown = parser.parse_known_args(argv, argparse.Namespace(json=False, debug=False, **given))
    if unknown:
        asked = known.get(arguments.verb, parser)
        there = [flag for action in asked._actions for flag in action.option_strings]
        word = unknown[0].split("=")[0]
        raise UsageError(f"{asked.prog} does not know {unknown[0]!r}", _meant(word, there, asked.prog))
    flags.refuse_alone(arguments)
    return arguments


def _meant(word: str, there: list[str], prog: str) -> str:
    """The mend of a flag that is not known: by what other programs call it, else by how it is spelt."""
    named = {flag.lstrip("-").replace("-", "_"): flag for flag in there}
    for ours in MEANT.get(word.lstrip("-").replace("-", "_"), []):
        if ours in named:
            return f"did you mean {named[ours]}?"
    return closest(word, there) or f"`{prog} --help` lists them"
