"""The command line in a process of its own, which may be killed, starved or stopped for real.

The processes are forked from one that has imported torch once, so that each costs what it does and not its imports.
"""

import contextlib
import io
import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
LOADED = [
    "podium.cli.main",
    "podium.api.train",
    "podium.api.evaluate",
    "podium.api.smaller",
    "podium.api.deploy",
    "podium.training.loop",
    "podium.weights.pickled",
    "torch._dynamo",
    "sklearn.datasets",
    "safetensors.torch",
]
CONTEXT.set_forkserver_preload([*LOADED, "tensorboardX", "plotly.offline", "jinja2", "yaml"])


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


def podium(*arguments, **more):
    """Run `podium ARGUMENTS` to its end; `more` as of `Running`."""
    with Running(*arguments, **more) as run:
        return run.ended()


class Running:
    """`podium ARGUMENTS` in a process of its own, killed at the end of the `with` if it still lives.

    Args:
        fault: one of `files.fault`; "signal:19@PLACE" stops it there until `go_on`.
        largest_file: a limit on a file's bytes.
    """

    def __init__(self, *arguments, fault="", largest_file=None):
        self.folder = tempfile.TemporaryDirectory()
        words = [str(argument) for argument in arguments]
        self.process = CONTEXT.Process(target=_run, args=(words, fault, largest_file, self.folder.name))

    def __enter__(self):
        self.process.start()
        self.pid = self.process.pid
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.join()
        self.folder.cleanup()

    def stopped(self):
        """Wait until it has stopped itself."""
        stat = Path(f"/proc/{self.pid}/stat")
        while stat.read_text().rsplit(")", 1)[1].split()[0] != "T":
            assert self.process.is_alive(), self.ended().stderr
            time.sleep(0.005)

    def go_on(self, *signals):
        """Let it go on, after sending it these signals."""
        for number in (*signals, signal.SIGCONT):
            os.kill(self.pid, number)

    def ended(self):
        self.process.join()
        return Done(self.process.exitcode, *_written(self.folder.name))


def inside(*arguments):
    """Run `podium ARGUMENTS` in this process, where nothing need be killed: what it printed, and its exit code.

    A command that PODIUM_FAULT sends a signal runs in a process of its own: a signal that comes late would end the tests.
    """
    if "signal:" in (fault := os.environ.get("PODIUM_FAULT", "")):
        return podium(*arguments, fault=fault)
    from podium.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # --help and --version
            code = stop.code
    return Done(code, out.getvalue(), err.getvalue())


def forked_python(command, **_):
    """What `subprocess.run` returns for [python, "-P", "-c", PROGRAM, *ARGUMENTS], from a process that has imported torch."""
    with tempfile.TemporaryDirectory() as folder:
        process = CONTEXT.Process(target=_run_program, args=(command[3:], folder))
        process.start()
        process.join()
        return Done(process.exitcode, *_written(folder))


def _run_program(words, folder):
    _write_to(folder)
    sys.argv = ["-c", *words[1:]]
    exec(words[0], {"__name__": "__main__"})


def _write_to(folder):
    for name, handle in (("out", 1), ("err", 2)):
        os.dup2(os.open(Path(folder) / name, os.O_CREAT | os.O_WRONLY), handle)


def _written(folder):
    return [(Path(folder) / name).read_text() for name in ("out", "err")]


def _run(arguments, fault, largest_file, folder):
    import torch

    from podium.cli.main import main

    _write_to(folder)
    os.environ["PODIUM_FAULT"] = fault
    torch.set_num_threads(1)
    os.fsync = lambda _: None  # as conftest.py has it in the tests' own process
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    if arguments[0] == "compare":  # as conftest.py has it in this process
        from podium.comparison import study

        study.time_deployed, study.allowance = lambda *_: [], lambda _: 0.0
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
