"""`podium quantize`: a run in 8-bit integers, which takes its place only if it keeps its accuracy on the same images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from podium.calls import from_keywords, public
from podium.compression import int8
from podium.compression.gate import SPLITS, Gate, Terms, deciding_split, unproven
from podium.compression.placing import REPORT, clear, finish
from podium.compression.qat import RECIPE, fine_tuned
from podium.compression.shrink import NamedProgress
from podium.data.dataset import Dataset
from podium.deployment import engine_speed, engines
from podium.deployment.export import card_of, onnx_model, save_ir, seal_again, sealed_bytes, squares
from podium.deployment.graph import answer, graph_of
from podium.deployment.runtime import FILE_ENGINES, MODEL, MODEL_IR, Engine, Exported, load_exported
from podium.devices import pick_device
from podium.errors import DataError, NumericError, UsageError
from podium.evaluation.metrics import half_wilson
from podium.evaluation.paired import Paired, paired
from podium.files import scratch_folder, shell_word
from podium.runs.bundle import Bundle

CALIBRATION = 256  # images that ranges are measured on
CHOOSING = 2000  # images, at most, that choose whether to fine-tune
HELD = 1 << 30  # bytes of the images that decide, which are in memory: 7,100 photos of 224 px, or 340,000 of 32 px
QAT = "qat"
BATCHES = (1, 32)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """How a network is quantised.

    Args:
        engine: "onnxruntime" (its static quantiser), or "openvino" (NNCF).
        tolerance, accept_unproven: see `Terms`.
        limit: images that decide, at most; None: all that there are, up to a gigabyte of them.
        seconds: of timing each engine and batch.
        qat: where other images lose more than the tolerance, fine-tune with int8's rounding first (quantisation-aware training).
        epochs: of that fine-tuning; the recipe's if None.
        heat_map: the model also gives the heat map of its answer, computed in float32 from the rounded feature map.
        device: that fine-tunes; all else is computed where files in int8 are: on the processor.

    Raises:
        UsageError: a value is out of its range.
    """

    engine: Engine = "onnxruntime"
    tolerance: float = 0.005
    accept_unproven: bool = False
    limit: int | None = None
    seconds: float = 1.0
    qat: bool = True
    epochs: int | None = None
    heat_map: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.engine not in FILE_ENGINES:
            raise UsageError(f"engine: {self.engine!r}", f"give {' or '.join(FILE_ENGINES)}")
        _ = self.terms
        pick_device(self.device)
        if not 0 <= self.seconds < 3600:
            raise UsageError(f"seconds: {self.seconds}", "give at least 0 and less than 3600")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit: {self.limit}", "give at least 1")

    def deciding(self, bundle: Bundle, data: Dataset) -> int:
        """How many images decide."""
        p, there = bundle.preprocessing, len(data.splits[deciding_split(data)])
        most = max(CHOOSING, HELD // (p.image_size**2 * p.channels)) if self.limit is None else self.limit
        return min(most, there)

    @property
    def terms(self) -> Terms:
        """What the network may lose."""
        return Terms(self.tolerance, self.accept_unproven)


@dataclass(frozen=True)
class Quantized:
    """A run in int8.

    Args:
        path: the folder; its name ends in "-unproven" where too few images decide and that was not accepted.
        decision: whether it keeps the run's accuracy.
        rows: before and after, in each engine: top1, error (95 %), size_bytes, and the fields of `engine_speed.EngineRow`.
    """

    path: Path
    decision: Gate
    rows: list[dict[str, Any]]

    @property
    def gate(self) -> dict[str, Any]:
        """The decision as a dictionary, see `Gate.to_dict`."""
        return self.decision.to_dict()


@public
def quantize(
    bundle: Bundle,
    data: Dataset,
    out: str | Path,
    *,
    say: Say = lambda _: None,
    progress: NamedProgress = lambda *_: None,
    **options: Any,
) -> Quantized:
    """Write a run's network in int8 as a new folder: the model, `card.json` that names the parent, and the table.

    Args:
        bundle: the run.
        data: its training images measure the ranges and choose the rounding; its test images decide whether the network keeps
            its accuracy, or its validation images if there are none.
        out: a new folder, or one whose fine-tuning was stopped.
        say: called with a line for people at each step.
        progress: called after every step of the fine-tuning.
        options: the fields of `Options`.

    Raises:
        UsageError: no such engine, or something is at `out`.
        DataError: the images are too few to show the tolerance.
        NumericError: more is lost than the tolerance; nothing is left but the fine-tuned run, if there was one.
    """
    out, how = Path(out), from_keywords(Options, "quantize", options)
    if out.exists() and (not out.is_dir() or any(path.name != QAT for path in out.iterdir())):
        raise UsageError(f"{out}: exists already", "name another folder with -o")
    if (kept := unproven(out)).exists() and not (kept / REPORT).is_file():
        raise UsageError(f"{kept}: exists already", "name another folder with -o")
    how.terms.check(data, count := how.deciding(bundle, data))
    deciding = _Sample.of(bundle, data, deciding_split(data), count)
    if (deciding.labels < 0).any():
        raise DataError(f"{data.name} has classes the network was not trained on", "give the data of the run")
    out.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(out) as scratch:
        folder, base = scratch / "made", scratch / "float.onnx"
        folder.mkdir()
        model = _float(bundle, how.heat_map)
        base.write_bytes(sealed_bytes(model, card_of(bundle, True, how.heat_map)))
        work = _Work(bundle, data, how, folder, say)
        made, card, chose = work.rounded(model, out / QAT, progress)
        gate = how.terms.decide(deciding.compare(made), data)
        if gate.outcome == "above":
            fix = f"{out} is not made and the run stays; --tolerance allows more{_more(bundle, data, out, chose)}"
            raise NumericError(f"int8 loses too much: {gate}", fix)
        before = {"gate_of_parent": bundle.card["gate"]} if "gate" in bundle.card else {}
        facts = {"gate": gate.to_dict(), "without_qat": chose}
        seal_again(made_file(folder, how.engine), {**before, **facts})
        rows = _table(bundle, base, folder, deciding, how)
        place = out
        if gate.left_open:
            place = kept
            clear(kept)
        finish(folder, place, {**card, **before, **facts}, {**facts, "how": card["how"], "rows": rows})
    return Quantized(place, gate, rows)


def _more(bundle: Bundle, data: Dataset, out: Path, chose: dict[str, Any] | None) -> str:
    """How a fine-tuning may help a network that loses too much, as the end of a fix; `chose` as of `_Work.rounded`."""
    if chose is not None and chose["fine_tuned"]:
        return ", --epochs fine-tunes longer (with another -o)"
    if set(data.classes) != set(bundle.classes) or bundle.folder is None or not data.source:
        return ""
    words = bundle.model.spec["model"], data.source, "--weights", bundle.folder, "--recipe", RECIPE
    tuned = out.with_name(f"{out.name}-tuned")
    return f", or quantize what this makes: podium train {' '.join(map(shell_word, (*words, '-o', tuned)))}"


@dataclass(frozen=True)
class _Sample:
    """Images that a network is evaluated on before and after it is quantised.

    Args:
        images: (N, S, S, C) uint8.
        labels: (N,).
        logits: (N, K) of the network before it is quantised.
    """

    images: np.ndarray
    labels: np.ndarray
    logits: np.ndarray

    @classmethod
    def of(cls, bundle: Bundle, data: Dataset, split: str, limit: int) -> _Sample:
        """At most so many images of a split."""
        images, labels = squares(data, bundle, limit, split)
        return cls(images, labels, answer(bundle, images)[0])

    def compare(self, made: Exported) -> Paired:
        """The network before and after."""
        return paired(self.logits, _logits(made, self.images), self.labels)


@dataclass(frozen=True)
class _Work:
    """What every attempt at a network in int8 needs.

    Args:
        bundle: the network.
        data: with the training images that the ranges are measured on.
        how: the options.
        folder: where the network in int8 is written; a later attempt writes over the earlier one.
        say: called with a line for people.
    """

    bundle: Bundle
    data: Dataset
    how: Options
    folder: Path
    say: Say

    def rounded(
        self, model: Any, qat: Path, progress: NamedProgress
    ) -> tuple[Exported, dict[str, Any], dict[str, Any] | None]:
        """Quantise the network, after a fine-tuning if it loses too much without one on images that do not decide.

        These are the validation images where test images decide, and training images where validation images do.

        Args:
            model: the ONNX of the network.
            qat: the folder of the fine-tuning.
            progress: called after every step of it.

        Returns:
            The network in int8, its card, and what chose whether to fine-tune: {split, the fields of the pair, drop,
            fine_tuned}; None where nothing was to choose.
        """
        made, card = self.attempt(self.bundle, model)
        if not self.how.qat or set(self.data.classes) != set(self.bundle.classes):
            return made, card, None
        split = "val" if deciding_split(self.data) == "test" and "val" in self.data.splits else "train"
        pair = _Sample.of(self.bundle, self.data, split, min(CHOOSING, self.how.limit or CHOOSING)).compare(made)
        chose = {"split": split, **asdict(pair), "drop": pair.drop, "fine_tuned": pair.drop > self.how.tolerance}
        if chose["fine_tuned"]:
            lost = f"{100 * pair.drop:.2f} points are lost on {pair.n:,} {SPLITS.get(split, 'training')} images"
            self.say(f"{lost}, more than the tolerance. Fine-tuning with int8's rounding: {qat}")
            tuned = fine_tuned(self.bundle, self.data, qat, self.how.epochs, progress, self.how.device)
            made, card = self.attempt(tuned, _float(tuned, self.how.heat_map))
        return made, card, chose

    def attempt(self, network: Bundle, model: Any) -> tuple[Exported, dict[str, Any]]:
        """Quantise a network, of which `model` is the ONNX, into the folder; returns it with its card."""
        made, card = _int8(network, model, self.data, self.how, self.folder)
        self.say(f"int8 {card['how']}, ranges measured on {card['made']['calibration_images']} training images")
        return made, card


def made_file(folder: Path, engine: Engine) -> Path:
    """The file of a network in int8."""
    return folder / (MODEL_IR if engine == "openvino" else MODEL)


def _logits(made: Exported, images: np.ndarray) -> np.ndarray:
    return np.concatenate([made.logits_and_probabilities(images[i : i + 16])[0] for i in range(0, len(images), 16)])


def _float(bundle: Bundle, heat_map: bool) -> Any:
    p = bundle.preprocessing
    return onnx_model(graph_of(bundle, True, heat_map), p.image_size, p.channels)


def _int8(bundle: Bundle, model: Any, data: Dataset, how: Options, folder: Path) -> tuple[Exported, dict[str, Any]]:
    """A network in int8 as a file in a folder, and its card."""
    calibration, _ = squares(data, bundle, CALIBRATION, "train")
    made = {"by": "quantize", "engine": how.engine, "calibration_images": len(calibration)}
    card = {**card_of(bundle, True, how.heat_map), "dtype": "int8", "made": made}
    if how.engine == "openvino":
        content = sealed_bytes(model, card)
        save_ir(int8.openvino_int8(content, calibration), card, folder / MODEL_IR)
        return load_exported(folder / MODEL_IR), {**card, "how": "by NNCF"}
    rounding = _onnx(model, calibration, bundle, card, folder / MODEL)
    return load_exported(folder / MODEL, engine="onnxruntime"), {**card, "how": rounding}


def _onnx(model: Any, images: np.ndarray, bundle: Bundle, card: dict[str, Any], path: Path) -> str:
    """Write the candidate for rounding the weights whose first classes are the network's own on most training images."""
    expected = answer(bundle, images)[0].argmax(1)
    best, agreed = b"", -1.0
    how = ""
    for rounding in int8.roundings(int8.has_vnni()):
        content = sealed_bytes(int8.onnx_int8(model, images, rounding), card)
        path.write_bytes(content)
        made = load_exported(path, engine="onnxruntime")
        agreement = float((_logits(made, images).argmax(1) == expected).mean())
        if agreement > agreed:
            best, agreed, how = content, agreement, str(rounding)
    path.write_bytes(best)
    return how


