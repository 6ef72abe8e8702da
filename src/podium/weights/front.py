"""How a checkpoint itself prepares pixels in front of its network, and which preprocessing follows from that.

A Keras model may begin with Rescaling or Normalization, a module of torch with a layer that subtracts a mean and divides by
a deviation. What both do is `pixel * scale + offset`, and so is the preprocessing of a bundle: it takes their place.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from podium import imagenet
from podium.errors import ModelFileError, UsageError

WHITE = 255.0
BLUE_FIRST = ", blue first"
LEAST_STD = (
    1e-5  # of pixels from 0 to 1; below it white is above 100,000, which no network reads and float16 cannot hold
)
MOST_STD = 1e5  # above it all pixels are the same
BOUNDS = f"{LEAST_STD:.5f} to {MOST_STD:,.0f}"
DIGITS = 9  # which hold every float32; more would show the rounding of 1/255
FIX = "say how the network's pixels are prepared: podium import ... --mean M --std S, for pixels from 0 to 1"
WITHOUT = "save the model without that layer, if its answers are right without it; else this is another network"

Statistics = tuple[Sequence[float], Sequence[float]]  # mean and standard deviation, a number a channel


@dataclass(frozen=True)
class Front:
    """What a checkpoint does to pixels in front of its network: `pixel * scale + offset`, for pixels from 0 to 255.

    Args:
        layers: what does it, by its names in the file.
        scale, offset: a number for all channels, or one a channel.
        order: of the channels, "rgb" or "bgr".
        problem: why it cannot be said as preprocessing; empty where it can.
        notes: lines on what the file also does to images, and Podium does not.
        fix: what helps with the problem.
        size: height and width of the images that the network reads, in pixels; empty where the file does not say it.
        caffe: whether the file says what does it, and not by which numbers, and it is what Keras's networks of Caffe have in front.
    """

    layers: tuple[str, ...]
    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)
    order: str = "rgb"
    problem: str = ""
    notes: tuple[str, ...] = ()
    fix: str = FIX
    size: tuple[int, ...] = ()
    caffe: bool = False

    @property
    def acts(self) -> bool:
        """Whether the file does anything to the values of pixels."""
        return bool(self.layers or self.problem)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read what `to_dict` gave, also after JSON."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**plain)

    def statistics(self, channels: int) -> Statistics:
        """The mean and standard deviation that do the same to pixels from 0 to 1.

        Args:
            channels: of the network.

        Raises:
            ModelFileError: there are none; says why, without the name of the file.
        """
        if self.problem:
            raise ModelFileError(self.problem, self.fix)
        names = " and ".join(self.layers)
        if any(len(values) not in (1, channels) for values in (self.scale, self.offset)):
            count = max(len(self.scale), len(self.offset))
            have = "has" if len(self.layers) == 1 else "have"
            raise ModelFileError(f"{names} in it {have} {count} channels, and the network has {channels}", self.fix)
        scale, offset = _each(self.scale, channels), _each(self.offset, channels)
        if not all(math.isfinite(value) for value in (*scale, *offset)):
            raise ModelFileError(f"{names} in it: the numbers are not finite", FIX)
        if not all(1 / (WHITE * MOST_STD) <= value <= 1 / (WHITE * LEAST_STD) for value in scale):
            times = "multiplies" if len(self.layers) == 1 else "multiply"
            bounds = f"a standard deviation of pixels from 0 to 1 is from {BOUNDS}"
            fix = FIX if min(scale) > 0 else f"Podium cannot invert pixels: {WITHOUT}"
            raise ModelFileError(f"{names} in it {times} pixels by {format_numbers(scale)}, and {bounds}", fix)
        std = tuple(_rounded(1 / (WHITE * s)) for s in scale)
        return tuple(_rounded(-o / (WHITE * s)) for o, s in zip(offset, scale, strict=True)), std


@dataclass(frozen=True)
class Prepared:
    """The preprocessing that a file or the caller names, in place of the usual one of the file's library.

    Args:
        pixels: `mean`, `std` and `channel_order`, as fields of `Preprocessing`; empty where neither names any.
        origin: who names it: "the file", "--mean and --std", or nobody.
        why: it is the usual one, where nobody names another.
        notes: lines that say so.
        refusal: why what the file does cannot be taken over; None where it can, or where the caller names another.
    """

    pixels: dict[str, Any]
    origin: str = ""
    notes: tuple[str, ...] = ()
    refusal: ModelFileError | None = None
    why: str = "the file says nothing of pixels"

    def usual(self, source: str, pixels: Mapping[str, Any]) -> str:
        """A line that names the usual preprocessing of a source, which was taken."""
        order = BLUE_FIRST if pixels.get("channel_order") == "bgr" else ""
        return f"preprocessing as usual for {source} ({_shown((pixels['mean'], pixels['std']))}{order}): {self.why}"


def prepare_as(
    front: Front | None, stated: Statistics | None, channels: int, transforms: bool = False, usual_order: str = "rgb"
) -> Prepared:
    """Decide between what the caller says of the pixels and what the file does to them.

    Args:
        front: of the file; None where it says nothing of images.
        stated: the caller's mean and standard deviation, of pixels from 0 to 1 and red first, or None.
        channels: that the network in the file reads.
        transforms: whether the network may have a `transform_input` of torchvision, behind what the file or the caller names.
        usual_order: of the channels, in what is usual for the network.

    Raises:
        UsageError: the caller gave another number of values than the network has channels.
    """
    known, refusal = None, None
    notes = front.notes if front is not None else ()
    if front is not None and not front.acts:
        front = None
    if front is not None:
        try:
            known = front.statistics(channels)
        except ModelFileError as error:
            refusal = error
    transforms = transforms and channels == len(imagenet.MEAN)
    if known is not None and transforms:
        refusal = _transformed(" and ".join(front.layers if front else ()), known)
        known = None
    if stated is not None:
        for name, values in zip(("mean", "std"), stated, strict=True):
            if len(values) not in (1, channels):
                what = f"{name}: {len(values)} numbers, but the network in the file reads {channels} channels"
                raise UsageError(what, f"give one number for all channels, or {channels}")
        mean, std = (_each(values, channels) for values in stated)
        if wrong := [value for value in std if not LEAST_STD <= value <= MOST_STD]:
            raise UsageError(f"std: {wrong[0]:g}", f"give numbers from {BOUNDS}, for pixels from 0 to 1")
        said = f"preprocessing as --mean and --std say ({_shown((mean, std))})"
        if front is not None:
            instead = f" ({_shown(known)})" if known else ""
            said += f", and not as {' and '.join(front.layers)} in the file{instead}"
        if transforms:
            inner = _shown(_behind_transform((mean, std)))
            said += f"; if the network's transform_input is on, as after fine-tuning torchvision's weights, it reads {inner}: then give that"
        pixels = {"mean": mean, "std": std, "channel_order": "rgb"}
        return Prepared(pixels, "--mean and --std", (said, *notes))
    if front is not None and front.caffe and usual_order == "bgr" and channels == len(imagenet.MEAN):
        why = f"{front.layers[-1]} in the file are taken for Keras's preprocess_input, whose numbers the file does not hold"
        return Prepared({}, "", notes, why=why)
    if front is None or known is None:
        return Prepared({}, "", notes, refusal)
    order = BLUE_FIRST if front.order == "bgr" else ""
    said = f"preprocessing from the file: {' and '.join(front.layers)} ({_shown(known)}{order}), for pixels from 0 to 1"
    pixels = {"mean": known[0], "std": known[1], "channel_order": front.order}
    return Prepared(pixels, "the file", (said, *notes))


def _transformed(names: str, known: Statistics) -> ModelFileError:
    """The refusal of statistics that a network of torchvision may turn into others."""
    what = f"{names} in it ({_shown(known)}) come before the network's transform_input, of which the file does not say if it is on"
    on, off = (_flags(each) for each in (_behind_transform(known), known))
    return ModelFileError(what, f"if it is, as after fine-tuning torchvision's own weights: {on}; if it is off: {off}")


def _behind_transform(before: Statistics) -> Statistics:
    """The statistics of pixels from 0 to 1 that do the same as others and torchvision's `transform_input` behind them."""
    mean, std = [], []
    for m, s, inner_mean, inner_std in zip(*before, imagenet.MEAN, imagenet.STD, strict=True):
        scale, shift = inner_std / 0.5, (inner_mean - 0.5) / 0.5
        mean.append(_rounded(m - shift * s / scale))
        std.append(_rounded(s / scale))
    return mean, std


def _flags(pixels: Statistics) -> str:
    mean, std = (format_numbers(values).replace(" ", "") for values in pixels)
    return f"--mean {mean} --std {std}"


def format_numbers(values: Iterable[float]) -> str:
    """Numbers in a few digits, once where all are the same."""
    shown = [f"{value:.6g}" for value in values]
    return shown[0] if len(set(shown)) == 1 else ", ".join(shown)


def _shown(pixels: Statistics) -> str:
    return f"mean {format_numbers(pixels[0])}; std {format_numbers(pixels[1])}"


def _each(values: Sequence[float], channels: int) -> tuple[float, ...]:
    return tuple(values) * channels if len(values) == 1 else tuple(values)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}") + 0.0  # no -0
