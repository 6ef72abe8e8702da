"""What prune, slim and distill share: the small network's start, its training, its controls, and the comparison at the end."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from podium.compression import latency
from podium.compression.gate import Gate, Terms, unproven
from podium.data.dataset import Dataset
from podium.data.loader import Loader
from podium.data.preprocessing import Preprocessing
from podium.deployment import engine_speed, engines
from podium.deployment.export import squares
from podium.deployment.runtime import FILE_ENGINES
from podium.errors import MachineError, UsageError
from podium.evaluation.cost import count_net
from podium.evaluation.evaluate import evaluate, evaluation_batch
from podium.evaluation.metrics import half_wilson
from podium.evaluation.paired import paired
from podium.evaluation.speed import speed
from podium.files import PIN, without_folders
from podium.models.convnet import ConvNet
from podium.runs import bundle
from podium.runs.bundle import Bundle
from podium.runs.folder import COMPRESSION, RunFolder, source_on_record
from podium.settings import Origin, Settings
from podium.training.autotune.fastest import set_memory_format
from podium.training.finished import trained_network
from podium.training.loop import Callbacks, train
from podium.training.plan import Plan

logger = logging.getLogger("podium")

START, CONTROLS = "start", "controls"
SECONDS = 0.5  # of timing each network, in each engine, with one image and with many
MANY = 32  # images a pass of those engines, beside one
SHOWN = 64  # images on which they are compared with torch
# Called after every step with (which network, steps done, steps in all, what to show).
NamedProgress = Callable[[str, int, int, dict[str, Any]], None]


@dataclass
class Shrunk:
    """A smaller network, trained, beside what it is to be compared with.

    Args:
        run: its folder.
        rows: name, top1, error (95 %), macs, params, size_bytes, latency_ms {p50, p95}, images_per_second of each network, and
            under engines {engine, dtype, latency_ms, images_per_second, batch, agreement} of what exported files run in here.
        decision: whether the smaller network may take the original's place; None where nothing is replaced.
        notes: what a person should know.
        latency: see `latency.held`; None where no latency was the target.
    """

    run: RunFolder
    rows: list[dict[str, Any]]
    decision: Gate | None
    notes: list[str]
    latency: dict[str, Any] | None = None

    @property
    def gate(self) -> dict[str, Any] | None:
        """The decision as a dictionary, see `Gate.to_dict`."""
        return None if self.decision is None else self.decision.to_dict()

    def __fspath__(self) -> str:
        return str(self.run.path)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `compression.json` has them."""
        named = ("rows", "gate", "latency", "notes")
        return {"run": str(self.run.path), **{key: getattr(self, key) for key in named}}


def begin(out: Path, made: dict[str, Any], make: Callable[[], tuple[ConvNet, Dataset, Preprocessing]]) -> Path:
    """Make the bundle that a run starts from, in the run's own folder; one that is there already is used if it is the same.

    Args:
        out: the run folder.
        made: how it was made and from what, as the card keeps it.
        make: makes the network, its data and its preprocessing.

    Raises:
        UsageError: something else is there.
    """
    start = out / START
    if (start / bundle.CARD).is_file():
        found = bundle.load(start).card.get("made")
        if _without_run(without_folders(found)) != _without_run(without_folders(made)):
            raise UsageError(f"{out}: holds another network ({found})", "name another folder with -o")
        return start
    RunFolder(out).create()
    try:
        net, data, preprocessing = make()
    except BaseException:
        with contextlib.suppress(OSError):
            out.rmdir()  # nothing came of it
        raise
    bundle.save(start, net.eval(), data.classes, preprocessing, {"made": made})
    return start


def _without_run(made: Any) -> Any:
    """How a bundle was made, but for the name of its run's folder, which may have got another one."""
    return {key: value for key, value in made.items() if key != "of"} if isinstance(made, dict) else made


