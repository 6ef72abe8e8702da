"""A run or bundle as the file that a server runs: exported once by a process of its own, which needs torch, and kept.

`python -m podium.serving.exporting RUN FILE` is that process.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from podium import __version__
from podium.data.names import show
from podium.errors import DataError, MachineError, ModelFileError, NumericError, PodiumError, UsageError
from podium.files import cache_folder, content_digest
from podium.runs.recommended import run_of

IMAGES = 64  # made-up ones, on which the file's answers are compared with the run's
FILES = "model.safetensors", "card.json"  # of a run or bundle
KINDS = {kind.exit_code: kind for kind in (UsageError, DataError, ModelFileError, NumericError, MachineError)}

logger = logging.getLogger("podium")


def exported_run(place: Path) -> Path:
    """The exported file of a run or bundle: the one in the cache folder, or a new one.

    The file is found again by the content of the run and the version of Podium.

    Args:
        place: a run, a comparison (for the run it recommends), or a bundle.

    Raises:
        ModelFileError: there is none, it is damaged, or it cannot be exported.
        MachineError: what exports is not installed.
        NumericError: the file does not give the run's answers.
    """
    if not place.exists():
        raise ModelFileError(f"{show(place)}: not there", "check the path")
    run = run_of(place)
    files = [run / name for name in FILES]
    if not all(file.is_file() for file in files):
        what = f"{show(place)}: neither a run, a bundle, nor an exported file"
        raise ModelFileError(what, "give the folder that `podium train` made, or a file of `podium export`")
    file = cache_folder() / "exports" / f"{content_digest(*files)[:32]}-{__version__}-heat.onnx"
    if file.is_file() and _is_whole(file):
        return file
    logger.info(f"{show(run)} is exported once, in a process of its own; this takes some seconds")
    file.parent.mkdir(parents=True, exist_ok=True)
    _export(run, file)
    return file


def _is_whole(file: Path) -> bool:
    """Whether a file of the cache is as it was written."""
    from podium.deployment.sealed import read_onnx

    try:
        read_onnx(show(file), file.read_bytes())
    except (ModelFileError, OSError):
        return False
    return True


def _export(run: Path, file: Path) -> None:
    """Export a run in a process of its own.

    Raises:
        PodiumError: as that process says.
    """
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".export-") as folder:  # removed also where it is killed
        made = Path(folder).absolute() / file.name
        command = [sys.executable, "-m", "podium.serving.exporting", str(run.absolute()), str(made)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
        if done.returncode == 0 and made.is_file():
            os.replace(made, file)
            return
    try:
        said = json.loads(done.stdout.splitlines()[-1])
        raise KINDS.get(said["exit_code"], ModelFileError)(said["what"], said["fix"])
    except (ValueError, KeyError, IndexError, TypeError):
        if done.returncode < 0:
            how = signal.Signals(-done.returncode).name
            what = f"{show(run)}: the process that exports it was ended by {how}"
            raise MachineError(
                what, "free memory if nobody sent the signal, or export it elsewhere: podium export"
            ) from None
        why = f"exit code {done.returncode}: {' '.join(done.stderr.split())[-200:]}"
        raise ModelFileError(f"{show(run)}: cannot be exported ({why})", "try `podium export` on it") from None


def main(run: str, file: str) -> int:
    """Export a run, and print what went wrong as one line of JSON; returns the exit code."""
    try:
        _export_here(Path(run), Path(file))
    except ModuleNotFoundError as missing:
        what = f"{missing.name} is not installed, which exports a run"
        return _say(MachineError(what, 'pip install "podium[train,export]", or serve a file of `podium export`'))
    except PodiumError as problem:
        return _say(problem)
    return 0


def _say(problem: PodiumError) -> int:
    said = {"exit_code": problem.exit_code, "what": problem.what, "fix": problem.fix}
    sys.stdout.write(json.dumps(said) + "\n")
    return problem.exit_code


def _export_here(run: Path, file: Path) -> None:
    """Write the file if it gives the run's answers on made-up images; the run's own need not be here."""
    import numpy as np

    from podium.deployment.export import card_of, onnx_bytes, parity
    from podium.deployment.graph import graph_of
    from podium.deployment.runtime import load_exported
    from podium.explain.class_map import map_sides
    from podium.files import write_atomic
    from podium.runs import bundle

    model = bundle.load(run)
    p, draw = model.preprocessing, np.random.default_rng(0)
    coarse = draw.integers(0, 256, (IMAGES, 8, 8, p.channels), np.uint8)
    times = -(-p.image_size // 8)
    squares = coarse.repeat(times, 1).repeat(times, 2)[:, : p.image_size, : p.image_size]
    heat_map = max(map_sides(model.model, p.image_size)) > 1
    write_atomic(file, onnx_bytes(graph_of(model, True, heat_map), card_of(model, True, heat_map)))
    found = parity(load_exported(file).outputs_of, model, np.ascontiguousarray(squares))
    if not found.holds:
        raise NumericError(f"{show(run)}: its export answers differently: {found}", "report the network")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
