"""What a processor cannot prove, on the GPU that is here, in under eight minutes: each check prints PASS or FAIL with a number.

    python benchmarks/device.py                        # on the GPU that is here
    python benchmarks/device.py --dry                  # the same code on the processor, with little of everything: for CI
    python benchmarks/device.py --parts steps,resumes  # some parts

The parts run in the order of `PARTS`; what too little time is left for is named and left out. `benchmarks/results/device.json`
(or `--out`) is written after every part, so that what was measured stays when the machine goes or a signal stops the script.
With `--dry` a file is written only where `--out` names one: it would look like the record of a device.
"""

from __future__ import annotations

import argparse
import json
import platform
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from on_device import chain, exact, passes, speed
from on_device.check import Check, Here

from podium.cli.stopping import interrupted_by_signals
from podium.devices import device_name, pick_device, platform_of
from podium.training.interrupt import Stopped, exit_code

Part = Callable[[Here], Iterator[Check]]

# What is proved, in the order of its worth, with the seconds that it takes about on a GPU: nothing is begun that will not end.
PARTS: dict[str, tuple[Part, float]] = {
    "pooling": (exact.pooling, 5),
    "augmentation": (exact.augmentation, 5),
    "resumes": (exact.resumes, 70),
    "steps": (passes.steps, 110),
    "memory": (passes.memory, 30),
    "reads": (passes.reads, 20),
    "speed": (speed.training, 125),
    "feed": (speed.feed, 25),
    "chain": (chain.chain, 60),
    "group": (chain.group, 15),
}
SECONDS = 470.0
RECORD = Path(__file__).parent / "results" / "device.json"


def main() -> int:
    """Run the parts; the exit code is 1 where a check failed."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--device", default="auto", help="cuda, cuda:N or mps [the GPU that is here]")
    parser.add_argument("--dry", action="store_true", help="on the processor, with little of everything")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"that all of it may take [{SECONDS:g}]")
    parser.add_argument("--parts", type=lambda text: text.split(","), default=list(PARTS), help="[all]")
    parser.add_argument("--out", type=Path, help="[benchmarks/results/device.json; nothing with --dry]")
    options = parser.parse_args()
    if unknown := [name for name in options.parts if name not in PARTS]:
        parser.error(f"no part is called {unknown[0]!r}; there are {', '.join(PARTS)}")
    device = pick_device("cpu" if options.dry else options.device)
    if device.type == "cpu" and not options.dry:
        parser.error("there is no GPU here; --dry runs the same code on the processor")
    out = options.out or (None if options.dry else RECORD)
    with interrupted_by_signals() as flag, tempfile.TemporaryDirectory() as folder:
        here = Here(device, options.dry, Path(folder), time.monotonic() + options.seconds)
        try:
            return _run(here, options.parts, out)
        except (Stopped, KeyboardInterrupt) as error:  # during a training, or between two
            print("stopped by a signal", flush=True)
            return error.exit_code if isinstance(error, Stopped) else exit_code(flag.received or signal.SIGINT)


def _run(here: Here, parts: list[str], out: Path | None) -> int:
    content: dict[str, Any] = {
        "command": " ".join(["python", "benchmarks/device.py", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d"),
        "device": device_name(here.device),
        "platform": platform_of(here.device) | {"python": platform.python_version(), "system": platform.system()},
        "parts": {},
    }
    print(f"{content['device']}: {content['platform']}", flush=True)
    failed = 0
    for name in parts:
        part, needs = PARTS[name]
        if not here.dry and here.left() < needs:
            print(f"LEFT OUT {name}: it takes about {needs:g} s, and {here.left():.0f} are left", flush=True)
            content["parts"][name] = {"left_out": True}
            continue
        begun, checks = time.monotonic(), []
        for check in _checks(name, part, here):
            checks.append(asdict(check))
            failed += check.ok is False
            print(f"{check.word:8} {name}: {check.name}: {check.said}", flush=True)
        content["parts"][name] = {"seconds": round(time.monotonic() - begun, 1), "checks": checks}
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(content, indent=1) + "\n")
    print(f"{failed} failed" + (f"; {out}" if out is not None else ""), flush=True)
    return 1 if failed else 0


def _checks(name: str, part: Part, here: Here) -> Iterator[Check]:
    """The checks of a part; one that raises an error has failed, and the next part goes on. A signal stops all of them."""
    try:
        yield from part(here)
    except Stopped:
        raise
    except Exception as error:  # whatever a device does that nobody has seen yet
        traceback.print_exc()
        yield Check(name, False, f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')[:300]}")
    if here.device.type == "cuda":
        torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
