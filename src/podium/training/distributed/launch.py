"""Starts several processes on this machine for one run, by torch's elastic agent, which stops all when one fails."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

from podium.devices import pick_device
from podium.errors import MachineError, UsageError
from podium.files import shell_word
from podium.platform import SHARED, hangup_ignored, processors
from podium.training.interrupt import exit_code

LAUNCHED = "PODIUM_LAUNCHED"  # set for the processes that `launch` starts
GONE = 75  # exit code of a process that stopped because another one was gone
# Exit codes after which starting again is of no use: success, errors to mend, stopped.
FINAL = (0, 2, 3, 4, 5, 130, 143)


def started_together() -> bool:
    """Return whether this process is one of several that torchrun or `launch` has started for one run."""
    return {"RANK", "MASTER_ADDR"} <= os.environ.keys() and int(os.environ.get("WORLD_SIZE", "1")) > 1


def leads() -> bool:
    """Return whether this process is the one that writes and prints: alone, or rank 0 of several."""
    return not started_together() or os.environ["RANK"] == "0"


def restarted() -> bool:
    """Return whether torchrun has started this process again after a failure, with the same command line."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def launch(count: int, words: list[str], out: Path, *, device: str, restarts: int, debug: bool = False) -> int:
    """Run `podium WORDS` in several processes that share a run, and return its exit code.

    Args:
        count: number of processes: each has a GPU of its own, or without GPUs an equal share of the cores.
        words: of the command line.
        out: the run folder.
        device: as in the settings.
        restarts: how often to start all again from the last checkpoint after one was lost.
        debug: also show what the agent logs.

    Raises:
        MachineError: a process was lost more often than `restarts`, or there are fewer GPUs than processes.
    """
    import torch

    refuse_to_share(device, count)
    gpus = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    if 0 < gpus < count:
        raise MachineError(f"devices: {count}, but there are {gpus} GPUs", f"--devices {gpus}, or --device cpu")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, processors() // count)))
    os.environ[LAUNCHED] = "1"
    if not debug:
        logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)
    while (failure := _together(count, words))[1] not in FINAL and restarts:
        restarts -= 1
        logging.getLogger("podium").warning(f"{_lost(count, *failure)}; starting again from the last checkpoint")
        os.environ.pop("PODIUM_FAULT", None)  # a fault that a test injects happens once
        if (out / "settings.yaml").is_file():
            words = ["train", "--resume", "-o", str(out), *(word for word in words if word in ("--json", "--debug"))]
    if 0 <= failure[1] != GONE:
        return failure[1]
    again = f"go on with: podium train --resume -o {shell_word(out)}; with --max-restarts N it does so by itself"
    if failure[1] == -signal.SIGBUS:  # the system sends it when shared memory is full
        again = f"see whether {SHARED} is full (df {SHARED}), then {again}"
    raise MachineError(_lost(count, *failure), again)


def refuse_to_share(device: str, count: int) -> None:
    """Refuse a device that several processes cannot share a run on.

    Args:
        device: as in the settings.
        count: number of processes.

    Raises:
        UsageError: the device is one GPU of several.
        MachineError: the device is an Apple GPU, to which no library carries gradients.
    """
    if ":" in device:
        what = f"devices: {count} processes have a GPU each, and {device} is one"
        raise UsageError(what, "--device cuda; CUDA_VISIBLE_DEVICES=0,2 chooses among several")
    if pick_device(device).type == "mps":
        what = f"devices: {count}, but neither gloo nor NCCL carries gradients between processes on an Apple GPU (mps)"
        raise MachineError(what, "leave out --devices, or give --device cpu")


def _together(count: int, words: list[str]) -> tuple[int, int]:
    """Run the processes once, and return which rank failed first and its exit code, negative for a signal; (0, 0) if none."""
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    own: dict[str, Any] = {}
    if hangup_ignored() and "signals_to_handle" in LaunchConfig.__dataclass_fields__:
        own["signals_to_handle"] = "SIGTERM,SIGINT,SIGQUIT"  # else the agent would handle the SIGHUP that nohup ignores
    with tempfile.TemporaryDirectory() as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            # only rank 0 prints; what another rank printed is shown if it failed first
            logs_specs=DefaultLogsSpecs(log_dir=logs, redirects=dict.fromkeys(range(1, count), Std.ERR)),
            **own,
        )
        try:
            elastic_launch(config, sys.executable)("-m", "podium", *words)
        except SignalException as stopped:
            return 0, exit_code(int(stopped.sigval))
        except ChildFailedError as failed:
            codes = {rank: failure.exitcode for rank, failure in failed.failures.items()}
            # The rank that failed by itself comes before those that found it gone or were stopped by the agent.
            followers = (GONE, -signal.SIGTERM, 128 + signal.SIGTERM)
            rank = min(codes, key=lambda r: (codes[r] in followers, codes[r] < 0, r))
            if rank:
                for file in Path(logs).glob(f"*/attempt_*/{rank}/stderr.log"):
                    sys.stderr.write(file.read_text(encoding="utf-8", errors="replace"))
            return rank, codes[rank]
    return 0, 0


def _lost(count: int, rank: int, code: int) -> str:
    how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    return f"rank {rank} of {count} was lost ({how}) and all have stopped"
