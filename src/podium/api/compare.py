"""`podium.compare`: several networks on the same images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Unpack

from podium.api.settings_fields import SettingsFields
from podium.bars import comparison_progress
from podium.calls import public
from podium.comparison.candidates import Choice, RankOn
from podium.comparison.leaderboard import Leaderboard
from podium.comparison.ranking import RankBy
from podium.comparison.study import Study
from podium.comparison.tunable import tuned_names
from podium.data.dataset import Dataset
from podium.tracking.notes import parse_trackers
from podium.training.images import loaded, source_of
from podium.training.recipes.named import settings_of
from podium.units import parse_bytes, parse_count, parse_milliseconds


@public
def compare(
    models: Sequence[str] | None = None,
    data: str | Path | Dataset = "digits",
    out: str | Path = "runs/compare",
    *,
    seeds: int = 1,
    pretrained: bool | None = None,
    finetune: int | None = None,
    rank_by: RankBy = "top1",
    within: float = 1.0,
    rank_on: RankOn = "val",
    learning_curve: bool = False,
    max_params: str | float | None = None,
    max_macs: str | float | None = None,
    jobs: int | None = None,
    heats: int | None = None,
    tune: Sequence[str] | None = None,
    trials: int | None = None,
    max_latency: str | float | None = None,
    max_size: str | float | None = None,
    figures: str | Path | None = None,
    log_to: str | Sequence[str] | None = None,
    cluster: str | None = None,
    recipe: str | None = None,
    config: str | Path | None = None,
    progress: Callable[..., None] | bool | None = None,
    **settings: Unpack[SettingsFields],
) -> Leaderboard:
    """Train several networks on the same images and rank them. Runs that are finished in `out` are not trained again.

    Args:
        models: names of networks, patterns ("resnet*", "*" for all), families ("ResNet"), or official weights: "LIBRARY:NAME" or
            "LIBRARY:NAME=FILE". If None: for photos five networks with official weights, else the six of the demonstration.
        data: a data set as `load_data` takes or returns it.
        out: the folder of the comparison: a run folder for each network and seed, `leaderboard.csv` and `report.html`.
        seeds: the number of runs of each network, with seeds 0, 1, ...
        pretrained: whether the networks start from official weights, or from random ones. If None: from official ones where
            the data are photos, which have no fixed small size, or where a source is named.
        finetune: train only so many networks, those with the best linear probe on frozen features. If None: all.
        rank_by: the score that decides which network is best: "top1", "macro-f1", "balanced-accuracy" or "log-loss".
        rank_on: "val": networks are ranked on validation images and reported on test images, and what the data lack of these
            is held out of the training images. "test": both on the same held-out images, as papers do, which flatters the best.
        within: the cheapest network is recommended that is sure to be at most so many points below the best, at 95 %. A point is
            a hundredth of the score that ranks. 0 recommends the best.
        learning_curve: also train the recommended network on a quarter and on half of the images, and say what twice as many
            photos would give.
        max_params: leave out networks with more parameters, such as "5M".
        max_macs: leave out networks with more multiply-adds of one image, such as "1.5G".
        jobs: runs that train side by side, each in a process with its share of the cores; `progress` then hears of all of them.
            If None: one a core where all networks are small and no `budget` is given, else 1.
        heats: train all networks briefly and the better ones longer, in so many rounds, 2 to 6; only the finalists are trained in
            full. If None: all networks are.
        tune: names of settings, such as ("lr", "weight_decay"), of which each network gets the values that are best on
            validation images. If None: all networks have those of the recipe.
        trials: tune: trainings of each network, all of them complete. If None: 20.
        max_latency: recommend only networks that take at most so long for one image on this machine, such as "20ms", in the
            fastest engine that keeps the answers.
        max_size: recommend only networks whose file for that engine has at most so many bytes, such as "10MB".
        figures: a folder that gets the charts of the report for papers, as SVG and PDF. If None: none are drawn.
        log_to: as for `train`. In MLflow the runs are nested in one of the comparison; calling the same again sends what is missing.
        cluster: train each run as a task of a cluster: "ray://HOST:PORT", "auto" for the Ray of this machine's cluster, "local"
            for a Ray that is started here, or "slurm". `jobs` is then how many run at a time. If None: this machine trains.
        recipe: the named settings to start from. If None: the recipe that `config` names, else "finetune" for networks that
            start from official weights, and "quick" for others.
        config: a settings file, whose values replace those of the recipe.
        progress: a function that is called as `Study.run` calls it; False for nothing. If None: a bar in a notebook or a
            terminal.
        settings: as for `train`, for each run alike: `budget="2m"` is the time of each run.

    Returns:
        The leaderboard: `.rows`, `.verdict()`, and `.best`, the recommended run, which is None if no network has learned or
        none is within the limits.
        A network that fails is its last row, with the error, and stops no other.

    Raises:
        UsageError: a name or setting is wrong, or `out` holds runs of other settings or images.
        DataError: the data cannot be read.
        MachineError: official weights cannot be downloaded; says which file is missing, its address, and where to put it. Or the
            cluster cannot be reached, or a machine of it does not see the images.
    """
    given = {"data": source_of(data), **settings}
    file = Path(config) if config is not None else None
    fresh, tuned = (settings_of(recipe, file, given, usual) for usual in ("quick", "finetune"))
    names = list(models) if models is not None else None
    costs: dict[str, tuple[str | float | None, Callable[[str, str | float], float]]] = {
        "max_params": (max_params, parse_count),
        "max_macs": (max_macs, parse_count),
        "max_latency": (max_latency, parse_milliseconds),
        "max_size": (max_size, parse_bytes),
    }
    limits: dict[str, Any] = {name: read(name, most) for name, (most, read) in costs.items() if most is not None}
    names_tuned = tuned_names(tune) if tune is not None else None
    drawn = Path(figures) if figures is not None else None
    runs: dict[str, Any] = {"jobs": jobs, "heats": heats, "tune": names_tuned, "trials": trials, "figures": drawn}
    runs |= {"log_to": parse_trackers(log_to), "cluster": cluster}
    choice = Choice(pretrained, finetune, tuned, rank_by, within, learning_curve, rank_on=rank_on, **runs, **limits)
    study = Study(names, fresh, Path(out), seeds, loaded(data), choice)
    with comparison_progress(progress) as shown:
        return study.run(shown)
