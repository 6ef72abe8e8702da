"""What the next trial of a network tries: Optuna's Tree-structured Parzen Estimator [TPE; Bergstra et al. 2011].

No study is kept. It is made anew for each trial from the trials before it, with a sampler whose seed is the number of the
trial. So the next point is a function of the trials on disk, and tuning that was killed anywhere goes on with the same trials.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence

from podium.comparison.tunable import TUNABLE
from podium.comparison.tuned import Trial
from podium.errors import EXTRAS, MachineError

RANDOM = 5  # trials, the first with the values of the recipe among them, before TPE models what is good


def check_optuna() -> None:
    """Check that Optuna is installed.

    Raises:
        MachineError: it is not.
    """
    if importlib.util.find_spec("optuna") is None:
        what = "optuna is not installed, which tuning needs"
        raise MachineError(what, f'pip install "podium[{EXTRAS["optuna"]}]"')


def suggest(centre: Mapping[str, float], trials: Sequence[Trial]) -> dict[str, float]:
    """Return the settings of the next trial.

    Args:
        centre: name of each setting that is tuned -> its value without tuning.
        trials: all before it. One that failed counts as worse than all others.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spans = {name: TUNABLE[name].around(value) for name, value in centre.items()}
    axes: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(low, high, log=TUNABLE[name].log)
        for name, (low, high) in spans.items()
    }
    sampler = optuna.samplers.TPESampler(seed=len(trials), n_startup_trials=RANDOM)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    state = optuna.trial.TrialState
    for trial in trials:
        # A weight decay of 0 has no place on a logarithmic scale: it counts as the lowest value.
        at = {name: min(max(trial.settings[name], low), high) for name, (low, high) in spans.items()}
        ended = state.PRUNED if trial.value is None else state.COMPLETE
        told = optuna.trial.create_trial(state=ended, value=trial.value, params=at, distributions=axes)
        study.add_trial(told)
    drawn = study.ask(axes).params
    return {name: TUNABLE[name].value(drawn[name], value or TUNABLE[name].zero) for name, value in centre.items()}
