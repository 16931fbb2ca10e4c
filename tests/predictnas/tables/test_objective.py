import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

from predictnas.errors import CandidateError, InputError
from predictnas.search import SEARCHERS, get_searcher
from predictnas.spaces import get_space
from predictnas.tables import TableObjective, TableSpace

SPACE = get_space("nasbench201")
ONE, TWIN = (1, 3, 0, 0, 0, 1), (1, 0, 3, 0, 0, 1)
OPTIONS = {"bananas": {"num_initial": 17, "predictor": "forest"}}


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)


def table_of(archs, seeds=2):
    """Long form: labels by the number of convolutions; seconds 10 a row and 1 a seed."""
    rows = []
    for number, arch in enumerate(archs):
        for seed in range(seeds):
            valid = 50.0 + 5 * sum(option == 3 for option in arch) + seed
            rows.append(
                {
                    "arch": SPACE.format(arch),
                    "seed": seed,
                    "valid_accuracy": valid,
                    "test_accuracy": valid - 3,
                    "seconds": 10.0 * (number + 1) + seed,
                    "curve_valid_accuracy": valid * np.array([0.25, 0.5, 0.75, 1.0]),
                }
            )
    return pd.DataFrame(rows)


def ask(objective, archs, pruner=None):
    """Run one trial for each architecture, in order."""
    study = optuna.create_study(direction="maximize", pruner=pruner or optuna.pruners.NopPruner())
    for arch in archs:
        study.enqueue_trial(SPACE.params(arch))
    study.optimize(objective, n_trials=len(archs), catch=(CandidateError,))
    return study.trials


def attrs(trials, name):
    return [trial.user_attrs.get(name) for trial in trials]


ARCHS = [(3, 3, 3, 3, 3, 3), ONE, (1, 1, 1, 1, 1, 1)]


def test_a_seed_is_one_training():
    trials = ask(TableObjective(table_of(ARCHS), SPACE, seed=1), ARCHS)
    assert [trial.value for trial in trials] == [81.0, 56.0, 51.0]
    assert attrs(trials, "seconds") == [11.0, 21.0, 31.0]
    assert attrs(trials, "virtual_seconds") == [11.0, 32.0, 63.0]
    assert trials[0].intermediate_values == {1: 20.25, 2: 40.5, 3: 60.75, 4: 81.0}
    assert attrs(trials, "arch") == SPACE.format_all(ARCHS)
    assert attrs(trials, "key") == SPACE.keys(ARCHS)


def test_a_seed_is_one_training_of_twins_too():
    table = table_of([ONE, TWIN])
    table.loc[table["arch"] == SPACE.format(TWIN), "valid_accuracy"] += 7
    objective = TableObjective(table, SPACE, seed=0)
    trials = ask(objective, [TWIN])
    assert trials[0].value == 62.0
    assert attrs(trials, "virtual_seconds") == [20.0]
    assert objective.test_accuracy(ONE) == 52.0


def test_the_mean_of_seeds_costs_all_of_them():
    trials = ask(TableObjective(table_of(ARCHS), SPACE), ARCHS)
    assert [trial.value for trial in trials] == [80.5, 55.5, 50.5]
    assert attrs(trials, "seconds") == [21.0, 41.0, 61.0]
    assert attrs(trials, "virtual_seconds") == [21.0, 62.0, 123.0]
    assert trials[0].intermediate_values[4] == 80.5


def test_what_is_known_costs_nothing_again():
    asked = [ONE, ARCHS[0], TWIN, ONE]
    trials = ask(TableObjective(table_of(ARCHS), SPACE, seed=0), asked)
    assert [trial.value for trial in trials] == [55.0, 80.0, 55.0, 55.0]
    assert attrs(trials, "seconds") == [20.0, 10.0, 0.0, 0.0]
    assert attrs(trials, "virtual_seconds") == [20.0, 30.0, 30.0, 30.0]
    trials = ask(TableObjective(table_of(ARCHS), SPACE, seed=0, pay_again=True), asked)
    assert attrs(trials, "virtual_seconds") == [20.0, 30.0, 50.0, 70.0]


class AfterEpoch(optuna.pruners.BasePruner):
    """Stops the second and the fourth trial after an epoch of theirs."""

    def prune(self, study, trial):
        return trial.last_step == {1: 1, 3: 3}.get(trial.number)


def test_pruned_trials_cost_the_epochs_they_had():
    asked = [ONE, ARCHS[0], ARCHS[0], ARCHS[2]]
    trials = ask(TableObjective(table_of(ARCHS), SPACE, seed=0), asked, AfterEpoch())
    states = [trial.state for trial in trials]
    pruned, complete = TrialState.PRUNED, TrialState.COMPLETE
    assert states == [complete, pruned, complete, pruned]
    assert trials[1].intermediate_values == {1: 20.0}
    # A quarter of 10, then all of it, since a pruned training is no label; three quarters of 30.
    assert attrs(trials, "seconds") == [20.0, 2.5, 10.0, 22.5]
    assert attrs(trials, "virtual_seconds") == [20.0, 22.5, 32.5, 55.0]


