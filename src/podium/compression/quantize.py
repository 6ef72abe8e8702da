"""`podium quantize`: a run in 8-bit integers, beside what it was, and only if it still knows the same images."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from podium.calls import public
from podium.compression import int8
from podium.compression.gate import judge, told
from podium.compression.qat import accustomed
from podium.compression.shrink import Watch
from podium.data.dataset import Dataset
from podium.deployment import bench
from podium.deployment.export import card_of, onnx_model, save_ir, sealed_bytes, squares
from podium.deployment.graph import answer, graph_of
from podium.deployment.runtime import MODEL, MODEL_IR, Exported, load_exported
from podium.errors import DataError, NumericError, UsageError
from podium.evaluation.metrics import paired
from podium.files import scratch_folder, write_json
from podium.platform import cores
from podium.runs.bundle import CARD, Bundle

ENGINES = ("onnxruntime", "openvino")
CALIBRATION, JUDGED = 256, 2000  # images that ranges are measured on, and that it is judged by at most
REPORT, QAT = "quantize.json", "qat"
BATCHES = (1, 32)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Quantized:
    """A run in int8.

    Args:
        path: the folder.
        gate: as `gate.judge` gives it.
        rows: before and after, in each engine: top1, error (95 %), size_bytes, and what `bench` measures.
    """

    path: Path
    gate: dict[str, Any]
    rows: list[dict[str, Any]]


@public
def quantize(
    bundle: Bundle,
    data: Dataset,
    out: str | Path,
    *,
    engine: str = "onnxruntime",
    tolerance: float = 0.005,
    limit: int = JUDGED,
    seconds: float = 1.0,
    qat: bool = True,
    epochs: int | None = None,
    say: Say = lambda _: None,
    watch: Watch = lambda *_: None,
) -> Quantized:
    """Write a run's network in int8 as a new folder: the model, `card.json` that names the parent, and the table.

    Args:
        bundle: the run.
        data: its training images measure the ranges; its validation images, or where it has none its test images, judge.
        out: a new folder, or one whose fine-tuning was stopped.
        engine: "onnxruntime" (its static quantiser), or "openvino" (NNCF).
        tolerance: loss of top-1 that is accepted, as a fraction, by a paired test on the same images.
        limit: images that judge, at most.
        seconds: of timing each engine and batch.
        qat: where more is lost than that, fine-tune under int8's rounding (`out`/qat) and try once more.
        epochs: of that fine-tuning; the recipe's if None.
        say: is told what happens.
        watch: the same of the fine-tuning's steps.

    Raises:
        UsageError: no such engine, or something is at `out`.
        NumericError: more is lost than that; nothing is left but the fine-tuned run, if there was one.
    """
    out = Path(out)
    if engine not in ENGINES:
        raise UsageError(f"engine: {engine!r}", f"give {' or '.join(ENGINES)}")
    if not 0 <= tolerance < 1:
        raise UsageError(f"tolerance: {tolerance}", "give a fraction such as 0.005")
    if not 0 <= seconds < 3600:
        raise UsageError(f"seconds: {seconds}", "give at least 0 and less than 3600")
    if limit < 1:
        raise UsageError(f"limit: {limit}", "give at least 1")
    if out.exists() and (not out.is_dir() or any(path.name != QAT for path in out.iterdir())):
        raise UsageError(f"{out}: exists already", "name another folder with -o")
    split = "val" if "val" in data.splits else "test"
    images, labels = squares(data, bundle, limit, split)
    if (labels < 0).any():
        raise DataError(f"{data.name} has classes the network was not trained on", "give the data of the run")
    before, _ = answer(bundle, images)
    out.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(out) as scratch:
        folder, base = scratch / "made", scratch / "float.onnx"
        folder.mkdir()

        def attempt(network: Bundle, model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
            """A network, of which `model` is the ONNX, in int8 in the folder: its card, and what the gate says."""
            made, card = _int8(network, model, data, engine, folder)
            say(f"int8 {card['how']}, ranges measured on {card['made']['calibration_images']} training images")
            return card, judge(paired(before, _logits(made, images), labels), tolerance)

        model = _float(bundle)
        base.write_bytes(sealed_bytes(model, card_of(bundle, True)))
        card, gate = attempt(bundle, model)
        plain, mend = None, f"{out} is not made and the run stays; --tolerance allows more"
        if qat and not gate["passed"] and set(data.classes) == set(bundle.classes):
            say(f"{told(gate)}. Fine-tuning under int8's rounding: {out / QAT}")
            plain, mend = gate, f"{mend}, --epochs fine-tunes longer (with another -o)"
            tuned = accustomed(bundle, data, out / QAT, epochs, watch)
            card, gate = attempt(tuned, _float(tuned))
        if not gate["passed"]:
            raise NumericError(f"int8 loses too much: {told(gate)}", mend)
        rows = _table(bundle, base, folder, images, before, labels, engine, seconds)
        facts = {"gate": gate, "gate_without_qat": plain, "split": split}
        files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
        card = {**card, **facts, "sha256": files}
        write_json(folder / CARD, card)
        write_json(folder / REPORT, {**facts, "how": card["how"], "rows": rows})
        out.mkdir(exist_ok=True)
        with _claimed(out / REPORT):
            for name in (*files, REPORT, CARD):
                os.replace(folder / name, out / name)
    return Quantized(out, gate, rows)


@contextlib.contextmanager
def _claimed(path: Path) -> Iterator[None]:
    """Within it the folder of a file is this process's to fill; another that makes the same is refused."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        what = f"{path.parent}: was made by another process meanwhile"
        raise UsageError(what, "use that, or name another folder with -o") from None
    yield


