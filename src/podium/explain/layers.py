"""What the layers hold: the filters of the first convolution, and feature maps of each stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from podium.explain.colours import colours
from podium.explain.last_map import as_input, undisturbed
from podium.explain.panels import Panel, Picture, fitted, short_name
from podium.models.convnet import ConvNet

FILTER, MAP = 48, 128  # pixels of the side of a filter and of a feature map in a picture
MAPS = 8  # of each stage


@dataclass(frozen=True)
class Layers:
    """The filters of the first convolution, and the feature maps of each stage that one image excites most.

    Args:
        name: of the image.
        photo: the image.
        filters: (M, C, k, k) float32, over the image's channels in the order red, green, blue; None where the first layer with
            weights is no convolution of the whole image.
        stages: name -> channels (M,) and their maps (M, h, w), those with the highest mean first.
        shapes: name -> (C, h, w) of the whole output.
    """

    name: str
    photo: Image.Image
    filters: np.ndarray | None
    stages: dict[str, tuple[np.ndarray, np.ndarray]]
    shapes: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, net: ConvNet, x: Tensor, name: str, photo: Image.Image, rgb: bool = True) -> Layers:
        """Look into a network while it sees an image.

        Args:
            net: the network, which is left as it is.
            x: (1, C, S, S), normalised.
            name: of the image.
            photo: the image.
            rgb: whether the network's order of channels is red, green, blue; the other is blue, green, red.
        """
        stages, shapes = {}, {}
        with undisturbed(net), torch.no_grad():
            for stage, out in net.walk(as_input(net, x)):
                maps = out[0].float().cpu().numpy().copy()  # the next stage may change it in place
                chosen = np.argsort(-maps.mean((1, 2)), kind="stable")[:MAPS]
                stages[stage], shapes[stage] = (chosen, maps[chosen]), maps.shape
        return cls(name, photo, first_filters(net, rgb), stages, shapes)

    def panels(self) -> list[Panel]:
        """The photo, the filters, and a row of maps for each stage, each from its lowest value to its highest."""
        rows = [Panel(short_name(self.name), [Picture(fitted(self.photo, 2 * MAP))])]
        if self.filters is not None:
            count, _, high, wide = self.filters.shape
            title = f"the {count} filters of the first convolution, {high} x {wide}"
            rows.append(Panel(title, [Picture(_as_image(one)) for one in self.filters]))
        for stage, (channels, maps) in self.stages.items():
            drawn = [Image.fromarray(colours(_scaled(one)).round().astype(np.uint8)) for one in maps]
            shown = [
                Picture(image.resize((MAP, MAP), Image.Resampling.NEAREST), f"{channel}")
                for image, channel in zip(drawn, channels, strict=True)
            ]
            size = " x ".join(map(str, self.shapes[stage]))
            rows.append(Panel(f"{stage}: {len(shown)} of {size}, those with the highest mean", shown))
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the filters, and the channels with the highest mean, without their maps."""
        named = {
            stage: {
                "shape": list(self.shapes[stage]),
                "channels": channels.tolist(),
                "means": maps.mean((1, 2)).tolist(),
            }
            for stage, (channels, maps) in self.stages.items()
        }
        filters = None if self.filters is None else self.filters.tolist()
        return {"file": self.name, "method": "layers", "filters": filters, "stages": named}

    def describe(self) -> str:
        """One line: the stages."""
        return f"{self.name}: the filters of the first convolution, and feature maps of {', '.join(self.stages)}"


def first_filters(net: ConvNet, rgb: bool) -> np.ndarray | None:
    """The weights of a network's first convolution over the image's channels; see `Layers`."""
    first = next((m for m in net.modules() if isinstance(m, nn.Conv2d)), None)
    channels = net.spec["in_chans"]
    if first is None or first.groups != 1 or first.in_channels < channels:
        return None
    weights = (
        first.weight.detach().float().cpu().numpy()[:, :channels]
    )  # without the channel of ones, where there is one
    return weights if rgb else weights[:, ::-1]


def _as_image(weights: np.ndarray) -> Image.Image:
    """A filter (C, k, k) from its lowest weight to its highest; grey for other numbers of channels than 3."""
    shown = weights if len(weights) == 3 else weights.mean(0, keepdims=True)
    pixels = (255 * _scaled(shown)).round().astype(np.uint8).transpose(1, 2, 0)
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))
    return image.resize((FILTER, FILTER), Image.Resampling.NEAREST)


def _scaled(values: np.ndarray) -> np.ndarray:
    """Values from their lowest at 0 to their highest at 1; 0.5 where all are alike."""
    low, high = float(values.min()), float(values.max())
    return (values - low) / (high - low) if high > low else np.full_like(values, 0.5)
