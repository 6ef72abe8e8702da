"""`podium.export` and `podium.quantize`: a trained network as a file for deployment, and in 8-bit integers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Unpack

from podium.api.run_images import Run, bundle_of, images_for, reading_of
from podium.bars import training_progress
from podium.calls import public
from podium.compression import quantize as quantizing
from podium.compression.shrink import NamedProgress
from podium.data.dataset import Dataset
from podium.data.reading import ReadingFields
from podium.deployment import export as exports
from podium.deployment.runtime import Engine


@public
def export(
    run: Run,
    out: str | Path,
    *,
    data: str | Path | Dataset | None = None,
    format: Literal["onnx", "openvino", "torch", "triton"] | None = None,
    preprocessing: Literal["inside", "beside"] = "inside",
    heat_map: bool = False,
    **reading: Unpack[ReadingFields],
) -> exports.Parity:
    """Write a run as one file that gives the run's answers. `podium.load` reads it, without torch if it is ONNX or OpenVINO.

    Args:
        run: a run folder or bundle.
        out: the file: `.onnx`, `.xml` (OpenVINO, with a `.bin` beside it) or `.pt2` (torch.export); a new folder for "triton".
        data: the images on which the file's answers are compared with the run's; None takes the run's own.
        format: "onnx", "openvino" or "torch", if the file's name does not say it; or "triton", for a model of NVIDIA's Triton
            Inference Server.
        preprocessing: "inside" the graph, whose input is uint8 pixels; or "beside" it in the card, with normalised float32
            as the input.
        heat_map: the file also gives a heat map of its answer, (N, h, w) float32 in 0..1 over the square that it sees.
        reading: image_column=, label_column=, split_column= and class_from=, as for `load_data`; those of the run where
            `data` is its own.

    Returns:
        The differences between the file's answers and the run's on 64 images.

    Raises:
        UsageError: a heat map is wanted of a network whose last feature map is a single place.
        NumericError: an answer differs by more than 1e-4; no file is left.
    """
    how = reading_of("export", reading, data, ["run", "out", "data", "format", "preprocessing", "heat_map"])
    model = bundle_of(run)
    images = images_for(model, data, to_train=False, reading=how)
    return exports.export(model, out, images, format=format, preprocessing=preprocessing, heat_map=heat_map)


@public
def quantize(
    run: Run,
    data: str | Path | Dataset | None,
    out: str | Path,
    *,
    engine: Engine = "onnxruntime",
    tolerance: float = 0.005,
    accept_unproven: bool = False,
    limit: int | None = None,
    seconds: float = 1.0,
    qat: bool = True,
    epochs: int | None = None,
    heat_map: bool = False,
    device: str = "auto",
    say: quantizing.Say = lambda _: None,
    progress: NamedProgress | bool | None = None,
    **reading: Unpack[ReadingFields],
) -> quantizing.Quantized:
    """Write a run in 8-bit integers, as a new folder that `podium.load` reads.

    Args:
        run: a run folder or bundle.
        data: its training images measure the ranges of the activations, and its test images decide whether the result is
            accurate enough, or its validation images where there are no others; None takes the run's own.
        out: a new folder.
        engine: "onnxruntime", or "openvino".
        tolerance: the accepted loss of top-1 accuracy, as a fraction, which the images must show at 95 %.
        accept_unproven: take the result where the images are too few to tell. Otherwise its folder's name ends in "-unproven".
        limit: the largest number of images that decide. If None: all that there are, up to a gigabyte of them.
        seconds: the time to measure each engine and batch size for.
        qat: if more accuracy is lost on images that do not decide, fine-tune with int8's rounding first (in `out`/qat).
        epochs: the length of that fine-tuning; the recipe's if None.
        heat_map: the model also gives a heat map of its answer, as of `export`.
        device: what computes that fine-tuning: "auto", "cpu", "cuda", "cuda:1" or "mps".
        say: called with each message for people.
        progress: a function that is called with (which network, steps done, steps in all, what to show) after each step of
            the fine-tuning; False for nothing. If None: a bar in a notebook or a terminal.
        reading: as for `export`.

    Returns:
        The folder, the gate's decision, and a table of before and after.

    Raises:
        DataError: the images could not show the tolerance if both networks had the same ones right.
        NumericError: more of the top-1 accuracy is lost than `tolerance` allows; no model is left.
    """
    others = [
        "run",
        "data",
        "out",
        "engine",
        "tolerance",
        "limit",
        "seconds",
        "qat",
        "epochs",
        "heat_map",
        "device",
        "say",
        "progress",
    ]
    how = reading_of("quantize", reading, data, others)
    model = bundle_of(run)
    with training_progress(progress, named=True) as heard:
        return quantizing.quantize(
            model,
            images_for(model, data, reading=how, given="as DATA, the second argument"),
            out,
            engine=engine,
            tolerance=tolerance,
            accept_unproven=accept_unproven,
            limit=limit,
            seconds=seconds,
            qat=qat,
            epochs=epochs,
            heat_map=heat_map,
            device=device,
            say=say,
            progress=heard,
        )