def test_optunas_pruners_prune():
    archs = SPACE.sample(30, np.random.default_rng(0), distinct=True)
    archs = sorted(map(tuple, archs.tolist()), key=lambda arch: -arch.count(3))
    pruner = optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1)
    trials = ask(TableObjective(table_of(archs), SPACE, seed=0), archs, pruner)
    assert any(trial.state == TrialState.PRUNED for trial in trials)
    full = sum(10.0 * (number + 1) for number in range(30))
    assert 0 < trials[-1].user_attrs["virtual_seconds"] < full


def test_shorter_curves_are_reported_to_their_end():
    table = table_of(ARCHS, seeds=1)
    table["curve_valid_accuracy"] = [np.array([1.0, 2.0]), np.array([1.0, 2.0, 3.0]), None]
    trials = ask(TableObjective(table, SPACE), ARCHS)
    assert [len(trial.intermediate_values) for trial in trials] == [2, 3, 0]
    assert attrs(trials, "seconds") == [10.0, 20.0, 30.0]


def test_architectures_that_are_not_there_fail_and_cost_nothing():
    trials = ask(TableObjective(table_of(ARCHS[:2]), SPACE, seed=0), [ARCHS[2], ONE])
    assert [trial.state for trial in trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert "the table does not hold |skip_connect~0|" in trials[0].user_attrs["failure"]
    assert attrs(trials, "virtual_seconds") == [None, 20.0]


@pytest.mark.parametrize("seed", [None, 0])
def test_a_twin_is_no_second_training_for_free(seed):
    # The mistake: the best of several trainings of one cell for the seconds of one.
    table = table_of([ONE, TWIN], seeds=1)
    table["valid_accuracy"] = [60.0, 61.0]
    table = table if seed is not None else table.drop(columns="seed")
    trials = ask(TableObjective(table, SPACE, seed=seed), [ONE, TWIN])
    assert [trial.value for trial in trials] == [60.0, 60.0]
    assert attrs(trials, "virtual_seconds") == [10.0, 10.0]
    trials = ask(TableObjective(table, SPACE, seed=seed, pay_again=True), [ONE, TWIN])
    assert [trial.value for trial in trials] == [60.0, 61.0]
    assert attrs(trials, "virtual_seconds") == [10.0, 30.0]


def test_epochs_keep_their_numbers_where_a_curve_has_gaps():
    table = table_of(ARCHS, seeds=1)
    curve = np.array([np.nan, 20.0, np.nan, 40.0, np.nan])
    table["curve_valid_accuracy"] = [curve] * len(ARCHS)

    class Second(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return trial.number == 1 and trial.last_step == 2

    trials = ask(TableObjective(table, SPACE), ARCHS[:2], Second())
    assert trials[0].intermediate_values == {2: 20.0, 4: 40.0}
    assert attrs(trials, "seconds") == [10.0, 10.0]  # of 20, two of four epochs


def test_what_another_sampler_proposes_beside_the_pool_is_a_failed_trial():
    objective = TableObjective(table_of(ARCHS), SPACE, pool=True)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(0))
    study.enqueue_trial(SPACE.params(TWIN))
    study.optimize(objective, n_trials=3, catch=(CandidateError,))
    # Though the first has a twin among the rows: the space of the objective does not hold it.
    assert {trial.state for trial in study.trials} == {TrialState.FAIL}
    assert attrs(study.trials, "key") == SPACE.keys(
        [SPACE.from_params(trial.params) for trial in study.trials]
    )
    assert all("the table does not hold |" in text for text in attrs(study.trials, "failure"))


def test_options_that_do_not_go_together_are_a_failed_trial():
    space = get_space("nasbench101")
    arch = space.sample(1, np.random.default_rng(0))
    table = pd.DataFrame({"arch": space.format_all(arch), "valid_accuracy": [90.0]})
    objective = TableObjective(table, space, test_column=None, seconds_column=None)
    study = optuna.create_study(direction="maximize")
    first = {name: options[0] for name, options in space.choices.items()}
    study.enqueue_trial(first)
    study.optimize(objective, n_trials=1, catch=(CandidateError,))
    assert study.trials[0].state == TrialState.FAIL
    assert "failure" in study.trials[0].user_attrs


class Poisoned(pd.DataFrame):
    """A table whose test column may not be touched."""

    allowed = False

    @property
    def _constructor(self):
        return Poisoned

    def __getitem__(self, key):
        names = key if isinstance(key, list) else [key] if isinstance(key, str) else []
        if not Poisoned.allowed:
            assert "test_accuracy" not in names, "the search read the test column"
        return super().__getitem__(key)


def test_a_search_never_reads_the_test_column(monkeypatch):
    table = table_of(ARCHS)
    clean = TableObjective(table, SPACE, seed=0)
    expected = [trial.value for trial in ask(clean, ARCHS)]
    table["test_accuracy"] = np.nan  # would be refused as a label, and poison every mean
    trials = ask(TableObjective(Poisoned(table), SPACE, seed=0), ARCHS)
    assert [trial.value for trial in trials] == expected
    assert "test" not in " ".join(name for trial in trials for name in trial.user_attrs)
    objective = TableObjective(Poisoned(table), SPACE, seed=0)
    monkeypatch.setattr(Poisoned, "allowed", True)
    with pytest.raises(InputError, match="labels must be finite numbers, found 3 NaN"):
        objective.test_accuracy(ONE)


def test_test_accuracy_is_that_of_the_seed():
    table = table_of(ARCHS)
    assert TableObjective(table, SPACE, seed=1).test_accuracy(ONE) == 53.0
    assert TableObjective(table, SPACE, seed=0).test_accuracy(TWIN) == 52.0
    assert TableObjective(table, SPACE).test_accuracy(np.array(ONE)) == 52.5
    with pytest.raises(InputError, match="the table does not hold"):
        TableObjective(table, SPACE).test_accuracy((2, 2, 2, 2, 2, 2))
    with pytest.raises(InputError, match="made without a test column; name it"):
        TableObjective(table, SPACE, test_column=None).test_accuracy(ONE)


def test_there_may_be_no_clock():
    table = table_of(ARCHS).drop(columns=["seconds", "test_accuracy", "curve_valid_accuracy"])
    trials = ask(TableObjective(table, SPACE, test_column=None, seconds_column=None), ARCHS)
    assert [trial.value for trial in trials] == [80.5, 55.5, 50.5]
    assert attrs(trials, "virtual_seconds") == [None] * 3


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"drop": "seconds"}, {}, "no column 'seconds'; its columns are: arch, seed, .*or none"),
        ({"drop": "test_accuracy"}, {}, "no column 'test_accuracy'; its columns"),
        ({}, {"valid_column": "accuracy"}, "no numeric column 'accuracy'"),
        ({}, {"test_column": "valid_accuracy"}, "would be searched by and reported; name two"),
        ({}, {"seed": 7}, "no training with seed 7; its seeds are: 0, 1"),
        ({"drop": "seed"}, {"seed": 0}, "does not say its seeds; leave out the seed 0"),
        ({"seconds": np.nan}, {}, "'seconds' must hold the seconds of every training"),
        ({"unknown": 1}, {}, "'seconds' must hold the seconds of every training"),
        ({"seconds": "long"}, {}, "'seconds' must hold the seconds of every training"),
    ],
)
def test_tables_that_do_not_fit_are_refused(change, options, message):
    table = table_of(ARCHS).drop(columns=[change["drop"]] if "drop" in change else [])
    if "seconds" in change:
        table["seconds"] = change["seconds"]
    if "unknown" in change:
        table.loc[change["unknown"], "seconds"] = np.nan
    with pytest.raises(InputError, match=message):
        TableObjective(table, SPACE, **options)


