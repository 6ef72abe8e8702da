"""`podium.claims`: what the papers say, as experiments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from podium.bars import training_progress
from podium.calls import public
from podium.errors import UsageError
from podium.experiments.catalogue import ALL, CLAIMS, claims_of
from podium.experiments.claim import Scale
from podium.experiments.page import check_page, write_page
from podium.experiments.run import decide_all

OUT = Path("runs") / "claims"


@public
def claims(
    names: str | Sequence[str],
    *,
    scale: Scale = "small",
    data: str | Path | None = None,
    out: str | Path = OUT,
    write: str | Path | None = None,
    device: str = "auto",
    progress: Callable[..., None] | bool | None = None,
) -> list[dict[str, Any]]:
    """Decide what papers claim of networks, by experiments; what is finished in the folder is not done again.

    Args:
        names: of the claims, as `podium claims` lists them; "all" for all of them.
        scale: "small": small networks and images, minutes for each claim; "paper": the paper's own experiment.
        data: a folder that holds the data sets by their names, such as cifar10. If None: they are found by name, as `load_data` does.
        out: the folder of the raw files, one a claim, and of the runs.
        write: a folder to write the page claims.md into, with its figures and raw files. If None: no page.
        device: what computes: "auto" for a GPU where there is one, else the processor; "cpu", "cuda", "cuda:1" or "mps".
        progress: a function that is called with (claim and run, steps done, steps in all, what to show) after each step; False for
            nothing. If None: a bar in a notebook or a terminal.

    Returns:
        What the raw file of each claim says: its arms, its answers, and under "statements" the verdict on each statement.

    Raises:
        UsageError: a name or scale is unknown, or a folder is a file.
        DataError: a data set is not there.
        MachineError: a folder cannot be written.
    """
    chosen = [names] if isinstance(names, str) else list(names)
    if not chosen:
        raise UsageError("names: none", f"give {ALL}, or some of {', '.join(CLAIMS)}")
    picked = claims_of(chosen)
    for each in picked:
        each.protocol(scale)  # refuses another scale before anything begins
    if write is not None:
        check_page(Path(out), Path(write), again=[each.name for each in picked])
    with training_progress(progress, named=True) as tell:
        found = decide_all(picked, scale, Path(out), None if data is None else Path(data), device=device, tell=tell)
    if write is not None:
        write_page(Path(out), Path(write))
    return found
