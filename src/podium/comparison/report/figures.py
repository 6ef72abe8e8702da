"""The charts of a report as figures for papers: SVG and PDF, as wide as a column, drawn by Matplotlib from the same numbers.

The same charts give the same bytes with the same version of Matplotlib: no date and no random name is in a file.
"""

from __future__ import annotations

import html
import importlib.util
import logging
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from podium.comparison.report import figure_kinds as kinds
from podium.data.names import show
from podium.errors import EXTRAS, MachineError, UsageError
from podium.files import atomic, refuse_unwritable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CREATOR = "Podium"
FORMATS = ("svg", "pdf")
# The name of a chart in the page -> what the figure's file is called, what it shows, and what draws it. A chart of one network
# has the network's name after that of the file.
OF_ALL: dict[str, tuple[str, str, Callable[[dict[str, Any]], Figure]]] = {
    "latency": ("accuracy-latency", "Accuracy and latency", kinds.accuracy),
    "macs": ("accuracy-macs", "Accuracy and multiply-adds", kinds.accuracy),
    "curves-top1": ("learning-top1", "Learning curves: top-1", kinds.curves),
    "curves-loss": ("learning-loss", "Learning curves: training loss", kinds.curves),
}
OF_ONE: dict[str, tuple[str, str, Callable[[dict[str, Any]], Figure]]] = {
    "confusion": ("confusion", "Confusion matrix", kinds.confusion),
    "calibration": ("reliability", "Reliability", kinds.reliability),
    "coverage": ("risk-coverage", "Risk and coverage", kinds.risk_coverage),
}
FILES = re.compile(
    rf"({'|'.join(name for name, *_ in (*OF_ALL.values(), *OF_ONE.values()))})(-.+)?\.({'|'.join(FORMATS)})"
)
# Families that have the letters of many scripts; of these, the ones that are installed stand in for what DejaVu Sans lacks.
MORE_FONTS = ("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Micro Hei", "PingFang SC", "Microsoft YaHei", "Noto Sans Arabic", "Noto Sans Devanagari")  # fmt: skip
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "lines.linewidth": 1.2,
    "lines.markersize": 3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e5e8",
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "text.parse_math": False,  # a dollar in the name of a class is a dollar
    "axes.formatter.useoffset": False,
    "pdf.fonttype": 42,  # TrueType, which is embedded and stays text
    "svg.fonttype": "path",
    "svg.hashsalt": CREATOR,
}


def check_figures(folder: Path) -> None:
    """Check that figures can be drawn into a folder, before the training whose results they show. Nothing is made yet.

    Raises:
        MachineError: Matplotlib is not installed, or the folder cannot be written to.
        UsageError: the path is a file, or a figure would take the place of a file that is not Podium's.
    """
    if importlib.util.find_spec("matplotlib") is None:
        what = "matplotlib is not installed, which --figures needs"
        raise MachineError(what, f'pip install "podium[{EXTRAS["matplotlib"]}]"')
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise UsageError(f"figures: {show(there)} is a file", "give a folder")
    try:
        refuse_unwritable(there / "figure.svg")
    except MachineError as error:
        cause = error.what.rpartition(": ")[2]
        raise MachineError(
            f"figures: no files can be written in {show(folder)}: {cause}", "give another folder"
        ) from None
    for path in sorted(folder.iterdir()) if there == folder else ():
        if FILES.fullmatch(path.name) and (not path.is_file() or CREATOR.encode() not in path.read_bytes()):
            what = f"figures: {show(path)} is there already, and Podium did not make it"
            raise UsageError(what, "give another folder, or move it away")


class Drawn(NamedTuple):
    """A figure that was drawn.

    Args:
        shows: what it shows, in words.
        network: of which; empty of a figure of all networks.
        path: of the SVG file.
    """

    shows: str
    network: str
    path: Path


def write_figures(folder: Path, charts: Mapping[str, dict[str, Any]], names: Mapping[str, str]) -> list[Drawn]:
    """Draw the charts of a report as SVG and PDF.

    Args:
        folder: that gets the files.
        charts: what plotly draws in the page, by the names of their elements.
        names: element of a network in the page -> its name. Charts of other networks are not drawn.

    Returns:
        The figures.
    """
    import matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with matplotlib.rc_context({**STYLE, "font.family": _fonts()}):
        for key, chart in charts.items():
            element, _, kind = key.rpartition("-")
            network = names.get(element, "")
            if key in OF_ALL:
                file, shows, draw = OF_ALL[key]
            elif network and kind in OF_ONE:
                file, shows, draw = OF_ONE[kind]
                file, shows = f"{file}-{_file_name(network)}", f"{shows} of {network}"
            else:
                continue
            if any(len(trace.get("x", ())) for trace in chart["data"]):
                written.append(Drawn(shows, network, _save(draw(_plain(chart)), folder / file)))
    return written


def _fonts() -> list[str]:
    """The families to draw text with, the first for what it has."""
    from matplotlib.font_manager import get_font_names

    installed = set(get_font_names())
    return ["DejaVu Sans", *(name for name in MORE_FONTS if name in installed)]


def _plain(chart: Any) -> Any:
    """A chart with its texts as they are, which the page needs with HTML escaped."""
    if isinstance(chart, dict):
        return {key: _plain(value) for key, value in chart.items()}
    if isinstance(chart, list):
        return [_plain(value) for value in chart]
    return html.unescape(chart) if isinstance(chart, str) else chart


def _file_name(name: str) -> str:
    """A network's name as a part of a file's name: "resnet18 (torchvision:resnet18)" is resnet18-torchvision-resnet18."""
    return re.sub(r"[^\w.]+", "-", name).strip("-")


def _save(figure: Figure, path: Path) -> Path:
    """Write a figure in both formats; returns the path of the SVG file."""
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        for kind in FORMATS:
            target = path.with_name(f"{path.name}.{kind}")
            with atomic(target, 0) as file:
                figure.savefig(file, format=kind, metadata={"Creator": CREATOR, **dates[kind]})
    if any("Glyph" in str(each.message) for each in heard):
        text = (
            "figures: no font of this machine has all letters of the names; install Noto Sans CJK, and draw them again"
        )
        logging.getLogger("podium").warning(text)
    return path.with_name(f"{path.name}.svg")
