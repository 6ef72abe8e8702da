"""The run folder: its files, its log, and the lock of the process that writes to it."""

from __future__ import annotations

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

from podium.errors import MachineError, ModelFileError, PodiumError, UsageError
from podium.files import PIN, UNFINISHED, disk_error, json_text, shell_word, sync, write_atomic, write_json
from podium.platform import lock
from podium.runs import shown
from podium.settings import read_file

if TYPE_CHECKING:
    import numpy as np

    from podium.explain.explanation import Explanation

logger = logging.getLogger("podium")

SETTINGS, LOG, RESULT, PREDICTIONS, SPEED = "settings.yaml", "log.jsonl", "result.json", "predictions.npz", "speed.json"
ENGINE_SPEED = "engines.json"  # the speed in the engine that the network is deployed in
ENDED = "ended"  # the event of a log's last row, where training ended early: why, and with which exit code
COMPRESSION = "compression.json"  # a compressed network beside its original and its controls


class InUse(MachineError):
    """Another process holds the lock of a run folder."""


def _remains(path: Path) -> bool:
    """Return whether a path may lie in a folder where a run begins: leftovers of a killed one, and its starting weights."""
    return path.name in (".lock", "start") or path.name.startswith(UNFINISHED)


def source_on_record(folder: Path, named: str) -> str:
    """Return the weights that a card names as "NAME@sha256:DIGEST" with their path on this machine.

    Cards have no paths, since they may leave the machine; the settings of the run beside the card, or above it, have them.
    Weights that lie in the folder of a run are found there too after the folder was moved or renamed.

    Args:
        folder: that has the card.
        named: by the card; returned as it is where no settings have the digest.
    """
    digest = named.partition(PIN)[2]
    for settings in (folder / SETTINGS, folder.parent / SETTINGS):
        if not digest or not settings.is_file():
            continue
        with suppress(UsageError):
            values = read_file(settings)
            for key in ("weights", "teacher"):
                if (recorded := str(values.get(key) or "")).endswith(f"{PIN}{digest}"):
                    path = Path(recorded.partition(PIN)[0])
                    inside = settings.parent.resolve() / path.name
                    return f"{inside}{PIN}{digest}" if not path.exists() and inside.is_dir() else recorded
    return named