def _logits(made: Exported, images: np.ndarray) -> np.ndarray:
    return np.concatenate([made.logits_and_probabilities(images[i : i + 16])[0] for i in range(0, len(images), 16)])


def _float(bundle: Bundle) -> Any:
    p = bundle.preprocessing
    return onnx_model(graph_of(bundle, True), p.image_size, p.channels)


def _int8(bundle: Bundle, model: Any, data: Dataset, engine: str, folder: Path) -> tuple[Exported, dict[str, Any]]:
    """A network in int8 as a file in a folder, and its card."""
    calibration, _ = squares(data, bundle, CALIBRATION, "train")
    made = {"by": "quantize", "engine": engine, "calibration_images": len(calibration)}
    card = {**card_of(bundle, True), "dtype": "int8", "made": made}
    if engine == "openvino":
        content = sealed_bytes(model, card)
        save_ir(int8.openvino_int8(content, calibration), card, folder / MODEL_IR)
        return load_exported(folder / MODEL_IR), {**card, "how": "by NNCF"}
    how = _onnx(model, calibration, bundle, card, folder / MODEL)
    return load_exported(folder / MODEL, engine="onnxruntime"), {**card, "how": how}


def _onnx(model: Any, images: np.ndarray, bundle: Bundle, card: dict[str, Any], path: Path) -> str:
    """Of the ways to round the weights, the one whose first classes are the network's own on most training images."""
    expected = answer(bundle, images)[0].argmax(1)
    best, agreed = b"", -1.0
    how = ""
    for way in int8.ways(int8.has_vnni()):
        content = sealed_bytes(int8.onnx_int8(model, images, way), card)
        path.write_bytes(content)
        made = load_exported(path, engine="onnxruntime")
        agreement = float((_logits(made, images).argmax(1) == expected).mean())
        if agreement > agreed:
            best, agreed, how = content, agreement, str(way)
    path.write_bytes(best)
    return how


def _table(
    bundle: Bundle,
    before: Path,
    after: Path,
    images: np.ndarray,
    logits: np.ndarray,
    labels: np.ndarray,
    engine: str,
    seconds: float,
) -> list[dict[str, Any]]:
    """Before and after, in the engines that are here: accuracy, size, speed."""
    made = after / (MODEL_IR if engine == "openvino" else MODEL)
    here = tuple(e for e in ENGINES if bench.is_here(e))
    how: dict[str, Any] = {"seconds": seconds, "threads": cores(), "batches": BATCHES, "macs": None}
    shown = images[:256]
    reference = logits[: len(shown)].argmax(1)
    rows = []
    for name, runners, files in (
        ("before", bench.runners(bundle, ("eager",), cores()), [before]),
        ("before", bench.file_runners(before, here, cores()), [before]),
        ("after", bench.file_runners(made, (engine,), cores()), [made, made.with_suffix(".bin")]),
    ):
        size = sum(path.stat().st_size for path in files if path.exists())
        for runner in runners:
            if isinstance(runner, tuple):
                continue
            got = np.concatenate([runner.call(images[i : i + 16])[0] for i in range(0, len(images), 16)])
            share = float((got.argmax(1) == labels).mean())
            error = 1.96 * (share * (1 - share) / len(labels)) ** 0.5
            timed = bench.bench(name, iter([runner]), shown, reference, **how)
            for row in [row for row in timed if "missing" not in row]:
                rows.append({"name": name, "top1": share, "error": error, "n": len(labels), "size_bytes": size, **row})
    return rows
