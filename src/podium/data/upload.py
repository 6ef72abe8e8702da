"""Images and labels on their way to a GPU: sent without making the processor wait, and kept beside it where it is full.

A plain `tensor.to("cuda")` makes the processor wait until the GPU has done all work that it was given before. Copies out of
pinned memory do not, so that the next step is prepared while the GPU still computes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from podium.data.memory import out_of_memory


def uploaded(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the processor on a device; to a CUDA device it is sent without waiting."""
    if device.type != "cuda":
        return tensor.to(device)
    return (tensor if tensor.is_pinned() else tensor.pin_memory()).to(device, non_blocking=True)


def all_uploaded(batches: Sequence[Tensor], device: torch.device) -> Sequence[Tensor]:
    """Return batches (N,) of numbers on a device, all of them sent together."""
    if device.type == "cpu" or not batches:
        return batches
    return uploaded(torch.cat(list(batches)), device).split([len(batch) for batch in batches])


def kept_on(device: torch.device, pixels: Tensor) -> Tensor:
    """Return all pixels of a data set on a device; where its memory does not suffice, they stay where they are, and a line says so."""
    try:
        return pixels.to(device)
    except Exception as error:
        if device.type == "cpu" or not out_of_memory(error):
            raise
    logging.getLogger("podium").warning(
        f"the images ({pixels.nbytes / 1e6:,.0f} MB) do not fit into the memory of {device}: each batch is sent when it is needed"
    )
    return pixels


def sent_ahead(batches: Iterator[tuple[Tensor, Tensor]], device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield pairs of rows and pixels with the pixels on a device; a CUDA device gets the next batch while it computes on one.

    Args:
        batches: rows (N,), which stay where they are, and pixels in pinned memory.
        device: that computes.
    """
    if device.type != "cuda":
        for rows, pixels in batches:
            yield rows, pixels.to(device)
        return
    stream = torch.cuda.Stream(device)  # copies wait for each other here, and not for the steps
    ahead: tuple[Tensor, Tensor, torch.cuda.Event] | None = None
    for rows, pixels in batches:
        with torch.cuda.stream(stream):
            sent = pixels.to(device, non_blocking=True)
        now, ahead = ahead, (rows, sent, stream.record_event())
        if now is not None:
            yield _received(*now)
    if ahead is not None:
        yield _received(*ahead)


def _received(rows: Tensor, pixels: Tensor, sent: torch.cuda.Event) -> tuple[Tensor, Tensor]:
    """Let the steps wait for a copy, on the device, and let its memory be used again only after them."""
    steps = torch.cuda.current_stream(pixels.device)
    steps.wait_event(sent)
    pixels.record_stream(steps)
    return rows, pixels