def trained(
    settings: Settings, out: Path, data: Dataset, name: str, progress: NamedProgress, origin: dict[str, Origin]
) -> RunFolder:
    """Train the network in `out`/start, or resume its training; a finished run is left as it is."""
    return train(
        settings,
        out,
        origin=origin,
        resume=RunFolder(out).started,
        data=data,
        callbacks=Callbacks(lambda step, steps, shown: progress(name, step, steps, shown), _tell),
    )


def _tell(plan: Plan) -> None:
    for note in plan.notes:
        logger.info(note.removeprefix("note: "))


def control(
    name: str,
    spec_of: Callable[[], ConvNet],
    s: Settings,
    steps: int,
    main: RunFolder,
    data: Dataset,
    progress: NamedProgress,
) -> RunFolder:
    """A network with fresh weights, trained for as many steps, with the same settings and without a teacher."""
    out = main.path / CONTROLS / name
    made = {"by": name, "of": str(main.path.name), "steps": steps}
    like = bundle.load(main / START)
    start = begin(out, made, lambda: (spec_of(), data, like.preprocessing))
    settings = s.replace(weights=str(start), teacher=None, freeze=None, unfreeze=None, duration=f"{steps}it")
    return trained(settings, out, data, name, progress, {"duration": Origin("by the total budget")})


def row(name: str, net: ConvNet, folder: Path | None, logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """The row of a network in the table; its speed is measured now."""
    right, cost = logits.argmax(1) == labels, count_net(net)
    share, n = float(right.mean()), len(labels)
    timed = speed(latency.on_processor(net), seconds=2 * SECONDS)
    return {
        "name": name,
        "top1": share,
        "error": half_wilson(share, n),
        "n": n,
        "macs": cost.macs,
        "params": cost.params,
        "size_bytes": _size(net, folder),
        "latency_ms": {key: timed["latency_ms"][key] for key in ("p50", "p95")},
        "images_per_second": timed["images_per_second"],
        "batch": timed["batch"],
        "threads": timed["threads"],
        "engine": timed["engine"],
        "dtype": timed["dtype"],
        "device": timed["device"],
    }


def in_engines(name: str, model: Bundle, data: Dataset, split: str, notes: list[str]) -> list[dict[str, Any]]:
    """Time the exported network in the engines that are installed; no rows where the exporter is not.

    An engine that fails is named in the notes, and costs nothing of what was trained before.
    """
    here = tuple(filter(engines.is_here, FILE_ENGINES)) if engines.is_here("onnxscript") else ()
    if not here:
        return []
    model.model.cpu()  # where exported files run
    try:
        images, _ = squares(data, model, SHOWN, split)
        found = engine_speed.time_bundle(name, model, here, images, engine_speed.Timing(SECONDS, batches=(1, MANY)))
    except Exception as error:  # each engine has its own
        said = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])  # some say nothing
        notes.append(f"{name}: not timed in {', '.join(here)} ({said})")
        return []
    notes += [f"{name}: not timed in {r.engine} ({r.missing})" for r in found if isinstance(r, engine_speed.MissingRow)]
    rows = [r for r in found if isinstance(r, engine_speed.EngineRow)]
    best = {(r.engine, r.dtype): r for r in rows}  # the last of each is the one of the higher rate
    return [
        {
            **{key: getattr(one, key) for key in ("engine", "dtype", "threads", "agreement", "device")},
            "latency_ms": {key: one.latency_ms[key] for key in ("p50", "p95")},
            **{key: getattr(best[one.engine, one.dtype], key) for key in ("images_per_second", "batch")},
        }
        for one in rows
        if one.batch == 1
    ]


def _size(net: ConvNet, folder: Path | None) -> int:
    from podium.compression.channels import size_bytes

    file = folder / bundle.WEIGHTS if folder is not None else None
    return file.stat().st_size if file is not None and file.is_file() else int(size_bytes(net))


