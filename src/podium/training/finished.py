"""Finished runs: what they keep, what can be made again from their weights, and how they are trained longer."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import suppress

from podium.data.dataset import Dataset, Split
from podium.data.loader import Loader
from podium.data.record import Record, read_record
from podium.data.roles import without_learned
from podium.devices import pick_device
from podium.errors import DataError, ModelFileError
from podium.evaluation.cost import count_net
from podium.evaluation.evaluate import evaluation_batch
from podium.evaluation.metrics import summarize
from podium.files import shell_word
from podium.models.convnet import ConvNet
from podium.runs import bundle, checkpoint
from podium.runs.folder import LOG, PREDICTIONS, RESULT, SETTINGS, RunFolder
from podium.runs.recommended import REQUEST
from podium.settings import Settings, read_file
from podium.training.autotune.fastest import FORMATS, set_memory_format
from podium.training.distributed.parallel import Ranks
from podium.training.images import data_of, refuse_other_images
from podium.training.result import Predicted, evaluate_together, write_result
from podium.units import parse_duration

logger = logging.getLogger("podium")

LENGTHS = {"ep": "--epochs {:.15g}", "it": "--steps {:.15g}", "s": "--budget {:.15g}s"}


def only_weights_left(folder: RunFolder) -> bool:
    """Return whether a run went to its end and has no good checkpoint, but has lost its result or its predictions.

    Raises:
        ModelFileError: it has, but its log does not have the end either, so that the result cannot be made again.
    """
    if folder.intact or (folder.end is None and not folder.finished):
        return False
    for path in checkpoint.newest(folder.path):
        with suppress(ModelFileError):
            checkpoint.read(path)
            return False
    if folder.end is None:
        what = (
            f"{folder.path}: {RESULT} or {PREDICTIONS} is gone or damaged, and {LOG} does not have the end of the run"
        )
        again = f"podium train --config {shell_word(folder / SETTINGS)} -o {_fresh(folder, 'again')}"
        raise ModelFileError(what, f"train it again: {again}; its weights still serve podium eval and podium predict")
    return True


def make_again(
    folder: RunFolder, s: Settings, data: Dataset | None, ranks: Ranks, reading: Callable[[int, int], None] | None
) -> None:
    """Evaluate the weights of a finished run, and write its predictions and its result again.

    Args:
        folder: of a run for which `only_weights_left` is true.
        s: its settings.
        data: a data set to take instead of the one that the settings name.
        ranks: that share the images.
        reading: called with (files read, files to read) while image files are read for the first time.

    Raises:
        DataError: the images are not those of the run.
        ModelFileError: the weights are damaged.
    """
    model, end, own = bundle.load(folder.path), folder.end, read_record(folder.path)
    if end is None:
        raise ModelFileError(f"{folder / LOG}: does not have the end of the run", "go on with --resume")
    if data is None:
        data = data_of(s, own, reading)
    if own is not None:
        data = without_learned(data, Record({}, own.earlier, {}))
        refuse_other_images(own, data)
    elif not data.is_what(model.card["data_sha256"]):
        what = f"data: the images of {data.name} are not those the run was trained on"
        raise DataError(what, "put them back, or train another run with -o")
    device = pick_device(s.device)
    net = set_memory_format(model.model.to(device), s.memory_format)
    batch = evaluation_batch(count_net(net))

    def predicted(split: Split) -> Predicted:
        loader = Loader(ranks.share(split), model.preprocessing, batch_size=batch, device=device, workers=s.workers)
        return Predicted.of(evaluate_together(net, loader, ranks), split)

    reported = predicted(data.splits[end["split"]])
    validation = predicted(data.splits["val"]) if "val" in data.splits and end["split"] != "val" else None
    if ranks.leads:
        scores = summarize(reported.outputs.logits, reported.outputs.labels, data.classes)
        known = {key: value for key, value in end.items() if key != "event" and key not in scores}
        write_result(folder, known, scores, reported, validation)
        made = f"{RESULT} and {PREDICTIONS} are made again from its weights"
        logger.info(f"{shell_word(folder.path)} is finished: {made}")


def trained_network(folder: RunFolder) -> ConvNet:
    """Return the network of a run in the memory format that it was trained in, which is how it is timed."""
    memory_format = read_file(folder / SETTINGS).get("memory_format")
    return set_memory_format(
        bundle.load(folder.path).model, memory_format if memory_format in FORMATS else "channels_last"
    )


def drop_checkpoints(folder: RunFolder, keep: bool) -> None:
    """Remove the checkpoints of a finished run, which nothing needs any more.

    Args:
        folder: of the run. A run of an older version keeps its last checkpoint, without which its result cannot be made again.
        keep: leave the last checkpoint, and those that were set aside as damaged.
    """
    keep = keep or folder.end is None
    aside = [] if keep else folder.path.glob(f"{checkpoint.DAMAGED}*.ckpt")
    for path in [*checkpoint.newest(folder.path), *aside]:
        if keep and path.name == checkpoint.LAST:
            continue
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning(f"{path} cannot be removed ({error.strerror}); nothing needs it")


def left_as_it_is(folder: RunFolder) -> str:
    """Return a note for whoever resumes a finished run, with the command that trains it longer."""
    length = next(iter(folder.rows()), {}).get("duration") or read_file(folder / SETTINGS)["duration"]
    return f"{shell_word(folder.path)} is finished and left as it is; to train longer: {longer(folder, length)}"


def another_length(folder: RunFolder | None, had: str, requested: str) -> str:
    """Return how to mend a resume that requests another duration than the run has.

    Args:
        folder: of the run; None where it is not known.
        had: the duration of the run, as settings have it.
        requested: the duration that the resume requests.
    """
    if folder is None:
        return "resume it as it was, or start another from its weights: --weights"
    (before, unit), (now, other) = parse_duration("duration", had), parse_duration("duration", requested)
    rest = f"{now - before:.15g}{unit}" if unit == other and now > before else requested
    more = f"train longer from its weights: {longer(folder, rest)}"
    if folder.finished:
        return f"it is finished; {more}"
    return f"finish it first: podium train --resume -o {shell_word(folder.path)}; then {more}"


def longer(folder: RunFolder, length: str) -> str:
    """Return the command that trains the weights of a finished run further, with its settings, in a new folder.

    Args:
        folder: of the run.
        length: how much longer, as settings have a duration.
    """
    settings, (value, unit) = read_file(folder / SETTINGS), parse_duration("duration", length)
    flag = LENGTHS[unit].format(math.ceil(value) if unit == "ep" else value)
    run, data = shell_word(folder.path), shell_word(settings.get("data") or "DATA")
    config = shell_word(folder / SETTINGS)
    start = f"podium train {settings['model']} {data} --config {config} --weights {run}"
    return f"{start} {flag} -o {_fresh(folder, 'longer')}"


def _fresh(folder: RunFolder, word: str) -> str:
    """Return an unused folder beside a run, quoted for a shell; for a run of a comparison, one beside the comparison."""
    path = folder.path.resolve() if folder.path.name in ("", "..") else folder.path
    if (path.parent / REQUEST).is_file():
        above = path.parent.resolve() if path.parent.name in ("", "..") else path.parent
        path = above.with_name(f"{above.name}-{path.name}")
    number, free = 2, path.with_name(f"{path.name}-{word}")
    while free.exists():
        number, free = number + 1, path.with_name(f"{path.name}-{word}-{number}")
    return shell_word(free)
