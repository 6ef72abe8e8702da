"""`podium.train`: one training run and its report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Unpack

from podium.api.run_images import images_for
from podium.api.settings_fields import SettingsFields
from podium.bars import training_progress
from podium.calls import public
from podium.comparison.report.page import check_packages
from podium.comparison.report.report_page import REPORT, report_run
from podium.data.dataset import Dataset
from podium.data.record import Record, read_record
from podium.data.roles import without_learned
from podium.errors import DataError, UsageError
from podium.files import shell_word
from podium.models import ConvNet
from podium.runs import bundle
from podium.runs.folder import RESULT, RunFolder
from podium.settings import Origins
from podium.tracking.following import following
from podium.tracking.notes import parse_trackers
from podium.training.distributed.launch import leads
from podium.training.finished import left_as_it_is
from podium.training.idle import refuse_decided
from podium.training.images import loaded, source_of
from podium.training.loop import Callbacks
from podium.training.loop import train as run_training
from podium.training.plan import Plan
from podium.training.recipes.named import settings_of
from podium.training.run import StepProgress

logger = logging.getLogger("podium")


@public
def train(
    net: str | ConvNet,
    data: str | Path | Dataset,
    out: str | Path,
    *,
    recipe: str | None = None,
    config: str | Path | None = None,
    resume: bool = False,
    elastic: bool = False,
    log_to: str | Sequence[str] | None = None,
    progress: StepProgress | bool | None = None,
    announce: Callable[[Plan], None] | None = None,
    **settings: Unpack[SettingsFields],
) -> RunFolder:
    """Train one network and write its run folder and report.

    Args:
        net: the name of a network, or a network whose weights the training starts from.
        data: a data set as `load_data` takes or returns it.
        out: the run folder.
        recipe: the named settings to start from. If None: the recipe that `config` names, else "quick".
        config: a settings file, whose values replace those of the recipe.
        resume: continue the run in `out`.
        elastic: allow the continued run other devices, threads or versions of torch, CUDA and cuDNN than before.
        log_to: "mlflow", "tensorboard" or both, which get parameters, metrics and files of the run too: MLflow as
            MLFLOW_TRACKING_URI says. A continued run goes on in the same place.
        progress: a function that is called after each step with (steps done, steps in all, what to show), and after each
            epoch with its log row; False for nothing. If None: a bar in a notebook or a terminal.
        announce: called with the plan of the run before the first step.
        settings: fields of `Settings`, and one of epochs=, steps= and budget= for the length of training.

    Returns:
        The finished run: `.result`, `.epochs`, and a bundle that `podium.load` reads.

    Raises:
        UsageError: a name or setting is unknown, or a setting has a value that it cannot have.
        DataError: the data cannot be read.
    """
    own = {"model": net if isinstance(net, str) else net.spec["model"], "data": source_of(data), **settings}
    merged = settings_of(recipe, Path(config) if config is not None else None, own)
    if elastic and not resume:
        raise UsageError("elastic: True does nothing here: a new run takes the devices it is given", "add resume=True")
    if not resume:
        refuse_decided(merged, "train", loaded(data))
    with training_progress(progress) as shown:
        return train_and_report(
            merged,
            out,
            resume=resume,
            elastic=elastic,
            log_to=parse_trackers(log_to),
            data=loaded(data),
            net=None if isinstance(net, str) else net,
            progress=shown,
            announce=announce,
        )


def train_and_report(
    merged: Origins,
    out: str | Path,
    *,
    progress: StepProgress | None = None,
    announce: Callable[[Plan], None] | None = None,
    reading: Callable[[int, int], None] | None = None,
    log_to: Sequence[str] = (),
    **more: Any,
) -> RunFolder:
    """Train with settings that are merged already, and write the run's `report.html`.

    The command line calls this function, because it reads the settings and their origins before it trains.

    Args:
        merged: the settings and where each came from.
        out: the run folder.
        progress: called after each step and each epoch, as for `train`.
        announce: called with the plan of the run before the first step.
        reading: called with (files read, files to read) while image files are read for the first time.
        log_to: names of trackers; none: those that the run was begun with.
        more: further arguments of `training.loop.train`.

    Returns:
        The finished run.
    """
    check_packages()
    plans: list[Plan] = []
    names = f" --log-to {','.join(log_to)}" if log_to else ""
    with following(
        Path(out), log_to if leads() else (), f"podium train --resume -o {shell_word(out)}{names}"
    ) as follower:

        def announced(plan: Plan) -> None:
            plans.append(plan)
            follower.begin()
            if announce is not None:
                announce(plan)

        callbacks = Callbacks(progress, announced, reading)
        before = bool(more.get("resume")) and RunFolder(out).intact
        run = run_training(merged.settings, out, origin=merged.origin, callbacks=callbacks, **more)
        if before and leads():
            logger.info(left_as_it_is(run))
        if plans:  # there is no plan if the run was finished before, or if another process writes the report
            report_run(run, plans[0].data)
        elif leads() and not (run / REPORT).is_file():  # the run was killed between its result and its report
            _write_missing_report(run, more.get("data"))
        if leads():
            follower.begin()  # of a run that was finished before, what is missing is sent
    return run


def _write_missing_report(run: RunFolder, given: Dataset | None) -> None:
    """Write the report of a finished run, which shows images of the run's own data.

    Args:
        run: the finished run.
        given: its data set if the caller has loaded it; else the data that the run names is read again.

    Raises:
        DataError: the images are gone, or others are in their place.
    """
    model = bundle.load(run.path)
    data, record = given or images_for(model, None, given=""), read_record(run.path)
    if given is not None and record is not None:
        data = without_learned(data, Record({}, record.earlier, {}))  # the split that the run was trained with
    if not data.is_what(str(model.card.get("data_sha256"))):
        what = f"{run / REPORT}: cannot be written again: {data.name} has other images than the run was trained on"
        raise DataError(what, f"put them back; the result is in {run / RESULT}")
    report_run(run, data)
