"""A model of NVIDIA's Triton Inference Server: the folder of an exported network in a model repository.

The fields of `config.pbtxt` are those of ModelConfig in
https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from podium.deployment.described import HEAT_MAP, OUTPUTS
from podium.errors import UsageError
from podium.files import write_atomic, write_text

CONFIG, LABELS, MODEL = "config.pbtxt", "labels.txt", Path("1") / "model.onnx"  # 1 is the model's version
BATCH = 8  # images that Triton hands to the network at once, at most
DELAY = 2000  # microseconds that an image waits for others


def refuse_existing(folder: Path) -> None:
    """Refuse to write a model where something is.

    Raises:
        UsageError: the folder is there and is not empty, or is a file.
    """
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    if folder.exists():
        what = f"{folder}: is there already, and format triton makes a folder"
        raise UsageError(what, "give a new folder: its name is the model's, the folder around it the model repository")


def write_model(folder: Path, content: bytes, card: dict[str, Any]) -> None:
    """Write the folder of a model.

    Args:
        folder: whose name is the model's.
        content: the network as ONNX.
        card: of the ONNX file.

    Raises:
        UsageError: the name of a class has a line end, which the file of labels cannot hold.
    """
    if broken := [name for name in card["classes"] if len(name.splitlines()) > 1]:
        what = f"class {broken[0]!r}: a name of several lines, and Triton's labels are one a line"
        raise UsageError(what, "name the class otherwise, or export as .onnx")
    (folder / MODEL).parent.mkdir(parents=True)
    write_atomic(folder / MODEL, content)
    write_text(folder / LABELS, "".join(f"{name}\n" for name in card["classes"]))
    write_text(folder / CONFIG, config(folder.name, card))


def config(name: str, card: dict[str, Any]) -> str:
    """The text of `config.pbtxt`: one input, the outputs, and batches that Triton makes of single requests.

    Args:
        name: of the model, which is that of its folder.
        card: of the ONNX file.
    """
    p, classes = card["preprocessing"], len(card["classes"])
    size, channels = p["image_size"], p["channels"]
    if card["preprocessing_inside"]:
        kind, order, sides = "TYPE_UINT8", "FORMAT_NHWC", (size, size, channels)
    else:
        kind, order, sides = "TYPE_FP32", "FORMAT_NCHW", (channels, size, size)
    outputs = [
        f'{{ name: "{name}" data_type: TYPE_FP32 dims: [{classes}] label_filename: "{LABELS}" }}' for name in OUTPUTS
    ]
    if HEAT_MAP in card:
        outputs.append(
            f'{{ name: "{HEAT_MAP}" data_type: TYPE_FP32 dims: {[card[HEAT_MAP][side] for side in ("height", "width")]} }}'
        )
    listed = ",\n".join(f"  {output}" for output in outputs)
    return f"""name: {json.dumps(name)}
backend: "onnxruntime"
max_batch_size: {BATCH}
input [
  {{ name: "image" data_type: {kind} format: {order} dims: {list(sides)} }}
]
output [
{listed}
]
dynamic_batching {{ max_queue_delay_microseconds: {DELAY} }}
"""
