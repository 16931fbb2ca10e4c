from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from numpy.typing import NDArray

from predictnas.errors import InputError
from predictnas.predictors import get_predictor
from predictnas.scoring import filled
from predictnas.search import ACQUISITIONS, BananasSampler
from predictnas.spaces import Space


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)


def objective(space: Space) -> Any:
    """Additive with an interaction; the optimum is unique."""

    def evaluate(trial: optuna.Trial) -> float:
        arch = np.array(space.suggest(trial))
        worth = np.array([0.0, 2.0, 3.0, 5.0, 1.0])[arch].sum()
        return float(60 + worth + 3.0 * (arch[0] == 3) * (arch[3] == 1))

    return evaluate


def search(
    space: Space, trials: int, *, direction: str = "maximize", **options: Any
) -> optuna.Study:
    sampler = BananasSampler(space, **{"seed": 0, "num_initial": 6, **options})
    study = optuna.create_study(direction=direction, sampler=sampler)
    study.optimize(objective(space), n_trials=trials)
    return study


class Scorer:
    """A proxy that ranks as the objective does, undefined for cells without any convolution."""

    identity = "counting"

    def __init__(self) -> None:
        self.scored: list[tuple[int, ...]] = []

    def __call__(self, archs: NDArray[np.int64]) -> pd.DataFrame:
        self.scored += [tuple(int(i) for i in arch) for arch in archs]
        count = (archs == 3).sum(1).astype(float)
        return pd.DataFrame({"proxy_params": np.where(count > 0, count, np.nan)})

    def rank(self, table: pd.DataFrame) -> NDArray[np.float64]:
        return table["proxy_params"].fillna(-1.0).to_numpy()

    def fill(self, table: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
        return filled(table, reference)


@pytest.mark.parametrize("predictor", ["gp", "mlp", "forest"])
def test_beats_random_search(space: Space, predictor: str) -> None:
    ours = [search(space, 25, seed=seed, predictor=predictor).best_value for seed in range(2)]
    theirs = []
    for seed in range(2):
        study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.RandomSampler(seed=seed)
        )
        study.optimize(objective(space), n_trials=25)
        theirs.append(study.best_value)
    assert np.mean(ours) > np.mean(theirs) + 1.0


@pytest.mark.parametrize("acquisition", ACQUISITIONS)
def test_every_acquisition_improves_on_its_warm_start(space: Space, acquisition: str) -> None:
    values = [trial.value for trial in search(space, 22, acquisition=acquisition).trials]
    assert max(values[6:]) > max(values[:6])  # type: ignore[type-var]


def test_minimises_where_the_study_does(space: Space) -> None:
    study = search(space, 20, direction="minimize")
    assert study.best_value < min(trial.value for trial in study.trials[:6])  # type: ignore[type-var]


def test_notes_forecasts_made_before_training(space: Space) -> None:
    trials = search(space, 15).trials
    assert all("predicted_mean" not in trial.user_attrs for trial in trials[:6])
    assert all(trial.user_attrs["origin"] == "acquisition" for trial in trials[6:])
    errors = [abs(t.user_attrs["predicted_mean"] - t.value) for t in trials[6:]]  # type: ignore[operator]
    assert all(trial.user_attrs["predicted_std"] > 0 for trial in trials[6:])
    assert np.mean(errors) < 8.0


def test_a_resumed_study_goes_on_as_if_it_had_not_stopped(space: Space) -> None:
    whole = search(space, 12)
    broken = search(space, 8)
    broken.sampler = BananasSampler(space, num_initial=6, seed=0)
    broken.optimize(objective(space), n_trials=4)
    assert [t.params for t in broken.trials] == [t.params for t in whole.trials]


def test_a_resumed_study_with_proxies_goes_on_too(space: Space) -> None:
    options: dict[str, Any] = {"pool_size": 16, "num_candidates": 12}
    whole = search(space, 11, scorer=Scorer(), **options)
    broken = search(space, 8, scorer=Scorer(), **options)
    broken.sampler = BananasSampler(space, num_initial=6, seed=0, scorer=Scorer(), **options)
    broken.optimize(objective(space), n_trials=3)
    assert [t.params for t in broken.trials] == [t.params for t in whole.trials]


