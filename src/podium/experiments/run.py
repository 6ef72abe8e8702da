"""Decide claims one after the other; what is finished in the folder is not done again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from podium.devices import pick_device
from podium.errors import NumericError
from podium.experiments import raw
from podium.experiments.claim import Claim, Scale
from podium.experiments.experiment import Experiment, Tell
from podium.experiments.images import load, part

RUNS = "runs"  # the folder of all runs, within that of the results
Done = Callable[[Claim, dict[str, Any]], None]


def decide_all(
    claims: Sequence[Claim],
    scale: Scale,
    out: Path,
    place: Path | None = None,
    *,
    device: str = "auto",
    tell: Tell = lambda *_: None,
    done: Done = lambda *_: None,
) -> list[dict[str, Any]]:
    """Decide claims.

    Args:
        claims: in the order in which they are decided.
        scale: of the experiments.
        out: the folder of the raw files and the runs.
        place: the folder that holds the data sets by their names; None: where Podium finds them by name.
        device: that computes, as in the settings.
        tell: called after every training step.
        done: called with each claim and its raw file's content.

    Returns:
        What the raw file of each claim says.

    Raises:
        UsageError: the folder of the results is a file.
        MachineError: it cannot be written.
        DataError: a data set is not there, or a raw file is damaged.
        NumericError: an arm of a claim did not learn, and others are made from it. The other claims are decided before.
    """
    pick_device(device)
    decided = [_decided(claim, scale, out) for claim in claims]
    _refuse_impossible(
        [claim for claim, content in zip(claims, decided, strict=True) if content is None], scale, out, place
    )
    found, failed = [], []
    for number, (claim, content) in enumerate(zip(claims, decided, strict=True), 1):
        if content is None:
            label = f"{number}/{len(claims)} {claim.name}"
            try:
                content = decide_one(
                    claim, scale, out, place, device, lambda run, *step, label=label: tell(f"{label}: {run}", *step)
                )
            except NumericError as error:
                failed.append((claim.name, error))
                continue
            raw.write(out, content)
        done(claim, content)
        found.append(content)
    if failed:
        name, first = failed[0]
        others = f"; nor can be decided: {', '.join(name for name, _ in failed[1:])}" if failed[1:] else ""
        raise NumericError(f"{name}: {first.what}{others}", first.fix)
    return found


def _decided(claim: Claim, scale: Scale, out: Path) -> dict[str, Any] | None:
    """What the raw file of a claim says; None where there is none, or one of another experiment."""
    path = raw.file_of(out, claim.name)
    content = raw.read(path) if path.is_file() else None
    return content if content is not None and raw.same_experiment(content, claim, scale) else None


def _refuse_impossible(claims: Sequence[Claim], scale: Scale, out: Path, place: Path | None) -> None:
    """Refuse images that are not there, and results that cannot be written, before hours of training.

    Args:
        claims: that are to be decided.
        scale, out, place: as for `decide_all`.
    """
    raw.refuse_no_folder(out, "the results need a folder", "--out DIR")
    for name in dict.fromkeys(protocol.data for claim in claims if (protocol := claim.protocol(scale))):
        load(name, place)


def decide_one(claim: Claim, scale: Scale, out: Path, place: Path | None, device: str, tell: Tell) -> dict[str, Any]:
    """Measure and train what a claim needs, and return what its raw file says; see `decide_all`."""
    protocol, results, fingerprint, seconds = claim.protocol(scale), {}, None, 0.0
    if protocol is not None:
        data = part(protocol, load(protocol.data, place))
        experiment = Experiment(protocol, data, out / RUNS, tell, device)
        results, fingerprint = experiment.run(claim.views), data.fingerprint()
        seconds = sum(experiment.took.values())
    begun = time.monotonic()
    measured = claim.measure() if claim.measure is not None else {}
    return raw.record(claim, scale, measured, results, seconds + time.monotonic() - begun, fingerprint)
