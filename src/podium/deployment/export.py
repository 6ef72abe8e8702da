"""`podium export`: a run as an ONNX, OpenVINO or torch.export file or a model of Triton, compared with the run's own outputs before it is kept."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from podium import __version__
from podium.data.dataset import Dataset
from podium.data.preprocessing import Preprocessing
from podium.data.sampling import stratified
from podium.deployment.described import HEAT_MAP, OUTPUTS
from podium.deployment.graph import Graph, answer, graph_of
from podium.deployment.runtime import CLASS_MAP, Exported, load_exported
from podium.deployment.sealed import CARD, DIGEST, FORMAT, ZEROS, amend_ir, read_onnx, seal_ir, seal_onnx
from podium.deployment.triton import MODEL, refuse_existing, write_model
from podium.errors import NumericError, UsageError
from podium.explain.class_map import map_sides
from podium.explain.heat import span_of
from podium.files import json_text, without_folders, write_atomic
from podium.runs.bundle import SEAL, Bundle
from podium.weights.match import refuse_not_finite
from podium.weights.official import official_of

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}
TRITON = "triton"  # the format that is a folder
PREPROCESSING = ("inside", "beside")
OPSET = 18
TOLERANCE = 1e-4  # of probabilities; of logits too, times the largest of them where that is above 1
IMAGES = 64
LARGEST = 2**31 - 1  # bytes of a protocol-buffer message

Answer = Callable[
    [np.ndarray], tuple[np.ndarray, ...]
]  # (N, S, S, C) uint8 -> logits, probabilities, perhaps heat maps


@dataclass(frozen=True)
class Parity:
    """How far an export's outputs are from the run's, on real images.

    Args:
        images: how many.
        probabilities: the largest difference of one.
        logits: the same of logits.
        scale: the largest logit, or 1.
        agreement: share of images with the same first class.
        heat_maps: the largest difference of a place in the heat maps of these; None of a file without heat maps.
    """

    images: int
    probabilities: float
    logits: float
    scale: float
    agreement: float
    heat_maps: float | None = None

    @property
    def holds(self) -> bool:
        """Whether it is the same network in float32. Comparisons with what is not a number are false."""
        maps = self.heat_maps is None or self.heat_maps <= TOLERANCE
        return self.probabilities <= TOLERANCE and self.logits <= TOLERANCE * self.scale and maps

    def __str__(self) -> str:
        maps = "" if self.heat_maps is None else f"{self.heat_maps:.1e} of heat maps, "
        return (
            f"largest difference {self.probabilities:.1e} of probabilities, {self.logits:.1e} of logits up to {self.scale:.1f}, "
            f"{maps}top-1 agrees on {100 * self.agreement:.1f} % of {self.images} images"
        )


def squares(
    data: Dataset, bundle: Bundle | Exported, count: int, split: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Images of a data set, spread over it and its classes, as the network receives them.

    Args:
        count: at most so many.
        split: "test" where there is one, else "val", else "train", if None.

    Returns:
        (N, S, S, C) uint8 in RGB, and (N,) labels over the network's classes, -1 where it does not know the name.
    """
    bundle.preprocessing.check_channels()
    name = split or next(s for s in ("test", "val", "train") if s in data.splits)
    p = bundle.preprocessing
    images = data.splits[name].scaled(p.white)
    rows = stratified(images.labels, count)
    pixels = np.stack([p.square(images.image(int(i), p.channels)) for i in rows])
    known = np.array([bundle.classes.index(c) if c in bundle.classes else -1 for c in data.classes])
    return pixels, known[images.labels[rows]]


def parity(ours: Answer, bundle: Bundle, images: np.ndarray) -> Parity:
    """Compare an export with the bundle it came from.

    Args:
        ours: the export; where it has heat maps, they are compared too.
        images: (N, S, S, C) uint8 in RGB.
    """
    got = [ours(images[i : i + 16]) for i in range(0, len(images), 16)]
    ours_logits, ours_probabilities, *ours_maps = (np.concatenate(part) for part in zip(*got, strict=True))
    logits, probabilities, *maps = answer(bundle, images, heat_map=bool(ours_maps))
    same = ours_logits.argmax(1) == logits.argmax(1)
    return Parity(
        len(images),
        float(np.abs(ours_probabilities - probabilities).max()),
        float(np.abs(ours_logits - logits).max()),
        max(1.0, float(np.abs(logits).max())),
        float(same.mean()),
        float(np.abs(ours_maps[0] - maps[0])[same].max(initial=0)) if maps else None,
    )


