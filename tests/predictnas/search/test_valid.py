import numpy as np
import optuna
import pytest

from predictnas.search import SEARCHERS, ValidSampler
from predictnas.spaces import get_space

SPACE = get_space("transnas101-macro")


def proposals(sampler, trials):
    study = optuna.create_study(direction="maximize", sampler=sampler)
    found = []

    def objective(trial):
        found.append(SPACE.suggest(trial))
        return float(sum(found[-1]))

    study.optimize(objective, n_trials=trials)
    return found


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_baselines_propose_architectures_alone(name):
    found = proposals(SEARCHERS[name](SPACE, seed=0), 25)
    assert SPACE.is_valid(found).all()
    assert found == proposals(SEARCHERS[name](SPACE, seed=0), 25)
    assert found != proposals(SEARCHERS[name](SPACE, seed=1), 25)


def test_what_proposes_nothing_leaves_it_to_the_space():
    sampler = ValidSampler(SPACE, optuna.samplers.RandomSampler(seed=0), seed=3)
    rng = np.random.default_rng(3)
    expected = [tuple(SPACE.sample(1, rng)[0].tolist()) for _ in range(5)]
    assert proposals(sampler, 5) == expected


class Stubborn(optuna.samplers.RandomSampler):
    """Proposes one combination for ever."""

    def __init__(self, params):
        super().__init__(seed=0)
        self.params = params
        self.asked = 0

    def sample_relative(self, study, trial, search_space):
        self.asked += 1
        return self.params


def test_proposals_that_are_no_architecture_are_asked_for_again():
    valid = SPACE.sample(1, np.random.default_rng(0))[0]
    good = Stubborn(SPACE.params(valid))
    assert proposals(ValidSampler(SPACE, good, seed=0), 2) == [tuple(valid.tolist())] * 2
    assert good.asked == 2
    options = {name: choices[-1] for name, choices in SPACE.choices.items()}
    indices = [len(choices) - 1 for choices in SPACE.choices.values()]
    assert not SPACE.is_valid([indices]).any()
    bad = Stubborn(options)
    assert SPACE.is_valid(proposals(ValidSampler(SPACE, bad, seed=0), 1)).all()
    assert bad.asked == 100


def test_spaces_whose_combinations_are_all_architectures_need_none():
    sampler = SEARCHERS["random"](get_space("nasbench201"), seed=0)
    assert type(sampler) is optuna.samplers.RandomSampler