class RunFolder:
    """One run on disk.

    Args:
        path: of the folder, which need not exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return shown.describe(self)

    def _repr_html_(self) -> str:
        return shown.as_html(self)

    def explain(self, image: Any, label: str | None = None, *, method: str | None = None) -> Explanation:
        """Show where in an image the network's answer comes from, as `Bundle.explain` does."""
        from podium.runs.bundle import load

        return load(self.path).explain(image, label, method=method)

    @property
    def started(self) -> bool:
        """Whether a run has begun in this folder."""
        return (self / SETTINGS).is_file()

    @property
    def finished(self) -> bool:
        """Whether the run went to its end: the result is written last."""
        return (self / RESULT).is_file()

    @property
    def intact(self) -> bool:
        """Whether the run is finished, and its result and predictions can be read."""
        try:
            _ = self.validation  # which may be damaged
            return bool(self.result) and len(self.predictions) > 0
        except ModelFileError:
            return False

    @property
    def result(self) -> dict[str, Any]:
        """The scores, costs and times of the run.

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
        """The logits (N, K) and labels (N,) of the images that the result reports.

        Raises:
            ModelFileError: the file is gone or damaged.
        """
        arrays = self._predicted("logits", "labels")
        if len(arrays) < 2:
            raise ModelFileError(f"{self / PREDICTIONS}: damaged (logits or labels are missing)", self._mend)
        return arrays["logits"], arrays["labels"]

    @property
    def groups(self) -> np.ndarray | None:
        """The key of the group of each of these images, (N,) uint64; None where images have no groups.

        Raises:
            ModelFileError: the file is gone or damaged.
        """
        return self._predicted("groups").get("groups")

    @property
    def validation(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The logits (N, K) and labels (N,) of the validation images, by the saved weights.

        None where the run has no validation images besides those that the result reports, as a pooled cross-validation has
        none, and of a run of an older version.

        Raises:
            ModelFileError: the file is gone or damaged.
        """
        arrays = self._predicted("val_logits", "val_labels")
        return (arrays["val_logits"], arrays["val_labels"]) if len(arrays) == 2 else None

    @property
    def validation_groups(self) -> np.ndarray | None:
        """The key of the group of each validation image, (N,) uint64; None where there are no groups, or no `validation`.

        Raises:
            ModelFileError: the file is gone or damaged.
        """
        return self._predicted("val_groups").get("val_groups")

    def _predicted(self, *names: str) -> dict[str, np.ndarray]:
        """Read those of these arrays that the predictions have, by name."""
        import numpy as np

        try:
            with (self / PREDICTIONS).open("rb") as file, np.load(file) as arrays:
                return {name: arrays[name] for name in names if name in arrays}
        except FileNotFoundError:
            raise ModelFileError(f"{self / PREDICTIONS}: no such file", self._mend) from None
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
            raise ModelFileError(f"{self / PREDICTIONS}: damaged ({error})", self._mend) from None

    @property
    def _mend(self) -> str:
        return f"podium train --resume -o {shell_word(self.path)} makes it again, without training"

    @property
    def end(self) -> dict[str, Any] | None:
        """The log's row of the end, with what the result has beside scores; None before the end.

        Rows of older versions lack some of it, and count as none.
        """
        return next((row for row in reversed(self.rows()) if row["event"] == "done" and "weights" in row), None)

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The rows of the log that are of epochs."""
        return [row for row in self.rows() if row["event"] == "epoch"]

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of the log up to the first damaged line, such as a last one that a crash has cut short."""
        rows: list[dict[str, Any]] = []
        if (self / LOG).is_file():
            for line in (self / LOG).read_bytes().split(b"\n"):  # no other line end occurs within JSON
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
            UsageError: it exists already and holds something.
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
        """Lock the folder within this context, and remove files that a killed process has not finished writing.

        The system releases the lock when the process ends, however it ends, so there are no stale locks.

        Raises:
            InUse: another process holds it.
        """
        with (self / ".lock").open("a+b", buffering=0) as file:
            taken = lock(file.fileno())
            if taken is False:
                file.seek(0)
                holder = file.read().decode(errors="replace").strip() or "another process"
                raise InUse(f"{self.path}: in use by {holder}", "wait for it, or name another folder with -o")
            if taken is None:
                logger.warning(f"{self.path} cannot be locked on this system: start nothing else there")
            with suppress(OSError):  # on a full disk the lock holds without the name of its holder
                file.truncate(0)
                file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
            for stray in self.path.glob(f"{UNFINISHED}*"):
                stray.unlink(missing_ok=True)
                logger.warning(f"{stray} was not written to its end, and is removed")
            yield

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Make the folder and lock it; where an error comes before a run has begun in it, remove what was made.

        Raises:
            UsageError, MachineError: as `create` and `locked` do.
        """
        missing = [path for path in (self.path, *self.path.parents) if not path.exists()]
        self.create()
        with self.locked():
            try:
                yield
            except BaseException:
                if not self.started:
                    with suppress(OSError):  # something else lies there
                        (self / ".lock").unlink()
                        for path in missing:
                            path.rmdir()
                raise

    @contextmanager
    def end_noted(self) -> Iterator[None]:
        """Log why the training within this context ends early, for who reads along; a resume takes the row out of the log."""
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:
            if self.end is None:
                why = error.what if isinstance(error, PodiumError) else f"{type(error).__name__}: {error}".rstrip(": ")
                code = getattr(error, "exit_code", 1 if isinstance(error, Exception) else 130)
                with suppress(MachineError):  # the disk is full
                    self.log({"event": ENDED, "text": why, "exit_code": code})
            raise

    def log(self, row: dict[str, Any]) -> None:
        """Append a row to the log."""
        line = f"{json_text(row)}\n".encode()
        try:
            with (self / LOG).open("ab") as file:
                file.write(line)
        except OSError as error:
            raise disk_error(error, self / LOG, len(line)) from None

    def sync_log(self) -> None:
        """Make the rows so far survive a power cut, before a checkpoint counts them."""
        try:
            with (self / LOG).open("ab") as file:
                sync(file.fileno(), self / LOG)
        except OSError as error:
            raise disk_error(error, self / LOG, 0) from None

    def keep_log(self, count: int) -> int:
        """Keep the first `count` rows, without those of steps that a resume takes again, and return how many there are."""
        rows = self.rows()[:count]
        if len(rows) < count:
            lost = f"{count - len(rows)} of {count} rows are gone or damaged"
            logger.warning(f"{self / LOG}: {lost}; the curves begin again after them")
        write_atomic(self / LOG, "".join(f"{json_text(row)}\n" for row in rows).encode())
        return len(rows)

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file atomically."""
        write_json(self / name, content)