def test_scores_that_mean_something_else_are_not_taken_over(space: Space) -> None:
    class Other(Scorer):
        identity = "other"

        def __call__(self, archs: NDArray[np.int64]) -> pd.DataFrame:
            return super().__call__(archs).rename(columns={"proxy_params": "proxy_macs"})

        def rank(self, table: pd.DataFrame) -> NDArray[np.float64]:
            return table["proxy_macs"].fillna(-1.0).to_numpy()

    study = search(space, 8, scorer=Scorer(), pool_size=16, num_candidates=8)
    study.sampler = BananasSampler(
        space, num_initial=6, seed=0, scorer=Other(), pool_size=16, num_candidates=8
    )
    study.optimize(objective(space), n_trials=2)
    assert set(study.trials[-1].user_attrs["proxies"]) == {"macs"}


class TestWithProxies:
    def test_warm_start_takes_the_best_of_the_pool_and_random_ones(self, space: Space) -> None:
        scorer = Scorer()
        study = search(space, 6, scorer=scorer, pool_size=40)
        origins = [trial.user_attrs["origin"] for trial in study.trials]
        assert origins == ["warm start, by proxies", "warm start, random"] * 3
        pool = np.array(scorer.scored[:40])
        best = np.sort((pool == 3).sum(1))[::-1][:3]
        chosen = [
            sum(i == 3 for i in space.from_params(trial.params)) for trial in study.trials[::2]
        ]
        np.testing.assert_array_equal(chosen, best)

    def test_scores_are_inputs_and_stand_on_the_trial(self, space: Space) -> None:
        study = search(space, 9, scorer=Scorer(), pool_size=16)
        for trial in study.trials[6:]:
            arch = space.from_params(trial.params)
            count = sum(i == 3 for i in arch)
            assert trial.user_attrs["proxies"] == {"params": count or None}

    def test_no_architecture_is_scored_twice_and_few_a_trial(self, space: Space) -> None:
        scorer = Scorer()
        search(space, 12, scorer=scorer, pool_size=16, num_candidates=10)
        assert len(scorer.scored) == len(set(scorer.scored))
        assert len(scorer.scored) <= 16 + 6 + 6 * 12


def test_takes_a_predictor_object_and_does_not_change_it(space: Space) -> None:
    predictor = get_predictor("forest", operations=space.operations)
    before = repr(predictor.get_params())
    search(space, 8, predictor=predictor)
    assert repr(predictor.get_params()) == before
    assert not [name for name in vars(predictor) if name.endswith("_")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"acquisition": "ucb"}, "unknown acquisition 'ucb'; choose from: ei, ts"),
        ({"predictor": "svm"}, "unknown predictor 'svm'; choose from: gp"),
        ({"num_initial": 0}, "num_initial must be at least 1, found 0"),
    ],
)
def test_refuses(space: Space, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        BananasSampler(space, **options)


def test_refuses_several_objectives(space: Space) -> None:
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=BananasSampler(space, num_initial=2, seed=0)
    )
    with pytest.raises(ValueError, match="multi-objective"):
        study.optimize(lambda trial: (space.suggest(trial)[0], 1.0), n_trials=1)


def test_of_several_seeds_the_mean_counts(space: Space) -> None:
    """Labels of one architecture spread over trials propose what their mean in one would."""
    evaluate = objective(space)
    proposals = []
    for spread in ((0.0,), (-3.0, 1.0, 2.0)):
        study = optuna.create_study(direction="maximize")
        for arch in space.sample(8, np.random.default_rng(0), distinct=True):
            params = space.params(arch)
            value = evaluate(optuna.trial.FixedTrial(params))  # type: ignore[arg-type]
            for shift in spread:
                study.add_trial(
                    optuna.trial.create_trial(
                        params=params, distributions=space.distributions(), value=value + shift
                    )
                )
        study.sampler = BananasSampler(space, num_initial=6, seed=0)
        trial = study.ask()
        proposals.append((space.suggest(trial), study.trials[-1].user_attrs["predicted_mean"]))
    assert proposals[0][0] == proposals[1][0]
    assert proposals[0][1] == pytest.approx(proposals[1][1])