def _table(bundle: Bundle, before: Path, after: Path, deciding: _Sample, how: Options) -> list[dict[str, Any]]:
    """Before and after, in the engines that are here: accuracy, size, speed.

    Args:
        bundle: the network before.
        before: its ONNX file.
        after: the folder with the network in int8.
        deciding, how: the images and the options.
    """
    made = made_file(after, how.engine)
    here = tuple(e for e in FILE_ENGINES if engines.is_here(e))
    timing = engine_speed.Timing(how.seconds, batches=BATCHES)
    images, labels = deciding.images, deciding.labels
    shown = images[:256]
    reference = deciding.logits[: len(shown)].argmax(1)
    rows = []
    for name, runners, files in (
        ("before", engines.runners_of(bundle, ("eager",), timing.threads), [before]),
        ("before", engines.file_runners(before, here, timing.threads), [before]),
        ("after", engines.file_runners(made, (how.engine,), timing.threads), [made, made.with_suffix(".bin")]),
    ):
        size = sum(path.stat().st_size for path in files if path.exists())
        for runner in runners:
            if isinstance(runner, engines.Absent):
                continue
            got = deciding.logits
            if runner.engine != "eager":  # whose answers are those
                got = np.concatenate([runner.call(images[i : i + 16])[0] for i in range(0, len(images), 16)])
            share = float((got.argmax(1) == labels).mean())
            error = half_wilson(share, len(labels))
            accuracy = {"name": name, "top1": share, "error": error, "n": len(labels), "size_bytes": size}
            timed = engine_speed.time_engines(name, iter([runner]), shown, reference, None, timing)
            rows += [{**accuracy, **row.to_dict()} for row in timed if isinstance(row, engine_speed.EngineRow)]
    return rows
