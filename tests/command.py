"""The command line in a process of its own, which may be killed, starved or stopped for real.

The processes are forked from one that has imported torch once, so that each costs what it does and not its imports.
"""

import contextlib
import io
import json
import multiprocessing
import os
import resource
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["podium.cli", "podium.api", "podium.training.loop", "torch._dynamo", "sklearn.datasets"]
)


@dataclass
class Done:
    """A process that has ended; the return code is minus the signal's number if one ended it."""

    returncode: int
    stdout: str
    stderr: str


class Said:
    """What a command line run inside this process came to."""

    def __init__(self, code, captured):
        self.code, self.out, self.err = code, captured.out, captured.err

    def refused(self, code, *words):
        """One line of error, one of mending at the most, nothing on standard output, no traceback."""
        assert self.code == code, self.err
        lines = self.err.splitlines()
        assert [line.split(":")[0] for line in lines] in (["error"], ["error", "fix"])
        for word in words:
            assert word in self.err
        assert self.out == ""

    @property
    def json(self):
        assert self.out.count("\n") == 1, "one document on one line, and nothing else"
        return json.loads(self.out)


def podium(*arguments, fault="", largest_file=None):
    """Run `podium ARGUMENTS`, with a fault of `training.state.fault`, and with a limit on a file's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        words = [str(argument) for argument in arguments]
        process = CONTEXT.Process(target=_run, args=(words, fault, largest_file, folder))
        process.start()
        process.join()
        out, err = ((Path(folder) / name).read_text() for name in ("out", "err"))
        return Done(process.exitcode, out, err)


def inside(*arguments):
    """Run `podium ARGUMENTS` in this process, where nothing need be killed: what it printed, and its exit code."""
    from podium.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # --help and --version
            code = stop.code
    return Done(code, out.getvalue(), err.getvalue())


def _run(arguments, fault, largest_file, folder):
    import torch

    from podium.cli import main

    for name, handle in (("out", 1), ("err", 2)):
        os.dup2(os.open(Path(folder) / name, os.O_CREAT | os.O_WRONLY), handle)
    os.environ["PODIUM_FAULT"] = fault
    torch.set_num_threads(1)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    code = main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def one_error(done, code, *words):
    """Exit code, one line of error, one of mending, no traceback."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for start in ("error: ", "fix: "):
        assert sum(line.startswith(start) for line in done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr
