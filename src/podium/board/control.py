"""Stops and resumes runs and comparisons: by the signal that saves a checkpoint, and by the command line that is on record."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from podium.board.platform import stop_holder
from podium.board.studies import Study
from podium.board.trained import Trained
from podium.errors import MachineError, UsageError
from podium.web.access import VARIABLE

LAST_WORDS = 4000  # bytes of what a process said that are looked at
STOPPED = (0, 130, 143)  # exit codes of a process that did what it was told


@dataclass
class _Started:
    """A process that goes on with a run or comparison.

    Args:
        process: the process.
        said: its standard error, a file without a name: the folder of the run gets none.
    """

    process: subprocess.Popen[bytes]
    said: IO[bytes]


@dataclass
class Control:
    """The processes that a board has started; they go on when the board ends.

    Args:
        started: by the id of the run or comparison.
    """

    started: dict[str, _Started] = field(default_factory=dict)
    _one: threading.Lock = field(default_factory=threading.Lock)  # two resumes at once start one process

    def stop(self, what: Trained | Study) -> int:
        """Send the process that trains a run, or a comparison, the signal at which it saves a checkpoint and ends.

        Only the process that holds the lock of that folder gets it, and only once.

        Returns:
            The process.

        Raises:
            UsageError: it is a run of a comparison, which trains the others in its place.
            MachineError: no process of ours on this machine holds the lock.
        """
        if isinstance(what, Trained) and what.study is not None:
            raise UsageError(f"{what.name}: is a run of a comparison", "stop the comparison")
        locks = [what.folder / ".lock"]
        if isinstance(what, Study):  # one of an older version has no lock of its own
            locks += [run.folder / ".lock" for run in what.runs if run.state == "running"]
        for lock in locks:
            if (process := stop_holder(lock)) is not None:
                return process
        fix = "look whether it trains elsewhere or under another user, and stop it there with Ctrl-C"
        raise MachineError(f"{what.name}: no process of yours on this machine trains it", fix)

    def resume(self, what: Trained | Study) -> int:
        """Start the command line that goes on with a run or a comparison, in a process of its own that outlives the board.

        Returns:
            The process.

        Raises:
            UsageError: it trains already, is finished, or no command line is on record.
            MachineError: the process cannot be started.
        """
        with self._one:
            return self._resume(what)

    def _resume(self, what: Trained | Study) -> int:
        running = self.started.get(what.id)
        if what.state == "running" or (running is not None and running.process.poll() is None):
            raise UsageError(f"{what.name}: trains already", "wait for its next epoch")
        if what.state == "finished":
            raise UsageError(f"{what.name}: is finished", "start another run from its weights: podium train --weights")
        words, folder = command_of(what)
        environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
        environment["PYTHONSAFEPATH"] = (
            "1"  # nor do the processes that it starts run a podium.py or torch.py of that folder
        )
        said = tempfile.TemporaryFile()  # noqa: SIM115 - the process writes into it for as long as it lives
        try:
            process = subprocess.Popen(  # noqa: S603 - Podium itself, with words that `command_of` has checked
                [sys.executable, "-P", "-m", "podium", *words],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )
        except OSError as error:
            said.close()
            raise MachineError(
                f"{what.name}: cannot be resumed ({error.strerror})", "resume it in a terminal"
            ) from None
        self.started[what.id] = _Started(process, said)
        return process.pid

    def ended(self) -> dict[str, str]:
        """What processes that have failed since the last call said last, by the id of their run or comparison."""
        with self._one:
            return self._ended()

    def _ended(self) -> dict[str, str]:
        found = {}
        for name, started in list(self.started.items()):
            code = started.process.poll()
            if code is None:
                continue
            del self.started[name]
            with started.said as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_WORDS))
                lines = file.read().decode("utf-8", "replace").splitlines()
            told = [line for line in lines if line.startswith(("error: ", "fix: "))] or lines[-1:]
            if code not in STOPPED:
                found[name] = " ".join(told)[:1000] or f"its process ended with exit code {code}"
        return found


def command_of(what: Trained | Study) -> tuple[list[str], Path]:
    """The words after `podium` that go on with a run or a comparison, and the folder in which they were typed.

    Whatever is on record, a run is continued by `train --resume` and a comparison by `compare`, in this folder.

    Raises:
        UsageError: the run is one of a comparison, or no command line is on record.
    """
    folder = what.folder.resolve()
    if isinstance(what, Trained):
        if what.study is not None:
            raise UsageError(f"{what.name}: is a run of a comparison", "resume the comparison")
        return ["train", "--resume", "-o", str(folder)], folder  # where no folder is called as a data set is
    command = (what.note.content or {}).get("command")
    fix = "run the same podium compare again in a terminal: what is finished is kept"
    if not isinstance(command, dict):
        raise UsageError(f"{what.name}: its command line is not on record", fix)
    words, typed_in = command.get("words"), Path(str(command.get("folder")))
    words = [str(word) for word in words] if isinstance(words, list) else []
    if next((word for word in words if not word.startswith("-")), None) != "compare":
        raise UsageError(f"{what.name}: its command line on record is none of podium compare", fix)
    if not typed_in.is_dir():
        raise UsageError(f"{what.name}: the folder in which its command line was typed is gone", fix)
    here = ["-o", str(folder)]  # the last one counts, and one resumed before has it
    return words if words[-2:] == here else [*words, *here], typed_in