def export(
    bundle: Bundle,
    out: str | Path,
    data: Dataset,
    *,
    format: str | None = None,
    preprocessing: str = "inside",
    heat_map: bool = False,
) -> Parity:
    """Write a run as a file that carries its classes and preprocessing and gives the run's predictions.

    Args:
        bundle: the run.
        out: the file, written over if it is there; of OpenVINO the `.xml`, beside which comes a `.bin`; of Triton a new folder.
        data: on 64 of its images the file is compared with the run, from bytes to probabilities.
        format: "onnx", "openvino", "torch" or "triton"; from the file's name if None.
        preprocessing: "inside": uint8 (N, S, S, C) in, the graph normalises; "beside": float32 (N, C, S, S), and the card
            says how.
        heat_map: give a third output, the heat map of the answer (see `ClassMap`).

    Raises:
        UsageError: the name or format is not one of these, a network of more than 2 GB, or one that has no heat map.
        NumericError: the file gives other predictions; no file is left.
    """
    out = Path(out)
    format = _format_of(out, format)
    if preprocessing not in PREPROCESSING:
        raise UsageError(f"preprocessing: {preprocessing!r}", f"give {' or '.join(PREPROCESSING)}")
    refuse_not_finite(bundle.model.state_dict(), bundle.model.spec["model"])
    inside = preprocessing == "inside"
    graph, card = graph_of(bundle, inside, heat_map), card_of(bundle, inside, heat_map)
    images, _ = squares(data, bundle, IMAGES)
    out.parent.mkdir(parents=True, exist_ok=True)
    # Made and compared in a folder beside it: an export that fails goes with the folder, and an earlier file stays.
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as folder:
        made = Path(folder) / out.name
        ours = _torch(graph, card, made) if format == "torch" else _onnx(graph, card, made, format)
        found = parity(ours, bundle, images)
        if not found.holds:
            raise NumericError(f"{out}: the export answers differently: {found}", "no file is left; report the network")
        for path in sorted(Path(folder).iterdir()):  # the .bin before the .xml that names it
            os.replace(path, out.parent / path.name)
    return found


def _format_of(out: Path, format: str | None) -> str:
    """The format that is meant, if it can be written there.

    Raises:
        UsageError: it is none, or the name is not that of a file of it.
    """
    if format == TRITON:
        refuse_existing(out)
        return format
    format = format or next((f for f, suffix in SUFFIXES.items() if suffix == out.suffix.lower()), None)
    if format is None or format not in SUFFIXES:
        raise UsageError(
            f"format: {format!r} for {out}" if format else f"{out}: the name says no format",
            f"end it in {', '.join(SUFFIXES.values())}, or give the format triton, which makes a folder",
        )
    if out.suffix.lower() != SUFFIXES[format] or out.is_dir():
        raise UsageError(f"{out}: not the name of a file of format {format}", f"end it in {SUFFIXES[format]}")
    return format


def card_of(bundle: Bundle, inside: bool, heat_map: bool = False) -> dict[str, Any]:
    """The card of an exported file: its network, classes, preprocessing, heat map and origin."""
    shown: dict[str, Any] = {}
    if heat_map:
        net, size = bundle.model, bundle.preprocessing.image_size
        height, width = map_sides(net, size)
        shown[HEAT_MAP] = {"height": height, "width": width, "span": span_of(net, CLASS_MAP, size)}
    kept = {k: v for k, v in bundle.card.items() if k not in ("format", "classes", "preprocessing", "sha256", SEAL)}
    return {
        **without_folders(kept),
        **_licence(bundle.card),
        "format": FORMAT,
        "spec": {k: list(v) if isinstance(v, tuple) else v for k, v in bundle.model.strip().spec.items()},
        "classes": list(bundle.classes),
        "preprocessing": bundle.preprocessing.to_dict(),
        "preprocessing_inside": inside,
        **shown,
        "dtype": "float32",
        "opset": OPSET,
        "parent": {"sha256": bundle.card.get("sha256")},
        "exported_by": {"podium": __version__, "torch": torch.__version__},
    }


def _licence(card: dict[str, Any]) -> dict[str, str]:
    """The licence of the official weights that a run started from; nothing of other weights."""
    parent = card.get("parent")
    record = official_of(parent) if isinstance(parent, str) else None
    return {} if record is None else {"licence": record.licence or "not stated by its source"}


def onnx_bytes(graph: Graph, card: dict[str, Any]) -> bytes:
    """The graph as a self-contained ONNX file, with any number of images a batch."""
    proto = onnx_model(graph, card["preprocessing"]["image_size"], card["preprocessing"]["channels"])
    return sealed_bytes(proto, card)


