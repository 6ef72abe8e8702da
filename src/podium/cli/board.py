"""`podium board`: a page over a folder of comparisons and runs, live while they train."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from podium.cli import flags
from podium.cli.shared import print_json
from podium.errors import UsageError

HELP = "show the comparisons and runs of a folder on a page, live while they train"
EXAMPLE = """podium board runs/
         podium board runs/ --token-file token.txt     # with it, runs are stopped and resumed from the page
         ssh -L 8001:127.0.0.1:8001 MACHINE            # from another machine: open http://127.0.0.1:8001 there

The page has the learning curves, the time left, the leaderboard as it fills, any two runs compared, and the images that each
finished run has wrong. The board only reads: it writes nothing into the folders. Ctrl-C ends it, and trainings go on."""
PORT = 8001

logger = logging.getLogger("podium")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments to its parser."""
    parser.add_argument(
        "folder",
        nargs="?",
        default="runs",
        metavar="DIR",
        help="folder that has comparisons and runs, at any depth [runs]",
    )
    flags.address(parser, PORT)
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="a file with the token that the page asks for; with one, runs can be stopped and resumed from the page "
        "[$PODIUM_TOKEN, or none]",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit code once a signal has ended the board."""
    root = Path(arguments.folder)
    if not root.is_dir():
        what = "is a file" if root.exists() else "no such folder"
        raise UsageError(f"{root}: {what}", "give the folder of a comparison, or one that has several: runs/")
    from podium.board.app import FREE, make_app
    from podium.web.access import MAKE_ONE, is_loopback, read_token
    from podium.web.logs import write_lines
    from podium.web.server import Server, Stopping, address_of, guarded, listen

    token, local = read_token(arguments.token_file), is_loopback(arguments.host)
    if token is None and not local:
        logger.warning(
            f"--host {arguments.host} without a token: whoever reaches this machine can read the board; see --token-file"
        )
    taken, stopping = listen(arguments.host, arguments.port), Stopping()
    app = make_app(root, stopping, token is not None)
    taken.listen()  # who opens the address at once waits for the moment that is left
    if arguments.json:
        print_json({"url": address_of(taken), "control": token is not None})
    else:
        if token is None:
            print(
                f"The board only shows; a token lets it stop and resume runs: {MAKE_ONE}, then --token-file token.txt"
            )
        print(f"open {address_of(taken)} in a browser; Ctrl-C ends the board, and trainings go on", flush=True)
    sys.stdout.flush()
    write_lines(logging.WARNING)  # a line for each fault, and none for each request
    Server(guarded(app, stopping, token, FREE, local), stopping).serve_at(taken)
    return 0
