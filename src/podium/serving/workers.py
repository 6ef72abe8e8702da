"""Several processes that serve at one port: started, replaced where one dies, and ended together.

The system divides connections among them. Each has its networks and its queue; what they count is put together. All load copies of the
files that the first process has loaded, so one that is started later answers alike, whatever lies at their paths by then.
`python -m podium.serving.workers SOCKET` is one of them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from prometheus_client.multiprocess import mark_process_dead

from podium.errors import MachineError, ModelFileError, UsageError
from podium.files import content_digest
from podium.platform import send_signal, stop_signals
from podium.serving.metrics import SHARED
from podium.serving.models import Models
from podium.serving.start import Options
from podium.web.logs import log

PATIENCE = 10.0  # seconds in which they end after a signal
YOUNG = 5.0  # seconds: one that dies younger has not worked
MOST_YOUNG = 3  # deaths so young, one after the other, that end the server
CHECK = 0.1  # seconds between two looks at them
FRESH = 3600.0  # seconds after which the copies are touched: systems delete temporary files that are old


@dataclass
class _Worker:
    """A process.

    Args:
        socket: where it listens.
        process: which it is.
        since: when it was started.
    """

    socket: socket.socket
    process: subprocess.Popen[bytes]
    since: float = field(default_factory=time.monotonic)


def check_workers(count: int) -> None:
    """Refuse several processes where the system cannot divide connections among them.

    Raises:
        UsageError: it cannot.
    """
    if count > 1 and not hasattr(socket, "SO_REUSEPORT"):
        raise UsageError(f"--workers {count}: this system cannot divide connections", "leave it out")


def copied(models: Models, folder: Path) -> list[tuple[str, Path]]:
    """The names of networks, and copies of the files that they were loaded from.

    Raises:
        ModelFileError: a file is not what it was when it was loaded.
    """
    found = []
    for number, model in enumerate(models):
        place = folder / str(number)
        place.mkdir(parents=True)
        files = [Path(shutil.copyfile(file, place / file.name)) for file in model.files]
        if content_digest(*files) != model.digest:
            raise ModelFileError(f"{model.name}: its file has changed while the server was started", "start it again")
        found.append((model.name, files[0]))
    return found


def supervise(
    places: Sequence[tuple[str, Path]], folder: Path, sockets: Sequence[socket.socket], options: Options
) -> None:
    """Run a process for each socket until a signal, and return when all have ended.

    Args:
        places: the networks, from `copied`.
        folder: where the copies are, and what the processes count. Where this process is killed, the others remove it.
        sockets: from `share`.
        options: of each process.

    Raises:
        MachineError: they die as soon as they are started.
    """
    told: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        if told:
            os._exit(128 + number)
        told.append(number)

    where = [[name, str(path.absolute())] for name, path in places]
    said = json.dumps({"places": where, "folder": str(folder.absolute()), "options": asdict(options)})
    counts = str(folder / "counts")
    os.mkdir(counts)
    before = {number: signal.signal(number, receive) for number in stop_signals()}
    try:
        with _ended() as workers:
            workers += [_start(each, said, counts) for each in sockets]
            young, touched = 0, time.monotonic()
            while not told:
                time.sleep(CHECK)
                if time.monotonic() - touched > FRESH:
                    touched = time.monotonic()
                    _touch(places)
                for place, worker in enumerate(workers):
                    if (code := worker.process.poll()) is None:
                        continue
                    young = young + 1 if time.monotonic() - worker.since < YOUNG else 0
                    log("worker ended", logging.ERROR, exit_code=code)
                    mark_process_dead(worker.process.pid, counts)
                    if young >= MOST_YOUNG:
                        raise MachineError("the server's processes end as soon as they start", "see the log above")
                    workers[place] = _start(worker.socket, said, counts)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _touch(places: Sequence[tuple[str, Path]]) -> None:
    """Have the copies count as new."""
    for _, path in places:
        for file in path.parent.iterdir():
            file.touch()


@contextlib.contextmanager
def _ended() -> Iterator[list[_Worker]]:
    """Processes that are told to end at the end of this context, and ended where they do not."""
    workers: list[_Worker] = []
    try:
        yield workers
    finally:
        for worker in workers:
            send_signal(worker.process.pid if worker.process.poll() is None else None, signal.SIGTERM)
        until = time.monotonic() + PATIENCE
        for worker in workers:
            try:
                worker.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()


def _start(taken: socket.socket, said: str, counts: str) -> _Worker:
    """Start a process. It gets its own session, so that a terminal's Ctrl-C reaches only the one that supervises."""
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "podium.serving.workers", str(taken.fileno())],
        stdin=subprocess.PIPE,
        pass_fds=[taken.fileno()],
        env={**os.environ, SHARED: counts},
        start_new_session=True,
    )
    if process.stdin is not None:  # it stays open: where it closes, the process that supervises has died
        process.stdin.write(said.encode() + b"\n")
        process.stdin.flush()
    return _Worker(taken, process)


def main(number: str) -> int:
    """Serve at a socket that is open in this process, as the line on standard input says; returns the exit code."""
    from podium.errors import PodiumError
    from podium.serving.start import load_models, make_server
    from podium.web.logs import write_lines

    write_lines()
    said: dict[str, Any] = json.loads(sys.stdin.readline())
    options, places = Options(**said["options"]), [(name, Path(path)) for name, path in said["places"]]
    try:
        models = load_models(places, options)
    except PodiumError as problem:
        log("not loaded", logging.ERROR, message=problem.what)
        return problem.exit_code
    threading.Thread(target=_end_with_parent, args=(Path(said["folder"]),), daemon=True).start()
    make_server(models, options).serve_at(socket.socket(fileno=int(number)))
    return 0


def _end_with_parent(folder: Path) -> None:
    """Wait for the end of the process that supervises, remove its folder, and end this one as it would have."""
    while os.read(0, 1024):  # not by sys.stdin, whose lock a thread would hold when the process ends
        pass
    shutil.rmtree(folder, ignore_errors=True)
    send_signal(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