def logits_of(net: ConvNet, data: Dataset, split: str, preprocessing: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels of a split, as `evaluate` gives them."""
    batch, device = evaluation_batch(count_net(net)), next(net.parameters()).device
    out = evaluate(net, Loader(data.splits[split], preprocessing, batch_size=batch, device=device))
    return out.logits, out.labels


def compared(
    run: RunFolder,
    original: tuple[str, ConvNet, Preprocessing],
    others: dict[str, RunFolder],
    data: Dataset,
    terms: Terms | None,
    notes: list[str],
    limit: float | None = None,
) -> Shrunk:
    """Measure all networks, and decide.

    Args:
        run: the smaller network's.
        original: name, network and preprocessing of what it may replace, or was taught by.
        others: the controls, by name.
        terms: what the smaller network may lose; None: nothing is to be decided.
        limit: the target in milliseconds of one image; None where latency was not the target.
    """
    split = run.result["split"]
    name, net, preprocessing = original
    before, labels = logits_of(net, data, split, preprocessing)
    small = trained_network(run)  # whose memory format the original is timed in too
    memory_format = "contiguous" if small.memory_format == torch.contiguous_format else "channels_last"
    clocked = set_memory_format(copy.deepcopy(net).cpu(), memory_format)
    rows = [row(name, clocked, None, before, labels)]
    whole = Bundle(net, tuple(data.classes), preprocessing, {})
    rows[0]["engines"] = in_engines(name, whole, data, split, notes)
    for other, folder in {run.path.name: run, **others}.items():
        after, _ = folder.predictions
        model = bundle.load(folder.path)
        timed = row(other, trained_network(folder), folder.path, after, labels)
        rows.append({**timed, "engines": in_engines(other, model, data, split, notes)})
    # The images that the result reports are those that decide: they chose no epoch.
    gate = None if terms is None else terms.decide(paired(before, run.predictions[0], labels), data)
    outcome = None
    if limit is not None:
        outcome = latency.held(limit, clocked, small)
        notes.append(latency.format_outcome(outcome))
    return Shrunk(run, rows, gate, notes, outcome)


def begun(out: Path) -> Path:
    """Return the folder to train in: that of an earlier result whose outcome is open, where there is one, else `out`.

    Raises:
        UsageError: both folders are there.
    """
    if not (kept := unproven(out)).exists():
        return out
    if out.exists():
        raise UsageError(
            f"{out}: is there beside {kept}", "take away the one of no use, or name another folder with -o"
        )
    return kept


def saved(shrunk: Shrunk, out: Path) -> Shrunk:
    """Give the folder of a smaller network the name that it has earned, and write table and decision into it.

    Args:
        shrunk: the network, wherever it was trained.
        out: where it goes; beside that, under a name that says so, where too few images decide.

    Raises:
        MachineError: the folder cannot be renamed; it stays where it is.
    """
    gate = shrunk.decision
    place = unproven(out) if gate is not None and gate.left_open else out
    if place != shrunk.run.path:
        try:
            Path(os.path.abspath(shrunk.run.path)).rename(place)
        except OSError as error:
            what = f"cannot rename {shrunk.run.path} to {place}: {error.strerror}"
            raise MachineError(what, "name another folder with -o") from None
        shrunk.run = RunFolder(place)
        shrunk.rows[1]["name"] = place.name
    shrunk.run.write_json(COMPRESSION, shrunk.to_dict())
    if gate is not None:
        bundle.amend(place, {"gate": gate.to_dict()})
    return shrunk


def epochs_of(name: str) -> float:
    """The epochs that the weights of a run or bundle were trained for, with those they started from; 0 if not on record."""
    folder = RunFolder(name.partition(PIN)[0])
    if not (folder / bundle.CARD).is_file():
        return 0.0
    card = json.loads((folder / bundle.CARD).read_text(encoding="utf-8"))
    parent = card.get("parent") or card.get("made", {}).get("parent")
    own = float(folder.result["epochs"]) if folder.finished else 0.0
    return own + (epochs_of(source_on_record(folder.path, parent)) if parent else 0.0)
