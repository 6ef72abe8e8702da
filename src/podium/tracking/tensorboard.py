"""TensorBoard: every run writes its curves as it trains (`training/run.py`); here its parameters and final scores are added."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from podium.runs.folder import SETTINGS, RunFolder
from podium.tracking.reported import final, is_finished, parameters, runs_in

EVENTS, FINAL = "events", ".final"  # the folder in a run's folder, and how the name of what is added there ends


class TensorBoard:
    """Adds the parameters and final scores of finished runs to their events, once for each run.

    Args:
        out: the folder of a run or of a comparison.
    """

    name = "tensorboard"

    def __init__(self, out: Path) -> None:
        self.out = out

    @property
    def place(self) -> str:
        """Where the events are, in words."""
        return f"TensorBoard's events in {self.out}"

    def send(self) -> None:
        """Write what is new of all runs."""
        for run in runs_in(self.out):
            if is_finished(run) and not any((run / EVENTS).glob(f"*{FINAL}")):
                _write(run)

    def end(self, status: str) -> None:
        """Nothing is left open."""


def _write(run: RunFolder) -> None:
    """Write the parameters and final scores of a run, and its settings as text."""
    from tensorboardX import SummaryWriter
    from tensorboardX.summary import hparams

    scores, step = final(run), run.result["steps"]
    settings = (run / SETTINGS).read_text(encoding="utf-8")
    with SummaryWriter(str(run / EVENTS), filename_suffix=FINAL) as writer:
        for summary in hparams({key: _plain(value) for key, value in parameters(run).items()}, scores):
            writer.file_writer.add_summary(summary)  # `add_hparams` would make another run of it
        for name, value in scores.items():
            writer.add_scalar(name, value, step)
        writer.add_text("settings", "".join(f"    {line}\n" for line in settings.splitlines()), step)


def _plain(value: Any) -> Any:
    """A value as hyper-parameters may be; lists become text."""
    return value if isinstance(value, bool | int | float | str) else str(value)
