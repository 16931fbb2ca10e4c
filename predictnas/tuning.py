"""Tuning the parameters of a predictor by cross-validation, with Optuna."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata as distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone

from predictnas import __version__
from predictnas.errors import InputError
from predictnas.evaluation import cross_validate, kendall_tau
from predictnas.evaluation.json_values import json_value
from predictnas.predictors import Predictor, plain_parameters

if TYPE_CHECKING:
    import optuna

__all__ = ["Tuning", "default_cache", "tune"]

Floats = NDArray[np.float64]

FOLDS = 5
VERSIONS = ("torch", "numpy", "scikit-learn", "optuna")


@dataclass(frozen=True)
class Tuning:
    """What tuning found.

    Attributes
    ----------
    parameters
        Those to set; empty where the defaults stay.
    trials
        Settings that were cross-validated, the defaults among them.
    cached
        How many of them were known from before.
    default_kendall
        Cross-validated Kendall τ of the defaults.
    best_kendall
        That of the best setting found, which is too high by the luck of the best of many.
    gain_error
        Standard error of the difference.
    """

    parameters: dict[str, Any]
    trials: int
    cached: int
    default_kendall: float
    best_kendall: float
    gain_error: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        values: dict[str, Any] = json_value(vars(self))
        return values


def tune(
    predictor: Predictor,
    X: pd.DataFrame,
    y: Floats,
    groups: NDArray[Any],
    trials: int,
    *,
    seed: int = 0,
    cache: Path | None = None,
    on_trial: Callable[[], None] | None = None,
) -> Tuning:
    r"""Try parameters that a predictor's class suggests, by cross-validated Kendall τ.

    The first setting is the predictor as given. The best of all others replaces it only if its τ
    is higher by more than one standard error of the difference, with τ as the mean of
    :math:`h_i = \mathrm{mean}_j\, \mathrm{sign}(\hat y_i - \hat y_j)\, \mathrm{sign}(y_i - y_j)`
    and the error of its U-statistic, :math:`2\, \mathrm{sd}(h_i - h_i') / \sqrt n`: the best of
    many looks better than it is.

    Parameters
    ----------
    predictor
        Unfitted; left as it is.
    X, y, groups
        Inputs, targets and architecture numbers, as for
        :func:`~predictnas.evaluation.cross_validate`.
    trials
        Settings in all, the first one among them.
    seed
        Seed of folds and suggestions.
    cache
        A folder with a file for every training set, predictor and version, from which what was
        measured before is taken, and to which every trial is added. None keeps nothing.
    on_trial
        Called after each setting that was measured.

    Raises
    ------
    InputError
        If the predictor has nothing to tune, there are fewer architectures than folds, or the
        cache cannot be written.

    References
    ----------
    W. Hoeffding. A class of statistics with asymptotically normal distribution. Annals of
    Mathematical Statistics 19, 1948, section 5.
    """
    import optuna

    if trials < 1:
        raise InputError(f"--tune must be at least 1, found {trials}")
    if type(predictor).suggest is Predictor.suggest:
        raise InputError(
            f"{type(predictor).__name__} has nothing to tune; leave --tune out, or name a "
            "predictor such as gp or boosting"
        )
    name = _digest(predictor, X, y, groups, seed)
    study = _study(cache, name, seed)
    cached = len(_finished(study))

    def forecasts(parameters: dict[str, Any]) -> Floats:
        candidate = clone(predictor).set_params(**parameters)
        validation = cross_validate(candidate, X, y, groups, folds=FOLDS, seed=seed)
        if on_trial is not None:
            on_trial()
        return validation.mean

    if not cached:
        mean = forecasts({})
        attributes = {"forecasts": mean.tolist(), "parameters": {}}
        value = _value(mean, y)
        study.add_trial(optuna.trial.create_trial(value=value, user_attrs=attributes))

    def objective(trial: optuna.Trial) -> float:
        parameters = predictor.suggest(trial)
        mean = forecasts(parameters)
        trial.set_user_attr("forecasts", mean.tolist())
        trial.set_user_attr("parameters", json_value(parameters))
        return _value(mean, y)

    study.optimize(objective, n_trials=max(trials - len(_finished(study)), 0))
    default, *others = _finished(study)[:trials]
    best = max([default, *others], key=lambda trial: trial.value or -2.0)
    gain = _concordances(best, y) - _concordances(default, y)
    error = 2 * float(gain.std(ddof=1)) / float(np.sqrt(len(y)))
    better = float(gain.mean()) > error
    return Tuning(
        parameters=dict(best.user_attrs["parameters"]) if better else {},
        trials=1 + len(others),
        cached=min(cached, 1 + len(others)),
        default_kendall=float(default.value or 0.0),
        best_kendall=float(best.value or 0.0),
        gain_error=error,
    )


def default_cache() -> Path:
    """Return the folder for what tuning measured: the user's own for such things."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "predictnas" / "tuning"


def _study(cache: Path | None, name: str, seed: int) -> "optuna.Study":
    import optuna
    from optuna.storages.journal import JournalFileBackend

    storage: Any = None
    if cache is not None:
        try:
            cache.mkdir(parents=True, exist_ok=True)
            path = str(cache / f"{name}.log")
            storage = optuna.storages.JournalStorage(JournalFileBackend(path))
        except OSError as error:
            raise InputError(f"{cache}: cannot be written: {error.strerror}") from None
    study = optuna.create_study(
        storage=storage, study_name=name, direction="maximize", load_if_exists=True
    )
    # Not the seed alone: what goes on should not repeat what was suggested before.
    number = len(study.get_trials(deepcopy=False))
    study.sampler = optuna.samplers.TPESampler(
        n_startup_trials=10, multivariate=True, constant_liar=False, seed=seed + number
    )
    return study


def _finished(study: "optuna.Study") -> "list[optuna.trial.FrozenTrial]":
    import optuna

    state = optuna.trial.TrialState.COMPLETE
    return study.get_trials(deepcopy=False, states=(state,))


def _value(mean: Floats, y: Floats) -> float:
    """Return Kendall's τ, −1 where it is undefined."""
    tau = kendall_tau(mean, y)
    return tau if np.isfinite(tau) else -1.0


def _concordances(trial: "optuna.trial.FrozenTrial", y: Floats) -> Floats:
    mean = np.asarray(trial.user_attrs["forecasts"], dtype=np.float64)
    agreement = np.sign(mean[:, None] - mean) * np.sign(y[:, None] - y)
    concordances: Floats = agreement.sum(axis=1) / (len(y) - 1)
    return concordances


def _digest(
    predictor: Predictor, X: pd.DataFrame, y: Floats, groups: NDArray[Any], seed: int
) -> str:
    """Return a name for everything that a cross-validated forecast depends on."""
    settings = {
        "predictor": type(predictor).__name__,
        "parameters": json_value(plain_parameters(predictor)),
        "columns": [str(column) for column in X.columns],
        "folds": FOLDS,
        "seed": seed,
        "versions": [__version__, *(distributions.version(name) for name in VERSIONS)],
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    if "graph" in X:
        digest.update("\n".join(graph.to_json() for graph in X["graph"]).encode())
    digest.update(X.drop(columns="graph", errors="ignore").to_numpy(np.float64).tobytes())
    digest.update(y.tobytes())
    digest.update(np.unique(groups, return_inverse=True)[1].tobytes())
    return digest.hexdigest()[:32]
