"""A float32 graph in 8-bit integers: for ONNX Runtime by its static quantiser, for OpenVINO by NNCF."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from podium.platform import processor_features

BATCH = 8  # images the ranges are measured on at once
# What is computed in integers; all else stays float32 between them.
QUANTIZED = ["Conv", "Gemm", "MatMul", "Add", "Mul", "Relu", "Clip", "Sigmoid", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool"]  # fmt: skip


@dataclass(frozen=True)
class Rounding:
    """How weights become integers.

    Args:
        per_channel: a scale for each filter, else one for all of a layer.
        reduce_range: weights of 7 bits: without VNNI, pairs of products of 8 bits saturate in 16 [onnxruntime#11415].
    """

    per_channel: bool
    reduce_range: bool

    def __str__(self) -> str:
        return f"{'per channel' if self.per_channel else 'per tensor'}{', 7-bit weights' if self.reduce_range else ''}"


def has_vnni() -> bool:
    """Whether this processor adds products of 8 bits in 32."""
    return bool(processor_features() & {"avx512_vnni", "avx_vnni", "asimddp", "i8mm"})


def roundings(vnni: bool) -> tuple[Rounding, ...]:
    """The candidates for a processor: one where it makes no difference, else four, of which accuracy chooses."""
    if vnni:
        return (Rounding(True, False),)
    return tuple(Rounding(channel, reduced) for channel in (True, False) for reduced in (False, True))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantisers' advice to people who would set them up by hand."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def onnx_int8(model: Any, images: np.ndarray, rounding: Rounding) -> Any:
    """A float32 ONNX model with uint8 activations and int8 weights, as a `ModelProto`.

    Args:
        model: a `ModelProto` with one uint8 input.
        images: (N, S, S, C) uint8, on which the ranges of activations are measured.
        rounding: how the weights are rounded.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        """The images, batch after batch."""

        def __init__(self) -> None:
            self.batches = iter(images[i : i + BATCH] for i in range(0, len(images), BATCH))

        def get_next(self) -> dict[str, np.ndarray] | None:
            """The next batch, None after the last."""
            batch = next(self.batches, None)
            return None if batch is None else {"image": batch}

    kinds = [node.op_type for node in model.graph.node]
    before = [node.name for node in model.graph.node[: kinds.index("Conv")]]  # the preprocessing
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "int8.onnx"
        quantize_static(
            onnx.ModelProto.FromString(model.SerializeToString()),
            path,
            Reader(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=rounding.per_channel,
            reduce_range=rounding.reduce_range,
            op_types_to_quantize=QUANTIZED,
            nodes_to_exclude=[*before, *beside_the_answer(model.graph)],
        )
        return onnx.load(path)


def beside_the_answer(graph: Any) -> list[str]:
    """Names of the nodes of a `GraphProto` that its first two outputs, logits and probabilities, do not need: those of a heat map."""
    needed = {output.name for output in graph.output[:2]}
    names = []
    for node in reversed(graph.node):  # ONNX has them in an order in which they can be computed
        if needed.intersection(node.output):
            needed.update(node.input)
        else:
            names.append(node.name)
    return names


def openvino_int8(onnx: bytes, images: np.ndarray) -> Any:
    """A float32 ONNX file as an OpenVINO model in int8, by NNCF.

    Args:
        images: (N, S, S, C) uint8, on which the ranges of activations are measured.
    """
    import openvino as ov

    with _quiet():
        import nncf

        nncf.set_log_level(logging.ERROR)
        model = ov.Core().read_model(onnx)
        batches = [images[i : i + 1] for i in range(len(images))]
        answer = _needed([output.get_node() for output in model.outputs[:2]])
        beside = {op.get_friendly_name() for op in model.get_ordered_ops()} - answer  # a heat map's
        stay_float = nncf.IgnoredScope(names=sorted(beside), validate=False)
        return nncf.quantize(model, nncf.Dataset(batches), subset_size=len(batches), ignored_scope=stay_float)


def _needed(nodes: list[Any]) -> set[str]:
    """Names of nodes of OpenVINO's graph, and of all that they are computed from."""
    found: set[str] = set()
    while nodes:
        node = nodes.pop()
        if node.get_friendly_name() not in found:
            found.add(node.get_friendly_name())
            nodes += [value.get_node() for value in node.input_values()]
    return found
