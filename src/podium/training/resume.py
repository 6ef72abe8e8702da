"""What may differ between a run and its resume; anything else is refused by name."""

from __future__ import annotations

from typing import Any

from podium.errors import MachineError, UsageError
from podium.files import shell_word
from podium.runs.folder import SETTINGS, RunFolder
from podium.settings import DEFAULT, Origin, Settings, read_file
from podium.training.finished import another_length
from podium.training.transfer.source import same_source

# Settings that a run decides by itself where none is given.
OPEN = {"image_size", "small", "channels", "batch_size", "lr", "lr_batch", "flip"}
# Settings that a resume may change: `devices` as far as `refuse_devices` lets it, `threads` as far as `decide_threads`;
# of `data` the images are compared, not the path.
NOT_COMPARED = {"workers", "device", "checkpoint_every", "keep_checkpoint", "grace", "devices", "data", "slice"}
# Of these the ones whose change is noted in `settings.yaml`, and what changes each.
NOTED = {
    "devices": "--elastic",
    "threads": "--elastic",
    "data": "the new place of the data",
    "keep_checkpoint": "--keep-checkpoint",
}


def recorded_settings(folder: RunFolder) -> dict[str, Any]:
    """Return the settings that a run has on record, with values for those that older versions did not have."""
    first = next(iter(folder.rows()), {})
    return {"threads": first.get("threads"), "keep_checkpoint": False, "deterministic": True} | read_file(
        folder / SETTINGS
    )


def continued(requested: Settings, recorded: dict[str, Any], origin: dict[str, Origin]) -> Settings:
    """Return the settings of a run that goes on: those on record, but for what a resume may change and was given.

    Args:
        requested: the settings given now.
        recorded: of the run.
        origin: of the settings given now.
    """
    changed = {key for key in (*NOT_COMPARED, "threads") if origin.get(key, DEFAULT).given}
    return requested.replace(**{key: value for key, value in recorded.items() if key not in changed})


def changes(recorded: dict[str, Any], settings: Settings) -> dict[str, str]:
    """Return the settings that a resume has changed, each with a comment for `settings.yaml`; none for a new run."""
    changed = [key for key in NOTED if recorded and recorded.get(key) != getattr(settings, key)]
    return {key: f"{recorded.get(key)} before, changed with {NOTED[key]}" for key in changed}


def refuse_changes(
    requested: Settings,
    recorded: dict[str, Any],
    origin: dict[str, Origin],
    length: str | None,
    folder: RunFolder | None = None,
) -> None:
    """Refuse a resume that was given other settings than the run has.

    Args:
        requested: the settings given now.
        recorded: of the run.
        origin: of the settings given now; a default or a recipe's value is not compared.
        length: the run's duration as it was requested; None where that is not on record.
        folder: of the run, for the command that trains it longer.

    Raises:
        UsageError: names the first setting that differs.
    """
    for key, source in origin.items():
        value, old = getattr(requested, key), recorded.get(key)
        if key in (*NOT_COMPARED, "threads") or value == "auto" or not source.given or (value is None and key in OPEN):
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


def refuse_devices(requested: int | None, recorded: int | None, here: int, elastic: bool) -> None:
    """Refuse to run in another number of processes than was requested, or than the run has had so far.

    Args:
        requested: by the settings.
        recorded: of a run that goes on; None for a new one.
        here: processes that share the run now.
        elastic: whether that may differ from `recorded`.

    Raises:
        UsageError: the number is another one.
    """
    if recorded is not None and here != recorded and not elastic:
        same = f"go on with --devices {recorded}, or give --elastic: the result is then not comparable to the bit"
        raise UsageError(f"devices: the run has {recorded}, not {here}", same)
    if recorded is None and requested not in (None, here):
        start = f"start it with podium train --devices {requested}, or with torchrun --nproc-per-node {requested}"
        raise UsageError(f"devices: {requested}, but this run has {here} here", start)


def refuse_platform(recorded: dict[str, str], here: dict[str, str], elastic: bool, folder: RunFolder) -> None:
    """Refuse to go on where something else computes than so far: another device, or another torch, CUDA or cuDNN.

    Args:
        recorded: what has computed the run so far, see `devices.platform_of`.
        here: what computes now.
        elastic: whether that may differ.
        folder: of the run.

    Raises:
        MachineError: something differs.
    """
    names = [name for name in here | recorded if recorded.get(name) != here.get(name)]
    if names and not elastic:
        had, has = (", ".join(f"{name} {found.get(name, 'none')}" for name in names) for found in (recorded, here))
        again = f"podium train --resume --elastic -o {shell_word(folder)}"
        same = f"go on where it is the same, or with {again}: the result is then not comparable to the bit"
        raise MachineError(f"the run has been computed with {had}, and here it would be with {has}", same)