def onnx_model(graph: Graph, size: int, channels: int) -> Any:
    """The graph as onnx's `ModelProto`, without names of this machine's files."""
    example = graph.example(size, channels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporter about itself
        quiet = logging.getLogger("torch.onnx")
        level = quiet.level
        quiet.setLevel(logging.ERROR)
        try:
            program = torch.onnx.export(
                graph,
                (example,),
                dynamo=True,
                dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
                input_names=["image"],
                output_names=[*OUTPUTS, *([HEAT_MAP] if graph.heat_map else [])],
                opset_version=OPSET,
                verbose=False,
            )
        finally:
            quiet.setLevel(level)
    proto = program.model_proto  # type: ignore[union-attr]
    del proto.metadata_props[:], proto.graph.metadata_props[:]
    for part in (*proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        del part.metadata_props[:]  # lines of Python with their paths
        part.doc_string = ""
    return proto


def sealed_bytes(proto: Any, card: dict[str, Any]) -> bytes:
    """An ONNX model with its card and its digest.

    Raises:
        UsageError: it is larger than 2 GB, which one file cannot hold.
    """
    if proto.ByteSize() > LARGEST - 2**20:
        raise UsageError(
            f"{proto.ByteSize() / 1e9:.1f} GB: an ONNX file holds 2 GB, and weights outside it are refused",
            "export --format openvino or torch",
        )
    proto.producer_name, proto.producer_version = "podium", __version__
    del proto.metadata_props[:]
    proto.metadata_props.add(key=CARD, value=json_text(card))
    proto.metadata_props.add(key=DIGEST, value=ZEROS.decode())
    return seal_onnx(proto.SerializeToString())


def _onnx(graph: Graph, card: dict[str, Any], path: Path, format: str) -> Answer:
    """Write a file of ONNX or OpenVINO, or a model of Triton, and read it again as anybody would."""
    content = onnx_bytes(graph, card)
    if format == TRITON:
        write_model(path, content, card)
        return load_exported(path / MODEL).outputs_of
    if format == "openvino":
        write_ir(content, card, path)
    else:
        write_atomic(path, content)
    return load_exported(path).outputs_of


def write_ir(onnx: bytes, card: dict[str, Any], path: Path) -> None:
    """Write an ONNX file's network as OpenVINO's `.xml` and `.bin`, in float32."""
    import openvino as ov

    save_ir(ov.Core().read_model(onnx), card, path)


def save_ir(model: Any, card: dict[str, Any], path: Path) -> None:
    """Write an OpenVINO model as `.xml` and `.bin`, with its card and its digest."""
    import openvino as ov

    model.set_rt_info(json_text(card), ["podium", "card"])
    model.set_rt_info(ZEROS.decode(), ["podium", "sha256"])
    ov.save_model(model, path, compress_to_fp16=False)
    write_atomic(path, seal_ir(path.read_bytes(), path.with_suffix(".bin").read_bytes()))


def seal_again(path: Path, more: dict[str, Any]) -> None:
    """Write into the card of an ONNX or OpenVINO file of ours what is known later.

    Args:
        path: of the file.
        more: entries of the card.
    """
    content = path.read_bytes()
    if path.suffix == SUFFIXES["openvino"]:
        write_atomic(path, amend_ir(path.name, content, path.with_suffix(".bin").read_bytes(), more))
        return
    import onnx

    card = {**read_onnx(path.name, content).card, **more}
    write_atomic(path, sealed_bytes(onnx.load_model_from_string(content), card))


def _torch(graph: Graph, card: dict[str, Any], path: Path) -> Answer:
    """Write a program of torch.export, and read it again."""
    example = graph.example(card["preprocessing"]["image_size"], card["preprocessing"]["channels"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(graph, (example,), dynamic_shapes={"image": {0: torch.export.Dim("batch")}})
        for node in program.graph.nodes:  # lines of Python with their paths
            for key in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node"):
                node.meta.pop(key, None)
        torch.export.save(program, path, extra_files={"podium.json": json_text(card)})
        again = torch.export.load(path).module()  # our own file: torch opens it by pickle
    plain = Graph(torch.nn.Identity(), Preprocessing.from_dict(card["preprocessing"]), inside=True)

    @torch.inference_mode()
    def ours(images: np.ndarray) -> tuple[np.ndarray, ...]:
        x = torch.tensor(images)
        return tuple(output.numpy() for output in again(x if graph.inside else plain(x)[0]))

    return ours
