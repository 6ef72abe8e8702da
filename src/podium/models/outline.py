"""A network as its spec describes it, without memory for its weights: what a card asks for is looked at before it is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from podium.errors import PodiumError
from podium.models.convnet import ConvNet
from podium.models.registry import COMMON, rebuild
from podium.models.undrawn import meta

MOST_CALLS = 100_000  # of torch while a network is built and asked once: ResNet-1202 takes 42,000
MOST_BYTES = 1 << 30  # of weights that structural edits then remove, or 64 times what they leave: VGG-19 has 0.6 GB
REMOVED = 64


class _Counted(TorchFunctionMode):
    """Counts calls of torch, so that a network of a million layers ends early."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        if self.calls > MOST_CALLS:
            raise ValueError("it has far more layers than any network of Podium")
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def outline(spec: Mapping[str, Any], image_size: int) -> ConvNet:
    """Build the network that a card describes on the meta device, where tensors have shapes and no memory.

    Args:
        spec: as `rebuild` takes it, from a file that need not be right.
        image_size: side in pixels of the images that it has to take.

    Returns:
        The network, in evaluation mode.

    Raises:
        ValueError: says why there is no such network.
    """
    try:
        with _Counted():
            net = meta(lambda: rebuild(spec)).eval()
            if "edits" in spec:
                _refuse_large(meta(lambda: rebuild({k: v for k, v in spec.items() if k != "edits"})), net)
            if set(spec) > {"model", *COMMON} or image_size != spec["image_size"]:
                image = torch.empty(1, spec["in_chans"], image_size, image_size, device="meta")
                logits: Tensor = net(image)
                if logits.shape != (1, spec["num_classes"]):
                    raise ValueError(f"of an image it makes {tuple(logits.shape)}")
    except KeyError as error:
        raise ValueError(f"its spec has no {error}") from None
    except PodiumError as error:
        raise ValueError(f"its network cannot be built: {error.what}") from None
    except Exception as error:  # a card can ask for anything: negative widths, too few scales
        what = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')[:200]}"
        raise ValueError(f"its network cannot be built, or takes no images of {image_size} px ({what})") from None
    return net


def _refuse_large(whole: ConvNet, net: ConvNet) -> None:
    """Refuse a network of gigabytes that edits make small: it is built whole before they are applied."""
    needed, left = (sum(tensor.nbytes for tensor in each.state_dict().values()) for each in (whole, net))
    if needed > max(MOST_BYTES, REMOVED * left):
        raise ValueError(f"it is built with {needed / 1e9:.1f} GB, of which its edits leave {left / 1e9:.3f}")
