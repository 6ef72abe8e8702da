"""`podium quantize`: a run in 8-bit integers, beside what it was, and only if it still knows the same images."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from podium.bundle import CARD, Bundle
from podium.compression import int8
from podium.compression.gate import judge, paired, told
from podium.data.dataset import Dataset
from podium.deployment import bench
from podium.deployment.export import card_of, onnx_model, save_ir, sealed_bytes, squares
from podium.deployment.graph import answer, graph_of
from podium.deployment.runtime import MODEL, MODEL_IR, Exported, cores, load_exported
from podium.errors import DataError, NumericError, UsageError
from podium.files import write_atomic

ENGINES = ("onnxruntime", "openvino")
CALIBRATION, JUDGED = 256, 2000  # images that ranges are measured on, and that it is judged by at most
REPORT = "quantize.json"
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


def quantize(
    bundle: Bundle,
    data: Dataset,
    out: str | Path,
    *,
    engine: str = "onnxruntime",
    tolerance: float = 0.005,
    limit: int = JUDGED,
    seconds: float = 1.0,
    say: Say = lambda _: None,
) -> Quantized:
    """Write a run's network in int8 as a new folder: the model, `card.json` that names the parent, and the table.

    Args:
        bundle: the run.
        data: its training images measure the ranges; its validation images, or where it has none its test images, judge.
        out: a new folder.
        engine: "onnxruntime" (its static quantiser), or "openvino" (NNCF).
        tolerance: loss of top-1 that is accepted, as a fraction, by a paired test on the same images.
        limit: images that judge, at most.
        seconds: of timing each engine and batch.
        say: is told what happens.

    Raises:
        UsageError: no such engine, or something is at `out`.
        NumericError: more is lost than that; nothing is left.
    """
    out = Path(out)
    if engine not in ENGINES:
        raise UsageError(f"engine: {engine!r}", f"give {' or '.join(ENGINES)}")
    if not 0 <= tolerance < 1:
        raise UsageError(f"tolerance: {tolerance}", "give a fraction such as 0.005")
    if limit < 1:
        raise UsageError(f"limit: {limit}", "give at least 1")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: exists already", "name another folder with -o")
    split = "val" if "val" in data.splits else "test"
    calibration, _ = squares(data, bundle, CALIBRATION, "train")
    images, labels = squares(data, bundle, limit, split)
    if (labels < 0).any():
        raise DataError(f"{data.name} has classes the network was not trained on", "give the data of the run")
    before, _ = answer(bundle, images)
    float_model = onnx_model(graph_of(bundle, True), bundle.preprocessing.image_size, bundle.preprocessing.channels)
    card = card_of(bundle, True)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".quantize-") as scratch:
        folder = Path(scratch) / "made"
        folder.mkdir()
        (Path(scratch) / "float.onnx").write_bytes(sealed_bytes(float_model, card))
        card |= {"dtype": "int8", "made": {"by": "quantize", "engine": engine, "calibration_images": len(calibration)}}
        if engine == "openvino":
            made, how = _openvino((Path(scratch) / "float.onnx").read_bytes(), calibration, card, folder), "by NNCF"
        else:
            made, how = _onnx(float_model, calibration, bundle, card, folder)
        say(f"int8 {how}, ranges measured on {len(calibration)} training images")
        gate = judge(paired(before, _logits(made, images), labels), tolerance)
        if not gate["passed"]:
            raise NumericError(
                f"int8 loses too much: {told(gate)}", f"{out} is not made and the run stays; --tolerance allows more"
            )
        rows = _table(bundle, Path(scratch) / "float.onnx", folder, images, before, labels, engine, seconds)
        facts = {"gate": gate, "split": split, "how": how}
        files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
        write_atomic(
            folder / CARD, json.dumps({**card, **facts, "sha256": files}, indent=1, ensure_ascii=False).encode()
        )
        write_atomic(folder / REPORT, json.dumps({**facts, "rows": rows}, indent=1).encode())
        if out.exists():
            out.rmdir()
        shutil.move(os.fspath(folder), out)
    return Quantized(out, gate, rows)


def _logits(made: Exported, images: np.ndarray) -> np.ndarray:
    return np.concatenate([made.logits_and_probabilities(images[i : i + 16])[0] for i in range(0, len(images), 16)])


def _onnx(model: Any, images: np.ndarray, bundle: Bundle, card: dict[str, Any], folder: Path) -> tuple[Exported, str]:
    """Of the ways to round the weights, the one whose first classes are the network's own on most training images."""
    expected = answer(bundle, images)[0].argmax(1)
    best, agreed = b"", -1.0
    how = ""
    for way in int8.ways(int8.has_vnni()):
        content = sealed_bytes(int8.onnx_int8(model, images, way), card)
        (folder / MODEL).write_bytes(content)
        agreement = float(
            (_logits(load_exported(folder / MODEL, engine="onnxruntime"), images).argmax(1) == expected).mean()
        )
        if agreement > agreed:
            best, agreed, how = content, agreement, str(way)
    (folder / MODEL).write_bytes(best)
    return load_exported(folder / MODEL, engine="onnxruntime"), how


def _openvino(content: bytes, images: np.ndarray, card: dict[str, Any], folder: Path) -> Exported:
    save_ir(int8.openvino_int8(content, images), card, folder / MODEL_IR)
    return load_exported(folder / MODEL_IR)


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
    reference, shown = logits.argmax(1), images[:256]
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
            for row in bench.bench(name, iter([runner]), shown, reference, **how):
                rows.append({"name": name, "top1": share, "error": error, "n": len(labels), "size_bytes": size, **row})
    return rows
