"""The numbers that flags take, with their bounds. A number out of bounds is refused before the verb does anything."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

from podium.devices import HELP as DEVICES
from podium.devices import parse_device
from podium.errors import UsageError
from podium.settings import Settings

MOST = 10**9  # the largest count
PIXELS = 16384  # the longest side of an image


def whole(label: str, least: int, most: int = MOST) -> Callable[[str], int]:
    """A function that reads a whole number.

    Args:
        label: the name of the number in errors.
        least, most: the bounds, both allowed.
    """

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise UsageError(f"{label} {text!r}", f"give a whole number from {least}") from None
        if value < least:
            raise UsageError(f"{label} {value}", f"give at least {least}")
        if value > most:
            raise UsageError(f"{label} {value}", f"give at most {most}")
        return value

    return read


def real(label: str, fits: Callable[[float], bool], wanted: str) -> Callable[[str], float]:
    """A function that reads a finite number.

    Args:
        label: the name of the number in errors.
        fits: whether a number is allowed.
        wanted: the allowed numbers in words.
    """

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise UsageError(f"{label} {text!r}", f"give {wanted}") from None
        if not math.isfinite(value) or not fits(value):
            raise UsageError(f"{label} {value:g}", f"give {wanted}")
        return value

    return read


def per_channel(label: str) -> Callable[[str], tuple[float, ...]]:
    """A function that reads one number, or several with commas between them.

    Args:
        label: the name of the numbers in errors.
    """

    def read(text: str) -> tuple[float, ...]:
        try:
            values = tuple(float(part) for part in text.split(","))
        except ValueError:
            values = ()
        if not values or not all(map(math.isfinite, values)):
            raise UsageError(f"{label} {text!r}", "give one number, or one for each channel, such as 0.485,0.456,0.406")
        return values

    return read


image_size = whole("image_size:", 1, PIXELS)
side = whole("side:", 1, PIXELS)
max_pixels = whole("max_pixels:", 1, 2**31 - 1)
classes = whole("num_classes:", 2)
channels = whole("in_chans:", 1, 1000)
limit, top = whole("limit:", 1), whole("top:", 1)
workers = whole("workers:", 0, 256)
seed = whole("split_seed:", 0)
seeds = whole("seeds:", 1, 10_000)
finetune = whole("finetune:", 1, 10_000)
jobs = whole("jobs:", 1, 4096)
heats = whole("heats:", 2, 6)
trials = whole("trials:", 2, 1000)
restarts = whole("max_restarts:", 0)
epochs, steps, tuning = whole("epochs:", 0), whole("steps:", 0), whole("epochs:", 1)
threads, batch, batches = whole("--threads", 1, 4096), whole("--batch", 1), whole("--batches", 2)
serving = whole("--workers", 1, 256)
port = whole("--port", 0, 65535)
seconds = real("--seconds", lambda x: 0 < x < 3600, "more than 0 and less than 3600")
tolerance = real("tolerance:", lambda x: 0 <= x < 1, "a fraction from 0 to 1, such as 0.005")
speedup = real("speedup:", lambda x: x > 1, "more than 1")
share = real("macs:", lambda x: 0 < x < 1, "a share between 0 and 1")
probability = real("min_confidence:", lambda x: 0 <= x <= 1, "a probability from 0 to 1, such as 0.8")
width = real("width:", lambda x: 0 < x <= 1, "more than 0, up to 1")


def add_terms(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say what a smaller network may lose."""
    parser.add_argument(
        "--tolerance",
        type=tolerance,
        default=0.005,
        metavar="X",
        help="accepted loss of top-1, as a fraction, on test images, or on validation images where there are no others. The "
        "loss must be shown to be no larger, at 95 %%. If it is shown to be larger, the exit code is 5 [0.005]",
    )
    parser.add_argument(
        "--accept-unproven",
        action="store_true",
        help="take the smaller network where the images are too few to tell. Without this flag its name then ends in -unproven "
        "and the exit code is 3, also before anything is trained where that is certain",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add `--device` to a parser; verbs that train have it among the settings."""
    parser.add_argument("--device", type=parse_device, default="auto", metavar="NAME", help=f"{DEVICES} [auto]")


def add_max_pixels(parser: argparse.ArgumentParser, default: int | None = Settings().max_pixels) -> None:
    """Add `--max-pixels` to a parser; without a default, the network's own is meant."""
    said = f"{default / 1e6:g} million" if default is not None else "as when the network was trained"
    text = f"the largest image that is opened, as width times height [{said}]"
    parser.add_argument("--max-pixels", type=max_pixels, metavar="N", default=default, help=text)


def address(parser: argparse.ArgumentParser, usual: int) -> None:
    """Add the flags of where a server listens.

    Args:
        parser: of the verb.
        usual: the port where none is named.
    """
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen at: 127.0.0.1 for this machine alone, 0.0.0.0 for all [127.0.0.1]",
    )
    parser.add_argument(
        "--port", type=port, default=usual, metavar="N", help=f"the port; 0 takes any that is free [{usual}]"
    )
