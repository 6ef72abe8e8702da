"""`podium serve`: a trained network answers over HTTP, with a page to try it."""

from __future__ import annotations

import argparse
import contextlib
import logging
import tempfile
from pathlib import Path

from podium.cli import flags
from podium.cli.shared import print_json

HELP = "answer images over HTTP by trained networks, with a page to drop pictures on"
EXAMPLE = """podium serve runs/rose
         podium serve rose=runs/a small=runs/a-int8 --port 9000
         curl --data-binary @rose.jpg http://127.0.0.1:8000/v1/predict"""
PORT = 8000

logger = logging.getLogger("podium")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument(
        "models",
        nargs="+",
        metavar="[NAME=]RUN|FILE",
        help="runs, comparisons (their best runs), bundles or exported files. Each is called as its folder or file unless it "
        "has a NAME. What is no exported file is exported once, and kept in the cache folder",
    )
    flags.address(parser, PORT)
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="a file with the token that requests must have as `Authorization: Bearer TOKEN` [$PODIUM_TOKEN, or none]",
    )
    parser.add_argument("--engine", choices=("onnxruntime", "openvino"), help="what runs the networks [by the file]")
    parser.add_argument(
        "--threads",
        type=flags.threads,
        default=1,
        metavar="N",
        help="threads that compute one batch. As many batches run side by side as the cores allow: 1 gives the highest "
        "throughput, more the lowest latency of a lone client [1]",
    )
    parser.add_argument(
        "--workers",
        type=flags.serving,
        default=1,
        metavar="N",
        help="processes that answer, each with its networks in memory; one uses all cores, more help where it does not [1]",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from podium.serving.models import parse_models
    from podium.serving.start import Options, load_models, make_server
    from podium.serving.workers import check_workers, copied, supervise
    from podium.web.access import is_loopback, read_token
    from podium.web.logs import write_lines
    from podium.web.server import address_of, listen, share, take_connections

    a = arguments
    options = Options(a.host, read_token(a.token_file), a.engine, a.threads, a.workers)
    places = parse_models(a.models)
    check_workers(a.workers)
    with contextlib.ExitStack() as closed:
        taken = closed.enter_context(listen(a.host, a.port))
        models = load_models(places, options)
        if a.workers > 1:
            folder = Path(closed.enter_context(tempfile.TemporaryDirectory(prefix="podium-serve-")))
            places = copied(models, folder)
        take_connections(taken)  # from now on who opens the address waits for the moment that is left
        if options.token is None and not is_loopback(a.host):
            logger.warning(
                f"--host {a.host} without a token: whoever reaches this machine can use the server; see --token-file"
            )
        if a.json:
            print_json({"url": address_of(taken), "models": [model.described() for model in models]})
        else:
            for model in models:
                print(f"{model.name}: {model.engine}, {len(model.classes)} classes, {model.megabytes:,.2f} MB")
            print(f"open {address_of(taken)} in a browser; Ctrl-C ends the server", flush=True)
        write_lines()
        if a.workers > 1:
            del models  # each process has its own
            supervise(places, folder, share(taken, a.workers), options)
        else:
            make_server(models, options).serve_at(taken)
    return 0