@pytest.mark.parametrize("name", SEARCHERS)
@pytest.mark.parametrize("pool", [False, True])
def test_every_searcher_runs_on_a_table(name, pool):
    if pool:  # a part of the space: nothing else may be proposed
        archs = SPACE.sample(60, np.random.default_rng(0), distinct=True)
    else:
        archs = SPACE.iterate()[::13]
        keys = set(SPACE.keys(archs))
    objective = TableObjective(table_of(map(tuple, archs.tolist()), 1), SPACE, seed=0, pool=pool)
    assert isinstance(objective.space, TableSpace) == pool
    sampler = get_searcher(name)(objective.space, seed=0, **OPTIONS.get(name, {}))
    nothing = optuna.pruners.NopPruner()
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=nothing)
    study.optimize(objective, n_trials=20, catch=(CandidateError,))
    proposed = [SPACE.from_params(trial.params) for trial in study.trials]
    assert len(proposed) == 20
    if pool:
        assert objective.space.is_valid(proposed).all()
        assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}
    else:
        known = [SPACE.key(arch) in keys for arch in proposed]
        assert [trial.state == TrialState.COMPLETE for trial in study.trials] == known
        assert any(known)
    spent = [trial.user_attrs.get("seconds", 0.0) for trial in study.trials]
    clock = [t.user_attrs["virtual_seconds"] for t in study.trials if t.user_attrs.get("seconds")]
    assert clock == sorted(clock)
    assert clock[-1] == pytest.approx(sum(spent))


def test_searchers_use_up_a_pool_without_repeating():
    archs = SPACE.sample(12, np.random.default_rng(0), distinct=True)
    objective = TableObjective(table_of(map(tuple, archs.tolist()), 1), SPACE, pool=True)
    sampler = get_searcher("bananas")(objective.space, num_initial=10, predictor="forest", seed=0)
    nothing = optuna.pruners.NopPruner()
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=nothing)
    study.optimize(objective, n_trials=12)
    assert sorted(attrs(study.trials, "arch")) == sorted(SPACE.format_all(archs))
    assert study.trials[-1].user_attrs["virtual_seconds"] == 10.0 * sum(range(1, 13))
