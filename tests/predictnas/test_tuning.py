"""Tuning by cross-validation: what is tried, what is kept, and when the defaults stay."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from predictnas.errors import InputError
from predictnas.evaluation import cross_validate
from predictnas.predictors import (
    PREDICTORS,
    AutoPredictor,
    ForestPredictor,
    GNNPredictor,
    Predictor,
    get_predictor,
)
from predictnas.spaces import Space
from predictnas.tuning import default_cache, tune


@pytest.fixture(scope="module")
def data() -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """A hundred rows of which one column of eight matters, steeply."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(100, 8)), columns=[f"x{k}" for k in range(8)])
    return X, np.tanh(3 * X["x0"].to_numpy()) + 0.05 * rng.normal(size=100), np.arange(100)


class Watched(ForestPredictor):
    """Counts its fits, and offers one good and many bad settings."""

    fits = 0
    choices: tuple[Any, ...] = (0.1, 1.0)

    def fit(self, X: Any, y: Any) -> "Watched":
        type(self).fits += 1
        super().fit(X, y)
        return self

    def suggest(self, trial: Any) -> dict[str, Any]:
        return {"max_features": trial.suggest_categorical("max_features", self.choices)}


@pytest.fixture
def predictor() -> Watched:
    Watched.fits, Watched.choices = 0, (0.1, 1.0)
    return Watched(trees=20, max_features=0.1)


def test_a_clearly_better_setting_is_found(predictor: Watched, data: Any) -> None:
    found = tune(predictor, *data, 6)
    assert found.parameters == {"max_features": 1.0}
    assert (found.trials, found.cached) == (6, 0)
    assert Watched.fits == 30
    assert predictor.get_params()["max_features"] == 0.1
    for parameters, tau in (({}, found.default_kendall), (found.parameters, found.best_kendall)):
        model = Watched(trees=20, **({"max_features": 0.1} | parameters))
        mean = cross_validate(model, *data, folds=5, seed=0).mean
        assert tau == pytest.approx(kendalltau(mean, data[1]).statistic)
    assert found.best_kendall - found.default_kendall > found.gain_error > 0


def test_defaults_stay_where_others_are_not_clearly_better(predictor: Watched, data: Any) -> None:
    Watched.choices = (0.1, 0.11)  # of eight columns either is one
    found = tune(predictor, *data, 3)
    assert found.parameters == {}
    assert tune(predictor.set_params(max_features=1.0), *data, 4).parameters == {}
    X, _, groups = data
    assert tune(predictor, X, np.full(100, 7.0), groups, 2).parameters == {}


def test_error_of_the_difference_is_that_of_repeated_samples() -> None:
    # Two forecasts of equal quality for fresh samples: how far their τ are apart, and how far
    # they are said to be.
    from predictnas.tuning import _concordances

    rng = np.random.default_rng(0)
    gains, errors = [], []
    for _ in range(300):
        y = rng.normal(size=60)
        trials = [
            type("Trial", (), {"user_attrs": {"forecasts": y + rng.normal(size=60)}})()
            for _ in range(2)
        ]
        first, second = (_concordances(trial, y) for trial in trials)
        assert first.mean() == pytest.approx(
            kendalltau(trials[0].user_attrs["forecasts"], y).statistic
        )
        gains.append(first.mean() - second.mean())
        errors.append(2 * np.std(first - second, ddof=1) / np.sqrt(60))
    assert np.mean(errors) == pytest.approx(np.std(gains), rel=0.15)


def test_what_was_tried_is_kept_and_gone_on_with(
    predictor: Watched, data: Any, tmp_path: Path
) -> None:
    first = tune(predictor, *data, 3, cache=tmp_path / "made" / "here")
    assert Watched.fits == 15
    again = tune(predictor, *data, 3, cache=tmp_path / "made" / "here")
    assert Watched.fits == 15
    assert (again.cached, again.best_kendall) == (3, first.best_kendall)
    more = tune(predictor, *data, 5, cache=tmp_path / "made" / "here")
    assert (more.trials, more.cached, Watched.fits) == (5, 3, 25)
    fewer = tune(predictor, *data, 2, cache=tmp_path / "made" / "here")
    assert (fewer.trials, fewer.cached) == (2, 2)


