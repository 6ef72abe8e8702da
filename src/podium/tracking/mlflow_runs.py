"""MLflow: a run of ours is a run there, and those of a comparison are nested in one; a resumed run goes on in its own.

What MLflow has already is asked of it, so that no point is sent twice, whenever this process or the one before it was killed.
"""

from __future__ import annotations

import csv
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podium.runs.folder import RunFolder
from podium.runs.recommended import REQUEST, TABLE
from podium.settings import read_file
from podium.tracking.notes import read_note, write_note
from podium.tracking.reported import REPORT, begun, files, final, is_finished, parameters, points, runs_in

MOST_METRICS, MOST_PARAMETERS = 1000, 100  # that MLflow takes in a request
LONGEST = 6000  # characters that MLflow takes of a parameter
# A server that does not answer is given up after half a minute, not after the quarter of an hour that MLflow tries for.
QUICK = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}
PROTOCOL = "protocol.json"  # of a comparison: how it ranked its networks


@dataclass
class Sent:
    """What MLflow has of a run.

    Args:
        run_id: of its run there.
        step: the last one that has a point.
        ended: whether it is closed there.
        values, files: names of the final numbers and of the files that were sent.
    """

    run_id: str
    step: int = -1
    ended: bool = False
    values: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)


class MLflow:
    """Sends runs to the tracking server or the local store that MLFLOW_TRACKING_URI names, by default MLflow's own.

    Args:
        out: the folder of a run or of a comparison.
        comparison: whether it is a comparison's.
    """

    name = "mlflow"

    def __init__(self, out: Path, comparison: bool) -> None:
        self.out, self.comparison = out, comparison
        self.client: Any = None
        self.uri, self.experiment = "", ""
        self.parent: str | None = None
        self.sent: dict[Path, Sent] = {}

    @property
    def place(self) -> str:
        """Where runs are sent, in words."""
        return f"MLflow at {self.uri or without_passwords(os.environ.get('MLFLOW_TRACKING_URI') or 'its local store')}"

    def send(self) -> None:
        """Send what is new: runs that have begun, the epochs since the last time, and the scores and files of finished runs."""
        if not (runs := runs_in(self.out)):
            return
        try:
            if self.client is None:
                self._connect(runs[0])
            for run in runs:
                self._send_run(run)
        except Exception:
            self.client = None  # asked anew what it has
            self.sent.clear()
            raise

    def end(self, status: str) -> None:
        """Close what is open.

        Args:
            status: "FINISHED", "FAILED" or "KILLED", of the command. A run without a result has failed where the command has finished.
        """
        if self.client is None:
            return
        for sent in (sent for sent in self.sent.values() if not sent.ended):
            self.client.set_terminated(sent.run_id, "FAILED" if status == "FINISHED" else status)
        if self.parent is not None:
            for name in (REQUEST, PROTOCOL, TABLE, REPORT):
                if (self.out / name).is_file():
                    self.client.log_artifact(self.parent, str(self.out / name))
            if (model := _recommended(self.out / TABLE)) is not None:
                self.client.set_tag(self.parent, "recommended", model)
            self.client.set_terminated(self.parent, status)

    def _connect(self, first: RunFolder) -> None:
        """Find or make the experiment, and the run that those of a comparison are nested in."""
        for name, value in (QUICK | QUIET).items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient, get_tracking_uri

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        self.uri, client = without_passwords(get_tracking_uri()), MlflowClient()
        title = self.out.resolve().name if self.comparison else str((first.rows() or [{}])[0].get("data", "podium"))
        self.experiment = os.environ.get("MLFLOW_EXPERIMENT_ID") or _experiment(
            client, os.environ.get("MLFLOW_EXPERIMENT_NAME") or title
        )
        self.client, self.parent = client, None
        if self.comparison:
            settings = {k: v for k, v in read_file(self.out / REQUEST).items() if v is not None}
            self.parent = self._opened(self.out, title, begun(first), settings).run_id

    def _send_run(self, run: RunFolder) -> None:
        """Send what is new of one run."""
        if run.path not in self.sent:
            name = run.path.relative_to(self.out).as_posix() if self.comparison else self.out.resolve().name
            self.sent[run.path] = self._opened(run.path, name, begun(run), parameters(run))
        sent = self.sent[run.path]
        if not sent.ended:
            self._send_points(run, sent)
        if is_finished(run):
            self._complete(run, sent)

    def _opened(self, folder: Path, name: str, start: int, settings: dict[str, Any]) -> Sent:
        """Go on with the run that a folder has there, or make one, and send its parameters.

        Args:
            folder: of a run, or of the comparison.
            name: of the run there.
            start: when it began, in milliseconds.
            settings: its parameters.
        """
        noted = read_note(folder).get(self.name, {})
        same = noted.get("uri") == self.uri and noted.get("parent") == self.parent
        sent = Sent(noted["run"], -1, noted["ended"], {*noted["values"]}, {*noted["files"]}) if same else None
        if sent is not None and sent.ended and self.parent is not None:
            return sent  # the comparison's own run is there, so this one is too
        there = self._found(sent.run_id) if sent is not None else None
        if sent is None or there is None:
            tags = {"mlflow.source.name": "podium", "mlflow.source.type": "LOCAL"}
            tags |= {"mlflow.parentRunId": self.parent} if self.parent is not None else {}
            there = self.client.create_run(self.experiment, start_time=start, tags=tags, run_name=name)
            sent = Sent(there.info.run_id)
            self._note(folder, sent)
        elif not sent.ended and there.info.status != "RUNNING":
            self.client.update_run(sent.run_id, status="RUNNING")
        self._send_parameters(sent.run_id, {k: v for k, v in settings.items() if k not in there.data.params})
        history = self.client.get_metric_history(sent.run_id, "train_loss")
        sent.step = max((metric.step for metric in history), default=-1)
        return sent

    def _found(self, run_id: str) -> Any:
        """The run of an id; None where it was deleted."""
        from mlflow.exceptions import MlflowException

        try:
            found = self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return found if found.info.lifecycle_stage == "active" else None

    def _send_parameters(self, run_id: str, settings: dict[str, Any]) -> None:
        from mlflow.entities import Param

        rows = [Param(key, str(value)[:LONGEST]) for key, value in settings.items()]
        for part in _parts(rows, MOST_PARAMETERS):
            self.client.log_batch(run_id, params=part)

    def _send_points(self, run: RunFolder, sent: Sent) -> None:
        """Send the epochs after the last one that was sent; those of steps that a resumed run took again are there already."""
        from mlflow.entities import Metric

        for point in (point for point in points(run) if point.step > sent.step):
            metrics = [Metric(key, value, point.milliseconds, point.step) for key, value in point.values.items()]
            self.client.log_batch(sent.run_id, metrics=metrics)
            sent.step = point.step

    def _complete(self, run: RunFolder, sent: Sent) -> None:
        """Send the scores and files of a finished run that were not sent yet, and close it."""
        from mlflow.entities import Metric

        values, kept = final(run), files(run)
        missing = {key: value for key, value in values.items() if key not in sent.values}
        others = [path for path in kept if path.name not in sent.files]
        if sent.ended and not missing and not others:
            return
        epochs, step = points(run), int(run.result["steps"])
        at = epochs[-1].milliseconds if epochs else begun(run)
        there = epochs[-1].values if epochs else {}  # where the same images are evaluated after each epoch
        metrics = [Metric(key, value, at, step) for key, value in missing.items() if there.get(key) != value]
        for part in _parts(metrics, MOST_METRICS):
            self.client.log_batch(sent.run_id, metrics=part)
        for path in others:
            self.client.log_artifact(sent.run_id, str(path))
        if not sent.ended:
            self.client.set_terminated(sent.run_id, "FINISHED")
        sent.ended = True
        sent.values |= {*missing}
        sent.files |= {path.name for path in others}
        self._note(run.path, sent)

    def _note(self, folder: Path, sent: Sent) -> None:
        """Keep in a folder what MLflow has of it."""
        lists = {"values": sorted(sent.values), "files": sorted(sent.files)}
        own = {"uri": self.uri, "parent": self.parent, "run": sent.run_id, "ended": sent.ended, **lists}
        write_note(folder, read_note(folder) | {self.name: own})


def without_passwords(text: str) -> str:
    """An address, or a text that has some, without the users and passwords in them."""
    return re.sub(r"://[^/@\s]*@", "://", text)


def _experiment(client: Any, name: str) -> str:
    """The id of the experiment of a name, which is made where there is none."""
    from mlflow.exceptions import MlflowException

    if (found := client.get_experiment_by_name(name)) is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:  # another process may have made it meanwhile
            if (found := client.get_experiment_by_name(name)) is None:
                raise
    return str(found.experiment_id)


def _recommended(table: Path) -> str | None:
    """The network that a comparison's table recommends; None where it recommends none."""
    if not table.is_file():
        return None
    with table.open(newline="", encoding="utf-8") as file:
        return next((row["model"] for row in csv.DictReader(file) if row.get("recommended") == "True"), None)


def _parts(rows: list[Any], most: int) -> Sequence[list[Any]]:
    """Rows in parts of so many at most."""
    return [rows[first : first + most] for first in range(0, len(rows), most)]
