"""`podium.check`: everything that is wrong with a data set, and on request its likely label errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np

from podium.calls import public
from podium.data.check import check_images
from podium.data.check_report import Checked, CheckReport
from podium.data.images import Progress
from podium.data.label_errors import Features, add_label_errors
from podium.data.opening import MAX_PIXELS, check_max_pixels
from podium.data.reading import ReadingFields, from_keywords
from podium.data.record import Record, read_record
from podium.devices import float32, parse_device, pick_device
from podium.errors import UsageError


@public
def check(
    source: str | Path,
    progress: Progress | None = None,
    *,
    labels: bool = False,
    weights: str | None = None,
    max_pixels: int = MAX_PIXELS,
    group_from: str | None = None,
    group_column: str | None = None,
    device: str = "auto",
    **reading: Unpack[ReadingFields],
) -> CheckReport:
    """Check every image of a data set: whether it can be read, and how it compares with all others.

    Args:
        source: as for `load_data`.
        progress: called with (images checked, images in all).
        labels: whether to look for likely label errors too, which takes longer.
        weights: of a trained network, as `train` takes them: labels are checked by its features. None: by features that need
            no network, which suit small images.
        max_pixels: the largest width times height of an image that is opened; a larger one is a problem.
        group_from: as for `load_data`; groups in two splits and images without one are problems then.
        group_column: as for `load_data`, and then as `group_from`.
        device: what computes a network's features: "auto", "cpu", "cuda", "cuda:1" or "mps".
        reading: image_column=, label_column=, split_column= and class_from=, as for `load_data`.

    Returns:
        The problems and the counts.

    Raises:
        DataError: there is nothing to check.
        UsageError: there are weights, but labels are not to be checked; or the network has learned from these images.
        MachineError: the machine has no such device.
    """
    check_max_pixels(max_pixels)
    known = ["source", "progress", "labels", "weights", "max_pixels", "group_from", "group_column", "device"]
    how = from_keywords("check", reading, known)
    if weights is not None and not labels:
        raise UsageError("weights: they are used to check labels only", "give --labels too, or leave them out")
    if parse_device(device) not in ("auto", "cpu"):
        pick_device(device)  # refused at once where it is not here, also where nothing will compute on it
    features = _network_features(weights, device) if weights is not None else None
    report = check_images(source, progress, max_pixels, how, group_from, group_column)
    if labels:
        add_label_errors(report, features)
    return report


def _network_features(weights: str, device: str) -> Features:
    """Open a network now, so that a wrong name is said at once, and return what computes its features."""
    import torch

    from podium.training.transfer.source import read_source

    place, bundle = pick_device(device), read_source(weights).bundle
    net, preprocessing = bundle.model.eval().to(place), bundle.preprocessing
    record = read_record(bundle.folder) if bundle.folder is not None else None

    def features(images: Sequence[Checked]) -> np.ndarray:
        if record is not None:
            _refuse_learned(weights, record, images)
        rows = []
        with torch.inference_mode(), float32():
            for start in range(0, len(images), 32):
                some = images[start : start + 32]
                pixels = [preprocessing.square(i.images.image(i.row, preprocessing.channels)) for i in some]
                scale, offset = preprocessing.scale_and_offset()
                x = np.stack(pixels)
                x = (x if preprocessing.channel_order == "rgb" else x[..., ::-1]) * scale + offset
                batch = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2), np.float32)).to(place)
                pooled = net.head.pool(net.forward_features(batch))  # of LeNet a map, which its hidden layers make flat
                rows.append(net.head.hidden(pooled).float().cpu().numpy())
        return np.concatenate(rows)

    return features


def _refuse_learned(weights: str, record: Record, images: Sequence[Checked]) -> None:
    """Refuse a network that has learned from the labels that it would check: its features find wrong ones right."""
    keys = {id(source): source.contents() for source in {id(image.images): image.images for image in images}.values()}
    known = sum(bool(np.isin(keys[id(image.images)][image.row], record.learned)) for image in images)
    if known:
        what = f"weights: {weights} has learned from {known:,} of these {len(images):,} images, wrong labels among them"
        raise UsageError(
            what, "give weights that have not seen them, such as --weights torchvision:resnet18, or leave it out"
        )