def test_other_data_predictors_and_seeds_do_not_share(
    predictor: Watched, data: Any, tmp_path: Path
) -> None:
    X, y, groups = data
    tune(predictor, X, y, groups, 1, cache=tmp_path)
    changed = y.copy()
    changed[3] += 1e-9
    others = [
        (predictor, X, changed, groups, 0),
        (predictor, X.rename(columns={"x0": "z"}), y, groups, 0),
        (predictor, X, y, groups // 2, 0),
        (predictor, X, y, groups, 1),
        (Watched(trees=21, max_features=0.1), X, y, groups, 0),
    ]
    for *arguments, seed in others:
        assert tune(*arguments, 1, seed=seed, cache=tmp_path).cached == 0
    assert len(list(tmp_path.glob("*.log"))) == 6


class Chosen:
    """Stands for a trial: suggests the lowest, the highest or the first of what may be."""

    def __init__(self, end: int) -> None:
        self.end = end
        self.names: list[str] = []

    def suggest_float(self, name: str, low: float, high: float, **_: Any) -> float:
        assert low < high
        self.names.append(name)
        return (low, high)[self.end]

    suggest_int = suggest_float

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        assert len(set(choices)) == len(choices) > 1
        self.names.append(name)
        return choices[-self.end]


# Predictors without parameters worth tuning, each with the reason; there is none now.
UNTUNED: dict[str, str] = {}


@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize("name", PREDICTORS)
def test_every_predictor_suggests_parameters_of_its_own_that_can_be_fitted(
    name: str, end: int, space: Space
) -> None:
    if name in UNTUNED:
        assert PREDICTORS[name].suggest is Predictor.suggest, UNTUNED[name]
        return
    trial = Chosen(end)
    predictor = get_predictor(name)
    smaller = {"folds": 2, "repeats": 2, "members": ("ridge", "forest")}
    known = predictor.get_params(deep=False)
    predictor.set_params(**{key: smaller[key] for key in smaller if key in known})
    parameters = predictor.suggest(trial)  # type: ignore[arg-type]
    assert set(parameters) == set(trial.names)
    assert set(parameters) <= set(known)
    archs = space.sample(12, np.random.default_rng(0), distinct=True)
    y = (archs == 3).sum(axis=1) + 0.0
    curves = {f"curve_{k}": y * k + archs[:, 0] for k in (1, 2)} if name == "lcsvr" else {}
    X = pd.DataFrame({"graph": space.graphs(archs), **curves})
    assert np.isfinite(predictor.set_params(**parameters).fit(X, y).predict(X)).all()


def test_suggestions_hold_the_defaults_and_can_leave_encodings_out() -> None:
    for name in PREDICTORS.keys() - UNTUNED.keys():
        predictor = get_predictor(name)
        lowest, highest = (predictor.suggest(Chosen(end)) for end in (0, 1))  # type: ignore[arg-type]
        for parameter, default in predictor.get_params().items():
            if isinstance(default, float | int) and parameter in lowest:
                assert lowest[parameter] <= default <= highest[parameter], (name, parameter)
    for name in ("gnn", "gp-wl", "lcsvr"):
        assert get_predictor(name).suggest(Chosen(0))["encoding"] == ()  # type: ignore[arg-type]


def test_pretrained_networks_keep_their_width(space: Space) -> None:
    predictor = GNNPredictor(folds=2)
    assert "width" in predictor.suggest(Chosen(0))  # type: ignore[arg-type]
    archs = space.sample(20, np.random.default_rng(0), distinct=True)
    predictor.pretrain(pd.DataFrame({"graph": space.graphs(archs)}), steps=2)
    assert "width" not in predictor.suggest(Chosen(0))  # type: ignore[arg-type]


def test_the_stack_is_tuned_as_others_are(space: Space) -> None:
    archs = space.sample(30, np.random.default_rng(0), distinct=True)
    X, y = pd.DataFrame({"graph": space.graphs(archs)}), (archs == 3).sum(axis=1) + 0.0
    found = tune(AutoPredictor(members=("ridge", "forest")), X, y, np.arange(30), 2)
    assert found.trials == 2
    assert set(found.parameters) <= {"encoding", "warp", "strength"}


class Settled(ForestPredictor):
    """Suggests nothing."""

    suggest = Predictor.suggest


def test_predictors_without_suggestions_are_refused(data: Any) -> None:
    with pytest.raises(InputError, match="Settled has nothing to tune; leave --tune out"):
        tune(Settled(), *data, 3)
    with pytest.raises(InputError, match="--tune must be at least 1, found 0"):
        tune(ForestPredictor(), *data, 0)
    X, y, groups = data
    with pytest.raises(InputError, match="needs as many distinct architectures, found 3"):
        tune(ForestPredictor(), X, y, groups % 3, 2)


def test_unwritable_caches_are_refused(predictor: Watched, data: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: cannot be written: "):
        tune(predictor, *data, 1, cache=tmp_path / "file")


def test_default_cache_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "predictnas" / "tuning"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "predictnas" / "tuning"
