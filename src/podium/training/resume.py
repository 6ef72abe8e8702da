"""What may differ between a run and its resume; anything else is refused, by name."""

from __future__ import annotations

from typing import Any

from podium.errors import UsageError
from podium.runs.folder import RunFolder
from podium.settings import Origin, Settings
from podium.training.finished import another_length
from podium.training.transfer.source import same_source

# what a run decides by itself where nothing is asked
OPEN = {"image_size", "small", "channels", "batch_size", "lr", "lr_batch", "flip"}
# may differ between a run and its resume; `devices` only as far as `refuse_devices` lets it, `threads` as `decide_threads`; of
# `data` the content is compared
NOT_COMPARED = {"workers", "device", "checkpoint_every", "keep_checkpoint", "grace", "devices", "data"}


def refuse_changes(
    asked: Settings,
    recorded: dict[str, Any],
    origin: dict[str, Origin],
    length: str | None,
    folder: RunFolder | None = None,
) -> None:
    """A resume that was given other settings than the run has is refused, by name.

    Args:
        asked: now.
        recorded: of the run.
        origin: of what is asked; what nobody asked for is not compared.
        length: of the run, in the words it was asked for in; None where that is not on record.
        folder: of the run, for the command that trains it longer.
    """
    for key, source in origin.items():
        value, old = getattr(asked, key), recorded.get(key)
        if key in (*NOT_COMPARED, "threads") or value == "auto" or not source.asked or (value is None and key in OPEN):
            continue
        if key == "duration":
            if length not in (None, value) and value != old:
                raise UsageError(
                    f"{key}: the run has {length!r}, not {value!r}", another_length(folder, str(length), value)
                )
            continue
        if key in ("weights", "teacher") and value is not None and same_source(value, old):
            continue
        if value != old:
            raise UsageError(
                f"{key}: the run has {old!r}, not {value!r}", "resume it as it was, or start another with -o"
            )


def refuse_devices(asked: int | None, recorded: int | None, here: int, elastic: bool) -> None:
    """A run in another number of processes than it was asked for, or than it has had so far, is refused.

    Args:
        asked: by the settings.
        recorded: of a run that goes on.
        here: processes that share it now.
        elastic: whether that may differ from `recorded`.
    """
    if recorded is not None and here != recorded and not elastic:
        same = f"go on with --devices {recorded}, or give --elastic: the result is then not comparable to the bit"
        raise UsageError(f"devices: the run has {recorded}, not {here}", same)
    if recorded is None and asked not in (None, here):
        start = f"start it with podium train --devices {asked}, or with torchrun --nproc-per-node {asked}"
        raise UsageError(f"devices: {asked}, but this run has {here} here", start)
