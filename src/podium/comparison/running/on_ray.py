"""Tasks of a comparison on Ray: one that is started on this machine, or a cluster that runs already."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from podium.comparison.running.task import SAME, Gone, Outcome, Task, perform
from podium.errors import MachineError, UsageError
from podium.platform import signals_kept

LOCAL, AUTO, CLIENT = "local", "auto", "ray://"
TMP = "/tmp"  # noqa: S108 - `mkdtemp` makes a folder in it that is this user's alone
SHORT = 26  # characters that a folder may have in which a Ray makes its own: the name of a socket there has 103 at most
STORE = 100_000_000  # bytes of shared memory for Ray's objects: ours are requests and outcomes, not images
SILENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray sends statistics of its use otherwise
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what a later version will do; without it Ray warns
    "GRPC_VERBOSITY": "ERROR",
    "RAY_CLIENT_INITIAL_CONNECTION_TIMEOUT_S": "3",  # of each of three tries, instead of 5, 10 and 20
    "RAY_CLIENT_MAX_CONNECTION_TIMEOUT_S": "3",
}
MODE, TOKEN, TOKEN_FILE = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


class RayTasks:
    """A Ray, and tasks on it.

    Args:
        place: "local", "auto" or "ray://HOST:PORT".
        slots: tasks that a Ray on this machine runs at a time.
        threads: that compute in each task.
        gpu: whether a task takes one GPU, where there are any.

    Raises:
        MachineError: no Ray can be reached.
        UsageError: a task needs more processors than any machine has.
    """

    def __init__(self, place: str, slots: int, threads: int, gpu: bool) -> None:
        os.environ.update({key: value for key, value in SILENT.items() if key not in os.environ})
        _use_token(place)
        import ray
        import ray._private.worker as driver

        # A thread of Ray prints on standard output that a process was lost, whatever `log_to_driver` says; we say it ourselves.
        driver.print_to_stdstream = lambda *_, **__: None
        self.ray, self.place = ray, place
        self.folder: Path | None = None  # of a Ray that is started here
        self.own = not ray.is_initialized()  # one that the caller has connected to stays as it is
        try:
            if self.own:
                self._connect(slots * threads)
            gpus = 1 if gpu and ray.cluster_resources().get("GPU", 0) >= 1 else 0
            self._refuse_too_large(threads)
            self.task = ray.remote(max_retries=0, num_cpus=threads, num_gpus=gpus)(perform)
        except BaseException:
            self.close()
            raise

    def _connect(self, cores: int) -> None:
        """Start a Ray on this machine, or connect to one."""
        try:
            with signals_kept():
                if self.place != LOCAL:
                    self.ray.init(address=self.place, **QUIET)
                    return
                self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir=_short_folder()))
                alone: dict[str, Any] = {"object_store_memory": STORE, "include_dashboard": False, **QUIET}
                self.ray.init(address="local", num_cpus=cores, _temp_dir=str(self.folder), **alone)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            what = f"cluster: {self.place}: {_lines(error)}"
            raise MachineError(what, _mend(self.place)) from None

    def _refuse_too_large(self, threads: int) -> None:
        """Refuse tasks that no machine of the cluster can run, for which Ray would wait for ever."""
        most = max((node["Resources"].get("CPU", 0) for node in self.ray.nodes() if node["Alive"]), default=0)
        if threads > most:
            what = f"cluster: a task computes with {threads} threads, but no machine of it has more than {most:g} processors"
            raise UsageError(what, f"give --threads {max(1, int(most))}")

    def begin(self, task: Task) -> Any:
        """Hand a task over; returns its handle."""
        return self.task.remote(task)

    def ended(self, handles: list[Any], seconds: float) -> Iterator[tuple[Any, Outcome | Gone]]:
        """Wait for tasks, so long at most; yields those that have ended."""
        with self._connected():
            ready, _ = self.ray.wait(handles, num_returns=1, timeout=seconds) if handles else ([], [])
        for handle in ready:
            with self._connected():
                came = self._outcome(handle)
            yield handle, came

    def _outcome(self, handle: Any) -> Outcome | Gone:
        """How a task has ended."""
        errors = self.ray.exceptions
        try:
            outcome: Outcome = self.ray.get(handle)
        except errors.OutOfMemoryError:
            return Gone("Ray ended its process, since the memory of its machine ran out", again=False)
        except errors.TaskCancelledError:
            return Gone("it was cancelled")
        except errors.NodeDiedError:
            return Gone("its machine left the cluster")
        except (errors.WorkerCrashedError, errors.ObjectLostError, errors.LocalRayletDiedError):
            return Gone("its process was ended from outside")
        except errors.RayError as error:  # `perform` raises nothing: it could not be imported
            problem = MachineError(f"cluster: {self.place}: a task could not begin: {_lines(error)}", SAME)
            return Outcome(self.place, problem, everywhere=True)
        return outcome

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Say by name that the connection to Ray is lost within this context."""
        try:
            if not self.ray.is_initialized():  # else Ray's functions start another one
                raise ConnectionError("Ray has ended it")
            yield
        except (ConnectionError, self.ray.exceptions.RaySystemError) as error:
            what = f"cluster: {self.place}: the connection is lost ({_lines(error)})"
            raise MachineError(what, "start the same again: what is finished is kept") from None

    def cancel(self, handle: Any) -> None:
        """Tell a task to stop, which saves its checkpoint, or not to begin."""
        with self._connected():
            self.ray.cancel(handle, force=False)

    def close(self) -> None:
        """End the Ray that was started, or the connection."""
        if self.own:
            with signals_kept():
                self.ray.shutdown()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def _use_token(place: str) -> None:
    """Decide the token by which this process and a Ray know each other, unless a person has decided it.

    A Ray that is started here gets one for this process, where it would write one into the home folder. Ray's client sends the
    token that a person has only where it is told to.
    """
    known = TOKEN in os.environ or TOKEN_FILE in os.environ or (Path.home() / ".ray" / "auth_token").is_file()
    if place == LOCAL and not known:
        os.environ[TOKEN] = secrets.token_hex(32)
    elif place.startswith(CLIENT) and known:
        os.environ.setdefault(MODE, "token")


def _short_folder() -> str | None:
    """The folder of temporary files, or /tmp where its name is too long for Ray, as that of each user on macOS; None: the former."""
    return TMP if len(tempfile.gettempdir()) > SHORT and os.path.isdir(TMP) else None


def _lines(error: BaseException) -> str:
    """What Ray says of an error, without its traceback: the first line, and the last one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(dict.fromkeys([lines[0], lines[-1]]))


def _mend(place: str) -> str:
    """What to do where a Ray cannot be had."""
    if place == LOCAL:
        return "train in processes of this machine instead: --jobs N"
    if place == AUTO:
        return "start one with ray start --head, give ray://HOST:PORT, or local for a Ray of this command's own"
    return "check ray status there, and give its token (ray get-auth-token) in RAY_AUTH_TOKEN if it has one"
