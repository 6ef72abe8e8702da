"""The run folder: what lies in it, who holds it, and its log."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from podium.errors import MachineError, ModelFileError, UsageError
from podium.files import PIN, UNFINISHED, disk_error, json_text, shell_word, sync, write_atomic, write_json
from podium.settings import read_file

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger("podium")

SETTINGS, LOG, RESULT, PREDICTIONS, SPEED = "settings.yaml", "log.jsonl", "result.json", "predictions.npz", "speed.json"
COMPRESSION = "compression.json"  # a smaller network beside what it came from and its controls


def _remains(path: Path) -> bool:
    """What a run leaves that was killed before it had begun, and the weights that it is to start from."""
    return path.name in (".lock", "start") or path.name.startswith(UNFINISHED)


def source_on_record(folder: Path, named: str) -> str:
    """Where weights lie that a card names, "NAME@sha256:DIGEST", with its folders as this machine's settings have them.

    A card may leave this machine and has no folders; the settings of the run beside it, or above it, stay here.

    Args:
        folder: where the card lies.
        named: by the card; comes back as it is where no settings have the digest.
    """
    digest = named.partition(PIN)[2]
    for settings in (folder / SETTINGS, folder.parent / SETTINGS):
        if not digest or not settings.is_file():
            continue
        with suppress(UsageError):
            values = read_file(settings)
            for key in ("weights", "teacher"):
                if str(values.get(key) or "").endswith(f"{PIN}{digest}"):
                    return str(values[key])
    return named


class RunFolder:
    """One run on disk.

    Args:
        path: of the folder; need not be there yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def started(self) -> bool:
        """Whether a run was ever begun here."""
        return (self / SETTINGS).is_file()

    @property
    def finished(self) -> bool:
        """Whether the run went to its end; the result is written last."""
        return (self / RESULT).is_file()

    @property
    def intact(self) -> bool:
        """Whether the run is finished, and its result and predictions can be read."""
        try:
            return bool(self.result) and len(self.predictions) > 0
        except ModelFileError:
            return False

    @property
    def result(self) -> dict[str, Any]:
        """What came out of it: scores, costs, times.

        Raises:
            ModelFileError: there is no result yet, or it is damaged.
        """
        try:
            return json.loads((self / RESULT).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ModelFileError(
                f"{self.path}: no finished run", "give a run's folder, or go on with --resume"
            ) from None
        except ValueError as error:
            raise ModelFileError(f"{self / RESULT}: damaged ({error})", self._mend) from None

    @property
    def predictions(self) -> tuple[np.ndarray, np.ndarray]:
        """What it said of the images it was judged on: logits (N, K), and their labels (N,).

        Raises:
            ModelFileError: they are gone, or damaged.
        """
        import numpy as np

        try:
            with (self / PREDICTIONS).open("rb") as file, np.load(file) as arrays:
                return arrays["logits"], arrays["labels"]
        except FileNotFoundError:
            raise ModelFileError(f"{self / PREDICTIONS}: no such file", self._mend) from None
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
            raise ModelFileError(f"{self / PREDICTIONS}: damaged ({error})", self._mend) from None

    @property
    def _mend(self) -> str:
        return f"podium train --resume -o {shell_word(self.path)} makes it again, without training"

    @property
    def end(self) -> dict[str, Any] | None:
        """The log's row of the end, which has all of the result that its weights cannot tell; None before the end.

        Rows of older versions have less, and count as none.
        """
        return next((row for row in reversed(self.rows()) if row["event"] == "done" and "weights" in row), None)

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The log's rows of epochs."""
        return [row for row in self.rows() if row["event"] == "epoch"]

    def rows(self) -> list[dict[str, Any]]:
        """All rows of the log; a last line cut short by a crash is left out, as is all from a damaged one on."""
        rows: list[dict[str, Any]] = []
        if (self / LOG).is_file():
            for line in (self / LOG).read_bytes().split(b"\n"):  # JSON has no other end of a line in it
                try:
                    row = json.loads(line)
                except ValueError:
                    break
                if not isinstance(row, dict) or "event" not in row:
                    break
                rows.append(row)
        return rows

    def create(self) -> None:
        """Make the folder.

        Raises:
            UsageError: something is there already.
            MachineError: it cannot be made.
        """
        if self.path.exists() and (not self.path.is_dir() or any(not _remains(p) for p in self.path.iterdir())):
            raise UsageError(f"{self.path}: exists already", "go on with --resume, or name another folder with -o")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MachineError(f"cannot make {self.path}: {error.strerror}", "name another folder with -o") from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder, and clear away what a kill in the middle of a write has left.

        The system gives the lock back when the process ends, however it ends: no stale lock is ever to be removed.

        Raises:
            MachineError: another process holds it.
        """
        with (self / ".lock").open("a+b", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().decode(errors="replace").strip() or "another process"
                raise MachineError(
                    f"{self.path}: in use by {holder}", "wait for it, or name another folder with -o"
                ) from None
            except OSError as error:  # some network file systems have no locks
                logger.warning(f"{self.path} cannot be locked ({error.strerror}): start nothing else there")
            with suppress(OSError):  # a full disk is for those to tell who need it
                file.truncate(0)
                file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
            for stray in self.path.glob(f"{UNFINISHED}*"):
                stray.unlink(missing_ok=True)
                logger.warning(f"{stray} was not written to its end, and is removed")
            yield

    def log(self, row: dict[str, Any]) -> None:
        """Append a row."""
        line = f"{json_text(row)}\n".encode()
        try:
            with (self / LOG).open("ab") as file:
                file.write(line)
        except OSError as error:
            raise disk_error(error, self / LOG, len(line)) from None

    def sync_log(self) -> None:
        """Make the rows so far last through a power cut, before a checkpoint counts on them."""
        try:
            with (self / LOG).open("ab") as file:
                sync(file.fileno(), self / LOG)
        except OSError as error:
            raise disk_error(error, self / LOG, 0) from None

    def keep_log(self, count: int) -> int:
        """Forget rows after the first `count`: those of steps that a resume takes again; how many there are now."""
        rows = self.rows()[:count]
        if len(rows) < count:
            lost = f"{count - len(rows)} of {count} rows are gone or damaged"
            logger.warning(f"{self / LOG}: {lost}; the curves begin again after them")
        write_atomic(self / LOG, "".join(f"{json_text(row)}\n" for row in rows).encode())
        return len(rows)

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file whole or not at all."""
        write_json(self / name, content)
